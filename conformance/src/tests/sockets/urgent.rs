//! Urgent data: `MSG_OOB` on unix sockets.

use chitin_abi::Errno;
use chitin_abi::net::{
    MSG_DONTWAIT, MSG_OOB, MSG_PEEK, SO_OOBINLINE, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM,
};
use chitin_abi::poll::{POLLIN, POLLPRI};

use super::{pair, receive, send, set_option};
use crate::call;
use crate::suite::{Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::{int, woken};

fn at_mark(k: &dyn Kernel, fd: Fd) -> i32 {
    let mut mark = [0_u8; 4];
    call!(k, IOCTL, fd, 0x8905_u32, &mut mark).unwrap();
    int(&mark, 0)
}

tests! { "unixurgent", "unix(7)";
    [sendto, recvfrom] last_byte_is_urgent(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        assert_eq!(send(k, a, b"hello", MSG_OOB), Ok(5));
        assert_eq!(receive(k, b, 9, MSG_OOB).unwrap(), b"o");
        assert_eq!(receive(k, b, 9, MSG_DONTWAIT).unwrap(), b"hell");
    }
    [recvfrom] reading_stops_at_the_mark(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"one!", MSG_OOB).unwrap();
        send(k, a, b"two", 0).unwrap();
        assert_eq!(receive(k, b, 9, MSG_DONTWAIT).unwrap(), b"one");
        assert_eq!(receive(k, b, 9, MSG_DONTWAIT).unwrap(), b"two");
        fails(receive(k, b, 9, MSG_OOB), Errno::EINVAL);
    }
    [recvfrom] nothing_urgent(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        fails(receive(k, b, 1, MSG_OOB), Errno::EINVAL);
        send(k, a, b"x", 0).unwrap();
        fails(receive(k, b, 1, MSG_OOB), Errno::EINVAL);
    }
    [recvfrom] only_once(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"x", MSG_OOB).unwrap();
        assert_eq!(receive(k, b, 1, MSG_OOB | MSG_PEEK).unwrap(), b"x");
        assert_eq!(receive(k, b, 1, MSG_OOB).unwrap(), b"x");
        fails(receive(k, b, 1, MSG_OOB), Errno::EINVAL);
        fails(receive(k, b, 1, MSG_DONTWAIT), Errno::EAGAIN);
    }
    [sendto] later_one_replaces_the_mark(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"1", MSG_OOB).unwrap();
        send(k, a, b"2", MSG_OOB).unwrap();
        assert_eq!(receive(k, b, 9, MSG_OOB).unwrap(), b"2");
        assert_eq!(receive(k, b, 9, MSG_DONTWAIT).unwrap(), b"1");
    }
    [setsockopt] inline(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        set_option(k, b, SO_OOBINLINE, 1).unwrap();
        send(k, a, b"one!", MSG_OOB).unwrap();
        send(k, a, b"two", 0).unwrap();
        fails(receive(k, b, 9, MSG_OOB), Errno::EINVAL);
        assert_eq!(receive(k, b, 9, MSG_DONTWAIT).unwrap(), b"one");
        assert_eq!(receive(k, b, 9, MSG_DONTWAIT).unwrap(), b"!two");
    }
    [ioctl] mark(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        assert_eq!(at_mark(k, b), 0);
        send(k, a, b"a!", MSG_OOB).unwrap();
        assert_eq!(at_mark(k, b), 0);
        receive(k, b, 1, 0).unwrap();
        assert_eq!(at_mark(k, b), 1);
    }
    [poll] urgent_data_is_a_condition_of_its_own(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        assert_eq!(k.ready(b, POLLPRI | POLLIN), 0);
        send(k, a, b"x", MSG_OOB).unwrap();
        assert_eq!(k.ready(b, POLLPRI) & POLLPRI, POLLPRI);
        receive(k, b, 1, MSG_OOB).unwrap();
        assert_eq!(k.ready(b, POLLPRI) & POLLPRI, 0);
    }
    [poll] waiting_for_it(k) {
        use zerocopy::IntoBytes;
        let (a, b) = pair(k, SOCK_STREAM);
        let mut fds = [chitin_abi::poll::PollFd { fd: b, events: POLLPRI, revents: 0 }];
        assert_eq!(woken(k, || { send(k, a, b"x", MSG_OOB).unwrap(); }, || call!(k, POLL, fds.as_mut_bytes(), 1, 5000)), Ok(1));
        assert_eq!(fds[0].revents & POLLPRI, POLLPRI);
    }
    [sendto, recvfrom] streams_only(k) {
        for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
            let (a, b) = pair(k, kind);
            fails(send(k, a, b"x", MSG_OOB), Errno::EOPNOTSUPP);
            fails(receive(k, b, 1, MSG_OOB), Errno::EOPNOTSUPP);
        }
    }
    [sendto] empty_messages(k) { fails(send(k, pair(k, SOCK_STREAM).0, b"", MSG_OOB), Errno::EOPNOTSUPP); }
}
