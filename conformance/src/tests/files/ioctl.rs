//! `ioctl(2)` on files and descriptors.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_GETFD, F_GETFL, FICLONE, FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIONREAD, FS_IOC_FSGETXATTR,
    FS_IOC_GETFLAGS, O_DIRECTORY, O_NONBLOCK, O_WRONLY,
};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::int;

fn readable(k: &dyn Kernel, fd: Fd) -> chitin_abi::Result<i32> {
    let mut count = [0xff; 4];
    call!(k, IOCTL, fd, FIONREAD, &mut count)?;
    Ok(int(&count, 0))
}

tests! { "ioctl", "ioctl(2)";
    [ioctl] close_on_exec(k) {
        let fd = k.file("f", b"");
        call!(k, IOCTL, fd, FIOCLEX, 0).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(1));
        call!(k, IOCTL, fd, FIONCLEX, 0).unwrap();
        assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(0));
    }
    [ioctl] non_blocking(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        call!(k, IOCTL, reader, FIONBIO, &1_i32.to_ne_bytes()).unwrap();
        assert_ne!(k.fcntl(reader, F_GETFL, 0).unwrap() as u32 & O_NONBLOCK, 0);
        fails(k.read(reader, &mut [0]), Errno::EAGAIN);
        call!(k, IOCTL, reader, FIONBIO, &0_i32.to_ne_bytes()).unwrap();
        assert_eq!(k.fcntl(reader, F_GETFL, 0).unwrap() as u32 & O_NONBLOCK, 0);
        fails(call!(k, IOCTL, reader, FIONBIO, Arg::Bad), Errno::EFAULT);
    }
    [ioctl] asynchronous(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        call!(k, IOCTL, reader, FIOASYNC, &1_i32.to_ne_bytes()).unwrap();
        assert_ne!(k.fcntl(reader, F_GETFL, 0).unwrap() & 0o20000, 0);
        fails(call!(k, IOCTL, k.file("f", b""), FIOASYNC, &1_i32.to_ne_bytes()), Errno::ENOTTY);
    }
    [ioctl] readable_bytes_of_a_file_are_to_its_end(k) {
        let fd = k.file("f", b"0123456789");
        assert_eq!(readable(k, fd), Ok(10));
        k.lseek(fd, 4, 0).unwrap();
        assert_eq!(readable(k, fd), Ok(6));
        k.lseek(fd, 14, 0).unwrap();
        assert_eq!(readable(k, fd), Ok(-4));
    }
    [ioctl] readable_bytes_of_pipes_and_sockets(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(readable(k, reader), Ok(0));
        k.write(writer, b"123").unwrap();
        assert_eq!((readable(k, reader), readable(k, writer)), (Ok(3), Ok(3)));
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
        k.write(fds[0], b"12345").unwrap();
        assert_eq!(readable(k, fds[1]), Ok(5));
        fails(call!(k, IOCTL, reader, FIONREAD, Arg::Bad), Errno::EFAULT);
    }
    [ioctl] readable_bytes_of_other_files(k) {
        let directory = k.open(".", O_DIRECTORY, 0).unwrap();
        fails(readable(k, directory), Errno::ENOTTY);
        fails(readable(k, k.open("/dev/null", 0, 0).unwrap()), Errno::ENOTTY);
        fails(readable(k, call!(k, EVENTFD2, 0, 0).unwrap() as Fd), Errno::ENOTTY);
    }
    [ioctl] bytes_in_a_socket_not_yet_read(k) {
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 2, 0, fds.as_mut_bytes()).unwrap();
        k.write(fds[0], b"12345").unwrap();
        k.write(fds[0], b"678").unwrap();
        assert_eq!(readable(k, fds[1]), Ok(5));
        let mut count = [0; 4];
        call!(k, IOCTL, fds[0], 0x5411_u32, &mut count).unwrap();
        assert!(int(&count, 0) >= 8);
    }
    [ioctl] unknown_commands(k) {
        let fd = k.file("f", b"");
        fails(call!(k, IOCTL, fd, 0x1234_5678_u32, 0), Errno::ENOTTY);
        fails(call!(k, IOCTL, fd, 0, 0), Errno::ENOTTY);
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(call!(k, IOCTL, reader, 0x1234_5678_u32, 0), Errno::ENOTTY);
        fails(call!(k, IOCTL, 999, 0x1234_5678_u32, 0), Errno::EBADF);
    }
    [ioctl] terminal_commands_on_others(k) {
        let fd = k.file("f", b"");
        for command in [0x5401_u32, 0x5413, 0x540f] { fails(call!(k, IOCTL, fd, command, &mut [0_u8; 64]), Errno::ENOTTY); }
    }
    [ioctl] inode_flags(k) {
        let fd = k.file("f", b"");
        let mut flags = [0_u8; 8];
        match call!(k, IOCTL, fd, FS_IOC_GETFLAGS, &mut flags) {
            Ok(_) => assert_eq!(int(&flags, 0) & 0x30, 0, "neither immutable nor append-only"),
            Err(errno) => assert!(errno == Errno::ENOTTY || errno == Errno::EOPNOTSUPP),
        }
        let proc = k.open("/proc/version", 0, 0).unwrap();
        fails(call!(k, IOCTL, proc, FS_IOC_GETFLAGS, &mut flags), Errno::ENOTTY);
    }
    [ioctl] extended_inode_flags(k) {
        let fd = k.file("f", b"");
        match call!(k, IOCTL, fd, FS_IOC_FSGETXATTR, &mut [0_u8; 28]) {
            Ok(_) => fails(call!(k, IOCTL, fd, FS_IOC_FSGETXATTR, Arg::Bad), Errno::EFAULT),
            Err(errno) => assert!(errno == Errno::ENOTTY || errno == Errno::EOPNOTSUPP),
        }
    }
    [ioctl] clones_are_not_supported(k) {
        let (from, to) = (k.file("f", b"x"), k.file("g", b""));
        fails(call!(k, IOCTL, to, FICLONE, from), Errno::EOPNOTSUPP);
        fails(call!(k, IOCTL, to, FICLONE, 999), Errno::EBADF);
    }
    [ioctl] queued_size(k) {
        let fd = k.file("f", &[0; 5000]);
        call!(k, FALLOCATE, fd, 0, 0, 8192).unwrap();
        let mut size = [0_u8; 8];
        call!(k, IOCTL, fd, 0x5460_u32, &mut size).unwrap();
        assert!(u64::from_ne_bytes(size) == 8192);
    }
    [ioctl] block_size(k) {
        let fd = k.file("f", b"");
        let mut size = [0_u8; 4];
        call!(k, IOCTL, fd, 2_u32, &mut size).unwrap();
        assert_eq!(int(&size, 0), 4096);
    }
    [ioctl] write_only_descriptors_may_be_asked(k) {
        k.file("f", b"123");
        assert_eq!(readable(k, k.open("f", O_WRONLY, 0).unwrap()), Ok(3));
    }
}
