//! IPv4 (RFC 791) and IPv6 (RFC 8200), without options, fragments and extension headers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;

/// Bytes of an IPv4 header without options.
pub const V4_HEADER: usize = 20;
/// Bytes of an IPv6 header.
pub const V6_HEADER: usize = 40;
/// Protocol numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
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
}

impl Repr {
    /// Length of the header.
    pub const fn header_len(&self) -> usize {
        match self.to {
            IpAddr::V4(_) => V4_HEADER,
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

    /// Appends the header of a packet with `payload` bytes behind it. Both addresses are of one family.
    pub fn emit<A: Extend<u8>>(&self, payload: usize, to: &mut A) {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(dest)) => to.extend(self.v4(from, dest, payload)),
            (IpAddr::V6(from), IpAddr::V6(dest)) => to.extend(self.v6(from, dest, payload)),
            _ => {}
        }
    }

    fn v4(&self, from: Ipv4Addr, dest: Ipv4Addr, payload: usize) -> [u8; V4_HEADER] {
        // A segment longer than a packet can say has length 0, as with segmentation offload.
        let length = u16::try_from(V4_HEADER + payload).unwrap_or(0).to_be_bytes();
        let (f, d) = (from.octets(), dest.octets());
        let mut header = [
            0x45,
            self.class,
            length[0],
            length[1],
            0,
            0,
            0x40,
            0,
            self.hops,
            self.protocol,
            0,
            0,
            f[0],
            f[1],
            f[2],
            f[3],
            d[0],
            d[1],
            d[2],
            d[3],
        ];
        let sum = checksum::finish(checksum::sum(&header)).to_be_bytes();
        [header[10], header[11]] = sum;
        header
    }

    fn v6(&self, from: Ipv6Addr, dest: Ipv6Addr, payload: usize) -> [u8; V6_HEADER] {
        let length = u16::try_from(payload).unwrap_or(0).to_be_bytes();
        let mut header = [0; V6_HEADER];
        [header[0], header[1]] = [0x60 | self.class >> 4, self.class << 4];
        [header[4], header[5], header[6], header[7]] =
            [length[0], length[1], self.protocol, self.hops];
        header[8..24].copy_from_slice(&from.octets());
        header[24..40].copy_from_slice(&dest.octets());
        header
    }
}

fn parse_v4(bytes: &[u8]) -> Option<(Repr, &[u8], usize)> {
    let (header, rest) = bytes.split_first_chunk::<V4_HEADER>()?;
    if header[0] != 0x45 || checksum::finish(checksum::sum(header)) != 0 {
        return None;
    }
    let octets =
        |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?));
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let repr = Repr {
        from: octets(12)?.into(),
        to: octets(16)?.into(),
        protocol: header[9],
        hops: header[8],
        class: header[1],
    };
    Some((repr, rest, length.saturating_sub(V4_HEADER)))
}

fn parse_v6(bytes: &[u8]) -> Option<(Repr, &[u8], usize)> {
    let (header, rest) = bytes.split_first_chunk::<V6_HEADER>()?;
    let octets =
        |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?));
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let repr = Repr {
        from: octets(8)?.into(),
        to: octets(24)?.into(),
        protocol: header[6],
        hops: header[7],
        class: header[0] << 4 | header[1] >> 4,
    };
    Some((repr, rest, length))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn headers_read_back_as_written() {
        for (from, to) in [("127.0.0.1", "127.9.8.7"), ("::1", "fe80::1")] {
            let repr = Repr {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                protocol: 6,
                hops: 64,
                class: 0xb9,
            };
            let mut bytes = Vec::new();
            repr.emit(7, &mut bytes);
            assert_eq!(bytes.len(), repr.header_len());
            assert_eq!(Repr::parse(&bytes), Some((repr, &[][..], 7)));
            assert_eq!(Repr::parse(&bytes[1..]), None);
        }
    }

    #[test]
    fn a_damaged_v4_header_is_refused() {
        let repr = Repr {
            from: [1, 2, 3, 4].into(),
            to: [5, 6, 7, 8].into(),
            protocol: 17,
            hops: 1,
            class: 0,
        };
        let mut bytes = Vec::new();
        repr.emit(0, &mut bytes);
        bytes[8] ^= 1;
        assert_eq!(Repr::parse(&bytes), None);
    }
}
