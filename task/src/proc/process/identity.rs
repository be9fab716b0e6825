//! Names, states, ids and times of processes: `stat`, `status`, `limits`, `cgroup` and smaller ones.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io::Write;
use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::process::{RLIMIT_RSS, RLIMIT_SIGPENDING};
use chitin_abi::signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD_ID};
use chitin_vfs::env::VfsEnv;

use super::Object;
use crate::namespace::Pid;
use crate::proc::format::{self, limits::limits as limits_text, stat::Stat, status::Status};
use crate::proc::{access, reader};
use crate::task::Task;

/// `PF_RANDOMIZE`: addresses are randomised.
const PF_RANDOMIZE: u32 = 0x0040_0000;

/// Files that are empty here.
pub fn nothing(_object: &Object, _env: &VfsEnv, _out: &mut Vec<u8>) -> Result<()> {
    Ok(())
}

/// `timers`: the POSIX timers of the process.
pub fn timers(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let group = object.group()?;
    let process = object.number();
    let timers = group.timers.lock();
    let mut ids: Vec<_> = timers.posix.iter().collect();
    ids.sort_unstable_by_key(|(id, _)| **id);
    for (id, timer) in ids {
        let notify = timer.notify();
        let kind = match notify.kind & !SIGEV_THREAD_ID {
            SIGEV_SIGNAL => "signal",
            SIGEV_NONE => "none",
            _ => "thread",
        };
        let thread = notify.thread.as_ref().and_then(std::sync::Weak::upgrade);
        let (what, number) = match thread {
            Some(thread) => ("tid", object.view().number(&thread.pid())),
            None => ("pid", process),
        };
        let (signal, value, clock) = (notify.signal, notify.value, timer.clock_number());
        let text = format!(
            "ID: {id}\nsignal: {signal}/{value:016x}\nnotify: {kind}/{what}.{number}\nClockID: {clock}\n"
        );
        out.extend_from_slice(text.as_bytes());
    }
    Ok(())
}

/// Appends text.
fn put(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// What the tree knows that `stat` and `status` show.
struct Place {
    ppid: u32,
    pgrp: Arc<Pid>,
    session: Arc<Pid>,
    exit_signal: u32,
    threads: usize,
    zombie: Option<crate::process::Zombie>,
    /// Whether it is a process whose first thread has ended.
    headless: bool,
    stopped: bool,
    name: Vec<u8>,
}

fn place(object: &Object) -> Result<Place> {
    let kernel = object.kernel()?;
    let parent = object.with_entry(|entry| entry.parent)?;
    let parent = kernel.tree.lock().process(parent).map(|entry| Arc::clone(&entry.group.pid));
    object.with_entry(|entry| Place {
        ppid: parent.map_or(0, |pid| object.view().number(&pid)),
        pgrp: Arc::clone(&entry.pgrp),
        session: Arc::clone(&entry.session),
        exit_signal: entry.exit_signal,
        threads: entry.tasks.len(),
        zombie: entry.zombie,
        headless: !object.is_thread() && !entry.tasks.iter().any(|task| task.is_leader()),
        stopped: entry.stopped,
        name: entry.name.clone(),
    })
}

/// `R`, `S`, `T` or `Z`.
fn state(place: &Place, task: Option<&Arc<Task>>) -> char {
    match task {
        None => 'Z',
        Some(_) if place.headless => 'Z',
        Some(task) if task.trace.is_stopped() => 't',
        Some(_) if place.stopped => 'T',
        Some(task) if task.sleeping.load(Ordering::Relaxed) => 'S',
        Some(_) => 'R',
    }
}

/// CPU time of a process or thread: user, system nanoseconds.
fn cpu_time(object: &Object, task: Option<&Arc<Task>>, place: &Place) -> (u64, u64) {
    if let (true, Some(task)) = (object.is_thread(), task) {
        return task.cpu.get();
    }
    if let Some(zombie) = place.zombie {
        return zombie.cpu;
    }
    let Ok(group) = object.group() else { return (0, 0) };
    let gone = (group.dead_cpu.0.load(Ordering::Relaxed), group.dead_cpu.1.load(Ordering::Relaxed));
    let living = object
        .with_entry(|entry| entry.tasks.iter().map(|task| task.cpu.get()).collect::<Vec<_>>());
    living
        .unwrap_or_default()
        .iter()
        .fold(gone, |sum, time| (sum.0.saturating_add(time.0), sum.1.saturating_add(time.1)))
}

/// `/proc/PID/stat`.
pub fn stat(object: &Object, env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let place = place(object)?;
    let group = object.group()?;
    let task = object.task().ok();
    let (utime, stime) = cpu_time(object, task.as_ref(), &place);
    let mut facts = Stat {
        pid: object.number(),
        comm: task.as_ref().map_or_else(|| place.name.clone(), |task| task.name.lock().clone()),
        state: state(&place, task.as_ref()),
        ppid: place.ppid,
        pgrp: object.view().number(&place.pgrp),
        session: object.view().number(&place.session),
        tpgid: -1,
        flags: PF_RANDOMIZE,
        utime,
        stime,
        cutime: group.children_cpu.0.load(Ordering::Relaxed),
        cstime: group.children_cpu.1.load(Ordering::Relaxed),
        priority: 20,
        num_threads: place.threads.max(usize::from(place.zombie.is_some())) as u64,
        starttime: since_boot(
            object,
            task.as_ref().map_or(group.start_time, |task| task.start_time),
        ),
        rsslim: group.limits.lock().soft(RLIMIT_RSS),
        exit_signal: if object.is_thread() { -1 } else { place.exit_signal.cast_signed() },
        exit_code: place.zombie.map_or(0, |zombie| zombie.status),
        ..Stat::default()
    };
    terminal(object, &mut facts);
    if let Some(task) = &task {
        of_task(&mut facts, task, access::may_open(env, task));
    }
    put(out, &format::stat::stat(&facts))
}

/// A monotonic time as time since boot, sleep included.
fn since_boot(object: &Object, monotonic: u64) -> u64 {
    let Ok(kernel) = object.kernel() else { return monotonic };
    let asleep = kernel.clock.boottime().saturating_sub(kernel.clock.monotonic());
    monotonic.saturating_add(asleep)
}

/// The controlling terminal and its foreground group.
fn terminal(object: &Object, facts: &mut Stat) {
    let Some(terminal) = object.group().ok().and_then(|group| group.terminal.lock().clone()) else {
        return;
    };
    if let Some((device, foreground)) = crate::sys::terminals::facts(&terminal) {
        facts.tty_nr = device.cast_signed();
        facts.tpgid = -1;
        if let (Some(pgrp), Ok(kernel)) = (foreground, object.kernel()) {
            let tree = kernel.tree.lock();
            let member = tree.pgrp_members(pgrp).first().copied();
            let pid =
                member.and_then(|member| tree.process(member)).map(|entry| Arc::clone(&entry.pgrp));
            facts.tpgid = pid.map_or(-1, |pid| object.view().number(&pid).cast_signed());
        }
    }
}

fn of_task(facts: &mut Stat, task: &Arc<Task>, permitted: bool) {
    let sched = task.sched.lock();
    facts.nice = sched.nice.into();
    facts.priority = if crate::limits::sched::is_realtime(sched.policy) {
        -1 - i64::from(sched.priority)
    } else {
        20 + i64::from(sched.nice)
    };
    facts.rt_priority = sched.priority;
    facts.policy = sched.policy;
    drop(sched);
    let (ignored, caught) = task.group.actions().summary();
    let signals = task.signals.lock();
    facts.signal = signals.pending.set().bits();
    facts.blocked = signals.mask.bits();
    drop(signals);
    (facts.sigignore, facts.sigcatch) = (ignored.bits(), caught.bits());
    facts.sleeping = permitted && task.sleeping.load(Ordering::Relaxed);
    let Some(mm) = task.mm() else { return };
    facts.vsize = mm.space.lock().usage().total;
    facts.rss = mm.host().resident().0;
    if permitted {
        let image = mm.image.read();
        let at = &mut facts.layout;
        (at.start_code, at.end_code) = image.code;
        (at.start_data, at.end_data) = image.data;
        (at.arg_start, at.arg_end) = image.args;
        (at.env_start, at.env_end) = image.env;
        at.start_stack = image.stack;
        drop(image);
        at.start_brk = mm.space.lock().brk_range().0;
    } else {
        (facts.layout.start_code, facts.layout.end_code) = (1, 1);
    }
}

/// An identity's numbers from the mount's namespace inwards.
fn numbers(object: &Object, pid: &Pid) -> Vec<u32> {
    let own = object.view().number(pid);
    let mut inner: Vec<u32> = pid.levels().iter().map(|(_, number)| *number).collect();
    inner.reverse();
    match inner.iter().position(|number| *number == own) {
        Some(start) => inner.split_off(start),
        None => vec![own],
    }
}

/// `/proc/PID/status`.
pub fn status(object: &Object, env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let place = place(object)?;
    let group = object.group()?;
    let task = object.task().ok();
    let pid = match &task {
        Some(task) if object.is_thread() => task.pid(),
        _ => Arc::clone(&group.pid),
    };
    let mut facts = Status {
        name: place.name.clone(),
        state: state(&place, task.as_ref()),
        tgid: object.view().number(&group.pid),
        pid: object.view().number(&pid),
        ppid: place.ppid,
        ns_ids: [
            numbers(object, &group.pid),
            numbers(object, &pid),
            numbers(object, &place.pgrp),
            numbers(object, &place.session),
        ],
        tracer: task
            .as_ref()
            .and_then(|task| task.trace.tracer_group())
            .map_or(0, |tracer| object.view().number(&tracer.pid)),
        threads: place.threads.max(1),
        cpus: vec![true; object.view().kernel()?.machine.cpus],
        ..Status::default()
    };
    match &task {
        Some(task) => status_of_task(&mut facts, task, env),
        None => {
            let zombie = place.zombie.unwrap_or_default();
            (facts.uids, facts.gids) = ([zombie.uid; 4], [zombie.gid; 4]);
        }
    }
    put(out, &format::status::status(&facts))
}

fn status_of_task(facts: &mut Status, task: &Arc<Task>, env: &VfsEnv) {
    let cred = task.cred();
    let viewer = reader(env).map_or_else(|| Arc::clone(&cred), Task::cred);
    facts.name = task.name.lock().clone();
    facts.voluntary_switches = task.sleeps.load(Ordering::Relaxed);
    facts.umask = Some(task.fs().umask());
    facts.uids = [cred.ruid, cred.euid, cred.suid, cred.fsuid].map(|uid| viewer.show_uid(uid));
    facts.gids = [cred.rgid, cred.egid, cred.sgid, cred.fsgid].map(|gid| viewer.show_gid(gid));
    facts.groups = cred.groups.iter().map(|gid| viewer.show_gid(*gid)).collect();
    facts.caps = [cred.inheritable, cred.permitted, cred.effective, cred.bounding, cred.ambient]
        .map(|set| set.bits());
    facts.fd_size = task.files().capacity();
    facts.no_new_privs = task.no_new_privs.load(Ordering::Relaxed);
    let seccomp = task.seccomp.read();
    (facts.seccomp, facts.seccomp_filters) = (seccomp.mode(), seccomp.count());
    drop(seccomp);
    let shared = {
        let signals = task.group.signals.lock();
        (signals.pending.set().bits(), signals.pending.len())
    };
    let signals = task.signals.lock();
    facts.pending = signals.pending.set().bits();
    facts.blocked = signals.mask.bits();
    let queued = shared.1.saturating_add(signals.pending.len());
    drop(signals);
    facts.shared_pending = shared.0;
    facts.queued = (queued, task.group.limits.lock().soft(RLIMIT_SIGPENDING));
    let (ignored, caught) = task.group.actions().summary();
    (facts.ignored, facts.caught) = (ignored.bits(), caught.bits());
    let affinity = task.sched.lock().affinity.clone();
    for (index, cpu) in facts.cpus.iter_mut().enumerate() {
        let word = affinity.get(index / 64).copied().unwrap_or(u64::MAX);
        *cpu = word & (1 << (index % 64)) != 0;
    }
    facts.memory = task.mm().map(|mm| super::memory::status_lines(&mm, &task.group));
}

/// `/proc/PID/limits`.
pub fn limits(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let limits = *object.group()?.limits.lock();
    let pair = |resource| {
        limits.limit(resource).map_or((u64::MAX, u64::MAX), |limit| (limit.cur, limit.max))
    };
    put(out, &limits_text(&core::array::from_fn(|resource| pair(resource as u32))))
}

/// `/proc/PID/cgroup`.
pub fn cgroup(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    object.with_entry(|_| ())?;
    put(out, "0::/\n")
}

/// `/proc/PID/io`: what goes to the storage is the host's to count.
pub fn io(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let group = object.group()?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let io = &group.io;
    let text = format!(
        "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\n\
         cancelled_write_bytes: 0\n",
        count(&io.bytes_read),
        count(&io.bytes_written),
        count(&io.reads),
        count(&io.writes),
    );
    put(out, &text)
}

/// `/proc/PID/oom_score`.
pub fn oom_score(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let adjustment = object.group()?.oom_score_adj.load(Ordering::Relaxed);
    let resident =
        object.task().ok().and_then(|task| task.mm()).map_or(0, |mm| mm.host().resident().0);
    let total = object.kernel()?.machine.memory.max(1);
    let share = i64::try_from(u128::from(resident) * 1000 / u128::from(total)).unwrap_or(1000);
    let score = (1000 + share + i64::from(adjustment)).max(0) * 2 / 3;
    put(out, &format!("{score}\n"))
}

/// `/proc/PID/personality`.
pub fn personality(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    put(out, &format!("{:08x}\n", object.group()?.personality.load(Ordering::Relaxed)))
}

/// `/proc/PID/sched`: only what needs no scheduler of our own.
pub fn sched(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let place = place(object)?;
    let task = object.task()?;
    let (user, system) = cpu_time(object, Some(&task), &place);
    let run = user.saturating_add(system);
    let name = String::from_utf8_lossy(&task.name.lock()).into_owned();
    let sched = task.sched.lock();
    // Writing to a vector does not fail.
    let _ = write!(
        out,
        "{name} ({}, #threads: {})\n{}\nse.sum_exec_runtime                          : {:>21}.{:06}\n\
         nr_switches                                  : {:>20}\npolicy                                       : {:>20}\n\
         prio                                         : {:>20}\n",
        object.number(),
        place.threads,
        "-".repeat(67),
        run / 1_000_000,
        run % 1_000_000,
        0,
        sched.policy,
        120 + sched.nice,
    );
    Ok(())
}

/// `/proc/PID/schedstat`: time on a processor, time waiting, turns.
pub fn schedstat(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let place = place(object)?;
    let (user, system) = cpu_time(object, object.task().ok().as_ref(), &place);
    put(out, &format!("{} 0 0\n", user.saturating_add(system)))
}

/// `/proc/PID/syscall`.
pub fn syscall(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    object.task()?;
    put(out, "running\n")
}

/// `/proc/PID/task/TID/children`.
pub fn children(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let kernel = object.kernel()?;
    let tid = object.task()?.tid();
    let tree = kernel.tree.lock();
    let Some(entry) = tree.process(object.tgid()) else { return Ok(()) };
    for child in &entry.children {
        if let Some(child) = tree.process(*child).filter(|child| child.parent_task == tid) {
            let _ = write!(out, "{} ", object.view().number(&child.group.pid));
        }
    }
    Ok(())
}
