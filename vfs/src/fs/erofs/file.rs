//! Open files and directories of an image, and mappings.

use core::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::fs::DT_DIR;
use chitin_abi::{Errno, Result};
use chitin_mm::MappedFile;

use super::dir::{Block, blocks};
use super::inode::{ErofsInode, Recent};
use crate::file::{DirEntry, File};
use crate::inode::Inode as _;
use crate::io::Sink;

/// Most bytes that are read at once.
const CHUNK: usize = 64 << 10;

pub(super) fn open(inode: Arc<ErofsInode>) -> Arc<dyn File> {
    Arc::new(Regular { inode, recent: Recent::default() })
}

pub(super) fn open_dir(inode: Arc<ErofsInode>) -> Arc<dyn File> {
    Arc::new(Directory { inode })
}

struct Regular {
    inode: Arc<ErofsInode>,
    recent: Recent,
}

impl File for Regular {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        let left = self.inode.stored.size.saturating_sub(offset);
        let mut left = usize::try_from(left).unwrap_or(usize::MAX).min(to.remaining());
        let mut buffer = vec![0; left.min(CHUNK)];
        let mut done = 0usize;
        while left > 0 {
            let count = left.min(CHUNK);
            let piece = buffer.get_mut(..count).ok_or(Errno::EIO)?;
            let read = self.inode.read(piece, offset.saturating_add(done as u64), &self.recent);
            let stored = match read.and_then(|()| to.put(piece)) {
                Ok(stored) => stored,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            done = done.saturating_add(stored);
            left = left.saturating_sub(stored);
            if stored < count {
                break;
            }
        }
        Ok(done)
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        crate::seek::default_seek(position, offset, whence, || Ok(self.inode.stored.size))
    }

    fn map(&self) -> Result<Arc<dyn MappedFile>> {
        Ok(Arc::clone(&self.inode) as Arc<dyn MappedFile>)
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }
}

impl MappedFile for ErofsInode {
    fn host_file(&self, offset: u64, _len: u64, write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        if write {
            return Err(Errno::EACCES);
        }
        Ok((self.fs.unpacked.get(self)?, offset))
    }

    fn dev(&self) -> u64 {
        self.super_block().dev
    }

    fn ino(&self) -> u64 {
        self.number
    }

    fn path(&self) -> Vec<u8> {
        Vec::new()
    }

    fn key(&self) -> u64 {
        let mixed = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.rotate_left(29) ^ self.super_block().dev.wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct Directory {
    inode: Arc<ErofsInode>,
}

/// Entries of a block that a position can tell apart: 12 bytes each in at most 64 KiB.
const PER_BLOCK: u64 = 1 << 13;

impl File for Directory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let (fs, stored) = (&self.inode.fs, &self.inode.stored);
        let (mut number, mut first) = (position / PER_BLOCK, position % PER_BLOCK);
        while number < blocks(fs, stored) {
            let block = Block::read(fs, stored, number)?;
            for index in usize::try_from(first).unwrap_or(usize::MAX)..block.len() {
                let entry = block.entry(index)?;
                let kind = if matches!(entry.name, b"." | b"..") { DT_DIR } else { entry.kind };
                let last = index.saturating_add(1) >= block.len();
                let next = if last {
                    (number + 1) * PER_BLOCK
                } else {
                    number * PER_BLOCK + index as u64 + 1
                };
                if !emit(DirEntry { name: entry.name, ino: entry.inode, kind, next }) {
                    return Ok(());
                }
            }
            (number, first) = (number.saturating_add(1), 0);
        }
        Ok(())
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }
}
