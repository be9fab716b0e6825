//! How much memory the messages of a namespace may take: they are the kernel's, so the kernel bounds them.

use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of all messages of a namespace.
const MOST: u64 = 64 << 20;
/// What a message costs besides its text.
const OVERHEAD: u64 = 64;

/// Counts bytes of messages.
#[derive(Default)]
pub struct Budget {
    used: AtomicU64,
}

impl Budget {
    /// Takes room for a message; false if there is none.
    pub fn take(&self, size: u64) -> bool {
        let size = size.saturating_add(OVERHEAD);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(size).filter(|sum| *sum <= MOST)
        });
        taken.is_ok()
    }

    /// Gives the room of a message back.
    pub fn give(&self, size: u64) {
        self.used.fetch_sub(size.saturating_add(OVERHEAD), Ordering::Relaxed);
    }
}
