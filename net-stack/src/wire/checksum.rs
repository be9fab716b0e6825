//! The Internet checksum (RFC 1071).

use core::net::IpAddr;

/// Sum of 16-bit words, an odd last byte padded with zero; not folded. Good for 128 KiB.
pub fn sum(bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let whole = words.by_ref().fold(0_u32, |sum, word| match word {
        [high, low] => sum.wrapping_add(u32::from(u16::from_be_bytes([*high, *low]))),
        _ => sum,
    });
    match words.remainder() {
        [last] => whole.wrapping_add(u32::from(*last) << 8),
        _ => whole,
    }
}

/// The folded complement of a sum.
pub const fn finish(sum: u32) -> u16 {
    !fold(sum)
}

/// A sum in 16 bits.
pub const fn fold(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

/// Sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1).
pub fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> u32 {
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum(&from.octets()).wrapping_add(sum(&to.octets())),
        (IpAddr::V6(from), IpAddr::V6(to)) => sum(&from.octets()).wrapping_add(sum(&to.octets())),
        _ => 0,
    };
    let length = length as u32;
    addresses
        .wrapping_add(u32::from(protocol))
        .wrapping_add(length & 0xffff)
        .wrapping_add(length >> 16)
}

/// The sum of a transport header and its data, which may lie apart.
pub fn transport(header: &[u8], payload: &[u8]) -> u32 {
    let head = fold(sum(header));
    let mut data = fold(sum(payload));
    if !header.len().is_multiple_of(2) {
        data = data.swap_bytes();
    }
    u32::from(head) + u32::from(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&bytes)), !0xddf2);
    }

    #[test]
    fn parts_sum_up_to_the_whole() {
        let bytes: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        for at in 0..=bytes.len() {
            let (head, rest) = bytes.split_at(at);
            assert_eq!(finish(transport(head, rest)), finish(sum(&bytes)), "split at {at}");
        }
    }
}
