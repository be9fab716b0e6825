//! What a task does before it goes back to the guest: exit, stop, restart calls, run handlers.

use core::future::{Future, poll_fn};
use core::sync::atomic::Ordering;
use core::task::Poll;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::process::{RLIMIT_CORE, w_termsig};
use chitin_abi::signal::{
    SA_NODEFER, SA_RESETHAND, SA_RESTART, SI_TIMER, SIG_DFL, SIG_IGN, SIGKILL, SIGSEGV, SIGSTOP,
    SigAction, SigInfo, SigSet,
};
use chitin_abi::{Regs, nr};

use super::action::{Default, default_action, stop_signals};
use super::{frame, send};
use crate::context::Ctx;
use crate::error::Restart;
use crate::process::{GroupExit, notify};
use crate::ptrace;
use crate::scheduler::wait::Waiter;
use crate::task::Task;

/// How a task goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Back to the guest.
    Guest,
    /// It exits with this wait status.
    Exit(i32),
}

/// Whether a task has something to do before it may wait or go back to the guest.
pub fn has_work(task: &Task) -> bool {
    if !task.interrupt.is_raised() {
        return false;
    }
    if exit_status(task).is_some() {
        return true;
    }
    let group = task.group.signals.lock();
    let must_stop = if task.trace.is_traced() {
        task.trace.has_work(group.stopped.is_some(), group.stop_generation)
    } else {
        group.stopped.is_some()
    };
    if must_stop {
        return true;
    }
    let signals = task.signals.lock();
    let unblocked = signals.mask.complement();
    !signals.pending.set().intersection(unblocked).is_empty()
        || !group.pending.set().intersection(unblocked).is_empty()
}

/// The wait status that this thread has to exit with, if its process exits or another thread calls `execve`.
pub fn exit_status(task: &Task) -> Option<i32> {
    match *task.group.exit.lock() {
        GroupExit::Exiting(status) => return Some(status),
        GroupExit::Exec(survivor) if survivor != task.tid() => return Some(0),
        _ => {}
    }
    i32::try_from(task.exit_alone.load(Ordering::SeqCst)).ok().filter(|status| *status >= 0)
}

/// Settles everything that stands between a task and the guest.
pub async fn before_guest(cx: &mut Ctx<'_>) -> Next {
    let task = cx.task;
    loop {
        if let Some(status) = exit_status(task) {
            return Next::Exit(status);
        }
        if task.trace.is_traced() {
            if ptrace::stop::trap(cx).await {
                continue;
            }
        } else if task.group.signals.lock().stopped.is_some() {
            stopped(task).await;
            continue;
        }
        if task.kernel.frozen.is_frozen() {
            frozen(task).await;
            continue;
        }
        let Some(mut info) = dequeue(task) else {
            restart_call(task, cx.regs);
            restore_mask(task);
            return Next::Guest;
        };
        if task.trace.is_traced() {
            match ptrace::stop::deliver(cx, info).await {
                Some(passed) => info = passed,
                None => continue,
            }
        }
        if act(cx, &info) && ptrace::stop::steps(task) {
            ptrace::stop::handler_began(cx).await;
        }
    }
}

/// Takes the next signal that is not blocked, the thread's own first.
fn dequeue(task: &Task) -> Option<SigInfo> {
    let unblocked = task.signals.lock().mask.complement();
    take(task, unblocked)
}

/// Takes the next pending signal of a set, the thread's own first.
pub fn take(task: &Task, wanted: SigSet) -> Option<SigInfo> {
    let info = {
        let mut group = task.group.signals.lock();
        let mut signals = task.signals.lock();
        let info = signals.pending.take(wanted).or_else(|| group.pending.take(wanted))?;
        if stop_signals().contains(info.signo()) {
            group.stop_pending = true;
        }
        info
    };
    Some(settle_timer(task, info))
}

/// A signal of a POSIX timer says how often the timer has expired since.
fn settle_timer(task: &Task, mut info: SigInfo) -> SigInfo {
    if info.code() == SI_TIMER
        && let Some(overrun) = crate::time::posix::signal_taken(task, info.timer_id())
    {
        info.set_overrun(overrun);
    }
    info
}

/// Does what the signal does; says whether a handler is to run.
fn act(cx: &mut Ctx<'_>, info: &SigInfo) -> bool {
    let signal = info.signo();
    let action = cx.task.group.actions().get(signal);
    match action.handler {
        SIG_IGN => return false,
        SIG_DFL => default(cx.task, signal),
        _ => {
            handle(cx, info, &action);
            return true;
        }
    }
    false
}

fn default(task: &Arc<Task>, signal: u32) {
    let action = default_action(signal);
    let immune = task.group.immune.load(Ordering::Relaxed);
    match action {
        Default::Ignore => {}
        Default::Stop if immune && signal != SIGSTOP => {}
        Default::Stop => notify::stop(task, signal),
        Default::Terminate | Default::Core if immune => {}
        Default::Terminate => send::begin_exit(task, signal.cast_signed()),
        Default::Core => {
            // No core is written, but a process that asked for one learns that it would have been.
            let dumps = task.group.limits.lock().soft(RLIMIT_CORE) > 0;
            send::begin_exit(task, w_termsig(signal, dumps));
        }
    }
}

fn handle(cx: &mut Ctx<'_>, info: &SigInfo, action: &SigAction) {
    let task = cx.task;
    interrupted_call(task, cx.regs, action);
    let (old_mask, fault) = {
        let mut signals = task.signals.lock();
        let saved = signals.saved_mask.take();
        let fault = signals.last_fault.take_if(|fault| fault.signal == info.signo());
        (saved.unwrap_or(signals.mask), fault)
    };
    if action.flags & SA_RESETHAND != 0 {
        task.group.actions().reset(info.signo());
    }
    let delivery = frame::Delivery { info, action, mask: old_mask, fault };
    if frame::push(task, cx.thread, cx.regs, &delivery).is_err() {
        // No room for a frame: Linux forces SIGSEGV, with the default action if it was that signal's handler.
        if info.signo() == SIGSEGV {
            task.group.actions().reset(SIGSEGV);
        }
        send::force(task, SigInfo::kernel(SIGSEGV));
        return;
    }
    let mut signals = task.signals.lock();
    let mut mask = signals.mask.union(action.mask);
    if action.flags & SA_NODEFER == 0 {
        mask.insert(info.signo());
    }
    mask.remove(SIGKILL);
    mask.remove(SIGSTOP);
    signals.mask = mask;
}

/// A handler is about to run: the interrupted call fails with EINTR or is made again afterwards.
fn interrupted_call(task: &Task, regs: &mut Regs, action: &SigAction) {
    let again = match task.signals.lock().restart.take() {
        Some(Restart::Always) => true,
        Some(Restart::Sys) => action.flags & SA_RESTART != 0,
        _ => false,
    };
    if again {
        call_again(regs, regs.orig_rax);
    }
}

/// No handler runs: an interrupted call is made again.
fn restart_call(task: &Task, regs: &mut Regs) {
    match task.signals.lock().restart.take() {
        Some(Restart::Block) => call_again(regs, nr::RESTART_SYSCALL),
        Some(_) => call_again(regs, regs.orig_rax),
        None => {}
    }
}

/// Puts the instruction pointer back on the two-byte instruction.
fn call_again(regs: &mut Regs, number: u64) {
    regs.rax = number;
    regs.rip = regs.rip.wrapping_sub(2);
}

fn restore_mask(task: &Task) {
    let mut signals = task.signals.lock();
    if let Some(mask) = signals.saved_mask.take() {
        signals.mask = mask;
        if !signals.pending.is_empty() {
            task.interrupt.raise();
        }
    }
}

/// Waits until the process is continued or exits.
async fn stopped(task: &Arc<Task>) {
    poll_fn(|cx| {
        task.interrupt.set_waker(Some(cx.waker()));
        let goes_on = exit_status(task).is_some()
            || task.trace.is_traced()
            || task.group.signals.lock().stopped.is_none();
        if goes_on { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    task.interrupt.set_waker(None);
}

/// Waits until the sandbox goes on or the process exits.
async fn frozen(task: &Arc<Task>) {
    let waiter = Waiter::new();
    let _registration = waiter.register(&task.kernel.frozen.thawed, PollEvents::POLLIN);
    let seen = waiter.generation();
    if !task.kernel.frozen.is_frozen() {
        return;
    }
    let mut thawed = core::pin::pin!(waiter.changed(seen));
    poll_fn(|cx| {
        task.interrupt.set_waker(Some(cx.waker()));
        if exit_status(task).is_some() { Poll::Ready(()) } else { thawed.as_mut().poll(cx) }
    })
    .await;
    task.interrupt.set_waker(None);
}
