//! Names, connections and their ends.

use std::collections::VecDeque;
use std::sync::Arc;

use chitin_abi::net::{AF_UNIX, AF_UNSPEC};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};

use super::address::{self, Parsed, UnixAddress};
use super::{Kind, Role, UnixSocket, names};
use crate::socket::{Caller, Identity, Shutdown, Socket};

impl UnixSocket {
    pub(super) fn bind_to(&self, bytes: &[u8], caller: &Caller<'_>) -> Result<()> {
        let parsed = address::parse(bytes)?;
        let this = self.arc()?;
        if self.state.lock().address.is_some() {
            return match parsed {
                // A second automatic name is as good as the first.
                Parsed::Unnamed => Ok(()),
                Parsed::Named(UnixAddress::Path(path)) => {
                    Err(names::bind_path_again(&path, caller))
                }
                Parsed::Named(UnixAddress::Abstract(_)) => Err(Errno::EINVAL),
            };
        }
        let address = match parsed {
            Parsed::Unnamed => return self.bind_automatically(),
            Parsed::Named(address) => address,
        };
        match &address {
            UnixAddress::Abstract(name) => caller.net().unix.bind(name, &this)?,
            UnixAddress::Path(path) => names::bind_path(path, &this, caller)?,
        }
        self.state.lock().address = Some(address);
        Ok(())
    }

    fn bind_automatically(&self) -> Result<()> {
        let name = self.net.unix.autobind(&self.arc()?)?;
        self.state.lock().address = Some(UnixAddress::Abstract(name));
        Ok(())
    }

    /// A sender whose receivers want to know it gets a name.
    pub(super) fn bind_if_passing_cred(&self) -> Result<()> {
        use core::sync::atomic::Ordering;
        let wants = self.common.pass_cred.load(Ordering::Relaxed)
            || self.common.pass_pidfd.load(Ordering::Relaxed);
        if wants && self.state.lock().address.is_none() {
            self.bind_automatically()
        } else {
            Ok(())
        }
    }

    pub(super) fn start_listening(&self, backlog: u32, caller: &Caller<'_>) -> Result<()> {
        if !self.kind.connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        let backlog =
            usize::try_from(backlog.min(chitin_abi::net::SOMAXCONN)).unwrap_or(usize::MAX);
        let mut state = self.state.lock();
        if state.address.is_none() {
            return Err(Errno::EINVAL);
        }
        let waiting = match &mut state.role {
            Role::Idle => {
                state.role = Role::Listening { backlog, pending: VecDeque::new() };
                Vec::new()
            }
            Role::Listening { backlog: old, .. } => {
                *old = backlog;
                core::mem::take(&mut state.waiting)
            }
            Role::Connecting | Role::Connected => return Err(Errno::EINVAL),
        };
        state.peer_identity = Some(caller.peer());
        drop(state);
        Self::wake_waiting(waiting);
        Ok(())
    }

    pub(super) fn connect_to(&self, bytes: &[u8], caller: &Caller<'_>) -> Result<()> {
        let (family, _) = address::split(bytes)?;
        if self.kind.connects() {
            return self.connect_stream(&address::parse_named(bytes)?, caller);
        }
        match family {
            AF_UNSPEC => self.set_datagram_peer(None),
            AF_UNIX => {
                self.bind_if_passing_cred()?;
                let other = names::find(&address::parse_named(bytes)?, self.kind, caller)?;
                self.may_send_to(&other)?;
                self.set_datagram_peer(Some(other))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// A datagram socket that is connected takes messages from its peer only.
    pub(super) fn may_send_to(&self, other: &Arc<Self>) -> Result<()> {
        match other.peer() {
            Some(peer) if !core::ptr::eq(Arc::as_ptr(&peer), self) => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    fn set_datagram_peer(&self, peer: Option<Arc<Self>>) -> Result<()> {
        let mut state = self.state.lock();
        let same = match (&state.peer, &peer) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            _ => false,
        };
        if same {
            return Ok(());
        }
        state.role = if peer.is_some() { Role::Connected } else { Role::Idle };
        let had_peer = state.peer.is_some();
        let old = core::mem::replace(&mut state.peer, peer);
        // What the old peer or others have sent is gone.
        let lost = if had_peer { core::mem::take(&mut state.inbox) } else { VecDeque::new() };
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        if let Some(old) = &old {
            old.forget_peer(self, !lost.is_empty());
        }
        drop((lost, old));
        Self::wake_waiting(waiting);
        self.notify(PollEvents::POLLOUT);
        Ok(())
    }

    /// The datagram socket `gone` has disconnected from this one.
    fn forget_peer(&self, gone: &Self, lost: bool) {
        let mut state = self.state.lock();
        let was_peer =
            state.peer.as_ref().is_some_and(|peer| core::ptr::eq(Arc::as_ptr(peer), gone));
        if was_peer && lost && !state.closed {
            state.error = Some(Errno::ECONNRESET);
            drop(state);
            self.notify(PollEvents::POLLERR);
        }
    }

    fn connect_stream(&self, address: &UnixAddress, caller: &Caller<'_>) -> Result<()> {
        self.bind_if_passing_cred()?;
        let listener = names::find(address, self.kind, caller)?;
        // The listener's state is looked at before the caller's, and again when they are joined.
        listener.state.lock().takes_connection(&self.this)?;
        self.begin_connect()?;
        let result = self.join(&listener, caller);
        if result.is_err() {
            self.state.lock().role = Role::Idle;
        }
        result
    }

    fn begin_connect(&self) -> Result<()> {
        let mut state = self.state.lock();
        match state.role {
            Role::Idle => {
                state.role = Role::Connecting;
                Ok(())
            }
            Role::Connected => Err(Errno::EISCONN),
            Role::Connecting | Role::Listening { .. } => Err(Errno::EINVAL),
        }
    }

    /// Puts a server side for this socket into the listener's queue.
    fn join(&self, listener: &Arc<Self>, caller: &Caller<'_>) -> Result<()> {
        let this = self.arc()?;
        let server = Self::new(self.kind, &listener.net);
        server.common.inherit(&listener.common);
        server.common_changed();
        let listener_identity = {
            let mut state = listener.state.lock();
            state.takes_connection(&self.this)?;
            {
                let mut server_state = server.state.lock();
                server_state.role = Role::Connected;
                server_state.peer = Some(this);
                server_state.peer_identity = Some(caller.peer());
                server_state.address.clone_from(&state.address);
                // The name stays the listener's; here it is only shown.
                server_state.file = None;
            }
            if let Role::Listening { pending, .. } = &mut state.role {
                pending.push_back(Arc::clone(&server));
            }
            state.peer_identity.clone()
        };
        {
            let mut state = self.state.lock();
            state.role = Role::Connected;
            state.peer = Some(server);
            state.peer_identity = listener_identity;
        }
        listener.notify_data();
        self.notify(PollEvents::POLLOUT);
        Ok(())
    }

    pub(super) fn take_connection(&self) -> Result<Arc<dyn Socket>> {
        if !self.kind.connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        let shut = state.no_receive;
        let Role::Listening { pending, .. } = &mut state.role else { return Err(Errno::EINVAL) };
        let Some(server) = pending.pop_front() else {
            return Err(if shut { Errno::EINVAL } else { Errno::EAGAIN });
        };
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        Self::wake_waiting(waiting);
        Ok(server)
    }

    pub(super) fn shut(&self, how: Shutdown) -> Result<()> {
        let (peer, waiting) = {
            let mut state = self.state.lock();
            state.no_receive |= how.read;
            state.no_send |= how.write;
            (state.peer.clone(), core::mem::take(&mut state.waiting))
        };
        if let Some(peer) = peer.filter(|_| self.kind.connects()) {
            {
                let mut state = peer.state.lock();
                state.no_receive |= how.write;
                state.no_send |= how.read;
            }
            peer.notify_all();
        }
        self.notify_all();
        Self::wake_waiting(waiting);
        Ok(())
    }

    /// The end: the last descriptor is gone, or a connection was never accepted.
    pub(super) fn release(&self) {
        let (peer, pending, inbox, waiting, own_name, file) = {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            state.closed = true;
            state.no_receive = true;
            state.no_send = true;
            let own_name = state.address.clone();
            let pending = match &mut state.role {
                Role::Listening { pending, .. } => core::mem::take(pending),
                _ => VecDeque::new(),
            };
            let inbox = core::mem::take(&mut state.inbox);
            let waiting = core::mem::take(&mut state.waiting);
            (state.peer.take(), pending, inbox, waiting, own_name, state.file.take())
        };
        if let Some(UnixAddress::Abstract(name)) = own_name {
            // Only the socket that was bound has the name; accepted ones show their listener's.
            self.net.unix.unbind(self, &name);
        }
        if let Some(peer) = peer {
            peer.peer_closed(!inbox.is_empty());
        }
        for server in pending {
            server.release_unaccepted();
        }
        drop((inbox, file));
        Self::wake_waiting(waiting);
        self.notify_all();
    }

    /// A connection that nobody took: the client sees a reset.
    fn release_unaccepted(&self) {
        let peer = self.state.lock().peer.clone();
        self.release();
        if let Some(peer) = peer {
            peer.state.lock().error = Some(Errno::ECONNRESET);
            peer.notify_all();
        }
    }

    fn peer_closed(&self, unread: bool) {
        let waiting = {
            let mut state = self.state.lock();
            if self.kind.connects() {
                state.no_receive = true;
                state.no_send = true;
                if unread {
                    state.error = Some(Errno::ECONNRESET);
                }
            }
            core::mem::take(&mut state.waiting)
        };
        self.notify_all();
        Self::wake_waiting(waiting);
    }

    /// The type, for names.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The identity of the other side, for `SO_PEERCRED`.
    pub fn peer_identity(&self) -> Option<Identity> {
        self.state.lock().peer_identity.clone()
    }
}
