//! Leases: `fcntl(F_SETLEASE)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_GETLEASE, F_SETLEASE, F_SETSIG, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY,
};
use chitin_abi::signal::{SA_RESTART, SIGIO, SIGUSR1};

use super::super::support::until;
use super::{FREE, READ, WRITE};
use crate::call;
use crate::suite::{Calls, Fd, Files, Kernel, Processes, fails, tests};
use crate::tests::shared::{apart, as_user, blocks, text};

fn lease(k: &dyn Kernel, fd: Fd, kind: i16) -> chitin_abi::Result<u64> {
    k.fcntl(fd, F_SETLEASE, kind.unsigned_abs().into())
}

/// A file that is open once, for reading.
fn reader(k: &dyn Kernel) -> Fd {
    k.close(k.file("f", b"content")).unwrap();
    k.open("f", O_RDONLY, 0).unwrap()
}

/// Waits until a signal has been caught.
fn wait_caught(k: &dyn Kernel, signal: u32) {
    until(k, || k.caught(signal).0 > 0);
}

tests! { "lease", "fcntl(2)";
    [fcntl] read_lease_of_a_reader(k) {
        let fd = reader(k);
        assert_eq!(k.fcntl(fd, F_GETLEASE, 0), Ok(FREE as u64));
        lease(k, fd, READ).unwrap();
        assert_eq!(k.fcntl(fd, F_GETLEASE, 0), Ok(READ as u64));
        lease(k, fd, FREE).unwrap();
        assert_eq!(k.fcntl(fd, F_GETLEASE, 0), Ok(FREE as u64));
    }
    [fcntl] write_lease_of_the_only_user(k) {
        let fd = k.file("f", b"");
        lease(k, fd, WRITE).unwrap();
        assert_eq!(k.fcntl(fd, F_GETLEASE, 0), Ok(WRITE as u64));
    }
    [fcntl] write_lease_beside_another_user(k) {
        let fd = k.file("f", b"");
        k.open("f", 0, 0).unwrap();
        fails(lease(k, fd, WRITE), Errno::EAGAIN);
    }
    [fcntl] read_lease_beside_a_writer(k) {
        let fd = reader(k);
        let writer = k.open("f", O_WRONLY, 0).unwrap();
        fails(lease(k, fd, READ), Errno::EAGAIN);
        fails(lease(k, writer, READ), Errno::EAGAIN);
    }
    [fcntl] releasing_what_is_not_held(k) { fails(lease(k, reader(k), FREE), Errno::EAGAIN); }
    [fcntl] kinds(k) {
        fails(k.fcntl(reader(k), F_SETLEASE, 3), Errno::EINVAL);
        fails(lease(k, k.open(".", 0, 0).unwrap(), READ), Errno::EINVAL);
        let (pipe, _writer) = k.pipe2(0).unwrap();
        fails(lease(k, pipe, READ), Errno::EINVAL);
        fails(lease(k, 999, READ), Errno::EBADF);
    }
    [fcntl] only_the_owner(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        call!(k, CHMOD, c"f", 0o666).unwrap();
        as_user(k, 1000, || fails(lease(k, k.open("f", 0, 0).unwrap(), READ), Errno::EACCES));
    }
    [fcntl] upgrade_and_downgrade(k) {
        let fd = k.file("f", b"");
        lease(k, fd, WRITE).unwrap();
        lease(k, fd, READ).unwrap_or_else(|errno| { assert_eq!(errno, Errno::EAGAIN, "open for writing"); 0 });
        lease(k, fd, FREE).unwrap();
    }
    [fcntl, openat] breaker_is_told_by_a_signal(k) {
        let fd = reader(k);
        k.catch(SIGIO, SA_RESTART).unwrap();
        lease(k, fd, READ).unwrap();
        let child = k.child(|| { k.open("f", O_WRONLY, 0).unwrap(); 0 });
        wait_caught(k, SIGIO);
        assert_eq!(k.wait4(child.pid, 1), Ok((0, 0)), "the breaker waits");
        lease(k, fd, FREE).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl, openat] signal_of_choice(k) {
        let fd = reader(k);
        k.catch(SIGUSR1, SA_RESTART).unwrap();
        k.fcntl(fd, F_SETSIG, SIGUSR1.into()).unwrap();
        lease(k, fd, READ).unwrap();
        let child = k.child(|| { k.open("f", O_RDWR, 0).unwrap(); 0 });
        wait_caught(k, SIGUSR1);
        lease(k, fd, FREE).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl, openat] non_blocking_breaker_fails_at_once(k) {
        let fd = reader(k);
        k.catch(SIGIO, SA_RESTART).unwrap();
        lease(k, fd, READ).unwrap();
        apart(k, || fails(k.open("f", O_WRONLY | O_NONBLOCK, 0), Errno::EAGAIN));
        wait_caught(k, SIGIO);
        assert_eq!(k.fcntl(fd, F_GETLEASE, 0), Ok(FREE as u64), "what it is to become");
    }
    [fcntl, openat] readers_do_not_break_a_read_lease(k) {
        let fd = reader(k);
        lease(k, fd, READ).unwrap();
        apart(k, || { k.open("f", O_RDONLY, 0).unwrap(); });
        assert_eq!(k.fcntl(fd, F_GETLEASE, 0), Ok(READ as u64));
    }
    [fcntl, openat] reader_breaks_a_write_lease_to_a_read_lease(k) {
        k.close(k.file("f", b"content")).unwrap();
        let fd = k.open("f", O_RDONLY, 0).unwrap();
        k.catch(SIGIO, SA_RESTART).unwrap();
        lease(k, fd, WRITE).unwrap();
        let child = k.child(|| { k.open("f", O_RDONLY, 0).unwrap(); 0 });
        wait_caught(k, SIGIO);
        assert_eq!(k.fcntl(fd, F_GETLEASE, 0), Ok(READ as u64));
        lease(k, fd, READ).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl, truncate] truncation_breaks(k) {
        let fd = reader(k);
        k.catch(SIGIO, SA_RESTART).unwrap();
        lease(k, fd, READ).unwrap();
        let child = k.child(|| { call!(k, TRUNCATE, c"f", 0).unwrap(); 0 });
        wait_caught(k, SIGIO);
        lease(k, fd, FREE).unwrap();
        assert_eq!(k.status(child), 0);
        assert_eq!(k.fstat(fd).unwrap().st_size, 0);
    }
    [fcntl, openat] creation_and_truncation_break(k) {
        let fd = reader(k);
        k.catch(SIGIO, SA_RESTART).unwrap();
        lease(k, fd, READ).unwrap();
        apart(k, || fails(k.open("f", O_CREAT | O_TRUNC | O_WRONLY | O_NONBLOCK, 0o600), Errno::EAGAIN));
        assert_eq!(k.fstat(fd).unwrap().st_size, 7);
    }
    [fcntl, close] closing_releases(k) {
        let fd = reader(k);
        lease(k, fd, READ).unwrap();
        k.close(fd).unwrap();
        apart(k, || { k.open("f", O_WRONLY | O_NONBLOCK, 0).unwrap(); });
    }
    [fcntl] copies_share_it(k) {
        let fd = reader(k);
        lease(k, fd, READ).unwrap();
        let copy = k.dup(fd).unwrap();
        k.close(fd).unwrap();
        assert_eq!(k.fcntl(copy, F_GETLEASE, 0), Ok(READ as u64));
        lease(k, copy, FREE).unwrap();
    }
    [fcntl] two_read_leases(k) {
        let fd = reader(k);
        let other = k.open("f", 0, 0).unwrap();
        lease(k, fd, READ).unwrap();
        lease(k, other, READ).unwrap();
        lease(k, fd, FREE).unwrap();
        assert_eq!(k.fcntl(other, F_GETLEASE, 0), Ok(READ as u64));
    }
    [fcntl] waiting_breaker_is_killed(k) {
        let fd = reader(k);
        k.catch(SIGIO, SA_RESTART).unwrap();
        lease(k, fd, READ).unwrap();
        assert!(blocks(k, || { let _ = k.open("f", O_WRONLY, 0); }));
    }
    [fcntl] proc_lists_it(k) {
        let fd = reader(k);
        lease(k, fd, READ).unwrap();
        let ino = k.fstat(fd).unwrap().st_ino;
        let locks = text(k, "/proc/locks");
        let line = locks.lines().find(|line| line.contains(&format!(":{ino} "))).unwrap_or_else(|| panic!("{locks}"));
        assert!(line.contains("LEASE  ACTIVE    READ"), "{line}");
    }
    [fcntl] time_that_a_breaker_waits_is_a_setting(k) {
        assert_eq!(text(k, "/proc/sys/fs/lease-break-time"), "45\n");
        assert_eq!(text(k, "/proc/sys/fs/leases-enable"), "1\n");
    }
}
