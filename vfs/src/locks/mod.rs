//! File locks: `flock(2)`, POSIX record locks and open-file-description locks; leases ([`lease`]).
//!
//! Nothing blocks: an attempt that conflicts fails with `EAGAIN`; who wants to wait does it on
//! [`FileLocks::queue`] and tries again. A [`LockRequest`] that waits tells the [`LockGraph`] whom it waits for,
//! which refuses with `EDEADLK` what would wait in a circle (POSIX locks only, as on Linux).
//!
//! Record locks of one owner never overlap: a new one replaces, splits and merges the old ones
//! ([`records`]). POSIX locks belong to a descriptor table and all go when it closes any descriptor of the file; the
//! others belong to the open file description and go with it.
//!
//! Cost: a linear pass over the file's locks, as on Linux. Locks: a file's table, then the graph; waiters are told
//! when both are free.
//!
//! References: fcntl(2), flock(2).

mod graph;
mod lease;
mod records;
#[cfg(test)]
mod tests;

use core::sync::atomic::AtomicUsize;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

pub use self::graph::LockGraph;
use self::lease::Lease;
pub use self::lease::{LeaseInfo, LeaseWait};
use self::records::Records;
use crate::env::VfsShared;
use crate::file::OpenFile;
use crate::wait::WaitQueue;

/// Largest offset: the end of "to the end, wherever it will be".
pub const OFFSET_MAX: u64 = i64::MAX as u64;

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// `F_RDLCK`, `LOCK_SH`.
    Shared,
    /// `F_WRLCK`, `LOCK_EX`.
    Exclusive,
}

impl LockKind {
    fn conflicts(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

/// Who holds a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockOwner {
    /// A descriptor table (`F_SETLK`).
    Table(u64),
    /// An open file description (`F_OFD_SETLK`).
    File(u64),
}

/// Bytes `start` to `end`, both included; `end` is [`OFFSET_MAX`] for "to the end, wherever it will be".
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
        let max = i128::from(OFFSET_MAX);
        let start = i128::from(base) + i128::from(start);
        if start > max {
            return Err(Errno::EOVERFLOW);
        }
        if start < 0 {
            return Err(Errno::EINVAL);
        }
        let length = i128::from(length);
        let (start, end) = match length {
            0 => (start, max),
            1.. => (start, start + length - 1),
            _ => (start + length, start - 1),
        };
        if start < 0 {
            return Err(Errno::EINVAL);
        }
        if end > max {
            return Err(Errno::EOVERFLOW);
        }
        let narrow = |value: i128| u64::try_from(value).map_err(|_| Errno::EINVAL);
        Ok(Self { start: narrow(start)?, end: narrow(end)? })
    }

    /// The whole file.
    pub const fn whole() -> Self {
        Self { start: 0, end: OFFSET_MAX }
    }

    fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Whether nothing lies between them.
    fn touches(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
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

/// A `flock(2)` lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeLock {
    /// The open file description that holds it.
    pub file: u64,
    /// Process id of who locked.
    pub pid: i32,
    /// Shared or exclusive.
    pub kind: LockKind,
}

#[derive(Default)]
struct State {
    records: Records,
    whole: Vec<WholeLock>,
    leases: Vec<Lease>,
}

/// The locks of one inode.
#[derive(Default)]
pub struct FileLocks {
    state: Mutex<State>,
    queue: Arc<WaitQueue>,
    /// How many leases there are.
    leases: AtomicUsize,
}

impl FileLocks {
    /// Is notified when a lock is released.
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    fn released(&self, something: bool) {
        if something {
            self.queue.notify(PollEvents::POLLIN | PollEvents::POLLOUT);
        }
    }

    /// The first record lock that conflicts with this one.
    pub fn conflict(&self, lock: &RecordLock) -> Option<RecordLock> {
        self.state.lock().records.conflict(lock)
    }

    /// Releases a range.
    pub fn unlock(&self, owner: LockOwner, range: LockRange) {
        let changed = self.state.lock().records.clear(owner, range);
        self.released(changed);
    }

    /// Releases everything of an owner.
    pub fn release_owner(&self, owner: LockOwner) {
        self.unlock(owner, LockRange::whole());
    }

    /// Releases `flock` and OFD locks of an open file description that goes.
    pub fn release_file(&self, file: u64) {
        self.release_owner(LockOwner::File(file));
        self.funlock(file);
        // It may have none.
        let _ = self.drop_lease(file);
    }

    /// Takes or converts a `flock(2)` lock of an open file description. As on Linux a conversion that fails has
    /// lost the old lock.
    ///
    /// # Errors
    /// EAGAIN (`EWOULDBLOCK`).
    pub fn flock(&self, file: u64, pid: i32, kind: LockKind) -> Result<()> {
        let (lost, result) = {
            let mut state = self.state.lock();
            if state.whole.iter().any(|lock| lock.file == file && lock.kind == kind) {
                return Ok(());
            }
            let before = state.whole.len();
            state.whole.retain(|lock| lock.file != file);
            let lost = state.whole.len() != before;
            if state.whole.iter().any(|lock| lock.kind.conflicts(kind)) {
                (lost, Err(Errno::EAGAIN))
            } else {
                state.whole.push(WholeLock { file, pid, kind });
                (lost, Ok(()))
            }
        };
        self.released(lost);
        result
    }

    /// Releases a `flock(2)` lock.
    pub fn funlock(&self, file: u64) {
        let lost = {
            let mut state = self.state.lock();
            let before = state.whole.len();
            state.whole.retain(|lock| lock.file != file);
            state.whole.len() != before
        };
        self.released(lost);
    }

    /// All locks, for /proc/locks.
    pub fn list(&self) -> (Vec<RecordLock>, Vec<WholeLock>) {
        let state = self.state.lock();
        (state.records.list().to_vec(), state.whole.clone())
    }
}

/// An attempt at a record lock that may be repeated until it succeeds. Dropping it stops waiting.
pub struct LockRequest {
    shared: Arc<VfsShared>,
    file: Arc<OpenFile>,
    lock: RecordLock,
    /// Its place in the graph while it waits.
    waiting: Mutex<Option<u64>>,
}

impl LockRequest {
    /// A request; nothing is tried yet.
    pub fn new(shared: Arc<VfsShared>, file: Arc<OpenFile>, lock: RecordLock) -> Self {
        Self { shared, file, lock, waiting: Mutex::new(None) }
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
        let locks = self.file.state().ok_or(Errno::EBADF)?.locks();
        self.stop_waiting();
        let weaker = {
            let mut state = locks.state.lock();
            if let Some(held) = state.records.conflict(&self.lock) {
                if wait {
                    *self.waiting.lock() =
                        self.shared.lock_graph.wait(self.lock.owner, held.owner)?;
                }
                return Err(Errno::EAGAIN);
            }
            state.records.set(self.lock)?
        };
        locks.released(weaker);
        Ok(())
    }

    fn stop_waiting(&self) {
        if let Some(id) = self.waiting.lock().take() {
            self.shared.lock_graph.stop(self.lock.owner, id);
        }
    }
}

impl Drop for LockRequest {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}
