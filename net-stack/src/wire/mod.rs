//! Packets: for each protocol a checked view of bytes and a `Repr` of what the stack supports.
//!
//! A [`Packet`] is a header buffer and a payload that is shared, not copied: what a sender's buffer holds is
//! what the receiver's buffer holds after it.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ip;
pub mod ndp;
pub mod tcp;
pub mod udp;

use bytes::Bytes;
use smallvec::SmallVec;

/// Longest headers: Ethernet, IPv6 with a fragment header, and TCP with all options.
pub const MAX_HEADER: usize = 124;

/// A packet on a link.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Network and transport header.
    pub header: SmallVec<[u8; MAX_HEADER]>,
    /// What the transport carries.
    pub payload: Bytes,
}

impl Packet {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
