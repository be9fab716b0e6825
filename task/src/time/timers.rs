//! Interval timers (`setitimer(2)`), and the timers of a process as a whole.
//!
//! Lock order: [`ThreadGroup::timers`] is a leaf: signals are sent and the host is asked after it is released.

use core::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use chitin_abi::signal::{SIGALRM, SigInfo};

use super::posix::PosixTimer;
use super::sleep::Sleeping;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::kernel::Kernel;
use crate::process::ThreadGroup;
use crate::scheduler::TimerHandle;
use crate::signal::send_to_group;
use crate::task::Task;

/// How `restart_syscall(2)` goes on with a call that a signal interrupted.
pub enum RestartBlock {
    /// A futex wait with a timeout.
    Futex(crate::syscalls::futex::FutexRestart),
    /// A sleep.
    Sleep(Sleeping),
    /// A `poll(2)`.
    Poll(crate::syscalls::poll::PollRestart),
}

/// Goes on with a call.
///
/// # Errors
/// Those of the call.
pub async fn restart(cx: &mut Ctx<'_>, block: RestartBlock) -> SysResult {
    match block {
        RestartBlock::Futex(wait) => Box::pin(crate::syscalls::futex::restart(cx, wait)).await,
        RestartBlock::Sleep(sleeping) => super::sleep::sleep(cx, sleeping).await,
        RestartBlock::Poll(poll) => Box::pin(crate::syscalls::poll::restart(cx, poll)).await,
    }
}

/// A timer that counts down on some clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Countdown {
    /// When it expires; 0 for never.
    pub deadline: u64,
    /// What is added then; 0 for a timer that expires once.
    pub interval: u64,
}

impl Countdown {
    /// What is left at `now`, and the interval; at least a nanosecond while it is armed.
    pub fn left(&self, now: u64) -> (u64, u64) {
        match self.deadline {
            0 => (0, self.interval),
            deadline => (deadline.saturating_sub(now).max(1), self.interval),
        }
    }

    /// Moves on if it has expired; how often it has, 0 for not.
    pub fn expire(&mut self, now: u64) -> u64 {
        if self.deadline == 0 || now < self.deadline {
            return 0;
        }
        if self.interval == 0 {
            self.deadline = 0;
            return 1;
        }
        let times = (now - self.deadline) / self.interval + 1;
        self.deadline = self.deadline.saturating_add(self.interval.saturating_mul(times));
        times
    }
}

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    /// `ITIMER_REAL`, on the monotonic clock.
    pub real: Countdown,
    real_armed: Option<TimerHandle>,
    /// `ITIMER_VIRTUAL`, on the process's user time.
    pub virt: Countdown,
    /// `ITIMER_PROF`, on the process's user and system time.
    pub prof: Countdown,
    /// POSIX timers by their id.
    pub posix: BTreeMap<i32, PosixTimer>,
    /// The id that the next one gets if it is free.
    pub next_id: i32,
    /// When CPU time is looked at next.
    pub cpu_check: Option<TimerHandle>,
    /// CPU time at the last look, and how long the process has been idle in looks.
    pub cpu_seen: (u64, u32),
    /// The next second of CPU time above `RLIMIT_CPU` that is told.
    pub cpu_limit_told: u64,
}

impl ProcessTimers {
    /// POSIX timers do not outlive a program; interval timers do.
    pub fn after_exec(&mut self) {
        let gone = core::mem::take(&mut self.posix);
        drop(gone);
    }

    /// Disarms everything: the process has ended.
    pub fn clear(&mut self) {
        let old = core::mem::take(self);
        drop(old);
    }
}

/// Sets `ITIMER_REAL`: the monotonic deadline and the interval. Returns what was left and the old interval.
pub fn set_real(task: &Arc<Task>, new: Countdown) -> (u64, u64) {
    let kernel = &task.kernel;
    let now = kernel.clock.monotonic();
    let armed = (new.deadline != 0).then(|| arm_real(kernel, &task.group, new.deadline));
    let mut timers = task.group.timers.lock();
    let old = timers.real.left(now);
    timers.real = new;
    let disarmed = core::mem::replace(&mut timers.real_armed, armed);
    drop(timers);
    drop(disarmed);
    old
}

fn arm_real(kernel: &Arc<Kernel>, group: &Arc<ThreadGroup>, deadline: u64) -> TimerHandle {
    let (kernel_weak, group) = (Arc::downgrade(kernel), Arc::downgrade(group));
    kernel.scheduler.timer(deadline, move || real_expired(&kernel_weak, &group))
}

fn real_expired(kernel: &Weak<Kernel>, group: &Weak<ThreadGroup>) {
    let (Some(kernel), Some(group)) = (kernel.upgrade(), group.upgrade()) else { return };
    let now = kernel.clock.monotonic();
    let fired = {
        let mut timers = group.timers.lock();
        let fired = timers.real.expire(now) > 0;
        let next = timers.real.deadline;
        if next != 0 {
            // Not more often than the kernel would: a pending SIGALRM is not sent twice anyway.
            let armed = arm_real(&kernel, &group, next.max(now.saturating_add(100_000)));
            timers.real_armed = Some(armed);
        }
        fired
    };
    if fired {
        send(&kernel, &group, SIGALRM);
    }
}

/// Sends a signal of the kernel to a process, if it lives.
pub(super) fn send(kernel: &Kernel, group: &ThreadGroup, signal: u32) {
    if group.exited.load(Ordering::Relaxed) {
        return;
    }
    if let Some(member) = kernel.member(group.tgid) {
        // A standard signal is never refused.
        let _ = send_to_group(&member, SigInfo::kernel(signal));
    }
}

#[cfg(test)]
mod tests {
    use super::Countdown;

    #[test]
    fn expiries_are_counted_and_the_phase_is_kept() {
        let mut timer = Countdown { deadline: 100, interval: 10 };
        assert_eq!(timer.expire(99), 0);
        assert_eq!(timer.expire(100), 1);
        assert_eq!(timer.deadline, 110);
        assert_eq!(timer.expire(139), 3);
        assert_eq!((timer.deadline, timer.left(139)), (140, (1, 10)));
        let mut once = Countdown { deadline: 5, interval: 0 };
        assert_eq!((once.expire(50), once.expire(60), once.left(60)), (1, 0, (0, 0)));
    }
}
