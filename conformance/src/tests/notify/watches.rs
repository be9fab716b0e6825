//! Watches of files and directories: `inotify(7)`.

use chitin_abi::fs::{
    F_GETFD, F_GETFL, IN_ACCESS, IN_ALL_EVENTS, IN_ATTRIB, IN_CLOEXEC, IN_CLOSE_NOWRITE,
    IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_DONT_FOLLOW, IN_EXCL_UNLINK,
    IN_IGNORED, IN_ISDIR, IN_MASK_ADD, IN_MASK_CREATE, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM,
    IN_MOVED_TO, IN_NONBLOCK, IN_ONESHOT, IN_ONLYDIR, IN_OPEN, IN_UNMOUNT, O_RDWR,
};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{as_user, in_own_mounts, int, interrupted, text, vector, woken};

type Event = (i32, u32, String);

fn instance(k: &dyn Kernel) -> Fd {
    call!(k, INOTIFY_INIT1, IN_NONBLOCK).unwrap() as Fd
}

fn watch(k: &dyn Kernel, fd: Fd, path: &str, mask: u32) -> Result<i32> {
    let path = format!("{path}\0");
    call!(k, INOTIFY_ADD_WATCH, fd, path.as_bytes(), mask).map(|wd| wd as i32)
}

fn events(k: &dyn Kernel, fd: Fd) -> Vec<Event> {
    let Ok(bytes) = k.read_some(fd, 65536) else { return Vec::new() };
    let (mut events, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let length = int(&bytes, at + 12) as usize;
        let name: Vec<u8> = bytes[at + 16..at + 16 + length]
            .iter()
            .copied()
            .take_while(|byte| *byte != 0)
            .collect();
        events.push((
            int(&bytes, at),
            int(&bytes, at + 4).cast_unsigned(),
            String::from_utf8(name).unwrap(),
        ));
        at += 16 + length;
    }
    events
}

fn masks(k: &dyn Kernel, fd: Fd) -> Vec<u32> {
    events(k, fd).into_iter().map(|event| event.1).collect()
}

tests! { "watches", "inotify(7)";
    [inotify_init1] flags(k) {
        let fd = call!(k, INOTIFY_INIT1, IN_CLOEXEC | IN_NONBLOCK).unwrap() as Fd;
        assert_eq!((k.fcntl(fd, F_GETFD, 0), k.fcntl(fd, F_GETFL, 0).unwrap() & 0o4000), (Ok(1), 0o4000));
        fails(call!(k, INOTIFY_INIT1, 1), Errno::EINVAL);
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"anon_inode:inotify");
    }
    [inotify_add_watch] arguments(k) {
        let fd = instance(k);
        let file = k.file("f", b"");
        fails(watch(k, fd, "f", 0), Errno::EINVAL);
        fails(watch(k, fd, "none", IN_OPEN), Errno::ENOENT);
        fails(watch(k, file, "f", IN_OPEN), Errno::EINVAL);
        fails(watch(k, 999, "f", IN_OPEN), Errno::EBADF);
        fails(watch(k, fd, "f", IN_OPEN | IN_ONLYDIR), Errno::ENOTDIR);
        fails(watch(k, fd, "f", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), Errno::EINVAL);
        fails(call!(k, INOTIFY_ADD_WATCH, fd, Arg::Bad, IN_OPEN), Errno::EFAULT);
        fails(call!(k, INOTIFY_RM_WATCH, fd, 1), Errno::EINVAL);
        fails(call!(k, INOTIFY_RM_WATCH, file, 1), Errno::EINVAL);
        fails(call!(k, INOTIFY_RM_WATCH, 999, 1), Errno::EBADF);
    }
    [inotify_add_watch] descriptors_count_up(k) {
        let fd = instance(k);
        k.file("f", b"");
        k.file("g", b"");
        assert_eq!((watch(k, fd, "f", IN_OPEN), watch(k, fd, "g", IN_OPEN), watch(k, fd, "f", IN_OPEN)), (Ok(1), Ok(2), Ok(1)));
        call!(k, INOTIFY_RM_WATCH, fd, 1).unwrap();
        assert_eq!(watch(k, fd, "f", IN_OPEN), Ok(3));
    }
    [inotify_add_watch] masks_replace_or_add(k) {
        let fd = instance(k);
        k.close(k.file("f", b"x")).unwrap();
        watch(k, fd, "f", IN_OPEN).unwrap();
        watch(k, fd, "f", IN_ACCESS).unwrap();
        k.content("f");
        assert_eq!(masks(k, fd), [IN_ACCESS]);
        watch(k, fd, "f", IN_OPEN | IN_MASK_ADD).unwrap();
        k.content("f");
        assert_eq!(masks(k, fd), [IN_OPEN, IN_ACCESS]);
        fails(watch(k, fd, "f", IN_OPEN | IN_MASK_CREATE), Errno::EEXIST);
    }
    [read] life_of_a_file_in_a_directory(k) {
        let fd = instance(k);
        watch(k, fd, ".", IN_ALL_EVENTS).unwrap();
        let file = k.file("f", b"x");
        k.pread(file, &mut [0], 0).unwrap();
        k.close(file).unwrap();
        k.unlink("f").unwrap();
        let found: Vec<_> = events(k, fd).into_iter().map(|event| { assert_eq!(event.2, "f"); event.1 }).collect();
        assert_eq!(found, [IN_CREATE, IN_OPEN, IN_MODIFY, IN_ACCESS, IN_CLOSE_WRITE, IN_DELETE]);
    }
    [read] directories_are_marked(k) {
        let fd = instance(k);
        watch(k, fd, ".", IN_CREATE | IN_DELETE).unwrap();
        k.mkdir("d", 0o755).unwrap();
        k.rmdir("d").unwrap();
        assert_eq!(masks(k, fd), [IN_CREATE | IN_ISDIR, IN_DELETE | IN_ISDIR]);
    }
    [read] links_and_nodes(k) {
        let fd = instance(k);
        k.file("f", b"");
        watch(k, fd, ".", IN_CREATE | IN_ATTRIB).unwrap();
        k.link("f", "g").unwrap();
        k.symlink("f", "l").unwrap();
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        let names: Vec<_> = events(k, fd).into_iter().filter(|event| event.1 == IN_CREATE).map(|event| event.2).collect();
        assert_eq!(names, ["g", "l", "p"]);
    }
    [read] moves_share_a_cookie(k) {
        let fd = instance(k);
        k.file("f", b"");
        watch(k, fd, ".", IN_MOVED_FROM | IN_MOVED_TO).unwrap();
        k.rename2("f", "g", 0).unwrap();
        let bytes = k.read_some(fd, 4096).unwrap();
        let second = 16 + int(&bytes, 12) as usize;
        assert_eq!((int(&bytes, 4).cast_unsigned(), int(&bytes, second + 4).cast_unsigned()), (IN_MOVED_FROM, IN_MOVED_TO));
        assert!(int(&bytes, 8) != 0 && int(&bytes, 8) == int(&bytes, second + 8));
    }
    [read] moved_file_itself(k) {
        let fd = instance(k);
        k.file("f", b"");
        watch(k, fd, "f", IN_MOVE_SELF).unwrap();
        k.rename2("f", "g", 0).unwrap();
        assert_eq!(masks(k, fd), [IN_MOVE_SELF]);
    }
    [read] removal_of_the_watched_file(k) {
        let fd = instance(k);
        k.close(k.file("f", b"")).unwrap();
        watch(k, fd, "f", IN_ALL_EVENTS).unwrap();
        k.unlink("f").unwrap();
        assert_eq!(masks(k, fd), [IN_ATTRIB, IN_DELETE_SELF, IN_IGNORED]);
    }
    [read] removal_of_the_watched_directory(k) {
        let fd = instance(k);
        k.mkdir("d", 0o755).unwrap();
        watch(k, fd, "d", IN_ALL_EVENTS).unwrap();
        k.rmdir("d").unwrap();
        assert_eq!(masks(k, fd).last_chunk(), Some(&[IN_DELETE_SELF, IN_IGNORED]));
    }
    [read] open_file_delays_its_end(k) {
        let fd = instance(k);
        let file = k.file("f", b"");
        watch(k, fd, "f", IN_DELETE_SELF).unwrap();
        k.unlink("f").unwrap();
        assert_eq!(masks(k, fd), [0_u32; 0]);
        k.close(file).unwrap();
        assert_eq!(masks(k, fd), [IN_DELETE_SELF, IN_IGNORED]);
    }
    [inotify_rm_watch] says_that_it_is_over(k) {
        let fd = instance(k);
        let wd = watch(k, fd, ".", IN_OPEN).unwrap();
        call!(k, INOTIFY_RM_WATCH, fd, wd).unwrap();
        assert_eq!(events(k, fd), [(wd, IN_IGNORED, String::new())]);
        fails(call!(k, INOTIFY_RM_WATCH, fd, wd), Errno::EINVAL);
    }
    [inotify_add_watch] one_shot(k) {
        let fd = instance(k);
        k.close(k.file("f", b"")).unwrap();
        watch(k, fd, "f", IN_OPEN | IN_ONESHOT).unwrap();
        k.open("f", 0, 0).unwrap();
        k.open("f", 0, 0).unwrap();
        assert_eq!(masks(k, fd), [IN_OPEN, IN_IGNORED]);
    }
    [inotify_add_watch] unlinked_children_can_be_left_out(k) {
        for (flag, count) in [(0, 1), (IN_EXCL_UNLINK, 0)] {
            let fd = instance(k);
            let file = k.file("f", b"");
            watch(k, fd, ".", IN_MODIFY | flag).unwrap();
            k.unlink("f").unwrap();
            k.write(file, b"x").unwrap();
            assert_eq!(masks(k, fd).len(), count);
        }
    }
    [inotify_add_watch] links_can_be_watched_themselves(k) {
        let fd = instance(k);
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        watch(k, fd, "l", IN_ALL_EVENTS | IN_DONT_FOLLOW).unwrap();
        k.close(k.open("f", 0, 0).unwrap()).unwrap();
        assert_eq!(masks(k, fd), [0_u32; 0]);
        k.unlink("l").unwrap();
        assert!(masks(k, fd).contains(&IN_DELETE_SELF));
    }
    [inotify_add_watch] read_permission(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o200).unwrap();
        as_user(k, 1000, || fails(watch(k, instance(k), "f", IN_OPEN), Errno::EACCES));
    }
    [read] attributes(k) {
        let fd = instance(k);
        k.file("f", b"");
        call!(k, SETXATTR, c"f", c"user.b", b"x", 1, 0).unwrap();
        watch(k, fd, "f", IN_ATTRIB).unwrap();
        call!(k, CHOWN, c"f", -1, -1).unwrap();
        assert_eq!(masks(k, fd), [0_u32; 0], "nothing has changed");
        for change in 0..4 {
            match change {
                0 => call!(k, CHMOD, c"f", 0o600),
                1 => call!(k, REMOVEXATTR, c"f", c"user.b"),
                2 => call!(k, SETXATTR, c"f", c"user.a", b"x", 1, 0),
                _ => call!(k, UTIMENSAT, -100, c"f", Arg::Null, 0),
            }.unwrap();
            assert_eq!(masks(k, fd), [IN_ATTRIB], "{change}");
        }
    }
    [read] writes_of_all_kinds(k) {
        let fd = instance(k);
        let file = k.file("f", b"abc");
        watch(k, fd, "f", IN_MODIFY).unwrap();
        let mut byte = [1];
        for change in 0..5 {
            match change {
                0 => { k.pwrite(file, b"x", 0).unwrap(); }
                1 => { call!(k, WRITEV, file, vector(&mut [&mut byte]).as_slice(), 1).unwrap(); }
                2 => k.ftruncate(file, 1).unwrap(),
                3 => { call!(k, TRUNCATE, c"f", 2).unwrap(); }
                _ => { k.open("f", O_RDWR | 0o1000, 0).unwrap(); }
            }
            assert_eq!(masks(k, fd), [IN_MODIFY], "{change}");
        }
    }
    [read] empty_transfers_are_no_events(k) {
        let fd = instance(k);
        let file = k.file("f", b"");
        watch(k, fd, "f", IN_ACCESS | IN_MODIFY).unwrap();
        k.write(file, b"").unwrap();
        k.read_some(file, 10).unwrap();
        assert_eq!(masks(k, fd), [0_u32; 0]);
    }
    [read] equal_events_in_a_row_are_one(k) {
        let fd = instance(k);
        let file = k.file("f", b"");
        watch(k, fd, "f", IN_MODIFY).unwrap();
        for _ in 0..5 { k.write(file, b"x").unwrap(); }
        assert_eq!(masks(k, fd), [IN_MODIFY]);
    }
    [read] buffers(k) {
        let fd = instance(k);
        watch(k, fd, ".", IN_CREATE).unwrap();
        k.file("a-name-of-some-length", b"");
        fails(k.read(fd, &mut [0; 16]), Errno::EINVAL);
        fails(call!(k, READ, fd, Arg::Bad, 100), Errno::EFAULT);
        let fd = instance(k);
        watch(k, fd, ".", IN_CREATE).unwrap();
        for name in ["a", "b"] { k.file(name, b""); }
        assert_eq!((k.read_some(fd, 40).unwrap().len(), k.read_some(fd, 40).unwrap().len()), (32, 32));
        fails(k.read(fd, &mut [0; 40]), Errno::EAGAIN);
    }
    [read, poll] waiting(k) {
        let fd = call!(k, INOTIFY_INIT).unwrap() as Fd;
        watch(k, fd, ".", IN_CREATE).unwrap();
        assert_eq!(k.ready(fd, 1), 0);
        assert_eq!(woken(k, || { k.file("f", b""); }, || k.read_some(fd, 100)).unwrap().len(), 32);
        interrupted(k, || k.read(fd, &mut [0; 100]));
        k.file("g", b"");
        assert_eq!(k.ready(fd, 1), 1);
    }
    [ioctl] waiting_bytes(k) {
        let fd = instance(k);
        watch(k, fd, ".", IN_CREATE).unwrap();
        k.file("f", b"");
        let mut count = [0_u8; 4];
        call!(k, IOCTL, fd, 0x541b_u32, &mut count).unwrap();
        assert_eq!(int(&count, 0), 32);
    }
    [write] cannot_be_written(k) { fails(k.write(instance(k), b"x"), Errno::EBADF); }
    [umount2] unmounting_is_told(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            let fd = instance(k);
            watch(k, fd, "m", IN_OPEN).unwrap();
            call!(k, UMOUNT2, c"m", 0).unwrap();
            assert_eq!(masks(k, fd), [IN_UNMOUNT | IN_ISDIR, IN_IGNORED]);
        });
    }
    [openat] proc_shows_watches(k) {
        let fd = instance(k);
        let file = k.file("f", b"");
        watch(k, fd, "f", IN_OPEN).unwrap();
        let info = text(k, &format!("/proc/self/fdinfo/{fd}"));
        assert!(info.contains(&format!("inotify wd:1 ino:{:x} ", k.fstat(file).unwrap().st_ino)), "{info}");
    }
    [read] closing_says_how_it_was_open(k) {
        let fd = instance(k);
        k.close(k.file("f", b"")).unwrap();
        watch(k, fd, "f", IN_CLOSE_WRITE | IN_CLOSE_NOWRITE).unwrap();
        k.close(k.open("f", 0, 0).unwrap()).unwrap();
        let file = k.open("f", O_RDWR, 0).unwrap();
        let copy = k.dup(file).unwrap();
        k.close(file).unwrap();
        assert_eq!(masks(k, fd), [IN_CLOSE_NOWRITE]);
        k.close(copy).unwrap();
        assert_eq!(masks(k, fd), [IN_CLOSE_WRITE]);
    }
}
