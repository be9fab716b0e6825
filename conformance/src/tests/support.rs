//! What many bodies share: structures as bytes, children and threads, what /proc shows.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chitin_abi::Result;
use chitin_abi::mm::{MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};

use crate::call;
use crate::suite::{Calls, Child, Fd, Files, Kernel, Mapping, Processes};

/// Size of a page.
pub(super) const PAGE: usize = 4096;
/// One millisecond in nanoseconds.
pub(super) const MS: i64 = 1_000_000;
/// `WNOHANG`, `WUNTRACED`, `WEXITED`, `WCONTINUED`, `WNOWAIT`, `__WALL`, `__WCLONE`.
pub(super) const WNOHANG: u32 = 1;
pub(super) const WUNTRACED: u32 = 2;
pub(super) const WEXITED: u32 = 4;
pub(super) const WCONTINUED: u32 = 8;
pub(super) const WNOWAIT: u32 = 0x0100_0000;
pub(super) const WALL: u32 = 0x4000_0000;
pub(super) const WCLONE: u32 = 0x8000_0000;
/// How `rt_sigprocmask` changes the mask.
pub(super) const BLOCK: u32 = 0;
pub(super) const UNBLOCK: u32 = 1;
pub(super) const SETMASK: u32 = 2;

/// The bit of a signal in a mask.
pub(super) const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Native words, one behind the other.
pub(super) fn words<const N: usize>(values: [u64; N]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// The word at an offset.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The half word at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The signed half word at an offset.
pub(super) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    u32_at(bytes, at).cast_signed()
}

/// `struct timespec` of nanoseconds.
pub(super) fn timespec(ns: i64) -> Vec<u8> {
    words([ns.div_euclid(1000 * MS).cast_unsigned(), ns.rem_euclid(1000 * MS).cast_unsigned()])
}

/// What a clock shows, in nanoseconds.
pub(super) fn now(k: &dyn Kernel, clock: i32) -> i64 {
    let mut time = [0; 16];
    call!(k, CLOCK_GETTIME, clock, &mut time).unwrap();
    u64_at(&time, 0).cast_signed() * 1000 * MS + u64_at(&time, 8).cast_signed()
}

/// Runs a body in a child of its own, because it changes the process; fails where it fails.
#[track_caller]
pub(super) fn apart(k: &dyn Kernel, mut body: impl FnMut()) {
    let child = k.child(|| {
        body();
        0
    });
    assert_eq!(k.status(child), 0, "the child's status");
}

/// Runs a body in a child as user and group 1000, without any capability.
#[track_caller]
pub(super) fn as_user(k: &dyn Kernel, mut body: impl FnMut()) {
    apart(k, || {
        call!(k, SETGROUPS, 0, 0).unwrap();
        call!(k, SETRESGID, 1000, 1000, 1000).unwrap();
        call!(k, SETRESUID, 1000, 1000, 1000).unwrap();
        body();
    });
}

/// What a call that makes a process returned: in the child `body` runs and its result is the exit code.
pub(super) fn born(k: &dyn Kernel, made: Result<u64>, body: impl FnOnce() -> i32) -> Result<Child> {
    if made == Ok(0) {
        let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
        let _ = call!(k, EXIT_GROUP, code);
    }
    Ok(Child { pid: made? as i32 })
}

/// A child that sleeps until somebody ends it.
pub(super) fn sleeper(k: &dyn Kernel) -> Child {
    k.child(|| {
        loop {
            k.sleep_ms(1000);
        }
    })
}

/// Kills and reaps a child.
pub(super) fn end(k: &dyn Kernel, child: Child) {
    k.kill(child.pid, 9).unwrap();
    assert_eq!(k.wait4(child.pid, WALL), Ok((child.pid, 9)));
}

/// Waits until something is so. The limit is long, for the sake of machines that do much else, but shorter than that of
/// a test, so that its place is told.
#[track_caller]
pub(super) fn until(k: &dyn Kernel, mut so: impl FnMut() -> bool) {
    let start = now(k, 1);
    while !so() {
        assert!(now(k, 1) - start < 15_000 * MS, "it did not happen");
        k.sleep_ms(2);
    }
}

/// A child that has done something when this returns, and that ends once this process then waits for it.
pub(super) fn holder<T>(k: &dyn Kernel, hold: impl Fn() -> T) -> Child {
    let parent = k.getpid().to_string();
    let ((done, tell_done), (wait, tell_wait)) = (k.pipe2(0).unwrap(), k.pipe2(0).unwrap());
    let child = k.child(|| {
        hold();
        k.write(tell_done, b"x").unwrap();
        k.read(wait, &mut [0]).unwrap();
        in_state(k, &parent, "S");
        0
    });
    // So that the end of a child that failed is seen.
    k.close(tell_done).unwrap();
    k.read_some(done, 1).unwrap();
    k.write(tell_wait, b"x").unwrap();
    child
}

/// The id of this thread.
pub(super) fn gettid(k: &dyn Kernel) -> i32 {
    call!(k, GETTID).unwrap() as i32
}

/// A file of /proc as text.
pub(super) fn text(k: &dyn Kernel, name: &str) -> String {
    String::from_utf8_lossy(&k.content(name)).into_owned()
}

/// The value of a `Key:` line of a process's status.
pub(super) fn status_of(k: &dyn Kernel, pid: &str, key: &str) -> String {
    field(&text(k, &format!("/proc/{pid}/status")), key)
}

/// The value of a `Key:` line.
pub(super) fn field(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_owned()
}

/// The fields of `/proc/…/stat` from the third one on (the state), which stands at 0.
pub(super) fn stat_fields(k: &dyn Kernel, pid: &str) -> Vec<String> {
    let text = text(k, &format!("/proc/{pid}/stat"));
    let (_, rest) = text.rsplit_once(") ").unwrap();
    rest.split_whitespace().map(str::to_owned).collect()
}

/// Waits until a process sleeps in a call.
#[track_caller]
pub(super) fn asleep(k: &dyn Kernel, child: Child) {
    in_state(k, &child.pid.to_string(), "S");
}

/// Waits until a process or a thread of this one (`self/task/…`) is in a state.
#[track_caller]
pub(super) fn in_state(k: &dyn Kernel, process: &str, state: &str) {
    until(k, || stat_fields(k, process)[0] == state);
}

/// A child that does something once this process sleeps in a call, and exits with what comes of it. A fixed time
/// instead would be over now and then before the call has begun.
pub(super) fn when_asleep(k: &dyn Kernel, act: impl Fn() -> i32) -> Child {
    let parent = k.getpid().to_string();
    k.child(|| {
        in_state(k, &parent, "S");
        act()
    })
}

/// A child that sends this process a signal once it sleeps in a call.
pub(super) fn signal_when_asleep(k: &dyn Kernel, signal: u32) -> Child {
    let parent = k.getpid();
    when_asleep(k, || i32::from(k.kill(parent, signal).is_err()))
}

/// Anonymous memory of this process.
pub(super) fn memory(k: &dyn Kernel, pages: usize) -> Box<dyn Mapping> {
    k.map(pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).unwrap()
}

/// Memory that children share.
pub(super) fn shared(k: &dyn Kernel, pages: usize) -> Box<dyn Mapping> {
    k.map(pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0).unwrap()
}

/// The half word at an offset of a mapping.
pub(super) fn peek(memory: &dyn Mapping, at: usize) -> u32 {
    u32::from_ne_bytes([0, 1, 2, 3].map(|index| memory.get(at + index)))
}

/// Whether the machine keeps huge pages for whoever asks.
pub(super) fn huge_pages(k: &dyn Kernel) -> bool {
    let more = k.open("/proc/sys/vm/nr_overcommit_hugepages", 0, 0);
    let more = more.map_or_else(|_| b"0".to_vec(), |fd| k.read_some(fd, 32).unwrap());
    more.trim_ascii() != b"0" || field(&text(k, "/proc/meminfo"), "HugePages_Total") != "0"
}

/// A descriptor from a call's result.
pub(super) fn fd(result: Result<u64>) -> Fd {
    result.unwrap() as Fd
}

/// A call that must succeed, whatever it returns.
#[track_caller]
pub(super) fn ok<T>(result: Result<T>) {
    result.map(|_| ()).unwrap();
}

/// Sends a signal to this process from a child a little later, again and again until it is ended.
pub(super) fn pester(k: &dyn Kernel, signal: u32) -> Child {
    let parent = k.getpid();
    k.child(|| {
        loop {
            k.sleep_ms(20);
            if k.kill(parent, signal).is_err() {
                return 1;
            }
        }
    })
}
