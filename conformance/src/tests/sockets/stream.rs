//! Connections: `SOCK_STREAM` and `SOCK_SEQPACKET`.

use chitin_abi::Errno;
use chitin_abi::fs::{F_GETFD, F_GETFL, O_NONBLOCK};
use chitin_abi::net::{
    MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, SOCK_CLOEXEC, SOCK_DGRAM,
    SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM,
};
use chitin_abi::poll::{POLLHUP, POLLIN, POLLOUT, POLLRDHUP};

use super::{accept, bind, connect, listener, pair, receive, send, socket};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Processes, fails, tests};
use crate::tests::shared::{apart, blocks, int, interrupted, restarted, woken};

tests! { "unixstream", "unix(7)";
    [socket] kinds(k) {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] { socket(k, kind); }
        fails(call!(k, SOCKET, 1, 99, 0), Errno::EINVAL);
        fails(call!(k, SOCKET, 1, SOCK_STREAM, 5), Errno::EPROTONOSUPPORT);
        fails(call!(k, SOCKET, 99, SOCK_STREAM, 0), Errno::EAFNOSUPPORT);
        fails(call!(k, SOCKET, 1, SOCK_STREAM | 0x100, 0), Errno::EINVAL);
    }
    [socket, socketpair, accept4] flags(k) {
        let fd = socket(k, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_eq!((k.fcntl(fd, F_GETFD, 0), k.fcntl(fd, F_GETFL, 0)), (Ok(1), Ok(u64::from(O_NONBLOCK | 2))));
        let (a, b) = pair(k, SOCK_STREAM | SOCK_CLOEXEC);
        assert_eq!((k.fcntl(a, F_GETFD, 0), k.fcntl(b, F_GETFD, 0)), (Ok(1), Ok(1)));
        let l = listener(k, SOCK_STREAM, "s", 5);
        connect(k, socket(k, SOCK_STREAM), "s").unwrap();
        let c = call!(k, ACCEPT4, l, Arg::Null, Arg::Null, SOCK_NONBLOCK | SOCK_CLOEXEC).unwrap() as Fd;
        assert_eq!((k.fcntl(c, F_GETFD, 0), k.fcntl(c, F_GETFL, 0).unwrap() as u32 & O_NONBLOCK), (Ok(1), O_NONBLOCK));
        fails(call!(k, ACCEPT4, l, Arg::Null, Arg::Null, 1), Errno::EINVAL);
    }
    [socketpair] errors(k) {
        fails(call!(k, SOCKETPAIR, 1, SOCK_STREAM, 0, Arg::Bad), Errno::EFAULT);
        fails(call!(k, SOCKETPAIR, 1, SOCK_STREAM, 0, Arg::Edge(4)), Errno::EFAULT);
        fails(call!(k, SOCKETPAIR, 2, SOCK_STREAM, 0, &mut [0_u8; 8]), Errno::EOPNOTSUPP);
        fails(call!(k, SOCKETPAIR, 1, SOCK_STREAM, 9, &mut [0_u8; 8]), Errno::EPROTONOSUPPORT);
    }
    [connect] nobody_there(k) {
        fails(connect(k, socket(k, SOCK_STREAM), "none"), Errno::ENOENT);
        let bound = socket(k, SOCK_STREAM);
        bind(k, bound, "s").unwrap();
        fails(connect(k, socket(k, SOCK_STREAM), "s"), Errno::ECONNREFUSED);
        k.close(bound).unwrap();
        fails(connect(k, socket(k, SOCK_STREAM), "s"), Errno::ECONNREFUSED);
        fails(connect(k, socket(k, SOCK_STREAM), "@nobody-listens"), Errno::ECONNREFUSED);
    }
    [connect] wrong_kinds(k) {
        listener(k, SOCK_STREAM, "s", 5);
        fails(connect(k, socket(k, SOCK_SEQPACKET), "s"), Errno::EPROTOTYPE);
        fails(connect(k, socket(k, SOCK_DGRAM), "s"), Errno::EPROTOTYPE);
    }
    [connect] twice(k) {
        let l = listener(k, SOCK_STREAM, "s", 5);
        let fd = socket(k, SOCK_STREAM);
        connect(k, fd, "s").unwrap();
        fails(connect(k, fd, "s"), Errno::EISCONN);
        fails(connect(k, l, "s"), Errno::EINVAL);
    }
    [connect, accept] data_waits_for_accept(k) {
        let l = listener(k, SOCK_STREAM, "s", 5);
        let fd = socket(k, SOCK_STREAM);
        connect(k, fd, "s").unwrap();
        k.write(fd, b"early").unwrap();
        assert_eq!(k.read_some(accept(k, l).unwrap(), 9).unwrap(), b"early");
    }
    [listen] errors_of_listen(k) {
        fails(call!(k, LISTEN, socket(k, SOCK_STREAM), 1), Errno::EINVAL);
        fails(call!(k, LISTEN, socket(k, SOCK_DGRAM), 1), Errno::EOPNOTSUPP);
        fails(call!(k, LISTEN, 0, 1), Errno::ENOTSOCK);
        fails(call!(k, LISTEN, 999, 1), Errno::EBADF);
        let (a, _b) = pair(k, SOCK_STREAM);
        fails(call!(k, LISTEN, a, 1), Errno::EINVAL);
    }
    [accept] errors_of_accept(k) {
        fails(accept(k, socket(k, SOCK_STREAM)), Errno::EINVAL);
        fails(accept(k, socket(k, SOCK_DGRAM)), Errno::EOPNOTSUPP);
        fails(accept(k, 0), Errno::ENOTSOCK);
        let l = listener(k, SOCK_STREAM | SOCK_NONBLOCK, "s", 5);
        fails(accept(k, l), Errno::EAGAIN);
        let (a, _b) = pair(k, SOCK_STREAM);
        fails(accept(k, a), Errno::EINVAL);
    }
    [accept] waiting(k) {
        let l = listener(k, SOCK_STREAM, "s", 5);
        let fd = woken(k, || { connect(k, socket(k, SOCK_STREAM), "s").unwrap(); }, || accept(k, l)).unwrap();
        assert_eq!(k.read_some(fd, 1).unwrap(), b"");
        interrupted(k, || accept(k, l));
        restarted(k, || { connect(k, socket(k, SOCK_STREAM), "s").unwrap(); }, || accept(k, l));
    }
    [accept] lengths_of_addresses(k) {
        let l = listener(k, SOCK_STREAM, "s", 5);
        connect(k, socket(k, SOCK_STREAM), "s").unwrap();
        let (mut address, mut length) = ([9_u8; 16], 16_u32.to_ne_bytes());
        call!(k, ACCEPT, l, &mut address, &mut length).unwrap();
        assert_eq!((int(&length, 0), address[..2].to_vec()), (2, vec![1, 0]));
        connect(k, socket(k, SOCK_STREAM), "s").unwrap();
        fails(call!(k, ACCEPT, l, &mut address, Arg::Bad), Errno::EFAULT);
    }
    [listen, connect] full_backlog(k) {
        listener(k, SOCK_STREAM, "s", 1);
        let connected = (0..10).map_while(|_| connect(k, socket(k, SOCK_STREAM | SOCK_NONBLOCK), "s").ok()).count();
        assert_eq!(connected, 2);
        fails(connect(k, socket(k, SOCK_STREAM | SOCK_NONBLOCK), "s"), Errno::EAGAIN);
        assert!(blocks(k, || { let _ = connect(k, socket(k, SOCK_STREAM), "s"); }));
    }
    [close] closed_listener_resets_who_waits(k) {
        let l = listener(k, SOCK_STREAM, "s", 5);
        let fd = socket(k, SOCK_STREAM);
        connect(k, fd, "s").unwrap();
        k.close(l).unwrap();
        fails(k.read(fd, &mut [0]), Errno::ECONNRESET);
    }
    [read, write] streams_have_no_boundaries(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        for part in [b"one".as_slice(), b"two", b"three"] { k.write(a, part).unwrap(); }
        assert_eq!((k.read_some(b, 4).unwrap(), k.read_some(b, 99).unwrap()), (b"onet".to_vec(), b"wothree".to_vec()));
    }
    [read, write] packets_keep_their_boundaries(k) {
        let (a, b) = pair(k, SOCK_SEQPACKET);
        for part in [b"one".as_slice(), b"three"] { k.write(a, part).unwrap(); }
        assert_eq!((k.read_some(b, 99).unwrap(), k.read_some(b, 2).unwrap()), (b"one".to_vec(), b"th".to_vec()));
        k.write(a, b"next").unwrap();
        assert_eq!(k.read_some(b, 99).unwrap(), b"next");
    }
    [close] end_of_a_connection(k) {
        for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
            let (a, b) = pair(k, kind);
            k.write(a, b"last").unwrap();
            k.close(a).unwrap();
            assert_eq!((k.read_some(b, 9).unwrap(), k.read_some(b, 9).unwrap()), (b"last".to_vec(), vec![]));
            fails(send(k, b, b"x", MSG_NOSIGNAL), Errno::EPIPE);
        }
    }
    [close] unread_data_resets(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.write(a, b"unread").unwrap();
        k.close(b).unwrap();
        fails(k.read(a, &mut [0]), Errno::ECONNRESET);
        assert_eq!(k.read(a, &mut [0]), Ok(0));
    }
    [write, sendto] broken_connections_signal(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.close(b).unwrap();
        let child = k.child(|| { let _ = k.write(a, b"x"); 0 });
        assert_eq!(k.status(child), 13);
        fails(send(k, a, b"x", MSG_NOSIGNAL), Errno::EPIPE);
    }
    [shutdown] writing_side(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        call!(k, SHUTDOWN, a, 1).unwrap();
        fails(send(k, a, b"x", MSG_NOSIGNAL), Errno::EPIPE);
        assert_eq!(k.read(b, &mut [0]), Ok(0));
        k.write(b, b"back").unwrap();
        assert_eq!(k.read_some(a, 9).unwrap(), b"back");
    }
    [shutdown] reading_side(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.write(b, b"before").unwrap();
        call!(k, SHUTDOWN, a, 0).unwrap();
        assert_eq!((k.read_some(a, 9).unwrap(), k.read_some(a, 9).unwrap()), (b"before".to_vec(), vec![]));
        fails(send(k, b, b"x", MSG_NOSIGNAL), Errno::EPIPE);
    }
    [shutdown] errors_of_shutdown(k) {
        let (a, _b) = pair(k, SOCK_STREAM);
        fails(call!(k, SHUTDOWN, a, 3), Errno::EINVAL);
        call!(k, SHUTDOWN, socket(k, SOCK_STREAM), 2).unwrap();
        fails(call!(k, SHUTDOWN, 0, 2), Errno::ENOTSOCK);
    }
    [shutdown] wakes_a_reader(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        assert_eq!(woken(k, || { call!(k, SHUTDOWN, a, 1).unwrap(); }, || k.read(b, &mut [0])), Ok(0));
    }
    [poll] readiness(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        assert_eq!(k.ready(a, POLLIN | POLLOUT), POLLOUT);
        k.write(b, b"x").unwrap();
        assert_eq!(k.ready(a, POLLIN), POLLIN);
        call!(k, SHUTDOWN, b, 1).unwrap();
        assert_eq!(k.ready(a, POLLIN | POLLRDHUP), POLLIN | POLLRDHUP);
        k.close(b).unwrap();
        assert_eq!(k.ready(a, POLLIN | POLLOUT) & POLLHUP, POLLHUP);
    }
    [recvfrom] peeking(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.write(a, b"peeked").unwrap();
        assert_eq!((receive(k, b, 3, MSG_PEEK).unwrap(), receive(k, b, 9, 0).unwrap()), (b"pee".to_vec(), b"peeked".to_vec()));
    }
    [recvfrom] waiting_for_all(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.write(a, b"one").unwrap();
        assert_eq!(woken(k, || { k.write(a, b"two").unwrap(); }, || receive(k, b, 6, MSG_WAITALL)).unwrap(), b"onetwo");
        k.write(a, b"end").unwrap();
        k.close(a).unwrap();
        assert_eq!(receive(k, b, 6, MSG_WAITALL).unwrap(), b"end");
    }
    [recvfrom] without_waiting(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        fails(receive(k, b, 1, MSG_DONTWAIT), Errno::EAGAIN);
        let mut sent = 0;
        while send(k, a, &[0; 10_000], MSG_DONTWAIT).is_ok() { sent += 1; }
        assert!(sent > 3);
        fails(send(k, a, &[0; 1], MSG_DONTWAIT), Errno::EAGAIN);
    }
    [recvfrom] real_length_of_a_packet(k) {
        let (a, b) = pair(k, SOCK_SEQPACKET);
        k.write(a, b"seven!!").unwrap();
        let mut buffer = [0; 3];
        assert_eq!(call!(k, RECVFROM, b, &mut buffer, 3, MSG_TRUNC, Arg::Null, Arg::Null), Ok(7));
    }
    [sendto] addresses_on_connections(k) {
        let (a, _b) = pair(k, SOCK_STREAM);
        fails(call!(k, SENDTO, a, b"x", 1, 0, b"\x01\0s\0", 4), Errno::EISCONN);
        fails(call!(k, SENDTO, socket(k, SOCK_STREAM), b"x", 1, 0, b"\x01\0s\0", 4), Errno::EOPNOTSUPP);
        fails(send(k, socket(k, SOCK_STREAM), b"x", 0), Errno::ENOTCONN);
        fails(receive(k, socket(k, SOCK_STREAM), 1, 0), Errno::EINVAL);
        fails(receive(k, socket(k, SOCK_SEQPACKET), 1, 0), Errno::ENOTCONN);
    }
    [sendto, recvfrom] pointers_fault(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        fails(call!(k, SENDTO, a, Arg::Bad, 1, 0, Arg::Null, 0), Errno::EFAULT);
        k.write(a, b"x").unwrap();
        fails(call!(k, RECVFROM, b, Arg::Bad, 1, 0, Arg::Null, Arg::Null), Errno::EFAULT);
        assert_eq!(k.read_some(b, 1).unwrap(), b"x");
        fails(call!(k, CONNECT, a, Arg::Bad, 10), Errno::EFAULT);
        fails(call!(k, BIND, socket(k, SOCK_STREAM), Arg::Bad, 10), Errno::EFAULT);
    }
    [write] blocked_writer(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        let all = woken(k, || { let mut got = 0; while got < 500_000 { got += k.read_some(b, 65536).unwrap().len(); } }, || k.write(a, &vec![1; 500_000]));
        assert_eq!(all, Ok(500_000));
    }
    [read] waiting_reader_is_interrupted(k) {
        let (_a, b) = pair(k, SOCK_STREAM);
        interrupted(k, || k.read(b, &mut [0]));
    }
    [fork] both_processes_use_a_connection(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        apart(k, || { k.close(b).unwrap(); k.write(a, b"child").unwrap(); });
        assert_eq!(k.read_some(b, 9).unwrap(), b"child");
    }
}
