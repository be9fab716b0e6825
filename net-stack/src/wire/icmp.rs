//! ICMP and ICMPv6: that a port is not reachable (RFC 792, RFC 4443).

use super::ip::protocol;

/// Bytes of the header.
pub const HEADER: usize = 8;

/// Appends a "port unreachable" message for the packet whose first bytes are `original`.
pub fn emit_port_unreachable<A: Extend<u8>>(protocol: u8, original: &[u8], to: &mut A) {
    let (kind, code) = if protocol == protocol::ICMPV6 { (1, 4) } else { (3, 3) };
    to.extend([kind, code, 0, 0, 0, 0, 0, 0]);
    to.extend(original.iter().copied());
}

/// The packet that a "port unreachable" message is about.
pub fn parse_port_unreachable(protocol: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (header, original) = bytes.split_first_chunk::<HEADER>()?;
    let expected = if protocol == protocol::ICMPV6 { (1, 4) } else { (3, 3) };
    ((header[0], header[1]) == expected).then_some(original)
}
