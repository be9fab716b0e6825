//! Removing names: `unlink(2)`, `rmdir(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{AT_REMOVEDIR, O_DIRECTORY};

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{as_user, in_own_mounts};

tests! { "remove", "unlink(2)";
    [unlink] open_file_lives_on(k) {
        let fd = k.file("f", b"abc");
        k.unlink("f").unwrap();
        k.write(fd, b"XY").unwrap();
        let mut buffer = [0; 3];
        k.pread(fd, &mut buffer, 0).unwrap();
        assert_eq!((&buffer, k.fstat(fd).unwrap().st_nlink), (b"XYc", 0));
    }
    [unlink] name_is_free_again(k) {
        k.file("f", b"old");
        k.unlink("f").unwrap();
        k.file("f", b"new");
        assert_eq!(k.content("f"), b"new");
    }
    [unlink] link_and_not_its_target(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        k.unlink("l").unwrap();
        k.stat("f").unwrap();
        fails(k.lstat("l"), Errno::ENOENT);
    }
    [unlink] unlink_errors(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        fails(k.unlink("none"), Errno::ENOENT);
        fails(k.unlink("d"), Errno::EISDIR);
        fails(k.unlink("."), Errno::EISDIR);
        fails(k.unlink("f/x"), Errno::ENOTDIR);
        fails(k.unlink("f/"), Errno::ENOTDIR);
        fails(k.unlink(""), Errno::ENOENT);
        fails(k.unlink("/"), Errno::EISDIR);
        fails(k.unlink(&"x".repeat(256)), Errno::ENAMETOOLONG);
        fails(call!(k, UNLINK, Arg::Bad), Errno::EFAULT);
    }
    [unlink] trailing_slash_of_a_link_to_a_directory(k) {
        k.mkdir("d", 0o755).unwrap();
        k.symlink("d", "l").unwrap();
        fails(k.unlink("l/"), Errno::ENOTDIR);
    }
    [unlink] every_kind_of_file(k) needs Root {
        for mode in [0o10600, 0o140600, 0o100600, 0o20600] {
            call!(k, MKNOD, c"n", mode, 0x103).unwrap();
            k.unlink("n").unwrap();
        }
    }
    [unlink] directory_permission_decides(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"");
        as_user(k, 1000, || fails(k.unlink("d/f"), Errno::EACCES));
        call!(k, CHMOD, c"d", 0o777).unwrap();
        as_user(k, 1000, || k.unlink("d/f").unwrap());
    }
    [unlink] sticky_directory_owner_may_remove(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHOWN, c"d", 1000, 1000).unwrap();
        call!(k, CHMOD, c"d", 0o1777).unwrap();
        k.file("d/f", b"");
        as_user(k, 1001, || fails(k.unlink("d/f"), Errno::EPERM));
        as_user(k, 1000, || k.unlink("d/f").unwrap());
    }
    [unlinkat] flags(k) {
        k.mkdir("d", 0o755).unwrap();
        k.file("f", b"");
        fails(call!(k, UNLINKAT, -100, c"f", 1), Errno::EINVAL);
        fails(call!(k, UNLINKAT, -100, c"f", AT_REMOVEDIR), Errno::ENOTDIR);
        fails(call!(k, UNLINKAT, -100, c"d", 0), Errno::EISDIR);
        call!(k, UNLINKAT, -100, c"d", AT_REMOVEDIR).unwrap();
        call!(k, UNLINKAT, -100, c"f", 0).unwrap();
    }
    [unlinkat] relative_to_a_descriptor(k) {
        k.mkdir("d", 0o755).unwrap();
        let file = k.file("d/f", b"");
        fails(call!(k, UNLINKAT, file, c"f", 0), Errno::ENOTDIR);
        fails(call!(k, UNLINKAT, 999, c"f", 0), Errno::EBADF);
        call!(k, UNLINKAT, k.open("d", O_DIRECTORY, 0).unwrap(), c"f", 0).unwrap();
    }
    [rmdir] rmdir_errors(k) {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"");
        fails(k.rmdir("d"), Errno::ENOTEMPTY);
        fails(k.rmdir("d/f"), Errno::ENOTDIR);
        fails(k.rmdir("none"), Errno::ENOENT);
        fails(k.rmdir("."), Errno::EINVAL);
        fails(k.rmdir("d/."), Errno::EINVAL);
        fails(k.rmdir("d/.."), Errno::ENOTEMPTY);
        fails(k.rmdir(".."), Errno::ENOTEMPTY);
        fails(k.rmdir("/"), Errno::EBUSY);
        fails(k.rmdir(""), Errno::ENOENT);
        fails(call!(k, RMDIR, Arg::Bad), Errno::EFAULT);
    }
    [rmdir] link_to_a_directory(k) {
        k.mkdir("d", 0o755).unwrap();
        k.symlink("d", "l").unwrap();
        fails(k.rmdir("l"), Errno::ENOTDIR);
        fails(k.rmdir("l/"), Errno::ENOTDIR);
    }
    [rmdir] trailing_slash_is_fine(k) {
        k.mkdir("d", 0o755).unwrap();
        k.rmdir("d///").unwrap();
    }
    [rmdir] removed_working_directory(k) {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHDIR, c"d").unwrap();
        k.rmdir("../d").unwrap();
        fails(call!(k, GETCWD, &mut [0_u8; 100], 100), Errno::ENOENT);
        fails(k.open("f", 0o100, 0o600), Errno::ENOENT);
        fails(k.mkdir("e", 0o755), Errno::ENOENT);
        k.stat(".").unwrap();
        assert!(k.readlink("/proc/self/cwd").unwrap().ends_with(b"/d (deleted)"));
    }
    [rmdir] link_counts(k) {
        k.mkdir("d", 0o755).unwrap();
        k.mkdir("d/e", 0o755).unwrap();
        let fd = k.open("d/e", O_DIRECTORY, 0).unwrap();
        k.rmdir("d/e").unwrap();
        assert_eq!((k.stat("d").unwrap().st_nlink, k.fstat(fd).unwrap().st_nlink), (2, 0));
    }
    [rmdir, unlink] mount_points_are_busy(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        k.file("f", b"");
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            call!(k, MOUNT, c"f", c"f", Arg::Null, 0x1000, Arg::Null).unwrap();
            fails(k.rmdir("m"), Errno::EBUSY);
            fails(k.unlink("f"), Errno::EBUSY);
        });
    }
    [unlink, rmdir] read_only_mounts(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            k.close(k.file("m/f", b"")).unwrap();
            k.mkdir("m/d", 0o755).unwrap();
            call!(k, MOUNT, Arg::Null, c"m", Arg::Null, 0x1021, Arg::Null).unwrap();
            fails(k.unlink("m/f"), Errno::EROFS);
            fails(k.rmdir("m/d"), Errno::EROFS);
            fails(k.unlink("m/none"), Errno::EROFS);
        });
    }
}
