//! Resource limits and what was used.

use std::sync::Arc;

use chitin_abi::process::{
    CAP_SYS_RESOURCE, RLIMIT_CPU, RLIMIT_NOFILE, RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD,
    Rlimit,
};
use chitin_abi::{Errno, GuestAddr, Result};

use super::args::Resource;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::limits::{NR_OPEN, usage};
use crate::process::exec::space_limits;
use crate::process::find;
use crate::task::Task;

/// `getrlimit(2)`.
pub fn getrlimit(cx: &mut Ctx<'_>, resource: Resource, rlim: GuestAddr) -> SysResult {
    let limit = cx.task.group.limits.lock().limit(resource.0)?;
    cx.write(rlim, &limit)?;
    Ok(0)
}

/// `setrlimit(2)`.
pub fn setrlimit(cx: &mut Ctx<'_>, resource: Resource, rlim: GuestAddr) -> SysResult {
    let new: Rlimit = cx.read(rlim)?;
    replace(cx.task, cx.task, resource.0, Some(new))?;
    Ok(0)
}

/// `prlimit64(2)`.
pub fn prlimit64(
    cx: &mut Ctx<'_>,
    pid: i32,
    resource: Resource,
    new_limit: GuestAddr,
    old_limit: GuestAddr,
) -> SysResult {
    let new = if new_limit.is_null() { None } else { Some(cx.read::<Rlimit>(new_limit)?) };
    let target = find::task(cx.task, pid)?;
    may_limit(cx.task, &target)?;
    let old = replace(cx.task, &target, resource.0, new)?;
    cx.write_opt(old_limit, &old)?;
    Ok(0)
}

fn may_limit(caller: &Arc<Task>, target: &Arc<Task>) -> Result<()> {
    if Arc::ptr_eq(caller, target) {
        return Ok(());
    }
    let (own, other) = (caller.cred(), target.cred());
    let same_user = [other.ruid, other.euid, other.suid].iter().all(|id| *id == own.ruid);
    let same_group = [other.rgid, other.egid, other.sgid].iter().all(|id| *id == own.rgid);
    if same_user && same_group || own.capable(&other.user_ns, CAP_SYS_RESOURCE) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// Replaces a limit of a process and returns the old one.
fn replace(
    caller: &Arc<Task>,
    target: &Arc<Task>,
    resource: u32,
    new: Option<Rlimit>,
) -> Result<Rlimit> {
    let old = {
        let mut limits = target.group.limits.lock();
        let old = limits.limit(resource)?;
        let Some(new) = new else { return Ok(old) };
        if new.cur > new.max {
            return Err(Errno::EINVAL);
        }
        if resource == RLIMIT_NOFILE && new.max > NR_OPEN {
            return Err(Errno::EPERM);
        }
        if new.max > old.max && !caller.cred().capable_initial(CAP_SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
        limits.replace(resource, new);
        old
    };
    if let Some(mm) = target.mm() {
        mm.set_limits(space_limits(target));
    }
    if resource == RLIMIT_CPU {
        crate::time::cpu_timers::watch(target);
    }
    Ok(old)
}

/// `getrusage(2)`.
pub fn getrusage(cx: &mut Ctx<'_>, who: i32, usage: GuestAddr) -> SysResult {
    let task = cx.task;
    let value = match who {
        RUSAGE_SELF => usage::of_process(task),
        RUSAGE_CHILDREN => {
            let rss = task.group.max_rss.1.load(core::sync::atomic::Ordering::Relaxed);
            usage::rusage(usage::children_cpu(task), rss)
        }
        RUSAGE_THREAD => usage::of_thread(cx),
        _ => return Err(Errno::EINVAL.into()),
    };
    cx.write(usage, &value)?;
    Ok(0)
}
