//! The Internet checksum (RFC 1071).

/// Sum of 16-bit words, an odd last byte padded with zero; not folded.
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
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&bytes)), !0xddf2);
    }
}
