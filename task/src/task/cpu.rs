//! CPU time of a guest thread.
//!
//! The host's thread belongs to the task's future, so others cannot ask it: the future publishes what it has
//! used when it is asked itself and when it exits. Others see the latest figure; a process's total comes from
//! its address space, which can be asked at any time.

use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds of user and system time.
#[derive(Default)]
pub struct CpuMeter {
    user: AtomicU64,
    system: AtomicU64,
    /// When it was last asked whether they are old.
    asked: AtomicU64,
}

/// Figures are published again when they are older than this (nanoseconds): a tick of the clock that shows them.
const OLD: u64 = 10_000_000;

impl CpuMeter {
    /// Publishes the host's figures. They never decrease.
    pub fn set(&self, cpu: (u64, u64)) {
        self.user.fetch_max(cpu.0, Ordering::Relaxed);
        self.system.fetch_max(cpu.1, Ordering::Relaxed);
    }

    /// Whether the published figures may be old, `now` being the monotonic clock: true once per [`OLD`].
    pub fn is_old(&self, now: u64) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        let is_old = now.saturating_sub(asked) >= OLD;
        if is_old {
            self.asked.store(now, Ordering::Relaxed);
        }
        is_old
    }

    /// Begins anew: the task has another guest thread.
    pub fn restart(&self) {
        self.user.store(0, Ordering::Relaxed);
        self.system.store(0, Ordering::Relaxed);
    }

    /// User and system time, as last published.
    pub fn get(&self) -> (u64, u64) {
        (self.user.load(Ordering::Relaxed), self.system.load(Ordering::Relaxed))
    }
}
