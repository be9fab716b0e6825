//! The header that a virtio network device, a tap or a packet socket puts before each frame (`struct virtio_net_hdr`,
//! virtio 1.2 §5.1.6): which checksum is missing, and how a large segment is to be cut up.

use crate::interface::Frame;
use crate::receive::Checksum;
use crate::wire::ethernet;

/// Bytes of the header.
pub const VNET_HEADER: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_IS_RIGHT: u8 = 2;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;

/// The header of a frame that we send.
pub fn vnet_header(frame: &Frame) -> [u8; VNET_HEADER] {
    let mut header = [0; VNET_HEADER];
    if let Some((start, offset)) = frame.checksum {
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
    }
    if frame.segment > 0 {
        let is_v6 = frame.packet.header.get(ethernet::HEADER).is_some_and(|byte| byte >> 4 == 6);
        header[1] = if is_v6 { TCP_V6 } else { TCP_V4 };
        let length = frame.packet.header.len() as u16;
        header[2..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&frame.segment.to_ne_bytes());
    }
    header
}

/// Whether the frame behind a header that has come needs its checksum looked at; `None` for what is too short.
pub fn parse_vnet_header(bytes: &[u8]) -> Option<Checksum> {
    let header: &[u8; VNET_HEADER] = bytes.first_chunk()?;
    let trusted = header[0] & (NEEDS_CHECKSUM | CHECKSUM_IS_RIGHT) != 0;
    Some(if trusted { Checksum::Trusted } else { Checksum::Verify })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use smallvec::SmallVec;

    use super::*;
    use crate::wire::Packet;

    #[test]
    fn a_large_segment_is_to_be_cut_up() {
        let mut bytes = [0; 54];
        bytes[14] = 0x45;
        let packet = Packet { header: SmallVec::from_slice(&bytes), payload: Bytes::new() };
        let header = vnet_header(&Frame { packet, segment: 1448, checksum: Some((34, 16)) });
        assert_eq!((header[0], header[1]), (1, 1));
        let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        assert_eq!([2, 4, 6, 8].map(word), [54, 1448, 34, 16]);
        assert_eq!(parse_vnet_header(&header), Some(Checksum::Trusted));
        assert_eq!(parse_vnet_header(&[0; 10]), Some(Checksum::Verify));
        assert_eq!(parse_vnet_header(&header[..9]), None);
    }
}
