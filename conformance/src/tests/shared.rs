//! What bodies of many families share.

use core::fmt::Debug;

use chitin_abi::signal::{SA_RESTART, SIGALRM};
use chitin_abi::time::{Itimerval, Timeval};
use chitin_abi::{Errno, Result};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::support::{WNOHANG, stat_fields, until, when_asleep};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, Processes, fails};

/// Runs a body in a child; a panic there fails the test.
#[track_caller]
pub fn apart(k: &dyn Kernel, body: impl Fn()) {
    let child = k.child(|| {
        body();
        0
    });
    assert_eq!(k.status(child), 0, "in the child");
}

/// Runs a body in a child as this user, with the group of the same number and no capabilities. The test's
/// directory becomes writable for everybody.
#[track_caller]
pub fn as_user(k: &dyn Kernel, id: u32, body: impl Fn()) {
    call!(k, CHMOD, c".", 0o777).unwrap();
    apart(k, || {
        become_user(k, id);
        body();
    });
}

/// Gives up the rights of user 0 for good.
pub fn become_user(k: &dyn Kernel, id: u32) {
    call!(k, SETGROUPS, 0, Arg::Null).unwrap();
    call!(k, SETRESGID, id, id, id).unwrap();
    call!(k, SETRESUID, id, id, id).unwrap();
}

/// Runs a body in a child with mounts of its own that propagate nowhere.
#[track_caller]
pub fn in_own_mounts(k: &dyn Kernel, body: impl Fn()) {
    apart(k, || {
        call!(k, UNSHARE, 0x2_0000).unwrap();
        call!(k, MOUNT, Arg::Null, c"/", Arg::Null, 0x4_4000, Arg::Null).unwrap();
        body();
    });
}

fn timer(k: &dyn Kernel, micros: i64) {
    let time = Timeval { tv_sec: 0, tv_usec: micros };
    let value = Itimerval { it_interval: time, it_value: time };
    call!(k, SETITIMER, 0, value.as_bytes(), Arg::Null).unwrap();
}

/// Sends this process SIGALRM every 20 ms, with a handler of these `SA_…` flags, while a body runs.
pub fn alarmed<T>(k: &dyn Kernel, flags: u64, body: impl FnOnce() -> T) -> T {
    k.catch(SIGALRM, flags).unwrap();
    timer(k, 20_000);
    let result = body();
    timer(k, 0);
    result
}

/// Asserts that a handled signal ends a call that waits.
#[track_caller]
pub fn interrupted<T: Debug>(k: &dyn Kernel, body: impl FnOnce() -> Result<T>) {
    fails(alarmed(k, 0, body), Errno::EINTR);
}

/// Asserts that a call that waits goes on after a signal whose handler asks for restarting, until a child wakes it.
#[track_caller]
pub fn restarted<T>(k: &dyn Kernel, wake: impl Fn(), body: impl FnOnce() -> Result<T>) -> T {
    let child = when_asleep(k, || {
        k.sleep_ms(90);
        wake();
        0
    });
    let result = alarmed(k, SA_RESTART, body);
    assert!(k.caught(SIGALRM).0 > 0, "a signal came while the call waited");
    assert_eq!(k.status(child), 0);
    result.unwrap_or_else(|errno| panic!("not restarted: {errno:?}"))
}

/// Runs a body that waits, and a wake-up in a child once it does.
#[track_caller]
pub fn woken<T>(k: &dyn Kernel, wake: impl Fn(), body: impl FnOnce() -> T) -> T {
    let child = when_asleep(k, || {
        wake();
        0
    });
    let result = body();
    assert_eq!(k.status(child), 0);
    result
}

/// Whether a child that runs this body still waits after a while; the child is killed.
pub fn blocks(k: &dyn Kernel, body: impl Fn()) -> bool {
    let child = k.child(|| {
        body();
        0
    });
    let goes_on = || k.wait4(child.pid, WNOHANG) == Ok((0, 0));
    until(k, || !goes_on() || stat_fields(k, &child.pid.to_string())[0] == "S");
    k.sleep_ms(30);
    let waits = goes_on();
    if waits {
        k.kill(child.pid, 9).unwrap();
        k.status(child);
    }
    waits
}

/// An array of `struct iovec` over these buffers.
pub fn vector(buffers: &mut [&mut [u8]]) -> Vec<u8> {
    let words = buffers.iter_mut().flat_map(|part| [part.as_mut_ptr() as u64, part.len() as u64]);
    words.flat_map(u64::to_ne_bytes).collect()
}

/// A structure that the kernel fills.
pub fn filled<T: FromZeros + FromBytes + IntoBytes + Immutable + KnownLayout>(
    body: impl FnOnce(&mut [u8]) -> Result<u64>,
) -> Result<T> {
    let mut value = T::new_zeroed();
    body(value.as_mut_bytes())?;
    Ok(value)
}

/// The text of a file, such as one of `/proc`.
pub fn text(k: &dyn Kernel, path: &str) -> String {
    let fd = k.open(path, 0, 0).unwrap_or_else(|errno| panic!("open {path}: {errno:?}"));
    let mut text = Vec::new();
    loop {
        let part = k.read_some(fd, 65536).unwrap();
        if part.is_empty() {
            break;
        }
        text.extend(part);
    }
    k.close(fd).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// A field of `/proc/self/fdinfo/FD`.
pub fn fdinfo(k: &dyn Kernel, fd: Fd, field: &str) -> Option<String> {
    let text = text(k, &format!("/proc/self/fdinfo/{fd}"));
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Runs a shell script in place of this process, with an empty environment.
pub fn exec_shell(k: &dyn Kernel, script: &str) -> Errno {
    let texts: Vec<_> =
        ["sh", "-c", script].iter().map(|text| std::ffi::CString::new(*text).unwrap()).collect();
    let mut pointers: Vec<u64> = texts.iter().map(|text| text.as_ptr() as u64).collect();
    pointers.push(0);
    call!(k, EXECVE, c"/bin/sh", pointers.as_bytes(), &[0_u8; 8]).unwrap_err()
}

/// Whether a descriptor is open.
pub fn is_open(k: &dyn Kernel, fd: Fd) -> bool {
    k.fcntl(fd, 1, 0).is_ok()
}

/// Lowers a resource limit of this process.
pub fn limit(k: &dyn Kernel, resource: u32, value: u64) {
    call!(k, SETRLIMIT, resource, [value, value].as_bytes()).unwrap();
}

/// A fifth argument word as signed 32-bit number.
pub fn int(bytes: &[u8], at: usize) -> i32 {
    i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// A word of 64 bits.
pub fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}
