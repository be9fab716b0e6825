//! `struct sockaddr_in` and `struct sockaddr_in6`.

use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use chitin_abi::net::{AF_INET, AF_INET6, AF_UNSPEC, SockaddrIn, SockaddrIn6};
use chitin_abi::{Errno, Result};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// An IPv6 address without its scope, as old programs give it.
const SHORT_V6: usize = 24;

fn family(bytes: &[u8]) -> Result<u32> {
    let (family, _) = bytes.split_first_chunk::<2>().ok_or(Errno::EINVAL)?;
    Ok(u16::from_ne_bytes(*family).into())
}

fn v4(bytes: &[u8]) -> Result<SocketAddr> {
    let (address, _) = SockaddrIn::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
    Ok(SocketAddrV4::from(address).into())
}

fn v6(bytes: &[u8]) -> Result<SocketAddr> {
    if bytes.len() < SHORT_V6 {
        return Err(Errno::EINVAL);
    }
    let mut address = SockaddrIn6::new_zeroed();
    let length = bytes.len().min(size_of::<SockaddrIn6>());
    if let (Some(to), Some(from)) = (address.as_mut_bytes().get_mut(..length), bytes.get(..length))
    {
        to.copy_from_slice(from);
    }
    Ok(SocketAddrV6::from(address).into())
}

/// The address of a bind.
///
/// # Errors
/// EINVAL, EAFNOSUPPORT.
pub fn parse_for_bind(bytes: &[u8], is_v6: bool) -> Result<SocketAddr> {
    match (family(bytes)?, is_v6) {
        (AF_INET6, true) => v6(bytes),
        (AF_INET, false) => v4(bytes),
        // An old habit that Linux tolerates for the unspecified address.
        (AF_UNSPEC, false) => v4(bytes).and_then(|address| {
            if address.ip().is_unspecified() { Ok(address) } else { Err(Errno::EAFNOSUPPORT) }
        }),
        _ if bytes.len() < if is_v6 { SHORT_V6 } else { size_of::<SockaddrIn>() } => {
            Err(Errno::EINVAL)
        }
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The address of a connect; `None` to disconnect.
///
/// # Errors
/// EINVAL, EAFNOSUPPORT.
pub fn parse_for_connect(bytes: &[u8], is_v6: bool) -> Result<Option<SocketAddr>> {
    match (family(bytes)?, is_v6) {
        (AF_UNSPEC, _) => Ok(None),
        (AF_INET6, true) => v6(bytes).map(Some),
        (AF_INET, _) => v4(bytes).map(Some),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The address of a datagram.
///
/// # Errors
/// EINVAL, EAFNOSUPPORT.
pub fn parse_for_send(bytes: &[u8], is_v6: bool) -> Result<SocketAddr> {
    match (family(bytes)?, is_v6) {
        (AF_INET6, true) => v6(bytes),
        (AF_INET, _) | (AF_UNSPEC, false) => v4(bytes),
        _ if bytes.len() < size_of::<SockaddrIn>() => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The bytes of an address.
pub fn emit(address: SocketAddr) -> Vec<u8> {
    match address {
        SocketAddr::V4(address) => SockaddrIn::from(address).as_bytes().to_vec(),
        SocketAddr::V6(address) => SockaddrIn6::from(address).as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_written() {
        let four: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert_eq!((emit(four).len(), parse_for_bind(&emit(four), false)), (16, Ok(four)));
        let six: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!((emit(six).len(), parse_for_connect(&emit(six), true)), (28, Ok(Some(six))));
        assert_eq!(parse_for_bind(&emit(six), false), Err(Errno::EAFNOSUPPORT));
        assert_eq!(parse_for_bind(&emit(four)[..8], false), Err(Errno::EINVAL));
        assert_eq!(parse_for_connect(&[0, 0], false), Ok(None));
    }
}
