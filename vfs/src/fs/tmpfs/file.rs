//! Open files of tmpfs.

use core::any::Any;
use core::sync::atomic::Ordering;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::addr::page_floor;
use chitin_abi::fs::{
    DT_DIR, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_WRITE, FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE, SEEK_DATA, SEEK_HOLE,
};
use chitin_abi::{Errno, Result};
use chitin_mm::MappedFile;

use super::inode::{Regular, TmpfsInode};
use crate::dentry::Name;
use crate::file::{DirEntry, File, WriteAt};
use crate::inode::Inode;
use crate::io::{Sink, Source};

/// Entries that are taken from a directory under one hold of its lock.
const BATCH: usize = 64;

/// An open regular file.
pub struct RegularFile {
    inode: Arc<TmpfsInode>,
}

impl RegularFile {
    pub(super) fn new(inode: Arc<TmpfsInode>) -> Self {
        Self { inode }
    }

    fn regular(&self) -> Result<&Regular> {
        self.inode.regular()
    }

    fn write_sealed(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let regular = self.regular()?;
        let mut content = regular.content.write();
        let offset = match at {
            WriteAt::Offset(offset) => offset,
            WriteAt::End => content.size(),
        };
        let seals = regular.seals.load(Ordering::Acquire);
        if seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        let written = if seals & F_SEAL_GROW == 0 {
            content.write(from, offset, &self.inode.fs.space)?
        } else {
            // Linux writes page by page and refuses the first piece that would end behind the file.
            let end = offset.saturating_add(from.remaining() as u64);
            let stop = if end <= content.size() { end } else { page_floor(content.size()) };
            let room = stop.saturating_sub(offset);
            if room == 0 {
                return Err(Errno::EPERM);
            }
            let room =
                usize::try_from(room).unwrap_or(usize::MAX).min(from.remaining()).min(1 << 20);
            let mut bytes = vec![0; room];
            let count = from.take(&mut bytes)?;
            let mut source = crate::io::SliceSource::new(bytes.get(..count).unwrap_or_default());
            content.write(&mut source, offset, &self.inode.fs.space)?
        };
        regular.size.store(content.size(), Ordering::Release);
        Ok((written, offset.saturating_add(written as u64)))
    }
}

impl File for RegularFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        self.regular()?.content.read().read(to, offset)
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let result = self.write_sealed(from, at)?;
        if result.0 > 0 {
            self.inode.modified();
        }
        Ok(result)
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        let regular = self.regular()?;
        if !matches!(whence, SEEK_DATA | SEEK_HOLE) {
            let size = || Ok(regular.content.read().size());
            return crate::seek::default_seek(position, offset, whence, size);
        }
        let content = regular.content.read();
        match u64::try_from(offset) {
            Ok(start) if start < content.size() => content.seek(start, whence == SEEK_HOLE),
            _ => Err(Errno::ENXIO),
        }
    }

    fn map(&self) -> Result<Arc<dyn MappedFile>> {
        Ok(Arc::clone(&self.inode) as Arc<dyn MappedFile>)
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let keep_size = mode & FALLOC_FL_KEEP_SIZE != 0;
        let punch = mode & FALLOC_FL_PUNCH_HOLE != 0;
        if punch && !keep_size {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        let regular = self.regular()?;
        {
            let mut content = regular.content.write();
            let seals = regular.seals.load(Ordering::Acquire);
            let space = &self.inode.fs.space;
            if punch {
                if seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
                    return Err(Errno::EPERM);
                }
                content.punch(offset, end, space)?;
            } else {
                if seals & F_SEAL_GROW != 0 && !keep_size && end > content.size() {
                    return Err(Errno::EPERM);
                }
                content.allocate(offset, end, keep_size, space)?;
            }
            regular.size.store(content.size(), Ordering::Release);
        }
        self.inode.modified();
        Ok(())
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }
}

impl MappedFile for TmpfsInode {
    fn host_file(&self, offset: u64, _len: u64, _write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        let regular = self.regular().map_err(|_| Errno::ENODEV)?;
        let fd = regular.content.write().move_to_host(&self.fs.space)?;
        Ok((fd, offset))
    }

    fn dev(&self) -> u64 {
        Inode::super_block(self).dev
    }

    fn ino(&self) -> u64 {
        self.ino
    }

    fn path(&self) -> Vec<u8> {
        Vec::new()
    }

    fn key(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mapped(&self, shared_writable: bool) {
        if let (true, Ok(regular)) = (shared_writable, self.regular()) {
            regular.writable_mappings.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn unmapped(&self, shared_writable: bool) {
        if let (true, Ok(regular)) = (shared_writable, self.regular()) {
            regular.writable_mappings.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn write_sealed(&self) -> bool {
        let seals = self.regular().map_or(0, |regular| regular.seals.load(Ordering::Acquire));
        seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0
    }
}

/// An open directory.
pub struct DirFile {
    inode: Arc<TmpfsInode>,
}

impl DirFile {
    pub(super) fn new(inode: Arc<TmpfsInode>) -> Self {
        Self { inode }
    }

    fn batch(&self, position: u64) -> Result<Vec<(Name, u64, u8, u64)>> {
        let entries = self.inode.entries()?.lock();
        Ok(entries
            .after(position)
            .take(BATCH)
            .map(|(name, inode, position)| {
                (Arc::clone(name), inode.ino, inode.dirent_type(), position)
            })
            .collect())
    }
}

impl File for DirFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        crate::seek::default_seek(position, offset, whence, || Ok(i64::MAX as u64))
    }

    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let dots: [(&[u8], u64); 2] = [(b".", self.inode.ino), (b"..", self.inode.parent_ino())];
        for (next, (name, ino)) in (1..).zip(dots) {
            if position < next && !emit(DirEntry { name, ino, kind: DT_DIR, next }) {
                return Ok(());
            }
        }
        let mut at = position.max(2);
        loop {
            let batch = self.batch(at)?;
            if batch.is_empty() {
                return Ok(());
            }
            for (name, ino, kind, next) in batch {
                if !emit(DirEntry { name: &name, ino, kind, next }) {
                    return Ok(());
                }
                at = next;
            }
        }
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }
}
