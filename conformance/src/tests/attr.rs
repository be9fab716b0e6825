//! Attributes: `chmod(2)`, `chown(2)`, `utimensat(2)`, `stat(2)`, `statx(2)`, `access(2)`, `xattr(7)`.

use chitin_abi::Errno;

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Processes, fails, tests};

fn times(atime: (i64, i64), mtime: (i64, i64)) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, value) in bytes.chunks_mut(8).zip([atime.0, atime.1, mtime.0, mtime.1]) {
        chunk.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

fn apart(k: &dyn Kernel, body: impl Fn()) {
    assert_eq!(
        k.status(k.child(|| {
            body();
            0
        })),
        0
    );
}

const NOW: i64 = 0x3fff_ffff;
const OMIT: i64 = 0x3fff_fffe;

tests! { "attr", "inode(7)";
    [chmod, fchmod, fchmodat] modes(k) {
        let fd = k.file("f", b"");
        call!(k, CHMOD, c"f", 0o7751).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode, 0o107751);
        call!(k, FCHMOD, fd, 0o600).unwrap();
        call!(k, FCHMODAT, -100, c"f", 0o640).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode & 0o7777, 0o640);
        fails(call!(k, CHMOD, c"none", 0o600), Errno::ENOENT);
        fails(call!(k, CHMOD, Arg::Bad, 0o600), Errno::EFAULT);
    }
    [chmod] only_the_owner(k) needs Root {
        k.file("f", b"");
        apart(k, || { call!(k, SETUID, 1000).unwrap(); fails(call!(k, CHMOD, c"f", 0o777), Errno::EPERM); });
    }
    [chown] owner_and_group(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o6755).unwrap();
        call!(k, CHOWN, c"f", 1000, 1001).unwrap();
        let stat = k.stat("f").unwrap();
        assert_eq!((stat.st_uid, stat.st_gid, stat.st_mode & 0o7777), (1000, 1001, 0o755));
        call!(k, CHOWN, c"f", -1, 5).unwrap();
        assert_eq!((k.stat("f").unwrap().st_uid, k.stat("f").unwrap().st_gid), (1000, 5));
        apart(k, || {
            call!(k, SETGROUPS, 0, Arg::Null).unwrap();
            call!(k, SETRESGID, 1001, 1001, 1001).unwrap();
            call!(k, SETUID, 1000).unwrap();
            call!(k, CHOWN, c"f", -1, 1001).unwrap();
            fails(call!(k, CHOWN, c"f", -1, 7), Errno::EPERM);
            fails(call!(k, CHOWN, c"f", 1001, -1), Errno::EPERM);
        });
    }
    [lchown, fchownat] links_themselves(k) needs Root {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        call!(k, LCHOWN, c"l", 7, 8).unwrap();
        assert_eq!((k.lstat("l").unwrap().st_uid, k.stat("f").unwrap().st_uid), (7, 0));
    }
    [write, chown] writing_clears_set_id_bits(k) needs Root {
        let fd = k.file("f", b"");
        call!(k, CHMOD, c"f", 0o6777).unwrap();
        apart(k, || { call!(k, SETUID, 1000).unwrap(); k.write(fd, b"x").unwrap(); });
        assert_eq!(k.stat("f").unwrap().st_mode & 0o7777, 0o777);
    }
    [mkdir, open] set_group_id_directories(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHOWN, c"d", 0, 1234).unwrap();
        call!(k, CHMOD, c"d", 0o2755).unwrap();
        k.file("d/f", b"");
        k.mkdir("d/e", 0o755).unwrap();
        assert_eq!((k.stat("d/f").unwrap().st_gid, k.stat("d/e").unwrap().st_gid), (1234, 1234));
        assert_eq!(k.stat("d/e").unwrap().st_mode & 0o2000, 0o2000);
    }
    [unlink, rename] sticky_directories(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHMOD, c"d", 0o1777).unwrap();
        k.file("d/f", b"");
        apart(k, || {
            call!(k, SETUID, 1000).unwrap();
            fails(k.unlink("d/f"), Errno::EPERM);
            fails(k.rename2("d/f", "d/g", 0), Errno::EPERM);
            k.open("d/own", 0o100, 0o600).unwrap();
            k.unlink("d/own").unwrap();
        });
    }
    [utimensat] explicit_now_and_omit(k) {
        k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((100, 1), (200, 2)), 0).unwrap();
        let stat = k.stat("f").unwrap();
        assert_eq!((stat.st_atime, stat.st_atime_nsec, stat.st_mtime, stat.st_mtime_nsec), (100, 1, 200, 2));
        call!(k, UTIMENSAT, -100, c"f", &times((0, OMIT), (0, NOW)), 0).unwrap();
        let stat = k.stat("f").unwrap();
        assert!(stat.st_atime == 100 && stat.st_mtime > 1_000_000_000);
        fails(call!(k, UTIMENSAT, -100, c"f", &times((0, 1_000_000_000), (0, 0)), 0), Errno::EINVAL);
        fails(call!(k, UTIMENSAT, -100, c"none", &times((0, 0), (0, 0)), 0), Errno::ENOENT);
        call!(k, UTIMENSAT, -100, c"none", &times((0, OMIT), (0, OMIT)), 0).unwrap_or_default();
        fails(call!(k, UTIMENSAT, -100, c"f", Arg::Bad, 0), Errno::EFAULT);
    }
    [utimensat] rights(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o666).unwrap();
        apart(k, || {
            call!(k, SETUID, 1000).unwrap();
            call!(k, UTIMENSAT, -100, c"f", Arg::Null, 0).unwrap();
            fails(call!(k, UTIMENSAT, -100, c"f", &times((1, 0), (1, 0)), 0), Errno::EPERM);
        });
        call!(k, CHMOD, c"f", 0o600).unwrap();
        apart(k, || { call!(k, SETUID, 1000).unwrap(); fails(call!(k, UTIMENSAT, -100, c"f", Arg::Null, 0), Errno::EACCES); });
    }
    [write, stat] writing_changes_times(k) {
        let fd = k.file("f", b"");
        call!(k, UTIMENSAT, -100, c"f", &times((100, 0), (100, 0)), 0).unwrap();
        k.write(fd, b"x").unwrap();
        let stat = k.stat("f").unwrap();
        assert!(stat.st_mtime > 1_000_000_000 && stat.st_ctime > 1_000_000_000 && stat.st_atime == 100);
    }
    [access, faccessat] rights_by_real_id(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o600).unwrap();
        assert_eq!(call!(k, ACCESS, c"f", 6), Ok(0));
        fails(call!(k, ACCESS, c"f", 1), Errno::EACCES);
        fails(call!(k, ACCESS, c"f", 8), Errno::EINVAL);
        fails(call!(k, ACCESS, c"none", 0), Errno::ENOENT);
        apart(k, || {
            call!(k, SETREUID, 1000, 0).unwrap();
            fails(call!(k, ACCESS, c"f", 4), Errno::EACCES);
            call!(k, FACCESSAT2, -100, c"f", 4, 0x200).unwrap();
        });
    }
    [statx] masks_and_errors(k) {
        k.file("f", b"12345");
        let mut statx = [0_u8; 256];
        call!(k, STATX, -100, c"f", 0, 0xfff, &mut statx).unwrap();
        assert_eq!(u64::from_ne_bytes(statx[40..48].try_into().unwrap()), 5);
        fails(call!(k, STATX, -100, c"f", 0, 0x8000_0000_u32, &mut statx), Errno::EINVAL);
        fails(call!(k, STATX, -100, c"f", 0x6000, 0xfff, &mut statx), Errno::EINVAL);
        fails(call!(k, STATX, -100, c"none", 0, 0xfff, &mut statx), Errno::ENOENT);
        fails(call!(k, STATX, -100, c"f", 0, 0xfff, Arg::Bad), Errno::EFAULT);
    }
    [newfstatat] empty_path_is_the_descriptor(k) {
        let fd = k.file("f", b"123");
        assert_eq!(k.fstatat(fd, "", 0x1000).unwrap().st_size, 3);
        fails(k.fstatat(fd, "", 0), Errno::ENOENT);
        fails(k.fstatat(999, "", 0x1000), Errno::EBADF);
        fails(k.fstatat(-100, "f", 0x8_0000), Errno::EINVAL);
    }
    [setxattr, getxattr, listxattr, removexattr] user_attributes(k) {
        k.file("f", b"");
        call!(k, SETXATTR, c"f", c"user.a", b"value", 5, 0).unwrap();
        fails(call!(k, SETXATTR, c"f", c"user.a", b"x", 1, 1), Errno::EEXIST);
        fails(call!(k, SETXATTR, c"f", c"user.b", b"x", 1, 2), Errno::ENODATA);
        let mut value = [0_u8; 10];
        assert_eq!(call!(k, GETXATTR, c"f", c"user.a", &mut value, 10), Ok(5));
        assert_eq!((call!(k, GETXATTR, c"f", c"user.a", Arg::Null, 0), &value[..5]), (Ok(5), b"value".as_slice()));
        fails(call!(k, GETXATTR, c"f", c"user.a", &mut value, 3), Errno::ERANGE);
        fails(call!(k, GETXATTR, c"f", c"user.none", &mut value, 3), Errno::ENODATA);
        assert_eq!(call!(k, LISTXATTR, c"f", &mut value, 10), Ok(7));
        call!(k, REMOVEXATTR, c"f", c"user.a").unwrap();
        fails(call!(k, REMOVEXATTR, c"f", c"user.a"), Errno::ENODATA);
        fails(call!(k, SETXATTR, c"f", c"nonsense", b"x", 1, 0), Errno::EOPNOTSUPP);
        fails(call!(k, SETXATTR, c"f", c"user.", b"x", 1, 0), Errno::EINVAL);
        fails(call!(k, SETXATTR, c"f", c"", b"x", 1, 0), Errno::ERANGE);
    }
    [statfs, fstatfs] file_system(k) {
        let mut stats = [0_u8; 120];
        call!(k, STATFS, c"/proc", &mut stats).unwrap();
        assert_eq!(i64::from_ne_bytes(stats[..8].try_into().unwrap()), 0x9fa0);
        fails(call!(k, STATFS, c"/none", &mut stats), Errno::ENOENT);
        fails(call!(k, FSTATFS, 999, &mut stats), Errno::EBADF);
        fails(call!(k, STATFS, c"/", Arg::Bad), Errno::EFAULT);
    }
    [mknod] kinds(k) needs Root {
        call!(k, MKNOD, c"p", 0o10644, 0).unwrap();
        call!(k, MKNOD, c"s", 0o140644, 0).unwrap();
        call!(k, MKNOD, c"r", 0o100644, 0).unwrap();
        assert_eq!((k.stat("p").unwrap().st_mode >> 12, k.stat("s").unwrap().st_mode >> 12, k.stat("r").unwrap().st_mode >> 12), (1, 0o14, 0o10));
        fails(call!(k, MKNOD, c"d", 0o40755, 0), Errno::EPERM);
        fails(call!(k, MKNOD, c"x", 0o170000, 0), Errno::EINVAL);
        fails(k.open("s", 0, 0), Errno::ENXIO);
    }
}
