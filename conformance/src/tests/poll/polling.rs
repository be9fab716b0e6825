//! `poll(2)` and `ppoll(2)`.

use chitin_abi::poll::{
    POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM, PollFd,
};
use chitin_abi::signal::{SIG_SETMASK, SIGUSR1};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{interrupted, limit, woken};

fn poll(k: &dyn Kernel, fds: &mut [(Fd, u16)], timeout: i32) -> Result<(u64, Vec<u16>)> {
    let mut entries: Vec<_> = fds
        .iter()
        .map(|(fd, events)| PollFd { fd: *fd, events: *events, revents: 0xffff })
        .collect();
    let length = entries.len();
    let count = call!(k, POLL, entries.as_mut_bytes(), length, timeout)?;
    Ok((count, entries.iter().map(|entry| entry.revents).collect()))
}

tests! { "polling", "poll(2)";
    [poll] files_are_always_ready(k) {
        let fd = k.file("f", b"");
        assert_eq!(poll(k, &mut [(fd, POLLIN | POLLOUT | POLLPRI)], -1).unwrap(), (1, vec![POLLIN | POLLOUT]));
        let directory = k.open(".", 0, 0).unwrap();
        assert_eq!(poll(k, &mut [(directory, POLLIN | POLLRDNORM | POLLWRNORM)], -1).unwrap().1, [POLLIN | POLLRDNORM | POLLWRNORM]);
    }
    [poll] closed_descriptors_are_invalid(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        assert_eq!(poll(k, &mut [(999, POLLIN), (reader, POLLIN)], 0).unwrap(), (1, vec![POLLNVAL, 0]));
    }
    [poll] negative_descriptors_are_left_out(k) {
        assert_eq!(poll(k, &mut [(-1, POLLIN), (-5, POLLIN)], 0).unwrap(), (0, vec![0, 0]));
    }
    [poll] several_at_once(k) {
        let ((r1, w1), (r2, w2)) = (k.pipe2(0).unwrap(), k.pipe2(0).unwrap());
        k.write(w1, b"x").unwrap();
        k.close(w2).unwrap();
        assert_eq!(poll(k, &mut [(r1, POLLIN), (r2, POLLIN), (w1, POLLOUT)], 0).unwrap(), (3, vec![POLLIN, POLLHUP, POLLOUT]));
    }
    [poll] same_descriptor_twice(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"x").unwrap();
        assert_eq!(poll(k, &mut [(reader, POLLIN), (reader, POLLOUT)], 0).unwrap(), (1, vec![POLLIN, 0]));
    }
    [poll] errors_are_told_unasked(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(reader).unwrap();
        assert_eq!(poll(k, &mut [(writer, 0)], 0).unwrap(), (1, vec![POLLERR]));
    }
    [poll] times(k) {
        assert_eq!(call!(k, POLL, Arg::Null, 0, 20), Ok(0));
        assert_eq!(call!(k, POLL, Arg::Null, 0, 0), Ok(0));
    }
    [poll] arguments(k) {
        fails(call!(k, POLL, Arg::Bad, 1, 0), Errno::EFAULT);
        fails(call!(k, POLL, Arg::Edge(8), 2, 0), Errno::EFAULT);
        limit(k, 7, 10);
        fails(call!(k, POLL, &mut [0_u8; 88], 11, 0), Errno::EINVAL);
    }
    [poll] waiting(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(woken(k, || { k.write(writer, b"x").unwrap(); }, || poll(k, &mut [(reader, POLLIN)], -1)).unwrap().0, 1);
        k.read(reader, &mut [0]).unwrap();
        interrupted(k, || poll(k, &mut [(reader, POLLIN)], -1));
    }
    [poll] end_of_a_writer_wakes(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| poll(k, &mut [(reader, POLLIN)], 5000).unwrap());
            k.sleep_ms(30);
            k.close(writer).unwrap();
            assert_eq!(waiting.join().unwrap(), (1, vec![POLLHUP]));
        });
    }
    [ppoll] masks_and_times(k) {
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(SIG_SETMASK, 1 << (SIGUSR1 - 1)).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        assert_eq!(call!(k, PPOLL, Arg::Null, 0, &mut [0_u8; 16], Arg::Null, 8), Ok(0));
        assert_eq!(k.caught(SIGUSR1).0, 0);
        let mut time = [5_i64, 0];
        fails(call!(k, PPOLL, Arg::Null, 0, time.as_mut_bytes(), &[0_u8; 8], 8), Errno::EINTR);
        assert!(k.caught(SIGUSR1).0 == 1 && time[0] <= 5);
    }
    [ppoll] time_left_is_written(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"x").unwrap();
        let mut fds = [PollFd { fd: reader, events: POLLIN, revents: 0 }];
        let mut time = [100_i64, 0];
        assert_eq!(call!(k, PPOLL, fds.as_mut_bytes(), 1, time.as_mut_bytes(), Arg::Null, 8), Ok(1));
        assert!((50..100).contains(&time[0]) || time == [100, 0], "{time:?}");
    }
    [ppoll] errors_of_ppoll(k) {
        for mut time in [[0_i64, -1], [0, 1_000_000_000], [-1, 0]] { fails(call!(k, PPOLL, Arg::Null, 0, time.as_mut_bytes(), Arg::Null, 8), Errno::EINVAL); }
        fails(call!(k, PPOLL, Arg::Null, 0, Arg::Bad, Arg::Null, 8), Errno::EFAULT);
        fails(call!(k, PPOLL, Arg::Null, 0, &mut [0_u8; 16], Arg::Bad, 8), Errno::EFAULT);
        fails(call!(k, PPOLL, Arg::Null, 0, &mut [0_u8; 16], &[0_u8; 8], 4), Errno::EINVAL);
    }
}
