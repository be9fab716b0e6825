//! [`ErofsInode`]: a file of an image.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{
    OpenFlags, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::compressed::{self, Unpacked};
use super::index::Index;
use super::layout::{Storage, Stored, read_inode};
use super::{Erofs, data, dir, file, xattr};
use crate::attr::{Attr, SetAttr};
use crate::env::VfsEnv;
use crate::file::File;
use crate::inode::Inode;
use crate::inode_state::InodeState;
use crate::super_block::SuperBlock;

/// Longest text of a symbolic link.
const LINK_MAX: u64 = 4095;

/// A file of an image.
pub(super) struct ErofsInode {
    pub fs: Arc<Erofs>,
    super_block: Arc<SuperBlock>,
    state: InodeState,
    /// Its number in the image, and for the guest.
    pub number: u64,
    pub stored: Stored,
}

/// The last cluster that was unpacked for somebody who reads a file.
pub(super) type Recent = Mutex<Unpacked>;

impl ErofsInode {
    /// The inode of this number.
    pub fn find(fs: &Arc<Erofs>, super_block: &Arc<SuperBlock>, number: u64) -> Result<Arc<Self>> {
        if let Some(known) = fs.table.get(number) {
            return Ok(known);
        }
        let stored = read_inode(&fs.image, &fs.super_block, number)?;
        let kind = stored.mode & S_IFMT;
        if ![S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK].contains(&kind) {
            return Err(Errno::EUCLEAN);
        }
        if stored.size > i64::MAX.cast_unsigned() {
            return Err(Errno::EUCLEAN);
        }
        let make = || {
            Arc::new(Self {
                fs: Arc::clone(fs),
                super_block: Arc::clone(super_block),
                state: InodeState::default(),
                number,
                stored,
            })
        };
        Ok(fs.table.get_or_make(number, |_| true, make))
    }

    fn kind(&self) -> u32 {
        self.stored.mode & S_IFMT
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == S_IFDIR
    }

    fn is_compressed(&self) -> bool {
        matches!(self.stored.storage, Storage::CompressedFull | Storage::CompressedCompact)
    }

    /// Fills a buffer from an offset; the caller stays within the file.
    pub fn read(&self, buffer: &mut [u8], offset: u64, recent: &Recent) -> Result<()> {
        if !self.is_compressed() {
            return data::read(&self.fs, &self.stored, buffer, offset);
        }
        let mut index = None;
        let mut recent = recent.lock();
        let (mut rest, mut at) = (buffer, offset);
        while !rest.is_empty() {
            if recent.from(at).is_none() {
                if index.is_none() {
                    index = Some(Index::read(&self.fs, &self.stored)?);
                }
                let index = index.as_ref().ok_or(Errno::EIO)?;
                *recent = compressed::unpack(&self.fs, &self.stored, index, at)?;
            }
            let bytes = recent.from(at).ok_or(Errno::EUCLEAN)?;
            let count = bytes.len().min(rest.len());
            let (head, tail) = rest.split_at_mut(count);
            head.copy_from_slice(bytes.get(..count).ok_or(Errno::EUCLEAN)?);
            at = at.saturating_add(count as u64);
            rest = tail;
        }
        Ok(())
    }

    /// Whether a range is a hole, and how long what is at its start goes on. `None` where that is not known.
    pub fn hole(&self, offset: u64) -> Option<(bool, u64)> {
        if self.is_compressed() {
            return None;
        }
        let (piece, length) = data::locate(&self.fs, &self.stored, offset).ok()?;
        Some((piece == data::Piece::Hole, length))
    }
}

impl Drop for ErofsInode {
    fn drop(&mut self) {
        self.fs.table.forget(self.number);
    }
}

impl Inode for ErofsInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn super_block(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }

    fn state(&self) -> &InodeState {
        &self.state
    }

    fn attr(&self) -> Result<Attr> {
        let stored = &self.stored;
        let time = Timespec {
            tv_sec: stored.mtime.0,
            tv_nsec: i64::from(stored.mtime.1.min(999_999_999)),
        };
        let is_device = matches!(self.kind(), S_IFCHR | S_IFBLK);
        let rdev = if is_device { u64::from(stored.place) } else { 0 };
        Ok(Attr {
            dev: self.super_block.dev,
            ino: self.number,
            mode: stored.mode,
            nlink: stored.nlink,
            uid: stored.uid,
            gid: stored.gid,
            rdev,
            size: stored.size,
            blksize: 1 << self.fs.super_block.block_bits,
            blocks: stored.size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
        })
    }

    fn set_attr(&self, _change: &SetAttr, _now: Timespec) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if !self.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let number = dir::find(&self.fs, &self.stored, name)?;
        Ok(Self::find(&self.fs, &self.super_block, number)?)
    }

    fn read_link(&self, _env: &VfsEnv) -> Result<Vec<u8>> {
        if self.kind() != S_IFLNK {
            return Err(Errno::EINVAL);
        }
        if self.stored.size > LINK_MAX {
            return Err(Errno::EUCLEAN);
        }
        let mut text = vec![0; usize::try_from(self.stored.size).map_err(|_| Errno::EUCLEAN)?];
        self.read(&mut text, 0, &Recent::default())?;
        if text.is_empty() || text.contains(&0) { Err(Errno::EUCLEAN) } else { Ok(text) }
    }

    fn open(self: Arc<Self>, flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        if flags.is_writable() {
            return Err(Errno::EROFS);
        }
        match self.kind() {
            S_IFREG => Ok(file::open(self)),
            S_IFDIR => Ok(file::open_dir(self)),
            S_IFLNK => Err(Errno::ELOOP),
            S_IFSOCK | S_IFIFO => Err(Errno::ENXIO),
            _ => Err(Errno::ENODEV),
        }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        xattr::get(&self.fs, &self.stored, name)
    }

    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: u32) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        xattr::list(&self.fs, &self.stored)
    }
}
