//! What a sandbox holds and uses: figures that must not grow, and those that SECURITY and performance pages promise.

mod common;

use std::fs;
use std::time::Duration;

use common::{Setup, children, descendants, eventually, kill};

/// A sum over lines `Name: … kB` of a process, KiB.
fn memory(pid: i32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// User and system ticks of a process.
fn ticks(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// Private memory of the sentry that has come and does not go: KiB.
fn anonymous(sentry: i32) -> u64 {
    memory(sentry, "Pss_Anon") + memory(sentry, "Pss_Shmem")
}

/// Runs a script in a sandbox that says `ready` twice and waits for a line after each; gives the sentry's memory at both
/// moments, and the processes below the command at the second.
fn before_and_after(setup: &Setup, script: &str) -> (u64, u64, usize) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let rootfs = setup.path().join("rootfs");
    let args = ["do", "--rootfs", rootfs.to_str().expect("a path"), "/bin/sh", "-c", script];
    let mut command = setup.command(&args);
    command.stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("runsc starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let pid = i32::try_from(child.id()).expect("pid");
    let mut ready = || {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready");
        // What ends in the background has ended by then.
        std::thread::sleep(Duration::from_millis(500));
        let sentry = children(pid)[0];
        (anonymous(sentry), descendants(pid).len())
    };
    let (before, _) = ready();
    input.write_all(b"go\n").expect("it reads");
    let (after, processes) = ready();
    input.write_all(b"go\n").expect("it reads");
    assert!(child.wait().expect("wait").success());
    (before, after, processes)
}

#[test]
fn processes_come_and_go_without_a_trace() {
    let Some(setup) = Setup::new("processes_come_and_go_without_a_trace") else { return };
    let round = |count: u32| {
        format!(
            "i=0; while [ $i -lt {count} ]; do (:); /bin/true; i=$((i+1)); done; echo ready; read x;"
        )
    };
    // Some of each kind first: what is kept for the next is there then.
    let script = format!("{} {}", round(200), round(1_000));
    let (before, after, processes) = before_and_after(&setup, &script);
    assert!(after < before + 2048, "{before} KiB before, {after} KiB after 2000 processes");
    // The sentry, the first stub, the shell's, and those that lie ready.
    assert!(processes <= 7, "{processes} processes");
}

#[test]
fn files_come_and_go_without_a_trace() {
    let Some(setup) = Setup::new("files_come_and_go_without_a_trace") else { return };
    let round = |count: u32| {
        format!(
            "i=0; while [ $i -lt {count} ]; do : > /tmp/$i; i=$((i+1)); done; cd /tmp; for f in *; do unlink $f; done; cd /; echo ready; read x;"
        )
    };
    fs::remove_file(setup.path().join("rootfs/bin/unlink")).ok();
    std::os::unix::fs::symlink("busybox", setup.path().join("rootfs/bin/unlink")).expect("a link");
    // As many first as then: what is kept for the next is there then.
    let script = format!("{} {}", round(2_000), round(2_000));
    let (before, after, _) = before_and_after(&setup, &script);
    assert!(after < before + 2048, "{before} KiB before, {after} KiB after 2000 files");
}

#[test]
fn a_sleeping_sandbox_uses_little_and_no_time() {
    let Some(setup) = Setup::new("a_sleeping_sandbox_uses_little_and_no_time") else { return };
    let rootfs = setup.path().join("rootfs");
    let args = ["do", "--rootfs", rootfs.to_str().expect("a path"), "/bin/sleep", "1000"];
    let mut child = setup.command(&args).spawn().expect("runsc starts");
    let pid = i32::try_from(child.id()).expect("pid");
    eventually("a guest", Duration::from_secs(10), || descendants(pid).len() >= 3);
    std::thread::sleep(Duration::from_secs(1));
    let all: Vec<i32> = descendants(pid).into_iter().chain([pid]).collect();
    let used = || all.iter().map(|pid| ticks(*pid)).sum::<u64>();
    let before = used();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(used(), before, "ticks in three seconds");
    let private: u64 = all.iter().map(|pid| memory(*pid, "Pss_Anon")).sum();
    assert!(private < 6 * 1024, "{private} KiB of private memory");
    let stubs = descendants(pid).len() - 1;
    assert!(stubs <= 2, "{stubs} stubs for one process");
    kill(pid, "KILL");
    child.wait().expect("wait");
}
