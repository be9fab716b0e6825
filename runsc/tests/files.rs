//! Where a container's files come from: descriptors, a gofer, an image; bind mounts, single files, who sees what when.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Setup, children, eventually, kill, skip, status_field};

const BOTH: [&str; 2] = ["--directfs=true", "--directfs=false"];

fn text(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}

/// A script in a sandbox with a directory and a single file of the host.
fn with_volumes(setup: &Setup, mode: &str, script: &str) -> String {
    let volume = |name: &str, at: &str| format!("{}:{at}", setup.path().join(name).display());
    setup.succeeds(&[
        mode,
        "do",
        "--rootfs",
        &text(&setup.path().join("rootfs")),
        "--volume",
        &volume("vol", "/vol"),
        "--volume",
        &volume("single", "/etc/single"),
        "/bin/sh",
        "-c",
        script,
    ])
}

/// The same operations with the sentry's own descriptors and through a gofer.
#[test]
fn volumes_are_the_hosts() {
    for mode in BOTH {
        let Some(setup) = Setup::new("volumes_are_the_hosts") else { return };
        let volume = setup.path().join("vol");
        fs::create_dir_all(volume.join("deep/er")).expect("a directory");
        fs::write(volume.join("old"), "old\n").expect("a file");
        fs::write(setup.path().join("single"), "one\n").expect("a file");
        let script = "cat /vol/old /etc/single && echo two >>/etc/single && echo new >/vol/new && \
            busybox mv /vol/new /vol/deep/er/moved && busybox rm /vol/old && busybox ln -s deep /vol/link && \
            busybox chmod 600 /vol/link/er/moved && busybox mkfifo /vol/pipe && busybox ls /vol && \
            busybox cp /bin/busybox /vol/busybox && /vol/busybox echo ran";
        let output = with_volumes(&setup, mode, &format!("export PATH=/bin; {script}"));
        assert_eq!(output, "old\none\ndeep\nlink\npipe\nran\n", "{mode}");
        assert_eq!(fs::read_to_string(setup.path().join("single")).expect("a file"), "one\ntwo\n");
        assert_eq!(fs::read_to_string(volume.join("deep/er/moved")).expect("a file"), "new\n");
        assert!(!volume.join("old").exists() && volume.join("pipe").exists());
    }
}

/// What a container writes to its root is gone afterwards, and never was on the host.
#[test]
fn roots_stay_as_they_are() {
    for mode in BOTH {
        let Some(setup) = Setup::new("roots_stay_as_they_are") else { return };
        let rootfs = setup.path().join("rootfs");
        let script = "echo x >/bin/plain; echo y >/new; cat /bin/plain /new";
        let output =
            setup.succeeds(&[mode, "do", "--rootfs", &text(&rootfs), "/bin/sh", "-c", script]);
        assert_eq!(output, "x\ny\n", "{mode}");
        assert_eq!(fs::read_to_string(rootfs.join("bin/plain")).expect("a file"), "text");
        assert!(!rootfs.join("new").exists());
    }
}

/// A container's whole life with a gofer, which ends with it.
#[test]
fn containers_with_a_gofer() {
    let Some(setup) = Setup::new("containers_with_a_gofer") else { return };
    setup.config(&["/bin/sh", "-c", "cat /bin/plain; sleep 1000"], |_| {});
    setup.succeeds(&["--directfs=false", "create", "c"]);
    setup.succeeds(&["start", "c"]);
    assert_eq!(setup.succeeds(&["exec", "c", "/bin/cat", "/bin/plain"]), "text");
    setup.succeeds(&["kill", "c", "KILL"]);
    eventually("the end", Duration::from_secs(10), || setup.state("c")["status"] == "stopped");
    setup.succeeds(&["delete", "c"]);
}

/// The rights of both processes are what SECURITY.md says.
#[test]
fn a_gofer_is_confined() {
    let Some(setup) = Setup::new("a_gofer_is_confined") else { return };
    let rootfs = setup.path().join("rootfs");
    let args = ["--directfs=false", "do", "--rootfs", &text(&rootfs), "/bin/sleep", "1000"];
    let mut child = setup.command(&args).spawn().expect("runsc starts");
    let pid = i32::try_from(child.id()).expect("pid");
    let sentry = || children(pid).into_iter().find(|child| children(*child).len() >= 2);
    eventually("a guest", Duration::from_secs(20), || sentry().is_some());
    let sentry = sentry().expect("a sentry");
    let gofer = children(pid).into_iter().find(|child| *child != sentry).expect("a gofer");
    let field = |pid, name| status_field(pid, name).expect("a field");
    for (process, capabilities) in [(sentry, "0000000000000000"), (gofer, "000000000000001f")] {
        assert_eq!(field(process, "CapEff"), capabilities);
        assert_eq!(field(process, "CapBnd"), capabilities);
        assert_eq!(
            (field(process, "NoNewPrivs"), field(process, "Seccomp")),
            ("1".into(), "2".into())
        );
        let root = fs::read_dir(format!("/proc/{process}/root")).expect("a root directory");
        let names: Vec<_> = root.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        assert!(names.iter().all(|name| name == "proc"), "{names:?}");
        for kind in ["user", "pid", "mnt", "ipc", "uts", "cgroup"] {
            let of =
                |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
            assert_ne!(of("self"), of(&process.to_string()), "{kind} of {process}");
        }
    }
    assert_eq!(field(gofer, "Threads"), "1");
    // The sentry holds no directory with files of the container.
    for entry in fs::read_dir(format!("/proc/{sentry}/fd")).expect("descriptors").flatten() {
        assert!(fs::metadata(entry.path().join("bin")).is_err(), "{entry:?}");
    }
    kill(gofer, "KILL");
    kill(pid, "KILL");
    child.wait().expect("wait");
    eventually("the sentry's end", Duration::from_secs(10), || !common::runs(sentry));
}

/// An image of the root in the place of its directory; `None` where there is no mkfs.erofs.
fn image(setup: &Setup, test: &str, options: &[&str]) -> Option<PathBuf> {
    let path = setup.path().join("image.erofs");
    let made = Command::new("mkfs.erofs")
        .args(options)
        .arg(&path)
        .arg(setup.path().join("rootfs"))
        .output();
    match made {
        Ok(output) if output.status.success() => Some(path),
        Ok(output) => panic!("{output:?}"),
        Err(error) => {
            skip(test, &format!("no mkfs.erofs (package erofs-utils): {error}"));
            None
        }
    }
}

#[test]
fn images_are_roots() {
    for options in [&[][..], &["-zlz4hc"]] {
        let Some(setup) = Setup::new("images_are_roots") else { return };
        let Some(path) = image(&setup, "images_are_roots", options) else { return };
        fs::rename(setup.path().join("rootfs"), setup.path().join("elsewhere")).expect("rename");
        let script = "echo more >>/bin/plain; cat /bin/plain; ls /bin/busybox";
        for mode in BOTH {
            let args = [mode, "do", "--rootfs", &text(&path), "/bin/sh", "-c", script];
            assert_eq!(setup.succeeds(&args), "textmore\n/bin/busybox\n", "{mode} {options:?}");
        }
        setup.config(&["/bin/cat", "/bin/plain"], |config| {
            config["annotations"] =
                serde_json::json!({ "dev.chitin.rootfs.source": "image.erofs" });
        });
        assert_eq!(setup.succeeds(&["run", "c"]), "text");
    }
}

/// A guest sees what others do to the files of a shared mount, and need not in an exclusive one.
#[test]
fn shared_and_exclusive_mounts() {
    for mode in BOTH {
        let Some(setup) = Setup::new("shared_and_exclusive_mounts") else { return };
        let volume = setup.path().join("vol");
        fs::create_dir(&volume).expect("a directory");
        fs::write(volume.join("size"), "1").expect("a file");
        let script = "stat -c %s /vol/size; cat /vol/none; echo ready >/vol/ready; \
            while ! test -e /go/go; do sleep 0.02; done; stat -c %s /vol/size; cat /vol/none; true";
        for (kind, expected) in [("shared", "1\n5\nthere\n"), ("exclusive", "1\n1\n")] {
            let go = setup.path().join("go");
            let _ = fs::remove_dir_all(&go);
            fs::create_dir(&go).expect("a directory");
            let _ = fs::remove_file(volume.join("ready"));
            let _ = fs::remove_file(volume.join("none"));
            fs::write(volume.join("size"), "1").expect("a file");
            let child = setup
                .command(&[
                    mode,
                    "do",
                    "--rootfs",
                    &text(&setup.path().join("rootfs")),
                    "--volume",
                    &format!("{}:/vol:cache={kind}", volume.display()),
                    "--volume",
                    &format!("{}:/go", go.display()),
                    "/bin/sh",
                    "-c",
                    &format!("export PATH=/bin; {script}"),
                ])
                .env("PATH", "/bin")
                .spawn()
                .expect("runsc starts");
            eventually("the guest", Duration::from_secs(20), || volume.join("ready").exists());
            fs::write(volume.join("size"), "12345").expect("a file");
            fs::write(volume.join("none"), "there\n").expect("a file");
            fs::write(go.join("go"), "").expect("a file");
            let output = common::output(child);
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{mode} {kind}");
        }
    }
}

/// What a container has changed comes out as a list and as a layer.
#[test]
fn changes_come_out() {
    let Some(setup) = Setup::new("changes_come_out") else { return };
    let script = "export PATH=/bin; echo new >/tmp/new; echo more >>/bin/plain; busybox rm /bin/false; \
        busybox ln -s target /tmp/link; busybox mkdir /empty; echo done; sleep 1000";
    setup.config(&["/bin/sh", "-c", script], |_| {});
    setup.succeeds(&["create", "c"]);
    setup.succeeds(&["start", "c"]);
    let expected =
        "A /empty\nA /tmp/link\nA /tmp/new\nC /bin\nC /bin/plain\nC /tmp\nD /bin/false\n";
    let diff = || {
        let text = setup.succeeds(&["fs", "diff", "c"]);
        // Mount points that were made for the container's mounts are changes, too.
        let ours = |line: &&str| !["/dev", "/proc"].iter().any(|path| line[2..].starts_with(path));
        let mut lines: Vec<&str> = text.lines().filter(ours).collect();
        lines.sort_unstable();
        lines.iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    eventually("the changes", Duration::from_secs(20), || diff() == expected);
    let archive = setup.path().join("layer.tar");
    setup.succeeds(&["fs", "export", "--upper", "--output", &text(&archive), "c"]);
    let out = setup.path().join("out");
    fs::create_dir(&out).expect("a directory");
    let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&out).status();
    assert!(status.expect("tar").success());
    assert_eq!(fs::read_to_string(out.join("bin/plain")).expect("a file"), "textmore\n");
    assert_eq!(fs::read_to_string(out.join("tmp/new")).expect("a file"), "new\n");
    assert_eq!(fs::read_link(out.join("tmp/link")).expect("a link"), Path::new("target"));
    assert!(out.join("bin/.wh.false").exists() && out.join("empty").is_dir());
    assert!(!out.join("bin/busybox").exists());
    setup.succeeds(&["delete", "--force", "c"]);
}
