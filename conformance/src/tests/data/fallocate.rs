//! Space and holes: `fallocate(2)`.

use chitin_abi::fs::{
    FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_UNSHARE_RANGE, FALLOC_FL_ZERO_RANGE,
};
use chitin_abi::signal::{SIG_IGN, SIGXFSZ};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::limit;

const HOLE: u32 = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

fn allocate(k: &dyn Kernel, fd: Fd, mode: u32, offset: i64, length: i64) -> Result<u64> {
    call!(k, FALLOCATE, fd, mode, offset, length)
}

/// What a mode does where the file system has it.
fn or_unsupported(result: Result<u64>, check: impl FnOnce()) {
    match result {
        Ok(_) => check(),
        Err(errno) => assert_eq!(errno, Errno::EOPNOTSUPP),
    }
}

tests! { "fallocate", "fallocate(2)";
    [fallocate] extends_with_zeros(k) {
        let fd = k.file("f", b"abc");
        allocate(k, fd, 0, 0, 10).unwrap();
        assert_eq!(k.content("f"), b"abc\0\0\0\0\0\0\0");
    }
    [fallocate] never_shortens(k) {
        let fd = k.file("f", b"0123456789");
        allocate(k, fd, 0, 0, 5).unwrap();
        assert_eq!(k.content("f"), b"0123456789");
    }
    [fallocate] takes_blocks(k) {
        let fd = k.file("f", b"");
        allocate(k, fd, 0, 0, 1 << 20).unwrap();
        assert!(k.fstat(fd).unwrap().st_blocks >= 2048);
    }
    [fallocate] keeping_the_size(k) {
        let fd = k.file("f", b"abc");
        allocate(k, fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20).unwrap();
        let stat = k.fstat(fd).unwrap();
        assert!(stat.st_size == 3 && stat.st_blocks >= 2048, "{} {}", stat.st_size, stat.st_blocks);
    }
    [fallocate] holes_read_as_zeros(k) {
        let fd = k.file("f", &[1; 10_000]);
        allocate(k, fd, HOLE, 1000, 5000).unwrap();
        let content = k.content("f");
        assert_eq!((content[999], content[1000], content[5999], content[6000], content.len()), (1, 0, 0, 1, 10_000));
    }
    [fallocate] holes_free_blocks(k) {
        let fd = k.file("f", &[1; 1 << 20]);
        call!(k, FSYNC, fd).unwrap();
        let before = k.fstat(fd).unwrap().st_blocks;
        allocate(k, fd, HOLE, 0, 1 << 20).unwrap();
        assert!(k.fstat(fd).unwrap().st_blocks < before / 2);
    }
    [fallocate] hole_without_keeping_the_size(k) { fails(allocate(k, k.file("f", b"x"), FALLOC_FL_PUNCH_HOLE, 0, 1), Errno::EOPNOTSUPP); }
    [fallocate] hole_behind_the_end(k) {
        let fd = k.file("f", b"abc");
        allocate(k, fd, HOLE, 100, 100).unwrap();
        assert_eq!(k.content("f"), b"abc");
    }
    [fallocate] zero_range(k) {
        let fd = k.file("f", &[1; 10_000]);
        or_unsupported(allocate(k, fd, FALLOC_FL_ZERO_RANGE, 1000, 5000), || {
            let content = k.content("f");
            assert_eq!((content[999], content[1000], content[5999], content[6000]), (1, 0, 0, 1));
        });
    }
    [fallocate] collapse_range(k) {
        let fd = k.file("f", &[[1; 4096], [2; 4096], [3; 4096]].concat());
        or_unsupported(allocate(k, fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096), || {
            let content = k.content("f");
            assert_eq!((content.len(), content[4095], content[4096]), (8192, 1, 3));
        });
    }
    [fallocate] insert_range(k) {
        let fd = k.file("f", &[[1; 4096], [2; 4096]].concat());
        or_unsupported(allocate(k, fd, FALLOC_FL_INSERT_RANGE, 4096, 4096), || {
            let content = k.content("f");
            assert_eq!((content.len(), content[4095], content[4096], content[8192]), (12_288, 1, 0, 2));
        });
    }
    [fallocate] modes_that_exclude_each_other(k) {
        let fd = k.file("f", b"x");
        for mode in [FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_INSERT_RANGE | FALLOC_FL_KEEP_SIZE, HOLE | FALLOC_FL_ZERO_RANGE, FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_PUNCH_HOLE, 0x1000] {
            let errno = allocate(k, fd, mode, 0, 4096).unwrap_err();
            assert!(errno == Errno::EOPNOTSUPP || errno == Errno::EINVAL, "{mode:#x} {errno:?}");
        }
    }
    [fallocate] ranges(k) {
        let fd = k.file("f", b"x");
        for (offset, length) in [(-1, 1), (0, 0), (0, -1), (i64::MIN, 1)] { fails(allocate(k, fd, 0, offset, length), Errno::EINVAL); }
        fails(allocate(k, fd, 0, i64::MAX, i64::MAX), Errno::EFBIG);
    }
    [fallocate] kinds_of_files(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(allocate(k, writer, 0, 0, 1), Errno::ESPIPE);
        fails(allocate(k, reader, 0, 0, 1), Errno::EBADF);
        fails(allocate(k, k.open(".", 0, 0).unwrap(), 0, 0, 1), Errno::EBADF);
        fails(allocate(k, k.open("/dev/null", 1, 0).unwrap(), 0, 0, 1), Errno::ENODEV);
        k.file("f", b"x");
        fails(allocate(k, k.open("f", 0, 0).unwrap(), 0, 0, 1), Errno::EBADF);
        fails(allocate(k, 999, 0, 0, 1), Errno::EBADF);
    }
    [fallocate] size_limit(k) {
        let fd = k.file("f", b"");
        k.set_action(SIGXFSZ, SIG_IGN).unwrap();
        limit(k, 1, 100);
        fails(allocate(k, fd, 0, 0, 101), Errno::EFBIG);
        allocate(k, fd, 0, 0, 100).unwrap();
    }
    [fallocate] times_move(k) {
        let fd = k.file("f", b"abc");
        call!(k, UTIMENSAT, fd, crate::suite::Arg::Null, &[0_u8; 32], 0).unwrap();
        allocate(k, fd, HOLE, 0, 1).unwrap();
        assert!(k.fstat(fd).unwrap().st_mtime > 1_000_000_000);
    }
}
