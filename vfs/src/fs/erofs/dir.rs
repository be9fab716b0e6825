//! Directories: blocks of sorted entries, with the names behind them.

use core::cmp::Ordering;

use chitin_abi::fs::{DT_BLK, DT_CHR, DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN};
use chitin_abi::{Errno, Result};

use super::Erofs;
use super::data;
use super::layout::{Storage, Stored};

/// Bytes of an entry without its name.
const ENTRY: usize = 12;

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub name: &'a [u8],
    pub inode: u64,
    /// `DT_…`.
    pub kind: u8,
}

/// A block of a directory.
pub(super) struct Block {
    bytes: Vec<u8>,
    count: usize,
}

impl Block {
    /// Reads the block of this number.
    pub fn read(fs: &Erofs, dir: &Stored, number: u64) -> Result<Self> {
        if matches!(dir.storage, Storage::CompressedFull | Storage::CompressedCompact) {
            return Err(Errno::EUCLEAN);
        }
        let size = fs.block_size() as u64;
        let start = number.checked_mul(size).ok_or(Errno::EUCLEAN)?;
        let left = dir.size.checked_sub(start).ok_or(Errno::EUCLEAN)?;
        let mut bytes = vec![0; usize::try_from(left.min(size)).map_err(|_| Errno::EUCLEAN)?];
        data::read(fs, dir, &mut bytes, start)?;
        Self::new(bytes)
    }

    pub(super) fn new(bytes: Vec<u8>) -> Result<Self> {
        let names = usize::from(name_offset(&bytes, 0).ok_or(Errno::EUCLEAN)?);
        if names < ENTRY || names % ENTRY != 0 || names > bytes.len() {
            return Err(Errno::EUCLEAN);
        }
        Ok(Self { count: names / ENTRY, bytes })
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// The entry of this index.
    pub fn entry(&self, index: usize) -> Result<Entry<'_>> {
        let raw = self.bytes.get(index.saturating_mul(ENTRY)..).and_then(|rest| rest.get(..ENTRY));
        let raw = raw.filter(|_| index < self.count).ok_or(Errno::EUCLEAN)?;
        let (inode, rest) = raw.split_first_chunk::<8>().ok_or(Errno::EUCLEAN)?;
        let start = usize::from(name_offset(&self.bytes, index).ok_or(Errno::EUCLEAN)?);
        let end = if index.saturating_add(1) < self.count {
            usize::from(name_offset(&self.bytes, index.saturating_add(1)).ok_or(Errno::EUCLEAN)?)
        } else {
            self.bytes.len()
        };
        let name = self.bytes.get(start..end).ok_or(Errno::EUCLEAN)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name.is_empty() || name.len() > 255 || name.contains(&b'/') {
            return Err(Errno::EUCLEAN);
        }
        let kind = match rest.get(2) {
            Some(1) => DT_REG,
            Some(2) => DT_DIR,
            Some(3) => DT_CHR,
            Some(4) => DT_BLK,
            Some(5) => DT_FIFO,
            Some(6) => DT_SOCK,
            Some(7) => DT_LNK,
            _ => DT_UNKNOWN,
        };
        Ok(Entry { name, inode: u64::from_le_bytes(*inode), kind })
    }

    fn find(&self, name: &[u8]) -> Result<Option<u64>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let entry = self.entry(middle)?;
            match entry.name.cmp(name) {
                Ordering::Equal => return Ok(Some(entry.inode)),
                Ordering::Less => low = middle.saturating_add(1),
                Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}

fn name_offset(bytes: &[u8], index: usize) -> Option<u16> {
    let at = index.checked_mul(ENTRY)?.checked_add(8)?;
    let raw = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*raw))
}

/// How many blocks a directory has.
pub(super) fn blocks(fs: &Erofs, dir: &Stored) -> u64 {
    dir.size.div_ceil(fs.block_size() as u64)
}

/// The number of an entry's inode.
pub(super) fn find(fs: &Erofs, dir: &Stored, name: &[u8]) -> Result<u64> {
    let (mut low, mut high) = (0, blocks(fs, dir));
    while low < high {
        let middle = low.midpoint(high);
        let block = Block::read(fs, dir, middle)?;
        let first = block.entry(0)?.name.cmp(name);
        let last = block.entry(block.len().saturating_sub(1))?.name.cmp(name);
        if first == Ordering::Greater {
            high = middle;
        } else if last == Ordering::Less {
            low = middle.saturating_add(1);
        } else {
            return block.find(name)?.ok_or(Errno::ENOENT);
        }
    }
    Err(Errno::ENOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_checked() {
        let mut block = vec![0; 64];
        block[8] = 24;
        block[10] = 2;
        block[12] = 7;
        block[20] = 25;
        block[24..26].copy_from_slice(b"ab");
        let block = Block::new(block).unwrap();
        assert_eq!(block.len(), 2);
        assert_eq!(block.entry(0), Ok(Entry { name: b"a", inode: 0, kind: DT_DIR }));
        assert_eq!(block.entry(1).map(|entry| (entry.name, entry.inode)), Ok((&b"b"[..], 7)));
        assert_eq!(block.find(b"b"), Ok(Some(7)));
        assert_eq!(block.find(b"c"), Ok(None));
        assert_eq!(block.entry(2), Err(Errno::EUCLEAN));
        for offset in [0, 11, 13, 255] {
            let mut block = vec![0; 64];
            block[8] = offset;
            assert!(Block::new(block).is_err(), "{offset}");
        }
    }
}
