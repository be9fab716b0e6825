//! One buffer: `read(2)`, `write(2)`, `pread(2)`, `pwrite(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_APPEND, O_DIRECTORY, O_NONBLOCK, O_RDWR, O_WRONLY};
use chitin_abi::signal::{SIG_IGN, SIGXFSZ};

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{apart, interrupted, limit, restarted, text};

tests! { "readwrite", "read(2)";
    [read] behind_the_end_is_nothing(k) {
        let fd = k.file("f", b"abc");
        k.lseek(fd, 100, 0).unwrap();
        assert_eq!(k.read(fd, &mut [0; 5]), Ok(0));
        assert_eq!(k.lseek(fd, 0, 1), Ok(100));
    }
    [pread64] any_offset(k) {
        let fd = k.file("f", b"0123456789");
        let mut buffer = [0; 4];
        for (offset, expected) in [(0, 4), (6, 4), (8, 2), (10, 0), (1 << 40, 0)] { assert_eq!(k.pread(fd, &mut buffer, offset), Ok(expected)); }
    }
    [pread64, pwrite64] offsets_that_cannot_be(k) {
        let fd = k.file("f", b"");
        for offset in [-1, i64::MIN] {
            fails(k.pread(fd, &mut [0], offset), Errno::EINVAL);
            fails(k.pwrite(fd, b"x", offset), Errno::EINVAL);
        }
        fails(k.pwrite(fd, b"x", i64::MAX), Errno::EINVAL);
    }
    [read, write] counts_beyond_the_address_space(k) {
        let fd = k.file("f", b"");
        fails(call!(k, READ, fd, Arg::Bad, -1), Errno::EFAULT);
        fails(call!(k, WRITE, fd, Arg::Bad, i64::MIN), Errno::EFAULT);
    }
    [read] end_of_the_file_is_found_before_a_bad_buffer(k) {
        let fd = k.file("f", b"");
        assert_eq!(call!(k, READ, fd, Arg::Null, 10), Ok(0));
    }
    [write] half_mapped_buffer_writes_its_head(k) {
        let fd = k.file("f", b"");
        match call!(k, WRITE, fd, Arg::Edge(100), 200) {
            Ok(count) => assert_eq!((count, k.fstat(fd).unwrap().st_size), (100, 100)),
            Err(errno) => assert_eq!(errno, Errno::EFAULT),
        }
    }
    [pread64, pwrite64] half_mapped_buffers(k) {
        let fd = k.file("f", &[1; 50]);
        assert_eq!(call!(k, PREAD64, fd, Arg::Edge(20), 50, 0), Ok(20));
        fails(call!(k, PREAD64, fd, Arg::Bad, 50, 0), Errno::EFAULT);
        fails(call!(k, PWRITE64, fd, Arg::Bad, 50, 0), Errno::EFAULT);
    }
    [read, write] rights_of_descriptors(k) {
        k.file("f", b"x");
        let (reader, writer) = (k.open("f", 0, 0).unwrap(), k.open("f", O_WRONLY, 0).unwrap());
        fails(k.write(reader, b"y"), Errno::EBADF);
        fails(k.pwrite(reader, b"y", 0), Errno::EBADF);
        fails(k.read(writer, &mut [0]), Errno::EBADF);
        fails(k.pread(writer, &mut [0], 0), Errno::EBADF);
        fails(call!(k, WRITE, reader, Arg::Bad, 0), Errno::EBADF);
    }
    [write] directories_cannot_be_written(k) {
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        fails(k.write(fd, b"x"), Errno::EBADF);
        fails(k.pread(fd, &mut [0], 0), Errno::EISDIR);
        fails(k.read(fd, &mut []), Errno::EISDIR);
    }
    [write] size_limit_cuts_then_signals(k) {
        let fd = k.file("f", b"");
        k.set_action(SIGXFSZ, SIG_IGN).unwrap();
        limit(k, 1, 10);
        assert_eq!(k.write(fd, &[1; 20]), Ok(10));
        fails(k.write(fd, &[1; 20]), Errno::EFBIG);
        assert_eq!(k.write(fd, b""), Ok(0));
        assert_eq!(k.pwrite(fd, b"xy", 2), Ok(2));
    }
    [write] size_limit_kills_by_default(k) {
        let fd = k.file("f", b"");
        let child = crate::suite::Processes::child(&k, || { limit(k, 1, 0); let _ = k.write(fd, b"x"); 0 });
        assert_eq!(crate::suite::Processes::status(&k, child) & 0x7f, 25);
    }
    [write] append_puts_the_position_at_the_end(k) {
        k.file("f", b"12345");
        let fd = k.open("f", O_RDWR | O_APPEND, 0).unwrap();
        assert_eq!(k.read_some(fd, 2).unwrap(), b"12");
        k.write(fd, b"6").unwrap();
        assert_eq!(k.lseek(fd, 0, 1), Ok(6));
    }
    [write] zero_bytes_do_not_extend(k) {
        let fd = k.file("f", b"");
        k.lseek(fd, 100, 0).unwrap();
        assert_eq!((k.write(fd, b""), k.fstat(fd).unwrap().st_size), (Ok(0), 0));
    }
    [read, write] large_transfers_are_whole(k) {
        let fd = k.file("f", b"");
        let data: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        assert_eq!(k.write(fd, &data), Ok(data.len()));
        k.lseek(fd, 0, 0).unwrap();
        assert_eq!(k.read_some(fd, 4_000_000).unwrap(), data);
    }
    [read, write] threads_share_a_position_without_losing_bytes(k) {
        let fd = k.file("f", b"");
        std::thread::scope(|scope| {
            for byte in [b'a', b'b', b'c'] { scope.spawn(move || for _ in 0..200 { k.write(fd, &[byte; 7]).unwrap(); }); }
        });
        let content = k.content("f");
        assert_eq!(content.len(), 4200);
        assert!(content.chunks(7).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
    }
    [read, fork] parent_and_child_share_the_position(k) {
        let fd = k.file("f", b"0123456789");
        apart(k, || assert_eq!(k.read_some(fd, 4).unwrap(), b"0123"));
        assert_eq!(k.read_some(fd, 4).unwrap(), b"4567");
    }
    [read] signals_interrupt_a_pipe(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        interrupted(k, || k.read(reader, &mut [0]));
    }
    [read] pipe_goes_on_after_a_restarting_handler(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(restarted(k, || { k.write(writer, b"x").unwrap(); }, || k.read(reader, &mut [0])), 1);
    }
    [write] full_pipe_is_interrupted_with_what_was_written(k) {
        let (_reader, writer) = k.pipe2(0).unwrap();
        let written = crate::tests::shared::alarmed(k, 0, || k.write(writer, &vec![0; 100_000])).unwrap();
        assert_eq!(written, 65536);
        interrupted(k, || k.write(writer, b"x"));
    }
    [read] non_blocking_flag_means_nothing_for_files(k) {
        k.file("f", b"x");
        let fd = k.open("f", O_NONBLOCK, 0).unwrap();
        assert_eq!((k.read(fd, &mut [0]), k.read(fd, &mut [0])), (Ok(1), Ok(0)));
    }
    [read, unlink] proc_counts_bytes(k) {
        let fd = k.file("f", &[0; 1000]);
        k.read_some(fd, 1000).unwrap();
        let io = text(k, "/proc/self/io");
        let value = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap();
        assert!(value("rchar:") >= 1000 && value("wchar:") >= 1000 && value("syscr:") >= 1, "{io}");
    }
    [readahead] of_files_only(k) {
        let fd = k.file("f", &[0; 1000]);
        call!(k, READAHEAD, fd, 0_u64, 1000).unwrap();
        fails(call!(k, READAHEAD, 999, 0_u64, 1000), Errno::EBADF);
        fails(call!(k, READAHEAD, k.open("f", O_WRONLY, 0).unwrap(), 0_u64, 1000), Errno::EBADF);
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(call!(k, READAHEAD, reader, 0_u64, 1000), Errno::EINVAL);
    }
    [fadvise64] advice(k) {
        let fd = k.file("f", &[0; 1000]);
        for advice in 0..6 { call!(k, FADVISE64, fd, 0, 0, advice).unwrap(); }
        fails(call!(k, FADVISE64, fd, 0, 0, 6), Errno::EINVAL);
        fails(call!(k, FADVISE64, fd, 0, -1, 0), Errno::EINVAL);
        fails(call!(k, FADVISE64, 999, 0, 0, 0), Errno::EBADF);
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(call!(k, FADVISE64, reader, 0, 0, 0), Errno::ESPIPE);
    }
}
