//! What was used: `getrusage(2)`, CPU times of threads and processes.

use core::sync::atomic::{AtomicU64, Ordering};

use chitin_abi::process::Rusage;
use chitin_abi::time::Timeval;

use chitin_mm::platform::GuestThread;

use crate::context::Ctx;
use crate::memory::Mm;
use crate::process::wait::Report;
use crate::task::Task;

fn load(pair: &(AtomicU64, AtomicU64)) -> (u64, u64) {
    (pair.0.load(Ordering::Relaxed), pair.1.load(Ordering::Relaxed))
}

/// A structure of these figures.
pub fn rusage(cpu: (u64, u64), max_rss: u64) -> Rusage {
    Rusage {
        ru_utime: Timeval::from_nanos(cpu.0),
        ru_stime: Timeval::from_nanos(cpu.1),
        ru_maxrss: i64::try_from(max_rss).unwrap_or(i64::MAX),
        ..Rusage::default()
    }
}

/// What a process has used. Three calls to the host.
pub fn of_process(task: &Task) -> Rusage {
    let (minor, major) = task.mm().map_or((0, 0), |mm| mm.host().faults());
    let sleeps: u64 = {
        let tree = task.kernel.tree.lock();
        let threads = tree.process(task.tgid()).map_or(&[][..], |entry| &entry.tasks);
        threads.iter().map(|thread| thread.sleeps.load(Ordering::Relaxed)).sum()
    };
    Rusage {
        ru_minflt: number(minor),
        ru_majflt: number(major),
        ru_nvcsw: number(sleeps),
        ..rusage(process_cpu(task), max_rss(task))
    }
}

/// What the caller's thread has used; faults are those of its process, because the host counts them so.
pub fn of_thread(cx: &Ctx<'_>) -> Rusage {
    let whole = of_process(cx.task);
    Rusage {
        ru_nvcsw: number(cx.task.sleeps.load(Ordering::Relaxed)),
        ..with_times(whole, own_cpu(cx))
    }
}

fn with_times(usage: Rusage, cpu: (u64, u64)) -> Rusage {
    Rusage { ru_utime: Timeval::from_nanos(cpu.0), ru_stime: Timeval::from_nanos(cpu.1), ..usage }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a child that was waited for has used.
pub fn of_child(report: &Report) -> Rusage {
    rusage(report.cpu, report.max_rss)
}

/// CPU time of a process: user and system nanoseconds. One call to the host.
pub fn process_cpu(task: &Task) -> (u64, u64) {
    let dead = load(&task.group.dead_cpu);
    let threads = {
        let tree = task.kernel.tree.lock();
        tree.process(task.tgid()).map(|entry| entry.tasks.clone()).unwrap_or_default()
    };
    let published = threads
        .iter()
        .map(|thread| thread.cpu.get())
        .fold((0u64, 0u64), |sum, cpu| (sum.0.saturating_add(cpu.0), sum.1.saturating_add(cpu.1)));
    let known = (dead.0.saturating_add(published.0), dead.1.saturating_add(published.1));
    // The address space counts all its threads, also those of other processes that share it for a moment, and
    // not what ran before the last `execve`.
    let Some(mm) = task.mm() else { return known };
    if mm.users() > threads.len() {
        return known;
    }
    let host = mm.host().cpu_time();
    let before = load(&task.group.exec_cpu);
    let counted = (before.0.saturating_add(host.0), before.1.saturating_add(host.1));
    (known.0.max(counted.0), known.1.max(counted.1))
}

/// Notes what a thread has used that is about to leave its address space. That counts the CPU time of all its threads,
/// living and gone, so a thread is asked for its own only where processes share one.
pub fn account_thread(task: &Task, mm: &Mm, thread: Option<&dyn GuestThread>) {
    let threads = task.kernel.tree.lock().process(task.tgid()).map_or(1, |entry| entry.tasks.len());
    if mm.users() > threads
        && let Some(thread) = thread
    {
        task.cpu.set(thread.cpu_time());
    } else if threads > 1 {
        // That there was one is all that is to be seen until the process ends.
        task.cpu.set((1, 0));
    }
    if mm.users() == 1 {
        max_rss(task);
    }
}

/// Notes what all threads of an address space have used that its last one has left.
pub fn account_space(task: &Task, host: (u64, u64)) {
    let before = load(&task.group.exec_cpu);
    let dead = load(&task.group.dead_cpu);
    let rest = |host: u64, before: u64, dead: u64| host.saturating_add(before).saturating_sub(dead);
    task.cpu.set((rest(host.0, before.0, dead.0), rest(host.1, before.1, dead.1)));
}

/// CPU time of the caller. One to three calls to the host.
pub fn own_cpu(cx: &Ctx<'_>) -> (u64, u64) {
    let cpu = cx.thread.cpu_time();
    cx.task.cpu.set(cpu);
    cx.task.cpu.get()
}

/// CPU time of a thread: exact for the caller, as last known for another; that of the whole process where it has
/// no other thread.
pub fn thread_cpu(cx: &Ctx<'_>, target: &Task) -> (u64, u64) {
    if core::ptr::eq(target, &**cx.task) {
        return own_cpu(cx);
    }
    other_thread_cpu(target)
}

/// The same for somebody who is no task.
pub fn other_thread_cpu(target: &Task) -> (u64, u64) {
    let threads =
        target.kernel.tree.lock().process(target.tgid()).map_or(1, |entry| entry.tasks.len());
    if threads == 1 && load(&target.group.dead_cpu) == load(&target.group.exec_cpu) {
        let (total, before) = (process_cpu(target), load(&target.group.exec_cpu));
        return (total.0.saturating_sub(before.0), total.1.saturating_sub(before.1));
    }
    target.cpu.get()
}

/// CPU time of the children that were waited for.
pub fn children_cpu(task: &Task) -> (u64, u64) {
    load(&task.group.children_cpu)
}

/// Largest resident size of a process in KiB.
pub fn max_rss(task: &Task) -> u64 {
    let now = task.mm().map_or(0, |mm| mm.host().resident().0 / 1024);
    task.group.max_rss.0.fetch_max(now, Ordering::Relaxed).max(now)
}
