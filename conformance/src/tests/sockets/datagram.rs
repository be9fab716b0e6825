//! Messages without connections: `SOCK_DGRAM`.

use chitin_abi::net::{MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM};
use chitin_abi::poll::{POLLIN, POLLOUT};
use chitin_abi::{Errno, Result};

use super::{bind, connect, name, pair, receive, send, socket};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::{as_user, blocks, int, interrupted, woken};

fn send_to(k: &dyn Kernel, fd: Fd, bytes: &[u8], to: &str) -> Result<u64> {
    let name = name(to);
    call!(k, SENDTO, fd, bytes, bytes.len(), MSG_DONTWAIT, name.as_slice(), name.len())
}

fn bound(k: &dyn Kernel, to: &str) -> Fd {
    let fd = socket(k, SOCK_DGRAM | SOCK_NONBLOCK);
    bind(k, fd, to).unwrap();
    fd
}

tests! { "unixdgram", "unix(7)";
    [sendto, recvfrom] to_a_name_and_from_a_name(k) {
        let (server, client) = (bound(k, "s"), bound(k, "c"));
        send_to(k, client, b"hello", "s").unwrap();
        let (mut buffer, mut address, mut length) = ([0_u8; 9], [0_u8; 110], 110_u32.to_ne_bytes());
        assert_eq!(call!(k, RECVFROM, server, &mut buffer, 9, 0, &mut address, &mut length), Ok(5));
        assert_eq!((&buffer[..5], &address[..int(&length, 0) as usize]), (b"hello".as_slice(), b"\x01\0c\0".as_slice()));
    }
    [recvfrom] unnamed_senders(k) {
        let server = bound(k, "s");
        send_to(k, socket(k, SOCK_DGRAM), b"x", "s").unwrap();
        let (mut buffer, mut address, mut length) = ([0_u8; 9], [0_u8; 110], 110_u32.to_ne_bytes());
        call!(k, RECVFROM, server, &mut buffer, 9, 0, &mut address, &mut length).unwrap();
        assert_eq!(int(&length, 0), 0);
    }
    [sendto] nobody_there(k) {
        let fd = socket(k, SOCK_DGRAM);
        fails(send_to(k, fd, b"x", "none"), Errno::ENOENT);
        k.close(bound(k, "s")).unwrap();
        fails(send_to(k, fd, b"x", "s"), Errno::ECONNREFUSED);
        fails(send(k, fd, b"x", 0), Errno::ENOTCONN);
        k.close(k.open("plain", 0o101, 0o600).unwrap()).unwrap();
        fails(send_to(k, fd, b"x", "plain"), Errno::ECONNREFUSED);
    }
    [sendto] wrong_kind(k) {
        let stream = socket(k, SOCK_STREAM);
        bind(k, stream, "s").unwrap();
        fails(send_to(k, socket(k, SOCK_DGRAM), b"x", "s"), Errno::EPROTOTYPE);
    }
    [sendto] permission_of_the_name(k) needs Root {
        bound(k, "s");
        call!(k, CHMOD, c"s", 0o600).unwrap();
        as_user(k, 1000, || fails(send_to(k, socket(k, SOCK_DGRAM), b"x", "s"), Errno::EACCES));
    }
    [connect] default_destination(k) {
        let server = bound(k, "s");
        let fd = socket(k, SOCK_DGRAM);
        connect(k, fd, "s").unwrap();
        k.write(fd, b"default").unwrap();
        assert_eq!(k.read_some(server, 9).unwrap(), b"default");
        bound(k, "t");
        send_to(k, fd, b"other", "t").unwrap();
    }
    [connect] again_and_apart(k) {
        let (s, t) = (bound(k, "s"), bound(k, "t"));
        let fd = socket(k, SOCK_DGRAM);
        connect(k, fd, "s").unwrap();
        connect(k, fd, "t").unwrap();
        k.write(fd, b"x").unwrap();
        fails(k.read(s, &mut [0]), Errno::EAGAIN);
        assert_eq!(k.read(t, &mut [0]), Ok(1));
        call!(k, CONNECT, fd, &[0_u8; 16], 16).unwrap();
        fails(k.write(fd, b"x"), Errno::ENOTCONN);
    }
    [sendto] connected_receivers_refuse_strangers(k) {
        let (s, _t) = (bound(k, "s"), bound(k, "t"));
        connect(k, s, "t").unwrap();
        fails(send_to(k, socket(k, SOCK_DGRAM), b"x", "s"), Errno::EPERM);
    }
    [read] boundaries_and_truncation(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        for part in [b"first".as_slice(), b"", b"third"] { k.write(a, part).unwrap(); }
        assert_eq!((k.read_some(b, 3).unwrap(), k.read_some(b, 9).unwrap(), k.read_some(b, 9).unwrap()), (b"fir".to_vec(), vec![], b"third".to_vec()));
    }
    [recvfrom] real_length(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        k.write(a, b"0123456789").unwrap();
        assert_eq!(call!(k, RECVFROM, b, &mut [0_u8; 2], 2, MSG_TRUNC | MSG_PEEK, Arg::Null, Arg::Null), Ok(10));
        assert_eq!(receive(k, b, 99, 0).unwrap(), b"0123456789");
    }
    [sendto] messages_too_large(k) {
        let (a, _b) = pair(k, SOCK_DGRAM);
        fails(send(k, a, &vec![0; 10 << 20], MSG_DONTWAIT), Errno::EMSGSIZE);
    }
    [sendto] full_queue(k) {
        let server = bound(k, "s");
        let fd = socket(k, SOCK_DGRAM);
        connect(k, fd, "s").unwrap();
        let sent = (0..1000).map_while(|_| send(k, fd, b"x", MSG_DONTWAIT).ok()).count();
        assert!(sent > 5 && sent < 1000, "{sent}");
        assert_eq!(k.ready(fd, POLLOUT), 0);
        assert!(blocks(k, || { let _ = send(k, fd, b"x", 0); }));
        k.read_some(server, 1).unwrap();
        send(k, fd, b"x", MSG_DONTWAIT).unwrap();
    }
    [sendto] waiting_sender(k) {
        let server = bound(k, "s");
        let fd = socket(k, SOCK_DGRAM);
        connect(k, fd, "s").unwrap();
        while send(k, fd, b"x", MSG_DONTWAIT).is_ok() {}
        assert_eq!(woken(k, || { k.read_some(server, 1).unwrap(); }, || send(k, fd, b"y", 0)), Ok(1));
        interrupted(k, || send(k, fd, b"y", 0));
    }
    [close] receiver_that_has_gone(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        k.close(b).unwrap();
        fails(send(k, a, b"x", 0), Errno::ECONNREFUSED);
        fails(send(k, a, b"x", 0), Errno::ENOTCONN);
    }
    [shutdown] sides(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        call!(k, SHUTDOWN, a, 1).unwrap();
        fails(send(k, a, b"x", 0x4000), Errno::EPIPE);
        call!(k, SHUTDOWN, b, 0).unwrap();
        assert_eq!(k.read(b, &mut [0]), Ok(0));
    }
    [poll] readiness(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        assert_eq!(k.ready(b, POLLIN | POLLOUT), POLLOUT);
        k.write(a, b"").unwrap();
        assert_eq!(k.ready(b, POLLIN), POLLIN);
    }
    [recvfrom] waiting_receiver(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        assert_eq!(woken(k, || { k.write(a, b"x").unwrap(); }, || receive(k, b, 9, 0)).unwrap(), b"x");
        interrupted(k, || receive(k, b, 9, 0));
    }
}
