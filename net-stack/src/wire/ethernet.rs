//! Ethernet II frames, with or without a VLAN tag (IEEE 802.1Q).

/// Bytes of a header without a tag.
pub const HEADER: usize = 14;

/// What a frame carries.
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// A VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group, everybody included.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The group of a multicast IP address (RFC 1112 §6.4, RFC 2464 §7).
    pub fn of_multicast(group: core::net::IpAddr) -> Self {
        match group {
            core::net::IpAddr::V4(group) => {
                let [_, b, c, d] = group.octets();
                Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            core::net::IpAddr::V6(group) => {
                let [.., w, x, y, z] = group.octets();
                Self([0x33, 0x33, w, x, y, z])
            }
        }
    }
}

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Destination.
    pub to: Mac,
    /// Source.
    pub from: Mac,
    /// What the frame carries.
    pub ether_type: u16,
}

impl Repr {
    /// Reads a header, and passes over a VLAN tag; what is behind it comes with it.
    pub fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, kind @ ..] = *header;
        let mut repr = Self {
            to: Mac([a, b, c, d, e, f]),
            from: Mac([g, h, i, j, k, l]),
            ether_type: u16::from_be_bytes(kind),
        };
        if repr.ether_type != ether_type::VLAN {
            return Some((repr, rest));
        }
        let ([_, _, high, low], rest) = rest.split_first_chunk::<4>()?;
        repr.ether_type = u16::from_be_bytes([*high, *low]);
        Some((repr, rest))
    }

    /// Appends the header, without a tag.
    pub fn emit<A: Extend<u8>>(&self, to: &mut A) {
        to.extend(self.to.0);
        to.extend(self.from.0);
        to.extend(self.ether_type.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn frames_read_back_as_written_and_tags_are_passed_over() {
        let repr = Repr { to: Mac::BROADCAST, from: Mac([2, 0, 0, 0, 0, 1]), ether_type: 0x0806 };
        let mut bytes = Vec::new();
        repr.emit(&mut bytes);
        bytes.push(7);
        assert_eq!(Repr::parse(&bytes), Some((repr, &[7][..])));
        let mut tagged = bytes[..12].to_vec();
        tagged.extend([0x81, 0, 0, 5, 0x08, 0x06, 7]);
        assert_eq!(Repr::parse(&tagged), Some((repr, &[7][..])));
        assert_eq!(Repr::parse(&tagged[..15]), None);
    }

    #[test]
    fn groups_have_hardware_addresses() {
        let of = |text: &str| Mac::of_multicast(text.parse().unwrap()).0;
        assert_eq!(of("224.129.0.251"), [1, 0, 0x5e, 1, 0, 0xfb]);
        assert_eq!(of("ff02::1:ff00:7"), [0x33, 0x33, 0xff, 0, 0, 7]);
    }
}
