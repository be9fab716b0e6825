//! Renaming: `rename(2)`, `renameat2(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_DIRECTORY, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, fails, tests};
use crate::tests::shared::{as_user, in_own_mounts};

fn rename(k: &dyn Kernel, from: &str, to: &str) -> chitin_abi::Result<()> {
    k.rename2(from, to, 0)
}

tests! { "rename", "rename(2)";
    [rename] replaces_a_file(k) {
        k.file("f", b"new");
        let old = k.file("g", b"old");
        rename(k, "f", "g").unwrap();
        assert_eq!((k.content("g"), k.fstat(old).unwrap().st_nlink), (b"new".to_vec(), 0));
        fails(k.stat("f"), Errno::ENOENT);
    }
    [rename] open_descriptors_keep_the_file(k) {
        let fd = k.file("f", b"abc");
        rename(k, "f", "g").unwrap();
        assert_eq!(k.read_some(fd, 9).unwrap(), b"abc");
        assert!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap().ends_with(b"/g"));
    }
    [rename] same_name_is_nothing(k) {
        k.file("f", b"");
        rename(k, "f", "f").unwrap();
        rename(k, "f", "./f").unwrap();
        k.stat("f").unwrap();
    }
    [rename] hard_links_of_one_file_both_stay(k) {
        k.file("f", b"");
        k.link("f", "g").unwrap();
        rename(k, "f", "g").unwrap();
        assert_eq!(k.stat("f").unwrap().st_nlink, 2);
    }
    [rename] directories_replace_empty_ones(k) {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"");
        k.mkdir("e", 0o755).unwrap();
        rename(k, "d", "e").unwrap();
        k.stat("e/f").unwrap();
    }
    [rename] full_directories_are_not_replaced(k) {
        k.mkdir("d", 0o755).unwrap();
        k.mkdir("e", 0o755).unwrap();
        k.file("e/f", b"");
        fails(rename(k, "d", "e"), Errno::ENOTEMPTY);
    }
    [rename] kinds_must_agree(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        fails(rename(k, "d", "f"), Errno::ENOTDIR);
        fails(rename(k, "f", "d"), Errno::EISDIR);
    }
    [rename] into_itself(k) {
        k.mkdir("d", 0o755).unwrap();
        k.mkdir("d/e", 0o755).unwrap();
        fails(rename(k, "d", "d/e/x"), Errno::EINVAL);
        fails(rename(k, "d", "d/x"), Errno::EINVAL);
        fails(rename(k, "d/e", "d"), Errno::ENOTEMPTY);
    }
    [rename] dots_and_roots(k) {
        k.mkdir("d", 0o755).unwrap();
        fails(rename(k, ".", "x"), Errno::EBUSY);
        fails(rename(k, "d/..", "x"), Errno::EBUSY);
        fails(rename(k, "d", "."), Errno::EBUSY);
        fails(rename(k, "/", "x"), Errno::EBUSY);
        fails(rename(k, "d", "/"), Errno::EBUSY);
    }
    [rename] trailing_slashes(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        fails(rename(k, "f/", "g"), Errno::ENOTDIR);
        fails(rename(k, "f", "g/"), Errno::ENOTDIR);
        rename(k, "d/", "e/").unwrap();
        k.stat("e").unwrap();
    }
    [rename] errors_of_paths(k) {
        k.file("f", b"");
        fails(rename(k, "none", "g"), Errno::ENOENT);
        fails(rename(k, "f", "none/g"), Errno::ENOENT);
        fails(rename(k, "f/x", "g"), Errno::ENOTDIR);
        fails(rename(k, "f", "f/x"), Errno::ENOTDIR);
        fails(rename(k, "", "g"), Errno::ENOENT);
        fails(rename(k, "f", ""), Errno::ENOENT);
        fails(rename(k, "f", &"x".repeat(256)), Errno::ENAMETOOLONG);
        fails(call!(k, RENAME, Arg::Bad, c"g"), Errno::EFAULT);
        fails(call!(k, RENAME, c"f", Arg::Null), Errno::EFAULT);
    }
    [rename] links_are_moved_themselves(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        rename(k, "l", "m").unwrap();
        assert_eq!(k.readlink("m").unwrap(), b"f");
        k.file("g", b"");
        rename(k, "g", "m").unwrap();
        assert_eq!(k.lstat("m").unwrap().st_mode >> 12, 0o10);
        k.stat("f").unwrap();
    }
    [rename] moved_directory_has_a_new_parent(k) {
        k.mkdir("a", 0o755).unwrap();
        k.mkdir("b", 0o755).unwrap();
        k.mkdir("a/d", 0o755).unwrap();
        rename(k, "a/d", "b/d").unwrap();
        assert_eq!(k.stat("b/d/..").unwrap().st_ino, k.stat("b").unwrap().st_ino);
        assert_eq!((k.stat("a").unwrap().st_nlink, k.stat("b").unwrap().st_nlink), (2, 3));
    }
    [renameat2] no_replace(k) {
        k.file("f", b"f");
        k.file("g", b"g");
        fails(k.rename2("f", "g", RENAME_NOREPLACE), Errno::EEXIST);
        fails(k.rename2("f", "f", RENAME_NOREPLACE), Errno::EEXIST);
        k.rename2("f", "h", RENAME_NOREPLACE).unwrap();
        assert_eq!(k.content("h"), b"f");
    }
    [renameat2] exchange(k) {
        k.file("f", b"f");
        k.mkdir("d", 0o755).unwrap();
        k.file("d/x", b"");
        k.rename2("f", "d", RENAME_EXCHANGE).unwrap();
        assert_eq!(k.content("d"), b"f");
        k.stat("f/x").unwrap();
        fails(k.rename2("f", "none", RENAME_EXCHANGE), Errno::ENOENT);
        fails(k.rename2("none", "f", RENAME_EXCHANGE), Errno::ENOENT);
    }
    [renameat2] exchange_with_an_ancestor(k) {
        k.mkdir("a", 0o755).unwrap();
        k.mkdir("a/b", 0o755).unwrap();
        fails(k.rename2("a", "a/b", RENAME_EXCHANGE), Errno::EINVAL);
        fails(k.rename2("a/b", "a", RENAME_EXCHANGE), Errno::EINVAL);
    }
    [renameat2] flags_that_exclude_each_other(k) {
        k.file("f", b"");
        fails(k.rename2("f", "g", RENAME_NOREPLACE | RENAME_EXCHANGE), Errno::EINVAL);
        fails(k.rename2("f", "g", RENAME_WHITEOUT | RENAME_EXCHANGE), Errno::EINVAL);
        fails(k.rename2("f", "g", 8), Errno::EINVAL);
    }
    [renameat2] whiteout_takes_the_old_place(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            k.file("m/f", b"x");
            k.rename2("m/f", "m/g", RENAME_WHITEOUT).unwrap();
            let stat = k.lstat("m/f").unwrap();
            assert_eq!((stat.st_mode & 0o170000, stat.st_rdev), (0o020000, 0));
            assert_eq!(k.content("m/g"), b"x");
        });
    }
    [renameat] relative_to_descriptors(k) {
        k.mkdir("a", 0o755).unwrap();
        k.mkdir("b", 0o755).unwrap();
        let file = k.file("a/f", b"");
        let (a, b) = (k.open("a", O_DIRECTORY, 0).unwrap(), k.open("b", O_DIRECTORY, 0).unwrap());
        call!(k, RENAMEAT, a, c"f", b, c"g").unwrap();
        k.stat("b/g").unwrap();
        fails(call!(k, RENAMEAT, 999, c"f", b, c"g"), Errno::EBADF);
        fails(call!(k, RENAMEAT, b, c"g", 999, c"g"), Errno::EBADF);
        fails(call!(k, RENAMEAT, b, c"g", file, c"g"), Errno::ENOTDIR);
    }
    [rename] directory_permissions(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"");
        as_user(k, 1000, || {
            k.file("own", b"");
            fails(rename(k, "d/f", "d/g"), Errno::EACCES);
            fails(rename(k, "own", "d/own"), Errno::EACCES);
        });
    }
    [rename] moving_a_directory_needs_its_write_permission(k) needs Root {
        call!(k, CHMOD, c".", 0o777).unwrap();
        for name in ["a", "b", "a/d"] { k.mkdir(name, 0o755).unwrap(); }
        call!(k, CHOWN, c"a", 1000, 1000).unwrap();
        call!(k, CHOWN, c"b", 1000, 1000).unwrap();
        as_user(k, 1000, || {
            fails(rename(k, "a/d", "b/d"), Errno::EACCES);
            rename(k, "a/d", "a/e").unwrap();
        });
    }
    [rename] sticky_target_belongs_to_another(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHMOD, c"d", 0o1777).unwrap();
        k.file("d/f", b"");
        as_user(k, 1000, || {
            k.file("d/own", b"");
            fails(rename(k, "d/own", "d/f"), Errno::EPERM);
            rename(k, "d/own", "d/mine").unwrap();
        });
    }
    [rename] other_mounts(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        k.file("f", b"");
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            fails(rename(k, "f", "m/f"), Errno::EXDEV);
            fails(rename(k, "m", "n"), Errno::EBUSY);
        });
    }
    [rename] working_directory_moves_along(k) {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHDIR, c"d").unwrap();
        rename(k, "../d", "../e").unwrap();
        let mut buffer = [0_u8; 4096];
        let count = call!(k, GETCWD, &mut buffer, 4096).unwrap() as usize;
        assert!(buffer[..count].ends_with(b"/e\0"));
    }
}
