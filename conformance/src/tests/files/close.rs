//! Closing: `close(2)`, `close_range(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE, F_GETFD, O_PATH};

use super::super::support::in_state;
use crate::call;
use crate::suite::{Calls, Files, Processes, Threads, fails, tests};
use crate::tests::shared::{apart, exec_shell, is_open};

tests! { "close", "close(2)";
    [close] descriptor_without_rights_can_be_closed(k) {
        k.file("f", b"");
        let fd = k.open("f", O_PATH, 0).unwrap();
        k.close(fd).unwrap();
        assert!(!is_open(k, fd));
    }
    [close] other_descriptors_of_the_file_stay(k) {
        let fd = k.file("f", b"abc");
        let copy = k.dup(fd).unwrap();
        k.close(fd).unwrap();
        assert_eq!(k.read_some(copy, 9).unwrap(), b"abc");
    }
    [close, fork] child_closes_its_own(k) {
        let fd = k.file("f", b"");
        apart(k, || k.close(fd).unwrap());
        assert!(is_open(k, fd));
    }
    [close] large_numbers(k) {
        for fd in [i32::MAX, i32::MIN, 1 << 20] { fails(k.close(fd), Errno::EBADF); }
    }
    [close] register_beyond_an_int_is_cut(k) {
        let fd = k.file("f", b"");
        call!(k, CLOSE, 0xffff_ffff_0000_0000_u64 | fd as u64).unwrap();
        assert!(!is_open(k, fd));
    }
    [close] space_of_an_unlinked_file_is_freed(k) {
        let fd = k.file("f", &[1; 100_000]);
        k.unlink("f").unwrap();
        assert_eq!(k.fstat(fd).unwrap().st_nlink, 0);
        k.close(fd).unwrap();
    }
    [close, read] reader_of_a_pipe_sees_the_last_close(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let copy = k.dup(writer).unwrap();
        k.close(writer).unwrap();
        k.write(copy, b"x").unwrap();
        k.close(copy).unwrap();
        assert_eq!((k.read_some(reader, 2).unwrap(), k.read_some(reader, 2).unwrap()), (b"x".to_vec(), vec![]));
    }
    [close_range] everything_from(k) {
        let fd = k.file("f", b"");
        let high = k.fcntl(fd, 0, 500).unwrap() as i32;
        call!(k, CLOSE_RANGE, fd, u32::MAX, 0).unwrap();
        assert!(!is_open(k, fd) && !is_open(k, high) && is_open(k, 2));
    }
    [close_range] empty_parts_are_fine(k) { call!(k, CLOSE_RANGE, 400, 500, 0).unwrap(); }
    [close_range] errors(k) {
        fails(call!(k, CLOSE_RANGE, 5, 4, 0), Errno::EINVAL);
        fails(call!(k, CLOSE_RANGE, 5, 6, 1), Errno::EINVAL);
        fails(call!(k, CLOSE_RANGE, 5, 6, 8), Errno::EINVAL);
        fails(call!(k, CLOSE_RANGE, 5, 4, CLOSE_RANGE_UNSHARE), Errno::EINVAL);
    }
    [close_range] bounds_are_included(k) {
        let fd = k.file("f", b"");
        for to in 100..104 { k.dup3(fd, to, 0).unwrap(); }
        call!(k, CLOSE_RANGE, 101, 102, 0).unwrap();
        assert_eq!([100, 101, 102, 103].map(|fd| is_open(k, fd)), [true, false, false, true]);
    }
    [close_range, execve] marked_ones_close_at_exec(k) {
        let fd = k.file("f", b"");
        k.dup3(fd, 100, 0).unwrap();
        call!(k, CLOSE_RANGE, 100, 100, CLOSE_RANGE_CLOEXEC).unwrap();
        assert_eq!(k.fcntl(100, F_GETFD, 0), Ok(1));
        let child = k.child(|| { exec_shell(k, "[ -e /proc/self/fd/100 ]"); 9 });
        assert_ne!(k.status(child), 0);
    }
    [close_range] unsharing_alone_keeps_the_own_table(k) {
        let fd = k.file("f", b"");
        call!(k, CLOSE_RANGE, fd, fd, CLOSE_RANGE_UNSHARE).unwrap();
        assert!(!is_open(k, fd) && is_open(k, 2));
    }
    [close_range] unsharing_thread_leaves_the_others_table(k) {
        let fd = k.file("f", b"");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                call!(k, CLOSE_RANGE, fd, u32::MAX, CLOSE_RANGE_UNSHARE).unwrap();
                assert!(!is_open(k, fd));
            });
        });
        assert!(is_open(k, fd));
    }
    [close] threads_share_the_table(k) {
        let fd = k.file("f", b"");
        std::thread::scope(|scope| { scope.spawn(|| k.close(fd).unwrap()); });
        assert!(!is_open(k, fd));
    }
    [close, read] reader_in_another_thread_is_not_woken_by_close(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let waiting = scope.spawn(move || { tell.send(k.gettid()).unwrap(); k.read_some(reader, 4) });
            in_state(k, &format!("self/task/{}", told.recv().unwrap()), "S");
            k.close(reader).unwrap();
            k.write(writer, b"late").unwrap();
            assert_eq!(waiting.join().unwrap().unwrap(), b"late");
        });
    }
}
