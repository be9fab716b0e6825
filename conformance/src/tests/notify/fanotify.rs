//! Notification by descriptors: `fanotify(7)`.

use chitin_abi::fs::{
    F_GETFD, F_GETFL, FAN_ACCESS, FAN_CLASS_CONTENT, FAN_CLOEXEC, FAN_CLOSE_NOWRITE,
    FAN_CLOSE_WRITE, FAN_CREATE, FAN_EVENT_ON_CHILD, FAN_MARK_ADD, FAN_MARK_FLUSH,
    FAN_MARK_IGNORED_MASK, FAN_MARK_IGNORED_SURV_MODIFY, FAN_MARK_MOUNT, FAN_MARK_ONLYDIR,
    FAN_MARK_REMOVE, FAN_MODIFY, FAN_NONBLOCK, FAN_ONDIR, FAN_OPEN, FAN_OPEN_EXEC, FAN_REPORT_NAME,
    FanotifyEventMetadata, O_CLOEXEC, O_DIRECTORY, O_RDWR,
};
use chitin_abi::{Errno, Result};
use zerocopy::FromBytes;

use super::super::support::until;
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{apart, as_user, in_own_mounts, int, interrupted, text, woken};

/// A group that does not wait.
fn group(k: &dyn Kernel) -> Fd {
    call!(k, FANOTIFY_INIT, FAN_NONBLOCK, O_RDWR).unwrap() as Fd
}

fn mark(k: &dyn Kernel, group: Fd, flags: u32, mask: u64, path: &str) -> Result<u64> {
    let path = format!("{path}\0");
    call!(k, FANOTIFY_MARK, group, flags, mask, -100, path.as_bytes())
}

/// What is told: masks, descriptors and processes.
fn events(k: &dyn Kernel, group: Fd) -> Vec<(u64, Fd, i32)> {
    let Ok(bytes) = k.read_some(group, 4096) else { return Vec::new() };
    let parts =
        bytes.chunks(24).map(|bytes| FanotifyEventMetadata::read_from_bytes(bytes).unwrap());
    let events = parts.map(|event| {
        assert_eq!((event.event_len, event.vers, event.metadata_len), (24, 3, 24));
        (event.mask, event.fd, event.pid)
    });
    events.collect()
}

fn masks(k: &dyn Kernel, group: Fd) -> Vec<u64> {
    events(k, group).into_iter().map(|event| event.0).collect()
}

tests! { "fanotify", "fanotify(7)";
    [fanotify_init] flags(k) needs Root {
        let fd = call!(k, FANOTIFY_INIT, FAN_CLOEXEC | FAN_NONBLOCK, 0).unwrap() as Fd;
        assert_eq!((k.fcntl(fd, F_GETFD, 0), k.fcntl(fd, F_GETFL, 0).unwrap() & 0o4003), (Ok(1), 0o4002));
        fails(call!(k, FANOTIFY_INIT, 0x8000_0000_u32, 0), Errno::EINVAL);
        fails(call!(k, FANOTIFY_INIT, 0xc, 0), Errno::EINVAL);
        fails(call!(k, FANOTIFY_INIT, 0, 0o3), Errno::EINVAL);
        fails(call!(k, FANOTIFY_INIT, 0, 0o100), Errno::EINVAL);
        fails(call!(k, FANOTIFY_INIT, FAN_REPORT_NAME, 0), Errno::EINVAL);
        fails(call!(k, FANOTIFY_INIT, 0x200 | FAN_CLASS_CONTENT, 0), Errno::EINVAL);
    }
    [fanotify_init] users_may_have_handles_only(k) needs Root {
        as_user(k, 1000, || {
            fails(call!(k, FANOTIFY_INIT, 0, 0), Errno::EPERM);
            call!(k, FANOTIFY_INIT, 0x200, 0).unwrap();
            fails(call!(k, FANOTIFY_INIT, 0x200 | 0x10, 0), Errno::EPERM);
        });
    }
    [fanotify_mark] arguments(k) needs Root {
        let fd = group(k);
        fails(mark(k, fd, FAN_MARK_ADD, 0, "."), Errno::EINVAL);
        fails(mark(k, fd, FAN_MARK_ADD | FAN_MARK_REMOVE, FAN_OPEN, "."), Errno::EINVAL);
        fails(mark(k, fd, 0, FAN_OPEN, "."), Errno::EINVAL);
        fails(mark(k, fd, 0x8000_0000 | FAN_MARK_ADD, FAN_OPEN, "."), Errno::EINVAL);
        fails(mark(k, fd, FAN_MARK_ADD, 1 << 40, "."), Errno::EINVAL);
        fails(mark(k, fd, FAN_MARK_ADD, 0x8000_0000, "."), Errno::EINVAL);
        fails(mark(k, fd, FAN_MARK_ADD, FAN_CREATE, "."), Errno::EINVAL);
        fails(mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "none"), Errno::ENOENT);
        fails(mark(k, 999, FAN_MARK_ADD, FAN_OPEN, "."), Errno::EBADF);
        fails(mark(k, k.file("f", b""), FAN_MARK_ADD, FAN_OPEN, "."), Errno::EINVAL);
        fails(mark(k, fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_OPEN, "f"), Errno::ENOTDIR);
        fails(mark(k, fd, FAN_MARK_REMOVE, FAN_OPEN, "."), Errno::ENOENT);
        fails(call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD, FAN_OPEN, -100, Arg::Bad), Errno::EFAULT);
        fails(call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD, FAN_OPEN, 999, c"f"), Errno::EBADF);
    }
    [fanotify_mark, read] file(k) needs Root {
        k.close(k.file("f", b"abc")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN | FAN_ACCESS | FAN_CLOSE_NOWRITE, "f").unwrap();
        assert_eq!(k.content("f"), b"abc");
        assert_eq!(masks(k, fd), [FAN_OPEN | FAN_ACCESS | FAN_CLOSE_NOWRITE], "merged");
    }
    [fanotify_mark] writing(k) needs Root {
        let file = k.file("f", b"abc");
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_MODIFY | FAN_CLOSE_WRITE, "f").unwrap();
        k.write(file, b"x").unwrap();
        assert_eq!(masks(k, fd), [FAN_MODIFY]);
        k.close(file).unwrap();
        assert_eq!(masks(k, fd), [FAN_CLOSE_WRITE]);
    }
    [read] descriptor_of_the_file(k) needs Root {
        k.close(k.file("f", b"content")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        k.open("f", 0, 0).unwrap();
        let found = events(k, fd);
        assert_eq!(k.read_some(found[0].1, 20).unwrap(), b"content");
        k.write(found[0].1, b"more").unwrap();
        assert_eq!(found[0].2, k.getpid());
        assert_eq!(masks(k, fd), [0_u64; 0], "what is done with it is not told");
    }
    [read] descriptor_flags_are_the_groups(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = call!(k, FANOTIFY_INIT, FAN_NONBLOCK, O_CLOEXEC).unwrap() as Fd;
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        k.open("f", 0, 0).unwrap();
        let event = events(k, fd)[0].1;
        assert_eq!((k.fcntl(event, F_GETFD, 0), k.fcntl(event, F_GETFL, 0).unwrap() & 3), (Ok(1), 0));
    }
    [fanotify_mark] another_process_is_told(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        let child = crate::suite::Processes::child(&k, || { k.open("f", 0, 0).unwrap(); 0 });
        until(k, || k.ready(fd, chitin_abi::poll::POLLIN) != 0);
        assert_eq!(events(k, fd)[0].2, child.pid);
        assert_eq!(crate::suite::Processes::status(&k, child), 0);
    }
    [fanotify_mark] different_processes_do_not_merge(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        k.open("f", 0, 0).unwrap();
        apart(k, || { k.open("f", 0, 0).unwrap(); });
        assert_eq!(masks(k, fd), [FAN_OPEN, FAN_OPEN]);
    }
    [fanotify_mark] children_of_a_directory(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.close(k.file("d/f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "d").unwrap();
        k.open("d/f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [0_u64; 0]);
        mark(k, fd, FAN_MARK_ADD, FAN_EVENT_ON_CHILD, "d").unwrap();
        k.open("d/f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [FAN_OPEN]);
    }
    [fanotify_mark] directories_only_when_asked_for(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "d").unwrap();
        k.open("d", O_DIRECTORY, 0).unwrap();
        assert_eq!(masks(k, fd), [0_u64; 0]);
        mark(k, fd, FAN_MARK_ADD, FAN_ONDIR, "d").unwrap();
        k.open("d", O_DIRECTORY, 0).unwrap();
        assert_eq!(masks(k, fd), [FAN_OPEN]);
    }
    [fanotify_mark] whole_mounts(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            let fd = group(k);
            mark(k, fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN | FAN_CLOSE_WRITE, "m").unwrap();
            k.mkdir("m/d", 0o755).unwrap();
            k.close(k.file("m/d/f", b"")).unwrap();
            k.close(k.file("outside", b"")).unwrap();
            assert_eq!(masks(k, fd), [FAN_OPEN | FAN_CLOSE_WRITE]);
        });
    }
    [fanotify_mark] removal(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN | FAN_CLOSE_NOWRITE, "f").unwrap();
        mark(k, fd, FAN_MARK_REMOVE, FAN_OPEN, "f").unwrap();
        k.close(k.open("f", 0, 0).unwrap()).unwrap();
        assert_eq!(masks(k, fd), [FAN_CLOSE_NOWRITE]);
        mark(k, fd, FAN_MARK_REMOVE, FAN_CLOSE_NOWRITE, "f").unwrap();
        fails(mark(k, fd, FAN_MARK_REMOVE, FAN_CLOSE_NOWRITE, "f"), Errno::ENOENT);
    }
    [fanotify_mark] flush(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        call!(k, FANOTIFY_MARK, fd, FAN_MARK_FLUSH, 0, -100, c".").unwrap();
        k.open("f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [0_u64; 0]);
        fails(call!(k, FANOTIFY_MARK, fd, FAN_MARK_FLUSH | FAN_MARK_ONLYDIR, 0, -100, c"."), Errno::EINVAL);
    }
    [fanotify_mark] ignored_until_the_file_changes(k) needs Root {
        k.close(k.file("f", b"abc")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, ".").unwrap();
        mark(k, fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, FAN_OPEN, "f").unwrap();
        let file = k.open("f", O_RDWR, 0).unwrap();
        assert_eq!(masks(k, fd), [0_u64; 0]);
        k.write(file, b"x").unwrap();
        k.open("f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [FAN_OPEN]);
    }
    [fanotify_mark] files_open_for_writing_are_not_ignored(k) needs Root {
        let _writer = k.file("f", b"abc");
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, ".").unwrap();
        mark(k, fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, FAN_OPEN, "f").unwrap();
        k.open("f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [FAN_OPEN]);
    }
    [fanotify_mark] ignored_for_good(k) needs Root {
        let file = k.file("f", b"abc");
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, ".").unwrap();
        mark(k, fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN, "f").unwrap();
        k.write(file, b"x").unwrap();
        k.open("f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [0_u64; 0]);
    }
    [fanotify_mark, execve] execution(k) needs Root {
        // A copy, which nobody else runs.
        k.close(k.file("true", &k.content("/bin/true"))).unwrap();
        call!(k, CHMOD, c"true", 0o755).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN_EXEC, "true").unwrap();
        k.open("true", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [0_u64; 0]);
        let child = crate::suite::Processes::child(&k, || { crate::tests::shared::exec_shell(k, "exec ./true"); 1 });
        assert_eq!(crate::suite::Processes::status(&k, child), 0);
        assert_eq!(masks(k, fd), [FAN_OPEN_EXEC]);
    }
    [fanotify_mark] two_groups(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let (a, b) = (group(k), group(k));
        for fd in [a, b] { mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap(); }
        k.open("f", 0, 0).unwrap();
        assert_eq!((masks(k, a), masks(k, b)), (vec![FAN_OPEN], vec![FAN_OPEN]));
    }
    [fanotify_mark] several_marks_of_a_group_are_one_event(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, ".").unwrap();
        k.open("f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [FAN_OPEN]);
    }
    [read] buffers(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        fails(k.read(fd, &mut [0; 100]), Errno::EAGAIN);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        k.open("f", 0, 0).unwrap();
        fails(k.read(fd, &mut [0; 23]), Errno::EINVAL);
        assert_eq!(k.read(fd, &mut [0; 24]), Ok(24));
    }
    [read, poll] waiting(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = call!(k, FANOTIFY_INIT, 0, 0).unwrap() as Fd;
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        assert_eq!(k.ready(fd, 1), 0);
        assert_eq!(woken(k, || { k.open("f", 0, 0).unwrap(); }, || k.read(fd, &mut [0; 100])), Ok(24));
        interrupted(k, || k.read(fd, &mut [0; 100]));
        k.open("f", 0, 0).unwrap();
        assert_eq!(k.ready(fd, 1), 1);
    }
    [ioctl] waiting_bytes(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        k.open("f", 0, 0).unwrap();
        let mut count = [0_u8; 4];
        call!(k, IOCTL, fd, 0x541b_u32, &mut count).unwrap();
        assert_eq!(int(&count, 0), 24);
    }
    [close] closing_the_group_ends_the_marks(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        k.close(fd).unwrap();
        k.open("f", 0, 0).unwrap();
    }
    [openat] proc_shows_marks(k) needs Root {
        let file = k.file("f", b"");
        let fd = group(k);
        mark(k, fd, FAN_MARK_ADD, FAN_OPEN, "f").unwrap();
        let info = text(k, &format!("/proc/self/fdinfo/{fd}"));
        let ino = k.fstat(file).unwrap().st_ino;
        assert!(info.contains(&format!("fanotify ino:{ino:x} ")) && info.contains(" mask:20 "), "{info}");
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"anon_inode:[fanotify]");
    }
}
