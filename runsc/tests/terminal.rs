//! A terminal of its own for the program: job control, signals of keys, the exit code.

mod common;

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{PATIENCE, Setup, output, skip};

/// Ends what a failed test leaves running.
struct Killed(Option<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
        }
    }
}

/// Runs a shell on a terminal. Each step waits until something new is shown and then types. Gives what was shown and
/// the exit code.
fn on_a_terminal(setup: &Setup, steps: &[(&str, &str)]) -> (String, Option<i32>) {
    let rootfs = setup.path().join("rootfs");
    let command =
        format!("{} do --rootfs {} /bin/sh", env!("CARGO_BIN_EXE_runsc"), rootfs.display());
    let mut script = Command::new("script");
    script.args(["-qefc", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    script.env("TERM", "dumb");
    let mut child = Killed(Some(script.stderr(Stdio::null()).spawn().expect("script")));
    let running = child.0.as_mut().expect("a child");
    let mut stdin = running.stdin.take().expect("a pipe");
    let mut stdout = running.stdout.take().expect("a pipe");
    let shown = Arc::new(Mutex::new(String::new()));
    let screen = Arc::clone(&shown);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            screen.lock().expect("a lock").push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    let mut seen = 0;
    for (expected, keys) in steps {
        let begun = Instant::now();
        loop {
            let text = shown.lock().expect("a lock").clone();
            if let Some(position) = text[seen..].find(expected) {
                seen += position + expected.len();
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "no {expected:?} in {:?} of {text:?}",
                &text[seen..]
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        stdin.write_all(keys.as_bytes()).expect("a terminal");
        stdin.flush().expect("a terminal");
    }
    let result = output(child.0.take().expect("a child"));
    reader.join().expect("a reader");
    let text = shown.lock().expect("a lock").clone();
    (text, result.status.code())
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
    let steps = [
        // What a program says itself it says in the foreground, and the shell has let go of the keys.
        ("/ # ", "sh -c 'echo $((5 * 5)); exec cat'\n"),
        ("25", "typed\n"),
        // An echo, and cat's copy.
        ("typed", ""),
        ("typed", "\x03"),
        ("/ # ", "echo status $?\n"),
        ("status 130", ""),
        ("/ # ", "while :; do echo busy; sleep 0.1; done\n"),
        ("busy\r\nbusy", "\x03"),
        ("/ # ", "sh -c 'echo $((6 * 7)); exec sleep 1000'\n"),
        ("42", "\x1a"),
        ("Stopped", ""),
        ("/ # ", "fg\n"),
        ("exec sleep", "\x03"),
        ("/ # ", "exit 5\n"),
    ];
    let (shown, code) = on_a_terminal(&setup, &steps);
    assert_eq!(code, Some(5), "{shown}");
}
