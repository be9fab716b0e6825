//! `copy_file_range(2)`.

use chitin_abi::fs::{O_APPEND, O_DIRECTORY, O_RDWR, O_WRONLY};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::long;

fn copy(k: &dyn Kernel, from: Fd, to: Fd, count: usize) -> Result<u64> {
    call!(k, COPY_FILE_RANGE, from, Arg::Null, to, Arg::Null, count, 0)
}

tests! { "copyrange", "copy_file_range(2)";
    [copy_file_range] positions_move(k) {
        let (from, to) = (k.file("f", b"0123456789"), k.file("g", b""));
        k.lseek(from, 2, 0).unwrap();
        assert_eq!(copy(k, from, to, 5), Ok(5));
        assert_eq!((k.content("g"), k.lseek(from, 0, 1), k.lseek(to, 0, 1)), (b"23456".to_vec(), Ok(7), Ok(5)));
    }
    [copy_file_range] offsets_are_written_back(k) {
        let (from, to) = (k.file("f", b"0123456789"), k.file("g", b"abcdefghij"));
        let (mut a, mut b) = (7_u64.to_ne_bytes(), 1_u64.to_ne_bytes());
        assert_eq!(call!(k, COPY_FILE_RANGE, from, &mut a, to, &mut b, 10, 0), Ok(3));
        assert_eq!((long(&a, 0), long(&b, 0), k.content("g")), (10, 4, b"a789efghij".to_vec()));
        assert_eq!((k.lseek(from, 0, 1), k.lseek(to, 0, 1)), (Ok(0), Ok(0)));
    }
    [copy_file_range] end_of_the_source(k) {
        let (from, to) = (k.file("f", b"abc"), k.file("g", b""));
        k.lseek(from, 3, 0).unwrap();
        assert_eq!(copy(k, from, to, 5), Ok(0));
        k.lseek(from, 100, 0).unwrap();
        assert_eq!(copy(k, from, to, 5), Ok(0));
    }
    [copy_file_range] within_one_file(k) {
        let fd = k.file("f", b"0123456789");
        let (mut a, mut b) = (0_u64.to_ne_bytes(), 10_u64.to_ne_bytes());
        assert_eq!(call!(k, COPY_FILE_RANGE, fd, &mut a, fd, &mut b, 4, 0), Ok(4));
        assert_eq!(k.content("f"), b"01234567890123");
    }
    [copy_file_range] overlapping_ranges(k) {
        let fd = k.file("f", b"0123456789");
        let (mut a, mut b) = (0_u64.to_ne_bytes(), 2_u64.to_ne_bytes());
        fails(call!(k, COPY_FILE_RANGE, fd, &mut a, fd, &mut b, 4, 0), Errno::EINVAL);
    }
    [copy_file_range] rights(k) {
        let (from, to) = (k.file("f", b"x"), k.file("g", b""));
        fails(copy(k, k.open("f", O_WRONLY, 0).unwrap(), to, 1), Errno::EBADF);
        fails(copy(k, from, k.open("g", 0, 0).unwrap(), 1), Errno::EBADF);
        fails(copy(k, from, k.open("g", O_RDWR | O_APPEND, 0).unwrap(), 1), Errno::EBADF);
        fails(copy(k, 999, to, 1), Errno::EBADF);
        fails(copy(k, from, 999, 1), Errno::EBADF);
    }
    [copy_file_range] kinds_of_files(k) {
        let to = k.file("g", b"");
        let (reader, writer) = k.pipe2(0).unwrap();
        let from = k.file("f", b"x");
        fails(copy(k, reader, to, 1), Errno::EINVAL);
        fails(copy(k, from, writer, 1), Errno::EINVAL);
        fails(copy(k, k.open(".", O_DIRECTORY, 0).unwrap(), to, 1), Errno::EISDIR);
        fails(copy(k, k.open("/dev/zero", 0, 0).unwrap(), to, 1), Errno::EINVAL);
    }
    [copy_file_range] flags_and_counts(k) {
        let (from, to) = (k.file("f", b"x"), k.file("g", b""));
        fails(call!(k, COPY_FILE_RANGE, from, Arg::Null, to, Arg::Null, 1, 1), Errno::EINVAL);
        assert_eq!(copy(k, from, to, 0), Ok(0));
    }
    [copy_file_range] pointers_fault(k) {
        let (from, to) = (k.file("f", b"x"), k.file("g", b""));
        fails(call!(k, COPY_FILE_RANGE, from, Arg::Bad, to, Arg::Null, 1, 0), Errno::EFAULT);
        fails(call!(k, COPY_FILE_RANGE, from, Arg::Null, to, Arg::Edge(4), 1, 0), Errno::EFAULT);
        let mut bad = (-1_i64).to_ne_bytes();
        let errno = call!(k, COPY_FILE_RANGE, from, &mut bad, to, Arg::Null, 1, 0).unwrap_err();
        assert!(errno == Errno::EINVAL || errno == Errno::EOVERFLOW, "{errno:?}");
    }
    [copy_file_range] large_copies(k) {
        let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 253) as u8).collect();
        let (from, to) = (k.file("f", &data), k.file("g", b""));
        let mut copied = 0;
        while copied < 1_000_000 { copied += copy(k, from, to, 2_000_000).unwrap(); }
        assert_eq!(k.content("g"), data);
    }
    [copy_file_range] behind_the_end_makes_a_hole(k) {
        let (from, to) = (k.file("f", b"x"), k.file("g", b""));
        k.lseek(to, 5, 0).unwrap();
        assert_eq!(copy(k, from, to, 1), Ok(1));
        assert_eq!(k.content("g"), b"\0\0\0\0\0x");
    }
}
