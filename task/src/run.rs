//! The life of a task: run guest code, answer its calls, deliver its signals, until it exits.
//!
//! One future per guest thread. Costs per system call, besides the handler's: one resume of the guest
//! thread, one poll of this future; no allocation.

use core::future::poll_fn;
use core::sync::atomic::Ordering;
use core::task::{Context, Waker};
use std::sync::Arc;

use chitin_abi::mm::ProtFlags;
use chitin_abi::process::PTRACE_EVENT_EXIT;
use chitin_abi::signal::{SEGV_MAPERR, SIGSEGV, SIGSYS, SIGTRAP, SigInfo, TRAP_TRACE};
use chitin_abi::{Errno, Regs};
use chitin_mm::platform::{Event, Fault, GuestThread, HotSite};
use chitin_mm::space::{Space, VmaFlags};

use crate::context::Ctx;
use crate::error::{SysError, SysResult};
use crate::limits::listener;
use crate::limits::seccomp::{Verdict, call_data};
use crate::process::exit;
use crate::ptrace;
use crate::ptrace::stop::{Call, TRAP_FLAG};
use crate::signal::{self, Next};
use crate::syscalls;
use crate::task::Task;

/// Starts the future of a task.
pub fn start(task: Arc<Task>, thread: Box<dyn GuestThread>, regs: Regs) {
    let kernel = Arc::clone(&task.kernel);
    let victim = Arc::clone(&task);
    kernel.scheduler.spawn_contained(run(task, thread, regs), move || {
        // The guest thread went with the future; the others of its process follow.
        victim.interrupt.set_guest(None);
        signal::kill_by_host(&victim);
        victim.exiting.store(false, Ordering::SeqCst);
        let scheduler = victim.kernel.scheduler.clone();
        scheduler.spawn(async move {
            exit::exit_task(&victim, None, chitin_abi::signal::SIGKILL.cast_signed()).await;
        });
    });
}

/// Runs a task to its end. `regs` are what the guest thread starts with.
async fn run(task: Arc<Task>, mut thread: Box<dyn GuestThread>, mut regs: Regs) {
    task.interrupt.set_guest(Some(thread.interrupter()));
    task.refresh_parent(&task.kernel.tree.lock());
    watch(&task, &mut *thread);
    let status = match task.mm() {
        Some(mm) => {
            let mut cx =
                Ctx { task: &task, regs: &mut regs, thread: &mut thread, mm, carried: None };
            serve(&mut cx).await
        }
        None => chitin_abi::signal::SIGKILL.cast_signed(),
    };
    if ptrace::stop::wants(&task, PTRACE_EVENT_EXIT)
        && let Some(mm) = task.mm()
    {
        let mut cx = Ctx { task: &task, regs: &mut regs, thread: &mut thread, mm, carried: None };
        ptrace::stop::event(&mut cx, PTRACE_EVENT_EXIT, u64::from(status.cast_unsigned())).await;
    }
    exit::exit_task(&task, Some(thread), status).await;
}

/// Has the task hear of the end of its guest's host process wherever it waits.
pub fn watch(task: &Arc<Task>, thread: &mut dyn GuestThread) {
    let task = Arc::downgrade(task);
    thread.on_death(Box::new(move || {
        if let Some(task) = task.upgrade() {
            signal::kill_by_host(&task);
        }
    }));
}

/// Serves the guest until the task has to exit, with this wait status.
async fn serve(cx: &mut Ctx<'_>) -> i32 {
    let task = cx.task;
    let scheduler = &task.kernel.scheduler;
    loop {
        if task.interrupt.take() {
            cx.complete();
            cx.carry_out_late().await;
            settle(cx).await;
            match signal::before_guest(cx).await {
                Next::Guest => {}
                Next::Exit(status) => return status,
            }
        }
        let steps = ptrace::stop::traps(task);
        if steps {
            cx.complete();
        }
        let own_flags = cx.regs.eflags;
        let (thread, regs) = (&mut *cx.thread, &mut *cx.regs);
        if steps {
            regs.eflags |= TRAP_FLAG;
        }
        match task.interrupt.enter_guest(|| thread.resume(regs)) {
            Some(Ok(())) => {}
            Some(Err(_)) => {
                task.interrupt.leave_guest();
                signal::kill_by_host(task);
                continue;
            }
            None => {
                if steps {
                    regs.eflags = own_flags;
                }
                continue;
            }
        }
        let event = match scheduler.linger(|| thread.look(regs)) {
            Some(event) => event,
            None => poll_fn(|context| thread.poll_event(context, regs)).await,
        };
        task.interrupt.leave_guest();
        if steps && own_flags & TRAP_FLAG == 0 {
            cx.regs.eflags &= !TRAP_FLAG;
        }
        if let Event::Failed(errno) = event {
            cx.not_carried(errno).await;
            continue;
        }
        cx.carried = None;
        match event {
            Event::Syscall => system_call(cx).await,
            Event::ForeignSyscall => signal::force(task, foreign_call(cx.regs)),
            Event::Fault(fault) => fault_signal(cx, &fault).await,
            Event::Interrupted | Event::Failed(_) => {
                if task.cpu.is_old(task.kernel.clock.monotonic()) {
                    task.cpu.set(cx.thread.cpu_time());
                }
            }
            Event::Dead => signal::kill_by_host(task),
        }
    }
}

/// Waits until the guest's extended state can be had.
pub async fn settle(cx: &mut Ctx<'_>) {
    let thread = &mut *cx.thread;
    let settled = cx.task.kernel.scheduler.linger(|| {
        let mut context = Context::from_waker(Waker::noop());
        thread.poll_settle(&mut context).is_ready().then_some(())
    });
    if settled.is_none() {
        poll_fn(|context| thread.poll_settle(context)).await;
    }
}

const RT_SIGRETURN: u64 = 15;
const CLONE: u64 = 56;
const VFORK: u64 = 58;
const EXECVE: u64 = 59;
const SIGALTSTACK: u64 = 131;
const ARCH_PRCTL: u64 = 158;
const EXECVEAT: u64 = 322;
const CLONE3: u64 = 435;

/// Calls whose handlers look at the guest's extended state, or replace it.
fn needs_state(number: u64) -> bool {
    // fork lies between clone and vfork.
    matches!(number, RT_SIGRETURN | CLONE..=VFORK | CLONE3)
}

/// Calls whose handlers look at registers beside the arguments.
fn needs_registers(number: u64) -> bool {
    needs_state(number) || matches!(number, EXECVE | SIGALTSTACK | ARCH_PRCTL | EXECVEAT)
}

/// Lets the platform rewrite a call site that traps often, if the guest's own code stands there: private memory
/// that it cannot write.
async fn rewrite(cx: &mut Ctx<'_>, site: HotSite) {
    let mm = Arc::clone(&cx.mm);
    let ordered = mm.ops.lock().await;
    let is_code = mm.space.lock().lookup(site.address).is_some_and(|vma| {
        let wanted = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
        // All bytes that may change belong to it.
        let (before, behind) = (site.address.wrapping_sub(vma.start), vma.end - site.address);
        let is_inside = before >= 8 && behind >= 8;
        is_inside
            && vma.prot == wanted
            && !vma.flags.intersects(VmaFlags::SHARED | VmaFlags::SPECIAL)
    });
    let mut area = None;
    if is_code && let Some(len) = site.needs_area {
        let reserve = |space: &mut Space| space.reserve_code(site.address, len);
        let (reserved, released) = mm.update_ordered(reserve).await;
        drop(released);
        area = reserved.ok();
    }
    if is_code && (area.is_some() || site.needs_area.is_none()) {
        // It works as before if that fails.
        let _ = cx.thread.patch(area).await;
    }
    drop(ordered);
}

async fn system_call(cx: &mut Ctx<'_>) {
    cx.regs.orig_rax = cx.regs.rax;
    let number = cx.regs.rax;
    let is_traced = cx.task.trace.is_traced();
    let is_filtered = cx.task.filtered.load(Ordering::Relaxed);
    if is_traced || is_filtered || needs_registers(number) {
        cx.complete();
    }
    if is_traced {
        settle(cx).await;
        return traced_call(cx).await;
    }
    if let Some(site) = cx.thread.hot_site() {
        rewrite(cx, site).await;
    }
    if needs_state(number) {
        settle(cx).await;
    }
    let result = if is_filtered && let Some(result) = filter(cx, number).await {
        result
    } else {
        syscalls::call(cx, number).await
    };
    finish(cx, result);
}

/// A system call of a tracee: its tracer may look at it before and behind it, and change it.
async fn traced_call(cx: &mut Ctx<'_>) {
    let emulated = ptrace::stop::emulates(cx.task);
    let mut call = ptrace::stop::enter_call(cx).await;
    if call == Call::Make && cx.task.filtered.load(Ordering::Relaxed) {
        call = filter_traced(cx).await;
    }
    if call == Call::Make {
        let number = cx.regs.orig_rax;
        let result = syscalls::call(cx, number).await;
        finish(cx, result);
        cx.carry_out_late().await;
    }
    ptrace::stop::leave_call(cx, call, emulated).await;
}

/// The same for the filters' part of it.
async fn filter_traced(cx: &mut Ctx<'_>) -> Call {
    let number = cx.regs.orig_rax;
    let (verdict, _) = cx.task.seccomp.read().check(cx.regs, number);
    if let Verdict::Trace(data) = verdict
        && let Some(call) = ptrace::stop::filtered(cx, u32::from(data)).await
    {
        return call;
    }
    match filter(cx, number).await {
        None => Call::Make,
        Some(result) => {
            finish(cx, result);
            Call::Skip
        }
    }
}

/// Asks the guest's filters; `None` lets the call through.
async fn filter(cx: &mut Ctx<'_>, number: u64) -> Option<SysResult> {
    let (verdict, listener) = cx.task.seccomp.read().check(cx.regs, number);
    if let Some(listener) = listener {
        let data = call_data(cx.regs, number);
        return Box::pin(listener::ask(cx, &listener, data)).await;
    }
    carry_out(cx, verdict, number)
}

/// Does what filters say without asking anybody.
fn carry_out(cx: &mut Ctx<'_>, verdict: Verdict, number: u64) -> Option<SysResult> {
    let task = cx.task;
    match verdict {
        Verdict::Allow => None,
        Verdict::Trace(_) | Verdict::Notify => Some(Err(Errno::ENOSYS.into())),
        Verdict::Fail(0) => Some(Ok(0)),
        Verdict::Fail(errno) => Some(Err(Errno::from_raw(i32::from(errno)).into())),
        Verdict::Trap(data) => {
            let arch = chitin_abi::process::AUDIT_ARCH;
            let info = SigInfo::seccomp(i32::from(data), cx.regs.rip, number as u32, arch);
            signal::force(task, info);
            // The handler finds the call's number where the result would be.
            Some(Err(SysError::NoReturn))
        }
        Verdict::EndThread => {
            exit::exit_thread(task, chitin_abi::signal::SIGKILL.cast_signed());
            Some(Err(SysError::NoReturn))
        }
        Verdict::KillThread
            if task
                .kernel
                .tree
                .lock()
                .process(task.tgid())
                .is_some_and(|entry| entry.tasks.len() > 1) =>
        {
            exit::exit_thread(task, SIGSYS.cast_signed());
            Some(Err(SysError::NoReturn))
        }
        Verdict::KillThread | Verdict::KillProcess => {
            signal::begin_exit(task, SIGSYS.cast_signed() | 0x80);
            Some(Err(SysError::NoReturn))
        }
    }
}

/// Puts the result into the registers; a restart is settled when signals are delivered.
fn finish(cx: &mut Ctx<'_>, result: SysResult) {
    let task = cx.task;
    match result {
        Ok(value) => cx.regs.rax = value,
        Err(SysError::Errno(errno)) => cx.regs.rax = errno.as_register(),
        Err(SysError::Restart(restart)) => {
            task.signals.lock().restart = Some(restart);
            cx.regs.rax = Errno::EINTR.as_register();
            task.interrupt.raise();
        }
        Err(SysError::NoReturn) => return,
    }
    cx.regs.rcx = cx.regs.rip;
    cx.regs.r11 = cx.regs.eflags;
}

/// Whether a fault was a stack that wanted to grow, and has grown: the guest tries again.
async fn grow_stack(cx: &mut Ctx<'_>, fault: &Fault) -> bool {
    if cx.mm.space.lock().lookup(fault.address.0).is_some() {
        return false;
    }
    let limits = crate::process::exec::space_limits(cx.task);
    let grown = cx.mm.update_by(&mut **cx.thread, |space| {
        space.set_limits(limits);
        space.grow_stack(fault.address.0)
    });
    let (grown, carried) = grown.await;
    cx.carried = carried;
    // It is a signal if that does not work, not the result of a call.
    cx.carry_out().await.is_ok() && grown.is_ok()
}

async fn fault_signal(cx: &mut Ctx<'_>, fault: &Fault) {
    if fault.signal == SIGSEGV && fault.code == SEGV_MAPERR && grow_stack(cx, fault).await {
        return;
    }
    let mut code = fault.code;
    if fault.signal == SIGTRAP && code == TRAP_TRACE && cx.task.trace.is_traced() {
        match ptrace::stepped(cx.task, cx.regs.rip, cx.mm.memory()) {
            Some(found) => code = found,
            None => return,
        }
    }
    let info = SigInfo::fault(fault.signal, code, fault.address.0);
    cx.task.signals.lock().last_fault = Some(*fault);
    signal::force(cx.task, info);
}

/// `int 0x80` and the like: a kernel without 32-bit support answers with SIGSEGV.
fn foreign_call(regs: &Regs) -> SigInfo {
    let _ = regs;
    SigInfo::kernel(SIGSEGV)
}
