//! UDP (RFC 768). The loopback link needs no checksum, so it is left out (zero).

/// Bytes of the header.
pub const HEADER: usize = 8;
/// Most bytes of a datagram over IPv4.
pub const MAX_PAYLOAD: usize = 65507;
/// The same over IPv6.
pub const MAX_PAYLOAD_V6: usize = 65527;

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub from: u16,
    /// Destination port.
    pub to: u16,
}

impl Repr {
    /// Reads a header.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        Some(Self {
            from: u16::from_be_bytes([header[0], header[1]]),
            to: u16::from_be_bytes([header[2], header[3]]),
        })
    }

    /// Appends the header of a datagram.
    pub fn emit<A: Extend<u8>>(&self, payload: usize, to: &mut A) {
        let length = u16::try_from(HEADER + payload).unwrap_or(0);
        to.extend(self.from.to_be_bytes());
        to.extend(self.to.to_be_bytes());
        to.extend(length.to_be_bytes());
        to.extend([0, 0]);
    }
}

/// Bytes of a datagram with its header, as the header says; `None` where that cannot be.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    (HEADER..=bytes.len()).contains(&length).then_some(length)
}
