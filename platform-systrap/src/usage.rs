//! What stubs use: CPU time and memory.
//!
//! A process's CPU time comes from its CPU clocks, which need no file. Memory and single threads come from
//! `/proc`, through a descriptor that was opened at the start; without one they count as nothing.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

use crate::layout;
use crate::process::Process;
use crate::raw::host;

/// Of a process: `CPUCLOCK_PROF` (0: user and system, in ticks), `CPUCLOCK_VIRT` (1: user, in ticks) and
/// `CPUCLOCK_SCHED` (2: the exact sum).
fn clock_of(pid: i32, kind: i32) -> i32 {
    !pid << 3 | kind
}

/// User and system time of this use of a stub, nanoseconds.
pub fn process_time(process: &Process) -> (u64, u64) {
    since(&process.reuse.cpu_before, total_time(process))
}

/// What has come since this use of the stub began.
fn since(before: &Mutex<(u64, u64)>, total: (u64, u64)) -> (u64, u64) {
    let before = *before.lock();
    (total.0.saturating_sub(before.0), total.1.saturating_sub(before.1))
}

/// User and system time of a stub since it was made, nanoseconds.
pub fn total_time(process: &Process) -> (u64, u64) {
    if let Some(time) = process.last_cpu() {
        return time;
    }
    let clocks = process.with_pid(|pid| [0, 1, 2].map(|kind| host::clock(clock_of(pid, kind))));
    let [ticks, user_ticks, exact] = clocks.unwrap_or_default();
    split(exact.max(ticks), user_ticks, ticks)
}

/// Divides an exact time as the ticks are divided.
fn split(exact: u64, user_ticks: u64, ticks: u64) -> (u64, u64) {
    if ticks == 0 {
        return (exact, 0);
    }
    let user = u128::from(exact) * u128::from(user_ticks.min(ticks)) / u128::from(ticks);
    let user = u64::try_from(user).unwrap_or(exact);
    (user, exact.saturating_sub(user))
}

fn open(process: &Process, path: &str) -> Option<File> {
    let proc = process.shared.proc.as_ref()?;
    let fd = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    fd.ok().map(File::from)
}

fn read(process: &Process, path: &str) -> Option<String> {
    let mut text = String::new();
    open(process, path)?.take(4096).read_to_string(&mut text).ok()?;
    Some(text)
}

/// User and system time of one thread, nanoseconds.
pub fn thread_time(process: &Process, tid: i32, is_first: bool) -> (u64, u64) {
    if process.slot_count() == 1 {
        // The warden's share is small.
        return process_time(process);
    }
    let time = listed_time(process, tid);
    if is_first { since(&process.reuse.cpu_before, time) } else { time }
}

fn listed_time(process: &Process, tid: i32) -> (u64, u64) {
    let file = |pid: i32, name: &str| read(process, &format!("{pid}/task/{tid}/{name}"));
    let texts = process.with_pid(|pid| (file(pid, "stat"), file(pid, "schedstat")));
    let (stat, exact) = texts.unwrap_or_default();
    let ticks = stat.and_then(|text| {
        // The name may hold spaces; the fields behind it start with number 3.
        let rest = text.rsplit_once(')')?.1.to_owned();
        let mut fields = rest.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some((user, system))
    });
    let (user, system) = ticks.unwrap_or((0, 0));
    let all = user.saturating_add(system);
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let exact = exact.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
    split(exact.unwrap_or(all.saturating_mul(tick)), user, all)
}

/// The file that tells the size of a stub: it stays open, because programs come and go in it.
fn open_statm(process: &Process) -> Option<OwnedFd> {
    let proc = process.shared.proc.as_ref()?;
    let open = |pid: i32| {
        let path = format!("{pid}/statm");
        rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    process.with_pid(open).ok()?.ok()
}

/// Resident bytes: all, and of files and shared memory.
pub fn resident(process: &Process) -> (u64, u64) {
    let file = process.reuse.statm.get_or_init(|| open_statm(process)).as_ref();
    let pages = file.and_then(|file| {
        let mut text = [0; 128];
        let count = rustix::io::pread(file, &mut text, 0).ok()?;
        let text = core::str::from_utf8(text.get(..count)?).ok()?;
        let mut fields = text.split_ascii_whitespace().skip(1);
        let all: u64 = fields.next()?.parse().ok()?;
        let shared: u64 = fields.next()?.parse().ok()?;
        Some((all, shared))
    });
    let (all, shared) = pages.unwrap_or((0, 0));
    (all.saturating_mul(layout::PAGE), shared.saturating_mul(layout::PAGE))
}

/// Page faults of the process that has a stub: minor and major.
pub fn faults(process: &Process) -> (u64, u64) {
    since(&process.reuse.faults_before, total_faults(process))
}

/// Page faults of a stub since it was made, as `/proc` counts them.
pub fn total_faults(process: &Process) -> (u64, u64) {
    let text = process.with_pid(|pid| read(process, &format!("{pid}/stat"))).ok().flatten();
    let counts = text.and_then(|text| {
        let rest = text.rsplit_once(')')?.1.to_owned();
        let mut fields = rest.split_ascii_whitespace().skip(7);
        let minor: u64 = fields.next()?.parse().ok()?;
        let major: u64 = fields.nth(1)?.parse().ok()?;
        Some((minor, major))
    });
    counts.unwrap_or((0, 0))
}

/// Which pages of a stub are in memory (1) and which not (0), from `pagemap`.
pub fn residency(process: &Process, start: u64, pages: &mut [u8]) -> bool {
    const PRESENT: u64 = 1 << 63;
    let map = process.with_pid(|pid| open(process, &format!("{pid}/pagemap"))).ok().flatten();
    let Some(map) = map else { return false };
    let mut entries = vec![0; pages.len().saturating_mul(size_of::<u64>())];
    let offset = (start / layout::PAGE).saturating_mul(size_of::<u64>() as u64);
    if map.read_exact_at(&mut entries, offset).is_err() {
        return false;
    }
    for (page, entry) in pages.iter_mut().zip(entries.as_chunks().0) {
        *page = u8::from(u64::from_ne_bytes(*entry) & PRESENT != 0);
    }
    true
}
