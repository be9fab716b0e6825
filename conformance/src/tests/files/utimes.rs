//! Times of files: `utimensat(2)`, `utime(2)`, `utimes(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, fails, tests};
use crate::tests::shared::as_user;

const NOW: (i64, i64) = (0, UTIME_NOW);
const OMIT: (i64, i64) = (0, UTIME_OMIT);

fn times(access: (i64, i64), change: (i64, i64)) -> [u8; 32] {
    [access.0, access.1, change.0, change.1].as_bytes().try_into().unwrap()
}

fn found(k: &dyn Kernel, path: &str) -> (i64, i64, i64, i64) {
    let stat = k.lstat(path).unwrap();
    (stat.st_atime, stat.st_atime_nsec, stat.st_mtime, stat.st_mtime_nsec)
}

tests! { "utimes", "utimensat(2)";
    [utimensat] nanoseconds_are_kept(k) {
        k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((5, 999_999_999), (6, 1)), 0).unwrap();
        assert_eq!(found(k, "f"), (5, 999_999_999, 6, 1));
    }
    [utimensat] times_before_1970(k) {
        k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((-5, 0), (-6, 0)), 0).unwrap();
        assert_eq!(found(k, "f"), (-5, 0, -6, 0));
    }
    [utimensat] beyond_32_bits(k) {
        k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((1 << 32, 0), (1 << 33, 0)), 0).unwrap();
        assert_eq!(found(k, "f"), (1 << 32, 0, 1 << 33, 0));
    }
    [utimensat] omitting_one(k) {
        k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((1, 0), (2, 0)), 0).unwrap();
        call!(k, UTIMENSAT, -100, c"f", &times(OMIT, (3, 0)), 0).unwrap();
        call!(k, UTIMENSAT, -100, c"f", &times((4, 0), OMIT), 0).unwrap();
        assert_eq!(found(k, "f"), (4, 0, 3, 0));
    }
    [utimensat] seconds_beside_special_values_are_ignored(k) {
        k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((77, OMIT.1), (88, NOW.1)), 0).unwrap();
        assert!(found(k, "f").2 > 1_000_000_000 && found(k, "f").0 != 77);
    }
    [utimensat] omitting_both_is_nothing(k) {
        k.file("f", b"");
        let before = k.stat("f").unwrap();
        k.sleep_ms(15);
        call!(k, UTIMENSAT, -100, c"f", &times(OMIT, OMIT), 0).unwrap();
        assert_eq!(k.stat("f").unwrap().st_ctime_nsec, before.st_ctime_nsec);
    }
    [utimensat] links_themselves(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        call!(k, UTIMENSAT, -100, c"l", &times((1, 0), (2, 0)), AT_SYMLINK_NOFOLLOW).unwrap();
        assert_eq!(found(k, "l").2, 2);
        assert!(found(k, "f").2 > 1_000_000_000);
    }
    [utimensat] null_path_is_the_descriptor(k) {
        let fd = k.file("f", b"");
        call!(k, UTIMENSAT, fd, Arg::Null, &times((1, 0), (2, 0)), 0).unwrap();
        assert_eq!(found(k, "f"), (1, 0, 2, 0));
        fails(call!(k, UTIMENSAT, fd, Arg::Null, Arg::Null, AT_SYMLINK_NOFOLLOW), Errno::EINVAL);
        fails(call!(k, UTIMENSAT, -100, Arg::Null, Arg::Null, 0), Errno::EFAULT);
    }
    [utimensat] errors(k) {
        k.file("f", b"");
        fails(call!(k, UTIMENSAT, -100, c"f", &times((0, -1), (0, 0)), 0), Errno::EINVAL);
        fails(call!(k, UTIMENSAT, -100, c"f", &times((0, 0), (0, 1_000_000_000)), 0), Errno::EINVAL);
        fails(call!(k, UTIMENSAT, -100, c"f", Arg::Null, 1), Errno::EINVAL);
        fails(call!(k, UTIMENSAT, -100, c"f/x", Arg::Null, 0), Errno::ENOTDIR);
        fails(call!(k, UTIMENSAT, 999, c"f", Arg::Null, 0), Errno::EBADF);
        fails(call!(k, UTIMENSAT, -100, c"f", Arg::Edge(16), 0), Errno::EFAULT);
    }
    [utimensat] change_time_is_now(k) {
        k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((1, 0), (2, 0)), 0).unwrap();
        assert!(k.stat("f").unwrap().st_ctime > 1_000_000_000);
    }
    [utimensat] owner_sets_what_it_wants(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 1000).unwrap();
        call!(k, CHMOD, c"f", 0o400).unwrap();
        as_user(k, 1000, || {
            call!(k, UTIMENSAT, -100, c"f", &times((1, 0), (2, 0)), 0).unwrap();
            call!(k, UTIMENSAT, -100, c"f", Arg::Null, 0).unwrap();
        });
    }
    [utimensat] writer_may_set_both_to_now_only(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o666).unwrap();
        as_user(k, 1000, || {
            call!(k, UTIMENSAT, -100, c"f", &times(NOW, NOW), 0).unwrap();
            fails(call!(k, UTIMENSAT, -100, c"f", &times(NOW, OMIT), 0), Errno::EPERM);
            fails(call!(k, UTIMENSAT, -100, c"f", &times(OMIT, NOW), 0), Errno::EPERM);
            fails(call!(k, UTIMENSAT, -100, c"f", &times((1, 0), (1, 0)), 0), Errno::EPERM);
            call!(k, UTIMENSAT, -100, c"f", &times(OMIT, OMIT), 0).unwrap();
        });
    }
    [utime] seconds(k) {
        k.file("f", b"");
        call!(k, UTIME, c"f", [10_i64, 20].as_bytes()).unwrap();
        assert_eq!(found(k, "f"), (10, 0, 20, 0));
        call!(k, UTIME, c"f", Arg::Null).unwrap();
        assert!(found(k, "f").2 > 1_000_000_000);
        fails(call!(k, UTIME, c"f", Arg::Edge(8)), Errno::EFAULT);
    }
    [utimes, futimesat] microseconds(k) {
        k.file("f", b"");
        call!(k, UTIMES, c"f", [1_i64, 999_999, 2, 3].as_bytes()).unwrap();
        assert_eq!(found(k, "f"), (1, 999_999_000, 2, 3000));
        fails(call!(k, UTIMES, c"f", [1_i64, 1_000_000, 2, 3].as_bytes()), Errno::EINVAL);
        fails(call!(k, UTIMES, c"f", [1_i64, -1, 2, 3].as_bytes()), Errno::EINVAL);
        call!(k, FUTIMESAT, -100, c"f", [5_i64, 0, 6, 0].as_bytes()).unwrap();
        assert_eq!(found(k, "f"), (5, 0, 6, 0));
    }
    [read, utimensat] relative_access_time_is_kept_while_newer(k) {
        let fd = k.file("f", b"x");
        let now = k.stat("f").unwrap().st_mtime;
        call!(k, UTIMENSAT, -100, c"f", &times((now + 1000, 0), (now, 0)), 0).unwrap();
        k.pread(fd, &mut [0], 0).unwrap();
        assert_eq!(found(k, "f").0, now + 1000);
    }
}
