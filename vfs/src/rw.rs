//! Reading and writing open files: the rules that are the same for all of them.
//!
//! Access mode, position and `O_APPEND`, `ESPIPE`, the file size limit, access times, set-id bits that a write
//! clears, and the events that watches are told. Costs beyond the file's own: one uncontended lock where the
//! position is used, two atomic loads for watches, one lock of the inode for its access time.

use std::sync::Arc;

use chitin_abi::fs::{FALLOC_FL_KEEP_SIZE, OpenFlags, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP};
use chitin_abi::process::CAP_FSETID;
use chitin_abi::{Errno, Result};

use crate::attr::SetAttr;
use crate::env::VfsEnv;
use crate::file::{DirEntry, OpenFile, WriteAt};
use crate::inode::Inode;
use crate::io::{Sink, Source};
use crate::mount::MountFlags;

/// Largest file offset.
pub const MAX_OFFSET: u64 = i64::MAX as u64;

impl OpenFile {
    /// Reads at the position, or at `at` without moving it.
    ///
    /// # Errors
    /// EBADF where it is not open for reading, EISDIR, ESPIPE for `at` in a stream, EAGAIN where it would
    /// block whatever `O_NONBLOCK` says, and what the file says.
    pub fn read(&self, to: &mut dyn Sink, at: Option<u64>, env: &VfsEnv) -> Result<usize> {
        if !self.readable() {
            return Err(Errno::EBADF);
        }
        let count = match at {
            None if self.file().is_stream() => self.file().read_at(to, 0)?,
            None => {
                let mut position = self.position.lock();
                let count = self.file().read_at(to, *position)?;
                *position = position.saturating_add(count as u64);
                count
            }
            Some(_) if self.file().is_stream() => return Err(Errno::ESPIPE),
            Some(offset) if offset > MAX_OFFSET => return Err(Errno::EINVAL),
            Some(offset) => self.file().read_at(to, offset)?,
        };
        self.touch(env);
        if count > 0 {
            crate::notify::access(self, env.pid);
        }
        Ok(count)
    }

    /// Writes at the position (the end with `O_APPEND`), or at `at` without moving it.
    ///
    /// # Errors
    /// EBADF where it is not open for writing, ESPIPE for `at` in a stream, EFBIG at the caller's limit (which
    /// also gets SIGXFSZ), EAGAIN where it would block whatever `O_NONBLOCK` says, and what the file says.
    pub fn write(&self, from: &mut dyn Source, at: Option<u64>, env: &VfsEnv) -> Result<usize> {
        self.write_appending(from, at, self.flags().contains(OpenFlags::O_APPEND), env)
    }

    /// The same with `append` instead of the description's `O_APPEND` (`RWF_APPEND`, `RWF_NOAPPEND`).
    ///
    /// # Errors
    /// As [`OpenFile::write`].
    pub fn write_appending(
        &self,
        from: &mut dyn Source,
        at: Option<u64>,
        append: bool,
        env: &VfsEnv,
    ) -> Result<usize> {
        if !self.writable() {
            return Err(Errno::EBADF);
        }
        let count = match at {
            None if self.file().is_stream() => self.file().write_at(from, WriteAt::End)?.0,
            None => {
                let mut position = self.position.lock();
                let place = if append { WriteAt::End } else { WriteAt::Offset(*position) };
                let (count, end) = self.write_limited(from, place, env)?;
                *position = end;
                count
            }
            Some(_) if self.file().is_stream() => return Err(Errno::ESPIPE),
            Some(offset) if offset > MAX_OFFSET => return Err(Errno::EINVAL),
            Some(_) if append => self.write_limited(from, WriteAt::End, env)?.0,
            Some(offset) => self.write_limited(from, WriteAt::Offset(offset), env)?.0,
        };
        if count > 0 {
            crate::notify::modify(self, env.pid);
        }
        Ok(count)
    }

    fn write_limited(
        &self,
        from: &mut dyn Source,
        at: WriteAt,
        env: &VfsEnv,
    ) -> Result<(usize, u64)> {
        if from.remaining() == 0 {
            let end = match at {
                WriteAt::Offset(offset) => offset,
                WriteAt::End => *self.own_size()?.get_or_insert(0),
            };
            return self.file().write_at(from, at).map(|(count, _)| (count, end));
        }
        self.clear_set_id(env)?;
        let limit = env.file_size_limit.min(MAX_OFFSET);
        let start = match at {
            WriteAt::Offset(offset) => offset,
            WriteAt::End if env.file_size_limit < MAX_OFFSET => self.own_size()?.unwrap_or(0),
            WriteAt::End => return self.file().write_at(from, at),
        };
        let Some(room) = limit.checked_sub(start).filter(|room| *room > 0) else {
            // Devices and the like have no size that could grow.
            let limited = self.attr().is_ok_and(|attr| attr.is_regular());
            return if limited { Err(Errno::EFBIG) } else { self.file().write_at(from, at) };
        };
        if (from.remaining() as u64) <= room {
            return self.file().write_at(from, at);
        }
        if !self.attr()?.is_regular() {
            return self.file().write_at(from, at);
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        self.file().write_at(&mut Limited { from, left: room }, at)
    }

    fn own_size(&self) -> Result<Option<u64>> {
        Ok(Some(self.attr()?.size))
    }

    /// Notes an access, by the rules of the mount and the open flags.
    pub fn touch(&self, env: &VfsEnv) {
        let Some(path) = self.path() else { return };
        if self.flags().contains(OpenFlags::O_NOATIME) {
            return;
        }
        touch_path(path, env);
    }

    /// Removes set-id bits and file capabilities before a change of the contents.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn clear_set_id(&self, env: &VfsEnv) -> Result<()> {
        let Some(path) = self.path() else { return Ok(()) };
        let inode = path.dentry().inode();
        let mode = lost_privileges(inode, self.keeps_set_id(env))?;
        if mode.is_none() {
            return Ok(());
        }
        inode.set_attr(&SetAttr { mode, ..SetAttr::default() }, env.shared.clock.now())
    }

    fn keeps_set_id(&self, env: &VfsEnv) -> bool {
        env.keeps_set_id.unwrap_or_else(|| self.cred.caps.has(CAP_FSETID))
    }

    /// `ftruncate(2)`.
    ///
    /// # Errors
    /// EINVAL where it is not open for writing or no regular file, EFBIG, EPERM while sealed.
    pub fn truncate(&self, length: u64, env: &VfsEnv) -> Result<()> {
        if !self.writable() {
            return Err(Errno::EINVAL);
        }
        let attr = self.attr()?;
        if !attr.is_regular() {
            return Err(Errno::EINVAL);
        }
        check_growth(length, attr.size, env)?;
        let mut change = SetAttr { size: Some(length), ..SetAttr::default() };
        match self.path() {
            Some(path) => {
                let inode = path.dentry().inode();
                change.mode = lost_privileges(inode, self.keeps_set_id(env))?;
                inode.set_attr(&change, env.shared.clock.now())?;
            }
            None => self.file().set_attr(&change)?,
        }
        crate::notify::modify(self, env.pid);
        Ok(())
    }

    /// `fallocate(2)`; the caller has checked signs and known mode bits.
    ///
    /// # Errors
    /// EBADF, ESPIPE, ENODEV, EFBIG, EOPNOTSUPP, ENOSPC.
    pub fn allocate(&self, mode: u32, offset: u64, length: u64, env: &VfsEnv) -> Result<()> {
        if !self.writable() {
            return Err(Errno::EBADF);
        }
        if self.file().is_stream() {
            return Err(Errno::ESPIPE);
        }
        let end =
            offset.checked_add(length).filter(|end| *end <= MAX_OFFSET).ok_or(Errno::EFBIG)?;
        if mode & FALLOC_FL_KEEP_SIZE == 0 {
            check_size(end, env)?;
        }
        self.clear_set_id(env)?;
        self.file().allocate(mode, offset, length)?;
        crate::notify::modify(self, env.pid);
        Ok(())
    }

    /// Hands out directory entries from the position on and moves it behind the last one that `emit` took.
    ///
    /// # Errors
    /// EBADF, ENOTDIR, ENOENT for a directory that has been removed.
    pub fn read_dir(&self, env: &VfsEnv, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        if !self.readable() {
            return Err(Errno::EBADF);
        }
        let mut position = self.position.lock();
        if self.path().is_some_and(|path| path.dentry().is_dir() && path.dentry().is_unlinked()) {
            return Err(Errno::ENOENT);
        }
        let mut next = *position;
        let result = self.file().read_dir(*position, &mut |entry| {
            let after = entry.next;
            let taken = emit(entry);
            if taken {
                next = after;
            }
            taken
        });
        *position = next;
        drop(position);
        result?;
        self.touch(env);
        crate::notify::access(self, env.pid);
        Ok(())
    }
}

/// Fails for growing to a size that the caller's limit forbids.
///
/// # Errors
/// EFBIG.
pub fn check_growth(size: u64, old: u64, env: &VfsEnv) -> Result<()> {
    if size > MAX_OFFSET {
        Err(Errno::EFBIG)
    } else if size > old {
        check_size(size, env)
    } else {
        Ok(())
    }
}

/// Fails for a size that the caller's limit forbids.
///
/// # Errors
/// EFBIG.
pub fn check_size(size: u64, env: &VfsEnv) -> Result<()> {
    if size > env.file_size_limit.min(MAX_OFFSET) { Err(Errno::EFBIG) } else { Ok(()) }
}

/// What a change of the contents takes away: removes file capabilities and returns the mode without set-id
/// bits where those must go. Remembered, so that it costs one atomic load per write.
pub(crate) fn lost_privileges(inode: &Arc<dyn Inode>, keep: bool) -> Result<Option<u32>> {
    let state = inode.state();
    if state.has_no_privileges() {
        return Ok(None);
    }
    let info = inode.access_info()?;
    if info.mode & S_IFMT != S_IFREG {
        return Ok(None);
    }
    crate::walk::remove_capabilities(inode)?;
    let group = if info.mode & S_IXGRP != 0 { S_ISGID } else { 0 };
    let lost = info.mode & (S_ISUID | group);
    if lost == 0 {
        state.set_no_privileges();
        return Ok(None);
    }
    if keep { Ok(None) } else { Ok(Some(info.mode & 0o7777 & !lost)) }
}

/// Notes an access to what a path names (reading a directory, following a link).
pub fn touch_path(path: &crate::path::Path, env: &VfsEnv) {
    let flags = path.mount().flags();
    if flags.intersects(MountFlags::NO_ATIME | MountFlags::READ_ONLY)
        || path.mount().super_block().is_read_only()
    {
        return;
    }
    path.dentry().inode().touch(env.shared.clock.now(), flags.contains(MountFlags::REL_ATIME));
}

/// The first bytes of a source.
struct Limited<'a> {
    from: &'a mut dyn Source,
    left: usize,
}

impl Source for Limited<'_> {
    fn remaining(&self) -> usize {
        self.from.remaining().min(self.left)
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(self.left);
        let count = self.from.take(buffer.get_mut(..wanted).unwrap_or_default())?;
        self.left = self.left.saturating_sub(count);
        Ok(count)
    }
}
