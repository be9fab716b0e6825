//! Flags of one operation: `preadv2(2)`, `pwritev2(2)`.

use chitin_abi::fs::{O_APPEND, O_NONBLOCK, O_RDWR};
use chitin_abi::signal::SIGPIPE;
use chitin_abi::uio::{
    RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_HIPRI, RWF_NOAPPEND, RWF_NOSIGNAL, RWF_NOWAIT, RWF_SYNC,
};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{apart, vector};

fn read(k: &dyn Kernel, fd: Fd, size: usize, offset: i64, flags: u32) -> Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    let iov = vector(&mut [&mut buffer]);
    let count = call!(k, PREADV2, fd, iov.as_slice(), 1, offset, 0, flags)? as usize;
    buffer.truncate(count);
    Ok(buffer)
}

fn write(k: &dyn Kernel, fd: Fd, bytes: &[u8], offset: i64, flags: u32) -> Result<u64> {
    let mut bytes = bytes.to_vec();
    call!(k, PWRITEV2, fd, vector(&mut [&mut bytes]).as_slice(), 1, offset, 0, flags)
}

tests! { "rwf", "preadv2(2)";
    [preadv2] minus_one_uses_the_position(k) {
        let fd = k.file("f", b"0123456789");
        assert_eq!(read(k, fd, 3, -1, 0).unwrap(), b"012");
        assert_eq!(read(k, fd, 3, -1, 0).unwrap(), b"345");
        assert_eq!(k.lseek(fd, 0, 1), Ok(6));
    }
    [preadv2] other_negative_offsets(k) { fails(read(k, k.file("f", b"x"), 1, -2, 0), Errno::EINVAL); }
    [preadv2, pwritev2] unknown_flags(k) {
        let fd = k.file("f", b"x");
        for flags in [0x400, 0x1000, 0x8000_0000] {
            fails(read(k, fd, 1, 0, flags), Errno::EOPNOTSUPP);
            fails(write(k, fd, b"y", 0, flags), Errno::EOPNOTSUPP);
        }
    }
    [pwritev2] synchronous_writes(k) {
        let fd = k.file("f", b"");
        for flags in [RWF_SYNC, RWF_DSYNC, RWF_SYNC | RWF_DSYNC] { assert_eq!(write(k, fd, b"ab", 0, flags), Ok(2)); }
        assert_eq!(k.content("f"), b"ab");
    }
    [pwritev2] append_ignores_the_offset_and_keeps_the_position(k) {
        let fd = k.file("f", b"abc");
        assert_eq!(write(k, fd, b"d", 0, RWF_APPEND), Ok(1));
        assert_eq!((k.content("f"), k.lseek(fd, 0, 1)), (b"abcd".to_vec(), Ok(0)));
    }
    [pwritev2] append_at_the_position_moves_it(k) {
        let fd = k.file("f", b"abc");
        assert_eq!(write(k, fd, b"d", -1, RWF_APPEND), Ok(1));
        assert_eq!((k.content("f"), k.lseek(fd, 0, 1)), (b"abcd".to_vec(), Ok(4)));
    }
    [pwritev2] no_append_of_an_appending_file(k) {
        k.file("f", b"abcd");
        let fd = k.open("f", O_RDWR | O_APPEND, 0).unwrap();
        assert_eq!(write(k, fd, b"X", 1, RWF_NOAPPEND), Ok(1));
        assert_eq!(k.content("f"), b"aXcd");
        fails(write(k, fd, b"X", 1, RWF_NOAPPEND | RWF_APPEND), Errno::EINVAL);
    }
    [preadv2] append_means_nothing_for_reading(k) {
        let fd = k.file("f", b"abc");
        assert_eq!(read(k, fd, 3, 0, RWF_APPEND).unwrap(), b"abc");
    }
    [preadv2] no_wait_on_an_empty_pipe(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(read(k, reader, 1, -1, RWF_NOWAIT), Errno::EAGAIN);
        k.write(writer, b"x").unwrap();
        assert_eq!(read(k, reader, 1, -1, RWF_NOWAIT).unwrap(), b"x");
    }
    [pwritev2] no_wait_on_a_full_pipe(k) {
        let (_reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(k.write(writer, &[0; 65536]), Ok(65536));
        fails(write(k, writer, b"x", -1, RWF_NOWAIT), Errno::EAGAIN);
    }
    [preadv2] no_wait_of_what_is_cached(k) {
        let fd = k.file("f", b"abc");
        assert_eq!(read(k, fd, 3, 0, RWF_NOWAIT).unwrap(), b"abc");
    }
    [preadv2, pwritev2] high_priority_is_a_hint(k) {
        let fd = k.file("f", b"abc");
        assert_eq!(read(k, fd, 3, 0, RWF_HIPRI).unwrap(), b"abc");
        assert_eq!(write(k, fd, b"x", 0, RWF_HIPRI), Ok(1));
    }
    [pwritev2] atomic_writes_need_a_file_system_that_has_them(k) {
        let fd = k.file("f", b"abc");
        let (mut page, offset) = ([0_u8; 4096], 0);
        let result = call!(k, PWRITEV2, fd, vector(&mut [&mut page]).as_slice(), 1, offset, 0, RWF_ATOMIC);
        match result { Ok(_) => {} Err(errno) => assert!(errno == Errno::EOPNOTSUPP || errno == Errno::EINVAL, "{errno:?}") }
        fails(read(k, fd, 3, 0, RWF_ATOMIC), Errno::EOPNOTSUPP);
    }
    [pwritev2] no_signal_for_a_broken_pipe(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(reader).unwrap();
        k.catch(SIGPIPE, 0).unwrap();
        let result = write(k, writer, b"x", -1, RWF_NOSIGNAL);
        if result != Err(Errno::EOPNOTSUPP) {
            fails(result, Errno::EPIPE);
            assert_eq!(k.caught(SIGPIPE).0, 0);
        }
    }
    [preadv2, pwritev2] offsets_of_pipes(k) {
        let (reader, writer) = k.pipe2(O_NONBLOCK).unwrap();
        fails(read(k, reader, 1, 0, 0), Errno::ESPIPE);
        fails(write(k, writer, b"x", 0, 0), Errno::ESPIPE);
    }
    [preadv2] flags_of_one_call_are_not_kept(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(read(k, reader, 1, -1, RWF_NOWAIT), Errno::EAGAIN);
        assert_eq!(k.fcntl(reader, 3, 0).unwrap() as u32 & O_NONBLOCK, 0);
        apart(k, || {
            crate::tests::shared::interrupted(k, || read(k, reader, 1, -1, 0));
        });
    }
}
