//! Options: `getsockopt(2)`, `setsockopt(2)`.

use chitin_abi::Errno;
use chitin_abi::net::{
    MSG_DONTWAIT, MSG_PEEK, SO_ACCEPTCONN, SO_BROADCAST, SO_DOMAIN, SO_ERROR, SO_KEEPALIVE,
    SO_LINGER, SO_PASSCRED, SO_PEEK_OFF, SO_PEERCRED, SO_PROTOCOL, SO_RCVBUF, SO_RCVLOWAT,
    SO_RCVTIMEO, SO_REUSEADDR, SO_SNDBUF, SO_SNDTIMEO, SO_TYPE, SOCK_DGRAM, SOCK_SEQPACKET,
    SOCK_STREAM, Ucred,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{accept, connect, listener, option, pair, receive, send, set_option, socket};
use crate::call;
use crate::suite::{Arg, Calls, fails, tests};
use crate::tests::shared::{apart, int, woken};

tests! { "unixoption", "socket(7)";
    [getsockopt] what_it_is(k) {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
            let fd = socket(k, kind);
            assert_eq!([SO_DOMAIN, SO_TYPE, SO_PROTOCOL, SO_ERROR].map(|name| option(k, fd, name)), [Ok(1), Ok(kind as i32), Ok(0), Ok(0)]);
        }
    }
    [getsockopt] listening(k) {
        assert_eq!(option(k, socket(k, SOCK_STREAM), SO_ACCEPTCONN), Ok(0));
        assert_eq!(option(k, listener(k, SOCK_STREAM, "s", 1), SO_ACCEPTCONN), Ok(1));
    }
    [setsockopt] fixed_options(k) {
        let fd = socket(k, SOCK_STREAM);
        for name in [SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR, SO_ACCEPTCONN] { fails(set_option(k, fd, name, 1), Errno::ENOPROTOOPT); }
    }
    [setsockopt] switches(k) {
        let fd = socket(k, SOCK_STREAM);
        for name in [SO_REUSEADDR, SO_KEEPALIVE, SO_BROADCAST, SO_PASSCRED] {
            assert_eq!(option(k, fd, name), Ok(0));
            set_option(k, fd, name, 17).unwrap();
            assert_eq!(option(k, fd, name), Ok(1));
            set_option(k, fd, name, 0).unwrap();
            assert_eq!(option(k, fd, name), Ok(0));
        }
    }
    [setsockopt] buffers_are_doubled(k) {
        let fd = socket(k, SOCK_STREAM);
        for name in [SO_SNDBUF, SO_RCVBUF] {
            set_option(k, fd, name, 10_000).unwrap();
            assert_eq!(option(k, fd, name), Ok(20_000));
            set_option(k, fd, name, 1).unwrap();
            assert!(option(k, fd, name).unwrap() >= 2000);
        }
    }
    [setsockopt, sendto] send_buffer_bounds_what_waits(k) {
        let (a, _b) = pair(k, SOCK_DGRAM);
        set_option(k, a, SO_SNDBUF, 5000).unwrap();
        fails(send(k, a, &[0; 20_000], MSG_DONTWAIT), Errno::EMSGSIZE);
        send(k, a, &[0; 5000], MSG_DONTWAIT).unwrap();
    }
    [setsockopt] linger_and_times(k) {
        let fd = socket(k, SOCK_STREAM);
        call!(k, SETSOCKOPT, fd, 1, SO_LINGER, [1_i32, 5].as_bytes(), 8).unwrap();
        let (mut value, mut length) = ([0_u8; 8], 8_u32.to_ne_bytes());
        call!(k, GETSOCKOPT, fd, 1, SO_LINGER, &mut value, &mut length).unwrap();
        assert_eq!((int(&value, 0), int(&value, 4)), (1, 5));
        for name in [SO_RCVTIMEO, SO_SNDTIMEO] {
            call!(k, SETSOCKOPT, fd, 1, name, [1_i64, 500_000].as_bytes(), 16).unwrap();
            let (mut value, mut length) = ([0_u8; 16], 16_u32.to_ne_bytes());
            call!(k, GETSOCKOPT, fd, 1, name, &mut value, &mut length).unwrap();
            assert_eq!(value, [1_i64, 500_000].as_bytes());
            fails(call!(k, SETSOCKOPT, fd, 1, name, [0_i64, 1_000_000].as_bytes(), 16), Errno::EDOM);
        }
    }
    [recvfrom, accept] receive_timeout(k) {
        let (_a, b) = pair(k, SOCK_STREAM);
        let l = listener(k, SOCK_STREAM, "s", 1);
        for fd in [b, l] { call!(k, SETSOCKOPT, fd, 1, SO_RCVTIMEO, [0_i64, 20_000].as_bytes(), 16).unwrap(); }
        fails(receive(k, b, 1, 0), Errno::EAGAIN);
        fails(k.read(b, &mut [0]), Errno::EAGAIN);
        fails(accept(k, l), Errno::EAGAIN);
    }
    [sendto] send_timeout(k) {
        let (a, _b) = pair(k, SOCK_STREAM);
        while send(k, a, &[0; 10_000], MSG_DONTWAIT).is_ok() {}
        call!(k, SETSOCKOPT, a, 1, SO_SNDTIMEO, [0_i64, 20_000].as_bytes(), 16).unwrap();
        fails(send(k, a, &[0; 1], 0), Errno::EAGAIN);
    }
    [recvfrom] low_water_mark(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        assert_eq!(option(k, b, SO_RCVLOWAT), Ok(1));
        set_option(k, b, SO_RCVLOWAT, 6).unwrap();
        k.write(a, b"one").unwrap();
        assert_eq!(woken(k, || { k.write(a, b"two").unwrap(); }, || receive(k, b, 10, 0)).unwrap(), b"onetwo");
        k.write(a, b"x").unwrap();
        assert_eq!(receive(k, b, 10, MSG_DONTWAIT).unwrap(), b"x");
        k.write(a, b"y").unwrap();
        assert_eq!(receive(k, b, 1, 0).unwrap(), b"y", "a small buffer is a low mark");
    }
    [recvfrom] peeking_at_an_offset(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        assert_eq!(option(k, b, SO_PEEK_OFF), Ok(-1));
        set_option(k, b, SO_PEEK_OFF, 1).unwrap();
        k.write(a, b"abcdef").unwrap();
        assert_eq!((receive(k, b, 2, MSG_PEEK).unwrap(), receive(k, b, 2, MSG_PEEK).unwrap()), (b"bc".to_vec(), b"de".to_vec()));
        receive(k, b, 3, 0).unwrap();
        assert_eq!(receive(k, b, 9, MSG_PEEK).unwrap(), b"f");
    }
    [getsockopt] credentials_of_the_peer(k) needs Root {
        let (a, _b) = pair(k, SOCK_STREAM);
        let (mut value, mut length) = ([0_u8; 12], 12_u32.to_ne_bytes());
        call!(k, GETSOCKOPT, a, 1, SO_PEERCRED, &mut value, &mut length).unwrap();
        let cred = Ucred::read_from_bytes(&value).unwrap();
        assert_eq!((cred.pid, cred.uid, cred.gid), (k.getpid() as u32, 0, 0));
        call!(k, GETSOCKOPT, socket(k, SOCK_STREAM), 1, SO_PEERCRED, &mut value, &mut length).unwrap();
        assert_eq!(Ucred::read_from_bytes(&value).unwrap().uid, u32::MAX);
    }
    [getsockopt] credentials_are_those_of_the_connecting_moment(k) needs Root {
        let l = listener(k, SOCK_STREAM, "s", 5);
        call!(k, CHMOD, c"s", 0o777).unwrap();
        apart(k, || {
            crate::tests::shared::become_user(k, 1000);
            connect(k, socket(k, SOCK_STREAM), "s").unwrap();
        });
        let fd = accept(k, l).unwrap();
        let (mut value, mut length) = ([0_u8; 12], 12_u32.to_ne_bytes());
        call!(k, GETSOCKOPT, fd, 1, SO_PEERCRED, &mut value, &mut length).unwrap();
        assert_eq!(Ucred::read_from_bytes(&value).unwrap().uid, 1000);
    }
    [getsockopt, setsockopt] errors(k) {
        let fd = socket(k, SOCK_STREAM);
        let (mut value, mut length) = ([0_u8; 4], 4_u32.to_ne_bytes());
        fails(call!(k, GETSOCKOPT, fd, 1, 9999, &mut value, &mut length), Errno::ENOPROTOOPT);
        fails(call!(k, SETSOCKOPT, fd, 1, 9999, &value, 4), Errno::ENOPROTOOPT);
        fails(call!(k, GETSOCKOPT, fd, 99, SO_TYPE, &mut value, &mut length), Errno::EOPNOTSUPP);
        fails(call!(k, SETSOCKOPT, fd, 1, SO_REUSEADDR, &value, 3), Errno::EINVAL);
        fails(call!(k, SETSOCKOPT, fd, 1, SO_REUSEADDR, Arg::Bad, 4), Errno::EFAULT);
        fails(call!(k, GETSOCKOPT, fd, 1, SO_TYPE, Arg::Bad, &mut length), Errno::EFAULT);
        fails(call!(k, GETSOCKOPT, fd, 1, SO_TYPE, &mut value, Arg::Bad), Errno::EFAULT);
        fails(call!(k, GETSOCKOPT, fd, 1, SO_TYPE, &mut value, &mut (-1_i32).to_ne_bytes()), Errno::EINVAL);
        fails(call!(k, GETSOCKOPT, 0, 1, SO_TYPE, &mut value, &mut length), Errno::ENOTSOCK);
        fails(call!(k, GETSOCKOPT, 999, 1, SO_TYPE, &mut value, &mut length), Errno::EBADF);
    }
    [getsockopt] short_room(k) {
        let (mut value, mut length) = ([9_u8; 4], 2_u32.to_ne_bytes());
        call!(k, GETSOCKOPT, socket(k, SOCK_STREAM), 1, SO_TYPE, &mut value, &mut length).unwrap();
        assert_eq!((value, int(&length, 0)), ([1, 0, 9, 9], 2));
    }
}
