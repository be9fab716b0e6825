//! Mappings of host files: the stub maps the host's own page cache.

use core::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use chitin_mm::MappedFile;

use super::fd_cache::CachedFd;
use super::file::Regular;

/// A host file as something to map.
pub(super) struct HostMapping<I> {
    inode: Arc<I>,
    fd: Arc<CachedFd>,
    writes: bool,
}

impl<I: Regular> HostMapping<I> {
    pub fn new(inode: &Arc<I>, fd: &Arc<CachedFd>, writes: bool) -> Arc<Self> {
        Arc::new(Self { inode: Arc::clone(inode), fd: Arc::clone(fd), writes })
    }
}

impl<I: Regular> MappedFile for HostMapping<I> {
    fn host_file(&self, offset: u64, _len: u64, write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        if write && !self.writes {
            return Err(Errno::EACCES);
        }
        Ok((Arc::clone(&self.fd.fd), offset))
    }

    fn dev(&self) -> u64 {
        self.inode.super_block().dev
    }

    fn ino(&self) -> u64 {
        self.inode.ino()
    }

    fn path(&self) -> Vec<u8> {
        self.inode.path()
    }

    fn key(&self) -> u64 {
        let mixed = self.inode.ino().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.rotate_left(29) ^ self.inode.super_block().dev.wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mapped(&self, shared_writable: bool) {
        if shared_writable {
            self.inode.set_volatile();
        }
    }
}
