//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use super::ethernet::Mac;

/// Bytes of a packet.
pub const LEN: usize = 28;
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target's address?
    Request,
    /// The sender has.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Question or answer.
    pub operation: Operation,
    /// The sender.
    pub sender: (Mac, Ipv4Addr),
    /// Whom it is about.
    pub target: (Mac, Ipv4Addr),
}

impl Repr {
    /// Reads a packet.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let packet: &[u8; LEN] = bytes.first_chunk()?;
        let mac = |at: usize| Some(Mac(packet.get(at..at + 6)?.try_into().ok()?));
        let ip = |at: usize| {
            let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets))
        };
        if !packet.starts_with(&KIND) {
            return None;
        }
        let operation = match (packet[6], packet[7]) {
            (0, 1) => Operation::Request,
            (0, 2) => Operation::Reply,
            _ => return None,
        };
        Some(Self { operation, sender: (mac(8)?, ip(14)?), target: (mac(18)?, ip(24)?) })
    }

    /// Appends the packet.
    pub fn emit<A: Extend<u8>>(&self, to: &mut A) {
        to.extend(KIND);
        to.extend([0, if self.operation == Operation::Request { 1 } else { 2 }]);
        for (mac, ip) in [self.sender, self.target] {
            to.extend(mac.0);
            to.extend(ip.octets());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn packets_read_back_as_written() {
        let repr = Repr {
            operation: Operation::Reply,
            sender: (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1)),
            target: (Mac([2, 0, 0, 0, 0, 2]), Ipv4Addr::new(10, 0, 0, 2)),
        };
        let mut bytes = Vec::new();
        repr.emit(&mut bytes);
        assert_eq!((bytes.len(), Repr::parse(&bytes)), (LEN, Some(repr)));
        assert_eq!(Repr::parse(&bytes[..27]), None);
        bytes[7] = 3;
        assert_eq!(Repr::parse(&bytes), None);
    }
}
