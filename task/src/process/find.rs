//! Finding tasks by the numbers that guests use, and what a task may do to another.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::process::CAP_SYS_PTRACE;
use chitin_abi::{Errno, Result};

use crate::task::Task;

/// The thread of this number in the caller's namespace; 0 is the caller. A process whose leader has gone is found
/// by its oldest thread.
///
/// # Errors
/// ESRCH.
pub fn task(caller: &Arc<Task>, number: i32) -> Result<Arc<Task>> {
    if number == 0 {
        return Ok(Arc::clone(caller));
    }
    let number = u32::try_from(number).map_err(|_| Errno::ESRCH)?;
    let global = caller.pid_ns().global(number).ok_or(Errno::ESRCH)?;
    let tree = caller.kernel.tree.lock();
    let task = tree.task(global).or_else(|| tree.process(global).and_then(|entry| entry.member()));
    task.cloned().ok_or(Errno::ESRCH)
}

/// Whether the caller may look into a task as a debugger would (`ptrace(2)`, "access mode checking").
/// `real` asks by the real ids instead of those for files.
///
/// # Errors
/// EPERM.
pub fn may_inspect(caller: &Arc<Task>, target: &Arc<Task>, real: bool) -> Result<()> {
    if Arc::ptr_eq(&caller.group, &target.group) {
        return Ok(());
    }
    let (own, other) = (caller.cred(), target.cred());
    let (uid, gid) = if real { (own.ruid, own.rgid) } else { (own.fsuid, own.fsgid) };
    let same_user = [other.euid, other.suid, other.ruid].iter().all(|id| *id == uid);
    let same_group = [other.egid, other.sgid, other.rgid].iter().all(|id| *id == gid);
    let privileged = own.capable(&other.user_ns, CAP_SYS_PTRACE);
    let own_kind = same_user && same_group;
    let dumpable = target.group.dumpable.load(Ordering::Relaxed) == 1;
    let allowed = privileged || own_kind && dumpable;
    if !allowed {
        return Err(Errno::EPERM);
    }
    let no_more =
        Arc::ptr_eq(&own.user_ns, &other.user_ns) && other.permitted.is_subset(own.permitted);
    if no_more || privileged { Ok(()) } else { Err(Errno::EPERM) }
}
