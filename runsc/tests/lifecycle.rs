//! Containers from creation to deletion, and what is left when processes are killed: nothing.

mod common;

use std::fs;
use std::time::Duration;

use common::{Setup, children, descendants, eventually, kill, output, runs, status_field};

/// Within this time everything of a sandbox is gone.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn run_gives_output_and_exit_code() {
    let Some(setup) = Setup::new("run_gives_output_and_exit_code") else { return };
    setup.config(
        &["sh", "-c", "echo $A; echo oops >&2; id -u; cat /proc/sys/kernel/hostname; exit 3"],
        |_| {},
    );
    let output = setup.runsc(&["run", "c"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "b c\n0\nshell\n", "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "oops\n");
    assert_eq!(output.status.code(), Some(3));
    assert!(setup.succeeds(&["list", "-q"]).is_empty());
    setup.config(&["sh", "-c", "kill -9 $$; sh -c 'kill -9 $$'; exit $?"], |_| {});
    assert_eq!(setup.runsc(&["run", "c"]).status.code(), Some(137));
}

#[test]
fn programs_that_cannot_be_run() {
    let Some(setup) = Setup::new("programs_that_cannot_be_run") else { return };
    let executable = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = setup.path().join("rootfs/bin").join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    };
    executable("garbage", "\x7fELF and nothing else");
    executable("script", "#!/no/such/interpreter\n");
    std::os::unix::fs::symlink("loop", setup.path().join("rootfs/bin/loop")).expect("a link");
    for (program, code, words) in [
        ("nothing-of-this-name", 127, "nothing-of-this-name"),
        ("/bin/nothing", 127, "/bin/nothing"),
        ("/bin/plain", 126, "/bin/plain"),
        ("/tmp", 126, "/tmp"),
        ("", 127, "No such file"),
        ("/bin/garbage", 126, "Exec format error"),
        ("/bin/loop", 126, "symbolic links"),
        ("/bin/script", 127, "/bin/script"),
    ] {
        setup.config(&[program], |_| {});
        let output = setup.runsc(&["run", "c"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{program}: {text}");
        assert!(text.contains(words) && text.lines().count() == 1, "{program}: {text}");
        assert!(setup.succeeds(&["list", "-q"]).is_empty(), "{program}");
    }
}

#[test]
fn create_start_kill_delete() {
    let Some(setup) = Setup::new("create_start_kill_delete") else { return };
    setup.config(&["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"], |_| {});
    let pid_file = setup.path().join("pid");
    setup.succeeds(&["create", "--pid-file", pid_file.to_str().expect("a path"), "c"]);
    let pid: i32 = fs::read_to_string(pid_file).expect("pid file").parse().expect("a number");
    let state = setup.state("c");
    assert_eq!(
        (state["status"].as_str(), state["pid"].as_i64()),
        (Some("created"), Some(pid.into()))
    );
    assert!(!setup.runsc(&["create", "c"]).status.success(), "the name is taken");
    setup.succeeds(&["start", "c"]);
    assert_eq!(setup.state("c")["status"], "running");
    assert!(!setup.runsc(&["start", "c"]).status.success(), "it runs already");
    assert!(!setup.runsc(&["delete", "c"]).status.success(), "it still runs");
    assert!(setup.succeeds(&["list"]).contains("running"));
    assert!(setup.succeeds(&["ps", "c"]).contains("sh"));
    setup.succeeds(&["kill", "c", "TERM"]);
    eventually("stopped", SOON, || setup.state("c")["status"] == "stopped");
    assert!(setup.succeeds(&["wait", "c"]).contains("\"exitStatus\":7"));
    setup.succeeds(&["delete", "c"]);
    assert!(!setup.path().join("state/c").exists());
}

#[test]
fn exec_runs_more_programs() {
    let Some(setup) = Setup::new("exec_runs_more_programs") else { return };
    setup.config(&["sleep", "1000"], |_| {});
    setup.succeeds(&["run", "--detach", "c"]);
    let result =
        setup.runsc(&["exec", "--env", "X=y", "c", "sh", "-c", "echo $X; touch /tmp/made; exit 5"]);
    assert_eq!(String::from_utf8_lossy(&result.stdout), "y\n", "{result:?}");
    assert_eq!(result.status.code(), Some(5));
    assert!(setup.succeeds(&["exec", "c", "ls", "/tmp"]).contains("made"));
    assert!(!setup.path().join("rootfs/tmp/made").exists(), "the overlay keeps it");
    assert_eq!(setup.runsc(&["exec", "c", "nothing"]).status.code(), Some(127));
    assert_eq!(
        setup.succeeds(&["exec", "--user", "5:6", "c", "sh", "-c", "id -u; id -g"]),
        "5\n6\n"
    );
    setup.succeeds(&["pause", "c"]);
    assert_eq!(setup.state("c")["status"], "paused");
    setup.succeeds(&["resume", "c"]);
    assert_eq!(setup.state("c")["status"], "running");
    setup.succeeds(&["delete", "--force", "c"]);
    assert!(setup.succeeds(&["list", "-q"]).is_empty());
}

#[test]
fn paths_are_masked_and_read_only() {
    let Some(setup) = Setup::new("paths_are_masked_and_read_only") else { return };
    fs::write(setup.path().join("rootfs/secret"), "s").expect("a file");
    fs::create_dir(setup.path().join("rootfs/hidden")).expect("a directory");
    fs::write(setup.path().join("rootfs/hidden/x"), "s").expect("a file");
    fs::write(setup.path().join("bound"), "content\n").expect("a file");
    let script = "cat /secret; ls /hidden; touch /bin/x 2>/dev/null && echo writable; touch /x 2>/dev/null && echo writable; cat /bound";
    setup.config(&["sh", "-c", script], |value| {
        value["linux"]["maskedPaths"] = serde_json::json!(["/secret", "/hidden", "/absent"]);
        value["linux"]["readonlyPaths"] = serde_json::json!(["/bin"]);
        value["root"]["readonly"] = true.into();
        let bind = serde_json::json!({ "destination": "/bound", "type": "bind", "source": "bound", "options": ["ro"] });
        value["mounts"].as_array_mut().expect("an array").push(bind);
    });
    assert_eq!(setup.succeeds(&["run", "c"]), "content\n");
}

#[test]
fn a_killed_sentry_leaves_nothing() {
    let Some(setup) = Setup::new("a_killed_sentry_leaves_nothing") else { return };
    setup.config(&["sh", "-c", "sleep 1000 & sleep 1000"], |_| {});
    setup.succeeds(&["run", "--detach", "c"]);
    let sentry = i32::try_from(setup.state("c")["pid"].as_i64().expect("pid")).expect("pid");
    eventually("stubs", SOON, || descendants(sentry).len() >= 2);
    let all = [vec![sentry], descendants(sentry)].concat();
    kill(sentry, "KILL");
    eventually("all are gone", SOON, || all.iter().all(|pid| !runs(*pid)));
    assert_eq!(setup.state("c")["status"], "stopped");
    setup.succeeds(&["delete", "--force", "c"]);
    assert!(!setup.path().join("state/c").exists());
}

#[test]
fn a_killed_command_takes_its_sandbox_along() {
    let Some(setup) = Setup::new("a_killed_command_takes_its_sandbox_along") else { return };
    let rootfs = setup.path().join("rootfs");
    let mut command =
        setup.command(&["do", "--rootfs", rootfs.to_str().expect("a path"), "/bin/sleep", "1000"]);
    let mut child = command.spawn().expect("runsc starts");
    let pid = i32::try_from(child.id()).expect("pid");
    eventually("a sentry with a guest", Duration::from_secs(10), || descendants(pid).len() >= 3);
    let all = descendants(pid);
    child.kill().expect("kill");
    child.wait().expect("wait");
    eventually("all are gone", SOON, || all.iter().all(|pid| !runs(*pid)));
}

#[test]
fn a_killed_stub_is_a_killed_process() {
    let Some(setup) = Setup::new("a_killed_stub_is_a_killed_process") else { return };
    let rootfs = setup.path().join("rootfs");
    let script = "sh -c 'while :; do :; done'; echo $?";
    let args = ["do", "--rootfs", rootfs.to_str().expect("a path"), "/bin/sh", "-c", script];
    let child = setup.command(&args).spawn().expect("runsc starts");
    let pid = i32::try_from(child.id()).expect("pid");
    eventually("a sentry", Duration::from_secs(10), || children(pid).len() == 1);
    let sentry = children(pid)[0];
    // A stub with a guest has a thread besides its first one; the last of them runs the program started last.
    let guests = || {
        let busy =
            |stub: &i32| status_field(*stub, "Threads").is_some_and(|threads| threads != "1");
        children(sentry).into_iter().filter(busy).collect::<Vec<_>>()
    };
    eventually("guests", Duration::from_secs(10), || guests().len() >= 2);
    std::thread::sleep(Duration::from_millis(300));
    let last = *guests().last().expect("a stub");
    kill(last, "KILL");
    let result = output(child);
    assert_eq!(String::from_utf8_lossy(&result.stdout), "137\n", "{result:?}");
}

#[test]
fn sandboxes_die_under_load_without_a_trace() {
    let Some(setup) = Setup::new("sandboxes_die_under_load_without_a_trace") else { return };
    let rootfs = setup.path().join("rootfs");
    let script = "while :; do (echo x | cat >/tmp/f; ls / >/dev/null); done";
    let args = ["do", "--rootfs", rootfs.to_str().expect("a path"), "/bin/sh", "-c", script];
    let witness_script =
        "i=0; while [ $i -lt 300 ]; do (exit 7); [ $? = 7 ] || exit 1; i=$((i+1)); done; echo fine";
    let witness_args = ["do", "--rootfs", args[2], "/bin/sh", "-c", witness_script];
    let witness = setup.command(&witness_args).spawn().expect("runsc starts");
    for round in 0..6_u64 {
        let mut child = setup.command(&args).spawn().expect("runsc starts");
        let pid = i32::try_from(child.id()).expect("pid");
        eventually("a sentry with a guest", Duration::from_secs(10), || {
            descendants(pid).len() >= 3
        });
        std::thread::sleep(Duration::from_millis(50 + round * 37));
        let all = descendants(pid);
        let sentry = children(pid)[0];
        // The command itself and its sentry, in turn.
        kill(if round % 2 == 0 { pid } else { sentry }, "KILL");
        eventually("all are gone", SOON, || all.iter().all(|pid| !runs(*pid)));
        let status = child.wait().expect("wait");
        assert!(!status.success());
    }
    let result = output(witness);
    assert_eq!(String::from_utf8_lossy(&result.stdout), "fine\n", "{result:?}");
}

/// The processes whose command line has this text; a sentry has that of the command that made it.
fn with_command_line(text: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        runs(*pid) && String::from_utf8_lossy(&line).contains(text)
    })
    .collect()
}

#[test]
fn create_may_be_killed_at_any_moment() {
    let Some(setup) = Setup::new("create_may_be_killed_at_any_moment") else { return };
    setup.config(&["sleep", "1000"], |_| {});
    let mark = setup.path().join("state").display().to_string();
    for round in 0..25 {
        let mut child = setup
            .command(&["create", "c"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("runsc");
        std::thread::sleep(Duration::from_millis(round));
        child.kill().expect("kill");
        child.wait().expect("wait");
        // It may have been finished: then the container stays, as it should, until it is deleted.
        setup.succeeds(&["delete", "--force", "c"]);
        eventually("no process is left", SOON, || with_command_line(&mark).is_empty());
        assert!(!setup.path().join("state/c").exists());
    }
}
