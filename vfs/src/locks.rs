//! File locks: `flock(2)`, POSIX record locks and open-file-description locks.
//!
//! Nothing blocks: an attempt that conflicts fails with `EAGAIN`; who wants to wait does it on
//! [`FileLocks::queue`] and tries again. A [`LockRequest`] that waits tells the [`LockGraph`] whom it waits for,
//! which refuses with `EDEADLK` what would wait in a circle.

use std::sync::Arc;

use chitin_abi::{Errno, Result};

use crate::env::VfsShared;
use crate::file::OpenFile;
use crate::wait::WaitQueue;

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// `F_RDLCK`, `LOCK_SH`.
    Shared,
    /// `F_WRLCK`, `LOCK_EX`.
    Exclusive,
}

/// Who holds a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockOwner {
    /// A descriptor table (`F_SETLK`).
    Table(u64),
    /// An open file description (`F_OFD_SETLK`).
    File(u64),
}

/// Bytes `start` to `end`, both included; `end` is `i64::MAX as u64` for "to the end, wherever it will be".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRange {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
}

impl LockRange {
    /// The range of a `struct flock`'s `l_start` (made absolute by adding `base`) and `l_len`.
    ///
    /// # Errors
    /// EINVAL where it begins below 0, EOVERFLOW where it ends past the largest offset.
    pub fn new(base: u64, start: i64, length: i64) -> Result<Self> {
        let _ = (base, start, length);
        Err(Errno::ENOSYS)
    }
}

/// A record lock as `F_GETLK` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLock {
    /// Holder.
    pub owner: LockOwner,
    /// Process id of the holder as it was when it locked (thread-group id in the initial namespace); -1 for OFD.
    pub pid: i32,
    /// Shared or exclusive.
    pub kind: LockKind,
    /// Bytes.
    pub range: LockRange,
}

/// Who waits for whom.
#[derive(Default)]
pub struct LockGraph {}

/// The locks of one inode.
#[derive(Default)]
pub struct FileLocks {
    queue: Arc<WaitQueue>,
}

impl FileLocks {
    /// Is notified when a lock is released.
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// The first record lock that conflicts with this one.
    pub fn conflict(&self, lock: &RecordLock) -> Option<RecordLock> {
        let _ = lock;
        None
    }

    /// Releases a range.
    pub fn unlock(&self, owner: LockOwner, range: LockRange) {
        let _ = (owner, range);
    }

    /// Releases everything of an owner.
    pub fn release_owner(&self, owner: LockOwner) {
        let _ = owner;
    }

    /// Releases `flock` and OFD locks of an open file description that goes.
    pub fn release_file(&self, file: u64) {
        let _ = file;
    }

    /// Takes or converts a `flock(2)` lock of an open file description.
    ///
    /// # Errors
    /// EAGAIN (`EWOULDBLOCK`).
    pub fn flock(&self, file: u64, pid: i32, kind: LockKind) -> Result<()> {
        let _ = (file, pid, kind);
        Err(Errno::ENOSYS)
    }

    /// Releases a `flock(2)` lock.
    pub fn funlock(&self, file: u64) {
        let _ = file;
    }
}

/// An attempt at a record lock that may be repeated until it succeeds. Dropping it stops waiting.
pub struct LockRequest {
    _shared: Arc<VfsShared>,
    file: Arc<OpenFile>,
    _lock: RecordLock,
}

impl LockRequest {
    /// A request; nothing is tried yet.
    pub fn new(shared: Arc<VfsShared>, file: Arc<OpenFile>, lock: RecordLock) -> Self {
        Self { _shared: shared, file, _lock: lock }
    }

    /// Where to wait between attempts.
    ///
    /// # Errors
    /// EBADF for a file that cannot be locked.
    pub fn queue(&self) -> Result<&Arc<WaitQueue>> {
        Ok(self.file.state().ok_or(Errno::EBADF)?.locks().queue())
    }

    /// Tries; `wait` says that the caller will wait if it fails with EAGAIN.
    ///
    /// # Errors
    /// EAGAIN, EDEADLK, ENOLCK for too many locks.
    pub fn attempt(&self, wait: bool) -> Result<()> {
        let _ = wait;
        Err(Errno::ENOSYS)
    }
}
