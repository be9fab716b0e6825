//! Locks of open file descriptions: `fcntl(F_OFD_SETLK)`.

use chitin_abi::Errno;
use chitin_abi::fs::{F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, O_RDWR};
use zerocopy::IntoBytes;

use super::{FREE, READ, WRITE, get, range, set};
use crate::call;
use crate::suite::{Calls, Files, fails, tests};
use crate::tests::shared::{apart, interrupted, text, woken};

tests! { "ofdlock", "fcntl_locking(2)";
    [fcntl] copies_share_a_lock(k) {
        let fd = k.file("f", b"");
        let copy = k.dup(fd).unwrap();
        set(k, fd, F_OFD_SETLK, WRITE, 0, 0).unwrap();
        set(k, copy, F_OFD_SETLK, READ, 0, 0).unwrap();
        k.close(fd).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        fails(set(k, other, F_OFD_SETLK, WRITE, 0, 0), Errno::EAGAIN);
    }
    [fcntl, fork] children_share_a_lock(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_OFD_SETLK, WRITE, 0, 0).unwrap();
        apart(k, || { set(k, fd, F_OFD_SETLK, FREE, 0, 0).unwrap(); });
        let other = k.open("f", O_RDWR, 0).unwrap();
        set(k, other, F_OFD_SETLK, WRITE, 0, 0).unwrap();
    }
    [fcntl] closing_another_description_releases_nothing(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_OFD_SETLK, WRITE, 0, 0).unwrap();
        k.close(k.open("f", 0, 0).unwrap()).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        fails(set(k, other, F_OFD_SETLK, READ, 0, 0), Errno::EAGAIN);
    }
    [fcntl] conflicts_have_no_process(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_OFD_SETLK, WRITE, 2, 3).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        let found = get(k, other, F_OFD_GETLK, READ, 0, 0).unwrap();
        assert_eq!((found.l_type, found.l_start, found.l_len, found.l_pid), (WRITE, 2, 3, -1));
        assert_eq!(get(k, other, F_GETLK, READ, 0, 0).unwrap().l_pid, -1);
    }
    [fcntl] conflict_with_locks_of_the_own_process(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        fails(set(k, fd, F_OFD_SETLK, WRITE, 0, 0), Errno::EAGAIN);
        assert_eq!(get(k, fd, F_OFD_GETLK, READ, 0, 0).unwrap().l_pid, k.getpid());
    }
    [fcntl] process_field_must_be_zero(k) {
        let fd = k.file("f", b"");
        let mut flock = range(WRITE, 0, 0, 0);
        flock.l_pid = 1;
        for command in [F_OFD_SETLK, F_OFD_SETLKW] { fails(call!(k, FCNTL, fd, command, flock.as_bytes()), Errno::EINVAL); }
        fails(call!(k, FCNTL, fd, F_OFD_GETLK, flock.as_mut_bytes()), Errno::EINVAL);
    }
    [fcntl] ranges_split(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_OFD_SETLK, WRITE, 0, 100).unwrap();
        set(k, fd, F_OFD_SETLK, FREE, 10, 10).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        set(k, other, F_OFD_SETLK, WRITE, 10, 10).unwrap();
        fails(set(k, other, F_OFD_SETLK, READ, 20, 1), Errno::EAGAIN);
    }
    [fcntl] waiting_for_another_description(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_OFD_SETLK, WRITE, 0, 0).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        assert_eq!(woken(k, || { set(k, fd, F_OFD_SETLK, FREE, 0, 0).unwrap(); }, || set(k, other, F_OFD_SETLKW, WRITE, 0, 0)), Ok(0));
    }
    [fcntl] waiting_is_interrupted(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_OFD_SETLK, WRITE, 0, 0).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        interrupted(k, || set(k, other, F_OFD_SETLKW, WRITE, 0, 0));
    }
    [fcntl] rights(k) {
        k.file("f", b"");
        let reader = k.open("f", 0, 0).unwrap();
        fails(set(k, reader, F_OFD_SETLK, WRITE, 0, 0), Errno::EBADF);
        set(k, reader, F_OFD_SETLK, READ, 0, 0).unwrap();
    }
    [fcntl] proc_names_them(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_OFD_SETLK, READ, 0, 10).unwrap();
        let ino = k.fstat(fd).unwrap().st_ino;
        let locks = text(k, "/proc/locks");
        let line = locks.lines().find(|line| line.contains(&format!(":{ino} "))).unwrap_or_else(|| panic!("{locks}"));
        assert!(line.contains("OFDLCK ADVISORY  READ -1 "), "{line}");
    }
    [fcntl] unlocking_what_is_free_is_fine(k) { set(k, k.file("f", b""), F_OFD_SETLK, FREE, 0, 0).unwrap(); }
}
