//! The end of threads and processes (`exit(2)`, `exit_group(2)`, `wait(2)`'s zombies).
//!
//! Order, as others may see it: the thread's words in guest memory (robust list, clear-child-tid), then its
//! guest thread, then the address space, descriptors and directories, and last its place in the tree: a waiter
//! that sees the zombie sees everything of it gone.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{
    CLD_DUMPED, CLD_EXITED, CLD_KILLED, SA_NOCLDWAIT, SIG_IGN, SIGCHLD, SIGKILL, SigInfo,
};
use chitin_mm::platform::GuestThread;
use chitin_vfs::fdtable::FdTable;

use super::{GroupExit, Tree, Zombie, jobs};
use crate::kernel::Kernel;
use crate::limits::usage;
use crate::namespace::PidNamespace;
use crate::ptrace::link;
use crate::scheduler::wait::Waiter;
use crate::signal::{begin_exit, send_to_group, send_to_task};
use crate::task::Task;

/// Makes one thread exit alone (`exit(2)`): its status counts only if it is the last.
pub fn exit_thread(task: &Arc<Task>, status: i32) {
    task.exit_alone.store(i64::from(status), Ordering::SeqCst);
    task.interrupt.raise();
}

/// Takes a task out of the world. `status` is what the process reports if this is its last thread.
pub async fn exit_task(task: &Arc<Task>, thread: Option<Box<dyn GuestThread>>, status: i32) {
    if task.exiting.swap(true, Ordering::SeqCst) {
        return;
    }
    let kernel = Arc::clone(&task.kernel);
    leave_memory(task, thread);
    leave_files(task);
    link::tracer_exits(task);
    task.seccomp_reset();
    kernel.users.remove(task.cred().ruid);
    if last_thread(task) {
        crate::ipc::exit_process(task);
        end_children_of_ns(task).await;
    }
    let after = {
        let mut tree = kernel.tree.lock();
        remove_from_tree(&mut tree, task, status)
    };
    if after.process_ended {
        // Two threads may have been the last but one.
        crate::ipc::exit_process(task);
    }
    task.group.thread_gone.notify(PollEvents::POLLIN);
    after.carry_out(&kernel, task);
    if let Some(remains) = task.remains.lock().take() {
        // Behind those who have been told just now.
        kernel.scheduler.spawn(async move { remains.end() });
    }
}

fn last_thread(task: &Arc<Task>) -> bool {
    let tree = task.kernel.tree.lock();
    tree.process(task.tgid()).is_some_and(|entry| entry.tasks.len() <= 1)
}

/// What the guest's memory learns, and the end of the guest thread and, with its last user, of the address space.
fn leave_memory(task: &Arc<Task>, thread: Option<Box<dyn GuestThread>>) {
    task.interrupt.set_guest(None);
    if let Some(mm) = task.mm() {
        usage::account_thread(task, &mm, thread.as_deref());
        crate::futex::robust::release_thread_words(task, &mm);
    }
    drop(thread);
    if let Some(mm) = task.replace_mm(None)
        && let Some(cpu) = mm.take_last_cpu()
    {
        usage::account_space(task, cpu);
    }
    if let Some(done) = task.vfork_done.lock().take() {
        done.complete();
    }
}

fn leave_files(task: &Arc<Task>) {
    let files = task.replace_files(FdTable::new());
    release_files(files);
}

/// Gives up a descriptor table: the last user closes everything in it, which is more than dropping it.
pub fn release_files(files: Arc<FdTable>) {
    if Arc::strong_count(&files) == 1 {
        files.clear();
    }
    drop(files);
}

/// A new parent that learns of a zombie: its process, a thread of it, the zombie's id, user and wait status.
type Heir = (Arc<super::ThreadGroup>, Option<Arc<Task>>, Arc<crate::namespace::Pid>, u32, i32);

/// What is left to do once the tree's lock is released.
#[derive(Default)]
struct After {
    /// Tell the parent: the process is a zombie, or gone when it is not interested.
    parent: Option<Arc<Task>>,
    parent_group: Option<Arc<super::ThreadGroup>>,
    exit_signal: u32,
    status: i32,
    process_ended: bool,
    reaped: Vec<super::ProcessEntry>,
    /// Children whose parent thread has gone and that asked for a signal then.
    death_signals: Vec<(Arc<Task>, u32)>,
    /// Process groups that may be orphaned now.
    groups: Vec<u32>,
    /// Zombie children that new parents learn of.
    heirs: Vec<Heir>,
    /// The session that has lost its leader.
    hang_up: Option<u32>,
    outside: bool,
    /// Tracers that learn of an end: whose, with which status.
    tracers: Vec<(Arc<Task>, Arc<crate::namespace::Pid>, i32)>,
}

fn remove_from_tree(tree: &mut Tree, task: &Arc<Task>, status: i32) -> After {
    let mut after = After::default();
    let tgid = task.tgid();
    let left = tree.remove_task(task);
    let cpu = task.cpu.get();
    task.group.dead_cpu.0.fetch_add(cpu.0, Ordering::Relaxed);
    task.group.dead_cpu.1.fetch_add(cpu.1, Ordering::Relaxed);
    orphan_children_of_task(tree, task, left, &mut after);
    let tracer = link::died(task, status);
    if left > 0 {
        after.tracers.extend(tracer.map(|tracer| (tracer, task.pid(), status)));
        return after;
    }
    let status = match *task.group.exit.lock() {
        GroupExit::Exiting(status) => status,
        _ => status,
    };
    let Some(entry) = tree.process_mut(tgid) else { return after };
    entry.zombie = Some(zombie(task, status));
    entry.name.clone_from(&task.name.lock());
    entry.stop_report = None;
    entry.continue_report = false;
    let pgrp = entry.pgrp.global();
    after.process_ended = true;
    after.status = status;
    let (parent, exit_signal, leader) =
        (entry.parent, entry.exit_signal, entry.session.global() == tgid);
    tree.set_stopped(tgid, false);
    if holds_group(tree, parent, tgid) {
        after.groups.push(pgrp);
    }
    after.hang_up = leader.then_some(tgid);
    if !task.is_leader() {
        after.tracers.extend(tracer.map(|tracer| (tracer, task.pid(), status)));
    }
    let own_parent = tree.process(parent).map(|entry| Arc::clone(&entry.group));
    let tracer = task.group.leader_tracer.lock().clone().and_then(|tracer| tracer.upgrade());
    match (tracer, own_parent) {
        (Some(tracer), Some(parent)) if tracer.tgid == parent.tgid => {
            link::forget_leader(&task.group);
        }
        (Some(tracer), _) => {
            // The parent learns of it when the tracer has.
            let member = tree.process(tracer.tgid).and_then(|entry| entry.member());
            let pid = Arc::clone(&task.group.pid);
            after.tracers.extend(member.map(|member| (Arc::clone(member), pid, status)));
            return after;
        }
        (None, _) => {}
    }
    settle_with_parent(tree, tgid, parent, exit_signal, &mut after);
    after
}

/// The tracer of a process that has ended is done with it: its parent learns of it.
pub fn give_to_parent(kernel: &Arc<Kernel>, tgid: u32) {
    let mut after = After::default();
    let found = {
        let mut tree = kernel.tree.lock();
        let found = tree.process(tgid).and_then(|entry| {
            let zombie = entry.zombie?;
            Some((Arc::clone(&entry.group), entry.parent, entry.exit_signal, zombie))
        });
        if let Some((_, parent, exit_signal, zombie)) = &found {
            after.status = zombie.status;
            settle_with_parent(&mut tree, tgid, *parent, *exit_signal, &mut after);
        }
        found
    };
    let Some((group, _, _, zombie)) = found else { return };
    after.tell_parent(&group, zombie.uid);
    if after.outside {
        kernel.exits.record(tgid, after.status);
    }
}

fn zombie(task: &Arc<Task>, status: i32) -> Zombie {
    let load = |pair: &(core::sync::atomic::AtomicU64, core::sync::atomic::AtomicU64)| {
        (pair.0.load(Ordering::Relaxed), pair.1.load(Ordering::Relaxed))
    };
    let cred = task.cred();
    let rss = load(&task.group.max_rss);
    Zombie {
        status,
        uid: cred.ruid,
        gid: cred.rgid,
        cpu: load(&task.group.dead_cpu),
        children_cpu: load(&task.group.children_cpu),
        max_rss: rss.0.max(rss.1),
    }
}

/// Decides whether a zombie stays for its parent, and whom to tell.
fn settle_with_parent(
    tree: &mut Tree,
    tgid: u32,
    parent: u32,
    exit_signal: u32,
    after: &mut After,
) {
    let Some(entry) = tree.process(parent) else {
        after.outside = true;
        after.reaped.extend(tree.remove_process(tgid));
        return;
    };
    after.parent = entry.member().cloned();
    after.parent_group = Some(Arc::clone(&entry.group));
    after.exit_signal = exit_signal;
    if ignores_children(entry, exit_signal) {
        if entry.group.actions().get(SIGCHLD).handler == SIG_IGN {
            after.exit_signal = 0;
        }
        after.reaped.extend(tree.remove_process(tgid));
    }
}

fn ignores_children(parent: &super::ProcessEntry, exit_signal: u32) -> bool {
    if exit_signal != SIGCHLD {
        return false;
    }
    let action = parent.group.actions().get(SIGCHLD);
    action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0
}

/// Gives the children that this thread made to another thread of the process, or, when it was the last, all
/// children to the nearest subreaper or the first process of the namespace.
fn orphan_children_of_task(tree: &mut Tree, task: &Arc<Task>, left: usize, after: &mut After) {
    let (tgid, tid) = (task.tgid(), task.tid());
    let Some(entry) = tree.process(tgid) else { return };
    if entry.children.is_empty() {
        return;
    }
    let children = entry.children.clone();
    let sibling = entry.member().map_or(0, |member| member.tid());
    let heir = if left == 0 { find_reaper(tree, task) } else { (tgid, sibling) };
    for child in children {
        let Some(entry) = tree.process_mut(child) else { continue };
        if entry.parent_task == tid || left == 0 {
            for thread in &entry.tasks {
                let signal = thread.parent_death_signal.load(Ordering::Relaxed);
                if signal != 0 {
                    after.death_signals.push((Arc::clone(thread), signal));
                }
            }
            if left > 0 {
                entry.parent_task = sibling;
            }
        }
        if left == 0 {
            let pgrp = entry.pgrp.global();
            if holds_group(tree, tgid, child) {
                after.groups.push(pgrp);
            }
            give_child(tree, child, heir, after);
        }
    }
}

/// Whether this parent keeps its child's process group from being orphaned: it is of another group of the session.
fn holds_group(tree: &Tree, parent: u32, child: u32) -> bool {
    let (Some(parent), Some(child)) = (tree.process(parent), tree.process(child)) else {
        return false;
    };
    let differs = |of: fn(&super::ProcessEntry) -> u32| of(parent) != of(child);
    differs(|entry| entry.pgrp.global()) && !differs(|entry| entry.session.global())
}

fn give_child(tree: &mut Tree, child: u32, heir: (u32, u32), after: &mut After) {
    tree.reparent(child, heir.0, heir.1);
    if let Some(entry) = tree.process(child) {
        entry.tasks.iter().for_each(|task| task.refresh_parent(tree));
    }
    let Some(entry) = tree.process_mut(child) else { return };
    // Whatever signal the old parent asked for, a new one gets SIGCHLD.
    entry.exit_signal = SIGCHLD;
    let Some(zombie) = entry.zombie else { return };
    let pid = Arc::clone(&entry.group.pid);
    let Some(parent) = tree.process(heir.0) else {
        after.reaped.extend(tree.remove_process(child));
        return;
    };
    if ignores_children(parent, SIGCHLD) {
        after.reaped.extend(tree.remove_process(child));
        return;
    }
    let parent = tree.process(heir.0);
    if let Some(parent) = parent {
        after.heirs.push((
            Arc::clone(&parent.group),
            parent.member().cloned(),
            pid,
            zombie.uid,
            zombie.status,
        ));
    }
}

/// Who takes the children of a process that ends: process and thread.
fn find_reaper(tree: &Tree, task: &Arc<Task>) -> (u32, u32) {
    let ns = task.pid_ns();
    if task.group.has_subreaper.load(Ordering::Relaxed) {
        let mut at = tree.process(task.tgid()).map_or(0, |entry| entry.parent);
        while let Some(entry) = tree.process(at) {
            if entry.group.pid.namespace().is_none_or(|other| !Arc::ptr_eq(other, &ns))
                || entry.group.is_init
            {
                break;
            }
            if entry.group.child_subreaper.load(Ordering::Relaxed) && entry.member().is_some() {
                return (at, entry.member().map_or(0, |member| member.tid()));
            }
            at = entry.parent;
        }
    }
    let init = ns
        .global(1)
        .and_then(|id| tree.process(id))
        .filter(|entry| entry.group.tgid != task.tgid());
    init.map_or((0, 0), |entry| (entry.group.tgid, entry.member().map_or(0, |member| member.tid())))
}

impl After {
    fn carry_out(self, kernel: &Arc<Kernel>, task: &Arc<Task>) {
        for (child, signal) in &self.death_signals {
            // A signal number was checked when it was set; a full queue loses it.
            let _ = send_to_task(child, SigInfo::kernel(*signal));
        }
        for (group, member, pid, uid, status) in &self.heirs {
            if let Some(member) = member {
                let number = pid.in_ns(&member.pid_ns());
                tell(member, SIGCHLD, number, member.cred().show_uid(*uid), *status, (0, 0));
            }
            group.child_events.notify(PollEvents::POLLIN);
        }
        for (tracer, pid, status) in &self.tracers {
            let number = pid.in_ns(&tracer.pid_ns());
            let uid = tracer.cred().show_uid(task.cred().ruid);
            tell(tracer, SIGCHLD, number, uid, *status, (0, 0));
            tracer.group.child_events.notify(PollEvents::POLLIN);
        }
        if self.process_ended {
            jobs::hang_up_orphans(task, &self.groups);
            task.group.exited.store(true, Ordering::SeqCst);
            task.group.timers.lock().clear();
            self.tell_parent(&task.group, task.cred().ruid);
            task.group.exit_event.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
            if let (Some(session), Some(terminal)) =
                (self.hang_up, crate::terminal::controlling(task))
            {
                terminal.session_left(session, true);
            }
            if self.outside {
                kernel.exits.record(task.tgid(), self.status);
            }
        }
        notify_namespaces(task);
        drop(self.reaped);
    }

    fn tell_parent(&self, group: &super::ThreadGroup, uid: u32) {
        if let (Some(parent), 1..) = (&self.parent, self.exit_signal) {
            let pid = group.pid.in_ns(&parent.pid_ns());
            let uid = parent.cred().show_uid(uid);
            let cpu = (
                group.dead_cpu.0.load(Ordering::Relaxed),
                group.dead_cpu.1.load(Ordering::Relaxed),
            );
            tell(parent, self.exit_signal, pid, uid, self.status, cpu);
        }
        if let Some(group) = &self.parent_group {
            group.child_events.notify(PollEvents::POLLIN);
        }
    }
}

const TICK: u64 = 10_000_000;

/// `si_code` and `si_status` of an end with this wait status.
pub const fn child_code(status: i32) -> (i32, i32) {
    if status & 0x7f == 0 {
        (CLD_EXITED, (status >> 8) & 0xff)
    } else if status & 0x80 != 0 {
        (CLD_DUMPED, status & 0x7f)
    } else {
        (CLD_KILLED, status & 0x7f)
    }
}

fn tell(parent: &Arc<Task>, signal: u32, pid: u32, uid: u32, status: i32, cpu: (u64, u64)) {
    let (code, status) = child_code(status);
    let info =
        SigInfo::child(signal, code, pid, uid, status).with_times(cpu.0 / TICK, cpu.1 / TICK);
    // A full queue loses the signal, as on Linux; wait sees the zombie all the same.
    let _ = send_to_group(parent, info);
}

fn notify_namespaces(task: &Arc<Task>) {
    for (ns, _) in task.group.pid.levels() {
        ns.gone.notify(PollEvents::POLLIN);
    }
}

/// The first process of a pid namespace takes all others of it along, and waits until they are gone.
async fn end_children_of_ns(task: &Arc<Task>) {
    if !task.group.is_init {
        return;
    }
    let ns = task.pid_ns();
    ns.close();
    let waiter = Waiter::new();
    let _registration = waiter.register(&ns.gone, PollEvents::POLLIN);
    loop {
        let seen = waiter.generation();
        let others = members_of(task, &ns);
        if others.is_empty() {
            return;
        }
        for other in others {
            begin_exit(&other, SIGKILL.cast_signed());
        }
        waiter.changed(seen).await;
    }
}

/// One living thread of each other process in a namespace or below it. Zombies whose parent is the first process
/// go at once.
fn members_of(task: &Arc<Task>, ns: &Arc<PidNamespace>) -> Vec<Arc<Task>> {
    let mut tree = task.kernel.tree.lock();
    let inside = |entry: &super::ProcessEntry| {
        entry.group.pid.in_ns(ns) != 0 && entry.group.tgid != task.tgid()
    };
    let zombies: Vec<u32> = tree
        .processes()
        .filter(|(_, entry)| inside(entry) && entry.zombie.is_some() && entry.parent == task.tgid())
        .map(|(id, _)| id)
        .collect();
    let reaped: Vec<_> = zombies.into_iter().filter_map(|id| tree.remove_process(id)).collect();
    let living = tree
        .processes()
        .filter(|(_, entry)| inside(entry))
        .filter_map(|(_, entry)| entry.member().cloned());
    let living = living.collect();
    drop(tree);
    drop(reaped);
    living
}
