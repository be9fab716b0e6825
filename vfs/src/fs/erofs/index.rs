//! The index of a compressed file: for each logical cluster, what it holds.
//!
//! The file is cut into logical clusters of equal size. A *head* is one in which the data of a physical cluster begins,
//! at an offset in it; the others point back to theirs. The full form has eight bytes for each; the compact form packs
//! two into eight bytes or sixteen into 32, with one block address for all of a pack.

use chitin_abi::{Errno, Result};

use super::Erofs;
use super::layout::{Storage, Stored, align};

/// Header: there are packs of sixteen.
const PACKS_OF_SIXTEEN: u16 = 0x1;
/// Header: physical clusters of the first and second algorithm may have several blocks.
const BIG: [u16; 2] = [0x2, 0x4];
/// Header: plain data begins at its own offset of the block and wraps around.
const INTERLACED: u16 = 0x10;
/// A distance back that is a number of blocks instead.
const BLOCK_COUNT: u32 = 1 << 11;

/// What a logical cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Data that could not be compressed begins.
    Plain,
    /// Data of the first algorithm begins.
    First,
    /// The data of an earlier one goes on.
    Inner,
    /// Data of the second algorithm begins.
    Second,
}

impl Kind {
    const fn new(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Plain,
            1 => Self::First,
            2 => Self::Inner,
            _ => Self::Second,
        }
    }
}

/// A logical cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    pub kind: Kind,
    /// Of a head: where its data begins.
    pub offset: u64,
    /// Of a head: the first block of the physical cluster.
    pub block: u32,
    /// Of an inner one: how far back its head, or one that knows more, is.
    pub back: u64,
    /// Of the inner one behind a head: how many blocks the physical cluster has.
    pub blocks: Option<u32>,
}

/// The index of a file.
pub(super) struct Index {
    compact: bool,
    base: u64,
    /// Entries in packs of two before those in packs of sixteen.
    before: u64,
    /// Entries in packs of sixteen.
    packed: u64,
    pub cluster_bits: u32,
    advise: u16,
    algorithms: u8,
}

impl Index {
    /// Reads the header of a compressed file's index.
    pub fn read(fs: &Erofs, stored: &Stored) -> Result<Self> {
        let at = align(stored.tail()?, 8)?;
        let mut header = [0; 8];
        fs.image.read(&mut header, at)?;
        let [_, _, _, _, low, high, algorithms, bits] = header;
        let advise = u16::from_le_bytes([low, high]);
        let known = PACKS_OF_SIXTEEN | BIG[0] | BIG[1] | INTERLACED;
        if advise & !known != 0 || bits & !7 != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let cluster_bits = u32::from(fs.super_block.block_bits) + u32::from(bits);
        let compact = stored.storage == Storage::CompressedCompact;
        let sixteen = advise & PACKS_OF_SIXTEEN != 0;
        if compact && (cluster_bits > 14 || (sixteen && cluster_bits > 12)) {
            return Err(Errno::EOPNOTSUPP);
        }
        let total = stored.size.div_ceil(1 << cluster_bits);
        let base = at.checked_add(8).ok_or(Errno::EUCLEAN)?;
        let before = ((32 - base % 32) / 4) % 8;
        let packed = if sixteen { total.saturating_sub(before) & !15 } else { 0 };
        Ok(Self { compact, base, before, packed, cluster_bits, advise, algorithms })
    }

    /// Whether plain data wraps around in its block.
    pub fn is_interlaced(&self) -> bool {
        self.advise & INTERLACED != 0
    }

    /// Whether a physical cluster that begins with this kind may have several blocks.
    pub fn is_big(&self, kind: Kind) -> bool {
        let bit = if kind == Kind::First { BIG[0] } else { BIG[1] };
        self.advise & bit != 0
    }

    /// The algorithm of a head: 0 is LZ4.
    pub fn algorithm(&self, kind: Kind) -> u8 {
        if kind == Kind::Second { self.algorithms >> 4 } else { self.algorithms & 15 }
    }

    /// The cluster of this number.
    pub fn cluster(&self, fs: &Erofs, number: u64) -> Result<Cluster> {
        let cluster = if self.compact { self.compact(fs, number)? } else { self.full(fs, number)? };
        let inner = cluster.kind == Kind::Inner;
        if !inner && cluster.offset >= 1 << self.cluster_bits {
            return Err(Errno::EUCLEAN);
        }
        Ok(cluster)
    }

    fn full(&self, fs: &Erofs, number: u64) -> Result<Cluster> {
        // The header is followed by eight bytes of nothing.
        let at = number.checked_mul(8).and_then(|at| at.checked_add(self.base)?.checked_add(8));
        let mut entry = [0; 8];
        fs.image.read(&mut entry, at.ok_or(Errno::EUCLEAN)?)?;
        let [a, b, c, d, e, f, g, h] = entry;
        let kind = Kind::new(u32::from(u16::from_le_bytes([a, b])));
        if kind != Kind::Inner {
            let offset = u64::from(u16::from_le_bytes([c, d]));
            let block = u32::from_le_bytes([e, f, g, h]);
            return Ok(Cluster { kind, offset, block, back: 0, blocks: None });
        }
        Ok(inner(u32::from(u16::from_le_bytes([e, f]))))
    }

    fn compact(&self, fs: &Erofs, number: u64) -> Result<Cluster> {
        let (at, shift) = self.place(number).ok_or(Errno::EUCLEAN)?;
        let count: u32 = if shift == 1 { 16 } else { 2 };
        let size = u64::from(count << shift);
        let mut bytes = [0; 32];
        let pack = bytes.get_mut(..size as usize).ok_or(Errno::EUCLEAN)?;
        fs.image.read(pack, at - at % size)?;
        let index = ((at % size) >> shift) as u32;
        let pack = Pack {
            bytes: pack,
            count,
            bits: if shift == 1 { 14 } else { 16 },
            low_bits: self.cluster_bits.max(12),
        };
        let big = self.advise & (BIG[0] | BIG[1]) != 0;
        pack.cluster(index, big)
    }

    /// Where an entry is, and how many bytes it takes on average (as a power of two).
    fn place(&self, number: u64) -> Option<(u64, u32)> {
        let (base, rest, shift) = match number.checked_sub(self.before) {
            None => (self.base, number, 2),
            Some(rest) => {
                let base = self.base.checked_add(self.before * 4)?;
                match rest.checked_sub(self.packed) {
                    None => (base, rest, 1),
                    Some(rest) => (base.checked_add(self.packed.checked_mul(2)?)?, rest, 2),
                }
            }
        };
        Some((base.checked_add(rest.checked_mul(1 << shift)?)?, shift))
    }
}

/// An inner cluster with this distance, or number of blocks.
fn inner(distance: u32) -> Cluster {
    let counts = distance & BLOCK_COUNT != 0;
    Cluster {
        kind: Kind::Inner,
        offset: 0,
        block: 0,
        back: if counts { 1 } else { u64::from(distance) },
        blocks: counts.then_some(distance & !BLOCK_COUNT),
    }
}

/// Entries that share a block address, which is behind them.
struct Pack<'a> {
    bytes: &'a [u8],
    count: u32,
    /// Bits of an entry.
    bits: u32,
    /// Bits of its number; the kind is above them.
    low_bits: u32,
}

impl Pack<'_> {
    fn entry(&self, index: u32) -> (Kind, u32) {
        let at = index.saturating_mul(self.bits);
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(self.bytes.iter().skip(at as usize / 8)) {
            *to = *from;
        }
        let value = u32::from_le_bytes(word) >> (at % 8);
        (Kind::new(value >> self.low_bits), value & ((1 << self.low_bits) - 1))
    }

    fn cluster(&self, index: u32, big: bool) -> Result<Cluster> {
        let (kind, low) = self.entry(index);
        if kind != Kind::Inner {
            let block = self.base().checked_add(self.blocks_before(index, big)?);
            let block = block.ok_or(Errno::EUCLEAN)?;
            return Ok(Cluster { kind, offset: u64::from(low), block, back: 0, blocks: None });
        }
        if low & BLOCK_COUNT != 0 {
            return if big { Ok(inner(low)) } else { Err(Errno::EUCLEAN) };
        }
        if index.saturating_add(1) != self.count {
            return Ok(inner(low));
        }
        // The last of a pack holds the distance forward; the one before knows how far back the head is.
        let back = match self.entry(index.saturating_sub(1)) {
            (Kind::Inner, low) if low & BLOCK_COUNT != 0 => 1,
            (Kind::Inner, low) => u64::from(low),
            _ => 0,
        };
        Ok(Cluster { back: back.saturating_add(1), ..inner(0) })
    }

    fn base(&self) -> u32 {
        self.bytes.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Blocks of the pack's clusters before a head.
    fn blocks_before(&self, index: u32, big: bool) -> Result<u32> {
        let mut at = i64::from(index);
        let mut blocks: u32 = u32::from(!big);
        while at > 0 {
            at -= 1;
            let (kind, low) = self.entry(u32::try_from(at).unwrap_or(0));
            match (kind, big) {
                (Kind::Inner, false) => {
                    at -= i64::from(low);
                    blocks = blocks.saturating_add(u32::from(at >= 0));
                }
                (Kind::Inner, true) if low & BLOCK_COUNT != 0 => {
                    at -= 1;
                    blocks = blocks.saturating_add(low & !BLOCK_COUNT);
                }
                (Kind::Inner, true) if low <= 1 => return Err(Errno::EUCLEAN),
                (Kind::Inner, true) => at -= i64::from(low) - 2,
                _ => blocks = blocks.saturating_add(1),
            }
        }
        Ok(blocks)
    }
}
