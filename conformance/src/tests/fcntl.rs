//! Descriptors and locks: `dup(2)`, `fcntl(2)`, `flock(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, O_APPEND, O_NONBLOCK, O_RDWR,
    O_WRONLY,
};

use super::support::asleep;
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, fails, tests};

const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_OFD_SETLK: u32 = 37;
const RDLCK: u16 = 0;
const WRLCK: u16 = 1;
const UNLCK: u16 = 2;

fn lock(kind: u16, start: i64, length: i64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&kind.to_ne_bytes());
    bytes[8..16].copy_from_slice(&start.to_ne_bytes());
    bytes[16..24].copy_from_slice(&length.to_ne_bytes());
    bytes
}

fn set(
    k: &dyn Kernel,
    fd: Fd,
    command: u32,
    kind: u16,
    start: i64,
    length: i64,
) -> chitin_abi::Result<u64> {
    call!(k, FCNTL, fd, command, &lock(kind, start, length))
}

/// What `F_GETLK` says: kind, start, length, pid.
fn get(k: &dyn Kernel, fd: Fd, kind: u16, start: i64, length: i64) -> (u16, i64, i64, i32) {
    let mut bytes = lock(kind, start, length);
    call!(k, FCNTL, fd, F_GETLK, &mut bytes).unwrap();
    let long = |at: usize| i64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    (
        u16::from_ne_bytes([bytes[0], bytes[1]]),
        long(8),
        long(16),
        i32::from_ne_bytes(bytes[24..28].try_into().unwrap()),
    )
}

tests! { "fcntl", "fcntl(2)";
    [dup] shares_the_position(k) {
        let fd = k.file("f", b"abcdef");
        let copy = k.dup(fd).unwrap();
        k.lseek(fd, 2, 0).unwrap();
        assert_eq!(k.read_some(copy, 2).unwrap(), b"cd");
        assert_eq!(k.lseek(fd, 0, 1), Ok(4));
        fails(k.dup(999), Errno::EBADF);
    }
    [dup2, dup3] replaces_and_checks(k) {
        let (fd, other) = (k.file("f", b"f"), k.file("g", b"g"));
        assert_eq!(k.dup3(fd, other, 0), Ok(other));
        assert_eq!(k.read_some(other, 5).unwrap(), b"f");
        fails(k.dup3(fd, fd, 0), Errno::EINVAL);
        assert_eq!(call!(k, DUP2, fd, fd), Ok(fd as u64));
        fails(k.dup3(fd, 5, 1), Errno::EINVAL);
        fails(call!(k, DUP2, fd, -1), Errno::EBADF);
        fails(call!(k, DUP2, fd, 1 << 30), Errno::EBADF);
        fails(call!(k, DUP2, 999, 5), Errno::EBADF);
    }
    [fcntl] dupfd_takes_the_lowest_from(k) {
        let fd = k.file("f", b"");
        assert_eq!(k.fcntl(fd, F_DUPFD, 100), Ok(100));
        assert_eq!(k.fcntl(fd, F_DUPFD_CLOEXEC, 100), Ok(101));
        assert_eq!((k.fcntl(100, F_GETFD, 0), k.fcntl(101, F_GETFD, 0)), (Ok(0), Ok(1)));
        fails(k.fcntl(fd, F_DUPFD, 1 << 30), Errno::EINVAL);
        fails(k.fcntl(fd, F_DUPFD, u64::MAX), Errno::EINVAL);
    }
    [fcntl] close_on_exec_is_of_the_descriptor(k) {
        let fd = k.file("f", b"");
        k.fcntl(fd, F_SETFD, 1).unwrap();
        let copy = k.dup(fd).unwrap();
        assert_eq!((k.fcntl(fd, F_GETFD, 0), k.fcntl(copy, F_GETFD, 0)), (Ok(1), Ok(0)));
    }
    [fcntl] status_flags_are_of_the_description(k) {
        let fd = k.file("f", b"");
        let copy = k.dup(fd).unwrap();
        k.fcntl(fd, F_SETFL, u64::from(O_APPEND | O_NONBLOCK | O_WRONLY)).unwrap();
        assert_eq!(k.fcntl(copy, F_GETFL, 0).unwrap() & 0o6003, u64::from(O_APPEND | O_NONBLOCK | O_RDWR));
    }
    [fcntl] errors_of_fcntl(k) {
        fails(k.fcntl(999, F_GETFD, 0), Errno::EBADF);
        fails(k.fcntl(0, 9999, 0), Errno::EINVAL);
    }
    [dup] table_is_bounded(k) {
        let mut limit = [0_u8; 16];
        limit[0] = 20;
        limit[8] = 20;
        call!(k, SETRLIMIT, 7, &limit).unwrap();
        let mut last = 0;
        let errno = loop { match k.dup(0) { Ok(fd) => last = fd, Err(errno) => break errno } };
        assert_eq!((errno, last), (Errno::EMFILE, 19));
        fails(k.open("/dev/null", 0, 0), Errno::EMFILE);
        fails(k.pipe2(0), Errno::EMFILE);
    }
    [fcntl] record_locks_exclude_other_processes(k) {
        let fd = k.file("f", b"0123456789");
        set(k, fd, F_SETLK, WRLCK, 0, 5).unwrap();
        let parent = k.getpid();
        let child = k.child(|| {
            assert_eq!(get(k, fd, RDLCK, 0, 0), (WRLCK, 0, 5, parent));
            fails(set(k, fd, F_SETLK, RDLCK, 4, 1), Errno::EAGAIN);
            set(k, fd, F_SETLK, WRLCK, 5, 0).unwrap();
            0
        });
        assert_eq!(k.status(child), 0);
        assert_eq!(get(k, fd, WRLCK, 0, 0).0, UNLCK);
    }
    [fcntl] locks_split_and_merge(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRLCK, 0, 100).unwrap();
        set(k, fd, F_SETLK, UNLCK, 40, 20).unwrap();
        set(k, fd, F_SETLK, RDLCK, 60, 10).unwrap();
        let child = k.child(|| {
            assert_eq!((get(k, fd, WRLCK, 0, 0).1, get(k, fd, WRLCK, 0, 0).2), (0, 40));
            assert_eq!(get(k, fd, WRLCK, 40, 20).0, UNLCK);
            let found = get(k, fd, WRLCK, 50, 0);
            assert_eq!((found.0, found.1, found.2), (RDLCK, 60, 10));
            let found = get(k, fd, RDLCK, 50, 0);
            assert_eq!((found.0, found.1, found.2), (WRLCK, 70, 30));
            0
        });
        assert_eq!(k.status(child), 0);
    }
    [fcntl, close] closing_any_descriptor_drops_record_locks(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRLCK, 0, 0).unwrap();
        k.close(k.open("f", 0, 0).unwrap()).unwrap();
        let child = k.child(|| i32::from(set(k, fd, F_SETLK, WRLCK, 0, 0).is_err()));
        assert_eq!(k.status(child), 0);
    }
    [fcntl] waiting_for_a_lock(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRLCK, 0, 0).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| { k.write(writer, b"r").unwrap(); set(k, fd, F_SETLKW, WRLCK, 0, 0).unwrap(); 0 });
        k.read_some(reader, 1).unwrap();
        asleep(k, child);
        assert_eq!(k.wait4(child.pid, 1), Ok((0, 0)));
        set(k, fd, F_SETLK, UNLCK, 0, 0).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl] deadlock_is_found(k) {
        let fd = k.file("f", b"");
        set(k, fd, F_SETLK, WRLCK, 0, 1).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| {
            set(k, fd, F_SETLK, WRLCK, 1, 1).unwrap();
            k.write(writer, b"r").unwrap();
            i32::from(set(k, fd, F_SETLKW, WRLCK, 0, 1).is_err())
        });
        k.read_some(reader, 1).unwrap();
        asleep(k, child);
        fails(set(k, fd, F_SETLKW, WRLCK, 1, 1), Errno::EDEADLK);
        set(k, fd, F_SETLK, UNLCK, 0, 1).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl] rights_for_locks(k) {
        k.file("f", b"");
        let (reader, writer) = (k.open("f", 0, 0).unwrap(), k.open("f", O_WRONLY, 0).unwrap());
        fails(set(k, reader, F_SETLK, WRLCK, 0, 0), Errno::EBADF);
        fails(set(k, writer, F_SETLK, RDLCK, 0, 0), Errno::EBADF);
        fails(set(k, reader, F_SETLK, 7, 0, 0), Errno::EINVAL);
        fails(set(k, reader, F_SETLK, RDLCK, -1, 0), Errno::EINVAL);
        fails(call!(k, FCNTL, reader, F_SETLK, Arg::Bad), Errno::EFAULT);
    }
    [fcntl] description_locks_exclude_descriptions(k) {
        let (a, b) = (k.file("f", b""), k.open("f", O_RDWR, 0).unwrap());
        set(k, a, F_OFD_SETLK, WRLCK, 0, 0).unwrap();
        fails(set(k, b, F_OFD_SETLK, RDLCK, 0, 0), Errno::EAGAIN);
        fails(set(k, b, F_SETLK, RDLCK, 0, 0), Errno::EAGAIN);
        k.close(a).unwrap();
        set(k, b, F_OFD_SETLK, RDLCK, 0, 0).unwrap();
    }
    [flock] descriptions_and_copies(k) {
        let (a, b) = (k.file("f", b""), k.open("f", 0, 0).unwrap());
        call!(k, FLOCK, a, 2).unwrap();
        fails(call!(k, FLOCK, b, 1 | 4), Errno::EAGAIN);
        let copy = k.dup(a).unwrap();
        k.close(a).unwrap();
        fails(call!(k, FLOCK, b, 2 | 4), Errno::EAGAIN);
        call!(k, FLOCK, copy, 8).unwrap();
        call!(k, FLOCK, b, 2 | 4).unwrap();
        fails(call!(k, FLOCK, b, 16), Errno::EINVAL);
        fails(call!(k, FLOCK, 999, 1), Errno::EBADF);
    }
}
