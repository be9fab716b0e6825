//! Positions: `lseek(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    O_APPEND, O_DIRECTORY, O_RDWR, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET,
};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Calls, Fd, Files, Kernel, fails, tests};

/// A file of 64 KiB with data in its third page only.
fn sparse(k: &dyn Kernel) -> Fd {
    let fd = k.file("f", b"");
    k.ftruncate(fd, 0x1_0000).unwrap();
    k.pwrite(fd, &[1; 4096], 0x2000).unwrap();
    call!(k, FSYNC, fd).unwrap();
    fd
}

tests! { "seek", "lseek(2)";
    [lseek] all_ways(k) {
        let fd = k.file("f", b"0123456789");
        for (offset, whence, found) in [(5, SEEK_SET, 5), (2, SEEK_CUR, 7), (-3, SEEK_CUR, 4), (0, SEEK_END, 10), (-10, SEEK_END, 0), (100, SEEK_END, 110)] {
            assert_eq!(k.lseek(fd, offset, whence), Ok(found));
        }
    }
    [lseek] before_the_start(k) {
        let fd = k.file("f", b"01234");
        k.lseek(fd, 3, SEEK_SET).unwrap();
        for (offset, whence) in [(-1, SEEK_SET), (-4, SEEK_CUR), (-6, SEEK_END)] { fails(k.lseek(fd, offset, whence), Errno::EINVAL); }
        assert_eq!(k.lseek(fd, 0, SEEK_CUR), Ok(3));
    }
    [lseek] unknown_ways(k) {
        let fd = k.file("f", b"");
        for whence in [5, 6, 100, u32::MAX] { fails(k.lseek(fd, 0, whence), Errno::EINVAL); }
    }
    [lseek] largest_offsets(k) {
        let fd = k.file("f", b"");
        k.lseek(fd, 1 << 42, SEEK_SET).unwrap();
        fails(k.lseek(fd, i64::MAX, SEEK_CUR), Errno::EINVAL);
    }
    [lseek] data_is_found(k) {
        let fd = sparse(k);
        assert_eq!(k.lseek(fd, 0, SEEK_DATA), Ok(0x2000));
        assert_eq!(k.lseek(fd, 0x2800, SEEK_DATA), Ok(0x2800));
        fails(k.lseek(fd, 0x3000, SEEK_DATA), Errno::ENXIO);
    }
    [lseek] holes_are_found(k) {
        let fd = sparse(k);
        assert_eq!(k.lseek(fd, 0, SEEK_HOLE), Ok(0));
        assert_eq!(k.lseek(fd, 0x2000, SEEK_HOLE), Ok(0x3000));
        assert_eq!(k.lseek(fd, 0x5123, SEEK_HOLE), Ok(0x5123));
    }
    [lseek] end_of_the_file_is_a_hole(k) {
        let fd = k.file("f", &[1; 5000]);
        assert_eq!(k.lseek(fd, 0, SEEK_HOLE), Ok(5000));
        assert_eq!(k.lseek(fd, 0, SEEK_DATA), Ok(0));
    }
    [lseek] data_and_holes_behind_the_end(k) {
        let fd = k.file("f", b"abc");
        for offset in [3, 4, 1 << 30] {
            fails(k.lseek(fd, offset, SEEK_DATA), Errno::ENXIO);
            fails(k.lseek(fd, offset, SEEK_HOLE), Errno::ENXIO);
        }
        fails(k.lseek(fd, -1, SEEK_DATA), Errno::ENXIO);
        fails(k.lseek(fd, -1, SEEK_HOLE), Errno::ENXIO);
    }
    [lseek] finding_moves_the_position(k) {
        let fd = sparse(k);
        k.lseek(fd, 0, SEEK_DATA).unwrap();
        assert_eq!(k.lseek(fd, 0, SEEK_CUR), Ok(0x2000));
    }
    [lseek, fallocate] punched_holes_are_found(k) {
        let fd = k.file("f", &[1; 0x4000]);
        call!(k, FSYNC, fd).unwrap();
        call!(k, FALLOCATE, fd, 3, 0x1000, 0x1000).unwrap();
        assert_eq!((k.lseek(fd, 0, SEEK_HOLE), k.lseek(fd, 0x1000, SEEK_DATA)), (Ok(0x1000), Ok(0x2000)));
    }
    [lseek] streams(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(k.lseek(reader, 0, SEEK_CUR), Errno::ESPIPE);
        fails(k.lseek(reader, 0, 99), Errno::EINVAL);
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
        fails(k.lseek(fds[0], 0, SEEK_SET), Errno::ESPIPE);
    }
    [lseek] devices(k) {
        let null = k.open("/dev/null", O_RDWR, 0).unwrap();
        assert_eq!((k.lseek(null, 1234, SEEK_SET), k.lseek(null, 5, SEEK_CUR)), (Ok(0), Ok(0)));
        let zero = k.open("/dev/zero", O_RDWR, 0).unwrap();
        assert_eq!(k.lseek(zero, 1234, SEEK_SET), Ok(0));
    }
    [lseek] event_counters(k) {
        let fd = call!(k, EVENTFD2, 0, 0).unwrap() as Fd;
        match k.lseek(fd, 0, SEEK_SET) { Ok(position) => assert_eq!(position, 0), Err(errno) => assert_eq!(errno, Errno::ESPIPE) }
    }
    [lseek] directories_rewind(k) {
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        assert_eq!(k.lseek(fd, 0, SEEK_SET), Ok(0));
        fails(k.lseek(fd, -1, SEEK_SET), Errno::EINVAL);
    }
    [lseek] proc_files_seek(k) {
        let fd = k.open("/proc/self/status", 0, 0).unwrap();
        let start = k.read_some(fd, 5).unwrap();
        k.lseek(fd, 0, SEEK_SET).unwrap();
        assert_eq!((k.read_some(fd, 5).unwrap(), start.as_slice()), (start.clone(), b"Name:".as_slice()));
        fails(k.lseek(fd, 0, SEEK_END), Errno::EINVAL);
    }
    [lseek, write] appending_files_may_be_read_anywhere(k) {
        k.file("f", b"0123456789");
        let fd = k.open("f", O_RDWR | O_APPEND, 0).unwrap();
        k.lseek(fd, 3, SEEK_SET).unwrap();
        assert_eq!(k.read_some(fd, 2).unwrap(), b"34");
    }
}
