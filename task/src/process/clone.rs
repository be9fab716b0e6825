//! New tasks: `fork(2)`, `vfork(2)`, `clone(2)`, `clone3(2)`.
//!
//! A child that shares its parent's memory is one more thread of the same address space, also after `vfork`;
//! another one gets a copy of the address space from the platform. Everything that can fail is done before the
//! child enters the tree, where others see it; its future starts afterwards.
//!
//! Costs: one or two round trips to the host (fork, spawn), of which a thread that the caller can clone itself takes one
//! hand-over to the caller; one allocation each for task, process, id and future.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::process::{
    CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID, CLONE_CLEAR_SIGHAND, CLONE_DETACHED, CLONE_FILES, CLONE_FS,
    CLONE_INTO_CGROUP, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS, CLONE_PARENT, CLONE_PARENT_SETTID, CLONE_PIDFD,
    CLONE_SETTLS, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_VFORK, CLONE_VM,
    PTRACE_EVENT_VFORK_DONE, RLIMIT_NPROC,
};
use chitin_abi::signal::{SIGCHLD, SS_DISABLE, StackT};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::platform::{GuestThread, ThreadState, host_failure};

use super::{GroupExit, NewGroup, ProcessEntry, ThreadGroup, pidfd};
use crate::context::Ctx;
use crate::cred::Credentials;
use crate::error::{Restart, SysError, SysResult};
use crate::memory::Mm;
use crate::namespace::{Namespaces, Pid, PidNamespace, unshare};
use crate::ptrace::{link, stop};
use crate::scheduler::wait::Completion;
use crate::signal::TaskSignals;
use crate::task::{FsContext, NewTask, Task};

/// Threads that a sandbox may have (`/proc/sys/kernel/threads-max`).
pub const MAX_THREADS: usize = 32_768;
/// Namespaces that `clone` can make.
pub const NAMESPACE_FLAGS: u64 = CLONE_NEWNS
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWCGROUP
    | CLONE_NEWTIME;

/// What a call asks for.
#[derive(Clone, Debug, Default)]
pub struct CloneRequest {
    /// `CLONE_…`, without an exit signal.
    pub flags: u64,
    /// The signal that the parent gets at the child's end.
    pub exit_signal: u32,
    /// The child's stack pointer; 0 for the parent's.
    pub stack: u64,
    /// The child's thread area, with `CLONE_SETTLS`.
    pub tls: u64,
    /// Where the child's id is written in the parent.
    pub parent_tid: GuestAddr,
    /// Where the child's id is written in the child, and cleared at its end.
    pub child_tid: GuestAddr,
    /// Where the pidfd is written.
    pub pidfd: GuestAddr,
    /// Ids that the child is to have, innermost namespace first.
    pub set_tid: Vec<u32>,
}

/// Checks that need nothing but the caller. In the order of the kernel.
fn check_flags(task: &Task, request: &CloneRequest) -> Result<()> {
    let has = |flags: u64| request.flags & flags == flags;
    let bad = has(CLONE_NEWNS | CLONE_FS)
        || has(CLONE_NEWUSER | CLONE_FS)
        || has(CLONE_THREAD) && !has(CLONE_SIGHAND)
        || has(CLONE_SIGHAND) && !has(CLONE_VM)
        || has(CLONE_SIGHAND | CLONE_CLEAR_SIGHAND)
        || has(CLONE_PARENT) && task.group.is_init
        || has(CLONE_PIDFD | CLONE_DETACHED)
        || has(CLONE_NEWIPC | CLONE_SYSVSEM);
    if bad {
        return Err(Errno::EINVAL);
    }
    if has(CLONE_THREAD) {
        let elsewhere = !Arc::ptr_eq(&task.namespaces().pid_for_children, &task.pid_ns());
        if request.flags & (CLONE_NEWUSER | CLONE_NEWPID) != 0 || elsewhere {
            return Err(Errno::EINVAL);
        }
    }
    if has(CLONE_INTO_CGROUP) {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// Whether the user may have one more process.
fn check_limits(task: &Task, cred: &Credentials) -> Result<()> {
    let limit = task.group.limits.lock().soft(RLIMIT_NPROC);
    let privileged = cred.ruid == 0 && cred.user_ns.is_initial()
        || cred.has(CAP_SYS_RESOURCE)
        || cred.has(CAP_SYS_ADMIN);
    if task.kernel.users.processes(cred.ruid) >= limit && !privileged {
        return Err(Errno::EAGAIN);
    }
    if task.kernel.tree.lock().task_count() >= MAX_THREADS {
        return Err(Errno::EAGAIN);
    }
    Ok(())
}

/// Makes a task as asked for, and returns its id in the caller's namespace.
///
/// # Errors
/// As documented in `clone(2)`.
pub async fn clone(cx: &mut Ctx<'_>, request: CloneRequest) -> SysResult {
    let task = Arc::clone(cx.task);
    check_flags(&task, &request)?;
    let (cred, namespaces, fs) = new_context(&task, &request)?;
    check_limits(&task, &cred)?;
    let pid = new_pid(&task, &request, &namespaces, &cred)?;
    let mm = child_memory(cx, &request).await?;
    let made = make_child(cx, &request, &mm, NewContext { cred, namespaces, fs, pid }).await;
    let (child, thread, regs) = match made {
        Ok(made) => made,
        Err(errno) => {
            abandon(cx, &mm);
            return Err(errno.into());
        }
    };
    let number = child.pid().in_ns(&task.pid_ns());
    let done = (request.flags & CLONE_VFORK != 0).then(Completion::new);
    child.vfork_done.lock().clone_from(&done);
    if let Err(error) = enter(cx, &request, &child) {
        child.replace_mm(None);
        drop(thread);
        return Err(error);
    }
    if request.flags & CLONE_PARENT_SETTID != 0 {
        // As on Linux, a pointer that cannot be written is ignored.
        // The child may look at it at once.
        let _ = cx.mm.memory().write(request.parent_tid, &number.to_ne_bytes());
    }
    if request.flags & CLONE_THREAD == 0 && child.group.limits.lock().has_cpu_limit() {
        crate::time::cpu_timers::watch(&child);
    }
    let event = link::clone_event(&task, &request);
    link::inherit(&task, &child, &request, event);
    let seen = child.pid();
    crate::run::start(child, thread, regs);
    if let Some(event) = event {
        let message = seen_by_tracer(&task, &seen);
        stop::event(cx, event, message).await;
    }
    if let Some(done) = done
        && cx.wait_killable(done.wait()).await.is_some()
        && stop::wants(&task, PTRACE_EVENT_VFORK_DONE)
    {
        let message = seen_by_tracer(&task, &seen);
        stop::event(cx, PTRACE_EVENT_VFORK_DONE, message).await;
    }
    Ok(u64::from(number))
}

/// A new task's id as the tracer of its parent sees it.
fn seen_by_tracer(parent: &Task, pid: &Pid) -> u64 {
    parent.trace.tracer().map_or(0, |tracer| u64::from(pid.in_ns(&tracer.pid_ns())))
}

/// A copy of the address space that nobody has attached to goes away here.
fn abandon(cx: &Ctx<'_>, mm: &Arc<Mm>) {
    if !Arc::ptr_eq(&cx.mm, mm) && mm.users() == 0 {
        mm.host().kill();
    }
}

struct NewContext {
    cred: Arc<Credentials>,
    namespaces: Arc<Namespaces>,
    fs: Arc<FsContext>,
    pid: Arc<Pid>,
}

type Context = (Arc<Credentials>, Arc<Namespaces>, Arc<FsContext>);

/// Identity, namespaces and directories of the child.
fn new_context(task: &Arc<Task>, request: &CloneRequest) -> Result<Context> {
    let flags = request.flags & NAMESPACE_FLAGS;
    let fs = if request.flags & CLONE_FS != 0 { task.fs() } else { task.fs().unshare() };
    if flags == 0 {
        return Ok((task.cred(), task.child_namespaces(), fs));
    }
    let made = unshare::new_namespaces(task, flags, &fs)?;
    Ok((made.cred, made.namespaces, fs))
}

fn new_pid(
    task: &Arc<Task>,
    request: &CloneRequest,
    namespaces: &Namespaces,
    cred: &Credentials,
) -> Result<Arc<Pid>> {
    let ns = &namespaces.pid_for_children;
    check_wanted_ids(&request.set_tid, ns, cred)?;
    Pid::new(&task.kernel.numbers, ns, &request.set_tid)
}

fn check_wanted_ids(wanted: &[u32], ns: &Arc<PidNamespace>, cred: &Credentials) -> Result<()> {
    if wanted.len() > ns.level() as usize + 1 {
        return Err(Errno::EINVAL);
    }
    let mut level = Some(ns);
    for id in wanted {
        let Some(ns) = level else { return Err(Errno::EINVAL) };
        if *id == 0 || *id >= crate::namespace::pid::PID_MAX || (*id != 1 && ns.global(1).is_none())
        {
            return Err(Errno::EINVAL);
        }
        if !cred.capable(&ns.user_ns, CAP_CHECKPOINT_RESTORE)
            && !cred.capable(&ns.user_ns, CAP_SYS_ADMIN)
        {
            return Err(Errno::EPERM);
        }
        level = ns.parent();
    }
    Ok(())
}

/// The child's memory: the parent's own or a copy.
async fn child_memory(cx: &Ctx<'_>, request: &CloneRequest) -> Result<Arc<Mm>> {
    if request.flags & CLONE_VM != 0 {
        return Ok(Arc::clone(&cx.mm));
    }
    cx.mm.fork().await
}

type Made = (Arc<Task>, Box<dyn GuestThread>, chitin_abi::Regs);

/// Makes the guest thread and the task.
async fn make_child(
    cx: &mut Ctx<'_>,
    request: &CloneRequest,
    mm: &Arc<Mm>,
    new: NewContext,
) -> Result<Made> {
    let parent = Arc::clone(cx.task);
    let mut regs = *cx.regs;
    regs.rax = 0;
    regs.rcx = regs.rip;
    regs.r11 = regs.eflags;
    if request.stack != 0 {
        regs.rsp = request.stack;
    }
    if request.flags & CLONE_SETTLS != 0 {
        if request.tls >= chitin_abi::system::TASK_SIZE {
            return Err(Errno::EPERM);
        }
        regs.fs_base = request.tls;
    }
    let local = new.pid.local();
    if request.flags & CLONE_CHILD_SETTID != 0 {
        // As on Linux, a pointer that cannot be written is ignored.
        let _ = mm.memory().write(request.child_tid, &local.to_ne_bytes());
    }
    let extended = cx.thread.extended_state();
    let thread = new_thread(cx, mm, ThreadState { regs, extended }).await.map_err(host_failure)?;
    let group = if request.flags & CLONE_THREAD != 0 {
        Arc::clone(&parent.group)
    } else {
        new_group(&parent, request, Arc::clone(&new.pid))
    };
    let files =
        if request.flags & CLONE_FILES != 0 { parent.files() } else { parent.files().copy() };
    let child = Task::new(
        &parent.kernel,
        NewTask {
            pid: new.pid,
            group,
            mm: Some(Arc::clone(mm)),
            fs: new.fs,
            files,
            cred: new.cred,
            namespaces: new.namespaces,
            signals: child_signals(&parent, request),
            name: parent.name.lock().clone(),
        },
    );
    inherit(&parent, &child);
    if request.flags & CLONE_CHILD_CLEARTID != 0 {
        child.clear_child_tid.store(request.child_tid.0, Ordering::Relaxed);
    }
    Ok((child, thread, regs))
}

/// The child's guest thread: made by the caller where they share memory, if that can be.
async fn new_thread(
    cx: &mut Ctx<'_>,
    mm: &Arc<Mm>,
    state: ThreadState,
) -> Result<Box<dyn GuestThread>> {
    if !Arc::ptr_eq(&cx.mm, mm) {
        return mm.host().spawn(state).await;
    }
    match cx.thread.spawn(state) {
        Ok(made) => made.await,
        Err(state) => mm.host().spawn(*state).await,
    }
}

fn child_signals(parent: &Task, request: &CloneRequest) -> TaskSignals {
    let signals = parent.signals.lock();
    // A thread that shares memory cannot share the alternate stack, except while its parent stands still.
    let keeps = request.flags & (CLONE_VM | CLONE_VFORK) != CLONE_VM;
    let alt_stack =
        if keeps { signals.alt_stack } else { StackT { flags: SS_DISABLE, ..StackT::default() } };
    TaskSignals {
        mask: signals.saved_mask.unwrap_or(signals.mask),
        alt_stack,
        ..TaskSignals::default()
    }
}

fn inherit(parent: &Task, child: &Task) {
    child.set_seccomp(parent.seccomp.read().clone());
    child.no_new_privs.store(parent.no_new_privs.load(Ordering::Relaxed), Ordering::Relaxed);
    *child.sched.lock() = parent.sched.lock().for_child();
    let thread = Arc::ptr_eq(&parent.group, &child.group);
    let rings = parent.keyrings.lock().for_child(thread);
    *child.keyrings.lock() = rings;
}

fn new_group(parent: &Arc<Task>, request: &CloneRequest, pid: Arc<Pid>) -> Arc<ThreadGroup> {
    let from = &parent.group;
    let actions = if request.flags & CLONE_SIGHAND != 0 {
        from.actions()
    } else if request.flags & CLONE_CLEAR_SIGHAND != 0 {
        from.actions().after_exec()
    } else {
        from.actions().copy()
    };
    let group = ThreadGroup::new(NewGroup {
        pid,
        actions,
        limits: from.limits(),
        container: from.container,
        start_time: parent.kernel.clock.monotonic(),
    });
    group.terminal.lock().clone_from(&from.terminal.lock());
    let copy = Ordering::Relaxed;
    let subreaper = from.has_subreaper.load(copy) || from.child_subreaper.load(copy);
    group.has_subreaper.store(subreaper, copy);
    group.dumpable.store(from.dumpable.load(copy), copy);
    group.oom_score_adj.store(from.oom_score_adj.load(copy), copy);
    group.personality.store(from.personality.load(copy), copy);
    group
}

/// Makes the child known. Under the tree's lock nobody can begin to end the process that it joins.
fn enter(cx: &Ctx<'_>, request: &CloneRequest, child: &Arc<Task>) -> SysResult<()> {
    let task = cx.task;
    let pidfd =
        if request.flags & CLONE_PIDFD != 0 { Some(give_pidfd(cx, request, child)?) } else { None };
    let entered = enter_tree(task, request, child);
    match (entered, pidfd) {
        (Err(error), Some(fd)) => {
            // The descriptor was just made; nobody can mind that it goes.
            let _ = task.files().close(fd);
            Err(error)
        }
        (entered, _) => entered,
    }
}

fn enter_tree(task: &Arc<Task>, request: &CloneRequest, child: &Arc<Task>) -> SysResult<()> {
    let kernel = &task.kernel;
    let mut tree = kernel.tree.lock();
    if *task.group.exit.lock() != GroupExit::None {
        return Err(SysError::Restart(Restart::Always));
    }
    if request.flags & CLONE_THREAD != 0 {
        tree.insert_task(child)?;
    } else {
        let own = tree.process(task.tgid()).ok_or(Errno::ESRCH)?;
        let (pgrp, session) = (Arc::clone(&own.pgrp), Arc::clone(&own.session));
        let sibling = request.flags & CLONE_PARENT != 0;
        let (parent, parent_task, exit_signal) = if sibling {
            (own.parent, own.parent_task, own.exit_signal)
        } else {
            (task.tgid(), task.tid(), request.exit_signal)
        };
        tree.insert_process(ProcessEntry {
            group: Arc::clone(&child.group),
            parent,
            parent_task,
            exit_signal,
            children: Vec::new(),
            tasks: vec![Arc::clone(child)],
            pgrp,
            session,
            zombie: None,
            stop_report: None,
            continue_report: false,
            stopped: false,
            name: Vec::new(),
        });
    }
    kernel.users.add(child.cred().ruid);
    kernel.counters.forks.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn give_pidfd(cx: &Ctx<'_>, request: &CloneRequest, child: &Arc<Task>) -> Result<i32> {
    let thread = request.flags & CLONE_THREAD != 0;
    let file = pidfd::open(child, thread, OpenFlags::empty());
    let limit = cx.task.group.limits.lock().open_files();
    let fd = cx.task.files().install(file, true, 0, limit)?;
    if let Err(errno) = cx.mm.memory().write(request.pidfd, &fd.to_ne_bytes()) {
        // The descriptor was just made; nobody can mind that it goes.
        let _ = cx.task.files().close(fd);
        return Err(errno);
    }
    Ok(fd)
}

/// What `fork(2)` asks for.
pub fn fork_request() -> CloneRequest {
    CloneRequest { exit_signal: SIGCHLD, ..CloneRequest::default() }
}

/// What `vfork(2)` asks for.
pub fn vfork_request() -> CloneRequest {
    CloneRequest { flags: CLONE_VM | CLONE_VFORK, exit_signal: SIGCHLD, ..CloneRequest::default() }
}
