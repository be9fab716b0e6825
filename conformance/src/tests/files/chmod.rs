//! Modes: `chmod(2)`, `fchmodat2(2)`, and who may change them.

use chitin_abi::Errno;
use chitin_abi::fs::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_DIRECTORY};

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, fails, tests};
use crate::tests::shared::{apart, as_user, in_own_mounts};

fn mode(k: &dyn Kernel, path: &str) -> u32 {
    k.stat(path).unwrap().st_mode & 0o7777
}

tests! { "chmod", "chmod(2)";
    [chmod] all_bits(k) needs Root {
        k.file("f", b"");
        for bits in [0, 0o777, 0o4755, 0o2755, 0o1755, 0o7777] {
            call!(k, CHMOD, c"f", bits).unwrap();
            assert_eq!(mode(k, "f"), bits);
        }
    }
    [chmod] bits_beyond_are_dropped(k) {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o177_0644).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode, 0o100644);
    }
    [chmod] follows_links(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        call!(k, CHMOD, c"l", 0o600).unwrap();
        assert_eq!(mode(k, "f"), 0o600);
    }
    [chmod] errors_of_paths(k) {
        k.file("f", b"");
        k.symlink("l", "l").unwrap();
        fails(call!(k, CHMOD, c"none", 0o600), Errno::ENOENT);
        fails(call!(k, CHMOD, c"", 0o600), Errno::ENOENT);
        fails(call!(k, CHMOD, c"f/x", 0o600), Errno::ENOTDIR);
        fails(call!(k, CHMOD, c"l", 0o600), Errno::ELOOP);
        fails(call!(k, CHMOD, Arg::Null, 0o600), Errno::EFAULT);
    }
    [fchmod] errors_of_descriptors(k) {
        fails(call!(k, FCHMOD, 999, 0o600), Errno::EBADF);
        fails(call!(k, FCHMOD, -1, 0o600), Errno::EBADF);
    }
    [fchmod] pipes_have_modes(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        call!(k, FCHMOD, reader, 0o640).unwrap();
        assert_eq!(k.fstat(reader).unwrap().st_mode, 0o10640);
    }
    [fchmod] read_only_descriptor_is_enough(k) {
        k.file("f", b"");
        call!(k, FCHMOD, k.open("f", 0, 0).unwrap(), 0o611).unwrap();
        assert_eq!(mode(k, "f"), 0o611);
    }
    [fchmodat] relative_to_a_descriptor(k) {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"");
        call!(k, FCHMODAT, k.open("d", O_DIRECTORY, 0).unwrap(), c"f", 0o601).unwrap();
        assert_eq!(mode(k, "d/f"), 0o601);
        fails(call!(k, FCHMODAT, 999, c"f", 0o601), Errno::EBADF);
    }
    [fchmodat2] flags(k) {
        let fd = k.file("f", b"");
        k.symlink("f", "l").unwrap();
        fails(call!(k, FCHMODAT2, -100, c"f", 0o600, 1), Errno::EINVAL);
        call!(k, FCHMODAT2, -100, c"f", 0o604, AT_SYMLINK_NOFOLLOW).unwrap();
        call!(k, FCHMODAT2, fd, c"", 0o640, AT_EMPTY_PATH).unwrap();
        assert_eq!(mode(k, "f"), 0o640);
    }
    [fchmodat2] links_have_no_modes(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        fails(call!(k, FCHMODAT2, -100, c"l", 0o600, AT_SYMLINK_NOFOLLOW), Errno::EOPNOTSUPP);
    }
    [chmod] owner_without_capabilities(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 1000).unwrap();
        as_user(k, 1000, || { call!(k, CHMOD, c"f", 0o4711).unwrap(); });
        assert_eq!(mode(k, "f"), 0o4711);
    }
    [chmod] writers_are_not_owners(k) needs Root {
        let fd = k.file("f", b"");
        call!(k, CHMOD, c"f", 0o666).unwrap();
        as_user(k, 1000, || {
            fails(call!(k, CHMOD, c"f", 0o600), Errno::EPERM);
            fails(call!(k, FCHMOD, fd, 0o600), Errno::EPERM);
        });
    }
    [chmod] set_group_id_needs_the_group(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 5).unwrap();
        as_user(k, 1000, || { call!(k, CHMOD, c"f", 0o2755).unwrap(); });
        assert_eq!(mode(k, "f"), 0o755);
    }
    [chmod] set_group_id_with_the_capability(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 5).unwrap();
        call!(k, CHMOD, c"f", 0o2755).unwrap();
        assert_eq!(mode(k, "f"), 0o2755);
    }
    [chmod] capability_follows_the_file_system_id(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 7, 7).unwrap();
        apart(k, || {
            call!(k, SETFSUID, 1000).unwrap();
            fails(call!(k, CHMOD, c"f", 0o600), Errno::EPERM);
            call!(k, SETFSUID, 7).unwrap();
            call!(k, CHMOD, c"f", 0o600).unwrap();
        });
    }
    [chmod] read_only_mounts(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 1, Arg::Null).unwrap();
            fails(call!(k, CHMOD, c"m", 0o600), Errno::EROFS);
            fails(call!(k, CHOWN, c"m", 0, 0), Errno::EROFS);
            fails(call!(k, UTIMENSAT, -100, c"m", Arg::Null, 0), Errno::EROFS);
        });
    }
    [chmod, write] set_id_bits_stay_for_user_0(k) needs Root {
        let fd = k.file("f", b"");
        call!(k, CHMOD, c"f", 0o6777).unwrap();
        k.write(fd, b"x").unwrap();
        assert_eq!(mode(k, "f"), 0o6777);
    }
    [chmod, truncate] truncation_clears_set_id_bits(k) needs Root {
        k.file("f", b"content");
        call!(k, CHMOD, c"f", 0o6777).unwrap();
        as_user(k, 1000, || { call!(k, TRUNCATE, c"f", 3).unwrap(); });
        assert_eq!(mode(k, "f"), 0o777);
    }
    [chmod, write] set_group_id_without_execution_stays(k) needs Root {
        let fd = k.file("f", b"");
        call!(k, CHMOD, c"f", 0o6766).unwrap();
        as_user(k, 1000, || { k.write(fd, b"x").unwrap(); });
        assert_eq!(mode(k, "f") & 0o4000, 0);
    }
    [chmod] directory_without_rights_is_still_its_owners(k) needs Root {
        as_user(k, 1000, || {
            k.mkdir("d", 0).unwrap();
            fails(k.open("d", 0, 0), Errno::EACCES);
            call!(k, CHMOD, c"d", 0o700).unwrap();
            k.file("d/f", b"");
        });
    }
}
