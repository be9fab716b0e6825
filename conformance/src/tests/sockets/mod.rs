//! Sockets of one machine: `unix(7)`.

pub mod datagram;
pub mod many;
pub mod names;
pub mod options;
pub mod passing;
pub mod stream;
pub mod urgent;

use chitin_abi::Result;
use chitin_abi::net::AF_UNIX;
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel};

/// A socket.
pub fn socket(k: &dyn Kernel, kind: u32) -> Fd {
    call!(k, SOCKET, AF_UNIX, kind, 0).unwrap() as Fd
}

/// Two connected sockets.
pub fn pair(k: &dyn Kernel, kind: u32) -> (Fd, Fd) {
    let mut fds = [0_i32; 2];
    call!(k, SOCKETPAIR, AF_UNIX, kind, 0, fds.as_mut_bytes()).unwrap();
    (fds[0], fds[1])
}

/// A name: a path, or an abstract one behind `@`.
pub fn name(text: &str) -> Vec<u8> {
    match text.strip_prefix('@') {
        Some(rest) => [b"\x01\0\0", rest.as_bytes()].concat(),
        None => [b"\x01\0", text.as_bytes(), b"\0"].concat(),
    }
}

/// An abstract name that no other run of the suite has.
pub fn unique(k: &dyn Kernel, text: &str) -> String {
    format!("{text}-{}", k.getpid())
}

/// `bind(2)`.
pub fn bind(k: &dyn Kernel, fd: Fd, text: &str) -> Result<u64> {
    let name = name(text);
    call!(k, BIND, fd, name.as_slice(), name.len())
}

/// `connect(2)`.
pub fn connect(k: &dyn Kernel, fd: Fd, text: &str) -> Result<u64> {
    let name = name(text);
    call!(k, CONNECT, fd, name.as_slice(), name.len())
}

/// A socket that accepts connections.
pub fn listener(k: &dyn Kernel, kind: u32, text: &str, backlog: i32) -> Fd {
    let fd = socket(k, kind);
    bind(k, fd, text).unwrap();
    call!(k, LISTEN, fd, backlog).unwrap();
    fd
}

/// `accept(2)` without an address.
pub fn accept(k: &dyn Kernel, fd: Fd) -> Result<Fd> {
    call!(k, ACCEPT, fd, Arg::Null, Arg::Null).map(|fd| fd as Fd)
}

/// `send(2)`.
pub fn send(k: &dyn Kernel, fd: Fd, bytes: &[u8], flags: u32) -> Result<u64> {
    call!(k, SENDTO, fd, bytes, bytes.len(), flags, Arg::Null, 0)
}

/// `recv(2)`.
pub fn receive(k: &dyn Kernel, fd: Fd, size: usize, flags: u32) -> Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    let count =
        call!(k, RECVFROM, fd, buffer.as_mut_slice(), size, flags, Arg::Null, Arg::Null)? as usize;
    buffer.truncate(count.min(size));
    Ok(buffer)
}

/// An `int` option of the socket level.
pub fn option(k: &dyn Kernel, fd: Fd, name: u32) -> Result<i32> {
    let (mut value, mut length) = ([0_u8; 4], 4_u32.to_ne_bytes());
    call!(k, GETSOCKOPT, fd, 1, name, &mut value, &mut length)?;
    Ok(i32::from_ne_bytes(value))
}

/// Sets an `int` option of the socket level.
pub fn set_option(k: &dyn Kernel, fd: Fd, name: u32, value: i32) -> Result<u64> {
    call!(k, SETSOCKOPT, fd, 1, name, &value.to_ne_bytes(), 4)
}
