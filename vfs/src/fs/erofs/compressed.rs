//! Compressed files: which physical cluster holds the data of an offset, and what is in it.

use chitin_abi::{Errno, Result};

use super::Erofs;
use super::index::{Cluster, Index, Kind};
use super::layout::Stored;

/// Most bytes that a physical cluster unpacks to, as on Linux.
const LARGEST: u64 = 12 << 20;

/// The data of a physical cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// Where in the file it begins.
    start: u64,
    /// How many bytes it unpacks to.
    length: u64,
    kind: Kind,
    /// Where in the image it is.
    at: u64,
    /// How many bytes it has there.
    packed: u64,
}

/// Unpacked data of a part of a file.
#[derive(Default)]
pub(super) struct Unpacked {
    start: u64,
    bytes: Vec<u8>,
}

impl Unpacked {
    /// The data from an offset on, if it is here.
    pub fn from(&self, offset: u64) -> Option<&[u8]> {
        let within = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(within..).filter(|rest| !rest.is_empty())
    }
}

/// Finds the head of the cluster that holds an offset.
fn head(fs: &Erofs, index: &Index, offset: u64) -> Result<(u64, Cluster)> {
    let mut number = offset >> index.cluster_bits;
    let within = offset & ((1 << index.cluster_bits) - 1);
    let mut cluster = index.cluster(fs, number)?;
    if cluster.kind != Kind::Inner && within < cluster.offset {
        number = number.checked_sub(1).ok_or(Errno::EUCLEAN)?;
        cluster = index.cluster(fs, number)?;
    }
    let oldest = number.saturating_sub((LARGEST >> index.cluster_bits) + 1);
    while cluster.kind == Kind::Inner {
        number = number.checked_sub(cluster.back).ok_or(Errno::EUCLEAN)?;
        if cluster.back == 0 || number < oldest {
            return Err(Errno::EUCLEAN);
        }
        cluster = index.cluster(fs, number)?;
    }
    Ok((number, cluster))
}

fn extent(fs: &Erofs, stored: &Stored, index: &Index, offset: u64) -> Result<Extent> {
    let (number, head) = head(fs, index, offset)?;
    let start = (number << index.cluster_bits) + head.offset;
    let mut blocks = None;
    let mut next = number;
    let end = loop {
        next = next.checked_add(1).ok_or(Errno::EUCLEAN)?;
        let at = next.checked_mul(1 << index.cluster_bits).ok_or(Errno::EUCLEAN)?;
        if at >= stored.size {
            break stored.size;
        }
        if at.saturating_sub(start) > LARGEST {
            return Err(Errno::EUCLEAN);
        }
        let cluster = index.cluster(fs, next)?;
        if cluster.kind != Kind::Inner {
            break at + cluster.offset;
        }
        if next == number + 1 {
            blocks = cluster.blocks;
        }
    };
    if offset < start || offset >= end || end - start > LARGEST {
        return Err(Errno::EUCLEAN);
    }
    let alone = next == number + 1;
    let blocks = match blocks {
        Some(blocks) if index.is_big(head.kind) => blocks,
        None if index.is_big(head.kind) && !alone => return Err(Errno::EUCLEAN),
        _ => 1,
    };
    let packed = u64::from(blocks) << fs.super_block.block_bits;
    if packed == 0 || packed > LARGEST {
        return Err(Errno::EUCLEAN);
    }
    Ok(Extent { start, length: end - start, kind: head.kind, at: fs.block(head.block), packed })
}

/// Unpacks the cluster that holds an offset of a file.
pub(super) fn unpack(fs: &Erofs, stored: &Stored, index: &Index, offset: u64) -> Result<Unpacked> {
    let extent = extent(fs, stored, index, offset)?;
    let length = usize::try_from(extent.length).map_err(|_| Errno::EUCLEAN)?;
    let mut packed = vec![0; usize::try_from(extent.packed).map_err(|_| Errno::EUCLEAN)?];
    fs.image.read(&mut packed, extent.at)?;
    let bytes = match extent.kind {
        Kind::Plain if index.is_interlaced() => interlaced(fs, &packed, extent.start, length)?,
        Kind::Plain => packed.get(..length).ok_or(Errno::EUCLEAN)?.to_vec(),
        kind if index.algorithm(kind) == 0 => lz4(fs, &packed, length)?,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    Ok(Unpacked { start: extent.start, bytes })
}

/// Plain data that begins at its own offset of the block and wraps around.
fn interlaced(fs: &Erofs, packed: &[u8], start: u64, length: usize) -> Result<Vec<u8>> {
    let from = (start % fs.block_size() as u64) as usize;
    let right = packed.get(from..).ok_or(Errno::EUCLEAN)?;
    let right = right.get(..length).unwrap_or(right);
    let left = packed.get(..length - right.len()).ok_or(Errno::EUCLEAN)?;
    Ok([right, left].concat())
}

fn lz4(fs: &Erofs, packed: &[u8], length: usize) -> Result<Vec<u8>> {
    let (data, unpacked) = if fs.super_block.zero_padding {
        let start = packed.iter().position(|byte| *byte != 0).ok_or(Errno::EUCLEAN)?;
        (packed.get(start..), length)
    } else {
        let (end, unpacked) = lz4_end(packed, length).ok_or(Errno::EUCLEAN)?;
        (packed.get(..end), unpacked)
    };
    let mut bytes = vec![0; unpacked];
    let count = lz4_flex::block::decompress_into(data.unwrap_or_default(), &mut bytes);
    if count.is_ok_and(|count| count == unpacked) {
        bytes.truncate(length);
        Ok(bytes)
    } else {
        Err(Errno::EUCLEAN)
    }
}

/// The end of the LZ4 data that unpacks to at least this many bytes, and to how many. In the first images it began
/// where its cluster did, was followed by zeros, and may hold more than its extent needs.
fn lz4_end(packed: &[u8], length: usize) -> Option<(usize, usize)> {
    let (mut at, mut unpacked) = (0usize, 0usize);
    loop {
        let token = *packed.get(at)?;
        at = at.checked_add(1)?;
        let (literals, behind) = lz4_length(packed, at, token >> 4)?;
        at = behind.checked_add(literals)?;
        unpacked = unpacked.checked_add(literals)?;
        if unpacked >= length {
            let sane = at <= packed.len() && unpacked as u64 <= 2 * LARGEST;
            return sane.then_some((at, unpacked));
        }
        let (matched, behind) = lz4_length(packed, at.checked_add(2)?, token & 15)?;
        at = behind;
        unpacked = unpacked.checked_add(matched)?.checked_add(4)?;
    }
}

/// A length of LZ4: half a byte, and more bytes where that is full. Also says where they end.
fn lz4_length(packed: &[u8], mut at: usize, nibble: u8) -> Option<(usize, usize)> {
    let mut length = usize::from(nibble);
    let mut more = if nibble == 15 { u8::MAX } else { 0 };
    while more == u8::MAX {
        more = *packed.get(at)?;
        at = at.checked_add(1)?;
        length = length.checked_add(usize::from(more))?;
    }
    Some((length, at))
}
