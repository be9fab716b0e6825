//! TCP segments (RFC 9293) with the options for the segment size and window scale (RFC 7323). Checksums are
//! left to the link, and the loopback link has none.

use smallvec::SmallVec;

use crate::tcp::seq::Seq;

/// Bytes of a header without options.
pub const HEADER: usize = 20;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_SCALE: u8 = 3;

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
            mss: None,
            scale: None,
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
                (_, None) => return,
                _ => {}
            }
            options = options.get(length..).unwrap_or_default();
        }
    }

    fn options(&self) -> SmallVec<[u8; 8]> {
        let mut options = SmallVec::new();
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            options.extend([OPTION_MSS, 4, high, low]);
        }
        if let Some(shift) = self.scale {
            options.extend([OPTION_NOP, OPTION_SCALE, 3, shift]);
        }
        options
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
            | bit(self.urgent.is_some(), 0x20);
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
    fn bad_options_end_the_options() {
        let mut bytes = Vec::new();
        Repr { mss: Some(9), ..Repr::default() }.emit(&mut bytes);
        bytes[21] = 0;
        assert_eq!(Repr::parse(&bytes).map(|(repr, _)| repr.mss), Some(None));
        bytes[12] = 0xf0;
        assert_eq!(Repr::parse(&bytes), None);
    }
}
