//! Unix sockets as `sock_diag(7)` lists them.

use core::sync::atomic::Ordering;

use chitin_abi::net::{
    AF_UNIX, UDIAG_SHOW_NAME, UDIAG_SHOW_PEER, UDIAG_SHOW_RQLEN, UDIAG_SHOW_UID, UDIAG_SHOW_VFS,
    UNIX_DIAG_NAME, UNIX_DIAG_PEER, UNIX_DIAG_RQLEN, UNIX_DIAG_SHUTDOWN, UNIX_DIAG_UID,
    UNIX_DIAG_VFS, UnixDiagMsg,
};

use super::{Role, State, UnixNamespace, UnixSocket, address};
use crate::socket::netlink::diag::{Listing, fixed};

/// States as TCP names them: connected, connecting, neither, listening.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// Bits of a socket's shutdown: reading, writing.
const RECEIVE_SHUTDOWN: u8 = 1;
const SEND_SHUTDOWN: u8 = 2;

impl UnixNamespace {
    /// Lists the sockets in these states, or the one with this inode number, with what `show` asks for.
    pub(in crate::socket) fn diagnose(
        &self,
        states: u32,
        show: u32,
        one: Option<u32>,
        listing: &mut Listing<'_>,
    ) {
        for socket in self.sockets() {
            if listing.is_full() {
                return;
            }
            socket.diagnose(states, show, one, listing);
        }
    }
}

impl UnixSocket {
    fn diagnose(&self, states: u32, show: u32, one: Option<u32>, listing: &mut Listing<'_>) {
        let ino = self.ino.load(Ordering::Relaxed) as u32;
        // The peer's lock is never taken while this one is held.
        let peer = self.state.lock().peer.clone();
        let peer = peer.map(|peer| peer.ino.load(Ordering::Relaxed) as u32);
        let state = self.state.lock();
        let shown = state.number();
        let wanted = one.map_or(states & (1 << shown) != 0, |one| one == ino);
        if state.closed || !wanted {
            return;
        }
        let message = UnixDiagMsg {
            family: AF_UNIX as u8,
            kind: self.kind.number() as u8,
            state: shown,
            pad: 0,
            ino,
            cookie: [ino, 0],
        };
        let name = address::emit(state.address.as_ref()).split_off(size_of::<u16>());
        let peer = peer.unwrap_or_default().to_ne_bytes();
        let vfs = state.vfs();
        let lengths = state.lengths(self.budget.used());
        let uid = state.peer_identity.as_ref().map_or(0, |identity| identity.uid).to_ne_bytes();
        let shutdown = [state.shutdown()];
        let attributes = [
            (show & UDIAG_SHOW_NAME != 0 && !name.is_empty(), UNIX_DIAG_NAME, name.as_slice()),
            (show & UDIAG_SHOW_VFS != 0 && state.file.is_some(), UNIX_DIAG_VFS, &vfs[..]),
            (show & UDIAG_SHOW_PEER != 0 && state.peer.is_some(), UNIX_DIAG_PEER, &peer[..]),
            (show & UDIAG_SHOW_RQLEN != 0, UNIX_DIAG_RQLEN, &lengths[..]),
            (show & UDIAG_SHOW_UID != 0, UNIX_DIAG_UID, &uid[..]),
            (true, UNIX_DIAG_SHUTDOWN, &shutdown[..]),
        ];
        let attributes = attributes.into_iter().filter(|(wanted, ..)| *wanted);
        let attributes: Vec<(u16, &[u8])> =
            attributes.map(|(_, kind, data)| (kind as u16, data)).collect();
        listing.socket(fixed(&message), &attributes);
    }
}

impl State {
    const fn number(&self) -> u8 {
        match self.role {
            Role::Listening { .. } => LISTEN,
            Role::Connected => ESTABLISHED,
            Role::Connecting => SYN_SENT,
            Role::Idle => CLOSE,
        }
    }

    fn shutdown(&self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(self.no_receive, RECEIVE_SHUTDOWN) | bit(self.no_send, SEND_SHUTDOWN)
    }

    /// Inode and device number of the socket file.
    fn vfs(&self) -> [u8; 8] {
        let attr = self.file.as_ref().and_then(|path| path.dentry().inode().attr().ok());
        pair(attr.map_or(0, |attr| attr.ino as u32), attr.map_or(0, |attr| attr.dev as u32))
    }

    /// Both queues; at a listener who waits, and how many may.
    fn lengths(&self, unsent: usize) -> [u8; 8] {
        let (receive, send) = match &self.role {
            Role::Listening { backlog, pending } => (pending.len(), *backlog),
            _ => (self.inbox.iter().map(|message| message.rest().len()).sum(), unsent),
        };
        let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        pair(word(receive), word(send))
    }
}

/// Two words side by side, as a structure of attributes holds them.
fn pair(first: u32, second: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    bytes
}
