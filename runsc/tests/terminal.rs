//! A terminal of its own for the program: job control, signals of keys, the exit code.

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Setup, output, skip};

/// Runs a shell on a terminal, types the keys with a pause before each, and gives what was shown and the exit code.
fn on_a_terminal(setup: &Setup, keys: &[&str]) -> (String, Option<i32>) {
    let rootfs = setup.path().join("rootfs");
    let command =
        format!("{} do --rootfs {} /bin/sh", env!("CARGO_BIN_EXE_runsc"), rootfs.display());
    let mut script = Command::new("script");
    script
        .args(["-qefc", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    script.env("TERM", "dumb").env("PS1", "$ ");
    let mut child = script.spawn().expect("script");
    let mut stdin = child.stdin.take().expect("a pipe");
    for key in keys {
        std::thread::sleep(Duration::from_millis(700));
        stdin.write_all(key.as_bytes()).expect("a terminal");
        stdin.flush().expect("a terminal");
    }
    let result = output(child);
    (String::from_utf8_lossy(&result.stdout).into_owned(), result.status.code())
}

fn setup(test: &str) -> Option<Setup> {
    if Command::new("script").arg("--version").output().is_err() {
        skip(test, "no script(1) (package bsdutils)");
        return None;
    }
    Setup::new(test)
}

#[test]
fn keys_become_signals() {
    let Some(setup) = setup("keys_become_signals") else { return };
    let keys = [
        "cat\n",
        "typed\n",
        "\x03",
        "echo status $?\n",
        "sleep 1000\n",
        "\x1a",
        "jobs\n",
        "kill -9 %1\n",
        "exit 5\n",
    ];
    let (shown, code) = on_a_terminal(&setup, &keys);
    assert_eq!(shown.matches("typed").count(), 2, "an echo and cat's copy: {shown}");
    assert!(shown.contains("status 130"), "{shown}");
    assert!(shown.contains("Stopped"), "{shown}");
    assert_eq!(code, Some(5), "{shown}");
}
