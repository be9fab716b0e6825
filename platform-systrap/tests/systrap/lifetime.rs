//! Nothing outlives the sentry, and a stub that dies is missed at once.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chitin_mm::platform::Event;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Host, at, children, is_alone, raw};

/// Until a condition holds, for a second.
fn soon(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// The stub that was made last.
fn newest() -> i32 {
    children().into_iter().max().expect("a stub")
}

#[test]
fn killed_from_outside() {
    if !is_alone("lifetime::killed_from_outside") {
        return;
    }
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::spinner());
    let stub = newest();
    thread.resume(&regs).expect("it runs");
    kill(Pid::from_raw(stub), Signal::SIGKILL).expect("it lives");
    let start = Instant::now();
    assert_eq!(host.event(&mut *thread, &mut regs), Event::Dead);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert!(host.wait(space.fork()).is_err());
    // A signal that kills by default, and one that the stub catches.
    let (_space, mut thread, mut regs) = host.start(raw::spinner());
    let stub = newest();
    thread.resume(&regs).expect("it runs");
    kill(Pid::from_raw(stub), Signal::SIGSEGV).expect("it lives");
    assert_eq!(host.event(&mut *thread, &mut regs), Event::Interrupted);
    thread.resume(&regs).expect("it runs");
    kill(Pid::from_raw(stub), Signal::SIGTERM).expect("it lives");
    assert_eq!(host.event(&mut *thread, &mut regs), Event::Dead);
    // Without its template, and the copies that it has ready, the platform makes no more, and says so.
    for pid in children() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    assert!(soon(|| children().is_empty()));
    assert!(host.wait(chitin_mm::platform::Platform::new_address_space(&*host.platform)).is_err());
}

#[test]
fn a_death_from_outside_is_told() {
    if !is_alone("lifetime::a_death_from_outside_is_told") {
        return;
    }
    let host = Host::new();
    let told = Arc::new(AtomicUsize::new(0));
    let notice = || {
        let told = Arc::clone(&told);
        Box::new(move || {
            told.fetch_add(1, Ordering::SeqCst);
        })
    };
    // The guest stands still, as in a system call: nobody polls it.
    let (space, mut thread, _) = host.start(raw::spinner());
    thread.on_death(notice());
    let stub = newest();
    kill(Pid::from_raw(stub), Signal::SIGKILL).expect("it lives");
    assert!(soon(|| told.load(Ordering::SeqCst) == 1));
    thread.on_death(notice());
    assert_eq!(told.load(Ordering::SeqCst), 2, "late is better than never");
    drop((thread, space));
    // What its owner ends is no news.
    let (space, mut thread, _) = host.start(raw::spinner());
    thread.on_death(notice());
    space.kill();
    drop(thread);
    let (space, mut thread, _) = host.start(raw::spinner());
    thread.on_death(notice());
    drop(thread);
    drop(space);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(told.load(Ordering::SeqCst), 2);
}

#[test]
fn everything_is_cleaned_up() {
    if !is_alone("lifetime::everything_is_cleaned_up") {
        return;
    }
    let host = Host::new();
    let spaces: Vec<_> = (0..20).map(|_| host.load(raw::spinner())).collect();
    let mut threads: Vec<_> =
        spaces.iter().map(|space| host.spawn(&**space, &at(0x40_0000))).collect();
    for thread in &mut threads {
        thread.resume(&at(0x40_0000)).expect("it runs");
    }
    assert!(children().len() >= 21);
    // Copies that nobody waits for.
    let copies: Vec<_> = spaces.iter().map(|space| space.fork()).collect();
    drop(copies);
    drop(threads);
    drop(spaces);
    // The template, and those that lie ready.
    assert!(soon(|| children().len() <= 5), "{:?}", children());
    let mut child = Command::new("/bin/true").spawn().expect("it runs");
    assert!(child.wait().expect("nobody else has reaped it").success());
    drop(host);
    assert!(soon(|| children().is_empty()), "{:?}", children());
}

/// Runs guests and says which processes they are in, until it is killed.
fn sentry() {
    let host = Host::new();
    let (space, mut thread, regs) = host.start(raw::spinner());
    thread.resume(&regs).expect("it runs");
    let copy = host.wait(space.fork()).expect("a copy");
    let mut other = host.spawn(&*copy, &regs);
    other.resume(&regs).expect("it runs");
    let pids: Vec<String> = children().iter().map(ToString::to_string).collect();
    let path = std::env::var_os("CHITIN_TEST_SENTRY").expect("it is set");
    std::fs::write(path, pids.join(" ")).expect("it can be written");
    std::thread::sleep(Duration::from_secs(30));
}

#[test]
fn the_sentry_is_killed() {
    if std::env::var_os("CHITIN_TEST_SENTRY").is_some() {
        return sentry();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pids");
    let mut sentry = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "lifetime::the_sentry_is_killed"])
        .env("CHITIN_TEST_SENTRY", &path)
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let pids = || read().split(' ').filter_map(|pid| pid.parse::<i32>().ok()).collect::<Vec<_>>();
    let start = Instant::now();
    while pids().len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    sentry.kill().expect("it lives");
    sentry.wait().expect("it has ended");
    let is_gone = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.contains("stub") || status.contains("State:\tZ")
    };
    assert!(soon(|| pids().iter().all(is_gone)), "{:?}", pids());
}
