//! Watching files: `inotify(7)`.

use chitin_abi::Errno;
use chitin_abi::fs::O_NONBLOCK;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};

const ALL: u32 = 0xfff;

fn watch(k: &dyn Kernel, path: &std::ffi::CStr, mask: u32) -> (Fd, u64) {
    let fd = call!(k, INOTIFY_INIT1, O_NONBLOCK).unwrap() as Fd;
    let id = call!(k, INOTIFY_ADD_WATCH, fd, path, mask).unwrap();
    (fd, id)
}

/// Masks and names of all events.
fn events(k: &dyn Kernel, fd: Fd) -> Vec<(u32, String)> {
    let (bytes, mut found, mut at) = (k.read_some(fd, 4096).unwrap_or_default(), Vec::new(), 0);
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    while at < bytes.len() {
        let length = word(at + 12) as usize;
        let name = String::from_utf8_lossy(&bytes[at + 16..at + 16 + length])
            .trim_end_matches('\0')
            .to_owned();
        found.push((word(at + 4), name));
        at += 16 + length;
    }
    found
}

fn event(mask: u32, name: &str) -> (u32, String) {
    (mask, name.to_owned())
}

tests! { "inotify", "inotify(7)";
    [inotify_init1] flags(k) { fails(call!(k, INOTIFY_INIT1, 1), Errno::EINVAL); }
    [inotify_add_watch] life_of_a_file(k) {
        let (fd, _) = watch(k, c".", ALL);
        let file = k.open("f", 0o101, 0o600).unwrap();
        k.write(file, b"x").unwrap();
        k.close(file).unwrap();
        k.unlink("f").unwrap();
        assert_eq!(events(k, fd), [event(0x100, "f"), event(0x20, "f"), event(2, "f"), event(8, "f"), event(0x200, "f")]);
    }
    [inotify_add_watch] moves_share_a_cookie(k) {
        k.file("a", b"");
        let (fd, _) = watch(k, c".", 0xc0);
        k.rename2("a", "b", 0).unwrap();
        let bytes = k.read_some(fd, 4096).unwrap();
        assert_eq!(bytes[8..12], bytes[16 + 16 + 8..16 + 16 + 12]);
        assert_ne!(bytes[8..12], [0; 4]);
    }
    [inotify_add_watch] directories_are_marked(k) {
        let (fd, _) = watch(k, c".", ALL);
        k.mkdir("d", 0o755).unwrap();
        k.rmdir("d").unwrap();
        assert_eq!(events(k, fd), [event(0x4000_0100, "d"), event(0x4000_0200, "d")]);
    }
    [inotify_add_watch] equal_events_are_merged(k) {
        let file = k.file("f", b"");
        let (fd, _) = watch(k, c"f", 2);
        k.write(file, b"x").unwrap();
        k.write(file, b"y").unwrap();
        assert_eq!(events(k, fd), [event(2, "")]);
    }
    [inotify_add_watch] watched_file_goes(k) {
        let file = k.file("f", b"");
        k.close(file).unwrap();
        let (fd, _) = watch(k, c"f", ALL);
        k.unlink("f").unwrap();
        assert_eq!(events(k, fd), [event(4, ""), event(0x400, ""), event(0x8000, "")]);
    }
    [inotify_rm_watch] removal(k) {
        let (fd, id) = watch(k, c".", ALL);
        call!(k, INOTIFY_RM_WATCH, fd, id).unwrap();
        assert_eq!(events(k, fd), [event(0x8000, "")]);
        fails(call!(k, INOTIFY_RM_WATCH, fd, id), Errno::EINVAL);
        fails(call!(k, INOTIFY_RM_WATCH, 999, 1), Errno::EBADF);
        fails(call!(k, INOTIFY_RM_WATCH, 0, 1), Errno::EINVAL);
    }
    [inotify_add_watch] errors_of_add(k) {
        let (fd, id) = watch(k, c".", 2);
        fails(call!(k, INOTIFY_ADD_WATCH, fd, c"none", ALL), Errno::ENOENT);
        fails(call!(k, INOTIFY_ADD_WATCH, fd, c".", 0), Errno::EINVAL);
        fails(call!(k, INOTIFY_ADD_WATCH, 999, c".", ALL), Errno::EBADF);
        fails(call!(k, INOTIFY_ADD_WATCH, fd, Arg::Bad, ALL), Errno::EFAULT);
        k.file("f", b"");
        fails(call!(k, INOTIFY_ADD_WATCH, fd, c"f", ALL | 0x0100_0000), Errno::ENOTDIR);
        assert_eq!(call!(k, INOTIFY_ADD_WATCH, fd, c".", 4), Ok(id));
        fails(call!(k, INOTIFY_ADD_WATCH, fd, c".", 4 | 0x1000_0000), Errno::EEXIST);
    }
    [read] short_buffer(k) {
        let (fd, _) = watch(k, c".", ALL);
        fails(k.read(fd, &mut [0; 4096]), Errno::EAGAIN);
        k.mkdir("d", 0o755).unwrap();
        fails(k.read(fd, &mut [0; 10]), Errno::EINVAL);
        let mut count = [0; 4];
        call!(k, IOCTL, fd, 0x541b_u32, &mut count).unwrap();
        assert_eq!(u32::from_ne_bytes(count), 32);
    }
    [inotify_add_watch] one_shot(k) {
        let (fd, _) = watch(k, c".", 0x100 | 0x8000_0000);
        k.mkdir("a", 0o755).unwrap();
        k.mkdir("b", 0o755).unwrap();
        assert_eq!(events(k, fd), [event(0x4000_0100, "a"), event(0x8000, "")]);
    }
    [chmod] attributes(k) {
        k.file("f", b"");
        let (fd, _) = watch(k, c".", 4);
        call!(k, CHMOD, c"f", 0o600).unwrap();
        assert_eq!(events(k, fd), [event(4, "f")]);
    }
}
