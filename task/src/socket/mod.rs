//! Sockets (`socket(7)`): what all address families have in common.
//!
//! A [`Socket`] is what a family provides; a [`SocketFile`] is one as an open file, so that `read`, `write`,
//! `poll` and epoll work on it. Nothing here blocks: what would block fails with `EAGAIN` and the system call
//! waits on [`Socket::queue`].
//!
//! - [`unix`]: `AF_UNIX`. - [`inet`]: `AF_INET` and `AF_INET6`. - [`netlink`]: `AF_NETLINK`. - [`common`]: the options of `SOL_SOCKET`. - [`control`]: control messages.
//! - [`caller`]: who makes a call, as far as sockets want to know.

pub mod caller;
pub mod common;
pub mod control;
mod file;
pub mod inet;
pub mod interface;
pub mod netlink;
pub mod unix;

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::net::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_CLOEXEC,
    SOCK_NONBLOCK,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::{IoctlContext, OpenFile};
use chitin_vfs::io::{Sink, Source};
use chitin_vfs::wait::WaitQueue;

pub use self::caller::{Caller, Identity};
pub use self::common::Common;
pub use self::control::Control;
pub use self::file::SocketFile;

/// What a socket is, as `SO_DOMAIN`, `SO_TYPE` and `SO_PROTOCOL` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    /// `AF_…`.
    pub domain: u32,
    /// `SOCK_…`.
    pub kind: u32,
    /// Protocol number.
    pub protocol: u32,
}

/// A message to be sent, beside its bytes.
#[derive(Default)]
pub struct Outgoing<'a> {
    /// Where to; `None` for where the socket is connected to.
    pub to: Option<&'a [u8]>,
    /// Control messages.
    pub control: Control,
    /// `MSG_…`.
    pub flags: u32,
}

/// What a receive brought, beside the bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes stored; the whole message's length for a datagram that was asked for with `MSG_TRUNC`.
    pub count: usize,
    /// Who sent it; `None` where that is not told.
    pub from: Option<Vec<u8>>,
    /// Control messages.
    pub control: Control,
    /// `MSG_TRUNC`, `MSG_EOR` and the like.
    pub flags: u32,
    /// A receive with `MSG_WAITALL` ends here even if there is room.
    pub stop: bool,
}

/// Which directions `shutdown(2)` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// No more receiving.
    pub read: bool,
    /// No more sending.
    pub write: bool,
}

impl Shutdown {
    /// The meaning of `SHUT_…`.
    ///
    /// # Errors
    /// EINVAL.
    pub fn from_how(how: i32) -> Result<Self> {
        match u32::try_from(how) {
            Ok(SHUT_RD) => Ok(Self { read: true, write: false }),
            Ok(SHUT_WR) => Ok(Self { read: false, write: true }),
            Ok(SHUT_RDWR) => Ok(Self { read: true, write: true }),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What an address family provides for each socket. Every method has a default for sockets that cannot do it.
pub trait Socket: Any + Send + Sync {
    /// For downcasts by the family.
    fn as_any(&self) -> &dyn Any;

    /// Family, type and protocol.
    fn info(&self) -> SocketInfo;

    /// The options that all sockets have.
    fn common(&self) -> &Common;

    /// Where changes of [`Socket::poll`] are told.
    fn queue(&self) -> &Arc<WaitQueue>;

    /// The events that poll reports now.
    fn poll(&self) -> PollEvents;

    /// Gives it a local address.
    ///
    /// # Errors
    /// EINVAL, EADDRINUSE, EADDRNOTAVAIL, EACCES, those of making a file.
    fn bind(&self, address: &[u8], caller: &Caller<'_>) -> Result<()> {
        let _ = (address, caller);
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes it accept connections, of which `backlog` may wait.
    ///
    /// # Errors
    /// EINVAL, EOPNOTSUPP, EADDRINUSE.
    fn listen(&self, backlog: u32, caller: &Caller<'_>) -> Result<()> {
        let _ = (backlog, caller);
        Err(Errno::EOPNOTSUPP)
    }

    /// Connects it. EAGAIN and EINPROGRESS mean: try again when the queue tells of `POLLOUT`; the second kind
    /// goes on by itself, and a non-blocking caller is told so.
    ///
    /// # Errors
    /// ECONNREFUSED, EISCONN, EALREADY, EPROTOTYPE, those of finding a file.
    fn connect(&self, address: &[u8], caller: &Caller<'_>) -> Result<()> {
        let _ = (address, caller);
        Err(Errno::EOPNOTSUPP)
    }

    /// How a connect that goes on by itself has ended; told once.
    ///
    /// # Errors
    /// EAGAIN while it goes on; why it failed.
    fn connect_result(&self) -> Result<()> {
        Ok(())
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// EAGAIN, EINVAL for one that does not listen, EOPNOTSUPP.
    fn accept(&self) -> Result<Arc<dyn Socket>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Sends. A stream may take less than there is; the caller goes on with the rest.
    ///
    /// # Errors
    /// EAGAIN where it would block, EPIPE, ENOTCONN, EMSGSIZE and so on.
    fn send(
        &self,
        from: &mut dyn Source,
        message: &mut Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Result<usize>;

    /// Receives; `flags` are `MSG_…`.
    ///
    /// # Errors
    /// EAGAIN where it would block, ENOTCONN, ECONNRESET and so on.
    fn receive(&self, to: &mut dyn Sink, flags: u32) -> Result<Received>;

    /// Ends directions.
    ///
    /// # Errors
    /// ENOTCONN.
    fn shutdown(&self, how: Shutdown) -> Result<()> {
        let _ = how;
        Err(Errno::EOPNOTSUPP)
    }

    /// The local address.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    fn local_address(&self) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// ENOTCONN.
    fn peer_address(&self) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The value of an option that is not one of [`Common`]'s; `room` is how many bytes the caller takes.
    ///
    /// # Errors
    /// ENOPROTOOPT.
    fn option(&self, level: u32, name: u32, room: usize, caller: &Caller<'_>) -> Result<Vec<u8>> {
        let _ = (level, name, room, caller);
        Err(Errno::ENOPROTOOPT)
    }

    /// Sets such an option.
    ///
    /// # Errors
    /// ENOPROTOOPT, EINVAL.
    fn set_option(&self, level: u32, name: u32, value: &[u8], caller: &Caller<'_>) -> Result<()> {
        let _ = (level, name, value, caller);
        Err(Errno::ENOPROTOOPT)
    }

    /// An option of [`Common`] has changed, such as a buffer's size.
    fn common_changed(&self) {}

    /// A switch of [`Common`] has changed.
    fn switched(&self) {}

    /// The pending error, which is cleared (`SO_ERROR`).
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// Whether it listens (`SO_ACCEPTCONN`).
    fn is_listening(&self) -> bool {
        false
    }

    /// A device control.
    ///
    /// # Errors
    /// ENOTTY.
    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        let _ = (command, argument, context);
        Err(Errno::ENOTTY)
    }

    /// It has become an open file with this inode number.
    fn opened(&self, ino: u64) {
        let _ = ino;
    }

    /// The last descriptor is gone: what the namespace has of it.
    fn close_in(&self, net: &crate::namespace::NetNamespace) {
        let _ = net;
    }

    /// The last descriptor is gone.
    fn close(&self);
}

/// Splits the `type` argument of `socket(2)` into the type and the flags of the open file.
///
/// # Errors
/// EINVAL for flags that do not exist.
pub fn split_type(kind: i32) -> Result<(u32, OpenFlags, bool)> {
    let bits = kind.cast_unsigned();
    let flags = bits & !0xf;
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut open = OpenFlags::O_RDWR;
    if flags & SOCK_NONBLOCK != 0 {
        open |= OpenFlags::O_NONBLOCK;
    }
    Ok((bits & 0xf, open, flags & SOCK_CLOEXEC != 0))
}

/// A new socket.
///
/// # Errors
/// EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EINVAL.
pub fn create(
    domain: u32,
    kind: u32,
    protocol: u32,
    caller: &Caller<'_>,
) -> Result<Arc<dyn Socket>> {
    if domain >= chitin_abi::net::AF_MAX {
        return Err(Errno::EAFNOSUPPORT);
    }
    if kind > chitin_abi::net::SOCK_PACKET {
        return Err(Errno::EINVAL);
    }
    match domain {
        AF_UNIX => Ok(unix::UnixSocket::create(kind, protocol, caller)?),
        AF_NETLINK => netlink::NetlinkSocket::create(kind, protocol),
        AF_INET | AF_INET6 => inet::InetSocket::create(domain, kind, protocol, caller),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The socket of an open file.
///
/// # Errors
/// ENOTSOCK.
pub fn of(file: &OpenFile) -> Result<&SocketFile> {
    file.file().as_any().downcast_ref().ok_or(Errno::ENOTSOCK)
}
