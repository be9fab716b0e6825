//! IPv4 (RFC 791) and IPv6 (RFC 8200). Options and extension headers are passed over, but for fragments.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;

/// Bytes of an IPv4 header without options.
pub const V4_HEADER: usize = 20;
/// Bytes of an IPv6 header.
pub const V6_HEADER: usize = 40;
/// Bytes of the extension header of an IPv6 fragment.
pub const V6_FRAGMENT: usize = 8;
/// Most extension headers that are passed over.
const MAX_EXTENSIONS: usize = 8;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// Protocol numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// Fragment header of IPv6.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// UDP-Lite.
    pub const UDPLITE: u8 = 136;
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const DESTINATION: u8 = 60;
}

/// Which part of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What all parts of a packet have in common.
    pub id: u32,
    /// Where it belongs, bytes; a multiple of 8.
    pub offset: u16,
    /// Whether others lie behind it.
    pub more: bool,
}

/// What the stack knows of an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source.
    pub from: IpAddr,
    /// Destination.
    pub to: IpAddr,
    /// Transport protocol.
    pub protocol: u8,
    /// Hops left.
    pub hops: u8,
    /// Type of service, or traffic class.
    pub class: u8,
    /// `None` for a whole packet.
    pub fragment: Option<Fragment>,
    /// Routers may not take it apart (IPv4).
    pub dont_fragment: bool,
}

impl Repr {
    /// A whole packet with usual values.
    pub const fn new(from: IpAddr, to: IpAddr, protocol: u8) -> Self {
        Self { from, to, protocol, hops: 64, class: 0, fragment: None, dont_fragment: true }
    }

    /// Length of the header.
    pub const fn header_len(&self) -> usize {
        match self.to {
            IpAddr::V4(_) => V4_HEADER,
            IpAddr::V6(_) if self.fragment.is_some() => V6_HEADER + V6_FRAGMENT,
            IpAddr::V6(_) => V6_HEADER,
        }
    }

    /// Reads a header; the rest of the bytes, and the payload's length by the header, come with it.
    pub fn parse(bytes: &[u8]) -> Option<(Self, &[u8], usize)> {
        match bytes.first()? >> 4 {
            4 => parse_v4(bytes),
            6 => parse_v6(bytes),
            _ => None,
        }
    }

    /// The same for an IPv4 header whose checksum and length may not be filled in yet.
    pub fn parse_unchecked(bytes: &[u8]) -> Option<(Self, &[u8], usize)> {
        let header_len = usize::from(bytes.first()? & 0xf) * 4;
        let mut header =
            bytes.get(..header_len).filter(|header| header.len() >= V4_HEADER)?.to_vec();
        header.get_mut(10..12)?.fill(0);
        let sum = checksum::finish(checksum::sum(&header)).to_be_bytes();
        header.get_mut(10..12)?.copy_from_slice(&sum);
        let (repr, ..) =
            parse_v4(&header).filter(|_| bytes.first().is_some_and(|byte| byte >> 4 == 4))?;
        let rest = bytes.get(header_len..)?;
        Some((repr, rest, rest.len()))
    }

    /// Appends the header of a packet with `payload` bytes behind it. Both addresses are of one family.
    pub fn emit<A: Extend<u8>>(&self, payload: usize, to: &mut A) {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(dest)) => to.extend(self.v4(from, dest, payload)),
            (IpAddr::V6(from), IpAddr::V6(dest)) => self.emit_v6(from, dest, payload, to),
            _ => {}
        }
    }

    fn v4(&self, from: Ipv4Addr, dest: Ipv4Addr, payload: usize) -> [u8; V4_HEADER] {
        // A segment longer than a packet can say has length 0, as with segmentation offload.
        let length = u16::try_from(V4_HEADER + payload).unwrap_or(0).to_be_bytes();
        let mut flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        let mut id = [0; 2];
        if let Some(fragment) = self.fragment {
            flags |= (fragment.offset / 8) & 0x1fff;
            flags |= if fragment.more { MORE_FRAGMENTS } else { 0 };
            id = (fragment.id as u16).to_be_bytes();
        }
        let mut header = [0; V4_HEADER];
        [header[0], header[1], header[2], header[3]] = [0x45, self.class, length[0], length[1]];
        [header[4], header[5]] = id;
        [header[6], header[7]] = flags.to_be_bytes();
        [header[8], header[9]] = [self.hops, self.protocol];
        header[12..16].copy_from_slice(&from.octets());
        header[16..20].copy_from_slice(&dest.octets());
        [header[10], header[11]] = checksum::finish(checksum::sum(&header)).to_be_bytes();
        header
    }

    fn emit_v6<A: Extend<u8>>(&self, from: Ipv6Addr, dest: Ipv6Addr, payload: usize, to: &mut A) {
        let extra = if self.fragment.is_some() { V6_FRAGMENT } else { 0 };
        let length = u16::try_from(payload + extra).unwrap_or(0).to_be_bytes();
        let next = if extra > 0 { protocol::FRAGMENT } else { self.protocol };
        to.extend([0x60 | self.class >> 4, self.class << 4, 0, 0]);
        to.extend([length[0], length[1], next, self.hops]);
        to.extend(from.octets());
        to.extend(dest.octets());
        if let Some(fragment) = self.fragment {
            to.extend([self.protocol, 0]);
            let place = fragment.offset & !7 | u16::from(fragment.more);
            to.extend(place.to_be_bytes());
            to.extend(fragment.id.to_be_bytes());
        }
    }
}

fn parse_v4(bytes: &[u8]) -> Option<(Repr, &[u8], usize)> {
    let header: &[u8; V4_HEADER] = bytes.first_chunk()?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let whole = bytes.get(..header_len).filter(|whole| whole.len() >= V4_HEADER)?;
    if checksum::finish(checksum::sum(whole)) != 0 {
        return None;
    }
    let word = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
    let octets =
        |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?));
    let flags = word(6)?;
    let (offset, more) = ((flags & 0x1fff) * 8, flags & MORE_FRAGMENTS != 0);
    let id = u32::from(word(4)?);
    let repr = Repr {
        from: octets(12)?.into(),
        to: octets(16)?.into(),
        protocol: header[9],
        hops: header[8],
        class: header[1],
        fragment: (offset > 0 || more).then_some(Fragment { id, offset, more }),
        dont_fragment: flags & DONT_FRAGMENT != 0,
    };
    let length = usize::from(word(2)?).saturating_sub(header_len);
    Some((repr, bytes.get(header_len..)?, length))
}

fn parse_v6(bytes: &[u8]) -> Option<(Repr, &[u8], usize)> {
    let (header, mut rest) = bytes.split_first_chunk::<V6_HEADER>()?;
    let octets =
        |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?));
    let mut length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let mut repr = Repr {
        from: octets(8)?.into(),
        to: octets(24)?.into(),
        protocol: header[6],
        hops: header[7],
        class: header[0] << 4 | header[1] >> 4,
        fragment: None,
        dont_fragment: true,
    };
    for _ in 0..MAX_EXTENSIONS {
        let extension = match repr.protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION => {
                let [_, units, ..] = rest.first_chunk::<V6_FRAGMENT>()?;
                // A source route that is not at its end is not for us (RFC 5095).
                if repr.protocol == protocol::ROUTING && *rest.get(3)? != 0 {
                    return None;
                }
                8 + usize::from(*units) * 8
            }
            protocol::FRAGMENT if repr.fragment.is_none() => {
                let [_, _, high, low, id @ ..] = rest.first_chunk::<V6_FRAGMENT>()?;
                let place = u16::from_be_bytes([*high, *low]);
                let (offset, more) = (place & !7, place & 1 != 0);
                repr.fragment = Some(Fragment { id: u32::from_be_bytes(*id), offset, more });
                V6_FRAGMENT
            }
            _ => break,
        };
        repr.protocol = *rest.first()?;
        rest = rest.get(extension..)?;
        length = length.saturating_sub(extension);
        if repr.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return Some((repr, rest, length)); // what follows belongs to the middle of a packet
        }
    }
    // More of them than anybody needs, or a fragment of a fragment.
    let is_extension = matches!(
        repr.protocol,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION | protocol::FRAGMENT
    );
    (!is_extension).then_some((repr, rest, length))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn repr(from: &str, to: &str) -> Repr {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Repr { class: 0xb9, ..Repr::new(from, to, 6) }
    }

    #[test]
    fn headers_read_back_as_written() {
        for (from, to) in [("127.0.0.1", "127.9.8.7"), ("::1", "fe80::1")] {
            let whole = repr(from, to);
            let fragment = Some(Fragment { id: 77, offset: 1480, more: true });
            for repr in [whole, Repr { fragment, ..whole }] {
                let mut bytes = Vec::new();
                repr.emit(7, &mut bytes);
                assert_eq!(bytes.len(), repr.header_len());
                assert_eq!(Repr::parse(&bytes), Some((repr, &[][..], 7)));
                assert_eq!(Repr::parse(&bytes[1..]), None);
            }
        }
    }

    #[test]
    fn a_damaged_v4_header_is_refused() {
        let mut bytes = Vec::new();
        repr("1.2.3.4", "5.6.7.8").emit(0, &mut bytes);
        bytes[8] ^= 1;
        assert_eq!(Repr::parse(&bytes), None);
    }

    #[test]
    fn options_and_extension_headers_are_passed_over() {
        let mut bytes = Vec::new();
        repr("1.2.3.4", "5.6.7.8").emit(4, &mut bytes);
        (bytes[0], bytes[10], bytes[11]) = (0x46, 0, 0);
        bytes.extend([1, 1, 1, 0]);
        let sum = checksum::finish(checksum::sum(&bytes)).to_be_bytes();
        [bytes[10], bytes[11]] = sum;
        assert_eq!(Repr::parse(&bytes), Some((repr("1.2.3.4", "5.6.7.8"), &[][..], 0)));
        let mut bytes = Vec::new();
        repr("::1", "::2").emit(11, &mut bytes);
        bytes[6] = 60;
        bytes.extend([6, 0, 1, 4, 0, 0, 0, 0, 9, 9, 9]);
        assert_eq!(Repr::parse(&bytes), Some((repr("::1", "::2"), &[9, 9, 9][..], 3)));
        assert_eq!(Repr::parse(&bytes[..47]), None);
    }
}
