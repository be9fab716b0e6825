//! Open regular files of the host, whoever found their descriptors.

use core::any::Any;
use core::mem::MaybeUninit;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, SEEK_DATA, SEEK_HOLE};
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::ReadWriteFlags;

use super::attr::statx_fd;
use super::fd_cache::CachedFd;
use super::map::HostMapping;
use crate::file::{File, WriteAt};
use crate::host_errno::from_host;
use crate::inode::Inode;
use crate::io::{Sink, Source};

/// Most bytes that one host call moves.
pub(super) const CHUNK: usize = 64 << 10;
/// Reads up to this go through the stack.
const SMALL: usize = 4096;

/// The inode that a regular file of the host belongs to.
pub(in crate::fs) trait Regular: Inode {
    /// Held over an append.
    fn appending(&self) -> &Mutex<()>;
    /// Forgets attributes: something has changed.
    fn changed(&self);
    /// From now on attributes change by themselves: the file is mapped shared and writable.
    fn set_volatile(&self);
    /// The inode number that the guest sees.
    fn ino(&self) -> u64;
    /// The path from the root of the tree, beginning with `/`.
    fn path(&self) -> Vec<u8>;
}

/// An open file by a descriptor with the rights that `flags` ask for.
pub(in crate::fs) fn open<I: Regular>(
    inode: Arc<I>,
    fd: Arc<CachedFd>,
    flags: OpenFlags,
) -> Arc<dyn File> {
    let mut sync = ReadWriteFlags::empty();
    if flags.contains(OpenFlags::O_SYNC) {
        sync = ReadWriteFlags::SYNC;
    } else if flags.contains(OpenFlags::O_DSYNC) {
        sync = ReadWriteFlags::DSYNC;
    }
    Arc::new(HostRegular { inode, fd, sync, writes: flags.is_writable() })
}

struct HostRegular<I> {
    inode: Arc<I>,
    fd: Arc<CachedFd>,
    sync: ReadWriteFlags,
    writes: bool,
}

impl<I: Regular> HostRegular<I> {
    fn read_through(
        &self,
        to: &mut dyn Sink,
        offset: u64,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Result<usize> {
        let mut done = 0usize;
        loop {
            let chunk = to.remaining().min(buffer.len());
            let at = offset.saturating_add(done as u64);
            let Some(room) = buffer.get_mut(..chunk).filter(|room| !room.is_empty()) else {
                return Ok(done);
            };
            let bytes = match rustix::io::pread(self.fd.as_fd(), room, at) {
                Ok((bytes, _)) => bytes,
                Err(error) if done == 0 => return Err(from_host(error)),
                Err(_) => return Ok(done),
            };
            let stored = match to.put(bytes) {
                Ok(stored) => stored,
                Err(error) if done == 0 && !bytes.is_empty() => return Err(error),
                Err(_) => return Ok(done),
            };
            done = done.saturating_add(stored);
            if bytes.len() < chunk || stored < bytes.len() {
                return Ok(done);
            }
        }
    }

    fn write_chunk(&self, bytes: &[u8], at: WriteAt, done: u64) -> rustix::io::Result<usize> {
        let offset = match at {
            WriteAt::Offset(offset) => offset.saturating_add(done),
            WriteAt::End => 0,
        };
        let append =
            if at == WriteAt::End { ReadWriteFlags::APPEND } else { ReadWriteFlags::empty() };
        let flags = self.sync | append;
        if flags.is_empty() {
            return rustix::io::pwrite(self.fd.as_fd(), bytes, offset);
        }
        rustix::io::pwritev2(self.fd.as_fd(), &[IoSlice::new(bytes)], offset, flags)
    }

    fn write_all(&self, from: &mut dyn Source, at: WriteAt) -> Result<usize> {
        let mut buffer = vec![0; from.remaining().min(CHUNK)];
        let mut done = 0usize;
        while from.remaining() > 0 {
            let taken = match from.take(&mut buffer) {
                Ok(taken) => taken,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let bytes = buffer.get(..taken).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            let written = match self.write_chunk(bytes, at, done as u64) {
                Ok(written) => written,
                Err(error) if done == 0 => return Err(from_host(error)),
                Err(_) => break,
            };
            done = done.saturating_add(written);
            if written < taken {
                break;
            }
        }
        Ok(done)
    }
}

impl<I: Regular> File for HostRegular<I> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        if to.remaining() <= SMALL {
            return self.read_through(to, offset, &mut [const { MaybeUninit::uninit() }; SMALL]);
        }
        let mut buffer = Box::<[u8]>::new_uninit_slice(to.remaining().min(CHUNK));
        self.read_through(to, offset, &mut buffer)
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let result = match at {
            WriteAt::Offset(offset) => {
                self.write_all(from, at).map(|done| (done, offset.saturating_add(done as u64)))
            }
            WriteAt::End => {
                let _appending = self.inode.appending().lock();
                let done = self.write_all(from, at);
                done.and_then(|done| Ok((done, statx_fd(self.fd.as_fd())?.stx_size)))
            }
        };
        self.inode.changed();
        result
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        let host = |to| rustix::fs::seek(self.fd.as_fd(), to).map_err(from_host);
        match (whence, u64::try_from(offset)) {
            (SEEK_DATA, Ok(offset)) => host(SeekFrom::Data(offset)),
            (SEEK_HOLE, Ok(offset)) => host(SeekFrom::Hole(offset)),
            (SEEK_DATA | SEEK_HOLE, Err(_)) => Err(Errno::ENXIO),
            _ => {
                crate::seek::default_seek(position, offset, whence, || Ok(self.inode.attr()?.size))
            }
        }
    }

    fn map(&self) -> Result<Arc<dyn chitin_mm::MappedFile>> {
        Ok(HostMapping::new(&self.inode, &self.fd, self.writes))
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        let mode = FallocateFlags::from_bits(mode).ok_or(Errno::EOPNOTSUPP)?;
        let result =
            rustix::fs::fallocate(self.fd.as_fd(), mode, offset, length).map_err(from_host);
        self.inode.changed();
        result
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let fd: BorrowedFd<'_> = self.fd.as_fd();
        let result = if data_only { rustix::fs::fdatasync(fd) } else { rustix::fs::fsync(fd) };
        result.map_err(from_host)
    }
}
