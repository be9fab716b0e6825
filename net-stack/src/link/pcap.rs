//! Captures that tcpdump and Wireshark read (the classic format of libpcap, with nanoseconds).

use alloc::vec::Vec;

/// Nanosecond captures.
const MAGIC: u32 = 0xa1b2_3c4d;
/// Bytes of a frame that are kept.
const SNAPSHOT: u32 = 262_144;
const ETHERNET: u32 = 1;
const RAW_IP: u32 = 101;

/// The header of a capture file: of Ethernet frames, or of bare IP packets.
pub fn pcap_header(ethernet: bool) -> [u8; 24] {
    let mut header = [0; 24];
    let link = if ethernet { ETHERNET } else { RAW_IP };
    let words = [MAGIC, 2 | 4 << 16, 0, 0, SNAPSHOT, link];
    for (place, word) in header.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    header
}

/// Collects a capture as bytes, to be written anywhere.
#[derive(Default)]
pub struct PcapWriter {
    bytes: Vec<u8>,
}

impl PcapWriter {
    /// A capture that begins with its header.
    pub fn new(ethernet: bool) -> Self {
        Self { bytes: pcap_header(ethernet).to_vec() }
    }

    /// Adds a frame, given in parts; `at` is nanoseconds since the epoch.
    pub fn frame(&mut self, parts: &[&[u8]], at: u64) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let kept = length.min(SNAPSHOT as usize);
        let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
        for word in [seconds as u32, nanos as u32, kept as u32, length as u32] {
            self.bytes.extend(word.to_le_bytes());
        }
        let all = parts.iter().flat_map(|part| part.iter().copied());
        self.bytes.extend(all.take(kept));
    }

    /// What has been collected since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_has_a_header_and_records() {
        let mut writer = PcapWriter::new(true);
        writer.frame(&[b"ab", b"c"], 1_000_000_002);
        let bytes = writer.take();
        assert_eq!(bytes.len(), 24 + 16 + 3);
        assert_eq!(bytes[..4], MAGIC.to_le_bytes());
        assert_eq!(bytes[24..40], [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
        assert!(bytes.ends_with(b"abc") && writer.take().is_empty());
    }
}
