//! Record locks: `fcntl(F_SETLK)`.

use chitin_abi::Errno;
use chitin_abi::fs::{F_GETLK, F_SETLK, F_SETLKW, O_RDWR, O_WRONLY};
use zerocopy::IntoBytes;

use super::{FREE, READ, WRITE, get, range, set};
use crate::call;
use crate::suite::{Arg, Calls, Files, Processes, fails, tests};
use crate::tests::shared::{apart, blocks, interrupted, restarted, text, woken};
use crate::tests::support::{asleep, holder, until};

tests! { "recordlock", "fcntl_locking(2)";
    [fcntl] own_locks_do_not_conflict(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 10).unwrap();
        set(k, fd, F_SETLK, READ, 5, 10).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        set(k, other, F_SETLK, WRITE, 0, 0).unwrap();
        assert_eq!(get(k, fd, F_GETLK, WRITE, 0, 0).unwrap().l_type, FREE);
    }
    [fcntl] readers_share_and_writers_do_not(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, READ, 0, 10).unwrap();
        apart(k, || {
            set(k, fd, F_SETLK, READ, 0, 10).unwrap();
            let errno = set(k, fd, F_SETLK, WRITE, 9, 1).unwrap_err();
            assert!(errno == Errno::EAGAIN || errno == Errno::EACCES);
            set(k, fd, F_SETLK, WRITE, 10, 1).unwrap();
        });
    }
    [fcntl] owner_of_a_conflict_is_told(k) {
        let (fd, me) = (k.file("f", b""), k.getpid());
        set(k, fd, F_SETLK, WRITE, 3, 4).unwrap();
        apart(k, || {
            let found = get(k, fd, F_GETLK, READ, 0, 0).unwrap();
            assert_eq!((found.l_type, found.l_whence, found.l_start, found.l_len, found.l_pid), (WRITE, 0, 3, 4, me));
        });
    }
    [fcntl] first_conflict_is_told(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 10, 5).unwrap();
        set(k, fd, F_SETLK, WRITE, 0, 5).unwrap();
        apart(k, || assert_eq!(get(k, fd, F_GETLK, READ, 0, 0).unwrap().l_start, 0));
    }
    [fcntl] query_without_conflict_changes_only_the_type(k) {
        let fd = k.file("f", b"");
        let found = get(k, fd, F_GETLK, WRITE, 7, 3).unwrap();
        assert_eq!((found.l_type, found.l_start, found.l_len, found.l_pid), (FREE, 7, 3, 0));
    }
    [fcntl] from_the_position_and_the_end(k) {
        let fd = k.file("f", b"0123456789");
        k.lseek(fd, 4, 0).unwrap();
        call!(k, FCNTL, fd, F_SETLK, range(WRITE, 1, 1, 2).as_bytes()).unwrap();
        call!(k, FCNTL, fd, F_SETLK, range(WRITE, 2, -1, 1).as_bytes()).unwrap();
        apart(k, || {
            assert_eq!(get(k, fd, F_GETLK, READ, 0, 8).unwrap().l_start, 5);
            assert_eq!(get(k, fd, F_GETLK, READ, 8, 0).unwrap().l_start, 9);
        });
    }
    [fcntl] negative_lengths_reach_back(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 10, -4).unwrap();
        apart(k, || {
            let found = get(k, fd, F_GETLK, READ, 0, 0).unwrap();
            assert_eq!((found.l_start, found.l_len), (6, 4));
        });
        fails(set(k, fd, F_SETLK, WRITE, 3, -4), Errno::EINVAL);
    }
    [fcntl] zero_length_reaches_to_the_end_of_everything(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 5, 0).unwrap();
        apart(k, || {
            assert_eq!(get(k, fd, F_GETLK, READ, 1 << 60, 1).unwrap().l_len, 0);
            set(k, fd, F_SETLK, WRITE, 0, 5).unwrap();
        });
    }
    [fcntl] ranges_beyond_the_largest_offset(k) {
        let fd = k.file("f", b"");
        fails(set(k, fd, F_SETLK, WRITE, i64::MAX, 2), Errno::EOVERFLOW);
        set(k, fd, F_SETLK, WRITE, i64::MAX, 1).unwrap();
        fails(set(k, fd, F_SETLK, WRITE, -1, 1), Errno::EINVAL);
    }
    [fcntl] structure_is_checked(k) {
        let fd = k.file("f", b"");
        fails(set(k, fd, F_SETLK, 3, 0, 0), Errno::EINVAL);
        fails(call!(k, FCNTL, fd, F_SETLK, range(READ, 3, 0, 0).as_bytes()), Errno::EINVAL);
        fails(call!(k, FCNTL, fd, F_GETLK, range(FREE, 0, 0, 0).as_mut_bytes()), Errno::EINVAL);
        for command in [F_GETLK, F_SETLK, F_SETLKW] { fails(call!(k, FCNTL, fd, command, Arg::Bad), Errno::EFAULT); }
    }
    [fcntl] rights(k) {
        k.file("f", b"");
        let (reader, writer) = (k.open("f", 0, 0).unwrap(), k.open("f", O_WRONLY, 0).unwrap());
        set(k, reader, F_SETLK, READ, 0, 1).unwrap();
        set(k, writer, F_SETLK, WRITE, 0, 1).unwrap();
        fails(set(k, reader, F_SETLK, WRITE, 0, 1), Errno::EBADF);
        fails(set(k, writer, F_SETLK, READ, 0, 1), Errno::EBADF);
        set(k, reader, F_SETLK, FREE, 0, 0).unwrap();
        get(k, reader, F_GETLK, WRITE, 0, 0).unwrap();
    }
    [fcntl, fork] children_inherit_no_locks(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        apart(k, || assert_eq!(get(k, fd, F_GETLK, READ, 0, 0).unwrap().l_type, WRITE));
    }
    [fcntl, exit] exit_releases(k) {
        let fd = k.file("f", b"");
        apart(k, || { set(k, fd, F_SETLK, WRITE, 0, 0).unwrap(); });
        apart(k, || { set(k, fd, F_SETLK, WRITE, 0, 0).unwrap(); });
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
    }
    [fcntl, execve] locks_survive_exec(k) {
        let fd = k.file("f", b"");
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| {
            set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
            crate::tests::shared::exec_shell(k, &format!("echo x >&{writer}; sleep 5"));
            1
        });
        k.read_some(reader, 1).unwrap();
        assert_eq!(get(k, fd, F_GETLK, READ, 0, 0).unwrap().l_pid, child.pid);
        k.kill(child.pid, 9).unwrap();
        k.status(child);
        assert_eq!(get(k, fd, F_GETLK, READ, 0, 0).unwrap().l_type, FREE);
    }
    [fcntl] waiting_ends_when_it_is_released(k) {
        let fd = k.file("f", b"");
        let child = holder(k, || set(k, fd, F_SETLK, WRITE, 0, 0).unwrap());
        set(k, fd, F_SETLKW, WRITE, 0, 0).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl] waiting_is_interrupted(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        apart(k, || interrupted(k, || set(k, fd, F_SETLKW, WRITE, 0, 0)));
    }
    [fcntl] waiting_is_restarted(k) {
        let fd = k.file("f", b"");
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| { set(k, fd, F_SETLK, WRITE, 0, 0).unwrap(); k.read(reader, &mut [0]).unwrap(); 0 });
        until(k, || get(k, fd, F_GETLK, READ, 0, 0).unwrap().l_type == WRITE);
        restarted(k, || { k.write(writer, b"x").unwrap(); }, || set(k, fd, F_SETLKW, WRITE, 0, 0));
        assert_eq!(k.status(child), 0);
    }
    [fcntl] waiters_for_a_part_are_woken_by_it(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 100).unwrap();
        let child = k.child(|| { set(k, fd, F_SETLKW, WRITE, 50, 10).unwrap(); 0 });
        asleep(k, child);
        assert_eq!(k.wait4(child.pid, 1), Ok((0, 0)), "it waits");
        set(k, fd, F_SETLK, FREE, 50, 10).unwrap();
        assert_eq!(k.status(child), 0);
        assert!(blocks(k, || { let _ = set(k, fd, F_SETLKW, WRITE, 49, 1); }));
    }
    [fcntl] downgrade_lets_readers_in(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        let child = k.child(|| { set(k, fd, F_SETLKW, READ, 0, 0).unwrap(); 0 });
        asleep(k, child);
        assert_eq!(k.wait4(child.pid, 1), Ok((0, 0)), "it waits");
        set(k, fd, F_SETLK, READ, 0, 0).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl] cycle_of_three_is_found(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 1).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        let children = [2, 1].map(|own| {
            let child = k.child(|| {
                set(k, fd, F_SETLK, WRITE, own, 1).unwrap();
                k.write(writer, b"x").unwrap();
                set(k, fd, F_SETLKW, WRITE, (own + 1) % 3, 1).unwrap();
                0
            });
            k.read(reader, &mut [0]).unwrap();
            asleep(k, child);
            child
        });
        fails(set(k, fd, F_SETLKW, WRITE, 1, 1), Errno::EDEADLK);
        set(k, fd, F_SETLK, FREE, 0, 0).unwrap();
        for child in children { assert_eq!(k.status(child), 0); }
    }
    [fcntl, unlink] locks_of_removed_files(k) {
        let fd = k.file("f", b"");
        k.unlink("f").unwrap();
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        apart(k, || assert_eq!(get(k, fd, F_GETLK, READ, 0, 0).unwrap().l_type, WRITE));
    }
    [fcntl] hard_links_share_locks(k) {
        let fd = k.file("f", b"");
        k.link("f", "g").unwrap();
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        apart(k, || {
            let other = k.open("g", O_RDWR, 0).unwrap();
            assert_eq!(get(k, other, F_GETLK, READ, 0, 0).unwrap().l_type, WRITE);
        });
    }
    [fcntl] threads_are_one_owner(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        std::thread::scope(|scope| { scope.spawn(|| { set(k, fd, F_SETLK, READ, 0, 0).unwrap(); }); });
        apart(k, || assert_eq!(get(k, fd, F_GETLK, WRITE, 0, 0).unwrap().l_type, READ));
    }
    [fcntl] proc_lists_locks(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 5, 10).unwrap();
        let (me, ino) = (k.getpid(), k.fstat(fd).unwrap().st_ino);
        let locks = text(k, "/proc/locks");
        let line = locks.lines().find(|line| line.contains(&format!(":{ino} "))).unwrap_or_else(|| panic!("{locks}"));
        assert!(line.contains(&format!("POSIX  ADVISORY  WRITE {me} ")) && line.ends_with(" 5 14"), "{line}");
    }
    [fcntl] proc_shows_the_end_of_everything(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, READ, 0, 0).unwrap();
        let ino = k.fstat(fd).unwrap().st_ino;
        let locks = text(k, "/proc/locks");
        let line = locks.lines().find(|line| line.contains(&format!(":{ino} "))).unwrap();
        assert!(line.contains("READ") && line.ends_with(" 0 EOF"), "{line}");
        assert!(text(k, &format!("/proc/self/fdinfo/{fd}")).contains("lock:\t1: POSIX  ADVISORY  READ"));
    }
    [fcntl, dup2] replaced_descriptor_releases(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
        let null = k.open("/dev/null", 0, 0).unwrap();
        let other = k.open("f", O_RDWR, 0).unwrap();
        call!(k, DUP2, null, other).unwrap();
        apart(k, || assert_eq!(get(k, fd, F_GETLK, READ, 0, 0).unwrap().l_type, FREE));
    }
    [fcntl] waiting_writer_then_reader(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, READ, 0, 0).unwrap();
        woken(k, || { set(k, fd, F_SETLK, READ, 0, 0).unwrap(); }, || k.sleep_ms(80));
        set(k, fd, F_SETLK, WRITE, 0, 0).unwrap();
    }
}
