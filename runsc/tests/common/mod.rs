//! What tests that start sandboxes share.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take in a sandbox of these tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A state directory and a bundle with a static busybox.
pub struct Setup {
    directory: TempDir,
}

impl Setup {
    /// `None` where there is no static busybox: the test is skipped.
    pub fn new(test: &str) -> Option<Self> {
        let Some(busybox) = static_busybox() else {
            skip(test, "no static busybox (package busybox-static)");
            return None;
        };
        let directory = tempfile::tempdir().expect("a directory");
        let bin = directory.path().join("rootfs/bin");
        fs::create_dir_all(&bin).expect("rootfs");
        fs::copy(busybox, bin.join("busybox")).expect("busybox");
        for name in [
            "sh", "cat", "echo", "ls", "sleep", "id", "true", "false", "kill", "touch", "grep",
            "mount", "stat", "mkfifo", "test",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
        }
        fs::create_dir(directory.path().join("rootfs/tmp")).expect("tmp");
        fs::write(directory.path().join("rootfs/bin/plain"), "text").expect("a file");
        Some(Self { directory })
    }

    /// The bundle's directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes `config.json` for a program; `change` may alter it.
    pub fn config(&self, args: &[&str], change: impl FnOnce(&mut serde_json::Value)) {
        let all = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN"];
        let mut value = serde_json::json!({
            "ociVersion": "1.2.0",
            "process": {
                "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin", "A=b c"],
                "capabilities": { "bounding": all, "effective": all, "permitted": all },
            },
            "root": { "path": "rootfs", "readonly": false },
            "hostname": "shell",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts" },
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
        });
        change(&mut value);
        fs::write(self.path().join("config.json"), value.to_string()).expect("config.json");
    }

    /// `runsc` with the state directory of this setup.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsc"));
        command.arg("--root").arg(self.path().join("state")).args(args).current_dir(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end. Through files: a detached container would hold a pipe open. Each run has its own: such a
    /// container goes on to write to those of the run that created it.
    pub fn runsc(&self, args: &[&str]) -> Output {
        let mut files = [(); 2].map(|()| tempfile::tempfile().expect("a file"));
        let own = |file: &fs::File| file.try_clone().expect("a descriptor");
        let mut command = self.command(args);
        command.stdout(own(&files[0])).stderr(own(&files[1]));
        let mut output = output(command.spawn().expect("runsc starts"));
        for (file, bytes) in files.iter_mut().zip([&mut output.stdout, &mut output.stderr]) {
            file.rewind().and_then(|()| file.read_to_end(bytes)).expect("output");
        }
        output
    }

    /// Runs to the end with success and gives the output.
    pub fn succeeds(&self, args: &[&str]) -> String {
        let output = self.runsc(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The state of a container as `state` prints it.
    pub fn state(&self, id: &str) -> serde_json::Value {
        serde_json::from_str(&self.succeeds(&["state", id])).expect("JSON")
    }
}

/// Waits for a command, not for ever.
pub fn output(mut child: Child) -> Output {
    let begun = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("still running after {PATIENCE:?}: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("output")
}

/// Waits until something is true.
pub fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Notes that a test did not run.
pub fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("CHITIN_SKIP_FILE") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{test}: {reason}"));
    }
}

fn static_busybox() -> Option<PathBuf> {
    let path = PathBuf::from("/bin/busybox");
    let bytes = fs::read(&path).ok()?;
    // A dynamic program names its interpreter.
    let dynamic = bytes.windows(10).any(|window| window == b"/lib64/ld-");
    (!dynamic).then_some(path)
}

/// The processes whose parent is `pid`.
pub fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// All processes below `pid`.
pub fn descendants(pid: i32) -> Vec<i32> {
    let direct = children(pid);
    let deeper: Vec<i32> = direct.iter().flat_map(|child| descendants(*child)).collect();
    [direct, deeper].concat()
}

/// Whether a process runs (and is no zombie).
pub fn runs(pid: i32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A field of `/proc/PID/status`.
pub fn status_field(pid: i32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Sends a signal from outside.
pub fn kill(pid: i32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.expect("kill").success());
}
