//! POSIX timers: `timer_create(2)` and its relatives.
//!
//! A timer that sends a signal is not armed again before that signal has been taken; how often it would have expired
//! meanwhile is its overrun. So a timer with a tiny interval costs no more than its owner takes signals.

use core::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use chitin_abi::signal::{SIGEV_NONE, SigInfo};
use chitin_abi::{Errno, Result};

use super::cpu_timers;
use super::id::ClockId;
use super::timers::Countdown;
use crate::kernel::Kernel;
use crate::process::ThreadGroup;
use crate::scheduler::TimerHandle;
use crate::signal::send::{queue_to_group, queue_to_task};
use crate::task::Task;

/// An ignored signal is tried again no sooner.
const IGNORED_INTERVAL: u64 = 4_000_000;
/// `DELAYTIMER_MAX`.
const OVERRUN_MAX: u64 = i32::MAX as u64;

/// What happens when a timer expires.
#[derive(Clone)]
pub struct Notify {
    /// `SIGEV_…`.
    pub kind: u32,
    /// The signal.
    pub signal: u32,
    /// What comes with it.
    pub value: u64,
    /// The thread that gets it, for `SIGEV_THREAD_ID`.
    pub thread: Option<Weak<Task>>,
}

/// A POSIX timer.
pub struct PosixTimer {
    clock: ClockRef,
    notify: Notify,
    countdown: Countdown,
    armed: Option<TimerHandle>,
    /// Its signal has been sent and not been taken yet.
    pending: bool,
    /// Expiries besides the one that sent the latest signal that was taken.
    overrun: i32,
}

/// A clock that does not keep its task alive.
#[derive(Clone)]
enum ClockRef {
    Plain(ClockId),
    Process(super::id::CpuKind),
    Thread(Weak<Task>, super::id::CpuKind),
}

impl PosixTimer {
    /// A timer that is not armed.
    pub fn new(clock: ClockId, notify: Notify) -> Self {
        let clock = match clock {
            ClockId::Process(_, kind) => ClockRef::Process(kind),
            ClockId::Thread(task, kind) => ClockRef::Thread(Arc::downgrade(&task), kind),
            plain => ClockRef::Plain(plain),
        };
        Self {
            clock,
            notify,
            countdown: Countdown::default(),
            armed: None,
            pending: false,
            overrun: 0,
        }
    }

    /// Whether it is armed on CPU time.
    pub fn counts_cpu(&self) -> bool {
        self.countdown.deadline != 0 && !matches!(self.clock, ClockRef::Plain(_))
    }

    /// The overrun of the last signal.
    pub fn overrun(&self) -> i32 {
        self.overrun
    }

    /// What it does at its end.
    pub fn notify(&self) -> &Notify {
        &self.notify
    }

    /// The number of its clock, as its creator said it, CPU clocks being those of the caller.
    pub fn clock_number(&self) -> i32 {
        match &self.clock {
            ClockRef::Plain(clock) => clock.number(),
            ClockRef::Process(_) => chitin_abi::time::CLOCK_PROCESS_CPUTIME_ID.cast_signed(),
            ClockRef::Thread(..) => chitin_abi::time::CLOCK_THREAD_CPUTIME_ID.cast_signed(),
        }
    }

    /// What is left at `now`, and the interval.
    fn left(&mut self, now: u64) -> (u64, u64) {
        let silent = self.notify.kind == SIGEV_NONE;
        if silent || self.pending {
            // It goes on although nothing is armed.
            let mut ahead = self.countdown;
            ahead.expire(now);
            if silent && ahead.deadline == 0 {
                return (0, ahead.interval);
            }
            return ahead.left(now);
        }
        self.countdown.left(now)
    }
}

/// Creates a timer and gives it a number.
///
/// # Errors
/// EAGAIN when the process has too many.
pub fn create(task: &Task, clock: ClockId, make: impl FnOnce(i32) -> Notify) -> Result<i32> {
    let limit = usize::try_from(task.group.limits.lock().signals_pending()).unwrap_or(usize::MAX);
    let mut timers = task.group.timers.lock();
    if timers.posix.len() >= limit {
        return Err(Errno::EAGAIN);
    }
    let mut id = timers.next_id;
    while timers.posix.contains_key(&id) {
        id = id.checked_add(1).unwrap_or(0);
    }
    timers.next_id = id.checked_add(1).unwrap_or(0);
    timers.posix.insert(id, PosixTimer::new(clock, make(id)));
    Ok(id)
}

/// Deletes a timer.
///
/// # Errors
/// EINVAL when there is none of this number.
pub fn delete(task: &Arc<Task>, id: i32) -> Result<()> {
    let timer = task.group.timers.lock().posix.remove(&id).ok_or(Errno::EINVAL)?;
    if timer.pending {
        forget_signal(task, &timer.notify, id);
    }
    drop(timer);
    Ok(())
}

/// A signal that was sent and not been taken is taken back.
fn forget_signal(task: &Arc<Task>, notify: &Notify, id: i32) {
    task.group.signals.lock().pending.remove_timer(id);
    if let Some(thread) = notify.thread.as_ref().and_then(Weak::upgrade) {
        thread.signals.lock().pending.remove_timer(id);
    }
}

/// The clock of a timer.
fn clock_of(task: &Task, id: i32) -> Result<Option<ClockId>> {
    let clock = {
        let timers = task.group.timers.lock();
        timers.posix.get(&id).ok_or(Errno::EINVAL)?.clock.clone()
    };
    Ok(match clock {
        ClockRef::Plain(clock) => Some(clock),
        ClockRef::Process(kind) => {
            task.kernel.member(task.tgid()).map(|member| ClockId::Process(member, kind))
        }
        ClockRef::Thread(thread, kind) => {
            thread.upgrade().map(|thread| ClockId::Thread(thread, kind))
        }
    })
}

/// What is left of a timer, and its interval.
///
/// # Errors
/// EINVAL when there is none of this number.
pub fn get(task: &Task, id: i32) -> Result<(u64, u64)> {
    let now = clock_of(task, id)?.map_or(u64::MAX, |clock| clock.now(&task.kernel.clock));
    let mut timers = task.group.timers.lock();
    Ok(timers.posix.get_mut(&id).ok_or(Errno::EINVAL)?.left(now))
}

/// Sets a timer; `value` is an absolute time if so said. Returns what was left and the old interval.
///
/// # Errors
/// EINVAL when there is none of this number, ESRCH when the thread whose time it counts is gone.
pub fn set(
    task: &Arc<Task>,
    id: i32,
    value: u64,
    interval: u64,
    absolute: bool,
) -> Result<(u64, u64)> {
    let kernel = &task.kernel;
    let clock = clock_of(task, id)?.ok_or(Errno::ESRCH)?;
    let now = clock.now(&kernel.clock);
    let deadline = match value {
        0 => 0,
        value if absolute => value,
        value => now.saturating_add(value),
    };
    let arms = deadline != 0 && !clock.is_cpu();
    let at = clock.to_monotonic(&kernel.clock, deadline);
    let (old, stale, disarmed) = {
        let mut timers = task.group.timers.lock();
        let timer = timers.posix.get_mut(&id).ok_or(Errno::EINVAL)?;
        let old = timer.left(now);
        let stale = core::mem::take(&mut timer.pending).then(|| timer.notify.clone());
        timer.overrun = 0;
        // A timer that is disarmed has no interval either.
        let interval = if deadline == 0 { 0 } else { interval };
        timer.countdown = Countdown { deadline, interval };
        let armed =
            (arms && timer.notify.kind != SIGEV_NONE).then(|| arm(kernel, &task.group, id, at));
        (old, stale, core::mem::replace(&mut timer.armed, armed))
    };
    drop(disarmed);
    if let Some(notify) = stale {
        forget_signal(task, &notify, id);
    }
    if clock.is_cpu() {
        cpu_timers::watch(task);
    }
    Ok(old)
}

fn arm(kernel: &Arc<Kernel>, group: &Arc<ThreadGroup>, id: i32, at: u64) -> TimerHandle {
    let (weak_kernel, weak_group) = (Arc::downgrade(kernel), Arc::downgrade(group));
    kernel.scheduler.timer(at, move || {
        if let (Some(kernel), Some(group)) = (weak_kernel.upgrade(), weak_group.upgrade()) {
            expired(&kernel, &group, id);
        }
    })
}

/// A timer that does not count CPU time has been woken for.
fn expired(kernel: &Arc<Kernel>, group: &Arc<ThreadGroup>, id: i32) {
    let fired = {
        let mut timers = group.timers.lock();
        let Some(timer) = timers.posix.get_mut(&id) else { return };
        let ClockRef::Plain(clock) = &timer.clock else { return };
        let (clock, now) = (clock.clone(), clock.now(&kernel.clock));
        if timer.countdown.deadline != 0 && now < timer.countdown.deadline {
            // The clock was set back.
            let at = clock.to_monotonic(&kernel.clock, timer.countdown.deadline);
            timer.armed = Some(arm(kernel, group, id, at));
            return;
        }
        fire(timer, id)
    };
    if let Some((notify, info)) = fired {
        deliver(kernel, group, id, &notify, info);
    }
}

/// The signal to send for a timer whose deadline has passed.
fn fire(timer: &mut PosixTimer, id: i32) -> Option<(Notify, SigInfo)> {
    if timer.countdown.deadline == 0 || timer.pending || timer.notify.kind == SIGEV_NONE {
        return None;
    }
    timer.pending = true;
    let notify = timer.notify.clone();
    Some((notify.clone(), SigInfo::timer(notify.signal, id, 0, notify.value)))
}

fn deliver(
    kernel: &Arc<Kernel>,
    group: &Arc<ThreadGroup>,
    id: i32,
    notify: &Notify,
    info: SigInfo,
) {
    if group.exited.load(Ordering::Relaxed) {
        return;
    }
    let queued = match &notify.thread {
        Some(thread) => {
            thread.upgrade().is_some_and(|thread| queue_to_task(&thread, info) == Ok(true))
        }
        None => kernel
            .member(group.tgid)
            .is_some_and(|member| queue_to_group(&member, info) == Ok(true)),
    };
    if !queued {
        // Ignored: the timer goes on, in case somebody begins to listen.
        let mut timers = group.timers.lock();
        if let Some(timer) = timers.posix.get_mut(&id) {
            go_on(kernel, group, id, timer, IGNORED_INTERVAL);
        }
    }
}

/// The timer's signal is out of the way: counts what it missed and arms it again. Returns the missed expiries.
fn go_on(
    kernel: &Arc<Kernel>,
    group: &Arc<ThreadGroup>,
    id: i32,
    timer: &mut PosixTimer,
    at_least: u64,
) -> u64 {
    timer.pending = false;
    let now = match &timer.clock {
        ClockRef::Plain(clock) => clock.now(&kernel.clock),
        // Looked at by the checks of CPU time; one expiry is counted.
        _ => timer.countdown.deadline,
    };
    let missed = timer.countdown.expire(now).saturating_sub(1);
    timer.armed = match (&timer.clock, timer.countdown.deadline) {
        (_, 0) => None,
        (ClockRef::Plain(clock), deadline) => {
            let at = clock.to_monotonic(&kernel.clock, deadline);
            Some(arm(kernel, group, id, at.max(kernel.clock.monotonic().saturating_add(at_least))))
        }
        _ => None,
    };
    missed
}

/// A signal of a timer is taken: the timer goes on. How often it has expired since the signal was sent.
pub fn signal_taken(task: &Task, id: i32) -> Option<i32> {
    let group = Arc::clone(&task.group);
    let mut timers = group.timers.lock();
    let timer = timers.posix.get_mut(&id)?;
    let missed = go_on(&task.kernel, &group, id, timer, 0);
    timer.overrun = i32::try_from(missed.min(OVERRUN_MAX)).unwrap_or(i32::MAX);
    Some(timer.overrun)
}

/// A signal of a timer was dropped because it is ignored now: the timer goes on.
pub fn signal_dropped(task: &Task, id: i32) {
    let group = Arc::clone(&task.group);
    let mut timers = group.timers.lock();
    if let Some(timer) = timers.posix.get_mut(&id) {
        go_on(&task.kernel, &group, id, timer, IGNORED_INTERVAL);
    }
}

/// Fires the timers on CPU time that are due; what is left to the next.
pub(super) fn expire_cpu(kernel: &Arc<Kernel>, group: &Arc<ThreadGroup>) -> u64 {
    let mut due = Vec::new();
    let mut nearest = u64::MAX;
    let candidates: Vec<(i32, ClockId, u64)> = {
        let member = kernel.member(group.tgid);
        let timers = group.timers.lock();
        let armed = timers.posix.iter().filter(|(_, timer)| timer.counts_cpu() && !timer.pending);
        let clocks = armed.filter_map(|(id, timer)| {
            let clock = match &timer.clock {
                ClockRef::Plain(_) => return None,
                ClockRef::Process(kind) => ClockId::Process(member.clone()?, *kind),
                ClockRef::Thread(task, kind) => ClockId::Thread(task.upgrade()?, *kind),
            };
            Some((*id, clock, timer.countdown.deadline))
        });
        clocks.collect()
    };
    for (id, clock, deadline) in candidates {
        if let ClockId::Thread(task, _) = &clock {
            // It publishes what it has used when it is interrupted; the next look sees that.
            task.interrupt.raise();
        }
        let now = clock.now(&kernel.clock);
        if now >= deadline { due.push(id) } else { nearest = nearest.min(deadline - now) }
    }
    for id in due {
        let fired = group.timers.lock().posix.get_mut(&id).and_then(|timer| fire(timer, id));
        if let Some((notify, info)) = fired {
            deliver(kernel, group, id, &notify, info);
        }
        nearest = nearest.min(IGNORED_INTERVAL);
    }
    nearest
}

/// How often the timer's last signal stood for expiries besides its own.
///
/// # Errors
/// EINVAL when there is none of this number.
pub fn overrun(task: &Task, id: i32) -> Result<i32> {
    task.group.timers.lock().posix.get(&id).map(PosixTimer::overrun).ok_or(Errno::EINVAL)
}
