//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echoes, and errors about packets that were sent.

use super::checksum;
use super::ip::protocol;

/// Bytes before the packet that an error is about, and before an echo's data.
pub const HEADER: usize = 8;
/// Most bytes of the packet that an error of ICMP quotes, beyond its headers.
pub const QUOTED: usize = 548;

/// Why a packet was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No route to its network.
    Network,
    /// Its host is not there.
    Host,
    /// Its host does not know the protocol.
    Protocol,
    /// Nobody has the port.
    Port,
    /// It was larger than a link on the way takes: at most this many bytes, 0 if that was not said.
    TooBig(u32),
    /// An administrator does not want it.
    Prohibited,
    /// It took too many hops, or its fragments too much time.
    Expired,
    /// There is something wrong with its header.
    Malformed,
}

impl Reason {
    /// Type, code and the second word of the header.
    fn numbers(self, v6: bool) -> (u8, u8, u32) {
        match (self, v6) {
            (Self::Network, false) => (3, 0, 0),
            (Self::Host, false) => (3, 1, 0),
            (Self::Protocol, false) => (3, 2, 0),
            (Self::Port, false) => (3, 3, 0),
            (Self::TooBig(mtu), false) => (3, 4, mtu & 0xffff),
            (Self::Prohibited, false) => (3, 13, 0),
            (Self::Expired, false) => (11, 0, 0),
            (Self::Malformed, false) => (12, 0, 0),
            (Self::Network, true) => (1, 0, 0),
            (Self::Prohibited, true) => (1, 1, 0),
            (Self::Host, true) => (1, 3, 0),
            (Self::Port, true) => (1, 4, 0),
            (Self::TooBig(mtu), true) => (2, 0, mtu),
            (Self::Expired, true) => (3, 0, 0),
            (Self::Malformed, true) => (4, 0, 0),
            (Self::Protocol, true) => (4, 1, 0),
        }
    }

    fn of(kind: u8, code: u8, word: u32, v6: bool) -> Option<Self> {
        Some(match (kind, code, v6) {
            (3, 0 | 5 | 6 | 11, false) => Self::Network,
            (3, 1 | 7 | 8 | 12, false) => Self::Host,
            (3, 2, false) => Self::Protocol,
            (3, 3, false) => Self::Port,
            (3, 4, false) => Self::TooBig(word & 0xffff),
            (3, 9 | 10 | 13..=15, false) => Self::Prohibited,
            (11, _, false) | (3, _, true) => Self::Expired,
            (12, _, false) => Self::Malformed,
            (1, 0, true) => Self::Network,
            (1, 1 | 5 | 6, true) => Self::Prohibited,
            (1, 2 | 3, true) => Self::Host,
            (1, 4, true) => Self::Port,
            (2, _, true) => Self::TooBig(word),
            (4, 1, true) => Self::Protocol,
            (4, _, true) => Self::Malformed,
            _ => return None,
        })
    }
}

/// A message that the stack knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Somebody asks whether we are there.
    EchoRequest {
        /// Which socket's.
        id: u16,
        /// Which of them.
        sequence: u16,
        /// To be sent back.
        data: &'a [u8],
    },
    /// Somebody is there.
    EchoReply {
        /// Which socket's.
        id: u16,
        /// Which of them.
        sequence: u16,
        /// What was sent.
        data: &'a [u8],
    },
    /// A packet was not delivered.
    Error {
        /// Why.
        reason: Reason,
        /// How it begins.
        original: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Reads a message of ICMP or ICMPv6; the checksum is not looked at.
    pub fn parse(number: u8, bytes: &'a [u8]) -> Option<Self> {
        let (header, data) = bytes.split_first_chunk::<HEADER>()?;
        let [kind, code, _, _, a, b, c, d] = *header;
        let v6 = number == protocol::ICMPV6;
        let (id, sequence) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        match (kind, v6) {
            (8, false) | (128, true) => Some(Self::EchoRequest { id, sequence, data }),
            (0, false) | (129, true) => Some(Self::EchoReply { id, sequence, data }),
            _ => {
                let reason = Reason::of(kind, code, u32::from_be_bytes([a, b, c, d]), v6)?;
                Some(Self::Error { reason, original: data })
            }
        }
    }

    /// Appends the message, with a checksum of zero.
    pub fn emit<A: Extend<u8>>(&self, number: u8, to: &mut A) {
        let v6 = number == protocol::ICMPV6;
        let (kind, code, word, data) = match *self {
            Self::EchoRequest { id, sequence, data } => {
                (if v6 { 128 } else { 8 }, 0, u32::from(id) << 16 | u32::from(sequence), data)
            }
            Self::EchoReply { id, sequence, data } => {
                (if v6 { 129 } else { 0 }, 0, u32::from(id) << 16 | u32::from(sequence), data)
            }
            Self::Error { reason, original } => {
                let (kind, code, word) = reason.numbers(v6);
                (kind, code, word, original)
            }
        };
        to.extend([kind, code, 0, 0]);
        to.extend(word.to_be_bytes());
        to.extend(data.iter().copied());
    }
}

/// Puts the checksum into a whole message of ICMP, or of ICMPv6 given the sum of its pseudo header.
pub fn fill_checksum(message: &mut [u8], pseudo: u32) {
    if let Some(place) = message.get_mut(2..4) {
        place.fill(0);
    }
    let sum = u32::from(checksum::fold(checksum::sum(message))) + u32::from(checksum::fold(pseudo));
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&checksum::finish(sum).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn messages_read_back_as_written() {
        let data = &b"data"[..];
        let mut messages = alloc::vec![
            Message::EchoRequest { id: 1, sequence: 2, data },
            Message::EchoReply { id: 3, sequence: 4, data },
        ];
        let reasons = [
            Reason::Network,
            Reason::Host,
            Reason::Protocol,
            Reason::Port,
            Reason::TooBig(1280),
            Reason::Prohibited,
            Reason::Expired,
            Reason::Malformed,
        ];
        messages.extend(reasons.map(|reason| Message::Error { reason, original: data }));
        for number in [protocol::ICMP, protocol::ICMPV6] {
            for message in &messages {
                let mut bytes = Vec::new();
                message.emit(number, &mut bytes);
                assert_eq!(Message::parse(number, &bytes), Some(*message));
                fill_checksum(&mut bytes, 77);
                assert_eq!(checksum::finish(checksum::sum(&bytes).wrapping_add(77)), 0);
            }
        }
    }
}
