//! Sending.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::net::MSG_OOB;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::io::Source;

use super::queue::{Mark, Message};
use super::{Kind, UnixSocket, address, names};
use crate::socket::{Caller, Identity, Outgoing};

/// Bytes of a stream that travel as one message at most.
const CHUNK: usize = 1 << 16;
/// What a datagram must leave free of the send buffer.
const DATAGRAM_RESERVE: usize = 32;

impl UnixSocket {
    pub(super) fn send_message(
        &self,
        from: &mut dyn Source,
        message: &mut Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Result<usize> {
        if message.flags & MSG_OOB != 0 && (self.kind != Kind::Stream || from.remaining() == 0) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.bind_if_passing_cred()?;
        match self.kind {
            Kind::Stream => self.send_stream(from, message, caller),
            Kind::Datagram | Kind::SeqPacket => self.send_datagram(from, message, caller),
        }
    }

    fn send_stream(
        &self,
        from: &mut dyn Source,
        message: &mut Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Result<usize> {
        let (peer, connected, shut) = {
            let state = self.state.lock();
            (state.peer.clone(), state.is_connected(), state.no_send)
        };
        if message.to.is_some() {
            return Err(if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP });
        }
        if shut {
            return Err(if connected { Errno::EPIPE } else { Errno::ENOTCONN });
        }
        let peer = peer.ok_or(Errno::ENOTCONN)?;
        let identity = self.identity_for(&peer, message, caller);
        let (mut sent, urgent) = (0, message.flags & MSG_OOB != 0);
        while from.remaining() > 0 {
            let mark = if urgent && from.remaining() == 1 { Mark::Urgent } else { Mark::None };
            match self.send_chunk(from, &peer, message, (identity.as_ref(), mark)) {
                Ok(count) => sent += count,
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if urgent && from.remaining() == 0 {
            peer.notify(PollEvents::POLLPRI | PollEvents::POLLIN | PollEvents::POLLRDNORM);
        } else if sent > 0 {
            peer.notify_data();
        }
        Ok(sent)
    }

    fn send_chunk(
        &self,
        from: &mut dyn Source,
        peer: &Arc<Self>,
        message: &mut Outgoing<'_>,
        (identity, mark): (Option<&Identity>, Mark),
    ) -> Result<usize> {
        // The last byte of urgent data is a piece of its own.
        let urgent = message.flags & MSG_OOB != 0 && mark == Mark::None;
        let here = from.remaining().saturating_sub(usize::from(urgent));
        let want = here.min(self.budget.room()).min(CHUNK);
        if want == 0 {
            return Err(Errno::EAGAIN);
        }
        let data = take(from, want)?;
        let count = data.len();
        if count == 0 {
            return Err(Errno::EFAULT);
        }
        let item = Message {
            _charge: self.budget.charge(count),
            data,
            read: 0,
            from: None,
            identity: identity.cloned(),
            rights: message.control.rights.take(),
            mark,
        };
        let refused = {
            let mut state = peer.state.lock();
            if state.closed || state.no_receive {
                Some(item)
            } else {
                if mark == Mark::Urgent
                    && let Some(older) = state.urgent()
                {
                    older.mark = Mark::None;
                }
                state.inbox.push_back(item);
                None
            }
        };
        if refused.is_some() { Err(Errno::EPIPE) } else { Ok(count) }
    }

    fn send_datagram(
        &self,
        from: &mut dyn Source,
        message: &mut Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Result<usize> {
        let this = self.arc()?;
        let named = message.to.filter(|_| self.kind == Kind::Datagram);
        let name = named.map(address::parse_named).transpose()?;
        if self.kind == Kind::SeqPacket && !self.state.lock().is_connected() {
            return Err(Errno::ENOTCONN);
        }
        let length = from.remaining();
        if length.saturating_add(DATAGRAM_RESERVE) > self.budget.limit() {
            return Err(Errno::EMSGSIZE);
        }
        {
            let mut state = self.state.lock();
            if let Some(errno) = state.error.take() {
                return Err(errno);
            }
            if state.no_send {
                return Err(Errno::EPIPE);
            }
        }
        if self.budget.used() >= self.budget.limit() {
            return Err(Errno::EAGAIN);
        }
        let other = match name {
            Some(name) => names::find(&name, self.kind, caller)?,
            None => self.peer().ok_or(Errno::ENOTCONN)?,
        };
        self.may_send_to(&other)?;
        if !Arc::ptr_eq(&other, &this) && other.refuses(&this) {
            return Err(Errno::EAGAIN);
        }
        self.deliver(from, &other, message, caller)?;
        Ok(length)
    }

    fn deliver(
        &self,
        from: &mut dyn Source,
        other: &Arc<Self>,
        message: &mut Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Result<()> {
        let length = from.remaining();
        let data = take(from, length)?;
        if data.len() < length {
            return Err(Errno::EFAULT);
        }
        let identity = self.identity_for(other, message, caller);
        let item = Message {
            _charge: self.budget.charge(length),
            data,
            read: 0,
            from: self.state.lock().address.clone(),
            identity,
            rights: message.control.rights.take(),
            mark: Mark::None,
        };
        let refused = {
            let mut state = other.state.lock();
            if state.closed {
                Some((item, Errno::ECONNREFUSED))
            } else if state.no_receive {
                Some((item, Errno::EPIPE))
            } else {
                state.inbox.push_back(item);
                None
            }
        };
        match refused {
            None => {
                other.notify_data();
                Ok(())
            }
            Some((item, errno)) => {
                drop(item);
                if errno == Errno::ECONNREFUSED {
                    self.drop_dead_peer(other);
                }
                Err(errno)
            }
        }
    }

    /// A datagram socket whose peer is gone is not connected any more.
    fn drop_dead_peer(&self, dead: &Arc<Self>) {
        let old = {
            let mut state = self.state.lock();
            let is_peer = state.peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, dead));
            if is_peer && self.kind == Kind::Datagram {
                state.role = super::Role::Idle;
                state.peer.take()
            } else {
                None
            }
        };
        drop(old);
    }

    /// The credentials that travel: those that the caller gave, or its own if either side asks for them.
    fn identity_for(
        &self,
        peer: &Self,
        message: &Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Option<Identity> {
        let asked = |socket: &Self| {
            socket.common.pass_cred.load(Ordering::Relaxed)
                || socket.common.pass_pidfd.load(Ordering::Relaxed)
        };
        match &message.control.identity {
            Some(identity) => Some(identity.clone()),
            None => (asked(self) || asked(peer)).then(|| caller.sender()),
        }
    }
}

/// Up to `count` bytes in a buffer of their own.
fn take(from: &mut dyn Source, count: usize) -> Result<Box<[u8]>> {
    let mut data = vec![0; count];
    let done = if count == 0 { 0 } else { from.take(&mut data)? };
    data.truncate(done);
    Ok(data.into_boxed_slice())
}
