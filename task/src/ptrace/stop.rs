//! The tracee's side: where and how it stops.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::process::{
    PTRACE_EVENT_EXEC, PTRACE_EVENT_EXIT, PTRACE_EVENT_SECCOMP, PTRACE_EVENT_STOP,
    PTRACE_EVENTMSG_SYSCALL_ENTRY, PTRACE_EVENTMSG_SYSCALL_EXIT, PTRACE_O_TRACESYSGOOD,
};
use chitin_abi::signal::{
    CLD_STOPPED, CLD_TRAPPED, SA_NOCLDSTOP, SI_USER, SIGCHLD, SIGTRAP, SigInfo, TRAP_BRKPT,
};
use chitin_abi::{Errno, Regs};

use super::{Kind, Mode, Resumed, Stop};
use crate::context::Ctx;
use crate::error::Restart;
use crate::signal::{exit_status, send_to_group, send_to_task};
use crate::task::Task;

/// The trap flag.
pub const TRAP_FLAG: u64 = 0x100;

/// A stop, boxed so that those who never stop do not carry its future.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a system call that is about to be made is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It is made, with what the registers say now.
    Make,
    /// It is not made: `rax` stays.
    Skip,
}

struct Reason {
    kind: Kind,
    code: u32,
    info: Option<SigInfo>,
    message: Option<u64>,
    filter_data: u32,
}

/// The option that asks for an event.
const fn option_of(event: u32) -> u32 {
    1 << event
}

/// Whether a tracer wants to know of an event.
pub fn wants(task: &Task, event: u32) -> bool {
    task.trace.is_traced()
        && task
            .trace
            .inner
            .lock()
            .link
            .as_ref()
            .is_some_and(|link| link.options & option_of(event) != 0)
}

/// Whether a task is to run one instruction only.
pub fn steps(task: &Task) -> bool {
    task.trace.is_traced() && task.trace.inner.lock().mode.steps()
}

/// Whether a task is to come back after each instruction: because it is to run one only, or for its debug registers.
pub fn traps(task: &Task) -> bool {
    if !task.trace.is_traced() {
        return false;
    }
    let inner = task.trace.inner.lock();
    inner.mode.steps() || inner.debug.is_active()
}

const fn restart_code(restart: Restart) -> u64 {
    let errno: i64 = match restart {
        Restart::Sys => 512,
        Restart::Always => 513,
        Restart::NoHandler => 514,
        Restart::Block => 516,
    };
    errno.wrapping_neg().cast_unsigned()
}

/// Tracers see in `rax` that a call is to be made again.
fn show_restart(task: &Task, regs: &mut Regs) {
    if let Some(restart) = task.signals.lock().restart.take() {
        regs.rax = restart_code(restart);
    }
}

fn hide_restart(task: &Task, regs: &mut Regs) {
    let all = [Restart::Sys, Restart::Always, Restart::NoHandler, Restart::Block];
    let found = all.into_iter().find(|restart| restart_code(*restart) == regs.rax);
    if let Some(restart) = found
        && regs.orig_rax.cast_signed() >= 0
    {
        task.signals.lock().restart = Some(restart);
        regs.rax = Errno::EINTR.as_register();
        task.interrupt.raise();
    }
}

/// A new program's registers have no selectors yet.
fn complete_selectors(regs: &mut Regs) {
    const CODE: u64 = 0x33;
    const DATA: u64 = 0x2b;
    if regs.cs == 0 {
        regs.cs = CODE;
    }
    if regs.ss == 0 {
        regs.ss = DATA;
    }
}

/// Stands still until the tracer lets it go on. `None` when it did not stop, or dies.
async fn stop(cx: &mut Ctx<'_>, reason: Reason) -> Option<Resumed> {
    cx.complete();
    let task = Arc::clone(cx.task);
    let exits = reason.kind == Kind::Event(PTRACE_EVENT_EXIT);
    if !exits && exit_status(&task).is_some() {
        return None;
    }
    crate::run::settle(cx).await;
    show_restart(&task, cx.regs);
    complete_selectors(cx.regs);
    let extended = cx.thread.extended_state();
    let published = {
        let mut inner = task.trace.inner.lock();
        if inner.link.is_some() {
            inner.message = reason.message.unwrap_or(inner.message);
            inner.killed = false;
            inner.resumed = None;
            inner.stop = Some(Stop {
                kind: reason.kind,
                code: reason.code,
                info: reason.info,
                filter_data: reason.filter_data,
                regs: *cx.regs,
                extended,
                extended_changed: false,
                reported: false,
                listening: false,
            });
        }
        inner.stop.is_some()
    };
    if published {
        tell_tracer(&task, reason.kind, reason.code);
        poll_fn(|context| {
            task.interrupt.set_waker(Some(context.waker()));
            let dies = !exits && exit_status(&task).is_some();
            let inner = task.trace.inner.lock();
            let goes_on = dies || inner.stop.is_none() || exits && inner.killed;
            if goes_on { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        task.interrupt.set_waker(None);
    }
    let resumed = {
        let mut inner = task.trace.inner.lock();
        inner.stop = None;
        inner.resumed.take()
    };
    if let Some(resumed) = &resumed {
        *cx.regs = resumed.regs;
        if let Some(state) = &resumed.extended {
            // It was checked when the tracer wrote it; what the host refuses all the same stays as it was.
            let _ = cx.thread.set_extended_state(state);
        }
    }
    hide_restart(&task, cx.regs);
    resumed
}

fn tell_tracer(task: &Arc<Task>, kind: Kind, code: u32) {
    let Some(tracer) = task.trace.tracer() else { return };
    if tracer.group.actions().get(SIGCHLD).flags & SA_NOCLDSTOP == 0 {
        let why = if kind == Kind::Group { CLD_STOPPED } else { CLD_TRAPPED };
        let pid = task.pid().in_ns(&tracer.pid_ns());
        let uid = tracer.cred().show_uid(task.cred().ruid);
        let info = SigInfo::child(SIGCHLD, why, pid, uid, (code & 0x7f).cast_signed());
        // A full queue loses the signal, as on Linux; wait sees the stop all the same.
        let _ = send_to_group(&tracer, info);
    }
    tracer.group.child_events.notify(PollEvents::POLLIN);
}

/// The siginfo of a stop that no signal made.
fn notice(task: &Task, signal: u32, code: u32) -> SigInfo {
    let cred = task.cred();
    SigInfo::user(signal, code.cast_signed(), task.local_tid(), cred.show_uid(cred.ruid))
}

fn event_reason(task: &Task, event: u32, message: u64) -> Reason {
    let code = SIGTRAP | event << 8;
    Reason {
        kind: Kind::Event(event),
        code,
        info: Some(notice(task, SIGTRAP, code)),
        message: Some(message),
        filter_data: 0,
    }
}

/// A signal that the tracer passes on at a stop that is none of a signal.
fn pass_on(task: &Arc<Task>, resumed: Option<&Resumed>) {
    if let Some(resumed) = resumed
        && resumed.signal != 0
    {
        // The number was checked; a full queue loses it.
        let _ = send_to_task(task, SigInfo::kernel(resumed.signal));
    }
}

/// Stops at an event that the tracer wants to know of.
pub fn event<'a>(cx: &'a mut Ctx<'_>, event: u32, message: u64) -> Boxed<'a, ()> {
    Box::pin(async move {
        let reason = event_reason(cx.task, event, message);
        let resumed = stop(cx, reason).await;
        pass_on(cx.task, resumed.as_ref());
    })
}

/// A new program runs: an event, or SIGTRAP for a tracer of the old kind.
pub async fn program_began(cx: &mut Ctx<'_>, old_tid: u64) {
    if !cx.task.trace.is_traced() {
        return;
    }
    cx.task.trace.inner.lock().debug = Default::default();
    if wants(cx.task, PTRACE_EVENT_EXEC) {
        event(cx, PTRACE_EVENT_EXEC, old_tid).await;
        return;
    }
    let seized = cx.task.trace.inner.lock().link.as_ref().is_none_or(|link| link.seized);
    if !seized {
        let cred = cx.task.cred();
        let uid = cred.show_uid(cred.ruid);
        let info = SigInfo::user(SIGTRAP, SI_USER, cx.task.local_tgid(), uid);
        // A standard signal is not refused.
        let _ = send_to_task(cx.task, info);
    }
}

/// What a filter leaves to the tracer; `None` when there is none that wants to know.
pub async fn filtered(cx: &mut Ctx<'_>, data: u32) -> Option<Call> {
    if !wants(cx.task, PTRACE_EVENT_SECCOMP) {
        return None;
    }
    let mut reason = event_reason(cx.task, PTRACE_EVENT_SECCOMP, u64::from(data));
    reason.filter_data = data;
    cx.regs.rax = Errno::ENOSYS.as_register();
    let stopped: Boxed<'_, _> = Box::pin(stop(cx, reason));
    let resumed = stopped.await;
    pass_on(cx.task, resumed.as_ref());
    if resumed.is_none() && exit_status(cx.task).is_some() {
        return Some(Call::Skip);
    }
    Some(if cx.regs.orig_rax.cast_signed() < 0 { Call::Skip } else { Call::Make })
}

fn call_reason(task: &Task, kind: Kind) -> Reason {
    let good = task
        .trace
        .inner
        .lock()
        .link
        .as_ref()
        .is_some_and(|link| link.options & PTRACE_O_TRACESYSGOOD != 0);
    let code = if good { SIGTRAP | 0x80 } else { SIGTRAP };
    let message = if kind == Kind::Enter {
        PTRACE_EVENTMSG_SYSCALL_ENTRY
    } else {
        PTRACE_EVENTMSG_SYSCALL_EXIT
    };
    Reason {
        kind,
        code,
        info: Some(notice(task, SIGTRAP, code)),
        message: Some(u64::from(message)),
        filter_data: 0,
    }
}

/// A system call is about to be made.
pub fn enter_call<'a>(cx: &'a mut Ctx<'_>) -> Boxed<'a, Call> {
    Box::pin(async move {
        let mode = cx.task.trace.inner.lock().mode;
        if !matches!(mode, Mode::Calls | Mode::Emulate | Mode::EmulateStep) {
            return Call::Make;
        }
        cx.regs.rax = Errno::ENOSYS.as_register();
        let reason = call_reason(cx.task, Kind::Enter);
        let resumed = stop(cx, reason).await;
        pass_on(cx.task, resumed.as_ref());
        let emulates = matches!(mode, Mode::Emulate | Mode::EmulateStep);
        let dies = exit_status(cx.task).is_some();
        if emulates || dies || cx.regs.orig_rax == u64::MAX { Call::Skip } else { Call::Make }
    })
}

/// A system call is over.
pub fn leave_call<'a>(cx: &'a mut Ctx<'_>, call: Call, emulated: bool) -> Boxed<'a, ()> {
    Box::pin(async move {
        if !cx.task.trace.is_traced() || exit_status(cx.task).is_some() {
            return;
        }
        let mode = cx.task.trace.inner.lock().mode;
        if mode.steps() {
            let info = SigInfo::fault(SIGTRAP, TRAP_BRKPT, cx.regs.rip);
            // A standard signal is not refused.
            let _ = send_to_task(cx.task, info);
        } else if mode == Mode::Calls && !(emulated && call == Call::Skip) {
            let reason = call_reason(cx.task, Kind::Leave);
            let resumed = stop(cx, reason).await;
            pass_on(cx.task, resumed.as_ref());
        }
    })
}

/// Whether calls are being emulated, at the moment at which one is about to be made.
pub fn emulates(task: &Task) -> bool {
    matches!(task.trace.inner.lock().mode, Mode::Emulate | Mode::EmulateStep)
}

/// A signal is about to be delivered: the tracer decides what becomes of it.
pub fn deliver<'a>(cx: &'a mut Ctx<'_>, info: SigInfo) -> Boxed<'a, Option<SigInfo>> {
    Box::pin(async move {
        // Whether the signal that comes out of this stops the process is open; a SIGCONT meanwhile says no.
        cx.task.group.signals.lock().stop_pending = true;
        let reason = Reason {
            kind: Kind::Signal,
            code: info.signo(),
            info: Some(info),
            message: Some(0),
            filter_data: 0,
        };
        let Some(resumed) = stop(cx, reason).await else { return Some(info) };
        let info = match resumed.signal {
            0 => return None,
            signal if signal == info.signo() => resumed.info.unwrap_or(info),
            signal => SigInfo::user(signal, SI_USER, resumed.sender.0, resumed.sender.1),
        };
        let blocked = cx.task.signals.lock().mask.contains(info.signo());
        if blocked {
            // A full queue loses it.
            let _ = send_to_task(cx.task, info);
            return None;
        }
        Some(info)
    })
}

/// The handler of a signal is about to run, one instruction of it.
pub fn handler_began<'a>(cx: &'a mut Ctx<'_>) -> Boxed<'a, ()> {
    Box::pin(async move {
        let reason = Reason {
            kind: Kind::Event(0),
            code: SIGTRAP,
            info: Some(notice(cx.task, SIGTRAP, SIGTRAP)),
            message: Some(0),
            filter_data: 0,
        };
        let resumed = stop(cx, reason).await;
        pass_on(cx.task, resumed.as_ref());
    })
}

/// Stops if the tracer wants it, or because the process has stopped. Says whether it did.
pub fn trap<'a>(cx: &'a mut Ctx<'_>) -> Boxed<'a, bool> {
    Box::pin(async move {
        let task = Arc::clone(cx.task);
        let (stopped, generation) = {
            let group = task.group.signals.lock();
            (group.stopped, group.stop_generation)
        };
        let seized = {
            let mut inner = task.trace.inner.lock();
            let Some(seized) = inner.link.as_ref().map(|link| link.seized) else { return false };
            let group = stopped.is_some() && inner.seen_stop != generation;
            if group {
                inner.seen_stop = generation;
            }
            let trap = core::mem::take(&mut inner.trap) && seized;
            if !group && !trap {
                return false;
            }
            seized
        };
        let signal = stopped.unwrap_or(SIGTRAP);
        let code = if seized { signal | PTRACE_EVENT_STOP << 8 } else { signal };
        let info = seized.then(|| notice(&task, signal, code));
        let reason =
            Reason { kind: Kind::Group, code, info, message: seized.then_some(0), filter_data: 0 };
        stop(cx, reason).await;
        true
    })
}
