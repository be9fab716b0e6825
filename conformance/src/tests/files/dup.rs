//! Copies of descriptors: `dup(2)`, `fcntl(F_DUPFD)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GETFD, F_GETFL, F_SETFD, F_SETFL, O_APPEND,
    O_CLOEXEC, O_NONBLOCK, O_PATH,
};

use crate::call;
use crate::suite::{Calls, Files, fails, tests};
use crate::tests::shared::{apart, is_open, limit};

tests! { "dup", "dup(2)";
    [dup] takes_the_lowest(k) {
        let fd = k.file("f", b"");
        k.dup3(fd, 50, 0).unwrap();
        assert_eq!(k.dup(50), Ok(fd + 1));
    }
    [dup] clears_close_on_exec(k) {
        let fd = k.file("f", b"");
        k.fcntl(fd, F_SETFD, 1).unwrap();
        assert_eq!(k.fcntl(k.dup(fd).unwrap(), F_GETFD, 0), Ok(0));
    }
    [dup2] clears_close_on_exec_of_the_target(k) {
        let fd = k.file("f", b"");
        k.dup3(fd, 50, O_CLOEXEC).unwrap();
        assert_eq!(k.fcntl(50, F_GETFD, 0), Ok(1));
        call!(k, DUP2, fd, 50).unwrap();
        assert_eq!(k.fcntl(50, F_GETFD, 0), Ok(0));
    }
    [dup2] same_descriptor_keeps_its_flag(k) {
        let fd = k.file("f", b"");
        k.fcntl(fd, F_SETFD, 1).unwrap();
        call!(k, DUP2, fd, fd).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(1));
    }
    [dup2] same_closed_descriptor_fails(k) { fails(call!(k, DUP2, 500, 500), Errno::EBADF); }
    [dup3] same_closed_descriptor_is_invalid(k) { fails(k.dup3(500, 500, 0), Errno::EINVAL); }
    [dup3] flags(k) {
        let fd = k.file("f", b"");
        for flags in [1, O_NONBLOCK, O_APPEND, O_CLOEXEC | 1] { fails(k.dup3(fd, 50, flags), Errno::EINVAL); }
        assert!(!is_open(k, 50));
    }
    [dup2] target_beyond_the_limit(k) {
        let fd = k.file("f", b"");
        limit(k, 7, 20);
        fails(call!(k, DUP2, fd, 20), Errno::EBADF);
        fails(k.dup3(fd, 20, 0), Errno::EBADF);
        assert_eq!(call!(k, DUP2, fd, 19), Ok(19));
    }
    [fcntl] least_number_beyond_the_limit(k) {
        let fd = k.file("f", b"");
        limit(k, 7, 20);
        fails(k.fcntl(fd, F_DUPFD, 20), Errno::EINVAL);
        assert_eq!(k.fcntl(fd, F_DUPFD, 19), Ok(19));
        fails(k.fcntl(fd, F_DUPFD, 19), Errno::EMFILE);
    }
    [dup2] closed_target_loses_its_pipe(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let fd = k.file("f", b"");
        call!(k, DUP2, fd, writer).unwrap();
        assert_eq!(k.read_some(reader, 1).unwrap(), b"");
    }
    [dup, fcntl] flags_of_the_description_are_shared_with_children(k) {
        let fd = k.file("f", b"");
        apart(k, || { k.fcntl(fd, F_SETFL, u64::from(O_APPEND)).unwrap(); });
        assert_ne!(k.fcntl(fd, F_GETFL, 0).unwrap() & u64::from(O_APPEND), 0);
    }
    [dup, lseek] position_is_shared_with_children(k) {
        let fd = k.file("f", b"0123456789");
        apart(k, || { k.lseek(fd, 7, 0).unwrap(); });
        assert_eq!(k.read_some(fd, 9).unwrap(), b"789");
    }
    [fcntl] second_open_is_another_description(k) {
        let fd = k.file("f", b"0123");
        let other = k.open("f", 0, 0).unwrap();
        k.lseek(fd, 2, 0).unwrap();
        assert_eq!(k.read_some(other, 9).unwrap(), b"0123");
    }
    [fcntl] query_tells_copies_from_others(k) {
        let fd = k.file("f", b"");
        let (copy, other) = (k.dup(fd).unwrap(), k.open("f", 0, 0).unwrap());
        assert_eq!(k.fcntl(fd, F_DUPFD_QUERY, copy as u64), Ok(1));
        assert_eq!(k.fcntl(fd, F_DUPFD_QUERY, other as u64), Ok(0));
        fails(k.fcntl(fd, F_DUPFD_QUERY, 999), Errno::EBADF);
    }
    [dup, fcntl] path_only_descriptors_can_be_copied(k) {
        k.file("f", b"");
        let fd = k.open("f", O_PATH, 0).unwrap();
        k.dup(fd).unwrap();
        assert_eq!(k.fcntl(fd, F_DUPFD_CLOEXEC, 60), Ok(60));
        assert_eq!(k.fcntl(60, F_GETFD, 0), Ok(1));
    }
    [fcntl] descriptor_flags_beyond_the_first_are_dropped(k) {
        let fd = k.file("f", b"");
        k.fcntl(fd, F_SETFD, 0xff).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(1));
        k.fcntl(fd, F_SETFD, 2).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(0));
    }
    [fcntl] created_query_tells_new_files(k) {
        k.file("f", b"");
        let old = k.open("f", chitin_abi::fs::O_CREAT, 0o600).unwrap();
        let new = k.open("g", chitin_abi::fs::O_CREAT, 0o600).unwrap();
        assert_eq!((k.fcntl(old, 1028, 0), k.fcntl(new, 1028, 0)), (Ok(0), Ok(1)));
    }
}
