//! The clocks that everything in the kernel reads. They are injectable: tests bring their own time.

use std::sync::Arc;

use chitin_abi::time::Timespec;
use rustix::time::{ClockId, clock_gettime};

/// Where time comes from, in nanoseconds.
pub trait TimeSource: Send + Sync {
    /// `CLOCK_MONOTONIC`; the same clock that a platform's doorbell waits by.
    fn monotonic(&self) -> u64;
    /// `CLOCK_REALTIME` since the epoch.
    fn realtime(&self) -> u64;
    /// `CLOCK_BOOTTIME`.
    fn boottime(&self) -> u64;
}

/// The host's clocks: one vDSO call each.
struct HostTime;

fn host(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec }.to_nanos().unwrap_or(0)
}

impl TimeSource for HostTime {
    fn monotonic(&self) -> u64 {
        host(ClockId::Monotonic)
    }

    fn realtime(&self) -> u64 {
        host(ClockId::Realtime)
    }

    fn boottime(&self) -> u64 {
        host(ClockId::Boottime)
    }
}

/// The kernel's clocks.
#[derive(Clone)]
pub struct KernelClock {
    source: Arc<dyn TimeSource>,
}

impl KernelClock {
    /// The clocks of a source.
    pub fn new(source: Arc<dyn TimeSource>) -> Self {
        Self { source }
    }

    /// The host's clocks, which are also what a guest's vDSO reads.
    pub fn host() -> Self {
        Self::new(Arc::new(HostTime))
    }

    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub fn monotonic(&self) -> u64 {
        self.source.monotonic()
    }

    /// `CLOCK_REALTIME`.
    pub fn realtime(&self) -> Timespec {
        Timespec::from_nanos(self.realtime_nanos().cast_signed())
    }

    /// `CLOCK_REALTIME` in nanoseconds since the epoch.
    pub fn realtime_nanos(&self) -> u64 {
        self.source.realtime()
    }

    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub fn boottime(&self) -> u64 {
        self.source.boottime()
    }
}

impl chitin_vfs::clock::Clock for KernelClock {
    fn now(&self) -> Timespec {
        self.realtime()
    }
}

impl Default for KernelClock {
    fn default() -> Self {
        Self::host()
    }
}
