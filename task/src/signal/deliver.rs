//! What a task does before it goes back to the guest: exit, stop, restart calls, run handlers.

use core::future::poll_fn;
use core::sync::atomic::Ordering;
use core::task::Poll;
use std::sync::Arc;

use chitin_abi::signal::{
    SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_DFL, SIG_IGN, SigAction, SigInfo,
};
use chitin_abi::{Regs, nr};
use chitin_mm::platform::GuestThread;

use super::action::{Default, default_action};
use super::{frame, send};
use crate::context::Ctx;
use crate::error::Restart;
use crate::process::{GroupExit, notify};
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
    if group.stopped.is_some() {
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
    let (task, thread, regs) = (cx.task, &mut *cx.thread, &mut *cx.regs);
    loop {
        if let Some(status) = exit_status(task) {
            return Next::Exit(status);
        }
        if task.group.signals.lock().stopped.is_some() {
            stopped(task).await;
            continue;
        }
        let Some(info) = dequeue(task) else {
            restart_call(task, regs);
            restore_mask(task);
            return Next::Guest;
        };
        act(task, thread, regs, info);
    }
}

/// Takes the next signal that is not blocked, the thread's own first.
fn dequeue(task: &Task) -> Option<SigInfo> {
    let mut group = task.group.signals.lock();
    let mut signals = task.signals.lock();
    let wanted = signals.mask.complement();
    signals.pending.take(wanted).or_else(|| group.pending.take(wanted))
}

fn act(task: &Arc<Task>, thread: &mut Box<dyn GuestThread>, regs: &mut Regs, info: SigInfo) {
    let signal = info.signo();
    let actions = task.group.actions();
    let action = actions.get(signal);
    match action.handler {
        SIG_IGN => {}
        SIG_DFL => default(task, signal),
        _ => handle(task, thread, regs, &info, &action),
    }
}

fn default(task: &Arc<Task>, signal: u32) {
    match default_action(signal) {
        Default::Ignore => {}
        Default::Stop => notify::stop(task, signal),
        Default::Terminate => terminate(task, signal as i32),
        Default::Core => terminate(task, signal as i32 | 0x80),
    }
}

fn terminate(task: &Arc<Task>, status: i32) {
    // The first process of a pid namespace is not ended by signals that it did not ask for, except by faults
    // of its own and by SIGKILL from outside, which do not come this way.
    send::begin_exit(task, status);
}

fn handle(
    task: &Arc<Task>,
    thread: &mut Box<dyn GuestThread>,
    regs: &mut Regs,
    info: &SigInfo,
    action: &SigAction,
) {
    interrupted_call(task, regs, action);
    let (old_mask, fault) = {
        let mut signals = task.signals.lock();
        let saved = signals.saved_mask.take();
        (saved.unwrap_or(signals.mask), signals.last_fault.take())
    };
    let built =
        frame::push(task, thread, regs, &frame::Delivery { info, action, mask: old_mask, fault });
    if built.is_err() {
        // No room for a frame: Linux forces SIGSEGV, with the default action if it was that signal's handler.
        let segv = chitin_abi::signal::SIGSEGV;
        if info.signo() == segv {
            task.group.actions().reset(segv);
        }
        send::force(task, SigInfo::kernel(segv));
        return;
    }
    if action.flags & SA_RESETHAND != 0 {
        task.group.actions().reset(info.signo());
    }
    let mut signals = task.signals.lock();
    signals.mask = signals.mask.union(action.mask);
    if action.flags & SA_NODEFER == 0 {
        signals.mask.insert(info.signo());
    }
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
        let goes_on = exit_status(task).is_some() || task.group.signals.lock().stopped.is_none();
        if goes_on { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    task.interrupt.set_waker(None);
}
