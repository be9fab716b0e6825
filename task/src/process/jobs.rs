//! Job control: sessions, process groups, orphaned groups (`setpgid(2)`, `setsid(2)`).

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::signal::{SIGCONT, SIGHUP, SigInfo};
use chitin_abi::{Errno, Result};

use super::Tree;
use crate::signal::send_to_group;
use crate::task::Task;

/// Whether the task's process group is orphaned: no member has a parent in another group of the session.
pub fn is_orphaned(task: &Arc<Task>) -> bool {
    let tree = task.kernel.tree.lock();
    let Some(entry) = tree.process(task.tgid()) else { return true };
    pgrp_is_orphaned(&tree, entry.pgrp.global(), None)
}

/// The same for a group, as if process `leaving` were not there any more.
pub fn pgrp_is_orphaned(tree: &Tree, pgrp: u32, leaving: Option<u32>) -> bool {
    !tree.pgrp_members(pgrp).iter().any(|id| {
        let Some(entry) = tree.process(*id) else { return false };
        let parent = tree.process(entry.parent);
        Some(*id) != leaving
            && entry.zombie.is_none()
            // The first process of a container counts as any other: it is not the init of the host.
            && parent.is_some_and(|parent| {
                parent.pgrp.global() != pgrp
                    && parent.session.global() == entry.session.global()
            })
    })
}

/// `setsid(2)`: the new session's id in the caller's namespace.
///
/// # Errors
/// EPERM for a process group leader.
pub fn new_session(task: &Arc<Task>) -> Result<u32> {
    let id = task.tgid();
    let group = &task.group;
    let old = {
        let mut tree = task.kernel.tree.lock();
        if !tree.pgrp_members(id).is_empty() {
            return Err(Errno::EPERM);
        }
        let pgrp = tree.set_pgrp(id, Arc::clone(&group.pid));
        let entry = tree.process_mut(id).ok_or(Errno::ESRCH)?;
        (pgrp, core::mem::replace(&mut entry.session, Arc::clone(&group.pid)))
    };
    drop(old);
    let terminal = group.terminal.lock().take();
    drop(terminal);
    Ok(group.pid.local())
}

/// `setpgid(2)`; 0 stands for the caller or the process itself.
///
/// # Errors
/// EINVAL, ESRCH, EACCES, EPERM as documented.
pub fn set_pgrp(task: &Arc<Task>, pid: i32, pgrp: i32) -> Result<()> {
    if pgrp < 0 || pgrp == 0 && pid < 0 {
        return Err(Errno::EINVAL);
    }
    let ns = task.pid_ns();
    let caller = task.tgid();
    let mut tree = task.kernel.tree.lock();
    let target = match u32::try_from(pid).map_err(|_| Errno::ESRCH)? {
        0 => caller,
        number => ns.global(number).ok_or(Errno::ESRCH)?,
    };
    let session = Arc::clone(&tree.process(caller).ok_or(Errno::ESRCH)?.session);
    let entry = tree.process(target).ok_or(Errno::ESRCH)?;
    if target != caller {
        if entry.parent != caller {
            return Err(Errno::ESRCH);
        }
        if entry.session.global() != session.global() {
            return Err(Errno::EPERM);
        }
        if entry.group.has_execed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if entry.session.global() == target {
        return Err(Errno::EPERM);
    }
    let own = &entry.group.pid;
    let pgrp = if pgrp == 0 || pgrp.unsigned_abs() == own.in_ns(&ns) {
        Arc::clone(own)
    } else {
        let wanted = ns.global(pgrp.unsigned_abs()).ok_or(Errno::EPERM)?;
        let member = tree
            .pgrp_members(wanted)
            .first()
            .and_then(|id| tree.process(*id))
            .ok_or(Errno::EPERM)?;
        if member.session.global() != session.global() {
            return Err(Errno::EPERM);
        }
        Arc::clone(&member.pgrp)
    };
    let old = tree.set_pgrp(target, pgrp);
    drop(tree);
    drop(old);
    Ok(())
}

/// Hangs up stopped groups that the exit of `task`'s process orphans: SIGHUP, then SIGCONT to their members.
/// `candidates` are groups of its children and its own.
pub fn hang_up_orphans(task: &Arc<Task>, candidates: &[u32]) {
    let mut victims = Vec::new();
    {
        let tree = task.kernel.tree.lock();
        if !tree.any_stopped() {
            return;
        }
        for pgrp in candidates {
            let members = tree.pgrp_members(*pgrp).iter().filter_map(|id| tree.process(*id));
            let stopped = members.clone().any(|entry| entry.stopped);
            if stopped && pgrp_is_orphaned(&tree, *pgrp, Some(task.tgid())) {
                victims.extend(members.filter_map(|entry| entry.member().cloned()));
            }
        }
    }
    for victim in victims {
        for signal in [SIGHUP, SIGCONT] {
            // A queue that is full has signals enough.
            let _ = send_to_group(&victim, SigInfo::kernel(signal));
        }
    }
}
