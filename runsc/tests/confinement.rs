//! The live confinement of a sandbox's processes is what SECURITY.md says.

mod common;

use std::fs;
use std::time::Duration;

use common::{Setup, children, eventually, kill, status_field};

/// Capabilities, no_new_privs and seccomp of a process in the table of SECURITY.md.
fn documented(process: &str) -> [String; 3] {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md"))
        .expect("SECURITY.md");
    let row = page.lines().find(|line| line.starts_with(&format!("| {process} |"))).expect("a row");
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    [cells[3].to_owned(), cells[4].to_owned(), cells[5].to_owned()]
}

fn live(pid: i32) -> [String; 3] {
    ["CapEff", "NoNewPrivs", "Seccomp"].map(|field| status_field(pid, field).expect("a field"))
}

#[test]
fn live_processes_are_as_documented() {
    let Some(setup) = Setup::new("live_processes_are_as_documented") else { return };
    let rootfs = setup.path().join("rootfs");
    let args = ["do", "--rootfs", rootfs.to_str().expect("a path"), "/bin/sleep", "1000"];
    let mut child = setup.command(&args).spawn().expect("runsc starts");
    let pid = i32::try_from(child.id()).expect("pid");
    eventually("a guest", Duration::from_secs(10), || {
        children(pid).iter().any(|sentry| children(*sentry).len() >= 2)
    });
    let sentry = children(pid)[0];
    assert_eq!(live(sentry), documented("sentry"));
    assert_eq!(status_field(sentry, "CapBnd").as_deref(), Some("000000000000001f"));
    assert_eq!(status_field(sentry, "Seccomp_filters").as_deref(), Some("1"));
    for stub in children(sentry) {
        // One that was forked a moment ago may not have finished.
        eventually("a confined stub", Duration::from_secs(1), || live(stub) == documented("stub"));
        assert_eq!(status_field(stub, "CapBnd").as_deref(), Some("0000000000000000"));
    }
    for process in children(sentry).into_iter().chain([sentry]) {
        let root = fs::read_dir(format!("/proc/{process}/root")).expect("a root directory");
        let names: Vec<_> = root.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        let empty = names.iter().all(|name| name == "proc");
        assert!(empty, "the root directory of {process} is not empty: {names:?}");
        let proc = fs::read_dir(format!("/proc/{process}/root/proc")).map_or(0, Iterator::count);
        assert_eq!(proc, 0, "/proc is visible to {process}");
        for kind in ["user", "pid", "mnt", "ipc", "uts", "cgroup"] {
            let of =
                |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
            assert_ne!(of("self"), of(&process.to_string()), "{kind} of {process}");
        }
    }
    kill(pid, "KILL");
    child.wait().expect("wait");
}
