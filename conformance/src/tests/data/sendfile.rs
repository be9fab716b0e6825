//! `sendfile(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_APPEND, O_DIRECTORY, O_NONBLOCK, O_RDWR, O_WRONLY};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{long, woken};

tests! { "sendfile", "sendfile(2)";
    [sendfile] from_the_position(k) {
        let (from, to) = (k.file("f", b"0123456789"), k.file("g", b""));
        k.lseek(from, 3, 0).unwrap();
        assert_eq!(call!(k, SENDFILE, to, from, Arg::Null, 4), Ok(4));
        assert_eq!((k.content("g"), k.lseek(from, 0, 1), k.lseek(to, 0, 1)), (b"3456".to_vec(), Ok(7), Ok(4)));
    }
    [sendfile] from_an_offset(k) {
        let (from, to) = (k.file("f", b"0123456789"), k.file("g", b""));
        let mut offset = 5_u64.to_ne_bytes();
        assert_eq!(call!(k, SENDFILE, to, from, &mut offset, 100), Ok(5));
        assert_eq!((long(&offset, 0), k.lseek(from, 0, 1)), (10, Ok(0)));
        assert_eq!(call!(k, SENDFILE, to, from, &mut offset, 100), Ok(0));
    }
    [sendfile] into_pipes_and_sockets(k) {
        let from = k.file("f", b"hello");
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(call!(k, SENDFILE, writer, from, Arg::Null, 5), Ok(5));
        assert_eq!(k.read_some(reader, 9).unwrap(), b"hello");
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
        k.lseek(from, 0, 0).unwrap();
        assert_eq!(call!(k, SENDFILE, fds[0], from, Arg::Null, 5), Ok(5));
        assert_eq!(k.read_some(fds[1], 9).unwrap(), b"hello");
    }
    [sendfile] rights(k) {
        let (from, to) = (k.file("f", b"x"), k.file("g", b""));
        fails(call!(k, SENDFILE, k.open("g", 0, 0).unwrap(), from, Arg::Null, 1), Errno::EBADF);
        fails(call!(k, SENDFILE, to, k.open("f", O_WRONLY, 0).unwrap(), Arg::Null, 1), Errno::EBADF);
        fails(call!(k, SENDFILE, 999, from, Arg::Null, 1), Errno::EBADF);
        fails(call!(k, SENDFILE, to, 999, Arg::Null, 1), Errno::EBADF);
    }
    [sendfile] sources_that_cannot_be(k) {
        let to = k.file("g", b"");
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
        fails(call!(k, SENDFILE, to, k.open(".", O_DIRECTORY, 0).unwrap(), Arg::Null, 1), Errno::EINVAL);
        let (reader, writer) = k.pipe2(0).unwrap();
        let mut offset = [0_u8; 8];
        k.write(writer, b"x").unwrap();
        fails(call!(k, SENDFILE, to, reader, &mut offset, 1), Errno::ESPIPE);
    }
    [sendfile] offsets(k) {
        let (from, to) = (k.file("f", b"abc"), k.file("g", b""));
        let mut offset = (-1_i64).to_ne_bytes();
        fails(call!(k, SENDFILE, to, from, &mut offset, 1), Errno::EINVAL);
        fails(call!(k, SENDFILE, to, from, Arg::Bad, 1), Errno::EFAULT);
        fails(call!(k, SENDFILE, to, from, Arg::Edge(4), 1), Errno::EFAULT);
    }
    [sendfile] appending_targets_are_refused(k) {
        let from = k.file("f", b"abc");
        k.file("g", b"");
        let to = k.open("g", O_RDWR | O_APPEND, 0).unwrap();
        fails(call!(k, SENDFILE, to, from, Arg::Null, 3), Errno::EINVAL);
    }
    [sendfile] counts(k) {
        let (from, to) = (k.file("f", b"abc"), k.file("g", b""));
        assert_eq!(call!(k, SENDFILE, to, from, Arg::Null, 0), Ok(0));
        fails(call!(k, SENDFILE, to, from, Arg::Null, -1), Errno::EINVAL);
    }
    [sendfile] full_pipe_takes_what_fits(k) {
        let from = k.file("f", &vec![7; 200_000]);
        let (_reader, writer) = k.pipe2(O_NONBLOCK).unwrap();
        let sent = call!(k, SENDFILE, writer, from, Arg::Null, 200_000).unwrap();
        assert!(sent > 0 && sent <= 65536, "{sent}");
        assert_eq!(k.lseek(from, 0, 1), Ok(sent as i64));
        fails(call!(k, SENDFILE, writer, from, Arg::Null, 10), Errno::EAGAIN);
    }
    [sendfile] waits_for_a_reader(k) {
        let from = k.file("f", &vec![7; 100_000]);
        let (reader, writer) = k.pipe2(0).unwrap();
        let drain = || { let mut all = 0; while all < 100_000 { all += k.read_some(reader, 65536).unwrap().len(); } };
        woken(k, drain, || { let mut sent = 0; while sent < 100_000 { sent += call!(k, SENDFILE, writer, from, Arg::Null, 100_000 - sent).unwrap(); } });
        assert_eq!(k.lseek(from, 0, 1), Ok(100_000));
    }
    [sendfile] file_into_itself_behind(k) {
        let (from, to) = (k.file("f", b"abcdef"), k.open("f", O_RDWR, 0).unwrap());
        k.lseek(to, 6, 0).unwrap();
        assert_eq!(call!(k, SENDFILE, to, from, Arg::Null, 3), Ok(3));
        assert_eq!(k.content("f"), b"abcdefabc");
    }
    [sendfile] proc_files_can_be_sent(k) {
        let (from, to) = (k.open("/proc/version", 0, 0).unwrap(), k.file("g", b""));
        assert!(call!(k, SENDFILE, to, from, Arg::Null, 100).unwrap() > 10);
        assert!(k.content("g").starts_with(b"Linux"));
    }
    [sendfile] broken_pipe(k) {
        let from = k.file("f", b"abc");
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(reader).unwrap();
        k.set_action(13, 1).unwrap();
        fails(call!(k, SENDFILE, writer, from, Arg::Null, 3), Errno::EPIPE);
    }
}
