//! What `CLONE_FS` shares.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use chitin_vfs::path::Path;
use parking_lot::RwLock;

/// Root, working directory and umask.
pub struct FsContext {
    root: RwLock<Path>,
    cwd: RwLock<Path>,
    umask: AtomicU32,
}

impl FsContext {
    /// A context of its own.
    pub fn new(root: Path, cwd: Path, umask: u32) -> Arc<Self> {
        Arc::new(Self {
            root: RwLock::new(root),
            cwd: RwLock::new(cwd),
            umask: AtomicU32::new(umask & 0o777),
        })
    }

    /// A copy that shares nothing.
    pub fn unshare(&self) -> Arc<Self> {
        Self::new(self.root(), self.cwd(), self.umask())
    }

    /// The root directory.
    pub fn root(&self) -> Path {
        self.root.read().clone()
    }

    /// The working directory.
    pub fn cwd(&self) -> Path {
        self.cwd.read().clone()
    }

    /// Changes the root directory.
    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut *self.root.write(), root);
        drop(old);
    }

    /// Changes the working directory.
    pub fn set_cwd(&self, cwd: Path) {
        let old = core::mem::replace(&mut *self.cwd.write(), cwd);
        drop(old);
    }

    /// The file mode creation mask.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Changes the mask and returns the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        self.umask.swap(umask & 0o777, Ordering::Relaxed)
    }
}
