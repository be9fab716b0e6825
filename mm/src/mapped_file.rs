//! What backs a file mapping.
//!
//! File systems implement [`MappedFile`]; an address space holds each mapping's file by a [`FileRef`], which
//! tells the file how many mappings it has. References are dropped outside of locks: a plan carries them out
//! (see [`crate::space::Plan::released`]).

use core::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::Result;

/// A file as mappings see it.
pub trait MappedFile: Any + Send + Sync {
    /// The host file, and the offset in it, of the `len` bytes from `offset`. With `write`, stores through a
    /// shared mapping must reach the file.
    ///
    /// # Errors
    /// EACCES where it cannot be mapped that way, ENODEV, ENOMEM, those of the storage.
    fn host_file(&self, offset: u64, len: u64, write: bool) -> Result<(Arc<OwnedFd>, u64)>;

    /// Device number, as /proc/pid/maps shows it.
    fn dev(&self) -> u64;

    /// Inode number.
    fn ino(&self) -> u64;

    /// The path that /proc/pid/maps shows.
    fn path(&self) -> Vec<u8>;

    /// The same for every mapping of the same file, and different for different ones: shared futexes go by it.
    fn key(&self) -> u64;

    /// For downcasts by the file system.
    fn as_any(&self) -> &dyn Any;

    /// One more piece of a mapping exists. `shared_writable`: it is shared and may be, or become, writable.
    /// Called under an address space's lock: must not block or map.
    fn mapped(&self, shared_writable: bool) {
        let _ = shared_writable;
    }

    /// One piece less. Balances [`MappedFile::mapped`].
    fn unmapped(&self, shared_writable: bool) {
        let _ = shared_writable;
    }

    /// Whether shared mappings may not be writable (`F_SEAL_WRITE`, `F_SEAL_FUTURE_WRITE`).
    fn write_sealed(&self) -> bool {
        false
    }
}

/// A mapping's reference to its file: counted by [`MappedFile::mapped`] and [`MappedFile::unmapped`].
pub struct FileRef {
    file: Arc<dyn MappedFile>,
    shared_writable: bool,
}

impl FileRef {
    /// Counts one more piece of a mapping.
    pub fn new(file: Arc<dyn MappedFile>, shared_writable: bool) -> Self {
        file.mapped(shared_writable);
        Self { file, shared_writable }
    }

    /// The file.
    pub fn file(&self) -> &Arc<dyn MappedFile> {
        &self.file
    }

    /// Whether two pieces may be one mapping as far as the file goes.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.shared_writable == other.shared_writable
            && (Arc::ptr_eq(&self.file, &other.file) || self.file.key() == other.file.key())
    }
}

impl Clone for FileRef {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.file), self.shared_writable)
    }
}

impl Drop for FileRef {
    fn drop(&mut self) {
        self.file.unmapped(self.shared_writable);
    }
}
