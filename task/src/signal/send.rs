//! Sending signals: to a thread, to a process, to a faulting thread.
//!
//! What Linux does at once when a signal is sent is done here: SIGKILL ends the process, SIGCONT continues
//! it and drops pending stops, stop signals drop a pending SIGCONT, ignored signals are dropped.

use std::sync::Arc;

use chitin_abi::signal::{SIG_DFL, SIG_IGN, SIGCONT, SIGKILL, SIGSTOP, SigInfo, SigSet};
use chitin_abi::{Errno, Result};

use super::GroupSignals;
use super::action::{self, NSIG};
use crate::process::notify;
use crate::process::{GroupExit, ThreadGroup};
use crate::task::Task;

/// Sends a signal to one thread (`tgkill`).
///
/// # Errors
/// EINVAL for a number that is no signal, EAGAIN when too many are queued.
pub fn send_to_task(task: &Arc<Task>, info: SigInfo) -> Result<()> {
    let signal = info.signo();
    check(signal)?;
    if signal == SIGKILL {
        return send_to_group(task, info);
    }
    prepare(task, signal);
    let limit = queue_limit(&task.group);
    {
        let mut signals = task.signals.lock();
        let wanted = signals.mask.contains(signal) || signals.waited.contains(signal);
        if !wanted && task.group.actions().ignores(signal) {
            return Ok(());
        }
        signals.pending.push(info, limit)?;
    }
    task.interrupt.raise();
    notify::signal_queued(task);
    Ok(())
}

/// Sends a signal to a process, of which `member` is a thread (`kill`).
///
/// # Errors
/// As [`send_to_task`].
pub fn send_to_group(member: &Arc<Task>, info: SigInfo) -> Result<()> {
    let signal = info.signo();
    check(signal)?;
    if signal == SIGKILL {
        begin_exit(member, SIGKILL as i32);
        return Ok(());
    }
    prepare(member, signal);
    let group = &member.group;
    let limit = queue_limit(group);
    let threads = threads_of(member);
    let target = threads.iter().find(|task| {
        let signals = task.signals.lock();
        !signals.mask.contains(signal) || signals.waited.contains(signal)
    });
    if target.is_some_and(|task| !task.signals.lock().waited.contains(signal))
        && group.actions().ignores(signal)
    {
        return Ok(());
    }
    group.signals.lock().pending.push(info, limit)?;
    if let Some(target) = target {
        target.interrupt.raise();
    }
    for task in &threads {
        notify::signal_queued(task);
    }
    Ok(())
}

/// Makes a thread take a signal that it cannot refuse (a fault): blocked or ignored means the default action.
pub fn force(task: &Arc<Task>, info: SigInfo) {
    let signal = info.signo();
    let actions = task.group.actions();
    {
        let mut signals = task.signals.lock();
        let blocked = signals.mask.contains(signal);
        if blocked || actions.get(signal).handler == SIG_IGN {
            signals.mask.remove(signal);
            actions.reset(signal);
        }
        signals.pending.discard(SigSet::from_signals(&[signal]));
        // A forced signal is never refused: standard signals have no limit.
        let _ = signals.pending.push(info, usize::MAX);
    }
    task.interrupt.raise();
}

/// The host's process behind this thread is gone: to the guest that is SIGKILL.
pub fn kill_by_host(task: &Arc<Task>) {
    begin_exit(task, SIGKILL as i32);
}

/// Makes all threads of a process exit with this wait status, unless it exits already.
pub fn begin_exit(member: &Arc<Task>, status: i32) {
    let group = &member.group;
    {
        let mut exit = group.exit.lock();
        if matches!(*exit, GroupExit::Exiting(_)) {
            // The first status counts, but threads may wait for another look.
        } else {
            *exit = GroupExit::Exiting(status);
        }
    }
    for task in threads_of(member) {
        task.interrupt.raise();
    }
    member.interrupt.raise();
}

fn check(signal: u32) -> Result<()> {
    if (1..=NSIG).contains(&signal) { Ok(()) } else { Err(Errno::EINVAL) }
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
        // SIGSTOP and the others stop the process when a thread takes them.
        let _ = (SIGSTOP, SIG_DFL);
    }
}

fn discard(member: &Arc<Task>, signals: SigSet) {
    let threads = threads_of(member);
    let mut group = member.group.signals.lock();
    group.pending.discard(signals);
    for task in threads {
        task.signals.lock().pending.discard(signals);
    }
}

fn continue_group(member: &Arc<Task>) {
    let was_stopped = {
        let mut group: parking_lot::MutexGuard<'_, GroupSignals> = member.group.signals.lock();
        group.stopped.take().is_some()
    };
    if was_stopped {
        for task in threads_of(member) {
            task.interrupt.raise();
        }
        notify::continued(member);
    }
}
