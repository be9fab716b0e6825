//! `timerfd_create(2)`: timers as files.
//!
//! A timer is armed at the kernel's [`TimerService`] for its next expiry only; further expiries of an interval
//! are counted when somebody reads or asks, so a timer that nobody reads costs one wake and then nothing.

use core::any::Any;
use std::sync::{Arc, Weak};

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::time::{Itimerspec, TFD_IOC_SET_TICKS, Timespec};
use chitin_abi::{Errno, GuestAddr, Result};
use parking_lot::Mutex;

use crate::anon::AnonInode;
use crate::attr::Attr;
use crate::cred::Cred;
use crate::file::{File, IoctlContext, OpenFile};
use crate::io::Sink;
use crate::wait::WaitQueue;

/// Is told that a timer's time has come.
pub trait TimerTarget: Send + Sync {
    /// The deadline has passed. Runs on a kernel thread and must not block.
    fn expired(&self);
}

/// Keeps a timer armed; dropping it disarms it.
pub type ArmedTimer = Box<dyn Any + Send + Sync>;

/// The kernel's clocks and timers.
pub trait TimerService: Send + Sync {
    /// Nanoseconds of the clock with this number (`CLOCK_…`; monotonic for one that it does not know).
    fn now(&self, clock: u32) -> u64;

    /// Calls `target` once when the clock reaches `deadline` nanoseconds, at once if it has.
    fn arm(&self, clock: u32, deadline: u64, target: Weak<dyn TimerTarget>) -> ArmedTimer;
}

#[derive(Default)]
struct State {
    /// The next expiry that has not been counted, on the timer's clock.
    deadline: Option<u64>,
    /// 0 for a timer that expires once.
    interval: u64,
    /// Expiries since the last read.
    ticks: u64,
    settime_flags: u32,
    armed: Option<ArmedTimer>,
}

/// A timer.
pub struct TimerFd {
    clock: u32,
    service: Arc<dyn TimerService>,
    state: Mutex<State>,
    queue: Arc<WaitQueue>,
    this: Weak<TimerFd>,
}

/// A new disarmed timer as an open file; `flags` may have `O_NONBLOCK`.
pub fn new_timerfd(
    clock: u32,
    service: Arc<dyn TimerService>,
    flags: OpenFlags,
    owner: &Cred,
) -> Arc<OpenFile> {
    let flags = (flags & OpenFlags::O_NONBLOCK) | OpenFlags::O_RDWR;
    OpenFile::new(TimerFd::new(clock, service), None, flags, owner.clone())
}

impl State {
    /// Counts what has expired by `now`.
    fn advance(&mut self, now: u64) {
        let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) else { return };
        let Some(missed) = (now - deadline).checked_div(self.interval) else {
            self.ticks = self.ticks.saturating_add(1);
            self.deadline = None;
            return;
        };
        let count = missed + 1;
        self.ticks = self.ticks.saturating_add(count);
        self.deadline = deadline.checked_add(count.saturating_mul(self.interval));
    }

    fn remaining(&self, now: u64) -> Itimerspec {
        let value = self.deadline.map_or(0, |deadline| deadline.saturating_sub(now).max(1));
        Itimerspec { it_interval: timespec(self.interval), it_value: timespec(value) }
    }
}

fn timespec(nanos: u64) -> Timespec {
    Timespec::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

impl TimerFd {
    /// A disarmed timer of this clock.
    pub fn new(clock: u32, service: Arc<dyn TimerService>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            clock,
            service,
            state: Mutex::default(),
            queue: Arc::default(),
            this: this.clone(),
        })
    }

    /// `timerfd_settime(2)`: arms or disarms it and returns what it was set to. `flags` are remembered for
    /// /proc only, except that `absolute` says how to take the value.
    ///
    /// # Errors
    /// EINVAL for nanoseconds out of range or negative seconds.
    pub fn set_time(&self, new: &Itimerspec, absolute: bool, flags: u32) -> Result<Itimerspec> {
        let value = new.it_value.to_nanos().ok_or(Errno::EINVAL)?;
        let interval = new.it_interval.to_nanos().ok_or(Errno::EINVAL)?;
        let now = self.service.now(self.clock);
        let mut state = self.state.lock();
        state.advance(now);
        let old = state.remaining(now);
        let previous = state.armed.take();
        state.ticks = 0;
        state.interval = interval;
        state.settime_flags = flags;
        state.deadline = match value {
            0 => None,
            _ if absolute => Some(value),
            _ => Some(now.saturating_add(value)),
        };
        drop(state);
        drop(previous);
        self.arm();
        Ok(old)
    }

    /// `timerfd_gettime(2)`.
    pub fn time(&self) -> Itimerspec {
        let now = self.service.now(self.clock);
        let mut state = self.state.lock();
        state.advance(now);
        state.remaining(now)
    }

    /// Has the service call for the next expiry, unless there is something to read already.
    fn arm(&self) {
        let deadline = {
            let state = self.state.lock();
            state.deadline.filter(|_| state.ticks == 0)
        };
        let Some(deadline) = deadline else { return };
        let this: Weak<dyn TimerTarget> = self.this.clone();
        let armed = self.service.arm(self.clock, deadline, this);
        let mut state = self.state.lock();
        let previous =
            if state.deadline == Some(deadline) { state.armed.replace(armed) } else { Some(armed) };
        drop(state);
        drop(previous);
    }
}

impl TimerTarget for TimerFd {
    fn expired(&self) {
        let now = self.service.now(self.clock);
        let ready = {
            let mut state = self.state.lock();
            state.advance(now);
            state.ticks > 0
        };
        if ready {
            self.queue.notify(PollEvents::POLLIN);
        } else {
            self.arm();
        }
    }
}

impl File for TimerFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        if to.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let now = self.service.now(self.clock);
        let ticks = {
            let mut state = self.state.lock();
            state.advance(now);
            core::mem::take(&mut state.ticks)
        };
        if ticks == 0 {
            return Err(Errno::EAGAIN);
        }
        self.arm();
        match to.put(&ticks.to_ne_bytes())? {
            8 => Ok(8),
            _ => Err(Errno::EFAULT),
        }
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        let now = self.service.now(self.clock);
        let mut state = self.state.lock();
        state.advance(now);
        if state.ticks > 0 { PollEvents::POLLIN } else { PollEvents::empty() }
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(AnonInode::anonymous().attr()))
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        if command != TFD_IOC_SET_TICKS {
            return Err(Errno::ENOTTY);
        }
        let mut bytes = [0; 8];
        context.memory().read(argument, &mut bytes)?;
        let ticks = u64::from_ne_bytes(bytes);
        if ticks == 0 {
            return Err(Errno::EINVAL);
        }
        self.state.lock().ticks = ticks;
        self.queue.notify(PollEvents::POLLIN);
        Ok(0)
    }

    fn fd_info(&self) -> String {
        let time = self.time();
        let state = self.state.lock();
        format!(
            "clockid: {}\nticks: {}\nsettime flags: 0{:o}\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.clock,
            state.ticks,
            state.settime_flags,
            time.it_value.tv_sec,
            time.it_value.tv_nsec,
            time.it_interval.tv_sec,
            time.it_interval.tv_nsec
        )
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[timerfd]".to_vec())
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::io::SliceSink;

    #[derive(Default)]
    struct Clock {
        now: AtomicU64,
        armed: Mutex<Option<(u64, Weak<dyn TimerTarget>)>>,
    }

    impl TimerService for Clock {
        fn now(&self, _clock: u32) -> u64 {
            self.now.load(Ordering::Relaxed)
        }

        fn arm(&self, _clock: u32, deadline: u64, target: Weak<dyn TimerTarget>) -> ArmedTimer {
            *self.armed.lock() = Some((deadline, target));
            Box::new(())
        }
    }

    impl Clock {
        fn go_to(&self, now: u64) {
            self.now.store(now, Ordering::Relaxed);
            let due = self.armed.lock().take_if(|(deadline, _)| *deadline <= now);
            if let Some(target) = due.and_then(|(_, target)| target.upgrade()) {
                target.expired();
            }
        }
    }

    fn read(timer: &TimerFd) -> Result<u64> {
        let mut bytes = [0; 8];
        timer.read_at(&mut SliceSink::new(&mut bytes), 0)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn spec(value: i64, interval: i64) -> Itimerspec {
        Itimerspec {
            it_value: Timespec::from_nanos(value),
            it_interval: Timespec::from_nanos(interval),
        }
    }

    #[test]
    fn an_interval_counts_what_was_missed() {
        let clock = Arc::new(Clock::default());
        let timer = TimerFd::new(1, clock.clone());
        timer.set_time(&spec(100, 50), false, 0).unwrap();
        assert_eq!(read(&timer), Err(Errno::EAGAIN));
        clock.go_to(230);
        assert_eq!(timer.poll(), PollEvents::POLLIN);
        assert_eq!(read(&timer), Ok(3));
        assert_eq!(timer.time(), spec(20, 50));
        clock.go_to(250);
        assert_eq!(read(&timer), Ok(1));
    }

    #[test]
    fn a_single_shot_expires_once_and_setting_clears_it() {
        let clock = Arc::new(Clock::default());
        let timer = TimerFd::new(1, clock.clone());
        clock.go_to(10);
        timer.set_time(&spec(20, 0), true, 1).unwrap();
        clock.go_to(1000);
        assert_eq!(timer.time(), spec(0, 0));
        assert_eq!(timer.set_time(&spec(0, 0), false, 0), Ok(spec(0, 0)));
        assert_eq!(read(&timer), Err(Errno::EAGAIN));
    }

    #[test]
    fn bad_times_are_refused() {
        let timer = TimerFd::new(1, Arc::new(Clock::default()));
        let bad = Itimerspec {
            it_value: Timespec { tv_sec: 0, tv_nsec: 1_000_000_000 },
            ..Itimerspec::default()
        };
        assert_eq!(timer.set_time(&bad, false, 0), Err(Errno::EINVAL));
    }
}
