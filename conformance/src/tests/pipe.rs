//! Pipes: `pipe(2)`, `pipe(7)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_GETFD, F_GETFL, F_GETPIPE_SZ, F_SETPIPE_SZ, O_CLOEXEC, O_DIRECT, O_NONBLOCK, O_WRONLY,
};
use chitin_abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT};
use chitin_abi::signal::{SIG_IGN, SIGPIPE};

use super::support::when_asleep;
use crate::call;
use crate::suite::{Arg, Calls, Processes, fails, tests};

tests! { "pipe", "pipe(7)";
    [pipe2] new_pipe_has_lowest_descriptors(k) {
        let lowest = k.dup(2).unwrap();
        k.close(lowest).unwrap();
        assert_eq!(k.pipe2(0), Ok((lowest, lowest + 1)));
    }
    [pipe2] unknown_flag_is_refused(k) { fails(k.pipe2(1), Errno::EINVAL); }
    [pipe2] bad_pointer_leaves_no_descriptor(k) {
        let lowest = k.dup(2).unwrap();
        k.close(lowest).unwrap();
        fails(call!(k, PIPE2, Arg::Bad, 0), Errno::EFAULT);
        fails(call!(k, PIPE2, Arg::Edge(4), 0), Errno::EFAULT);
        assert_eq!(k.dup(2), Ok(lowest));
    }
    [pipe2, fcntl] flags_reach_both_ends(k) {
        let (reader, writer) = k.pipe2(O_CLOEXEC | O_NONBLOCK).unwrap();
        for fd in [reader, writer] {
            assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(1));
            assert_ne!(k.fcntl(fd, F_GETFL, 0).unwrap() & u64::from(O_NONBLOCK), 0);
        }
        assert_eq!(k.fcntl(writer, F_GETFL, 0).unwrap() & 3, u64::from(O_WRONLY));
    }
    [read, write] ends_are_one_way(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(k.write(reader, b"x"), Errno::EBADF);
        fails(k.read(writer, &mut [0]), Errno::EBADF);
    }
    [read, write] bytes_come_in_order(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(k.write(writer, b"hello "), Ok(6));
        assert_eq!(k.write(writer, b"world"), Ok(5));
        assert_eq!(k.read_some(reader, 3).unwrap(), b"hel");
        assert_eq!(k.read_some(reader, 100).unwrap(), b"lo world");
    }
    [read] end_of_file_without_writers(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"rest").unwrap();
        k.close(writer).unwrap();
        assert_eq!(k.read_some(reader, 10).unwrap(), b"rest");
        assert_eq!(k.read_some(reader, 10).unwrap(), b"");
    }
    [read] empty_nonblocking_would_block(k) {
        let (reader, _writer) = k.pipe2(O_NONBLOCK).unwrap();
        fails(k.read(reader, &mut [0]), Errno::EAGAIN);
        assert_eq!(k.read(reader, &mut []), Ok(0));
    }
    [write] full_nonblocking_takes_what_fits(k) {
        let (_reader, writer) = k.pipe2(O_NONBLOCK).unwrap();
        let size = k.fcntl(writer, F_GETPIPE_SZ, 0).unwrap() as usize;
        assert_eq!(k.write(writer, &vec![1; size + 100]), Ok(size));
        fails(k.write(writer, b"x"), Errno::EAGAIN);
    }
    [write] small_write_is_all_or_nothing(k) {
        let (reader, writer) = k.pipe2(O_NONBLOCK).unwrap();
        let size = k.fcntl(writer, F_GETPIPE_SZ, 0).unwrap() as usize;
        k.write(writer, &vec![1; size]).unwrap();
        k.read_some(reader, 100).unwrap();
        fails(k.write(writer, &[2; 4096]), Errno::EAGAIN);
    }
    [write] without_readers_fails_and_signals(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(reader).unwrap();
        let child = k.child(|| { let _ = k.write(writer, b"x"); 0 });
        assert_eq!(k.status(child), 13);
        k.set_action(SIGPIPE, SIG_IGN).unwrap();
        fails(k.write(writer, b"x"), Errno::EPIPE);
    }
    [write, read] bad_buffers_fault(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(call!(k, WRITE, writer, Arg::Bad, 1), Errno::EFAULT);
        k.write(writer, b"abc").unwrap();
        fails(call!(k, READ, reader, Arg::Bad, 3), Errno::EFAULT);
    }
    [write] half_mapped_buffer_writes_its_head_or_faults(k) {
        let (reader, writer) = k.pipe2(O_NONBLOCK).unwrap();
        match call!(k, WRITE, writer, Arg::Edge(10), 20) {
            Ok(count) => assert_eq!(k.read_some(reader, 100).unwrap().len() as u64, count),
            Err(errno) => assert_eq!(errno, Errno::EFAULT),
        }
    }
    [poll] readiness_follows_content(k) {
        let (reader, writer) = k.pipe2(O_NONBLOCK).unwrap();
        assert_eq!(k.ready(reader, POLLIN), 0);
        assert_eq!(k.ready(writer, POLLOUT), POLLOUT);
        k.write(writer, b"x").unwrap();
        assert_eq!(k.ready(reader, POLLIN), POLLIN);
        k.write(writer, &vec![0; 1 << 16]).unwrap();
        assert_eq!(k.ready(writer, POLLOUT), 0);
    }
    [poll] hang_up_and_error(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"x").unwrap();
        k.close(writer).unwrap();
        assert_eq!(k.ready(reader, POLLIN), POLLIN | POLLHUP);
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(reader).unwrap();
        assert_eq!(k.ready(writer, POLLOUT), POLLOUT | POLLERR);
    }
    [fcntl] size_is_rounded_to_a_power_of_two_pages(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(k.fcntl(reader, F_GETPIPE_SZ, 0), Ok(65536));
        assert_eq!(k.fcntl(writer, F_SETPIPE_SZ, 1), Ok(4096));
        assert_eq!(k.fcntl(writer, F_SETPIPE_SZ, 4097), Ok(8192));
        assert_eq!(k.fcntl(reader, F_GETPIPE_SZ, 0), Ok(8192));
        k.write(writer, &[0; 8000]).unwrap();
        fails(k.fcntl(writer, F_SETPIPE_SZ, 4096), Errno::EBUSY);
    }
    [read, write] packets_keep_their_boundaries(k) {
        let (reader, writer) = k.pipe2(O_DIRECT).unwrap();
        k.write(writer, b"one").unwrap();
        k.write(writer, b"two").unwrap();
        assert_eq!(k.read_some(reader, 2).unwrap(), b"on");
        assert_eq!(k.read_some(reader, 100).unwrap(), b"two");
    }
    [lseek, pread64, pwrite64] positions_mean_nothing(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(k.lseek(reader, 0, 0), Errno::ESPIPE);
        fails(k.pread(reader, &mut [0], 0), Errno::ESPIPE);
        fails(k.pwrite(writer, b"x", 0), Errno::ESPIPE);
        fails(k.ftruncate(writer, 0), Errno::EINVAL);
    }
    [ioctl] fionread_counts_bytes(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"12345").unwrap();
        let mut count = [0; 4];
        call!(k, IOCTL, reader, 0x541b_u32, &mut count).unwrap();
        assert_eq!(i32::from_ne_bytes(count), 5);
    }
    [read] blocked_reader_gets_data_of_a_child(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = when_asleep(k, || i32::from(k.write(writer, b"late") != Ok(4)));
        assert_eq!(k.read_some(reader, 10).unwrap(), b"late");
        assert_eq!(k.status(child), 0);
    }
    [write] blocked_writer_goes_on_when_there_is_room(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| { k.close(reader).unwrap(); i32::from(k.write(writer, &vec![7; 200_000]) != Ok(200_000)) });
        k.close(writer).unwrap();
        let mut total = 0;
        loop {
            match k.read_some(reader, 5000).unwrap().len() { 0 => break, count => total += count }
        }
        assert_eq!(total, 200_000);
        assert_eq!(k.status(child), 0);
    }
}
