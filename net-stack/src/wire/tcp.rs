//! TCP segments (RFC 9293) with the options for the segment size, window scale and timestamps (RFC 7323) and
//! selective acknowledgements (RFC 2018). Checksums are left to the link, and the loopback link has none.

use smallvec::SmallVec;

pub use crate::tcp::seq::Seq;

/// Bytes of a header without options.
pub const HEADER: usize = 20;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_SCALE: u8 = 3;
const OPTION_SACK_PERMITTED: u8 = 4;
const OPTION_SACK: u8 = 5;
const OPTION_TIMESTAMPS: u8 = 8;
/// Most bytes of options.
const MAX_OPTIONS: usize = 40;
/// Most blocks that one segment reports.
pub const MAX_SACKS: usize = 4;

/// Ranges that have come out of order: first byte, and the one behind the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sacks {
    count: u8,
    blocks: [(Seq, Seq); MAX_SACKS],
}

impl Sacks {
    /// Adds a range; false where there is no room.
    pub fn push(&mut self, block: (Seq, Seq)) -> bool {
        match self.blocks.get_mut(usize::from(self.count)) {
            Some(place) => {
                *place = block;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    /// The ranges.
    pub fn as_slice(&self) -> &[(Seq, Seq)] {
        self.blocks.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What a segment says, beside its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub from: u16,
    /// Destination port.
    pub to: u16,
    /// Sequence number of the first byte.
    pub seq: Seq,
    /// What the sender expects next; `None` without the ACK bit.
    pub ack: Option<Seq>,
    /// SYN.
    pub syn: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
    /// PSH.
    pub psh: bool,
    /// How far behind `seq` urgent data ends.
    pub urgent: Option<u16>,
    /// Window as in the header, not scaled.
    pub window: u16,
    /// Largest segment that the sender takes.
    pub mss: Option<u16>,
    /// How far the sender's windows are shifted.
    pub scale: Option<u8>,
    /// The sender understands selective acknowledgements.
    pub sack_permitted: bool,
    /// The sender's clock, and the clock of ours that it has seen last.
    pub timestamps: Option<(u32, u32)>,
    /// What has come out of order.
    pub sacks: Sacks,
    /// ECE: the network is congested (RFC 3168).
    pub ece: bool,
    /// CWR: the sender has slowed down.
    pub cwr: bool,
}

impl Repr {
    /// Reads a header; its length comes with it.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let u16_at = |at: usize| Some(u16::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let u32_at = |at: usize| Some(u32::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let length = usize::from(header[12] >> 4) * 4;
        let options = bytes.get(HEADER..length)?;
        let flags = header[13];
        let mut repr = Self {
            from: u16_at(0)?,
            to: u16_at(2)?,
            seq: Seq(u32_at(4)?),
            ack: (flags & 0x10 != 0).then_some(Seq(u32_at(8)?)),
            syn: flags & 2 != 0,
            fin: flags & 1 != 0,
            rst: flags & 4 != 0,
            psh: flags & 8 != 0,
            urgent: (flags & 0x20 != 0).then_some(u16_at(18)?),
            window: u16_at(14)?,
            ece: flags & 0x40 != 0,
            cwr: flags & 0x80 != 0,
            ..Self::default()
        };
        repr.parse_options(options);
        Some((repr, length))
    }

    fn parse_options(&mut self, mut options: &[u8]) {
        while let Some((&kind, rest)) = options.split_first() {
            if kind == OPTION_END {
                return;
            }
            if kind == OPTION_NOP {
                options = rest;
                continue;
            }
            let Some(length) =
                rest.first().map(|length| usize::from(*length)).filter(|length| *length >= 2)
            else {
                return;
            };
            match (kind, options.get(2..length)) {
                (OPTION_MSS, Some([high, low])) => {
                    self.mss = Some(u16::from_be_bytes([*high, *low]));
                }
                (OPTION_SCALE, Some([shift])) => self.scale = Some((*shift).min(14)),
                (OPTION_SACK_PERMITTED, Some([])) => self.sack_permitted = true,
                (OPTION_TIMESTAMPS, Some(clocks)) => {
                    if let Some((value, echo)) = two_words(clocks) {
                        self.timestamps = Some((value, echo));
                    }
                }
                (OPTION_SACK, Some(blocks)) => {
                    self.sacks = Sacks::default();
                    for (start, end) in blocks.chunks_exact(8).filter_map(two_words) {
                        self.sacks.push((Seq(start), Seq(end)));
                    }
                }
                (_, None) => return,
                _ => {}
            }
            options = options.get(length..).unwrap_or_default();
        }
    }

    /// The options; padded so that clocks and ranges are aligned where there is room.
    fn options(&self) -> SmallVec<[u8; MAX_OPTIONS]> {
        let mut options = self.options_with(true);
        if options.len() > MAX_OPTIONS {
            options = self.options_with(false);
        }
        while !options.len().is_multiple_of(4) {
            options.push(OPTION_END);
        }
        options
    }

    fn options_with(&self, align: bool) -> SmallVec<[u8; MAX_OPTIONS]> {
        let mut options = SmallVec::new();
        let pad = |options: &mut SmallVec<[u8; MAX_OPTIONS]>, count: usize| {
            options.extend(core::iter::repeat_n(OPTION_NOP, if align { count } else { 0 }));
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            options.extend([OPTION_MSS, 4, high, low]);
        }
        if let Some(shift) = self.scale {
            pad(&mut options, 1);
            options.extend([OPTION_SCALE, 3, shift]);
        }
        if self.sack_permitted {
            pad(&mut options, 2);
            options.extend([OPTION_SACK_PERMITTED, 2]);
        }
        if let Some((value, echo)) = self.timestamps {
            pad(&mut options, 2);
            options.extend([OPTION_TIMESTAMPS, 10]);
            options.extend(value.to_be_bytes());
            options.extend(echo.to_be_bytes());
        }
        if !self.sacks.is_empty() {
            pad(&mut options, 2);
            options.extend([OPTION_SACK, 2 + 8 * self.sacks.count]);
            for (start, end) in self.sacks.as_slice() {
                options.extend(start.0.to_be_bytes());
                options.extend(end.0.to_be_bytes());
            }
        }
        options
    }

    /// How many ranges fit beside the timestamps, if there are any.
    pub const fn room_for_sacks(timestamps: bool) -> usize {
        if timestamps { MAX_SACKS - 1 } else { MAX_SACKS }
    }

    /// Bytes that the options of a segment with data take.
    pub const fn data_options_len(timestamps: bool) -> usize {
        if timestamps { 12 } else { 0 }
    }

    /// Appends the header.
    pub fn emit<A: Extend<u8>>(&self, to: &mut A) {
        let options = self.options();
        let words = ((HEADER + options.len()) / 4) as u8;
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.fin, 1)
            | bit(self.syn, 2)
            | bit(self.rst, 4)
            | bit(self.psh, 8)
            | bit(self.ack.is_some(), 0x10)
            | bit(self.urgent.is_some(), 0x20)
            | bit(self.ece, 0x40)
            | bit(self.cwr, 0x80);
        to.extend(self.from.to_be_bytes());
        to.extend(self.to.to_be_bytes());
        to.extend(self.seq.0.to_be_bytes());
        to.extend(self.ack.unwrap_or_default().0.to_be_bytes());
        to.extend([words << 4, flags]);
        to.extend(self.window.to_be_bytes());
        to.extend([0, 0]);
        to.extend(self.urgent.unwrap_or(0).to_be_bytes());
        to.extend(options);
    }
}

/// Source port, destination port and sequence number of a segment of which only 8 bytes may be there.
pub fn ports(bytes: &[u8]) -> Option<(u16, u16, Seq)> {
    let [a, b, c, d, seq @ ..] = *bytes.first_chunk::<8>()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), Seq(u32::from_be_bytes(seq))))
}

fn two_words(bytes: &[u8]) -> Option<(u32, u32)> {
    let bytes: &[u8; 8] = bytes.try_into().ok()?;
    let [a, b, c, d, e, f, g, h] = *bytes;
    Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn segments_read_back_as_written() {
        let repr = Repr {
            from: 1,
            to: 2,
            seq: Seq(3),
            ack: Some(Seq(u32::MAX)),
            syn: true,
            window: 77,
            urgent: Some(9),
            mss: Some(65495),
            scale: Some(7),
            ..Repr::default()
        };
        let mut bytes = Vec::new();
        repr.emit(&mut bytes);
        assert_eq!(Repr::parse(&bytes), Some((repr, 28)));
    }

    #[test]
    fn options_of_all_kinds_fit() {
        let mut sacks = Sacks::default();
        for start in 0..3 {
            assert!(sacks.push((Seq(start), Seq(start + 1))));
        }
        let timestamps = Some((7, 9));
        let repr = Repr { timestamps, sacks, ece: true, ..Repr::default() };
        let mut bytes = Vec::new();
        repr.emit(&mut bytes);
        assert_eq!(Repr::parse(&bytes), Some((repr, 60)));
        let syn = Repr {
            syn: true,
            mss: Some(1460),
            scale: Some(7),
            sack_permitted: true,
            timestamps,
            ..Repr::default()
        };
        bytes.clear();
        syn.emit(&mut bytes);
        assert_eq!(Repr::parse(&bytes), Some((syn, 44)));
    }

    #[test]
    fn bad_options_end_the_options() {
        let mut bytes = Vec::new();
        Repr { mss: Some(9), ..Repr::default() }.emit(&mut bytes);
        bytes[21] = 0;
        assert_eq!(Repr::parse(&bytes).map(|(repr, _)| repr.mss), Some(None));
        bytes[12] = 0xf0;
        assert_eq!(Repr::parse(&bytes), None);
    }
}
