//! Descriptors that only name a file: `O_PATH`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    AT_EMPTY_PATH, F_GETFL, F_SETFL, O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDWR, O_TRUNC,
};
use chitin_abi::net::{AF_UNIX, SOCK_STREAM};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{as_user, vector};

fn path(k: &dyn Kernel) -> Fd {
    k.file("f", b"content");
    k.open("f", O_PATH, 0).unwrap()
}

tests! { "openpath", "open(2)";
    [fsync, fdatasync] cannot_be_synced(k) {
        let fd = path(k);
        fails(call!(k, FSYNC, fd), Errno::EBADF);
        fails(call!(k, FDATASYNC, fd), Errno::EBADF);
    }
    [fallocate, lseek] has_no_content(k) {
        let fd = path(k);
        fails(call!(k, FALLOCATE, fd, 0, 0, 10), Errno::EBADF);
        fails(k.lseek(fd, 0, 0), Errno::EBADF);
        fails(k.pread(fd, &mut [0], 0), Errno::EBADF);
        fails(call!(k, READV, fd, vector(&mut [&mut [0]]).as_slice(), 1), Errno::EBADF);
    }
    [fchmod, fchown] attributes_need_another_way(k) {
        let fd = path(k);
        fails(call!(k, FCHMOD, fd, 0o600), Errno::EBADF);
        fails(call!(k, FCHOWN, fd, 0, 0), Errno::EBADF);
        call!(k, FCHOWNAT, fd, c"", -1, -1, AT_EMPTY_PATH).unwrap();
    }
    [fchmodat2] mode_by_an_empty_path(k) {
        let fd = path(k);
        call!(k, FCHMODAT2, fd, c"", 0o601, AT_EMPTY_PATH).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode & 0o777, 0o601);
    }
    [ioctl] no_control(k) {
        let mut count = [0_u8; 4];
        fails(call!(k, IOCTL, path(k), 0x541b_u32, &mut count), Errno::EBADF);
    }
    [mmap] cannot_be_mapped(k) { fails(k.map(4096, 1, 2, path(k), 0).map(drop), Errno::EBADF); }
    [fgetxattr, fsetxattr] no_extended_attributes(k) {
        let fd = path(k);
        fails(call!(k, FGETXATTR, fd, c"user.a", Arg::Null, 0), Errno::EBADF);
        fails(call!(k, FSETXATTR, fd, c"user.a", b"x", 1, 0), Errno::EBADF);
    }
    [getdents64] directories_cannot_be_listed(k) {
        let fd = k.open(".", O_PATH | O_DIRECTORY, 0).unwrap();
        fails(call!(k, GETDENTS64, fd, &mut [0_u8; 100], 100), Errno::EBADF);
    }
    [flock, fcntl] no_locks(k) {
        let fd = path(k);
        fails(call!(k, FLOCK, fd, 1), Errno::EBADF);
        fails(call!(k, FCNTL, fd, 6, &[0_u8; 32]), Errno::EBADF);
    }
    [fcntl] few_commands(k) {
        let fd = path(k);
        let copy = k.fcntl(fd, 0, 10).unwrap();
        k.fcntl(copy as Fd, 2, 1).unwrap();
        assert_eq!(k.fcntl(copy as Fd, 1, 0), Ok(1));
        fails(k.fcntl(fd, F_SETFL, 0), Errno::EBADF);
        fails(k.fcntl(fd, 8, 0), Errno::EBADF);
    }
    [openat] other_flags_are_dropped(k) {
        k.file("f", b"content");
        let fd = k.open("f", O_PATH | O_RDWR | O_TRUNC | O_CREAT, 0).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFL, 0).unwrap() as u32, O_PATH);
        assert_eq!(k.content("f"), b"content");
        fails(k.open("none", O_PATH | O_CREAT, 0o600), Errno::ENOENT);
    }
    [fstat, fstatfs] tells_what_it_names(k) {
        let fd = path(k);
        assert_eq!(k.fstat(fd).unwrap().st_size, 7);
        call!(k, FSTATFS, fd, &mut [0_u8; 120]).unwrap();
    }
    [fchdir, openat] directories_are_starting_points(k) {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"in");
        let d = k.open("d", O_PATH, 0).unwrap();
        k.openat(d, "f", 0, 0).unwrap();
        call!(k, FCHDIR, d).unwrap();
        assert_eq!(k.content("f"), b"in");
        fails(call!(k, FCHDIR, k.open("f", O_PATH, 0).unwrap()), Errno::ENOTDIR);
    }
    [openat] needs_no_permission_on_the_file(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0).unwrap();
        as_user(k, 1000, || {
            let fd = k.open("f", O_PATH, 0).unwrap();
            fails(k.open(&format!("/proc/self/fd/{fd}"), 0, 0), Errno::EACCES);
        });
    }
    [openat] can_be_opened_again_by_its_proc_link(k) {
        let fd = path(k);
        assert_eq!(k.content(&format!("/proc/self/fd/{fd}")), b"content");
    }
    [readlinkat] link_itself(k) {
        k.symlink("target", "l").unwrap();
        let fd = k.open("l", O_PATH | O_NOFOLLOW, 0).unwrap();
        let mut buffer = [0_u8; 20];
        assert_eq!(call!(k, READLINKAT, fd, c"", &mut buffer, 20), Ok(6));
        assert_eq!((k.fstat(fd).unwrap().st_mode >> 12, &buffer[..6]), (0o12, b"target".as_slice()));
        fails(k.open(&format!("/proc/self/fd/{fd}"), 0, 0), Errno::ELOOP);
    }
    [linkat] empty_path_links_the_file(k) needs Root {
        let fd = path(k);
        call!(k, LINKAT, fd, c"", -100, c"g", AT_EMPTY_PATH).unwrap();
        assert_eq!(k.stat("g").unwrap().st_nlink, 2);
    }
    [openat] socket_and_fifo_are_named_without_opening(k) {
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        k.open("p", O_PATH, 0).unwrap();
        let socket = call!(k, SOCKET, AF_UNIX, SOCK_STREAM, 0).unwrap();
        call!(k, BIND, socket, b"\x01\0s", 3).unwrap();
        assert_eq!(k.fstat(k.open("s", O_PATH, 0).unwrap()).unwrap().st_mode >> 12, 0o14);
    }
    [sendmsg, poll] poll_says_invalid(k) {
        let fd = path(k);
        let mut fds = [chitin_abi::poll::PollFd { fd, events: 1, revents: 0 }];
        call!(k, POLL, fds.as_mut_bytes(), 1, 0).unwrap();
        assert_eq!(fds[0].revents, 0x20);
    }
    [execveat] runs_a_program(k) {
        let fd = k.open("/bin/true", O_PATH, 0).unwrap();
        let path = c"true";
        let argv = [path.as_ptr() as u64, 0];
        let child = crate::suite::Processes::child(&k, || {
            let _ = call!(k, EXECVEAT, fd, c"", argv.as_bytes(), &[0_u8; 8], AT_EMPTY_PATH);
            1
        });
        assert_eq!(crate::suite::Processes::status(&k, child), 0);
    }
    [utimensat, faccessat2] times_and_access_by_an_empty_path(k) {
        let fd = path(k);
        call!(k, UTIMENSAT, fd, c"", &[0_u8; 32], AT_EMPTY_PATH).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mtime, 0);
        call!(k, FACCESSAT2, fd, c"", 4, AT_EMPTY_PATH).unwrap();
        fails(call!(k, UTIMENSAT, fd, Arg::Null, &[0_u8; 32], 0), Errno::EBADF);
    }
}
