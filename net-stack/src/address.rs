//! Addresses: which are local, and IPv4 addresses in IPv6 clothes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether packets to this address stay here: the loopback interface has 127.0.0.0/8 and ::1.
pub fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
}

/// An address as the stack keeps it: IPv4-mapped ones are IPv4.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), address.port()),
            None => SocketAddr::new(IpAddr::V6(v6), address.port()),
        },
        IpAddr::V4(_) => address,
    }
}

/// An address as an IPv6 socket shows it.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Where a connection to the unspecified address goes: to this host.
pub(crate) fn destination(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port())
        }
        _ => address,
    }
}
