//! Waiting for children: `wait4(2)`, `waitid(2)`.
//!
//! Cost of a wait that finds a zombie: one pass over the children under the tree's lock.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::process::{
    __WALL, __WCLONE, __WNOTHREAD, W_CONTINUED, WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WSTOPPED,
    w_stopcode,
};
use chitin_abi::signal::{CLD_CONTINUED, CLD_STOPPED, CLD_TRAPPED, SIGCHLD, SIGCONT};
use chitin_abi::{Errno, Result};

use super::exit::child_code;
use super::{GroupExit, ProcessEntry, ThreadGroup, Tree, Zombie};
use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::ptrace::link::{self, News};
use crate::scheduler::wait::Waiter;
use crate::task::Task;

/// Which children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any.
    Any,
    /// The one with this global id.
    Process(u32),
    /// Those of the process group with this global id.
    Group(u32),
    /// None: an id that no process has.
    Nobody,
}

/// What a wait found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// The child's id in the caller's namespace.
    pub pid: u32,
    /// Its real user id as the caller's namespace shows it.
    pub uid: u32,
    /// Wait status.
    pub status: i32,
    /// `si_code` and `si_status`.
    pub code: (i32, i32),
    /// CPU time with that of its children, nanoseconds.
    pub cpu: (u64, u64),
    /// Largest resident size in KiB.
    pub max_rss: u64,
}

/// Waits; `None` when nothing has happened and the caller does not want to wait.
///
/// # Errors
/// ECHILD; a restart when a signal comes first.
pub async fn wait(cx: &Ctx<'_>, target: Target, options: u32) -> SysResult<Option<Report>> {
    if let Some(report) = look(cx.task, target, options)? {
        return Ok(Some(report));
    }
    if options & WNOHANG != 0 {
        return Ok(None);
    }
    let waiter = Waiter::new();
    let _registration = waiter.register(&cx.task.group.child_events, PollEvents::POLLIN);
    loop {
        let seen = waiter.generation();
        if let Some(report) = look(cx.task, target, options)? {
            return Ok(Some(report));
        }
        cx.wait(Restart::Sys, waiter.changed(seen)).await?;
    }
}

/// Looks once.
///
/// # Errors
/// ECHILD when there is no child that the call could ever report.
fn look(task: &Arc<Task>, target: Target, options: u32) -> Result<Option<Report>> {
    let mut tree = task.kernel.tree.lock();
    let mut any = false;
    let mut found = None;
    for child in children(&tree, task) {
        let Some(entry) = tree.process(child) else { continue };
        if !matches(entry, task, target, options) {
            continue;
        }
        // As on Linux, a zombie is nothing to wait for where the call does not take exits.
        any |= entry.zombie.is_none() || options & WEXITED != 0 || is_hidden(entry, &task.group);
        if let Some(change) = change(entry, &task.group, options) {
            found = Some((child, change));
            break;
        }
    }
    if found.is_none() {
        let (report, tracees) = look_at_tracees(&tree, task, target, options);
        any |= tracees;
        if let Some((report, ended)) = report {
            drop(tree);
            if let Some(ended) = ended {
                super::exit::give_to_parent(&task.kernel, ended);
            }
            return Ok(Some(report));
        }
    }
    let Some((child, change)) = found else {
        return if any { Ok(None) } else { Err(Errno::ECHILD) };
    };
    let report = tree.process(child).map(|entry| report(task, entry, change));
    let gone = if options & WNOWAIT == 0 { consume(&mut tree, task, child, change) } else { None };
    drop(tree);
    drop(gone);
    Ok(report)
}

/// What there is to tell of tracees, with the process of which the parent learns then; and whether there are any.
fn look_at_tracees(
    tree: &Tree,
    task: &Arc<Task>,
    target: Target,
    options: u32,
) -> (Option<(Report, Option<u32>)>, bool) {
    if task.group.tracees.lock().is_empty() {
        return (None, false);
    }
    let mut any = false;
    for tracee in link::tracees(task, options & __WNOTHREAD != 0) {
        let right_one = match target {
            Target::Any => true,
            Target::Process(id) => tracee.tid() == id,
            Target::Group(id) => {
                tree.process(tracee.tgid()).is_some_and(|entry| entry.pgrp.global() == id)
            }
            Target::Nobody => false,
        };
        if !right_one {
            continue;
        }
        any = true;
        let Some((news, ended)) = link::news(tree, &task.group, &tracee, options) else { continue };
        let (status, code) = match news {
            // The event stands above the signal.
            News::Stopped(code) => {
                ((code << 8 | 0x7f).cast_signed(), (CLD_TRAPPED, code.cast_signed()))
            }
            News::Exited(status) => (status, child_code(status)),
        };
        let pid = tracee.pid().in_ns(&task.pid_ns());
        let uid = task.cred().show_uid(tracee.cred().ruid);
        let report = Report { pid, uid, status, code, ..Report::default() };
        return (Some((report, ended.then(|| tracee.tgid()))), true);
    }
    (None, any)
}

fn children(tree: &Tree, task: &Task) -> Vec<u32> {
    tree.process(task.tgid()).map(|entry| entry.children.clone()).unwrap_or_default()
}

fn matches(entry: &ProcessEntry, task: &Task, target: Target, options: u32) -> bool {
    let right_one = match target {
        Target::Any => true,
        Target::Process(id) => entry.group.tgid == id,
        Target::Group(id) => entry.pgrp.global() == id,
        Target::Nobody => false,
    };
    let is_clone = entry.exit_signal != SIGCHLD;
    let kind = options & __WALL != 0 || is_clone == (options & __WCLONE != 0);
    let own = options & __WNOTHREAD == 0 || entry.parent_task == task.tid();
    right_one && kind && own
}

#[derive(Clone, Copy)]
enum Change {
    Exited(Zombie),
    Stopped(u32),
    Continued,
}

fn change(entry: &ProcessEntry, own: &ThreadGroup, options: u32) -> Option<Change> {
    if let Some(zombie) = entry.zombie {
        let taken = options & WEXITED != 0 && !is_hidden(entry, own);
        return taken.then_some(Change::Exited(zombie));
    }
    if matches!(*entry.group.exit.lock(), GroupExit::Exiting(_)) {
        return None;
    }
    if options & WSTOPPED != 0
        && let Some(signal) = entry.stop_report
        && !link::traces_leader(own, &entry.group)
    {
        return Some(Change::Stopped(signal));
    }
    (options & WCONTINUED != 0 && entry.continue_report).then_some(Change::Continued)
}

/// Whether a tracer learns of this zombie first.
fn is_hidden(entry: &ProcessEntry, own: &ThreadGroup) -> bool {
    link::is_hidden(&entry.group, own)
}

fn report(task: &Task, entry: &ProcessEntry, change: Change) -> Report {
    let pid = entry.group.pid.in_ns(&task.pid_ns());
    let cred = task.cred();
    match change {
        Change::Exited(zombie) => Report {
            pid,
            uid: cred.show_uid(zombie.uid),
            status: zombie.status,
            code: child_code(zombie.status),
            cpu: sum(zombie.cpu, zombie.children_cpu),
            max_rss: zombie.max_rss,
        },
        Change::Stopped(_) | Change::Continued => {
            let (status, code) = match change {
                Change::Stopped(signal) => {
                    (w_stopcode(signal, 0), (CLD_STOPPED, signal.cast_signed()))
                }
                _ => (W_CONTINUED, (CLD_CONTINUED, SIGCONT.cast_signed())),
            };
            let uid = entry.member().map_or(0, |member| member.cred().ruid);
            Report { pid, uid: cred.show_uid(uid), status, code, ..Report::default() }
        }
    }
}

fn sum(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
}

/// Takes the report away, so that it is made once.
fn consume(tree: &mut Tree, task: &Task, child: u32, change: Change) -> Option<ProcessEntry> {
    match change {
        Change::Exited(zombie) => {
            let cpu = sum(zombie.cpu, zombie.children_cpu);
            let group = &task.group;
            group.children_cpu.0.fetch_add(cpu.0, Ordering::Relaxed);
            group.children_cpu.1.fetch_add(cpu.1, Ordering::Relaxed);
            group.max_rss.1.fetch_max(zombie.max_rss, Ordering::Relaxed);
            return tree.remove_process(child);
        }
        Change::Stopped(_) => {
            if let Some(entry) = tree.process_mut(child) {
                entry.stop_report = None;
            }
        }
        Change::Continued => {
            if let Some(entry) = tree.process_mut(child) {
                entry.continue_report = false;
            }
        }
    }
    None
}
