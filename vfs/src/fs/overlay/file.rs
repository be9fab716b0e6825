//! Open regular files.

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::{GuestAddr, Result};
use chitin_mm::MappedFile;
use parking_lot::RwLock;

use super::inode::OverlayInode;
use crate::env::VfsEnv;
use crate::file::{File, IoctlContext, WriteAt};
use crate::inode::Inode;
use crate::io::{Sink, Source};

/// An open regular file: the layer's file, looked at again after a copy up.
pub(super) struct OverlayFile {
    inode: Arc<OverlayInode>,
    flags: OpenFlags,
    real: RwLock<Arc<dyn File>>,
    is_upper: AtomicBool,
}

impl OverlayFile {
    pub(super) fn open(inode: Arc<OverlayInode>, flags: OpenFlags, env: &VfsEnv) -> Result<Self> {
        let flags = flags & !(OpenFlags::O_CREAT | OpenFlags::O_EXCL | OpenFlags::O_TRUNC);
        let is_upper = inode.has_upper();
        let real = inode.top()?.open(flags, env)?;
        Ok(Self { inode, flags, real: RwLock::new(real), is_upper: AtomicBool::new(is_upper) })
    }

    fn real(&self) -> Result<Arc<dyn File>> {
        if !self.is_upper.load(Ordering::Acquire) && self.inode.has_upper() {
            let fresh = self.inode.top()?.open(self.flags, &self.inode.fs.env)?;
            let old = core::mem::replace(&mut *self.real.write(), fresh);
            self.is_upper.store(true, Ordering::Release);
            drop(old);
        }
        Ok(Arc::clone(&self.real.read()))
    }
}

impl File for OverlayFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        self.real()?.read_at(to, offset)
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        self.real()?.write_at(from, at)
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        self.real()?.seek(position, offset, whence)
    }

    fn poll(&self) -> PollEvents {
        self.real().map_or(PollEvents::POLLERR, |real| real.poll())
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        self.real()?.ioctl(command, argument, context)
    }

    fn map(&self) -> Result<Arc<dyn MappedFile>> {
        Ok(Arc::new(Mapping { inode: Arc::clone(&self.inode), real: self.real()?.map()? }))
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        self.real()?.allocate(mode, offset, length)
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        self.real()?.sync(data_only)
    }

    fn flags_changed(&self, flags: OpenFlags) {
        if let Ok(real) = self.real() {
            real.flags_changed(flags);
        }
    }

    fn flush(&self) -> Result<()> {
        self.real()?.flush()
    }
}

/// A mapped file: the layer's bytes under the overlay's identity.
struct Mapping {
    inode: Arc<OverlayInode>,
    real: Arc<dyn MappedFile>,
}

impl MappedFile for Mapping {
    fn host_file(&self, offset: u64, len: u64, write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        self.real.host_file(offset, len, write)
    }

    fn dev(&self) -> u64 {
        Inode::super_block(self.inode.as_ref()).dev
    }

    fn ino(&self) -> u64 {
        self.inode.ino
    }

    fn path(&self) -> Vec<u8> {
        self.real.path()
    }

    fn key(&self) -> u64 {
        Arc::as_ptr(&self.inode).addr() as u64
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mapped(&self, shared_writable: bool) {
        self.real.mapped(shared_writable);
    }

    fn unmapped(&self, shared_writable: bool) {
        self.real.unmapped(shared_writable);
    }

    fn write_sealed(&self) -> bool {
        self.real.write_sealed()
    }
}
