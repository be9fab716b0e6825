//! Files without a name: `O_TMPFILE`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, F_GETFL, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_RDWR,
    O_TMPFILE, O_WRONLY,
};

use crate::call;
use crate::suite::{Calls, Files, fails, tests};
use crate::tests::shared::as_user;

tests! { "tmpfile", "open(2)";
    [openat] needs_write_access(k) { fails(k.open(".", O_TMPFILE, 0o600), Errno::EINVAL); }
    [openat] bit_alone_is_refused(k) { fails(k.open(".", O_TMPFILE & !O_DIRECTORY | O_RDWR, 0o600), Errno::EINVAL); }
    [openat] with_create_is_refused(k) { fails(k.open(".", O_TMPFILE | O_CREAT | O_RDWR, 0o600), Errno::EINVAL); }
    [openat] path_must_be_a_directory(k) {
        k.file("f", b"");
        fails(k.open("f", O_TMPFILE | O_RDWR, 0o600), Errno::ENOTDIR);
        fails(k.open("none", O_TMPFILE | O_RDWR, 0o600), Errno::ENOENT);
    }
    [openat] directory_stays_empty(k) {
        k.mkdir("d", 0o755).unwrap();
        k.open("d", O_TMPFILE | O_RDWR, 0o600).unwrap();
        k.rmdir("d").unwrap();
    }
    [openat] mode_and_umask_apply(k) {
        call!(k, UMASK, 0o077).unwrap();
        let fd = k.open(".", O_TMPFILE | O_RDWR, 0o666).unwrap();
        assert_eq!(k.fstat(fd).unwrap().st_mode, 0o100600);
    }
    [openat, fcntl] flag_is_reported(k) {
        let fd = k.open(".", O_TMPFILE | O_WRONLY | O_APPEND, 0o600).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFL, 0).unwrap() as u32 & (O_TMPFILE | O_APPEND | 3), O_TMPFILE | O_APPEND | O_WRONLY);
    }
    [linkat] exclusive_cannot_be_linked(k) needs Root {
        let fd = k.open(".", O_TMPFILE | O_EXCL | O_RDWR, 0o600).unwrap();
        fails(call!(k, LINKAT, fd, c"", -100, c"g", AT_EMPTY_PATH), Errno::ENOENT);
    }
    [linkat] empty_path_gives_it_a_name(k) needs Root {
        let fd = k.open(".", O_TMPFILE | O_RDWR, 0o600).unwrap();
        k.write(fd, b"named").unwrap();
        call!(k, LINKAT, fd, c"", -100, c"g", AT_EMPTY_PATH).unwrap();
        assert_eq!((k.content("g"), k.fstat(fd).unwrap().st_nlink), (b"named".to_vec(), 1));
        fails(call!(k, LINKAT, fd, c"", -100, c"g", AT_EMPTY_PATH), Errno::EEXIST);
    }
    [linkat] empty_path_needs_the_capability_or_the_opener(k) needs Root {
        as_user(k, 1000, || {
            let fd = k.open(".", O_TMPFILE | O_RDWR, 0o600).unwrap();
            call!(k, LINKAT, -100, format!("/proc/self/fd/{fd}\0").as_bytes(), -100, c"g", AT_SYMLINK_FOLLOW).unwrap();
        });
        assert_eq!(k.stat("g").unwrap().st_uid, 1000);
    }
    [openat] proc_link_says_deleted(k) {
        let fd = k.open(".", O_TMPFILE | O_RDWR, 0o600).unwrap();
        let link = k.readlink(&format!("/proc/self/fd/{fd}")).unwrap();
        assert!(link.ends_with(b" (deleted)"), "{}", String::from_utf8_lossy(&link));
    }
    [openat] directory_must_be_writable(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        as_user(k, 1000, || fails(k.open("d", O_TMPFILE | O_RDWR, 0o600), Errno::EACCES));
    }
    [openat] proc_has_none(k) {
        fails(k.open("/proc", O_TMPFILE | O_RDWR, 0o600), Errno::EOPNOTSUPP);
    }
}
