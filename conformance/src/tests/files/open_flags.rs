//! Each flag of `open(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_GETFD, F_GETFL, F_SETFL, O_ACCMODE, O_APPEND, O_CLOEXEC, O_CREAT, O_DIRECT, O_DIRECTORY,
    O_DSYNC, O_EXCL, O_NOATIME, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_SYNC,
    O_TRUNC, O_WRONLY,
};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, fails, tests};
use crate::tests::shared::{apart, as_user, exec_shell, fdinfo, limit, text};

fn flags(k: &dyn Kernel, fd: Fd) -> u32 {
    k.fcntl(fd, F_GETFL, 0).unwrap() as u32
}

tests! { "openflags", "open(2)";
    [openat] access_mode_three_allows_neither(k) {
        k.file("f", b"x");
        let fd = k.open("f", O_ACCMODE, 0).unwrap();
        assert_eq!(flags(k, fd) & O_ACCMODE, O_ACCMODE);
        fails(k.read(fd, &mut [0]), Errno::EBADF);
        fails(k.write(fd, b"x"), Errno::EBADF);
    }
    [openat] unknown_flags_are_ignored_by_open(k) {
        k.file("f", b"x");
        let fd = k.open("f", 0x4000_0000, 0).unwrap();
        assert_eq!(flags(k, fd) & 0x4000_0000, 0);
    }
    [openat] large_file_is_reported(k) {
        let fd = k.file("f", b"");
        assert_eq!(flags(k, fd), O_RDWR | 0o100000);
    }
    [openat] creation_flags_are_not_kept(k) {
        let fd = k.open("f", O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_RDWR, 0o600).unwrap();
        assert_eq!(flags(k, fd) & (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY), 0);
    }
    [openat] status_flags_are_kept(k) {
        let fd = k.open("f", O_CREAT | O_APPEND | O_NONBLOCK | O_SYNC | O_WRONLY, 0o600).unwrap();
        assert_eq!(flags(k, fd) & !0o100000, O_APPEND | O_NONBLOCK | O_SYNC | O_WRONLY);
        let fd = k.open("f", O_DSYNC, 0).unwrap();
        assert_eq!(flags(k, fd) & O_SYNC, O_DSYNC);
    }
    [openat] directory_flags_are_kept(k) {
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        assert_eq!(flags(k, fd) & O_DIRECTORY, O_DIRECTORY);
    }
    [openat] no_follow_is_kept(k) {
        k.file("f", b"");
        assert_ne!(flags(k, k.open("f", O_NOFOLLOW, 0).unwrap()) & O_NOFOLLOW, 0);
    }
    [openat, fcntl] close_on_exec_is_not_a_status_flag(k) {
        k.file("f", b"");
        let fd = k.open("f", O_CLOEXEC, 0).unwrap();
        assert_eq!((k.fcntl(fd, F_GETFD, 0), flags(k, fd) & O_CLOEXEC), (Ok(1), 0));
        let fd = k.open("f", 0, 0).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(0));
    }
    [openat] fdinfo_shows_close_on_exec_and_position(k) {
        k.file("f", b"0123");
        let fd = k.open("f", O_CLOEXEC | O_RDWR, 0).unwrap();
        k.lseek(fd, 3, 0).unwrap();
        assert_eq!(fdinfo(k, fd, "flags").unwrap(), "02100002");
        assert_eq!(fdinfo(k, fd, "pos").unwrap(), "3");
        assert_eq!(fdinfo(k, fd, "ino").unwrap(), k.fstat(fd).unwrap().st_ino.to_string());
    }
    [openat, execve] close_on_exec_closes(k) {
        k.file("f", b"");
        let (kept, closed) = (k.open("f", 0, 0).unwrap(), k.open("f", O_CLOEXEC, 0).unwrap());
        let child = k.child(|| { exec_shell(k, &format!("[ -e /proc/self/fd/{kept} ] && ! [ -e /proc/self/fd/{closed} ]")); 9 });
        assert_eq!(k.status(child), 0);
    }
    [openat] truncation_needs_write_permission(k) needs Root {
        k.file("f", b"content");
        call!(k, CHMOD, c"f", 0o444).unwrap();
        as_user(k, 1000, || fails(k.open("f", O_TRUNC, 0), Errno::EACCES));
        assert_eq!(k.content("f"), b"content");
    }
    [openat] truncation_of_a_read_only_descriptor_works(k) {
        k.file("f", b"content");
        k.open("f", O_TRUNC | O_RDONLY, 0).unwrap();
        assert_eq!(k.content("f"), b"");
    }
    [openat] truncation_of_a_directory_fails(k) { fails(k.open(".", O_TRUNC, 0), Errno::EISDIR); }
    [openat] truncation_of_a_fifo_does_nothing(k) {
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        k.open("p", O_TRUNC | O_RDWR, 0).unwrap();
    }
    [openat] fifo_for_both_does_not_wait(k) {
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        let fd = k.open("p", O_RDWR, 0).unwrap();
        k.write(fd, b"x").unwrap();
        assert_eq!(k.read_some(fd, 2).unwrap(), b"x");
    }
    [openat] exclusive_without_create_is_ignored(k) {
        k.file("f", b"");
        k.open("f", O_EXCL, 0).unwrap();
    }
    [openat] create_and_directory_together_are_refused(k) {
        fails(k.open("d", O_CREAT | O_DIRECTORY, 0o700), Errno::EINVAL);
        fails(k.lstat("d"), Errno::ENOENT);
    }
    [openat] mode_without_create_is_ignored(k) {
        k.file("f", b"");
        k.open("f", 0, 0o7777777).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode & 0o7777, 0o644);
    }
    [openat] mode_bits_beyond_permissions_are_dropped(k) {
        k.open("f", O_CREAT, 0o40_0600).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode, 0o100600);
    }
    [openat] existing_file_keeps_its_mode(k) {
        k.file("f", b"");
        k.open("f", O_CREAT, 0o777).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode & 0o777, 0o644);
    }
    [openat] no_atime_is_for_owners(k) needs Root {
        k.file("f", b"x");
        call!(k, CHMOD, c"f", 0o666).unwrap();
        as_user(k, 1000, || {
            fails(k.open("f", O_NOATIME, 0), Errno::EPERM);
            k.open("own", O_CREAT | O_NOATIME, 0o600).unwrap();
        });
    }
    [openat, read] no_atime_keeps_the_time(k) {
        k.file("f", b"x");
        call!(k, UTIMENSAT, -100, c"f", &[0_u8; 32], 0).unwrap();
        let fd = k.open("f", O_NOATIME, 0).unwrap();
        k.read_some(fd, 1).unwrap();
        assert_eq!(k.stat("f").unwrap().st_atime, 0);
    }
    [openat, read] relative_atime_follows_an_older_one(k) {
        k.file("f", b"x");
        call!(k, UTIMENSAT, -100, c"f", &[0_u8; 32], 0).unwrap();
        let fd = k.open("f", 0, 0).unwrap();
        k.read_some(fd, 1).unwrap();
        assert!(k.stat("f").unwrap().st_atime > 1_000_000_000);
    }
    [openat, fcntl] append_can_be_switched(k) {
        let fd = k.file("f", b"abc");
        k.fcntl(fd, F_SETFL, u64::from(O_APPEND)).unwrap();
        k.write(fd, b"d").unwrap();
        k.fcntl(fd, F_SETFL, 0).unwrap();
        k.pwrite(fd, b"X", 0).unwrap();
        assert_eq!(k.content("f"), b"Xbcd");
    }
    [openat, write] two_appenders_do_not_overwrite(k) {
        k.file("f", b"");
        let (a, b) = (k.open("f", O_WRONLY | O_APPEND, 0).unwrap(), k.open("f", O_WRONLY | O_APPEND, 0).unwrap());
        for fd in [a, b, a] { k.write(fd, b"12").unwrap(); }
        assert_eq!(k.content("f").len(), 6);
    }
    [openat] direct_file_reads_aligned(k) {
        k.file("f", &[9; 8192]);
        let Ok(fd) = k.open("f", O_DIRECT, 0) else { return fails(k.open("f", O_DIRECT, 0), Errno::EINVAL) };
        assert_eq!(flags(k, fd) & O_DIRECT, O_DIRECT);
        let memory = k.map(4096, 3, 0x22, -1, 0).unwrap();
        assert_eq!(call!(k, READ, fd, memory.address(), 4096), Ok(4096));
        assert_eq!(memory.get(4095), 9);
    }
    [openat] direct_directory_is_refused_or_opened_like_one(k) {
        match k.open(".", O_DIRECT | O_DIRECTORY, 0) { Ok(_) => {} Err(errno) => assert_eq!(errno, Errno::EINVAL) }
    }
    [openat] descriptors_are_the_lowest_free(k) {
        let (a, b, c) = (k.file("a", b""), k.file("b", b""), k.file("c", b""));
        k.close(b).unwrap();
        k.close(a).unwrap();
        assert_eq!((k.open("c", 0, 0), k.open("c", 0, 0), k.open("c", 0, 0)), (Ok(a), Ok(b), Ok(c + 1)));
    }
    [openat] limit_of_descriptors(k) {
        k.file("f", b"");
        limit(k, 7, 0);
        fails(k.open("f", 0, 0), Errno::EMFILE);
        fails(k.open("new", O_CREAT, 0o600), Errno::EMFILE);
        fails(k.lstat("new"), Errno::ENOENT);
    }
    [openat] relative_to_a_removed_directory(k) {
        k.mkdir("d", 0o755).unwrap();
        let d = k.open("d", O_DIRECTORY, 0).unwrap();
        k.rmdir("d").unwrap();
        fails(k.openat(d, "f", O_CREAT, 0o600), Errno::ENOENT);
        k.openat(d, ".", 0, 0).unwrap();
    }
    [openat] search_permission_on_the_way(k) needs Root {
        k.mkdir("d", 0o700).unwrap();
        k.file("d/f", b"");
        as_user(k, 1000, || fails(k.open("d/f", 0, 0), Errno::EACCES));
    }
    [openat] group_permission_wins_over_others(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 0, 1000).unwrap();
        call!(k, CHMOD, c"f", 0o604).unwrap();
        as_user(k, 1000, || fails(k.open("f", 0, 0), Errno::EACCES));
        as_user(k, 1001, || { k.open("f", 0, 0).unwrap(); });
    }
    [openat] owner_permission_wins_over_group(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 1000).unwrap();
        call!(k, CHMOD, c"f", 0o070).unwrap();
        as_user(k, 1000, || fails(k.open("f", 0, 0), Errno::EACCES));
    }
    [openat] supplementary_groups_count(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 0, 55).unwrap();
        call!(k, CHMOD, c"f", 0o640).unwrap();
        apart(k, || {
            call!(k, SETGROUPS, 1, &55_u32.to_ne_bytes()).unwrap();
            call!(k, SETRESGID, 1000, 1000, 1000).unwrap();
            call!(k, SETRESUID, 1000, 1000, 1000).unwrap();
            k.open("f", 0, 0).unwrap();
            fails(k.open("f", O_WRONLY, 0), Errno::EACCES);
        });
    }
    [openat] read_only_file_system_refuses_writing(k) {
        fails(k.open("/proc/version", O_CREAT | O_EXCL, 0), Errno::EEXIST);
        assert!(text(k, "/proc/version").starts_with("Linux"));
    }
    [openat] own_descriptor_by_its_proc_link(k) {
        let fd = k.file("f", b"link");
        let other = k.open(&format!("/proc/self/fd/{fd}"), 0, 0).unwrap();
        k.lseek(fd, 4, 0).unwrap();
        assert_eq!(k.read_some(other, 9).unwrap(), b"link");
        fails(k.open("/proc/self/fd/999", 0, 0), Errno::ENOENT);
    }
    [openat] proc_link_of_an_unlinked_file(k) {
        let fd = k.file("f", b"gone");
        k.unlink("f").unwrap();
        let link = format!("/proc/self/fd/{fd}");
        assert!(k.readlink(&link).unwrap().ends_with(b"/f (deleted)"));
        assert_eq!(k.content(&link), b"gone");
    }
    [openat] null_path_faults(k) { fails(call!(k, OPENAT, -100, Arg::Null, 0, 0), Errno::EFAULT); }
    [openat] path_without_end_before_an_unmapped_page(k) { fails(call!(k, OPENAT, -100, Arg::Edge(1), 0, 0), Errno::ENOENT); }
}
