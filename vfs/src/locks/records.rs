//! The record locks of one file.

use chitin_abi::{Errno, Result};

use super::{LockOwner, LockRange, RecordLock};

/// Most record locks of one file.
const LIMIT: usize = 1 << 16;

/// Record locks in order of their start; those of one owner neither overlap nor touch with the same kind.
#[derive(Default)]
pub(super) struct Records {
    locks: Vec<RecordLock>,
}

impl Records {
    pub(super) fn list(&self) -> &[RecordLock] {
        &self.locks
    }

    /// The first lock of somebody else that excludes this one.
    pub(super) fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.locks
            .iter()
            .find(|held| {
                held.owner != wanted.owner
                    && held.kind.conflicts(wanted.kind)
                    && held.range.overlaps(wanted.range)
            })
            .copied()
    }

    /// Sets a lock, which conflicts with nobody. Whether something was weakened that others may wait for.
    pub(super) fn set(&mut self, mut lock: RecordLock) -> Result<bool> {
        if self.locks.len() >= LIMIT {
            return Err(Errno::ENOLCK);
        }
        let weaker = self.locks.iter().any(|held| {
            held.owner == lock.owner && held.kind != lock.kind && held.range.overlaps(lock.range)
        });
        self.clear(lock.owner, lock.range);
        self.locks.retain(|held| {
            let merges = held.owner == lock.owner
                && held.kind == lock.kind
                && held.range.touches(lock.range);
            if merges {
                lock.range.start = lock.range.start.min(held.range.start);
                lock.range.end = lock.range.end.max(held.range.end);
            }
            !merges
        });
        self.insert(lock);
        Ok(weaker)
    }

    fn insert(&mut self, lock: RecordLock) {
        let at = self.locks.partition_point(|held| held.range.start <= lock.range.start);
        self.locks.insert(at, lock);
    }

    /// Takes a range away from an owner's locks; whether there was something.
    pub(super) fn clear(&mut self, owner: LockOwner, range: LockRange) -> bool {
        let hit = |held: &RecordLock| held.owner == owner && held.range.overlaps(range);
        let hits: Vec<RecordLock> = self.locks.iter().filter(|held| hit(held)).copied().collect();
        if hits.is_empty() {
            return false;
        }
        self.locks.retain(|held| !hit(held));
        for held in hits {
            if held.range.start < range.start {
                let end = range.start - 1;
                self.insert(RecordLock {
                    range: LockRange { start: held.range.start, end },
                    ..held
                });
            }
            if held.range.end > range.end {
                let start = range.end + 1;
                self.insert(RecordLock { range: LockRange { start, end: held.range.end }, ..held });
            }
        }
        true
    }
}
