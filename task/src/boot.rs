//! What starts a kernel from outside: the first processes, and how they end.

use std::collections::HashMap;

use parking_lot::{Condvar, Mutex};

/// How processes ended that only the outside waits for, by their global id.
#[derive(Default)]
pub struct Exits {
    statuses: Mutex<HashMap<u32, i32>>,
    changed: Condvar,
}

impl Exits {
    /// A process ended with this wait status.
    pub fn record(&self, tgid: u32, status: i32) {
        self.statuses.lock().insert(tgid, status);
        self.changed.notify_all();
    }

    /// Waits until a process has ended, and takes its wait status.
    pub fn wait(&self, tgid: u32) -> i32 {
        let mut statuses = self.statuses.lock();
        loop {
            if let Some(status) = statuses.remove(&tgid) {
                return status;
            }
            self.changed.wait(&mut statuses);
        }
    }

    /// The wait status of a process that has ended.
    pub fn status(&self, tgid: u32) -> Option<i32> {
        self.statuses.lock().get(&tgid).copied()
    }
}
