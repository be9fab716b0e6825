//! Many buffers: `readv(2)`, `preadv(2)` and their kin.

use chitin_abi::Errno;
use chitin_abi::fs::{O_DIRECT, O_NONBLOCK};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::vector;

/// An array of vectors by addresses and lengths.
fn raw(parts: &[(u64, u64)]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|(base, length)| [base.to_ne_bytes(), length.to_ne_bytes()].concat())
        .collect()
}

tests! { "vectors", "readv(2)";
    [readv] fills_one_after_the_other(k) {
        let fd = k.file("f", b"abcdefgh");
        let (mut a, mut b, mut c) = ([0; 3], [0; 0], [0; 10]);
        let iov = vector(&mut [&mut a, &mut b, &mut c]);
        assert_eq!(call!(k, READV, fd, iov.as_slice(), 3), Ok(8));
        assert_eq!((&a, &c[..5]), (b"abc", b"defgh".as_slice()));
    }
    [writev] empty_vectors_write_nothing(k) {
        let fd = k.file("f", b"");
        assert_eq!(call!(k, WRITEV, fd, raw(&[(0, 0), (1, 0)]).as_slice(), 2), Ok(0));
        assert_eq!(call!(k, WRITEV, fd, Arg::Null, 0), Ok(0));
    }
    [readv, writev] most_vectors(k) {
        let fd = k.file("f", b"");
        let mut byte = [7];
        let one = (byte.as_mut_ptr() as u64, 1);
        assert_eq!(call!(k, WRITEV, fd, raw(&[one; 1024]).as_slice(), 1024), Ok(1024));
        fails(call!(k, WRITEV, fd, raw(&[one; 1025]).as_slice(), 1025), Errno::EINVAL);
    }
    [writev] negative_lengths(k) {
        let fd = k.file("f", b"");
        fails(call!(k, WRITEV, fd, raw(&[(0, 1 << 63)]).as_slice(), 1), Errno::EINVAL);
    }
    [writev] first_vector_unmapped(k) {
        let fd = k.file("f", b"");
        let mut good = *b"good";
        let iov = raw(&[(1, 4), (good.as_mut_ptr() as u64, 4)]);
        fails(call!(k, WRITEV, fd, iov.as_slice(), 2), Errno::EFAULT);
        assert_eq!(k.fstat(fd).unwrap().st_size, 0);
    }
    [writev] later_vector_unmapped(k) {
        let fd = k.file("f", b"");
        let mut good = *b"good";
        let iov = raw(&[(good.as_mut_ptr() as u64, 4), (1, 4)]);
        match call!(k, WRITEV, fd, iov.as_slice(), 2) {
            Ok(count) => assert_eq!((count, k.content("f")), (4, b"good".to_vec())),
            Err(errno) => assert_eq!(errno, Errno::EFAULT),
        }
    }
    [readv] later_vector_unmapped_for_reading(k) {
        let fd = k.file("f", b"abcdefgh");
        let mut good = [0; 4];
        let iov = raw(&[(good.as_mut_ptr() as u64, 4), (1, 4)]);
        assert_eq!(call!(k, READV, fd, iov.as_slice(), 2), Ok(4));
        assert_eq!(&good, b"abcd");
    }
    [readv] array_across_an_unmapped_page(k) {
        let fd = k.file("f", b"x");
        fails(call!(k, READV, fd, Arg::Edge(16), 2), Errno::EFAULT);
        assert_eq!(call!(k, READV, fd, Arg::Edge(16), 1), Ok(0));
    }
    [readv, writev] bad_descriptors(k) {
        fails(call!(k, READV, 999, Arg::Null, 0), Errno::EBADF);
        k.file("f", b"x");
        let reader = k.open("f", 0, 0).unwrap();
        fails(call!(k, WRITEV, reader, Arg::Null, 0), Errno::EBADF);
    }
    [preadv, pwritev] offset_is_not_the_position(k) {
        let fd = k.file("f", b"0123456789");
        let (mut a, mut b) = ([0; 2], [0; 2]);
        let iov = vector(&mut [&mut a, &mut b]);
        assert_eq!(call!(k, PREADV, fd, iov.as_slice(), 2, 5, 0), Ok(4));
        assert_eq!((&a, &b, k.lseek(fd, 0, 1)), (b"56", b"78", Ok(0)));
        let mut c = *b"XY";
        assert_eq!(call!(k, PWRITEV, fd, vector(&mut [&mut c]).as_slice(), 1, 1, 0), Ok(2));
        assert_eq!(k.content("f"), b"0XY3456789");
    }
    [preadv, pwritev] errors_of_offsets(k) {
        let fd = k.file("f", b"x");
        let mut a = [0];
        let iov = vector(&mut [&mut a]);
        fails(call!(k, PREADV, fd, iov.as_slice(), 1, -1, -1), Errno::EINVAL);
        fails(call!(k, PWRITEV, fd, iov.as_slice(), 1, -1, -1), Errno::EINVAL);
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(call!(k, PREADV, reader, iov.as_slice(), 1, 0, 0), Errno::ESPIPE);
        fails(call!(k, PWRITEV, writer, iov.as_slice(), 1, 0, 0), Errno::ESPIPE);
    }
    [writev] one_packet_for_all_vectors(k) {
        let (reader, writer) = k.pipe2(O_DIRECT | O_NONBLOCK).unwrap();
        let (mut a, mut b) = (*b"one", *b"two");
        assert_eq!(call!(k, WRITEV, writer, vector(&mut [&mut a, &mut b]).as_slice(), 2), Ok(6));
        assert_eq!(k.read_some(reader, 100).unwrap(), b"onetwo");
        fails(k.read(reader, &mut [0]), Errno::EAGAIN);
    }
    [writev] one_datagram_for_all_vectors(k) {
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 2, 0, fds.as_mut_bytes()).unwrap();
        let (mut a, mut b) = (*b"one", *b"two");
        assert_eq!(call!(k, WRITEV, fds[0], vector(&mut [&mut a, &mut b]).as_slice(), 2), Ok(6));
        assert_eq!(k.read_some(fds[1], 100).unwrap(), b"onetwo");
    }
    [writev] appending_is_atomic(k) {
        let fd = k.file("f", b"");
        std::thread::scope(|scope| {
            for byte in [b'a', b'b'] {
                scope.spawn(move || {
                    for _ in 0..100 {
                        let (mut a, mut b) = ([byte; 3], [byte; 4]);
                        call!(k, WRITEV, fd, vector(&mut [&mut a, &mut b]).as_slice(), 2).unwrap();
                    }
                });
            }
        });
        assert!(k.content("f").chunks(7).all(|chunk| chunk.len() == 7 && chunk.iter().all(|byte| *byte == chunk[0])));
    }
}
