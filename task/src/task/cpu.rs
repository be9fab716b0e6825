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
}

impl CpuMeter {
    /// Publishes the host's figures. They never decrease.
    pub fn set(&self, cpu: (u64, u64)) {
        self.user.fetch_max(cpu.0, Ordering::Relaxed);
        self.system.fetch_max(cpu.1, Ordering::Relaxed);
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
