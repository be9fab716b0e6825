//! Links between stacks of one program, for tests and simulations, and captures of what they carry.
//!
//! A link is driven like a stack: frames and the time go in, frames come out. Nothing here knows of sockets.

mod pcap;
mod vnet;
mod wire;

use bytes::Bytes;

pub use self::pcap::{PcapWriter, pcap_header};
pub use self::vnet::{VNET_HEADER, parse_vnet_header, vnet_header};
pub use self::wire::{Faults, Wire};
use crate::interface::Frame;
use crate::wire::checksum;

/// The bytes of a frame, with the checksum that was left to the link; `None` for one that is to be cut up first.
pub fn flatten(frame: &Frame) -> Option<Bytes> {
    if frame.segment != 0 {
        return None;
    }
    let mut bytes = frame.packet.header.to_vec();
    bytes.extend_from_slice(&frame.packet.payload);
    if let Some((start, offset)) = frame.checksum {
        let (start, at) = (usize::from(start), usize::from(start) + usize::from(offset));
        let sum = checksum::finish(u32::from(checksum::fold(checksum::sum(bytes.get(start..)?))));
        bytes.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
    }
    Some(bytes.into())
}
