//! Sending signals: to a thread, to a process, to a faulting thread.
//!
//! What Linux does at once when a signal is sent is done here: SIGKILL ends the process, SIGCONT continues
//! it and drops pending stops, stop signals drop a pending SIGCONT, ignored signals are dropped.
//!
//! Costs: a signal to a process looks at its threads under the tree's lock; one wake for the thread that is to
//! take it.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::signal::{SI_KERNEL, SIG_DFL, SIG_IGN, SIGCONT, SIGKILL, SIGSTOP, SigInfo, SigSet};
use chitin_abi::{Errno, Result};

use super::action::{self, NSIG};
use crate::process::{GroupExit, ThreadGroup, notify};
use crate::task::Task;

/// Sends a signal to one thread (`tgkill`).
///
/// # Errors
/// EINVAL for a number that is no signal, EAGAIN when too many are queued.
pub fn send_to_task(task: &Arc<Task>, info: SigInfo) -> Result<()> {
    queue_to_task(task, info).map(|_| ())
}

/// The same; says whether the signal had an effect, instead of being ignored.
///
/// # Errors
/// As [`send_to_task`].
pub fn queue_to_task(task: &Arc<Task>, info: SigInfo) -> Result<bool> {
    let signal = info.signo();
    check(signal)?;
    prepare(task, signal);
    if is_shielded(task, &info) {
        return Ok(false);
    }
    if signal == SIGKILL {
        begin_exit(task, SIGKILL.cast_signed());
        return Ok(true);
    }
    let limit = queue_limit(&task.group);
    {
        let mut signals = task.signals.lock();
        let kept = signals.mask.contains(signal)
            || signals.waited.contains(signal)
            || task.trace.is_traced();
        if !kept && task.group.actions().ignores(signal) {
            return Ok(false);
        }
        signals.pending.push(info, limit)?;
    }
    task.interrupt.raise();
    notify::signal_queued(task);
    Ok(true)
}

/// Sends a signal to a process, of which `member` is a thread (`kill`).
///
/// # Errors
/// As [`send_to_task`].
pub fn send_to_group(member: &Arc<Task>, info: SigInfo) -> Result<()> {
    queue_to_group(member, info).map(|_| ())
}

/// The same; says whether the signal had an effect, instead of being ignored.
///
/// # Errors
/// As [`send_to_task`].
pub fn queue_to_group(member: &Arc<Task>, info: SigInfo) -> Result<bool> {
    let signal = info.signo();
    check(signal)?;
    let group = &member.group;
    prepare(member, signal);
    if is_shielded(member, &info) {
        return Ok(false);
    }
    if signal == SIGKILL {
        begin_exit(member, SIGKILL.cast_signed());
        return Ok(true);
    }
    let limit = queue_limit(group);
    let threads = threads_of(member);
    let target = threads.iter().find_map(|task| {
        let signals = task.signals.lock();
        let waited = signals.waited.contains(signal);
        let takes =
            !task.exiting.load(Ordering::Relaxed) && (waited || !signals.mask.contains(signal));
        takes.then_some((task, waited))
    });
    let ignorable = target.is_some_and(|(task, waited)| !waited && !task.trace.is_traced());
    if ignorable && group.actions().ignores(signal) {
        return Ok(false);
    }
    group.signals.lock().pending.push(info, limit)?;
    if let Some((target, _)) = target {
        target.interrupt.raise();
    }
    notify::signal_queued(member);
    Ok(true)
}

/// Makes a thread take a signal that it cannot refuse (a fault): blocked or ignored means the default action.
pub fn force(task: &Arc<Task>, info: SigInfo) {
    let signal = info.signo();
    let actions = task.group.actions();
    {
        let mut signals = task.signals.lock();
        if signals.mask.contains(signal) || actions.get(signal).handler == SIG_IGN {
            signals.mask.remove(signal);
            actions.reset(signal);
        }
        if actions.get(signal).handler == SIG_DFL {
            // A fault of its own ends even the first process of a namespace.
            task.group.immune.store(false, Ordering::Relaxed);
        }
        let _ = signals.pending.discard(SigSet::from_signals(&[signal]));
        // A standard signal that is not pending is never refused.
        let _ = signals.pending.push(info, usize::MAX);
    }
    task.interrupt.raise();
}

/// The host's process behind this thread is gone: to the guest that is SIGKILL.
pub fn kill_by_host(task: &Arc<Task>) {
    begin_exit(task, SIGKILL.cast_signed());
}

/// Makes all threads of a process exit with this wait status, unless it exits already.
pub fn begin_exit(member: &Arc<Task>, status: i32) {
    let group = &member.group;
    {
        let mut exit = group.exit.lock();
        if !matches!(*exit, GroupExit::Exiting(_)) {
            *exit = GroupExit::Exiting(status);
        }
    }
    for task in threads_of(member) {
        if status == SIGKILL.cast_signed() {
            task.trace.kill();
        }
        task.interrupt.raise();
    }
    member.interrupt.raise();
}

fn check(signal: u32) -> Result<()> {
    if (1..=NSIG).contains(&signal) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Whether the first process of a pid namespace does not get this signal: it has no handler for it, and it is
/// not SIGKILL or SIGSTOP from outside the namespace. One that it blocks stays pending, so that it can wait for it.
fn is_shielded(task: &Task, info: &SigInfo) -> bool {
    let (group, signal) = (&task.group, info.signo());
    if !group.immune.load(Ordering::Relaxed)
        || group.actions().get(signal).handler != SIG_DFL
        || task.signals.lock().mask.contains(signal)
    {
        return false;
    }
    let outside = info.code() == SI_KERNEL || (info.code() <= 0 && info.pid() == 0);
    !(outside && matches!(signal, SIGKILL | SIGSTOP))
}

fn threads_of(member: &Arc<Task>) -> Vec<Arc<Task>> {
    let tree = member.kernel.tree.lock();
    tree.process(member.tgid()).map(|entry| entry.tasks.clone()).unwrap_or_default()
}

fn queue_limit(group: &ThreadGroup) -> usize {
    usize::try_from(group.limits.lock().signals_pending()).unwrap_or(usize::MAX)
}

/// What sending a stop signal or SIGCONT does to what is pending, and to a stopped process.
fn prepare(member: &Arc<Task>, signal: u32) {
    let stops = action::stop_signals();
    if signal == SIGCONT {
        discard(member, stops);
        continue_group(member);
    } else if stops.contains(signal) {
        discard(member, SigSet::from_signals(&[SIGCONT]));
    }
}

/// Drops pending signals of a process and of all its threads.
pub fn discard(member: &Arc<Task>, signals: SigSet) {
    let threads = threads_of(member);
    let mut timers = member.group.signals.lock().pending.discard(signals);
    for task in threads {
        timers.extend(task.signals.lock().pending.discard(signals));
    }
    for id in timers {
        crate::time::posix::signal_dropped(member, id);
    }
}

fn continue_group(member: &Arc<Task>) {
    let was_stopped = {
        let mut group = member.group.signals.lock();
        group.stop_pending = false;
        group.stopped.take().is_some()
    };
    if was_stopped {
        for task in threads_of(member) {
            crate::ptrace::link::continued(&task);
            task.interrupt.raise();
        }
        notify::continued(member);
    }
}
