//! Job control: sessions, process groups, orphaned groups (`setpgid(2)`, `setsid(2)`).

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
    group_is_orphaned(&tree, entry.pgrp, None)
}

/// The same for a group, as if process `leaving` were not there any more.
pub fn group_is_orphaned(tree: &Tree, pgrp: u32, leaving: Option<u32>) -> bool {
    !tree.processes().any(|(id, entry)| {
        entry.pgrp == pgrp
            && Some(id) != leaving
            && entry.zombie.is_none()
            && tree.process(entry.parent).is_some_and(|parent| parent.pgrp != pgrp && parent.session == entry.session)
    })
}

/// `setsid(2)`.
///
/// # Errors
/// EPERM for a process group leader.
pub fn new_session(task: &Arc<Task>) -> Result<u32> {
    let mut tree = task.kernel.tree.lock();
    let id = task.tgid();
    if tree.processes().any(|(_, entry)| entry.pgrp == id) {
        return Err(Errno::EPERM);
    }
    let entry = tree.process_mut(id).ok_or(Errno::ESRCH)?;
    entry.session = id;
    entry.pgrp = id;
    drop(tree);
    *task.group.terminal.lock() = None;
    Ok(id)
}

/// `setpgid(2)`; 0 stands for the caller or the process itself.
///
/// # Errors
/// EINVAL, ESRCH, EACCES, EPERM as documented.
pub fn set_group(task: &Arc<Task>, pid: i32, pgrp: i32) -> Result<()> {
    let caller = task.tgid();
    let pid = if pid == 0 { caller } else { u32::try_from(pid).map_err(|_| Errno::ESRCH)? };
    let pgrp = if pgrp == 0 { pid } else { u32::try_from(pgrp).map_err(|_| Errno::EINVAL)? };
    let mut tree = task.kernel.tree.lock();
    let session = tree.process(caller).ok_or(Errno::ESRCH)?.session;
    let entry = tree.process(pid).filter(|entry| entry.zombie.is_none()).ok_or(Errno::ESRCH)?;
    if pid != caller {
        if entry.parent != caller {
            return Err(Errno::ESRCH);
        }
        if entry.session != session {
            return Err(Errno::EPERM);
        }
        if entry.group.has_execed.load(core::sync::atomic::Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if entry.session == pid {
        return Err(Errno::EPERM);
    }
    if pgrp != pid && !tree.processes().any(|(_, other)| other.pgrp == pgrp && other.session == session) {
        return Err(Errno::EPERM);
    }
    tree.process_mut(pid).ok_or(Errno::ESRCH)?.pgrp = pgrp;
    Ok(())
}

/// Hangs up stopped groups that the exit of `leaving` orphans: SIGHUP, then SIGCONT to their members.
pub fn hang_up_orphans(task: &Arc<Task>, before: &[u32]) {
    let mut victims = Vec::new();
    {
        let tree = task.kernel.tree.lock();
        for pgrp in before {
            let stopped = tree.processes().any(|(_, entry)| entry.pgrp == *pgrp && entry.stopped);
            if stopped && group_is_orphaned(&tree, *pgrp, Some(task.tgid())) {
                let members = tree.processes().filter(|(_, entry)| entry.pgrp == *pgrp);
                victims.extend(members.filter_map(|(_, entry)| entry.tasks.first().cloned()));
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
