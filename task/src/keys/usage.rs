//! What a user's keys take, and how much they may (`/proc/sys/kernel/keys`, `keyrings(7)`).

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::{Errno, Result};

/// Keys and bytes of an ordinary user.
const USER: (u64, u64) = (200, 20_000);
/// The same for the superuser.
const ROOT: (u64, u64) = (1_000_000, 25_000_000);

/// The most keys and bytes of a user.
pub(super) const fn quota(uid: u32) -> (u64, u64) {
    if uid == 0 { ROOT } else { USER }
}

/// A user's keys and bytes.
pub(super) struct Usage {
    keys: AtomicU64,
    bytes: AtomicU64,
    most: (u64, u64),
}

impl Usage {
    /// Of a user without keys.
    pub(super) fn of(uid: u32) -> Arc<Self> {
        Arc::new(Self { keys: AtomicU64::new(0), bytes: AtomicU64::new(0), most: quota(uid) })
    }

    pub(super) fn used(&self) -> (u64, u64) {
        (self.keys.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// One more key, of so many bytes.
    ///
    /// # Errors
    /// EDQUOT.
    pub(super) fn take(&self, bytes: u64) -> Result<()> {
        add(&self.keys, 1, self.most.0)?;
        self.grow(bytes).inspect_err(|_| {
            self.keys.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// A key of so many bytes is gone.
    pub(super) fn give_back(&self, bytes: u64) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.shrink(bytes);
    }

    /// More bytes for a key.
    ///
    /// # Errors
    /// EDQUOT.
    pub(super) fn grow(&self, bytes: u64) -> Result<()> {
        add(&self.bytes, bytes, self.most.1)
    }

    /// Fewer.
    pub(super) fn shrink(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn add(total: &AtomicU64, more: u64, most: u64) -> Result<()> {
    let grown = |used: u64| used.checked_add(more).filter(|sum| more == 0 || *sum <= most);
    let order = Ordering::Relaxed;
    total.fetch_update(order, order, grown).map(drop).map_err(|_| Errno::EDQUOT)
}
