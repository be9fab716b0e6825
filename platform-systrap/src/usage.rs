//! What stubs use: CPU time and memory.
//!
//! A process's CPU time comes from its CPU clocks, which need no file. Memory and single threads come from
//! `/proc`, through a descriptor that was opened at the start; without one they count as nothing.

use std::fs::File;
use std::io::Read;

use rustix::fs::{Mode, OFlags};

use crate::layout;
use crate::process::Process;
use crate::raw::host;

/// `CPUCLOCK_PROF` (user and system) and `CPUCLOCK_VIRT` (user) of a process.
fn clock_of(pid: i32, kind: i32) -> i32 {
    !pid << 3 | kind
}

/// User and system time of a stub, nanoseconds.
pub fn process_time(process: &Process) -> (u64, u64) {
    if let Some(time) = process.last_cpu() {
        return time;
    }
    let clocks =
        process.with_pid(|pid| (host::clock(clock_of(pid, 0)), host::clock(clock_of(pid, 1))));
    let (all, user) = clocks.unwrap_or((0, 0));
    (user, all.saturating_sub(user))
}

fn read(process: &Process, path: &str) -> Option<String> {
    let proc = process.shared.proc.as_ref()?;
    let fd = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut text = String::new();
    File::from(fd.ok()?).take(4096).read_to_string(&mut text).ok()?;
    Some(text)
}

/// User and system time of one thread, nanoseconds.
pub fn thread_time(process: &Process, tid: i32) -> (u64, u64) {
    let path = |pid: i32| format!("{pid}/task/{tid}/stat");
    let text = process.with_pid(|pid| read(process, &path(pid))).ok().flatten();
    let ticks = text.and_then(|text| {
        // The name may hold spaces; the fields behind it start with number 3.
        let rest = text.rsplit_once(')')?.1.to_owned();
        let mut fields = rest.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some((user, system))
    });
    let (user, system) = ticks.unwrap_or((0, 0));
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    (user.saturating_mul(tick), system.saturating_mul(tick))
}

/// Resident bytes: all, and of files and shared memory.
pub fn resident(process: &Process) -> (u64, u64) {
    let text = process.with_pid(|pid| read(process, &format!("{pid}/statm"))).ok().flatten();
    let pages = text.and_then(|text| {
        let mut fields = text.split_ascii_whitespace().skip(1);
        let all: u64 = fields.next()?.parse().ok()?;
        let shared: u64 = fields.next()?.parse().ok()?;
        Some((all, shared))
    });
    let (all, shared) = pages.unwrap_or((0, 0));
    (all.saturating_mul(layout::PAGE), shared.saturating_mul(layout::PAGE))
}
