//! Who traces whom: attach, detach, children of tracees, and the end of tracers and tracees.
//!
//! A tracee that has exited stays in its tracer's list until `wait` has told of it, as a zombie does; the leader of a
//! process that ends under another tracer than its parent is given to the parent only then.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::process::{
    CAP_SYS_PTRACE, CLONE_PTRACE, CLONE_UNTRACED, CLONE_VFORK, PTRACE_EVENT_CLONE,
    PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK, PTRACE_O_EXITKILL, WEXITED, WNOWAIT,
};
use chitin_abi::signal::{SA_NOCLDWAIT, SI_KERNEL, SIG_IGN, SIGCHLD, SIGKILL, SIGSTOP, SigInfo};
use chitin_abi::{Errno, Result};

use super::stop::wants;
use super::{Inner, Link, Mode, Resumed};
use crate::process::clone::CloneRequest;
use crate::process::{ThreadGroup, Tree, exit};
use crate::signal::{begin_exit, send_to_task};
use crate::task::Task;

/// Makes `tracer` trace `tracee`.
///
/// # Errors
/// EPERM when somebody does already, or either is at its end.
fn link(tracer: &Arc<Task>, tracee: &Arc<Task>, seized: bool, options: u32) -> Result<()> {
    let mut tracees = tracer.group.tracees.lock();
    let gone = |task: &Task| task.exiting.load(Ordering::SeqCst);
    let mut inner = tracee.trace.inner.lock();
    if inner.link.is_some() || gone(tracer) || gone(tracee) {
        return Err(Errno::EPERM);
    }
    let link = Link { tracer: Arc::downgrade(tracer), seized, options };
    *inner = Inner { link: Some(link), ..Inner::default() };
    tracee.trace.traced.store(true, Ordering::SeqCst);
    if tracee.is_leader() {
        *tracee.group.leader_tracer.lock() = Some(Arc::downgrade(&tracer.group));
    }
    tracees.push(Arc::clone(tracee));
    drop(inner);
    tracee.refresh_answers();
    Ok(())
}

/// What a tracee was when its tracer let it go.
struct Freed {
    task: Arc<Task>,
    options: u32,
    dead: bool,
    /// The process has ended and its parent is to learn of it.
    orphaned: bool,
}

/// Ends a relation; the caller has taken the tracee from its tracer's list and holds the tree's lock.
fn unlink(tree: &Tree, task: &Arc<Task>, signal: u32, sender: (u32, u32)) -> Freed {
    let mut inner = task.trace.inner.lock();
    let options = inner.link.take().map_or(0, |link| link.options);
    inner.mode = Mode::Run;
    inner.trap = false;
    inner.debug = Default::default();
    if let Some(stop) = inner.stop.take() {
        inner.resumed = Some(Resumed {
            regs: stop.regs,
            extended: stop.extended_changed.then_some(stop.extended),
            signal,
            info: stop.info,
            sender,
        });
    }
    let dead = inner.dead.take().is_some();
    task.trace.traced.store(false, Ordering::SeqCst);
    drop(inner);
    task.refresh_answers();
    let was_leader = task.is_leader() && task.group.leader_tracer.lock().take().is_some();
    let ended = tree.process(task.tgid()).is_some_and(|entry| entry.zombie.is_some());
    Freed { task: Arc::clone(task), options, dead, orphaned: dead && was_leader && ended }
}

/// Takes tracees out of a tracer's list.
fn take(tracer: &ThreadGroup, which: impl Fn(&Arc<Task>) -> bool) -> Vec<Arc<Task>> {
    let mut tracees = tracer.tracees.lock();
    let (taken, kept) = tracees.drain(..).partition(which);
    *tracees = kept;
    taken
}

/// Whether `task` is traced by this thread.
pub fn is_tracer(tracer: &Arc<Task>, task: &Task) -> bool {
    task.trace.tracer().is_some_and(|found| Arc::ptr_eq(&found, tracer))
}

/// `PTRACE_TRACEME`.
///
/// # Errors
/// EPERM.
pub fn trace_me(task: &Arc<Task>) -> Result<()> {
    if task.trace.is_traced() {
        return Err(Errno::EPERM);
    }
    let tree = task.kernel.tree.lock();
    let parent = tree.process(task.tgid()).and_then(|entry| {
        let process = tree.process(entry.parent)?;
        let maker = process.tasks.iter().find(|thread| thread.tid() == entry.parent_task);
        maker.or_else(|| process.member()).cloned()
    });
    let Some(parent) = parent else { return Ok(()) };
    let (own, other) = (task.cred(), parent.cred());
    let no_more =
        Arc::ptr_eq(&own.user_ns, &other.user_ns) && own.permitted.is_subset(other.permitted);
    if !no_more && !other.capable(&own.user_ns, CAP_SYS_PTRACE) {
        return Err(Errno::EPERM);
    }
    link(&parent, task, false, 0)
}

/// `PTRACE_ATTACH` and `PTRACE_SEIZE`, for a caller that may.
///
/// # Errors
/// EPERM.
pub fn attach(tracer: &Arc<Task>, tracee: &Arc<Task>, seized: bool, options: u32) -> Result<()> {
    {
        let tree = tracer.kernel.tree.lock();
        if tree.task(tracee.tid()).is_none() {
            return Err(Errno::EPERM);
        }
        link(tracer, tracee, seized, options)?;
    }
    if seized {
        tracee.interrupt.raise();
    } else {
        // A standard signal is not refused.
        let _ = send_to_task(tracee, SigInfo::kernel(SIGSTOP));
        tracee.interrupt.raise();
    }
    Ok(())
}

/// `PTRACE_DETACH` of a stopped tracee.
pub fn detach(tracer: &Arc<Task>, tracee: &Arc<Task>, signal: u32) {
    let sender = super::control::sender(tracer, tracee);
    {
        let tree = tracer.kernel.tree.lock();
        let taken = take(&tracer.group, |task| Arc::ptr_eq(task, tracee));
        for task in &taken {
            unlink(&tree, task, signal, sender);
        }
    }
    tracee.interrupt.raise();
}

/// The event that a tracer learns of when a task makes another, if it wants to.
pub fn clone_event(task: &Task, request: &CloneRequest) -> Option<u32> {
    if !task.trace.is_traced() || request.flags & CLONE_UNTRACED != 0 {
        return None;
    }
    let event = if request.flags & CLONE_VFORK != 0 {
        PTRACE_EVENT_VFORK
    } else if request.exit_signal != SIGCHLD {
        PTRACE_EVENT_CLONE
    } else {
        PTRACE_EVENT_FORK
    };
    wants(task, event).then_some(event)
}

/// Traces the child of a tracee as its parent is, and has it stop before it runs.
pub fn inherit(parent: &Task, child: &Arc<Task>, request: &CloneRequest, event: Option<u32>) {
    if !parent.trace.is_traced() || event.is_none() && request.flags & CLONE_PTRACE == 0 {
        return;
    }
    let found = {
        let inner = parent.trace.inner.lock();
        inner.link.as_ref().map(|link| (link.tracer.upgrade(), link.seized, link.options))
    };
    let Some((Some(tracer), seized, options)) = found else { return };
    if link(&tracer, child, seized, options).is_err() {
        return;
    }
    if seized {
        child.trace.inner.lock().trap = true;
    } else {
        let info = SigInfo::user(SIGSTOP, SI_KERNEL, 0, 0);
        // A standard signal is not refused.
        let _ = child.signals.lock().pending.push(info, usize::MAX);
    }
    child.interrupt.raise();
}

/// A stopped process was continued: tracers that have seized its threads learn it.
pub fn continued(task: &Task) {
    if !task.trace.is_traced() {
        return;
    }
    let mut inner = task.trace.inner.lock();
    if inner.link.as_ref().is_some_and(|link| link.seized) {
        inner.trap = true;
        leave_listening(&mut inner);
    }
}

/// A tracee that was listening stops anew.
pub(super) fn leave_listening(inner: &mut Inner) {
    if let Some(stop) = inner.stop.take_if(|stop| stop.listening) {
        inner.resumed = Some(Resumed {
            regs: stop.regs,
            extended: None,
            signal: 0,
            info: None,
            sender: (0, 0),
        });
    }
}

/// The thread has taken over its leader's id, in an `execve`: the old leader is forgotten.
pub fn became_leader(task: &Arc<Task>) {
    let old = task.group.leader_tracer.lock().take().and_then(|group| group.upgrade());
    if let Some(group) = old {
        let gone = take(&group, |other| {
            Arc::ptr_eq(&other.group, &task.group) && other.is_leader() && !Arc::ptr_eq(other, task)
        });
        drop(gone);
    }
    if let Some(tracer) = task.trace.tracer() {
        *task.group.leader_tracer.lock() = Some(Arc::downgrade(&tracer.group));
    }
}

/// Whether the parent does not learn yet that this process has ended, because another process traces it.
pub fn is_hidden(group: &ThreadGroup, parent: &ThreadGroup) -> bool {
    let tracer = group.leader_tracer.lock().clone();
    tracer.and_then(|tracer| tracer.upgrade()).is_some_and(|tracer| tracer.tgid != parent.tgid)
}

/// Whether this process traces the leader of another.
pub fn traces_leader(tracer: &ThreadGroup, group: &ThreadGroup) -> bool {
    let found = group.leader_tracer.lock().clone();
    found.and_then(|found| found.upgrade()).is_some_and(|found| found.tgid == tracer.tgid)
}

/// A task has exited: it stays for its tracer. Says whom to tell; called under the tree's lock.
pub fn died(task: &Arc<Task>, status: i32) -> Option<Arc<Task>> {
    let tracer = task.trace.tracer()?;
    let action = tracer.group.actions().get(SIGCHLD);
    if !task.is_leader() && (action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0) {
        forget(task, &tracer.group);
        return Some(tracer);
    }
    let mut inner = task.trace.inner.lock();
    inner.stop = None;
    inner.dead = Some(status);
    Some(tracer)
}

/// Takes the leader of a process that has ended, and whose parent is its tracer, from the tracer's list: the parent
/// sees a zombie.
pub fn forget_leader(group: &ThreadGroup) {
    let tracer = group.leader_tracer.lock().take().and_then(|tracer| tracer.upgrade());
    if let Some(tracer) = tracer {
        let leader = take(&tracer, |task| task.group.tgid == group.tgid && task.is_leader());
        for task in leader {
            clear(&task);
        }
    }
}

fn forget(task: &Arc<Task>, tracer: &ThreadGroup) {
    let taken = take(tracer, |other| Arc::ptr_eq(other, task));
    for task in taken {
        clear(&task);
    }
}

fn clear(task: &Task) {
    *task.trace.inner.lock() = Inner::default();
    task.trace.traced.store(false, Ordering::SeqCst);
}

/// A tracer exits: its tracees go on without it, or die if it wanted that.
pub fn tracer_exits(tracer: &Arc<Task>) {
    if tracer.group.tracees.lock().is_empty() {
        return;
    }
    let freed: Vec<Freed> = {
        let tree = tracer.kernel.tree.lock();
        let taken = take(&tracer.group, |task| is_tracer(tracer, task));
        taken.iter().map(|task| unlink(&tree, task, 0, (0, 0))).collect()
    };
    for freed in freed {
        if freed.orphaned {
            exit::give_to_parent(&tracer.kernel, freed.task.tgid());
        } else if !freed.dead {
            if freed.options & PTRACE_O_EXITKILL != 0 {
                begin_exit(&freed.task, SIGKILL.cast_signed());
            }
            freed.task.interrupt.raise();
        }
    }
}

/// What `wait` learns of a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It stopped: the signal, with the event above it.
    Stopped(u32),
    /// It has exited with this wait status.
    Exited(i32),
}

/// The tracees of a process, or of one of its threads.
pub fn tracees(task: &Arc<Task>, own: bool) -> Vec<Arc<Task>> {
    let tracees = task.group.tracees.lock();
    tracees.iter().filter(|tracee| !own || is_tracer(task, tracee)).cloned().collect()
}

/// What there is to tell of a tracee, which is told unless `options` say to leave it. Under the tree's lock. The flag
/// says that the parent is to be told now.
pub fn news(
    tree: &Tree,
    tracer: &ThreadGroup,
    tracee: &Arc<Task>,
    options: u32,
) -> Option<(News, bool)> {
    let mut inner = tracee.trace.inner.lock();
    let keep = options & WNOWAIT != 0;
    if let Some(mut status) = inner.dead {
        if options & WEXITED == 0 {
            return None;
        }
        let entry = tracee.is_leader().then(|| tree.process(tracee.tgid())).flatten();
        if let Some(entry) = entry {
            // The leader of a process that has threads left is no zombie yet.
            status = entry.zombie?.status;
        }
        drop(inner);
        if keep {
            return Some((News::Exited(status), false));
        }
        let was_leader = tracee.is_leader();
        if was_leader {
            *tracee.group.leader_tracer.lock() = None;
        }
        forget(tracee, tracer);
        return Some((News::Exited(status), was_leader && entry.is_some()));
    }
    let stop = inner.stop.as_mut().filter(|stop| !stop.reported && !stop.listening)?;
    stop.reported = !keep;
    Some((News::Stopped(stop.code), false))
}
