//! Socket addresses: `sockaddr(3type)`, `unix(7)`, `ip(7)`, `ipv6(7)`, `netlink(7)`, `packet(7)`, `vsock(7)`.

use super::{AF_INET, AF_INET6};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest path in [`SockaddrUn`]; it needs no NUL.
pub const UNIX_PATH_MAX: usize = 108;
/// Bytes of `struct sockaddr_storage`: no address is longer.
pub const SOCKADDR_STORAGE_LEN: usize = 128;

/// `struct sockaddr_un`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockaddrUn {
    /// `AF_UNIX`.
    pub family: u16,
    /// A path, or a zero byte and an abstract name.
    pub path: [u8; UNIX_PATH_MAX],
}

/// `struct sockaddr_storage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockaddrStorage {
    /// `AF_…`.
    pub family: u16,
    /// The rest of the address.
    pub data: [u8; SOCKADDR_STORAGE_LEN - 2],
}

c_struct! {
    /// `struct sockaddr`.
    pub struct Sockaddr {
        pub family: u16,
        pub data: [u8; 14],
    }
}

c_struct! {
    /// `struct sockaddr_in`.
    pub struct SockaddrIn {
        pub family: u16,
        pub port: U16,
        pub addr: [u8; 4],
        pub zero: [u8; 8],
    }
}

c_struct! {
    /// `struct sockaddr_in6`.
    pub struct SockaddrIn6 {
        pub family: u16,
        pub port: U16,
        pub flowinfo: U32,
        pub addr: [u8; 16],
        pub scope_id: u32,
    }
}

c_struct! {
    /// `struct sockaddr_nl`.
    pub struct SockaddrNl {
        pub family: u16,
        pub pad: u16,
        pub pid: u32,
        pub groups: u32,
    }
}

c_struct! {
    /// `struct sockaddr_ll`.
    pub struct SockaddrLl {
        pub family: u16,
        pub protocol: U16,
        pub ifindex: i32,
        pub hatype: u16,
        pub pkttype: u8,
        pub halen: u8,
        pub addr: [u8; 8],
    }
}

c_struct! {
    /// `struct sockaddr_vm`.
    pub struct SockaddrVm {
        pub family: u16,
        pub reserved1: u16,
        pub port: u32,
        pub cid: u32,
        pub flags: u8,
        pub zero: [u8; 3],
    }
}

impl From<SocketAddrV4> for SockaddrIn {
    fn from(address: SocketAddrV4) -> Self {
        Self {
            family: AF_INET as u16,
            port: U16::new(address.port()),
            addr: address.ip().octets(),
            zero: [0; 8],
        }
    }
}

impl From<SockaddrIn> for SocketAddrV4 {
    fn from(address: SockaddrIn) -> Self {
        Self::new(Ipv4Addr::from(address.addr), address.port.get())
    }
}

impl From<SocketAddrV6> for SockaddrIn6 {
    fn from(address: SocketAddrV6) -> Self {
        Self {
            family: AF_INET6 as u16,
            port: U16::new(address.port()),
            flowinfo: U32::new(address.flowinfo()),
            addr: address.ip().octets(),
            scope_id: address.scope_id(),
        }
    }
}

impl From<SockaddrIn6> for SocketAddrV6 {
    fn from(address: SockaddrIn6) -> Self {
        Self::new(
            Ipv6Addr::from(address.addr),
            address.port.get(),
            address.flowinfo.get(),
            address.scope_id,
        )
    }
}
