//! Waiting for several descriptors: `poll(2)`, `select(2)`.

use chitin_abi::Errno;
use chitin_abi::poll::{POLLIN, POLLNVAL, POLLOUT, PollFd};

use super::support::when_asleep;
use crate::call;
use crate::suite::{Arg, Calls, Files, Processes, fails, tests};

fn bits(fds: &[i32]) -> [u8; 128] {
    let mut set = [0; 128];
    for fd in fds {
        set[*fd as usize / 8] |= 1 << (fd % 8);
    }
    set
}

tests! { "select", "poll(2)";
    [poll] closed_descriptor_is_invalid(k) {
        assert_eq!(k.ready(999, POLLIN), POLLNVAL);
        let mut fds = [PollFd { fd: -5, events: POLLIN, revents: 9 }];
        assert_eq!((k.poll(&mut fds, 0), fds[0].revents), (Ok(0), 0));
    }
    [poll] regular_files_are_always_ready(k) {
        let fd = k.file("f", b"");
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
    }
    [poll] counts_the_ready_ones(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let mut fds = [(reader, POLLIN), (writer, POLLOUT), (999, 0)].map(|(fd, events)| PollFd { fd, events, revents: 0 });
        assert_eq!(k.poll(&mut fds, -1), Ok(2));
        assert_eq!(fds.map(|entry| entry.revents), [0, POLLOUT, POLLNVAL]);
    }
    [poll] errors_of_poll(k) {
        fails(call!(k, POLL, Arg::Bad, 1, 0), Errno::EFAULT);
        fails(call!(k, POLL, Arg::Null, 1 << 30, 0), Errno::EINVAL);
        assert_eq!(call!(k, POLL, Arg::Null, 0, 10), Ok(0));
    }
    [ppoll] timeout_is_checked_and_passes(k) {
        let mut time = [0_u8; 16];
        time[8..].copy_from_slice(&1_000_000_000_i64.to_ne_bytes());
        fails(call!(k, PPOLL, Arg::Null, 0, &time, Arg::Null, 8), Errno::EINVAL);
        time[8..].copy_from_slice(&10_000_000_i64.to_ne_bytes());
        assert_eq!(call!(k, PPOLL, Arg::Null, 0, &mut time, Arg::Null, 8), Ok(0));
    }
    [select] sets_are_replaced_by_what_is_ready(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let (mut read, mut write) = (bits(&[reader]), bits(&[writer]));
        assert_eq!(call!(k, SELECT, writer + 1, &mut read, &mut write, Arg::Null, Arg::Null), Ok(1));
        assert_eq!((read, write), (bits(&[]), bits(&[writer])));
        k.write(writer, b"x").unwrap();
        read = bits(&[reader]);
        assert_eq!(call!(k, SELECT, writer + 1, &mut read, &mut write, Arg::Null, Arg::Null), Ok(2));
    }
    [select] end_of_file_is_readable(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(writer).unwrap();
        let mut read = bits(&[reader]);
        assert_eq!(call!(k, SELECT, reader + 1, &mut read, Arg::Null, Arg::Null, Arg::Null), Ok(1));
    }
    [select] errors_of_select(k) {
        fails(call!(k, SELECT, -1, Arg::Null, Arg::Null, Arg::Null, Arg::Null), Errno::EINVAL);
        fails(call!(k, SELECT, 64, Arg::Bad, Arg::Null, Arg::Null, Arg::Null), Errno::EFAULT);
        let mut closed = bits(&[60]);
        fails(call!(k, SELECT, 61, &mut closed, Arg::Null, Arg::Null, &mut [0_u8; 16]), Errno::EBADF);
        let mut negative = [0xff_u8; 16];
        fails(call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, &mut negative), Errno::EINVAL);
    }
    [select] timeout_passes_and_is_counted_down(k) {
        let mut time = [0_u8; 16];
        time[8..10].copy_from_slice(&20_000_u16.to_ne_bytes());
        assert_eq!(call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, &mut time), Ok(0));
        assert_eq!(time, [0; 16]);
    }
    [poll] woken_by_a_child(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = when_asleep(k, || { k.write(writer, b"x").unwrap(); 0 });
        let mut fds = [PollFd { fd: reader, events: POLLIN, revents: 0 }];
        assert_eq!((k.poll(&mut fds, 5000), fds[0].revents), (Ok(1), POLLIN));
        assert_eq!(k.status(child), 0);
    }
}
