//! Time: `timespec(3type)` and its relatives, clocks, timers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use crate::consts::time::*;

/// `struct timespec`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of the C structure")]
pub struct Timespec {
    pub tv_sec: i64,
    pub tv_nsec: i64,
}

c_struct! {
    /// `struct timeval`.
    pub struct Timeval {
        pub tv_sec: i64,
        pub tv_usec: i64,
    }
}

c_struct! {
    /// `struct itimerval`.
    pub struct Itimerval {
        pub it_interval: Timeval,
        pub it_value: Timeval,
    }
}

c_struct! {
    /// `struct itimerspec`.
    pub struct Itimerspec {
        pub it_interval: Timespec,
        pub it_value: Timespec,
    }
}

c_struct! {
    /// `struct timezone`.
    pub struct Timezone {
        pub tz_minuteswest: i32,
        pub tz_dsttime: i32,
    }
}

c_struct! {
    /// `struct tms`.
    pub struct Tms {
        pub tms_utime: i64,
        pub tms_stime: i64,
        pub tms_cutime: i64,
        pub tms_cstime: i64,
    }
}

c_struct! {
    /// `struct timex`.
    pub struct Timex {
        pub modes: u32,
        pub pad0: u32,
        pub offset: i64,
        pub freq: i64,
        pub maxerror: i64,
        pub esterror: i64,
        pub status: i32,
        pub pad1: u32,
        pub constant: i64,
        pub precision: i64,
        pub tolerance: i64,
        pub time: Timeval,
        pub tick: i64,
        pub ppsfreq: i64,
        pub jitter: i64,
        pub shift: i32,
        pub pad2: u32,
        pub stabil: i64,
        pub jitcnt: i64,
        pub calcnt: i64,
        pub errcnt: i64,
        pub stbcnt: i64,
        pub tai: i32,
        pub pad3: [i32; 11],
    }
}

/// Nanoseconds in a second.
pub const NSEC_PER_SEC: i64 = 1_000_000_000;

impl Timespec {
    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { tv_sec: nanos.div_euclid(NSEC_PER_SEC), tv_nsec: nanos.rem_euclid(NSEC_PER_SEC) }
    }

    /// Nanoseconds, if the value is one that Linux accepts as a time (not negative, less than a second of
    /// nanoseconds); what is too large saturates.
    pub const fn to_nanos(self) -> Option<u64> {
        if self.tv_sec < 0 || self.tv_nsec < 0 || self.tv_nsec >= NSEC_PER_SEC {
            return None;
        }
        let nanos = self.tv_sec.saturating_mul(NSEC_PER_SEC).saturating_add(self.tv_nsec);
        Some(nanos.unsigned_abs())
    }
}

impl Timeval {
    /// From nanoseconds, rounded down.
    pub const fn from_nanos(nanos: u64) -> Self {
        let micros = nanos / 1000;
        Self {
            tv_sec: (micros / 1_000_000).cast_signed(),
            tv_usec: (micros % 1_000_000).cast_signed(),
        }
    }

    /// Nanoseconds, if the value is a time.
    pub const fn to_nanos(self) -> Option<u64> {
        if self.tv_usec < 0 || self.tv_usec >= 1_000_000 {
            return None;
        }
        Timespec { tv_sec: self.tv_sec, tv_nsec: self.tv_usec * 1000 }.to_nanos()
    }
}
