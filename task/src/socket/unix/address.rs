//! Addresses of unix sockets (`unix(7)`).

use chitin_abi::net::{AF_UNIX, UNIX_PATH_MAX};
use chitin_abi::{Errno, Result};

/// Bytes of the family in front of every address.
const FAMILY_LEN: usize = 2;

/// A name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixAddress {
    /// A path, without its NUL.
    Path(Vec<u8>),
    /// A name of the abstract namespace, without the NUL in front.
    Abstract(Vec<u8>),
}

/// What a call names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The family alone: bind then makes up a name.
    Unnamed,
    /// A name.
    Named(UnixAddress),
}

/// Reads a `struct sockaddr_un`.
///
/// # Errors
/// EINVAL for another family or a length out of range.
pub fn parse(bytes: &[u8]) -> Result<Parsed> {
    let (family, name) = split(bytes)?;
    if family != AF_UNIX || name.len() > UNIX_PATH_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(match name {
        [] => Parsed::Unnamed,
        [0, rest @ ..] => Parsed::Named(UnixAddress::Abstract(rest.to_vec())),
        path => {
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            Parsed::Named(UnixAddress::Path(path.get(..end).unwrap_or_default().to_vec()))
        }
    })
}

/// The same where a name must be there.
///
/// # Errors
/// EINVAL.
pub fn parse_named(bytes: &[u8]) -> Result<UnixAddress> {
    match parse(bytes)? {
        Parsed::Named(address) => Ok(address),
        Parsed::Unnamed => Err(Errno::EINVAL),
    }
}

/// The family of an address and what follows it.
///
/// # Errors
/// EINVAL for one without a whole family.
pub fn split(bytes: &[u8]) -> Result<(u32, &[u8])> {
    let (family, rest) = bytes.split_first_chunk::<FAMILY_LEN>().ok_or(Errno::EINVAL)?;
    Ok((u16::from_ne_bytes(*family).into(), rest))
}

/// A `struct sockaddr_un` of a socket that may have no name.
pub fn emit(address: Option<&UnixAddress>) -> Vec<u8> {
    let mut bytes = (AF_UNIX as u16).to_ne_bytes().to_vec();
    match address {
        Some(UnixAddress::Path(path)) => {
            bytes.extend_from_slice(path);
            bytes.push(0);
        }
        Some(UnixAddress::Abstract(name)) => {
            bytes.push(0);
            bytes.extend_from_slice(name);
        }
        None => {}
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(name: &[u8]) -> Vec<u8> {
        [&1_u16.to_ne_bytes(), name].concat()
    }

    #[test]
    fn names_end_where_linux_ends_them() {
        assert_eq!(parse(&raw(b"")), Ok(Parsed::Unnamed));
        assert_eq!(parse_named(&raw(b"a/b\0junk")), Ok(UnixAddress::Path(b"a/b".to_vec())));
        assert_eq!(parse_named(&raw(b"\0a\0")), Ok(UnixAddress::Abstract(b"a\0".to_vec())));
        assert_eq!(parse_named(&raw(&[b'x'; 108])), Ok(UnixAddress::Path(vec![b'x'; 108])));
    }

    #[test]
    fn bad_addresses_are_invalid() {
        for bytes in [vec![], vec![1], vec![2, 0, 65], raw(&[1; 109]), raw(b"")] {
            assert_eq!(parse_named(&bytes), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn shown_lengths_are_those_of_linux() {
        assert_eq!(emit(None).len(), 2);
        assert_eq!(emit(Some(&UnixAddress::Path(b"/x".to_vec()))).len(), 5);
        assert_eq!(emit(Some(&UnixAddress::Abstract(b"abc".to_vec()))).len(), 6);
    }
}
