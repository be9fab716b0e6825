//! What users have: processes (`RLIMIT_NPROC` counts by real user id).

use std::collections::HashMap;

use parking_lot::Mutex;

/// Counts by user.
#[derive(Default)]
pub struct Users {
    processes: Mutex<HashMap<u32, u64>>,
}

impl Users {
    /// How many threads the user has.
    pub fn processes(&self, kuid: u32) -> u64 {
        self.processes.lock().get(&kuid).copied().unwrap_or(0)
    }

    /// The user has one thread more.
    pub fn add(&self, kuid: u32) {
        let mut processes = self.processes.lock();
        let count = processes.entry(kuid).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// The user has one thread less.
    pub fn remove(&self, kuid: u32) {
        let mut processes = self.processes.lock();
        if let Some(count) = processes.get_mut(&kuid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                processes.remove(&kuid);
            }
        }
    }
}
