//! Counts of calls that were made and are not supported.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// How often which unsupported system call was made.
#[derive(Default)]
pub struct Unsupported {
    counts: Mutex<BTreeMap<u64, u64>>,
}

impl Unsupported {
    /// Counts one; the first of each number is also logged. Numbers far out of range count as one.
    pub fn count(&self, number: u64) {
        let key = number.min(1024);
        let mut counts = self.counts.lock();
        let count = counts.entry(key).or_insert(0);
        *count = count.saturating_add(1);
        if *count == 1 {
            let name = chitin_abi::nr::name(number).unwrap_or("?");
            tracing::info!(number, name, "system call is not supported");
        }
    }

    /// All counts by number.
    pub fn counts(&self) -> BTreeMap<u64, u64> {
        self.counts.lock().clone()
    }
}
