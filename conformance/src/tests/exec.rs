//! Running programs: `execve(2)`, `fork(2)`, `clone(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_CLOEXEC, O_CREAT, O_WRONLY};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Processes, fails, tests};

/// Replaces this process by a program with these arguments and an empty environment.
fn exec(k: &dyn Kernel, path: &str, arguments: &[&str]) -> Errno {
    let path = std::ffi::CString::new(path).unwrap();
    let texts: Vec<_> =
        arguments.iter().map(|text| std::ffi::CString::new(*text).unwrap()).collect();
    let mut pointers: Vec<u64> = texts.iter().map(|text| text.as_ptr() as u64).collect();
    pointers.push(0);
    let environment = [0_u8; 8];
    call!(k, EXECVE, path.as_c_str(), pointers.as_bytes(), &environment).unwrap_err()
}

fn script(k: &dyn Kernel, name: &str, text: &[u8], mode: u32) {
    let fd = k.open(name, O_CREAT | O_WRONLY, 0o600).unwrap();
    k.write(fd, text).unwrap();
    k.close(fd).unwrap();
    let path = std::ffi::CString::new(name).unwrap();
    call!(k, CHMOD, path.as_c_str(), mode).unwrap();
}

tests! { "exec", "execve(2)";
    [execve] runs_a_program(k) {
        let child = k.child(|| { exec(k, "/bin/sh", &["sh", "-c", "exit 7"]); 1 });
        assert_eq!(k.status(child), 7 << 8);
    }
    [execve] errors_of_execve(k) {
        assert_eq!(exec(k, "none", &["x"]), Errno::ENOENT);
        assert_eq!(exec(k, "/", &["x"]), Errno::EACCES);
        assert_eq!(exec(k, "/bin/sh/x", &["x"]), Errno::ENOTDIR);
        assert_eq!(exec(k, &"x".repeat(300), &["x"]), Errno::ENAMETOOLONG);
        script(k, "plain", b"#!/bin/sh\n", 0o644);
        assert_eq!(exec(k, "./plain", &["x"]), Errno::EACCES);
        script(k, "junk", b"\x7fELFjunk", 0o755);
        assert_eq!(exec(k, "./junk", &["x"]), Errno::ENOEXEC);
        script(k, "empty", b"", 0o755);
        assert_eq!(exec(k, "./empty", &["x"]), Errno::ENOEXEC);
        script(k, "lost", b"#!/nowhere/sh\n", 0o755);
        assert_eq!(exec(k, "./lost", &["x"]), Errno::ENOENT);
        fails(call!(k, EXECVE, Arg::Bad, Arg::Null, Arg::Null), Errno::EFAULT);
        fails(call!(k, EXECVE, c"/bin/sh", Arg::Bad, Arg::Null), Errno::EFAULT);
    }
    [execve] argument_too_long(k) {
        assert_eq!(exec(k, "/bin/sh", &["sh", &"x".repeat(140_000)]), Errno::E2BIG);
    }
    [execve] open_for_writing_is_busy(k) {
        script(k, "prog", b"#!/bin/sh\n", 0o755);
        let _writer = k.open("prog", O_WRONLY, 0).unwrap();
        assert_eq!(exec(k, "./prog", &["x"]), Errno::ETXTBSY);
    }
    [execve] script_gets_interpreter_argument_and_path(k) {
        script(k, "s", b"#!/bin/sh -e\n[ \"$#\" = 2 ] && [ \"$0\" = ./s ] && [ \"$1$2\" = ab ]\nfalse\nexit 9\n", 0o755);
        let child = k.child(|| { exec(k, "./s", &["ignored", "a", "b"]); 2 });
        assert_eq!(k.status(child), 1 << 8);
    }
    [execve] close_on_exec(k) {
        k.open("/dev/null", O_CLOEXEC, 0).unwrap();
        let kept = k.dup3(0, 50, 0).unwrap();
        k.dup3(0, 51, O_CLOEXEC).unwrap();
        assert_eq!(kept, 50);
        let child = k.child(|| { exec(k, "/bin/sh", &["sh", "-c", "[ -e /proc/self/fd/50 ] && [ ! -e /proc/self/fd/51 ]"]); 2 });
        assert_eq!(k.status(child), 0);
    }
    [execve] handlers_are_reset_and_ignored_signals_stay(k) {
        k.catch(10, 0).unwrap();
        k.set_action(12, 1).unwrap();
        let child = k.child(|| { exec(k, "/bin/sh", &["sh", "-c", "kill -12 $$; kill -10 $$"]); 2 });
        assert_eq!(k.status(child), 10);
    }
    [execve] mask_and_pending_signals_survive(k) {
        let child = k.child(|| {
            k.set_mask(0, 1 << 9).unwrap();
            k.kill(k.getpid(), 10).unwrap();
            k.dup3(k.open("out", O_CREAT | O_WRONLY, 0o600).unwrap(), 1, 0).unwrap();
            exec(k, "/bin/cat", &["cat", "/proc/self/status"]);
            2
        });
        assert_eq!(k.status(child), 0);
        let text = String::from_utf8(k.content("out")).unwrap();
        assert!(text.contains("SigBlk:\t0000000000000200\n"), "{text}");
        assert!(text.contains("ShdPnd:\t0000000000000200\n"), "{text}");
    }
    [execveat] by_descriptor(k) {
        let fd = k.open("/bin/sh", 0, 0).unwrap();
        let arguments = [c"sh".as_ptr() as u64, c"-c".as_ptr() as u64, c"exit 5".as_ptr() as u64, 0];
        let child = k.child(|| { let _ = call!(k, EXECVEAT, fd, c"", arguments.as_bytes(), Arg::Null, 0x1000); 1 });
        assert_eq!(k.status(child), 5 << 8);
        fails(call!(k, EXECVEAT, fd, c"", arguments.as_bytes(), Arg::Null, 0), Errno::ENOENT);
        k.symlink("/bin/sh", "l").unwrap();
        fails(call!(k, EXECVEAT, -100, c"l", arguments.as_bytes(), Arg::Null, 0x100), Errno::ELOOP);
    }
    [execve] set_user_id_program(k) needs Root {
        k.file("id", &k.content("/usr/bin/id"));
        call!(k, CHMOD, c"id", 0o4755).unwrap();
        call!(k, CHOWN, c"id", 1000, -1).unwrap();
        call!(k, CHMOD, c"id", 0o4755).unwrap();
        call!(k, CHMOD, c".", 0o755).unwrap();
        let child = k.child(|| {
            let out = k.open("out", O_CREAT | O_WRONLY, 0o600).unwrap();
            k.dup3(out, 1, 0).unwrap();
            k.close(k.openat(-100, "id", 0, 0).unwrap()).unwrap();
            exec(k, "./id", &["id", "-u"]);
            2
        });
        let status = k.status(child);
        if status == 26 << 8 || k.content("out").is_empty() { return }
        assert_eq!(k.content("out"), b"1000\n");
    }
    [fork] descriptors_share_positions(k) {
        let fd = k.file("f", b"abcdef");
        k.lseek(fd, 0, 0).unwrap();
        let child = k.child(|| { k.read_some(fd, 3).unwrap(); 0 });
        assert_eq!(k.status(child), 0);
        assert_eq!(k.read_some(fd, 3).unwrap(), b"def");
    }
    [clone] flag_rules(k) {
        fails(call!(k, CLONE, 0x10000, 0, 0, 0, 0), Errno::EINVAL);
        fails(call!(k, CLONE, 0x800, 0, 0, 0, 0), Errno::EINVAL);
        fails(call!(k, CLONE, 0x20200, 0, 0, 0, 0), Errno::EINVAL);
    }
    [clone3] sizes_are_checked(k) {
        fails(call!(k, CLONE3, &[0_u8; 8], 8), Errno::EINVAL);
        fails(call!(k, CLONE3, Arg::Bad, 88), Errno::EFAULT);
        fails(call!(k, CLONE3, &[1_u8; 128], 128), Errno::E2BIG);
    }
    [pidfd_open, pidfd_send_signal] handles_of_processes(k) {
        let child = k.child(|| { k.sleep_ms(10_000); 0 });
        let fd = call!(k, PIDFD_OPEN, child.pid, 0).unwrap() as i32;
        assert_eq!(k.ready(fd, 1), 0);
        call!(k, PIDFD_SEND_SIGNAL, fd, 9, Arg::Null, 0).unwrap();
        let mut fds = [chitin_abi::poll::PollFd { fd, events: 1, revents: 0 }];
        assert_eq!(k.poll(&mut fds, 5000), Ok(1));
        call!(k, WAITID, 3, fd, Arg::Null, 4, Arg::Null).unwrap();
        fails(call!(k, PIDFD_SEND_SIGNAL, fd, 9, Arg::Null, 0), Errno::ESRCH);
        fails(call!(k, PIDFD_OPEN, 99_999_999, 0), Errno::ESRCH);
        fails(call!(k, PIDFD_OPEN, k.getpid(), 1), Errno::EINVAL);
        fails(call!(k, PIDFD_OPEN, 0, 0), Errno::EINVAL);
    }
}
