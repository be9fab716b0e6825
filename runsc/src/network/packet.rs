//! Packet sockets (`packet(7)`): frames of one interface, with virtio-net headers before them, so that large segments and
//! missing checksums pass as they are.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::raw;

/// Bytes that may wait in each direction.
const BUFFER: i32 = 4 << 20;

/// Opens a packet socket on an interface of the current network namespace.
///
/// # Errors
/// Those of `socket(2)`, `setsockopt(2)` and `bind(2)`.
pub(super) fn open(index: u32) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol yet: nothing is received before it is bound to its interface.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    let fd = socket.as_fd();
    raw::set_option(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    // Hosts before 4.20 don't know it: then frames of the host's own come in and are dropped, as they are not for us.
    let _ = raw::set_option(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    // Beyond the host's limits where that is allowed.
    for (name, forced) in
        [(libc::SO_RCVBUF, libc::SO_RCVBUFFORCE), (libc::SO_SNDBUF, libc::SO_SNDBUFFORCE)]
    {
        if raw::set_option(fd, libc::SOL_SOCKET, forced, BUFFER).is_err() {
            raw::set_option(fd, libc::SOL_SOCKET, name, BUFFER)?;
        }
    }
    raw::bind_packet(fd, index)?;
    Ok(socket)
}

const PACKET_IGNORE_OUTGOING: i32 = 23;
