//! The texts of /proc as pure functions: facts in, the kernel's format out.
//!
//! Formats are those of Linux 6.12 (`fs/proc/array.c`, `fs/proc/task_mmu.c`, `fs/proc/meminfo.c`, `proc(5)`).

pub mod cpuinfo;
pub mod keys;
pub mod limits;
pub mod meminfo;
pub mod smaps;
pub mod stat;
pub mod status;

/// A name as `/proc/pid/stat` and `/proc/pid/status` show it: control characters and backslashes escaped.
pub fn escaped_name(name: &[u8], escape: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\n' if escape.contains(byte) => text.push_str("\\n"),
            b'\\' if escape.contains(byte) => text.push_str("\\\\"),
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

/// Bytes escaped as `seq_path` does: the characters of `escape` as three octal digits.
pub fn octal_escaped(bytes: &[u8], escape: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if escape.contains(byte) {
            text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            text.push(*byte);
        }
    }
    text
}

/// A set of bits as a list of ranges: `0-3,8`.
pub fn bit_list(bits: &[bool]) -> String {
    let mut list = Vec::new();
    let mut index = 0;
    while index < bits.len() {
        if !bits.get(index).copied().unwrap_or_default() {
            index += 1;
            continue;
        }
        let length = bits.iter().skip(index).take_while(|bit| **bit).count();
        let last = index + length - 1;
        list.push(if length == 1 { index.to_string() } else { format!("{index}-{last}") });
        index += length;
    }
    list.join(",")
}

/// A set of bits as the kernel's `%*pb` shows it: groups of 32 bits in hexadecimal, highest first; the first
/// group without leading zeros beyond the number of bits.
pub fn bit_mask(bits: &[bool]) -> String {
    let groups: Vec<String> = bits
        .chunks(32)
        .rev()
        .map(|chunk| {
            let value = chunk
                .iter()
                .enumerate()
                .fold(0_u32, |all, (index, bit)| all | (u32::from(*bit) << index));
            format!("{value:0width$x}", width = chunk.len().div_ceil(4))
        })
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped_name(b"a\nb\\", b"\n\\"), "a\\nb\\\\");
        assert_eq!(octal_escaped(b"/a b\\", b" \t\n\\"), b"/a\\040b\\134");
    }

    #[test]
    fn sets_of_cpus() {
        let mut bits = vec![true, true, false, true];
        assert_eq!(bit_list(&bits), "0-1,3");
        assert_eq!(bit_mask(&bits), "b");
        bits.resize(40, false);
        assert_eq!(bit_mask(&bits), "00,0000000b");
        assert_eq!(bit_list(&[]), "");
    }
}
