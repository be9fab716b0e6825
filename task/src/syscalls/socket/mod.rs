//! Socket calls: `socket(2)` to `shutdown(2)`.
//!
//! Handlers decode arguments, wait, and encode results; what a call does is up to the address family
//! ([`crate::socket::Socket`]). A wait ends with the socket's own timeouts as well.

mod address;
#[doc(hidden)]
pub mod control;
mod message;
mod options;

use std::sync::Arc;

use chitin_abi::net::{MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::OpenFile;
use chitin_vfs::io::Sink;

pub use self::message::{recvfrom, recvmmsg, recvmsg, sendmmsg, sendmsg, sendto};
pub use self::options::{getsockopt, setsockopt};
use super::args::{Fd, FdPair, Flags};
use super::scatter::Scatter;
use super::streams::{install, install_pair};
use crate::context::Ctx;
use crate::error::{SysError, SysResult};
use crate::readiness::{Patience, patiently};
use crate::socket::unix::UnixSocket;
use crate::socket::{self, Caller, Control, Shutdown, Socket, SocketFile};

/// A descriptor that is a socket.
struct Target {
    nonblocking: bool,
    socket: Arc<dyn Socket>,
}

impl Target {
    fn get(cx: &Ctx<'_>, fd: Fd) -> Result<Self> {
        let file = cx.file(fd.0)?;
        Ok(Self::of(&file, socket::of(&file)?))
    }

    fn of(file: &OpenFile, socket: &SocketFile) -> Self {
        Self { nonblocking: file.nonblocking(), socket: Arc::clone(socket.socket()) }
    }

    fn receive_patience(&self, dont_wait: bool) -> Patience {
        Patience::new(dont_wait || self.nonblocking, self.socket.common().receive_timeout())
    }

    fn send_patience(&self, dont_wait: bool) -> Patience {
        Patience::new(dont_wait || self.nonblocking, self.socket.common().send_timeout())
    }
}

/// `read(2)` of a socket.
///
/// # Errors
/// As [`recvfrom`].
pub async fn read(
    cx: &Ctx<'_>,
    file: &OpenFile,
    socket: &SocketFile,
    to: Scatter<'_>,
    nowait: bool,
) -> SysResult {
    if Sink::remaining(&to) == 0 {
        return Ok(0);
    }
    let flags = if nowait { MSG_DONTWAIT } else { 0 };
    let received = message::receive(cx, &Target::of(file, socket), to, flags).await?;
    Ok(received.count as u64)
}

/// `write(2)` to a socket.
///
/// # Errors
/// As [`sendto`].
pub async fn write(
    cx: &Ctx<'_>,
    file: &OpenFile,
    socket: &SocketFile,
    from: Scatter<'_>,
    flags: u32,
) -> SysResult {
    message::send(cx, &Target::of(file, socket), from, None, Control::default(), flags).await
}

/// `socket(2)`.
pub fn socket(cx: &mut Ctx<'_>, domain: i32, kind: i32, protocol: i32) -> SysResult {
    let (kind, flags, close_on_exec) = socket::split_type(kind)?;
    let caller = Caller::new(cx.task);
    let socket = socket::create(domain.cast_unsigned(), kind, protocol.cast_unsigned(), &caller)?;
    install(cx, SocketFile::open(socket, flags, &caller), close_on_exec)
}

/// `socketpair(2)`.
pub fn socketpair(
    cx: &mut Ctx<'_>,
    domain: i32,
    kind: i32,
    protocol: i32,
    pair: FdPair,
) -> SysResult {
    let (kind, flags, close_on_exec) = socket::split_type(kind)?;
    let caller = Caller::new(cx.task);
    let open = || socket::create(domain.cast_unsigned(), kind, protocol.cast_unsigned(), &caller);
    let (one, two) = (open()?, open()?);
    {
        let unix = |socket: &Arc<dyn Socket>| {
            let unix: Option<&UnixSocket> = socket.as_any().downcast_ref();
            unix.map(UnixSocket::arc).ok_or(Errno::EOPNOTSUPP)?
        };
        UnixSocket::pair(&unix(&one)?, &unix(&two)?, &caller);
    }
    let files = [SocketFile::open(one, flags, &caller), SocketFile::open(two, flags, &caller)];
    install_pair(cx, pair.0, files, close_on_exec)
}

/// `bind(2)`.
pub fn bind(cx: &mut Ctx<'_>, fd: Fd, addr: GuestAddr, length: u32) -> SysResult {
    let target = Target::get(cx, fd)?;
    let address = address::read(cx, addr, length)?;
    target.socket.bind(&address, &Caller::new(cx.task))?;
    Ok(0)
}

/// `listen(2)`.
pub fn listen(cx: &mut Ctx<'_>, fd: Fd, backlog: i32) -> SysResult {
    let target = Target::get(cx, fd)?;
    // A negative backlog is a very large one.
    target.socket.listen(backlog.cast_unsigned(), &Caller::new(cx.task))?;
    Ok(0)
}

/// `connect(2)`.
pub async fn connect(cx: &mut Ctx<'_>, fd: Fd, addr: GuestAddr, length: u32) -> SysResult {
    let target = Target::get(cx, fd)?;
    let address = address::read(cx, addr, length)?;
    let caller = Caller::new(cx.task);
    let patience = target.send_patience(false);
    let socket = &target.socket;
    let attempt = || socket.connect(&address, &caller);
    let began = patiently(cx, socket.queue(), PollEvents::POLLOUT, patience, attempt).await;
    match began {
        Ok(()) => Ok(0),
        Err(SysError::Errno(Errno::EINPROGRESS | Errno::EALREADY))
            if patience != Patience::None =>
        {
            let attempt = || socket.connect_result();
            match patiently(cx, socket.queue(), PollEvents::POLLOUT, patience, attempt).await {
                Err(SysError::Errno(Errno::EAGAIN)) => Err(Errno::EINPROGRESS.into()),
                result => result.map(|()| 0),
            }
        }
        Err(error) => Err(error),
    }
}

/// `accept(2)`.
pub async fn accept(cx: &mut Ctx<'_>, fd: Fd, addr: GuestAddr, length: GuestAddr) -> SysResult {
    accept4(cx, fd, addr, length, Flags(0)).await
}

/// `accept4(2)`.
pub async fn accept4(
    cx: &mut Ctx<'_>,
    fd: Fd,
    addr: GuestAddr,
    length: GuestAddr,
    flags: Flags,
) -> SysResult {
    let flags = flags.0;
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (_, open_flags, close_on_exec) = socket::split_type(flags.cast_signed())?;
    let target = Target::get(cx, fd)?;
    let patience = target.receive_patience(false);
    let attempt = || target.socket.accept();
    let accepted =
        patiently(cx, target.socket.queue(), PollEvents::POLLIN, patience, attempt).await?;
    let peer = accepted.peer_address();
    // From here on the file closes the connection if something fails.
    let file = SocketFile::open(accepted, open_flags, &Caller::new(cx.task));
    if !addr.is_null() {
        let peer = peer.map_err(|_| Errno::ECONNABORTED)?;
        address::write(cx, &peer, addr, length)?;
    }
    install(cx, file, close_on_exec)
}

/// `getsockname(2)`.
pub fn getsockname(cx: &mut Ctx<'_>, fd: Fd, addr: GuestAddr, length: GuestAddr) -> SysResult {
    let target = Target::get(cx, fd)?;
    address::write(cx, &target.socket.local_address()?, addr, length)?;
    Ok(0)
}

/// `getpeername(2)`.
pub fn getpeername(cx: &mut Ctx<'_>, fd: Fd, addr: GuestAddr, length: GuestAddr) -> SysResult {
    let target = Target::get(cx, fd)?;
    address::write(cx, &target.socket.peer_address()?, addr, length)?;
    Ok(0)
}

/// `shutdown(2)`.
pub fn shutdown(cx: &mut Ctx<'_>, fd: Fd, how: i32) -> SysResult {
    let target = Target::get(cx, fd)?;
    target.socket.shutdown(Shutdown::from_how(how)?)?;
    Ok(0)
}

/// Whether a socket's messages have no boundaries.
fn is_stream(socket: &dyn Socket) -> bool {
    socket.info().kind == SOCK_STREAM
}

/// Whether a socket's messages go to anyone.
fn is_datagram(socket: &dyn Socket) -> bool {
    socket.info().kind == SOCK_DGRAM
}
