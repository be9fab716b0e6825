//! Opening files: `open(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_GETFL, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDWR,
    O_TMPFILE, O_TRUNC, O_WRONLY,
};

use super::support::when_asleep;
use crate::call;
use crate::suite::{Arg, Calls, Files, Processes, fails, tests};

tests! { "open", "open(2)";
    [openat] missing_file(k) { fails(k.open("nothing", 0, 0), Errno::ENOENT); }
    [openat] empty_path(k) { fails(k.open("", 0, 0), Errno::ENOENT); }
    [openat] bad_path_pointer(k) { fails(call!(k, OPEN, Arg::Bad, 0, 0), Errno::EFAULT); }
    [openat] long_name(k) { fails(k.open(&"x".repeat(256), O_CREAT, 0o600), Errno::ENAMETOOLONG); }
    [openat] longest_name(k) { k.open(&"x".repeat(255), O_CREAT, 0o600).unwrap(); }
    [openat] long_path(k) { fails(k.open(&"x/".repeat(2100), 0, 0), Errno::ENAMETOOLONG); }
    [openat] file_as_directory(k) {
        k.file("f", b"");
        fails(k.open("f/x", 0, 0), Errno::ENOTDIR);
        fails(k.open("f/", 0, 0), Errno::ENOTDIR);
        fails(k.open("f", O_DIRECTORY, 0), Errno::ENOTDIR);
    }
    [openat] directory_for_writing(k) {
        fails(k.open(".", O_WRONLY, 0), Errno::EISDIR);
        fails(k.open(".", O_RDWR, 0), Errno::EISDIR);
        fails(k.open(".", O_CREAT, 0o600), Errno::EISDIR);
    }
    [openat] create_in_missing_directory(k) { fails(k.open("d/f", O_CREAT, 0o600), Errno::ENOENT); }
    [openat] create_with_trailing_slash(k) { fails(k.open("new/", O_CREAT | O_WRONLY, 0o600), Errno::EISDIR); }
    [openat] exclusive_create(k) {
        k.open("f", O_CREAT | O_EXCL, 0o600).unwrap();
        fails(k.open("f", O_CREAT | O_EXCL, 0o600), Errno::EEXIST);
        k.symlink("nowhere", "l").unwrap();
        fails(k.open("l", O_CREAT | O_EXCL, 0o600), Errno::EEXIST);
    }
    [openat] create_through_dangling_link(k) {
        k.symlink("target", "l").unwrap();
        k.open("l", O_CREAT | O_WRONLY, 0o600).unwrap();
        assert_eq!(k.content("target"), b"");
    }
    [openat, umask] mode_and_umask(k) {
        call!(k, UMASK, 0o027).unwrap();
        k.open("f", O_CREAT | O_WRONLY, 0o4777).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode, 0o104750);
    }
    [openat] descriptor_of_a_read_only_file_is_writable_for_its_creator(k) {
        let fd = k.open("f", O_CREAT | O_RDWR, 0).unwrap();
        assert_eq!(k.write(fd, b"x"), Ok(1));
    }
    [openat] truncate(k) {
        k.file("f", b"content");
        k.open("f", O_WRONLY | O_TRUNC, 0).unwrap();
        assert_eq!(k.stat("f").unwrap().st_size, 0);
    }
    [openat, write] append_writes_at_the_end(k) {
        k.file("f", b"one");
        let fd = k.open("f", O_WRONLY | O_APPEND, 0).unwrap();
        k.lseek(fd, 0, 0).unwrap();
        k.write(fd, b"two").unwrap();
        assert_eq!(k.content("f"), b"onetwo");
        assert_eq!(k.lseek(fd, 0, 1), Ok(6));
    }
    [openat] no_follow(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        fails(k.open("l", O_NOFOLLOW, 0), Errno::ELOOP);
        k.open("l", O_NOFOLLOW | O_PATH, 0).unwrap();
        fails(k.open("l", O_NOFOLLOW | O_DIRECTORY, 0), Errno::ENOTDIR);
    }
    [openat] symlink_loop(k) {
        k.symlink("b", "a").unwrap();
        k.symlink("a", "b").unwrap();
        fails(k.open("a", 0, 0), Errno::ELOOP);
        fails(k.open("a/x", 0, 0), Errno::ELOOP);
    }
    [openat] forty_links_are_followed_and_no_more(k) {
        k.file("l0", b"end");
        for i in 1..=41 { k.symlink(&format!("l{}", i - 1), &format!("l{i}")).unwrap(); }
        assert_eq!(k.content("l40"), b"end");
        fails(k.open("l41", 0, 0), Errno::ELOOP);
    }
    [openat] path_only_descriptor_does_nothing(k) {
        k.file("f", b"x");
        let fd = k.open("f", O_PATH | O_RDWR, 0).unwrap();
        fails(k.read(fd, &mut [0]), Errno::EBADF);
        fails(k.write(fd, b"x"), Errno::EBADF);
        fails(k.ftruncate(fd, 0), Errno::EBADF);
        assert_eq!(k.fstat(fd).unwrap().st_size, 1);
        assert_eq!(k.fcntl(fd, F_GETFL, 0).unwrap() & u64::from(O_PATH), u64::from(O_PATH));
    }
    [openat] relative_to_a_descriptor(k) {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"inside");
        let d = k.open("d", O_DIRECTORY, 0).unwrap();
        assert_eq!(k.read_some(k.openat(d, "f", 0, 0).unwrap(), 10).unwrap(), b"inside");
        let f = k.openat(d, "f", 0, 0).unwrap();
        fails(k.openat(f, "f", 0, 0), Errno::ENOTDIR);
        fails(k.openat(999, "f", 0, 0), Errno::EBADF);
        k.openat(999, "/", 0, 0).unwrap();
    }
    [openat] unnamed_temporary_file(k) {
        let fd = k.open(".", O_TMPFILE | O_RDWR, 0o600).unwrap();
        assert_eq!(k.fstat(fd).unwrap().st_nlink, 0);
        k.write(fd, b"kept").unwrap();
        k.mkdir("d", 0o755).unwrap();
        let name = c"named";
        let from = format!("/proc/self/fd/{fd}\0");
        call!(k, LINKAT, -100, from.as_bytes(), -100, name, 0x400).unwrap();
        assert_eq!(k.content("named"), b"kept");
        fails(k.open(".", O_TMPFILE, 0o600), Errno::EINVAL);
    }
    [openat] fifo_without_reader(k) {
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        fails(k.open("p", O_WRONLY | O_NONBLOCK, 0), Errno::ENXIO);
        let reader = k.open("p", O_NONBLOCK, 0).unwrap();
        let writer = k.open("p", O_WRONLY | O_NONBLOCK, 0).unwrap();
        k.write(writer, b"x").unwrap();
        assert_eq!(k.read_some(reader, 5).unwrap(), b"x");
    }
    [openat] fifo_waits_for_its_other_end(k) {
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        let child = when_asleep(k, || { let fd = k.open("p", O_WRONLY, 0).unwrap(); i32::from(k.write(fd, b"hi") != Ok(2)) });
        let fd = k.open("p", 0, 0).unwrap();
        assert_eq!(k.read_some(fd, 5).unwrap(), b"hi");
        assert_eq!(k.status(child), 0);
    }
    [openat] permission_is_checked(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o600).unwrap();
        call!(k, CHMOD, c".", 0o755).unwrap();
        let child = k.child(|| {
            call!(k, SETUID, 1000).unwrap();
            fails(k.open("f", 0, 0), Errno::EACCES);
            fails(k.open("g", O_CREAT, 0o600), Errno::EACCES);
            0
        });
        assert_eq!(k.status(child), 0);
    }
    [openat] running_program_cannot_be_written(k) {
        fails(k.open("/proc/self/exe", O_WRONLY, 0), Errno::ETXTBSY);
    }
    [creat] creat_opens_for_writing(k) {
        k.file("f", b"old");
        let fd = call!(k, CREAT, c"f", 0o600).unwrap() as i32;
        fails(k.read(fd, &mut [0]), Errno::EBADF);
        assert_eq!(k.content("f"), b"");
    }
    [openat2] unknown_flags_and_sizes(k) {
        let how = [0_u8; 24];
        fails(call!(k, OPENAT2, -100, c".", &how, 23), Errno::EINVAL);
        let mut long = [0_u8; 32];
        call!(k, OPENAT2, -100, c".", &long, 32).unwrap();
        long[31] = 1;
        fails(call!(k, OPENAT2, -100, c".", &long, 32), Errno::E2BIG);
        let mut bad = [0_u8; 24];
        bad[7] = 0x80;
        fails(call!(k, OPENAT2, -100, c".", &bad, 24), Errno::EINVAL);
    }
    [openat2] beneath_and_no_symlinks(k) {
        k.symlink("/", "l").unwrap();
        let how = |resolve: u64| { let mut how = [0_u8; 24]; how[16..].copy_from_slice(&resolve.to_ne_bytes()); how };
        fails(call!(k, OPENAT2, -100, c"..", &how(8), 24), Errno::EXDEV);
        fails(call!(k, OPENAT2, -100, c"/", &how(8), 24), Errno::EXDEV);
        fails(call!(k, OPENAT2, -100, c"l", &how(4), 24), Errno::ELOOP);
        call!(k, OPENAT2, -100, c"/", &how(16), 24).unwrap();
    }
    [close] twice(k) {
        let fd = k.file("f", b"");
        k.close(fd).unwrap();
        fails(k.close(fd), Errno::EBADF);
        fails(k.close(-1), Errno::EBADF);
    }
    [close_range] closes_and_marks(k) {
        let low = k.file("f", b"");
        let high = k.fcntl(low, 0, 50).unwrap() as i32;
        call!(k, CLOSE_RANGE, 40, 60, 4).unwrap();
        assert_eq!(k.fcntl(high, 1, 0), Ok(1));
        call!(k, CLOSE_RANGE, 40, 60, 0).unwrap();
        fails(k.fcntl(high, 1, 0), Errno::EBADF);
        fails(call!(k, CLOSE_RANGE, 60, 40, 0), Errno::EINVAL);
        fails(call!(k, CLOSE_RANGE, 0, 1, 8), Errno::EINVAL);
    }
}
