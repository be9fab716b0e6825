//! What a mapping of `/dev/zero` is made of: a host memory file, as long as it needs to be, of zeros.

use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use chitin_mm::MappedFile;
use chitin_vfs::path::Path;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// Each mapping is an object of its own, as on Linux.
pub struct ZeroMapping {
    path: Path,
    key: u64,
    file: Mutex<Option<(Arc<OwnedFd>, u64)>>,
}

impl ZeroMapping {
    /// A fresh object; `path` is the device's.
    pub fn new(path: &Path) -> Arc<Self> {
        // Keys of other files are addresses or numbers of inodes: the highest bits keep them apart.
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed) | 1 << 62;
        Arc::new(Self { path: path.clone(), key, file: Mutex::new(None) })
    }
}

impl MappedFile for ZeroMapping {
    fn host_file(&self, offset: u64, len: u64, _write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        let end = offset.checked_add(len).filter(|end| *end < 1 << 46).ok_or(Errno::EOVERFLOW)?;
        let mut slot = self.file.lock();
        let (file, size) = match slot.take() {
            Some(known) => known,
            None => {
                (Arc::new(memfd_create("zero", MemfdFlags::CLOEXEC).map_err(|_| Errno::ENOMEM)?), 0)
            }
        };
        if size < end {
            ftruncate(&*file, end).map_err(|_| Errno::ENOMEM)?;
        }
        *slot = Some((Arc::clone(&file), size.max(end)));
        Ok((file, offset))
    }

    fn dev(&self) -> u64 {
        self.path.inode().attr().map_or(0, |attr| attr.dev)
    }

    fn ino(&self) -> u64 {
        self.path.inode().attr().map_or(0, |attr| attr.ino)
    }

    fn path(&self) -> Vec<u8> {
        self.path.text(&self.path.mount().root_path()).into_bytes()
    }

    fn key(&self) -> u64 {
        self.key
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
