//! Each mistake gets one sentence on standard error and in `--log`, and an exit code.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

struct Setup {
    directory: TempDir,
}

impl Setup {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn runsc(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsc"));
        command
            .arg("--root")
            .arg(self.path().join("state"))
            .arg("--log")
            .arg(self.path().join("log"));
        command.arg("--log-format=json").args(args).output().expect("runsc starts")
    }

    /// Runs, and checks that one sentence with these words is in both places. Gives the exit code.
    fn fails(&self, args: &[&str], words: &[&str]) -> i32 {
        let output = self.runsc(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let errors: Vec<&str> = text.lines().filter(|line| !line.contains("warning:")).collect();
        assert_eq!(errors.len(), 1, "{args:?}: {text}");
        let log = fs::read_to_string(self.path().join("log")).expect("a log");
        let last: serde_json::Value =
            serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
        let message = last["msg"].as_str().expect("a message");
        assert_eq!(errors[0], format!("runsc: {message}"));
        for word in words {
            assert!(message.contains(word), "{args:?}: {word:?} is not in {message:?}");
        }
        output.status.code().expect("an exit code")
    }

    fn config(&self, text: &str) {
        fs::write(self.path().join("config.json"), text).expect("config.json");
    }

    fn run(&self, words: &[&str]) -> i32 {
        let bundle = self.path().to_str().expect("a path").to_owned();
        self.fails(&["run", "--bundle", &bundle, "c1"], words)
    }
}

#[test]
fn bundles() {
    let setup = Setup::new();
    assert_eq!(
        setup.fails(&["run", "--bundle", "/nonexistent", "c1"], &["/nonexistent", "No such file"]),
        1
    );
    assert_eq!(setup.run(&["config.json does not exist", "runsc spec"]), 1);
    setup.config("{ nonsense");
    assert_eq!(setup.run(&["config.json", "line 1"]), 1);
    setup.config(r#"{"ociVersion":"1.0.2","process":{"cwd":"/","args":["sh"],"user":{"uid":"root","gid":0}}}"#);
    assert_eq!(setup.run(&["field process.user.uid", "invalid type"]), 1);
    setup.config(r#"{"ociVersion":"1.0.2"}"#);
    assert_eq!(setup.run(&["field process is missing"]), 1);
    let process = r#""process":{"cwd":"/","args":["sh"],"user":{"uid":0,"gid":0}}"#;
    setup.config(&format!(r#"{{"ociVersion":"1.0.2",{process}}}"#));
    assert_eq!(setup.run(&["field root is missing"]), 1);
    setup.config(&format!(r#"{{"ociVersion":"1.0.2",{process},"root":{{"path":"rootfs"}}}}"#));
    assert_eq!(setup.run(&["rootfs", "No such file", "root.path"]), 1);
    fs::create_dir(setup.path().join("rootfs")).expect("rootfs");
    let mounts = r#""mounts":[{"destination":"/x","type":"zfs"}]"#;
    setup.config(&format!(
        r#"{{"ociVersion":"1.0.2",{process},"root":{{"path":"rootfs"}},{mounts}}}"#
    ));
    assert_eq!(setup.run(&["mount /x", "\"zfs\"", "not supported"]), 1);
    let mounts = r#""mounts":[{"destination":"/x","type":"bind","source":"/nonexistent"}]"#;
    setup.config(&format!(
        r#"{{"ociVersion":"1.0.2",{process},"root":{{"path":"rootfs"}},{mounts}}}"#
    ));
    assert_eq!(setup.run(&["/nonexistent"]), 1);
    let linux = r#""linux":{"seccomp":{"defaultAction":"SCMP_ACT_NOTIFY"}}"#;
    setup.config(&format!(
        r#"{{"ociVersion":"1.0.2",{process},"root":{{"path":"rootfs"}},{linux}}}"#
    ));
    assert_eq!(setup.run(&["linux.seccomp", "SCMP_ACT_NOTIFY"]), 1);
    assert!(!setup.path().join("state/c1").exists(), "a container that failed leaves nothing");
}

#[test]
fn containers_that_are_not_there() {
    let setup = Setup::new();
    for command in ["state", "start", "delete", "ps", "pause", "resume", "wait", "kill"] {
        assert_eq!(setup.fails(&[command, "ghost"], &["\"ghost\" does not exist"]), 1, "{command}");
    }
    assert_eq!(setup.fails(&["exec", "ghost", "true"], &["\"ghost\" does not exist"]), 1);
    assert_eq!(setup.fails(&["state", "a/b"], &["cannot be a container id"]), 1);
    assert!(setup.runsc(&["delete", "--force", "ghost"]).status.success());
    assert!(setup.runsc(&["list", "--quiet"]).stdout.is_empty());
}

#[test]
fn arguments_of_do() {
    let setup = Setup::new();
    assert_eq!(
        setup.fails(&["do", "--rootfs", "/nonexistent", "true"], &["/nonexistent", "--rootfs"]),
        1
    );
    assert_eq!(setup.fails(&["do", "--user", "x", "true"], &["--user x", "UID"]), 1);
    assert_eq!(setup.fails(&["do", "--volume", "/a", "true"], &["--volume /a", "SRC:DST"]), 1);
    assert_eq!(setup.fails(&["do", "--env", "A", "true"], &["--env A", "K=V"]), 1);
    assert_eq!(
        setup.fails(&["--network=host", "do", "true"], &["--network", "not supported yet"]),
        1
    );
}

#[test]
fn usage() {
    let setup = Setup::new();
    assert_eq!(setup.fails(&["nonsense"], &["nonsense", "runsc help"]), 2);
    assert_eq!(setup.fails(&["do"], &["required", "PROGRAM"]), 2);
    assert_eq!(setup.fails(&["list", "--format=x"], &["'x'", "--format"]), 2);
    assert!(setup.runsc(&["--version"]).status.success());
    assert!(setup.runsc(&["help"]).status.success());
}

#[test]
fn closed_output() {
    let runsc = env!("CARGO_BIN_EXE_runsc");
    let script = format!("'{runsc}' features >&- 2>/dev/null");
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let output = Command::new("sh")
        .args(["-c", &format!("'{runsc}' features >/dev/full")])
        .output()
        .expect("sh");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
}

#[test]
fn state_that_is_damaged() {
    let setup = Setup::new();
    fs::create_dir_all(setup.path().join("state/broken")).expect("directory");
    fs::write(setup.path().join("state/broken/state.json"), "{").expect("file");
    assert_eq!(setup.fails(&["state", "broken"], &["damaged", "delete --force broken"]), 1);
    assert!(setup.runsc(&["delete", "--force", "broken"]).status.success());
    assert!(!setup.path().join("state/broken").exists());
}
