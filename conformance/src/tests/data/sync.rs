//! To the storage: `fsync(2)`, `sync_file_range(2)`, `syncfs(2)`, `msync(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_DIRECTORY, O_DSYNC, O_RDWR, O_SYNC};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Calls, Files, fails, tests};

tests! { "sync", "fsync(2)";
    [fsync, fdatasync] files_and_directories(k) {
        let (fd, directory) = (k.file("f", b"x"), k.open(".", O_DIRECTORY, 0).unwrap());
        for fd in [fd, directory, k.open("f", 0, 0).unwrap()] {
            call!(k, FSYNC, fd).unwrap();
            call!(k, FDATASYNC, fd).unwrap();
        }
    }
    [fsync, fdatasync] what_has_no_storage(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
        let event = call!(k, EVENTFD2, 0, 0).unwrap() as i32;
        for fd in [reader, writer, fds[0], event] {
            fails(call!(k, FSYNC, fd), Errno::EINVAL);
            fails(call!(k, FDATASYNC, fd), Errno::EINVAL);
        }
        fails(call!(k, FSYNC, -1), Errno::EBADF);
    }
    [fsync] proc_files(k) { fails(call!(k, FSYNC, k.open("/proc/version", 0, 0).unwrap()), Errno::EINVAL); }
    [sync_file_range] ranges(k) {
        let fd = k.file("f", &[0; 10_000]);
        for flags in [0, 1, 2, 4, 7] { call!(k, SYNC_FILE_RANGE, fd, 0, 10_000, flags).unwrap(); }
        call!(k, SYNC_FILE_RANGE, fd, 0, 0, 2).unwrap();
        call!(k, SYNC_FILE_RANGE, fd, 1 << 30, 10, 2).unwrap();
    }
    [sync_file_range] errors(k) {
        let fd = k.file("f", b"");
        fails(call!(k, SYNC_FILE_RANGE, fd, 0, 0, 8), Errno::EINVAL);
        fails(call!(k, SYNC_FILE_RANGE, fd, -1, 0, 0), Errno::EINVAL);
        fails(call!(k, SYNC_FILE_RANGE, fd, 0, -1, 0), Errno::EINVAL);
        fails(call!(k, SYNC_FILE_RANGE, fd, i64::MAX, 2, 0), Errno::EINVAL);
        fails(call!(k, SYNC_FILE_RANGE, 999, 0, 0, 0), Errno::EBADF);
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(call!(k, SYNC_FILE_RANGE, reader, 0, 0, 2), Errno::ESPIPE);
    }
    [syncfs, sync] everything(k) {
        let fd = k.file("f", b"");
        call!(k, SYNCFS, fd).unwrap();
        call!(k, SYNC).unwrap();
        fails(call!(k, SYNCFS, 999), Errno::EBADF);
    }
    [write] synchronous_files(k) {
        for flags in [O_SYNC, O_DSYNC] {
            k.file("f", b"");
            let fd = k.open("f", O_RDWR | flags, 0).unwrap();
            assert_eq!((k.write(fd, b"abc"), k.content("f")), (Ok(3), b"abc".to_vec()));
        }
    }
    [msync] flags(k) {
        let fd = k.file("f", &[0; 8192]);
        let memory = k.map(8192, 3, 1, fd, 0).unwrap();
        memory.set(0, 7);
        for flags in [0, 1, 2, 4, 6] { call!(k, MSYNC, memory.address(), 8192, flags).unwrap(); }
        fails(call!(k, MSYNC, memory.address(), 8192, 5), Errno::EINVAL);
        fails(call!(k, MSYNC, memory.address(), 8192, 8), Errno::EINVAL);
        fails(call!(k, MSYNC, memory.address() + 1, 8192, 4), Errno::EINVAL);
        assert_eq!(k.content("f")[0], 7);
    }
    [msync] unmapped_memory(k) {
        let memory = k.map(4096, 3, 0x22, -1, 0).unwrap();
        let address = memory.address();
        drop(memory);
        fails(call!(k, MSYNC, address, 4096, 4), Errno::ENOMEM);
    }
}
