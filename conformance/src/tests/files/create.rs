//! New names: `mkdir(2)`, `mknod(2)`, `creat(2)`, `umask(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_DIRECTORY, O_RDWR, makedev};

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{apart, as_user, become_user, in_own_mounts, text};

tests! { "create", "mkdir(2)";
    [mkdir] mode_and_umask(k) {
        call!(k, UMASK, 0o027).unwrap();
        k.mkdir("d", 0o777).unwrap();
        assert_eq!(k.stat("d").unwrap().st_mode, 0o40750);
    }
    [mkdir] sticky_is_kept_and_set_ids_are_not(k) {
        k.mkdir("d", 0o7777).unwrap();
        assert_eq!(k.stat("d").unwrap().st_mode & 0o7000, 0o1000);
    }
    [mkdir] mkdir_errors(k) {
        k.file("f", b"");
        k.symlink("none", "l").unwrap();
        fails(k.mkdir("f", 0o755), Errno::EEXIST);
        fails(k.mkdir("l", 0o755), Errno::EEXIST);
        fails(k.mkdir(".", 0o755), Errno::EEXIST);
        fails(k.mkdir("..", 0o755), Errno::EEXIST);
        fails(k.mkdir("/", 0o755), Errno::EEXIST);
        fails(k.mkdir("f/d", 0o755), Errno::ENOTDIR);
        fails(k.mkdir("none/d", 0o755), Errno::ENOENT);
        fails(k.mkdir("", 0o755), Errno::ENOENT);
        fails(k.mkdir(&"x".repeat(256), 0o755), Errno::ENAMETOOLONG);
        fails(call!(k, MKDIR, Arg::Bad, 0o755), Errno::EFAULT);
    }
    [mkdir] trailing_slashes_are_fine(k) {
        k.mkdir("d//", 0o755).unwrap();
        k.stat("d").unwrap();
    }
    [mkdir] new_directory_is_empty_with_two_links(k) {
        k.mkdir("d", 0o755).unwrap();
        assert_eq!(k.stat("d").unwrap().st_nlink, 2);
        assert_eq!(k.stat("d/.").unwrap().st_ino, k.stat("d").unwrap().st_ino);
    }
    [mkdirat] relative_to_a_descriptor(k) {
        k.mkdir("d", 0o755).unwrap();
        let d = k.open("d", O_DIRECTORY, 0).unwrap();
        call!(k, MKDIRAT, d, c"e", 0o700).unwrap();
        k.stat("d/e").unwrap();
        fails(call!(k, MKDIRAT, 999, c"e", 0o700), Errno::EBADF);
        fails(call!(k, MKDIRAT, k.file("f", b""), c"e", 0o700), Errno::ENOTDIR);
    }
    [mkdir] parent_permission(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        as_user(k, 1000, || fails(k.mkdir("d/e", 0o755), Errno::EACCES));
    }
    [mkdir] existing_name_wins_over_permission(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.mkdir("d/e", 0o755).unwrap();
        as_user(k, 1000, || fails(k.mkdir("d/e", 0o755), Errno::EEXIST));
    }
    [mkdir] set_group_id_is_inherited(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHOWN, c"d", 0, 77).unwrap();
        call!(k, CHMOD, c"d", 0o2755).unwrap();
        k.mkdir("d/e", 0o700).unwrap();
        let stat = k.stat("d/e").unwrap();
        assert_eq!((stat.st_mode & 0o7777, stat.st_gid), (0o2700, 77));
    }
    [mkdir, mknod, symlink, creat] read_only_mounts(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 1, Arg::Null).unwrap();
            fails(k.mkdir("m/d", 0o755), Errno::EROFS);
            fails(call!(k, MKNOD, c"m/p", 0o10600, 0), Errno::EROFS);
            fails(k.symlink("t", "m/l"), Errno::EROFS);
            fails(call!(k, CREAT, c"m/f", 0o600), Errno::EROFS);
            fails(k.mkdir("m/.", 0o755), Errno::EEXIST);
        });
    }
    [mknod] kinds_without_a_device(k) {
        for (mode, kind) in [(0o10640, 1), (0o140640, 0o14), (0o100640, 0o10), (0o640, 0o10)] {
            call!(k, MKNOD, c"n", mode, 0).unwrap();
            let stat = k.stat("n").unwrap();
            assert_eq!((stat.st_mode >> 12, stat.st_mode & 0o777), (kind, 0o640 & !0o22));
            k.unlink("n").unwrap();
        }
    }
    [mknod] devices_keep_their_numbers(k) needs Root {
        call!(k, MKNOD, c"c", 0o20600, makedev(1, 3)).unwrap();
        call!(k, MKNOD, c"b", 0o60600, makedev(300, 70_000)).unwrap();
        assert_eq!((k.stat("c").unwrap().st_rdev, k.stat("b").unwrap().st_rdev), (makedev(1, 3), makedev(300, 70_000)));
    }
    [mknod] devices_are_for_user_0(k) needs Root {
        as_user(k, 1000, || {
            fails(call!(k, MKNOD, c"c", 0o20600, makedev(1, 3)), Errno::EPERM);
            call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        });
    }
    [mknod] whiteouts_are_for_everybody_but_useless(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            apart(k, || {
                become_user(k, 1000);
                call!(k, MKNOD, c"m/c", 0o20600, 0).unwrap();
            });
            fails(k.open("m/c", 0, 0), Errno::ENXIO);
        });
    }
    [mknod, openat] unknown_device_cannot_be_opened(k) needs Root {
        call!(k, MKNOD, c"c", 0o20600, makedev(222, 9)).unwrap();
        fails(k.open("c", O_RDWR, 0), Errno::ENXIO);
    }
    [mknod] mknod_errors(k) {
        k.file("f", b"");
        fails(call!(k, MKNOD, c"f", 0o10600, 0), Errno::EEXIST);
        fails(call!(k, MKNOD, c"d", 0o40600, 0), Errno::EPERM);
        fails(call!(k, MKNOD, c"l", 0o120600, 0), Errno::EINVAL);
        fails(call!(k, MKNOD, c"x", 0o30600, 0), Errno::EINVAL);
        fails(call!(k, MKNOD, c"none/p", 0o10600, 0), Errno::ENOENT);
        fails(call!(k, MKNOD, c"f/p", 0o10600, 0), Errno::ENOTDIR);
        fails(call!(k, MKNOD, c"p/", 0o10600, 0), Errno::ENOENT);
        fails(call!(k, MKNOD, Arg::Bad, 0o10600, 0), Errno::EFAULT);
        fails(call!(k, MKNODAT, 999, c"p", 0o10600, 0), Errno::EBADF);
    }
    [umask] old_value_is_returned_and_bits_are_cut(k) {
        call!(k, UMASK, 0o123).unwrap();
        assert_eq!(call!(k, UMASK, 0o7777), Ok(0o123));
        assert_eq!(call!(k, UMASK, 0), Ok(0o777));
    }
    [umask, fork] children_inherit_a_copy(k) {
        call!(k, UMASK, 0o017).unwrap();
        apart(k, || assert_eq!(call!(k, UMASK, 0o777), Ok(0o017)));
        assert_eq!(call!(k, UMASK, 0), Ok(0o017));
    }
    [umask] proc_shows_it(k) {
        call!(k, UMASK, 0o037).unwrap();
        assert!(text(k, "/proc/self/status").contains("\nUmask:\t0037\n"));
    }
    [umask] threads_share_it(k) {
        std::thread::scope(|scope| { scope.spawn(|| call!(k, UMASK, 0o011).unwrap()); });
        assert_eq!(call!(k, UMASK, 0), Ok(0o011));
    }
    [umask, mknod] applies_to_nodes(k) {
        call!(k, UMASK, 0o077).unwrap();
        call!(k, MKNOD, c"p", 0o10666, 0).unwrap();
        assert_eq!(k.stat("p").unwrap().st_mode, 0o10600);
    }
    [creat] existing_file_is_emptied_and_keeps_its_mode(k) {
        k.file("f", b"old");
        call!(k, CREAT, c"f", 0o777).unwrap();
        let stat = k.stat("f").unwrap();
        assert_eq!((stat.st_size, stat.st_mode & 0o777), (0, 0o644));
        fails(call!(k, CREAT, c".", 0o600), Errno::EISDIR);
        fails(call!(k, CREAT, Arg::Bad, 0o600), Errno::EFAULT);
    }
}
