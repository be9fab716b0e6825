//! Locks of whole files: `flock(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, O_PATH, O_WRONLY};

use super::super::support::holder;
use crate::call;
use crate::suite::{Calls, Files, Processes, fails, tests};
use crate::tests::shared::{apart, blocks, interrupted, text, woken};

tests! { "flock", "flock(2)";
    [flock] shared_and_exclusive(k) {
        let (a, b) = (k.file("f", b""), k.open("f", 0, 0).unwrap());
        call!(k, FLOCK, a, LOCK_SH).unwrap();
        call!(k, FLOCK, b, LOCK_SH | LOCK_NB).unwrap();
        fails(call!(k, FLOCK, b, LOCK_EX | LOCK_NB), Errno::EAGAIN);
        call!(k, FLOCK, a, LOCK_UN).unwrap();
        call!(k, FLOCK, b, LOCK_EX | LOCK_NB).unwrap();
    }
    [flock] failed_upgrade_gives_up_what_was_there(k) {
        let (a, b) = (k.file("f", b""), k.open("f", 0, 0).unwrap());
        call!(k, FLOCK, a, LOCK_SH).unwrap();
        call!(k, FLOCK, b, LOCK_SH).unwrap();
        fails(call!(k, FLOCK, b, LOCK_EX | LOCK_NB), Errno::EAGAIN);
        call!(k, FLOCK, a, LOCK_EX | LOCK_NB).unwrap_or_else(|errno| { assert_eq!(errno, Errno::EAGAIN); 0 });
    }
    [flock] any_access_mode(k) {
        k.file("f", b"");
        for flags in [0, O_WRONLY] { call!(k, FLOCK, k.open("f", flags, 0).unwrap(), LOCK_SH).unwrap(); }
        fails(call!(k, FLOCK, k.open("f", O_PATH, 0).unwrap(), LOCK_SH), Errno::EBADF);
    }
    [flock] operations(k) {
        let fd = k.file("f", b"");
        for operation in [0, LOCK_NB, LOCK_SH | LOCK_EX, 16, LOCK_EX | 64] { fails(call!(k, FLOCK, fd, operation), Errno::EINVAL); }
        fails(call!(k, FLOCK, 999, LOCK_SH), Errno::EBADF);
    }
    [flock] unlocking_what_is_free(k) { call!(k, FLOCK, k.file("f", b""), LOCK_UN).unwrap(); }
    [flock, fork] children_share_it(k) {
        let (fd, other) = (k.file("f", b""), k.open("f", 0, 0).unwrap());
        call!(k, FLOCK, fd, LOCK_EX).unwrap();
        apart(k, || { call!(k, FLOCK, fd, LOCK_UN).unwrap(); });
        call!(k, FLOCK, other, LOCK_EX | LOCK_NB).unwrap();
    }
    [flock, close] last_close_releases(k) {
        let (fd, other) = (k.file("f", b""), k.open("f", 0, 0).unwrap());
        let copy = k.dup(fd).unwrap();
        call!(k, FLOCK, fd, LOCK_EX).unwrap();
        k.close(fd).unwrap();
        fails(call!(k, FLOCK, other, LOCK_SH | LOCK_NB), Errno::EAGAIN);
        k.close(copy).unwrap();
        call!(k, FLOCK, other, LOCK_SH | LOCK_NB).unwrap();
    }
    [flock] record_locks_are_another_world(k) {
        let (fd, other) = (k.file("f", b""), k.open("f", 2, 0).unwrap());
        call!(k, FLOCK, fd, LOCK_EX).unwrap();
        super::set(k, other, 6, super::WRITE, 0, 0).unwrap();
    }
    [flock] waiting(k) {
        let (fd, other) = (k.file("f", b""), k.open("f", 0, 0).unwrap());
        call!(k, FLOCK, fd, LOCK_EX).unwrap();
        assert!(blocks(k, || { let _ = call!(k, FLOCK, other, LOCK_SH); }));
        assert_eq!(woken(k, || { call!(k, FLOCK, fd, LOCK_UN).unwrap(); }, || call!(k, FLOCK, other, LOCK_EX)), Ok(0));
    }
    [flock] waiting_is_interrupted(k) {
        let (fd, other) = (k.file("f", b""), k.open("f", 0, 0).unwrap());
        call!(k, FLOCK, fd, LOCK_EX).unwrap();
        interrupted(k, || call!(k, FLOCK, other, LOCK_EX));
    }
    [flock] end_of_the_holder_releases(k) {
        k.file("f", b"");
        let child = holder(k, || call!(k, FLOCK, k.open("f", 0, 0).unwrap(), LOCK_EX).unwrap());
        let fd = k.open("f", 0, 0).unwrap();
        call!(k, FLOCK, fd, LOCK_EX).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [flock] directories_can_be_locked(k) {
        let (a, b) = (k.open(".", 0, 0).unwrap(), k.open(".", 0, 0).unwrap());
        call!(k, FLOCK, a, LOCK_EX).unwrap();
        fails(call!(k, FLOCK, b, LOCK_EX | LOCK_NB), Errno::EAGAIN);
    }
    [flock] proc_lists_it(k) {
        let fd = k.file("f", b"");
        call!(k, FLOCK, fd, LOCK_EX).unwrap();
        let ino = k.fstat(fd).unwrap().st_ino;
        let locks = text(k, "/proc/locks");
        let line = locks.lines().find(|line| line.contains(&format!(":{ino} "))).unwrap_or_else(|| panic!("{locks}"));
        assert!(line.contains(&format!("FLOCK  ADVISORY  WRITE {} ", k.getpid())) && line.ends_with(" 0 EOF"), "{line}");
    }
}
