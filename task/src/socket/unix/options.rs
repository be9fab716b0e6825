//! Readiness, options, ioctls, and the text of /proc/net/unix.

use core::sync::atomic::Ordering;
use std::io::Write;

use chitin_abi::net::{
    SIOCATMARK, SIOCINQ, SIOCOUTQ, SO_PEERCRED, SO_PEERGROUPS, SO_PEERNAME, SOL_SOCKET, Ucred,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::IoctlContext;
use zerocopy::IntoBytes;

use super::address::UnixAddress;
use super::queue::Mark;
use super::{Kind, Role, State, UnixNamespace, UnixSocket};
use crate::socket::{Caller, Socket};

impl UnixSocket {
    pub(super) fn poll_now(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        let (listening, peer) = {
            let state = self.state.lock();
            if state.error.is_some() {
                events |= PollEvents::POLLERR;
            }
            if state.no_receive {
                events |= PollEvents::POLLRDHUP | PollEvents::POLLIN | PollEvents::POLLRDNORM;
            }
            if state.no_receive && state.no_send {
                events |= PollEvents::POLLHUP;
            }
            if state.has_something() {
                events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
            }
            if state.inbox.iter().any(|message| message.mark == Mark::Urgent) {
                events |= PollEvents::POLLPRI;
            }
            if self.kind.connects() && matches!(state.role, Role::Idle | Role::Connecting) {
                events |= PollEvents::POLLHUP;
            }
            let peer = state.peer.clone().filter(|_| self.kind == Kind::Datagram);
            (matches!(state.role, Role::Listening { .. }), peer)
        };
        let mut writable = !listening && self.budget.is_writable();
        if let (true, Some(peer), Some(this)) = (writable, peer, self.this.upgrade()) {
            writable = !peer.refuses(&this);
        }
        if writable {
            events |= PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND;
        }
        events
    }

    pub(super) fn unix_option(
        &self,
        level: u32,
        name: u32,
        room: usize,
        caller: &Caller<'_>,
    ) -> Result<Vec<u8>> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        match name {
            SO_PEERCRED => {
                let nobody = Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
                let peer = self.peer_identity().map_or(nobody, |identity| caller.show(&identity));
                Ok(peer.as_bytes().to_vec())
            }
            SO_PEERGROUPS => {
                let identity = self.peer_identity().ok_or(Errno::ENODATA)?;
                let groups: Vec<u32> =
                    identity.groups.iter().map(|gid| caller.show_gid(*gid)).collect();
                let bytes = groups.as_bytes();
                if room < bytes.len() { Err(Errno::ERANGE) } else { Ok(bytes.to_vec()) }
            }
            SO_PEERNAME => {
                let address = self.peer_address()?;
                if address.len() < room { Err(Errno::EINVAL) } else { Ok(address) }
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    pub(super) fn control(
        &self,
        command: u32,
        argument: GuestAddr,
        context: &dyn IoctlContext,
    ) -> Result<u64> {
        let value = match command {
            SIOCINQ => self.unread()?,
            SIOCOUTQ => self.budget.used(),
            SIOCATMARK if self.kind == Kind::Stream => usize::from(self.state.lock().is_at_mark()),
            _ => return Err(Errno::ENOTTY),
        };
        let value = i32::try_from(value).unwrap_or(i32::MAX);
        context.memory().write(argument, &value.to_ne_bytes())?;
        Ok(0)
    }

    fn unread(&self) -> Result<usize> {
        let state = self.state.lock();
        match (&state.role, self.kind) {
            (Role::Listening { .. }, _) => Err(Errno::EINVAL),
            (_, Kind::Datagram) => Ok(state.inbox.front().map_or(0, |message| message.data.len())),
            _ => Ok(state.inbox.iter().map(|message| message.rest().len()).sum()),
        }
    }

    fn describe(&self, text: &mut Vec<u8>) {
        let state = self.state.lock();
        if state.closed {
            return;
        }
        // Socket states of Linux: unconnected, connecting, connected.
        let (accepts, shown) = match state.role {
            Role::Listening { .. } => (0x10000, 1),
            Role::Connected => (0, 3),
            Role::Connecting => (0, 2),
            Role::Idle => (0, 1),
        };
        let (kind, ino) = (self.kind.number(), self.ino.load(Ordering::Relaxed));
        // Writing to a vector does not fail.
        let _ = write!(
            text,
            "0000000000000000: 00000002 00000000 {accepts:08X} {kind:04X} {shown:02X} {ino:5}"
        );
        match &state.address {
            Some(UnixAddress::Path(path)) => {
                text.push(b' ');
                text.extend_from_slice(path);
            }
            Some(UnixAddress::Abstract(name)) => {
                text.extend_from_slice(b" @");
                text.extend(name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }));
            }
            None => {}
        }
        text.push(b'\n');
    }
}

impl State {
    /// Whether the next byte is the one that was sent out of band, or stood there.
    fn is_at_mark(&self) -> bool {
        let Some(first) = self.inbox.front() else { return false };
        match first.mark {
            Mark::Urgent => true,
            Mark::None => false,
            Mark::Taken => {
                let next = self.inbox.get(1).is_some_and(|next| next.mark == Mark::Urgent);
                next || self.inbox.iter().all(|message| message.mark != Mark::Urgent)
            }
        }
    }

    fn has_something(&self) -> bool {
        match &self.role {
            Role::Listening { pending, .. } => !pending.is_empty(),
            _ => !self.inbox.is_empty(),
        }
    }
}

impl UnixNamespace {
    /// The text of /proc/net/unix.
    pub fn proc_text(&self) -> Vec<u8> {
        let mut text = b"Num       RefCount Protocol Flags    Type St Inode Path\n".to_vec();
        for socket in self.sockets() {
            socket.describe(&mut text);
        }
        text
    }
}
