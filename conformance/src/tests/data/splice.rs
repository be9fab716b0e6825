//! Moving bytes through pipes: `splice(2)`, `tee(2)`, `vmsplice(2)`.

use chitin_abi::fs::{
    O_APPEND, O_NONBLOCK, O_RDWR, O_WRONLY, SPLICE_F_GIFT, SPLICE_F_MORE, SPLICE_F_MOVE,
    SPLICE_F_NONBLOCK,
};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{blocks, interrupted, long, vector, woken};

fn splice(k: &dyn Kernel, from: Fd, to: Fd, count: usize, flags: u32) -> Result<u64> {
    call!(k, SPLICE, from, Arg::Null, to, Arg::Null, count, flags)
}

tests! { "splice", "splice(2)";
    [splice] file_to_pipe_at_the_position(k) {
        let from = k.file("f", b"0123456789");
        k.lseek(from, 2, 0).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(splice(k, from, writer, 5, 0), Ok(5));
        assert_eq!((k.read_some(reader, 9).unwrap(), k.lseek(from, 0, 1)), (b"23456".to_vec(), Ok(7)));
    }
    [splice] file_to_pipe_at_an_offset(k) {
        let from = k.file("f", b"0123456789");
        let (reader, writer) = k.pipe2(0).unwrap();
        let mut offset = 7_u64.to_ne_bytes();
        assert_eq!(call!(k, SPLICE, from, &mut offset, writer, Arg::Null, 100, 0), Ok(3));
        assert_eq!((k.read_some(reader, 9).unwrap(), long(&offset, 0), k.lseek(from, 0, 1)), (b"789".to_vec(), 10, Ok(0)));
    }
    [splice] pipe_to_file_at_an_offset(k) {
        let to = k.file("f", b"0123456789");
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"XYZ").unwrap();
        let mut offset = 4_u64.to_ne_bytes();
        assert_eq!(call!(k, SPLICE, reader, Arg::Null, to, &mut offset, 100, 0), Ok(3));
        assert_eq!((k.content("f"), long(&offset, 0), k.lseek(to, 0, 1)), (b"0123XYZ789".to_vec(), 7, Ok(0)));
    }
    [splice] pipe_to_pipe(k) {
        let ((r1, w1), (r2, w2)) = (k.pipe2(0).unwrap(), k.pipe2(0).unwrap());
        k.write(w1, b"moved along").unwrap();
        assert_eq!(splice(k, r1, w2, 5, 0), Ok(5));
        assert_eq!((k.read_some(r2, 99).unwrap(), k.read_some(r1, 99).unwrap()), (b"moved".to_vec(), b" along".to_vec()));
    }
    [splice] pipe_to_and_from_a_socket(k) {
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"abc").unwrap();
        assert_eq!(splice(k, reader, fds[0], 3, 0), Ok(3));
        assert_eq!(splice(k, fds[1], writer, 10, 0), Ok(3));
        assert_eq!(k.read_some(reader, 9).unwrap(), b"abc");
    }
    [splice] a_pipe_must_be_there(k) {
        let (a, b) = (k.file("f", b"x"), k.file("g", b""));
        fails(splice(k, a, b, 1, 0), Errno::EINVAL);
    }
    [splice] same_pipe(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"x").unwrap();
        fails(splice(k, reader, writer, 1, 0), Errno::EINVAL);
    }
    [splice] offsets_of_pipes(k) {
        let from = k.file("f", b"x");
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(call!(k, SPLICE, from, Arg::Null, writer, &mut [0_u8; 8], 1, 0), Errno::ESPIPE);
        fails(call!(k, SPLICE, reader, &mut [0_u8; 8], from, Arg::Null, 1, 0), Errno::ESPIPE);
    }
    [splice] rights(k) {
        k.file("f", b"x");
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(splice(k, k.open("f", O_WRONLY, 0).unwrap(), writer, 1, 0), Errno::EBADF);
        fails(splice(k, reader, k.open("f", 0, 0).unwrap(), 1, 0), Errno::EBADF);
        fails(splice(k, k.open("f", 0, 0).unwrap(), reader, 1, 0), Errno::EBADF);
        fails(splice(k, 999, writer, 1, 0), Errno::EBADF);
        fails(splice(k, reader, 999, 1, 0), Errno::EBADF);
    }
    [splice] flags_and_counts(k) {
        let from = k.file("f", b"abc");
        let (_reader, writer) = k.pipe2(0).unwrap();
        fails(splice(k, from, writer, 1, 16), Errno::EINVAL);
        assert_eq!(splice(k, from, writer, 0, 0), Ok(0));
        assert_eq!(splice(k, from, writer, 1, SPLICE_F_MOVE | SPLICE_F_MORE | SPLICE_F_GIFT), Ok(1));
    }
    [splice] appending_files_are_refused(k) {
        k.file("f", b"");
        let to = k.open("f", O_RDWR | O_APPEND, 0).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"x").unwrap();
        fails(splice(k, reader, to, 1, 0), Errno::EINVAL);
    }
    [splice] pointers_fault(k) {
        let from = k.file("f", b"abc");
        let (_reader, writer) = k.pipe2(0).unwrap();
        fails(call!(k, SPLICE, from, Arg::Bad, writer, Arg::Null, 1, 0), Errno::EFAULT);
    }
    [splice] empty_pipe(k) {
        let to = k.file("f", b"");
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(splice(k, reader, to, 1, SPLICE_F_NONBLOCK), Errno::EAGAIN);
        assert!(blocks(k, || { let _ = splice(k, reader, to, 1, 0); }));
        k.close(writer).unwrap();
        assert_eq!(splice(k, reader, to, 1, 0), Ok(0));
    }
    [splice] waiting_is_interrupted(k) {
        let to = k.file("f", b"");
        let (reader, _writer) = k.pipe2(0).unwrap();
        interrupted(k, || splice(k, reader, to, 1, 0));
    }
    [splice] waiting_is_ended_by_a_writer(k) {
        let to = k.file("f", b"");
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(woken(k, || { k.write(writer, b"ab").unwrap(); }, || splice(k, reader, to, 10, 0)), Ok(2));
    }
    [splice] full_pipe(k) {
        let from = k.file("f", b"abc");
        let (_reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, &[0; 65536]).unwrap();
        fails(splice(k, from, writer, 1, SPLICE_F_NONBLOCK), Errno::EAGAIN);
    }
    [splice] end_of_a_file(k) {
        let from = k.file("f", b"");
        let (_reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(splice(k, from, writer, 10, 0), Ok(0));
    }
    [splice] broken_pipe(k) {
        let from = k.file("f", b"abc");
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(reader).unwrap();
        k.set_action(13, 1).unwrap();
        fails(splice(k, from, writer, 1, 0), Errno::EPIPE);
    }
    [splice] into_a_device(k) {
        let null = k.open("/dev/null", O_WRONLY, 0).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"abc").unwrap();
        assert_eq!(splice(k, reader, null, 10, 0), Ok(3));
        let zero = k.open("/dev/zero", 0, 0).unwrap();
        assert_eq!(splice(k, zero, writer, 100, 0), Ok(100));
        assert_eq!(k.read_some(reader, 200).unwrap(), [0; 100]);
    }
    [tee] copies_without_taking(k) {
        let ((r1, w1), (r2, w2)) = (k.pipe2(0).unwrap(), k.pipe2(0).unwrap());
        k.write(w1, b"twice").unwrap();
        assert_eq!(call!(k, TEE, r1, w2, 100, 0), Ok(5));
        assert_eq!((k.read_some(r1, 9).unwrap(), k.read_some(r2, 9).unwrap()), (b"twice".to_vec(), b"twice".to_vec()));
    }
    [tee] errors(k) {
        let ((r1, w1), (r2, w2)) = (k.pipe2(O_NONBLOCK).unwrap(), k.pipe2(0).unwrap());
        let file = k.file("f", b"x");
        fails(call!(k, TEE, r1, w1, 1, 0), Errno::EINVAL);
        fails(call!(k, TEE, file, w2, 1, 0), Errno::EINVAL);
        fails(call!(k, TEE, r1, file, 1, 0), Errno::EINVAL);
        fails(call!(k, TEE, r1, r2, 1, 0), Errno::EBADF);
        fails(call!(k, TEE, r1, w2, 1, 16), Errno::EINVAL);
        fails(call!(k, TEE, r1, w2, 1, SPLICE_F_NONBLOCK), Errno::EAGAIN);
        assert_eq!(call!(k, TEE, r1, w2, 0, 0), Ok(0));
        k.close(w1).unwrap();
        assert_eq!(call!(k, TEE, r1, w2, 1, 0), Ok(0));
    }
    [vmsplice] memory_into_a_pipe(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let (mut a, mut b) = (*b"one", *b"two");
        assert_eq!(call!(k, VMSPLICE, writer, vector(&mut [&mut a, &mut b]).as_slice(), 2, 0), Ok(6));
        assert_eq!(k.read_some(reader, 9).unwrap(), b"onetwo");
    }
    [vmsplice] pipe_into_memory(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"abcdef").unwrap();
        let (mut a, mut b) = ([0; 2], [0; 10]);
        assert_eq!(call!(k, VMSPLICE, reader, vector(&mut [&mut a, &mut b]).as_slice(), 2, 0), Ok(6));
        assert_eq!((&a, &b[..4]), (b"ab", b"cdef".as_slice()));
    }
    [vmsplice] vmsplice_errors(k) {
        let (_reader, writer) = k.pipe2(O_NONBLOCK).unwrap();
        let mut byte = [0];
        let iov = vector(&mut [&mut byte]);
        fails(call!(k, VMSPLICE, k.file("f", b""), iov.as_slice(), 1, 0), Errno::EBADF);
        fails(call!(k, VMSPLICE, 999, iov.as_slice(), 1, 0), Errno::EBADF);
        fails(call!(k, VMSPLICE, writer, iov.as_slice(), 1, 16), Errno::EINVAL);
        fails(call!(k, VMSPLICE, writer, Arg::Bad, 1, 0), Errno::EFAULT);
        fails(call!(k, VMSPLICE, writer, iov.as_slice(), 1025, 0), Errno::EINVAL);
        assert_eq!(call!(k, VMSPLICE, writer, Arg::Null, 0, 0), Ok(0));
        k.write(writer, &[0; 65536]).unwrap();
        fails(call!(k, VMSPLICE, writer, iov.as_slice(), 1, SPLICE_F_NONBLOCK), Errno::EAGAIN);
    }
}
