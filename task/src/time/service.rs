//! Timers for timerfd: the scheduler's, on the clocks that timerfd knows.

use std::sync::Weak;

use chitin_abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_REALTIME, CLOCK_REALTIME_ALARM,
};
use chitin_vfs::timerfd::{ArmedTimer, TimerService, TimerTarget};
use parking_lot::Mutex;

use crate::scheduler::{Scheduler, TimerHandle};

/// A timer that is armed, from whichever thread it is dropped.
struct Armed(#[expect(dead_code, reason = "dropping it disarms")] Mutex<Option<TimerHandle>>);

impl TimerService for Scheduler {
    fn now(&self, clock: u32) -> u64 {
        match clock {
            CLOCK_REALTIME | CLOCK_REALTIME_ALARM => self.clock().realtime_nanos(),
            CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => self.clock().boottime(),
            _ => self.clock().monotonic(),
        }
    }

    fn arm(&self, clock: u32, deadline: u64, target: Weak<dyn TimerTarget>) -> ArmedTimer {
        let left = deadline.saturating_sub(TimerService::now(self, clock));
        let at = self.clock().monotonic().saturating_add(left);
        let handle = self.timer(at, move || {
            if let Some(target) = Weak::upgrade(&target) {
                target.expired();
            }
        });
        Box::new(Armed(Mutex::new(Some(handle))))
    }
}
