//! Scheduling: policies, priorities, affinity. All of it is checked, kept and shown again; the host schedules.

use std::sync::Arc;

use chitin_abi::process::{
    CAP_SYS_NICE, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_MASK, IOPRIO_CLASS_NONE,
    IOPRIO_CLASS_RT, IOPRIO_CLASS_SHIFT, IOPRIO_NR_LEVELS, IOPRIO_WHO_PGRP, IOPRIO_WHO_PROCESS,
    IOPRIO_WHO_USER, PRIO_PGRP, PRIO_PROCESS, PRIO_USER, RLIMIT_NICE, RLIMIT_RTPRIO,
    SCHED_ATTR_SIZE_VER0, SCHED_ATTR_SIZE_VER1, SCHED_DEADLINE, SCHED_FLAG_ALL,
    SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_RESET_ON_FORK, SCHED_IDLE,
    SCHED_NORMAL, SCHED_RESET_ON_FORK, SCHED_RR, SchedAttr, SchedParam,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use zerocopy::IntoBytes;

use super::args::Flags;
use super::process::read_extensible;
use crate::context::Ctx;
use crate::cred::Credentials;
use crate::error::SysResult;
use crate::limits::SchedParams;
use crate::limits::sched::{is_realtime, priority_range};
use crate::process::find;
use crate::task::Task;

/// What a thread of `SCHED_RR` runs before the next one.
const RR_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// What a fair thread runs at most.
const FAIR_SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_800_000 };

/// `sched_yield(2)`.
pub fn sched_yield(cx: &mut Ctx<'_>) -> SysResult {
    let _ = cx;
    Ok(0)
}

/// A thread by a number that must not be negative.
fn target(cx: &Ctx<'_>, pid: i32) -> Result<Arc<Task>> {
    if pid < 0 { Err(Errno::EINVAL) } else { find::task(cx.task, pid) }
}

/// Whether the caller may change how a thread is scheduled, by user.
fn same_user(own: &Credentials, other: &Credentials) -> bool {
    own.euid == other.ruid || own.euid == other.euid
}

/// What a change asks for.
struct Change {
    policy: u32,
    priority: u32,
    nice: Option<i32>,
    reset_on_fork: bool,
    deadline: (u64, u64, u64),
}

fn change(cx: &Ctx<'_>, target: &Arc<Task>, wanted: &Change) -> SysResult {
    let (low, high) = priority_range(wanted.policy)?;
    if wanted.priority < low || wanted.priority > high {
        return Err(Errno::EINVAL.into());
    }
    if wanted.policy == SCHED_DEADLINE {
        let (runtime, deadline, period) = wanted.deadline;
        let period = if period == 0 { deadline } else { period };
        if deadline == 0
            || runtime < 1024
            || runtime > deadline
            || deadline > period
            || (deadline | period) >> 63 != 0
        {
            return Err(Errno::EINVAL.into());
        }
    }
    let (own, other) = (cx.task.cred(), target.cred());
    let limits = target.group.limits();
    let mut sched = target.sched.lock();
    if !own.capable_initial(CAP_SYS_NICE) {
        let most = limits.soft(RLIMIT_RTPRIO);
        let needs_more = is_realtime(wanted.policy)
            && (sched.policy != wanted.policy && most == 0
                || wanted.priority > sched.priority && u64::from(wanted.priority) > most);
        let lower_nice =
            wanted.nice.is_some_and(|nice| nice < sched.nice && !may_nice(&limits, nice));
        let leaves_idle = sched.policy == SCHED_IDLE
            && wanted.policy != SCHED_IDLE
            && !may_nice(&limits, sched.nice);
        let clears_reset = sched.reset_on_fork && !wanted.reset_on_fork;
        if needs_more
            || lower_nice
            || leaves_idle
            || clears_reset
            || wanted.policy == SCHED_DEADLINE
            || !same_user(&own, &other)
        {
            return Err(Errno::EPERM.into());
        }
    }
    sched.policy = wanted.policy;
    sched.priority = wanted.priority;
    sched.reset_on_fork = wanted.reset_on_fork;
    sched.deadline = wanted.deadline;
    if let Some(nice) = wanted.nice {
        sched.nice = nice;
    }
    Ok(0)
}

/// Whether `RLIMIT_NICE` allows this nice value.
fn may_nice(limits: &crate::limits::Limits, nice: i32) -> bool {
    let rank = u64::from((20 - nice).unsigned_abs());
    rank <= limits.soft(RLIMIT_NICE)
}

fn read_priority(cx: &Ctx<'_>, param: GuestAddr) -> Result<u32> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    let param: SchedParam = cx.read(param)?;
    u32::try_from(param.sched_priority).map_err(|_| Errno::EINVAL)
}

/// `sched_setscheduler(2)`.
pub fn sched_setscheduler(cx: &mut Ctx<'_>, pid: i32, policy: i32, param: GuestAddr) -> SysResult {
    let policy = u32::try_from(policy).map_err(|_| Errno::EINVAL)?;
    let reset_on_fork = policy & SCHED_RESET_ON_FORK != 0;
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let priority = read_priority(cx, param)?;
    let target = target(cx, pid)?;
    let policy = policy & !SCHED_RESET_ON_FORK;
    if policy == SCHED_DEADLINE {
        return Err(Errno::EINVAL.into());
    }
    change(
        cx,
        &target,
        &Change { policy, priority, nice: None, reset_on_fork, deadline: (0, 0, 0) },
    )
}

/// `sched_setparam(2)`.
pub fn sched_setparam(cx: &mut Ctx<'_>, pid: i32, param: GuestAddr) -> SysResult {
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let priority = read_priority(cx, param)?;
    let target = target(cx, pid)?;
    let now = target.sched.lock().clone();
    let SchedParams { policy, reset_on_fork, deadline, .. } = now;
    change(cx, &target, &Change { policy, priority, nice: None, reset_on_fork, deadline })
}

/// `sched_getscheduler(2)`.
pub fn sched_getscheduler(cx: &mut Ctx<'_>, pid: i32) -> SysResult {
    let target = target(cx, pid)?;
    let sched = target.sched.lock();
    let reset = if sched.reset_on_fork { SCHED_RESET_ON_FORK } else { 0 };
    Ok(u64::from(sched.policy | reset))
}

/// `sched_getparam(2)`.
pub fn sched_getparam(cx: &mut Ctx<'_>, pid: i32, param: GuestAddr) -> SysResult {
    if param.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let target = target(cx, pid)?;
    let sched_priority = target.sched.lock().priority.cast_signed();
    cx.write(param, &SchedParam { sched_priority })?;
    Ok(0)
}

/// `sched_get_priority_max(2)`.
pub fn sched_get_priority_max(cx: &mut Ctx<'_>, policy: i32) -> SysResult {
    let _ = cx;
    Ok(u64::from(priority_range(policy.cast_unsigned())?.1))
}

/// `sched_get_priority_min(2)`.
pub fn sched_get_priority_min(cx: &mut Ctx<'_>, policy: i32) -> SysResult {
    let _ = cx;
    Ok(u64::from(priority_range(policy.cast_unsigned())?.0))
}

/// `sched_rr_get_interval(2)`.
pub fn sched_rr_get_interval(cx: &mut Ctx<'_>, pid: i32, tp: GuestAddr) -> SysResult {
    let target = target(cx, pid)?;
    let policy = target.sched.lock().policy;
    let interval = match policy {
        SCHED_RR => RR_INTERVAL,
        SCHED_NORMAL => FAIR_SLICE,
        _ => Timespec::default(),
    };
    cx.write(tp, &interval)?;
    Ok(0)
}

/// `sched_setattr(2)`.
pub fn sched_setattr(cx: &mut Ctx<'_>, pid: i32, attr: GuestAddr, flags: Flags) -> SysResult {
    if attr.is_null() || pid < 0 || flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let size: u32 = cx.read(attr)?;
    let size = if size == 0 { SCHED_ATTR_SIZE_VER0 } else { size };
    if size < SCHED_ATTR_SIZE_VER0 || u64::from(size) > PAGE_SIZE {
        cx.write(attr, &SCHED_ATTR_SIZE_VER1)?;
        return Err(Errno::E2BIG.into());
    }
    let attr: SchedAttr = read_extensible(cx, attr, size as usize, SCHED_ATTR_SIZE_VER0 as usize)?;
    if attr.sched_flags & !u64::from(SCHED_FLAG_ALL) != 0 || attr.sched_policy.cast_signed() < 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = target(cx, pid)?;
    let now = target.sched.lock().clone();
    let keeps = |flag: u32| attr.sched_flags & u64::from(flag) != 0;
    let keep_params = keeps(SCHED_FLAG_KEEP_PARAMS);
    let policy = if keeps(SCHED_FLAG_KEEP_POLICY) { now.policy } else { attr.sched_policy };
    let fair = !is_realtime(policy) && policy != SCHED_DEADLINE;
    let wanted = Change {
        policy,
        priority: if keep_params { now.priority } else { attr.sched_priority },
        nice: (fair && !keep_params).then(|| attr.sched_nice.clamp(-20, 19)),
        reset_on_fork: keeps(SCHED_FLAG_RESET_ON_FORK),
        deadline: if keep_params {
            now.deadline
        } else {
            (attr.sched_runtime, attr.sched_deadline, attr.sched_period)
        },
    };
    change(cx, &target, &wanted)
}

/// `sched_getattr(2)`.
pub fn sched_getattr(
    cx: &mut Ctx<'_>,
    pid: i32,
    attr: GuestAddr,
    size: u32,
    flags: Flags,
) -> SysResult {
    let bad_size = size < SCHED_ATTR_SIZE_VER0 || u64::from(size) > PAGE_SIZE;
    if attr.is_null() || pid < 0 || bad_size || flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = target(cx, pid)?;
    let sched = target.sched.lock().clone();
    let known = size.min(SCHED_ATTR_SIZE_VER1);
    let (sched_runtime, sched_deadline, sched_period) = sched.deadline;
    let value = SchedAttr {
        size: known,
        sched_policy: sched.policy,
        sched_flags: if sched.reset_on_fork { u64::from(SCHED_FLAG_RESET_ON_FORK) } else { 0 },
        sched_nice: if is_realtime(sched.policy) { 0 } else { sched.nice },
        sched_priority: sched.priority,
        sched_runtime,
        sched_deadline,
        sched_period,
        sched_util_min: 0,
        sched_util_max: 1024,
    };
    cx.memory().write(attr, value.as_bytes().get(..known as usize).unwrap_or_default())?;
    Ok(0)
}

/// `sched_setaffinity(2)`.
pub fn sched_setaffinity(
    cx: &mut Ctx<'_>,
    pid: i32,
    cpusetsize: usize,
    mask: GuestAddr,
) -> SysResult {
    let cpus = cx.kernel().machine.cpus;
    let mut words = vec![0u64; cpus.div_ceil(64)];
    let room = size_of_val(&*words);
    let count = (cpusetsize as u32 as usize).min(room);
    let bytes = words.as_mut_bytes().get_mut(..count).unwrap_or_default();
    cx.memory().read(mask, bytes)?;
    let target = target(cx, pid).map_err(|_| Errno::ESRCH)?;
    let (own, other) = (cx.task.cred(), target.cred());
    if !same_user(&own, &other) && !own.capable(&other.user_ns, CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    clear_above(&mut words, cpus);
    if words.iter().all(|word| *word == 0) {
        return Err(Errno::EINVAL.into());
    }
    target.sched.lock().affinity = words;
    Ok(0)
}

/// Clears the bits of processors that do not exist.
fn clear_above(words: &mut [u64], cpus: usize) {
    for (index, word) in words.iter_mut().enumerate() {
        let left = cpus.saturating_sub(index * 64);
        if left < 64 {
            *word &= (1u64 << left) - 1;
        }
    }
}

/// The processors that a thread may run on.
pub fn affinity(task: &Task) -> Vec<u64> {
    let own = task.sched.lock().affinity.clone();
    if !own.is_empty() {
        return own;
    }
    let cpus = task.kernel.machine.cpus;
    let mut words = vec![u64::MAX; cpus.div_ceil(64)];
    clear_above(&mut words, cpus);
    words
}

/// `sched_getaffinity(2)`: returns the bytes written.
pub fn sched_getaffinity(
    cx: &mut Ctx<'_>,
    pid: i32,
    cpusetsize: usize,
    mask: GuestAddr,
) -> SysResult {
    let size = cpusetsize as u32 as usize;
    if size.saturating_mul(8) < cx.kernel().machine.cpus || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    let target = target(cx, pid).map_err(|_| Errno::ESRCH)?;
    let words = affinity(&target);
    let bytes = words.as_bytes();
    let count = size.min(bytes.len());
    cx.memory().write(mask, bytes.get(..count).unwrap_or_default())?;
    Ok(count as u64)
}

/// All threads that a priority call names.
fn named(cx: &Ctx<'_>, which: i32, who: i32, kinds: [u32; 3]) -> Result<Vec<Arc<Task>>> {
    let which = which.cast_unsigned();
    let [process, pgrp, user] = kinds;
    let ns = cx.task.pid_ns();
    if which == process {
        return find::task(cx.task, who).map(|task| vec![task]);
    }
    let tree = cx.kernel().tree.lock();
    if which == pgrp {
        let id = match who {
            0 => tree.process(cx.task.tgid()).map(|entry| entry.pgrp.global()),
            _ => ns.global(who.cast_unsigned()),
        };
        let members =
            tree.pgrp_members(id.ok_or(Errno::ESRCH)?).iter().filter_map(|id| tree.process(*id));
        return Ok(members.flat_map(|entry| entry.tasks.iter().cloned()).collect());
    }
    if which == user {
        let cred = cx.task.cred();
        let uid = if who == 0 { Some(cred.ruid) } else { cred.user_ns.uid(who.cast_unsigned()) };
        let uid = uid.ok_or(Errno::ESRCH)?;
        let seen =
            tree.tasks().filter(|task| task.cred().ruid == uid && task.group.pid.in_ns(&ns) != 0);
        return Ok(seen.cloned().collect());
    }
    Err(Errno::EINVAL)
}

/// `getpriority(2)`: 20 minus the lowest nice value.
pub fn getpriority(cx: &mut Ctx<'_>, which: i32, who: i32) -> SysResult {
    let tasks = named(cx, which, who, [PRIO_PROCESS, PRIO_PGRP, PRIO_USER])?;
    let best = tasks.iter().map(|task| 20 - task.sched.lock().nice).max().ok_or(Errno::ESRCH)?;
    Ok(u64::from(best.unsigned_abs()))
}

/// `setpriority(2)`.
pub fn setpriority(cx: &mut Ctx<'_>, which: i32, who: i32, prio: i32) -> SysResult {
    let nice = prio.clamp(-20, 19);
    let tasks = named(cx, which, who, [PRIO_PROCESS, PRIO_PGRP, PRIO_USER])?;
    let own = cx.task.cred();
    let mut result = Err(Errno::ESRCH);
    for task in tasks {
        let other = task.cred();
        let privileged = own.capable(&other.user_ns, CAP_SYS_NICE);
        let mine = own.ruid == other.euid || own.euid == other.euid;
        let limits = task.group.limits();
        let mut sched = task.sched.lock();
        if !mine && !privileged {
            result = Err(Errno::EPERM);
        } else if nice < sched.nice && !may_nice(&limits, nice) && !privileged {
            result = Err(Errno::EACCES);
        } else {
            sched.nice = nice;
            if result == Err(Errno::ESRCH) {
                result = Ok(0);
            }
        }
    }
    Ok(result?)
}

/// `ioprio_get(2)`.
pub fn ioprio_get(cx: &mut Ctx<'_>, which: i32, who: i32) -> SysResult {
    let tasks = named(cx, which, who, [IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP, IOPRIO_WHO_USER])?;
    let best = tasks.iter().map(|task| task.sched.lock().ioprio).min().ok_or(Errno::ESRCH)?;
    Ok(u64::from(best))
}

/// `ioprio_set(2)`.
pub fn ioprio_set(cx: &mut Ctx<'_>, which: i32, who: i32, ioprio: i32) -> SysResult {
    let value = ioprio.cast_unsigned();
    let (class, level) = ((value >> IOPRIO_CLASS_SHIFT) & IOPRIO_CLASS_MASK, value & 7);
    match class {
        IOPRIO_CLASS_RT => {
            let cred = cx.task.cred();
            if !cred.capable_initial(CAP_SYS_NICE)
                && !cred.capable_initial(chitin_abi::process::CAP_SYS_ADMIN)
            {
                return Err(Errno::EPERM.into());
            }
        }
        IOPRIO_CLASS_BE | IOPRIO_CLASS_IDLE => {}
        IOPRIO_CLASS_NONE if level == 0 => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    if level >= IOPRIO_NR_LEVELS {
        return Err(Errno::EINVAL.into());
    }
    let tasks = named(cx, which, who, [IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP, IOPRIO_WHO_USER])?;
    if tasks.is_empty() {
        return Err(Errno::ESRCH.into());
    }
    let own = cx.task.cred();
    for task in tasks {
        let other = task.cred();
        let mine = other.ruid == own.euid || other.ruid == own.ruid;
        if !mine && !own.capable(&other.user_ns, CAP_SYS_NICE) {
            return Err(Errno::EPERM.into());
        }
        task.sched.lock().ioprio = value;
    }
    Ok(0)
}
