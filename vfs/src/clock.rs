//! Where file systems take the time of a change from.

use std::time::{SystemTime, UNIX_EPOCH};

use chitin_abi::time::Timespec;

/// A source of `CLOCK_REALTIME` for file times.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timespec;
}

/// The host's clock; no host call where the C library reads it from the vDSO.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timespec {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(since.subsec_nanos()),
        }
    }
}
