//! What an instance may use: pages and inodes.

use core::sync::atomic::{AtomicU64, Ordering};

use chitin_abi::{Errno, PAGE_SIZE, Result};

/// A count with a limit; 0 is no limit.
#[derive(Default)]
struct Budget {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Budget {
    fn charge(&self, count: u64) -> Result<()> {
        let limit = match self.limit.load(Ordering::Relaxed) {
            0 => u64::MAX,
            limit => limit,
        };
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(count).filter(|sum| count == 0 || *sum <= limit)
            })
            .map(|_| ())
            .map_err(|_| Errno::ENOSPC)
    }

    fn release(&self, count: u64) {
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            Some(used.saturating_sub(count))
        });
    }

    fn force(&self, count: u64) {
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            Some(used.saturating_add(count))
        });
    }

    fn set_limit(&self, limit: u64) -> Result<()> {
        if limit != 0 && limit < self.used.load(Ordering::Acquire) {
            return Err(Errno::EINVAL);
        }
        self.limit.store(limit, Ordering::Release);
        Ok(())
    }
}

/// The two budgets of an instance.
#[derive(Default)]
pub(super) struct Space {
    pages: Budget,
    inodes: Budget,
}

impl Space {
    pub(super) fn new(bytes: u64, inodes: u64) -> Self {
        let space = Self::default();
        space.pages.limit.store(bytes.div_ceil(PAGE_SIZE), Ordering::Relaxed);
        space.inodes.limit.store(inodes, Ordering::Relaxed);
        space
    }

    /// Takes pages.
    pub(super) fn charge(&self, pages: u64) -> Result<()> {
        self.pages.charge(pages)
    }

    /// Takes pages that the host has used already (through a mapping), whatever the limit says.
    pub(super) fn force(&self, pages: u64) {
        self.pages.force(pages);
    }

    /// Gives pages back.
    pub(super) fn release(&self, pages: u64) {
        self.pages.release(pages);
    }

    pub(super) fn charge_inode(&self) -> Result<()> {
        self.inodes.charge(1)
    }

    pub(super) fn release_inode(&self) {
        self.inodes.release(1);
    }

    pub(super) fn set_limits(&self, bytes: Option<u64>, inodes: Option<u64>) -> Result<()> {
        if let Some(bytes) = bytes {
            self.pages.set_limit(bytes.div_ceil(PAGE_SIZE))?;
        }
        inodes.map_or(Ok(()), |inodes| self.inodes.set_limit(inodes))
    }

    /// Pages in all and free; 0 in all where there is no limit.
    pub(super) fn pages(&self) -> (u64, u64) {
        Self::pair(&self.pages)
    }

    /// Inodes in all and free.
    pub(super) fn inodes(&self) -> (u64, u64) {
        Self::pair(&self.inodes)
    }

    fn pair(budget: &Budget) -> (u64, u64) {
        let limit = budget.limit.load(Ordering::Relaxed);
        (limit, limit.saturating_sub(budget.used.load(Ordering::Relaxed)))
    }
}
