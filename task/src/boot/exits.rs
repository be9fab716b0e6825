//! How processes ended that only the outside waits for: first processes and those put into a container.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Wait statuses by global process id. They stay until [`Exits::forget`].
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

    /// Waits until a process has ended; its wait status. Blocks the calling thread.
    pub fn wait(&self, tgid: u32) -> i32 {
        let mut statuses = self.statuses.lock();
        loop {
            if let Some(status) = statuses.get(&tgid) {
                return *status;
            }
            self.changed.wait(&mut statuses);
        }
    }

    /// The same for at most `timeout`.
    pub fn wait_for(&self, tgid: u32, timeout: Duration) -> Option<i32> {
        let deadline = Instant::now() + timeout;
        let mut statuses = self.statuses.lock();
        loop {
            if let Some(status) = statuses.get(&tgid) {
                return Some(*status);
            }
            if self.changed.wait_until(&mut statuses, deadline).timed_out() {
                return statuses.get(&tgid).copied();
            }
        }
    }

    /// The wait status of a process, if it has ended.
    pub fn status(&self, tgid: u32) -> Option<i32> {
        self.statuses.lock().get(&tgid).copied()
    }

    /// Nobody will ask for this process again.
    pub fn forget(&self, tgid: u32) {
        self.statuses.lock().remove(&tgid);
    }
}

/// The exit code that a shell reports for a wait status: the program's, or 128 and the signal.
pub const fn exit_code(status: i32) -> i32 {
    if status & 0x7f == 0 { (status >> 8) & 0xff } else { 128 + (status & 0x7f) }
}
