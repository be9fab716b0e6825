//! Sizes: `truncate(2)`, `ftruncate(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_APPEND, O_WRONLY};
use chitin_abi::signal::{SIG_IGN, SIGXFSZ};

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{apart, as_user, in_own_mounts, limit};

tests! { "truncate", "truncate(2)";
    [truncate] shorter_and_longer(k) {
        k.file("f", b"abcdef");
        call!(k, TRUNCATE, c"f", 2).unwrap();
        call!(k, TRUNCATE, c"f", 5).unwrap();
        assert_eq!(k.content("f"), b"ab\0\0\0");
    }
    [ftruncate] cut_bytes_do_not_come_back(k) {
        let fd = k.file("f", &[7; 10_000]);
        k.ftruncate(fd, 5000).unwrap();
        k.ftruncate(fd, 10_000).unwrap();
        let content = k.content("f");
        assert!(content[..5000].iter().all(|byte| *byte == 7) && content[5000..].iter().all(|byte| *byte == 0));
    }
    [ftruncate] position_stays(k) {
        let fd = k.file("f", b"abcdef");
        k.lseek(fd, 4, 0).unwrap();
        k.ftruncate(fd, 2).unwrap();
        assert_eq!(k.lseek(fd, 0, 1), Ok(4));
        k.write(fd, b"x").unwrap();
        assert_eq!(k.content("f"), b"ab\0\0x");
    }
    [truncate] follows_links(k) {
        k.file("f", b"abc");
        k.symlink("f", "l").unwrap();
        call!(k, TRUNCATE, c"l", 1).unwrap();
        assert_eq!(k.content("f"), b"a");
    }
    [truncate] errors(k) {
        k.file("f", b"");
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        fails(call!(k, TRUNCATE, c"f", -1), Errno::EINVAL);
        fails(call!(k, TRUNCATE, c".", 0), Errno::EISDIR);
        fails(call!(k, TRUNCATE, c"p", 0), Errno::EINVAL);
        fails(call!(k, TRUNCATE, c"none", 0), Errno::ENOENT);
        fails(call!(k, TRUNCATE, c"f/x", 0), Errno::ENOTDIR);
        fails(call!(k, TRUNCATE, c"", 0), Errno::ENOENT);
        fails(call!(k, TRUNCATE, Arg::Bad, 0), Errno::EFAULT);
    }
    [ftruncate] ftruncate_errors(k) {
        let fd = k.file("f", b"");
        fails(k.ftruncate(fd, -1), Errno::EINVAL);
        fails(k.ftruncate(999, 0), Errno::EBADF);
        fails(k.ftruncate(k.open("f", 0, 0).unwrap(), 0), Errno::EINVAL);
        fails(k.ftruncate(k.open(".", 0, 0).unwrap(), 0), Errno::EINVAL);
        let (_reader, writer) = k.pipe2(0).unwrap();
        fails(k.ftruncate(writer, 0), Errno::EINVAL);
    }
    [ftruncate] device(k) { fails(k.ftruncate(k.open("/dev/null", O_WRONLY, 0).unwrap(), 0), Errno::EINVAL); }
    [truncate] write_permission(k) needs Root {
        k.file("f", b"abc");
        call!(k, CHMOD, c"f", 0o444).unwrap();
        as_user(k, 1000, || fails(call!(k, TRUNCATE, c"f", 0), Errno::EACCES));
    }
    [truncate] read_only_mount(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            k.close(k.file("m/f", b"x")).unwrap();
            call!(k, MOUNT, Arg::Null, c"m", Arg::Null, 0x21, Arg::Null).unwrap();
            fails(call!(k, TRUNCATE, c"m/f", 0), Errno::EROFS);
        });
    }
    [truncate] running_program(k) { fails(call!(k, TRUNCATE, c"/proc/self/exe", 0), Errno::ETXTBSY); }
    [ftruncate] size_limit(k) {
        let fd = k.file("f", b"0123456789");
        apart(k, || {
            k.set_action(SIGXFSZ, SIG_IGN).unwrap();
            limit(k, 1, 5);
            fails(k.ftruncate(fd, 20), Errno::EFBIG);
            k.ftruncate(fd, 8).unwrap();
            fails(k.ftruncate(fd, 9), Errno::EFBIG);
        });
    }
    [ftruncate] same_size_still_moves_times(k) {
        let fd = k.file("f", b"abc");
        call!(k, UTIMENSAT, fd, Arg::Null, &[0_u8; 32], 0).unwrap();
        k.ftruncate(fd, 3).unwrap();
        assert!(k.fstat(fd).unwrap().st_mtime > 1_000_000_000);
    }
    [truncate, ftruncate] blocks_are_freed_and_holes_take_none(k) {
        let fd = k.file("f", &[1; 100_000]);
        k.ftruncate(fd, 0).unwrap();
        k.ftruncate(fd, 1 << 30).unwrap();
        let stat = k.fstat(fd).unwrap();
        assert!(stat.st_size == 1 << 30 && stat.st_blocks <= 8, "{}", stat.st_blocks);
    }
    [ftruncate] appending_descriptors_may(k) {
        k.file("f", b"abc");
        let fd = k.open("f", O_WRONLY | O_APPEND, 0).unwrap();
        k.ftruncate(fd, 1).unwrap();
        k.write(fd, b"Z").unwrap();
        assert_eq!(k.content("f"), b"aZ");
    }
    [ftruncate, mmap] mapped_pages_behind_the_end_signal(k) {
        let fd = k.file("f", &[1; 8192]);
        let memory = k.map(8192, 3, 1, fd, 0).unwrap();
        assert_eq!(memory.get(5000), 1);
        k.ftruncate(fd, 4096).unwrap();
        let child = crate::suite::Processes::child(&k, || i32::from(memory.get(5000)));
        assert_eq!(crate::suite::Processes::status(&k, child) & 0x7f, 7);
    }
    [ftruncate, mmap] tail_of_the_last_page_is_zero(k) {
        let fd = k.file("f", &[1; 100]);
        let memory = k.map(4096, 3, 1, fd, 0).unwrap();
        assert_eq!((memory.get(99), memory.get(100)), (1, 0));
        k.ftruncate(fd, 50).unwrap();
        assert_eq!((memory.get(49), memory.get(50)), (1, 0));
    }
}
