//! Timers on CPU time (`ITIMER_VIRTUAL`, `ITIMER_PROF`, POSIX timers on CPU clocks) and `RLIMIT_CPU`.
//!
//! The host counts CPU time and tells nobody when it reaches a value, so it is looked at: at the earliest moment at
//! which the nearest deadline could be reached, and while the process does not use the processor, ever more seldom up
//! to a limit. One host call per look; none while no such timer is armed.

use std::sync::{Arc, Weak};

use chitin_abi::process::{RLIM64_INFINITY, RLIMIT_CPU};
use chitin_abi::signal::{SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU};

use super::id::CpuKind;
use super::posix;
use super::timers::send;
use crate::kernel::Kernel;
use crate::limits::usage;
use crate::process::ThreadGroup;
use crate::signal::begin_exit;
use crate::task::Task;

const SHORTEST: u64 = 1_000_000;
const LONGEST_IDLE: u64 = 64_000_000;
const SECOND: u64 = 1_000_000_000;

/// Begins to look at a process's CPU time if a timer or limit asks for it, or looks anew because one changed.
pub fn watch(task: &Arc<Task>) {
    look(&task.kernel, &task.group);
}

fn check(kernel: &Weak<Kernel>, group: &Weak<ThreadGroup>) {
    if let (Some(kernel), Some(group)) = (kernel.upgrade(), group.upgrade()) {
        look(&kernel, &group);
    }
}

fn look(kernel: &Arc<Kernel>, group: &Arc<ThreadGroup>) {
    let Some(member) = kernel.member(group.tgid) else { return };
    let limit = group.limits().limit(RLIMIT_CPU).unwrap_or_default();
    let wanted = {
        let timers = group.timers.lock();
        timers.virt.deadline != 0
            || timers.prof.deadline != 0
            || timers.posix.values().any(posix::PosixTimer::counts_cpu)
    };
    if !wanted && limit.cur == RLIM64_INFINITY {
        let old = group.timers.lock().cpu_check.take();
        drop(old);
        return;
    }
    let cpu = usage::process_cpu(&member);
    let (user, both) = (CpuKind::User.of(cpu), CpuKind::Both.of(cpu));
    let mut signals: Vec<u32> = Vec::new();
    let mut nearest = u64::MAX;
    {
        let mut timers = group.timers.lock();
        if timers.virt.expire(user) > 0 {
            signals.push(SIGVTALRM);
        }
        if timers.prof.expire(both) > 0 {
            signals.push(SIGPROF);
        }
        for (countdown, now) in [(timers.virt, user), (timers.prof, both)] {
            if countdown.deadline != 0 {
                nearest = nearest.min(countdown.deadline.saturating_sub(now));
            }
        }
    }
    nearest = nearest.min(posix::expire_cpu(kernel, group));
    let (left, killed) = check_limit(group, limit.cur, limit.max, both, &mut signals);
    if killed {
        begin_exit(&member, SIGKILL.cast_signed());
        return;
    }
    schedule(kernel, group, nearest.min(left), both, &member);
    for signal in signals {
        send(kernel, group, signal);
    }
}

/// `RLIMIT_CPU`: SIGXCPU at the soft limit and each second above it, the end at the hard limit. What is left to the
/// next of these, and whether it is the end.
fn check_limit(
    group: &ThreadGroup,
    soft: u64,
    hard: u64,
    both: u64,
    signals: &mut Vec<u32>,
) -> (u64, bool) {
    if soft == RLIM64_INFINITY {
        return (u64::MAX, false);
    }
    let used = both / SECOND;
    if hard != RLIM64_INFINITY && used >= hard {
        return (0, true);
    }
    let soft = soft.max(1);
    let mut timers = group.timers.lock();
    let next = timers.cpu_limit_told.max(soft);
    if used >= next {
        signals.push(SIGXCPU);
        timers.cpu_limit_told = used.saturating_add(1);
    } else {
        timers.cpu_limit_told = next;
    }
    let next = timers.cpu_limit_told.min(hard);
    (next.saturating_mul(SECOND).saturating_sub(both), false)
}

fn schedule(
    kernel: &Arc<Kernel>,
    group: &Arc<ThreadGroup>,
    nearest: u64,
    both: u64,
    member: &Arc<Task>,
) {
    if nearest == u64::MAX {
        return;
    }
    let threads =
        kernel.tree.lock().process(member.tgid()).map_or(1, |entry| entry.tasks.len().max(1));
    let parallel = threads.min(kernel.machine.cpus.max(1)) as u64;
    let (weak_kernel, weak_group) = (Arc::downgrade(kernel), Arc::downgrade(group));
    let mut timers = group.timers.lock();
    let (seen, idle) = timers.cpu_seen;
    let idle =
        if both.saturating_sub(seen) < SHORTEST / 4 { idle.saturating_add(1).min(6) } else { 0 };
    timers.cpu_seen = (both, idle);
    let soonest = (nearest / parallel).max(SHORTEST);
    let delay = soonest.max((SHORTEST << idle).min(LONGEST_IDLE));
    let at = kernel.clock.monotonic().saturating_add(delay);
    let armed = kernel.scheduler.timer(at, move || check(&weak_kernel, &weak_group));
    let old = timers.cpu_check.replace(armed);
    drop(timers);
    drop(old);
}
