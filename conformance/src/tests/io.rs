//! Reading and writing: `read(2)`, `readv(2)`, `pread(2)`, `lseek(2)`, `sendfile(2)`, `splice(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_APPEND, O_RDWR, O_WRONLY};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};

/// An array of `struct iovec` over these buffers.
fn vector(buffers: &mut [&mut [u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for buffer in buffers {
        bytes.extend_from_slice(&(buffer.as_mut_ptr() as u64).to_ne_bytes());
        bytes.extend_from_slice(&(buffer.len() as u64).to_ne_bytes());
    }
    bytes
}

fn position(k: &dyn Kernel, fd: Fd) -> i64 {
    k.lseek(fd, 0, 1).unwrap()
}

tests! { "io", "read(2)";
    [read, write] position_moves_by_what_was_done(k) {
        let fd = k.file("f", b"0123456789");
        assert_eq!(k.read_some(fd, 4).unwrap(), b"0123");
        assert_eq!(k.write(fd, b"XY"), Ok(2));
        assert_eq!(k.read_some(fd, 100).unwrap(), b"6789");
        assert_eq!((position(k, fd), k.read(fd, &mut [0; 4])), (10, Ok(0)));
    }
    [read, write] zero_bytes(k) {
        let fd = k.file("f", b"x");
        assert_eq!((k.read(fd, &mut []), k.write(fd, &[])), (Ok(0), Ok(0)));
        assert_eq!(call!(k, READ, fd, Arg::Bad, 0), Ok(0));
        assert_eq!(call!(k, WRITE, fd, Arg::Bad, 0), Ok(0));
    }
    [read, write] faults_do_not_move_the_position(k) {
        let fd = k.file("f", b"abc");
        fails(call!(k, READ, fd, Arg::Bad, 3), Errno::EFAULT);
        fails(call!(k, READ, fd, Arg::Kernel, 3), Errno::EFAULT);
        fails(call!(k, WRITE, fd, Arg::Bad, 3), Errno::EFAULT);
        assert_eq!((position(k, fd), k.content("f")), (0, b"abc".to_vec()));
    }
    [read] half_mapped_buffer_gets_its_head(k) {
        let fd = k.file("f", &[7; 100]);
        assert_eq!(call!(k, READ, fd, Arg::Edge(10), 100), Ok(10));
        assert_eq!(position(k, fd), 10);
        assert_eq!(k.lseek(fd, 200, 0), Ok(200));
        assert_eq!(call!(k, READ, fd, Arg::Bad, 10), Ok(0));
    }
    [read] directories_and_bad_descriptors(k) {
        let directory = k.open(".", 0, 0).unwrap();
        fails(k.read(directory, &mut [0]), Errno::EISDIR);
        fails(k.read(999, &mut [0]), Errno::EBADF);
        fails(call!(k, READ, -1, Arg::Bad, 1), Errno::EBADF);
    }
    [write] behind_the_end_makes_a_hole(k) {
        let fd = k.file("f", b"a");
        k.lseek(fd, 10_000, 0).unwrap();
        k.write(fd, b"b").unwrap();
        let content = k.content("f");
        assert_eq!((content.len(), content[0], content[5000], content[10_000]), (10_001, b'a', 0, b'b'));
    }
    [lseek] whence_and_errors(k) {
        let fd = k.file("f", b"12345");
        assert_eq!((k.lseek(fd, 2, 0), k.lseek(fd, 1, 1), k.lseek(fd, -1, 2)), (Ok(2), Ok(3), Ok(4)));
        fails(k.lseek(fd, -1, 0), Errno::EINVAL);
        fails(k.lseek(fd, -100, 1), Errno::EINVAL);
        fails(k.lseek(fd, 0, 9), Errno::EINVAL);
        fails(k.lseek(999, 0, 0), Errno::EBADF);
        assert_eq!(k.lseek(fd, 1 << 40, 0), Ok(1 << 40));
    }
    [lseek] data_and_holes(k) {
        let fd = k.file("f", b"");
        k.ftruncate(fd, 1 << 20).unwrap();
        k.pwrite(fd, b"x", 1 << 19).unwrap();
        let data = k.lseek(fd, 0, 3).unwrap();
        assert!(data == 0 || data == 1 << 19, "{data}");
        let hole = k.lseek(fd, 1 << 19, 4).unwrap();
        assert!(hole > 1 << 19 && hole <= 1 << 20, "{hole}");
        fails(k.lseek(fd, 1 << 20, 3), Errno::ENXIO);
        fails(k.lseek(fd, 1 << 20, 4), Errno::ENXIO);
    }
    [pread64, pwrite64] leave_the_position(k) {
        let fd = k.file("f", b"0123456789");
        let mut buffer = [0; 3];
        assert_eq!((k.pread(fd, &mut buffer, 4), &buffer), (Ok(3), b"456"));
        assert_eq!((k.pwrite(fd, b"Z", 0), position(k, fd)), (Ok(1), 0));
        fails(k.pread(fd, &mut buffer, -1), Errno::EINVAL);
        fails(k.pwrite(fd, b"Z", -1), Errno::EINVAL);
        assert_eq!(k.pread(fd, &mut buffer, 10), Ok(0));
    }
    [pwrite64] append_wins_over_the_offset(k) {
        k.file("f", b"abc");
        let fd = k.open("f", O_RDWR | O_APPEND, 0).unwrap();
        k.pwrite(fd, b"d", 0).unwrap();
        assert_eq!(k.content("f"), b"abcd");
    }
    [readv, writev] buffers_in_order(k) {
        let fd = k.file("f", b"");
        let (mut a, mut b, mut c) = (*b"one", *b"", *b"two!");
        let iov = vector(&mut [&mut a, &mut b, &mut c]);
        assert_eq!(call!(k, WRITEV, fd, iov.as_slice(), 3), Ok(7));
        k.lseek(fd, 0, 0).unwrap();
        let (mut x, mut y) = ([0; 4], [0; 10]);
        let iov = vector(&mut [&mut x, &mut y]);
        assert_eq!(call!(k, READV, fd, iov.as_slice(), 2), Ok(7));
        assert_eq!((&x, &y[..3]), (b"onet", b"wo!".as_slice()));
    }
    [readv] errors_of_vectors(k) {
        let fd = k.file("f", b"abc");
        fails(call!(k, READV, fd, Arg::Bad, 1), Errno::EFAULT);
        fails(call!(k, READV, fd, Arg::Null, -1), Errno::EINVAL);
        fails(call!(k, READV, fd, Arg::Null, 1025), Errno::EINVAL);
        assert_eq!(call!(k, READV, fd, Arg::Null, 0), Ok(0));
        let mut iov = [0xff_u8; 16];
        iov[..8].copy_from_slice(&[0; 8]);
        fails(call!(k, READV, fd, &iov, 1), Errno::EINVAL);
    }
    [preadv2, pwritev2] flags(k) {
        let fd = k.file("f", b"abcdef");
        let mut x = [0; 2];
        let iov = vector(&mut [&mut x]);
        assert_eq!((call!(k, PREADV2, fd, iov.as_slice(), 1, 2, 0, 0), &x), (Ok(2), b"cd"));
        assert_eq!((call!(k, PREADV2, fd, iov.as_slice(), 1, -1, 0, 0), position(k, fd)), (Ok(2), 2));
        fails(call!(k, PREADV2, fd, iov.as_slice(), 1, 0, 0, 0x1000), Errno::EOPNOTSUPP);
        let mut y = *b"!";
        let iov = vector(&mut [&mut y]);
        call!(k, PWRITEV2, fd, iov.as_slice(), 1, 0, 0, 0x10).unwrap();
        assert_eq!(k.content("f"), b"abcdef!");
    }
    [ftruncate, truncate] sizes_and_errors(k) {
        let fd = k.file("f", b"abcdef");
        k.ftruncate(fd, 3).unwrap();
        assert_eq!(k.content("f"), b"abc");
        k.ftruncate(fd, 5).unwrap();
        assert_eq!(k.content("f"), b"abc\0\0");
        fails(k.ftruncate(fd, -1), Errno::EINVAL);
        fails(k.ftruncate(k.open("f", 0, 0).unwrap(), 0), Errno::EINVAL);
        fails(call!(k, TRUNCATE, c"none", 0), Errno::ENOENT);
        fails(call!(k, TRUNCATE, c".", 0), Errno::EISDIR);
        call!(k, TRUNCATE, c"f", 1).unwrap();
        assert_eq!(k.content("f"), b"a");
    }
    [fallocate] modes(k) {
        let fd = k.file("f", b"abc");
        call!(k, FALLOCATE, fd, 0, 0, 10_000).unwrap();
        assert_eq!(k.fstat(fd).unwrap().st_size, 10_000);
        call!(k, FALLOCATE, fd, 1, 0, 20_000).unwrap();
        assert_eq!(k.fstat(fd).unwrap().st_size, 10_000);
        call!(k, FALLOCATE, fd, 3, 0, 2).unwrap();
        assert_eq!(&k.content("f")[..3], b"\0\0c");
        fails(call!(k, FALLOCATE, fd, 0, -1, 10), Errno::EINVAL);
        fails(call!(k, FALLOCATE, fd, 0, 0, 0), Errno::EINVAL);
        fails(call!(k, FALLOCATE, fd, 2, 0, 10), Errno::EOPNOTSUPP);
        let (_reader, writer) = k.pipe2(0).unwrap();
        fails(call!(k, FALLOCATE, writer, 0, 0, 10), Errno::ESPIPE);
        fails(call!(k, FALLOCATE, k.open("f", 0, 0).unwrap(), 0, 0, 10), Errno::EBADF);
    }
    [sendfile] moves_bytes_and_positions(k) {
        let (from, to) = (k.file("f", b"0123456789"), k.file("g", b""));
        assert_eq!(call!(k, SENDFILE, to, from, Arg::Null, 4), Ok(4));
        let mut offset = 6_i64.to_ne_bytes();
        assert_eq!(call!(k, SENDFILE, to, from, &mut offset, 100), Ok(4));
        assert_eq!((i64::from_ne_bytes(offset), position(k, from), k.content("g")), (10, 4, b"01236789".to_vec()));
        fails(call!(k, SENDFILE, from, k.open("f", O_WRONLY, 0).unwrap(), Arg::Null, 1), Errno::EBADF);
    }
    [sendfile, splice, write] into_the_null_device(k) {
        let (from, to) = (k.file("f", &[1; 100_000]), k.open("/dev/null", O_WRONLY, 0).unwrap());
        assert_eq!(call!(k, SENDFILE, to, from, Arg::Null, 200_000), Ok(100_000));
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"12345").unwrap();
        assert_eq!(call!(k, SPLICE, reader, Arg::Null, to, Arg::Null, 100, 0), Ok(5));
        assert_eq!(call!(k, WRITE, to, Arg::Bad, 7), Ok(7));
    }
    [splice, tee] through_pipes(k) {
        let from = k.file("f", b"spliced data");
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(call!(k, SPLICE, from, Arg::Null, writer, Arg::Null, 100, 0), Ok(12));
        let (other, end) = k.pipe2(0).unwrap();
        assert_eq!(call!(k, TEE, reader, end, 7, 0), Ok(7));
        assert_eq!(k.read_some(other, 100).unwrap(), b"spliced");
        let to = k.file("g", b"");
        assert_eq!(call!(k, SPLICE, reader, Arg::Null, to, Arg::Null, 100, 0), Ok(12));
        assert_eq!(k.content("g"), b"spliced data");
        fails(call!(k, SPLICE, from, Arg::Null, to, Arg::Null, 1, 0), Errno::EINVAL);
    }
    [copy_file_range] copies(k) {
        let (from, to) = (k.file("f", b"0123456789"), k.file("g", b"__________"));
        let (mut a, mut b) = (2_i64.to_ne_bytes(), 5_i64.to_ne_bytes());
        assert_eq!(call!(k, COPY_FILE_RANGE, from, &mut a, to, &mut b, 3, 0), Ok(3));
        assert_eq!((k.content("g"), i64::from_ne_bytes(a), i64::from_ne_bytes(b)), (b"_____234__".to_vec(), 5, 8));
        fails(call!(k, COPY_FILE_RANGE, from, Arg::Null, to, Arg::Null, 1, 1), Errno::EINVAL);
    }
    [fsync, fdatasync] what_can_be_synced(k) {
        let fd = k.file("f", b"x");
        call!(k, FSYNC, fd).unwrap();
        call!(k, FDATASYNC, fd).unwrap();
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(call!(k, FSYNC, reader), Errno::EINVAL);
        fails(call!(k, FSYNC, 999), Errno::EBADF);
    }
}
