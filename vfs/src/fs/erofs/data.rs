//! Data that is stored as it is: flat, inline and chunked files.

use chitin_abi::{Errno, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Erofs;
use super::layout::{Storage, Stored, align};

/// The address of a hole.
const HOLE: u32 = u32::MAX;
/// Chunk format: how many bits a chunk has more than a block.
const CHUNK_BITS: u32 = 0x1f;
/// Chunk format: entries of eight bytes.
const CHUNK_INDEXES: u32 = 0x20;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawChunk {
    advise: U16,
    device: U16,
    block: U32,
}

/// Where a piece of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// At this offset of the image.
    At(u64),
    /// Nowhere: zeros.
    Hole,
}

/// Where the data from an offset on is, and for how many bytes that is so.
pub(super) fn locate(fs: &Erofs, stored: &Stored, offset: u64) -> Result<(Piece, u64)> {
    let left = stored.size.checked_sub(offset).ok_or(Errno::EINVAL)?;
    match stored.storage {
        Storage::Flat => Ok((Piece::At(flat(fs, stored, offset)?), left)),
        Storage::Inline => {
            let block = fs.block_size() as u64;
            let inline_from = stored.size - stored.size % block;
            if offset < inline_from {
                return Ok((Piece::At(flat(fs, stored, offset)?), inline_from - offset));
            }
            let at = stored.tail()?.checked_add(offset - inline_from).ok_or(Errno::EUCLEAN)?;
            Ok((Piece::At(at), left))
        }
        Storage::Chunked => {
            chunk(fs, stored, offset).map(|(piece, length)| (piece, length.min(left)))
        }
        Storage::CompressedFull | Storage::CompressedCompact => Err(Errno::EINVAL),
    }
}

fn flat(fs: &Erofs, stored: &Stored, offset: u64) -> Result<u64> {
    fs.block(stored.place).checked_add(offset).ok_or(Errno::EUCLEAN)
}

fn chunk(fs: &Erofs, stored: &Stored, offset: u64) -> Result<(Piece, u64)> {
    let format = stored.place & 0xffff;
    let bits = u32::from(fs.super_block.block_bits) + (format & CHUNK_BITS);
    if format & !(CHUNK_BITS | CHUNK_INDEXES) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let (index, within) = (offset >> bits, offset & ((1 << bits) - 1));
    let size = if format & CHUNK_INDEXES != 0 { 8 } else { 4 };
    let at = index
        .checked_mul(size)
        .and_then(|at| at.checked_add(align(stored.tail().ok()?, size).ok()?));
    let at = at.ok_or(Errno::EUCLEAN)?;
    let block = if size == 8 {
        let chunk: RawChunk = fs.image.get(at)?;
        if chunk.device.get() != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        chunk.block.get()
    } else {
        fs.image.get::<U32>(at)?.get()
    };
    let left = (1 << bits) - within;
    if block == HOLE {
        return Ok((Piece::Hole, left));
    }
    Ok((Piece::At(fs.block(block).checked_add(within).ok_or(Errno::EUCLEAN)?), left))
}

/// Reads data that is stored as it is; the caller stays within the file.
pub(super) fn read(fs: &Erofs, stored: &Stored, mut buffer: &mut [u8], offset: u64) -> Result<()> {
    let mut at = offset;
    while !buffer.is_empty() {
        let (piece, length) = locate(fs, stored, at)?;
        let count = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        if count == 0 {
            return Err(Errno::EUCLEAN);
        }
        let (head, rest) = buffer.split_at_mut(count);
        match piece {
            Piece::At(place) => fs.image.read(head, place)?,
            Piece::Hole => head.fill(0),
        }
        at = at.saturating_add(count as u64);
        buffer = rest;
    }
    Ok(())
}
