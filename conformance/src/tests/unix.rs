//! Unix sockets: `unix(7)`.

use chitin_abi::Errno;
use chitin_abi::fs::O_NONBLOCK;
use chitin_abi::net::{AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use chitin_abi::poll::{POLLHUP, POLLIN, POLLOUT, POLLRDHUP};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, Processes, fails, tests};

fn socket(k: &dyn Kernel, kind: u32) -> Fd {
    call!(k, SOCKET, AF_UNIX, kind, 0).unwrap() as Fd
}

fn pair(k: &dyn Kernel, kind: u32) -> (Fd, Fd) {
    let mut fds = [0_i32; 2];
    call!(k, SOCKETPAIR, AF_UNIX, kind, 0, fds.as_mut_bytes()).unwrap();
    (fds[0], fds[1])
}

fn name(path: &str) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    bytes
}

fn bind(k: &dyn Kernel, fd: Fd, path: &str) -> chitin_abi::Result<()> {
    let name = name(path);
    call!(k, BIND, fd, name.as_slice(), name.len()).map(drop)
}

fn connect(k: &dyn Kernel, fd: Fd, path: &str) -> chitin_abi::Result<()> {
    let name = name(path);
    call!(k, CONNECT, fd, name.as_slice(), name.len()).map(drop)
}

fn listener(k: &dyn Kernel, path: &str, kind: u32) -> Fd {
    let fd = socket(k, kind);
    bind(k, fd, path).unwrap();
    call!(k, LISTEN, fd, 1).unwrap();
    fd
}

fn send(k: &dyn Kernel, fd: Fd, bytes: &[u8], flags: u32) -> chitin_abi::Result<u64> {
    call!(k, SENDTO, fd, bytes, bytes.len(), flags, Arg::Null, 0)
}

fn receive(k: &dyn Kernel, fd: Fd, size: usize, flags: u32) -> chitin_abi::Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    let count =
        call!(k, RECVFROM, fd, buffer.as_mut_slice(), size, flags, Arg::Null, Arg::Null)? as usize;
    buffer.truncate(count);
    Ok(buffer)
}

tests! { "unix", "unix(7)";
    [socket] kinds_and_protocols(k) {
        fails(call!(k, SOCKET, AF_UNIX, 9, 0), Errno::ESOCKTNOSUPPORT);
        fails(call!(k, SOCKET, AF_UNIX, SOCK_STREAM, 5), Errno::EPROTONOSUPPORT);
        fails(call!(k, SOCKET, 999, SOCK_STREAM, 0), Errno::EAFNOSUPPORT);
        fails(call!(k, SOCKET, AF_UNIX, SOCK_STREAM | 0x100, 0), Errno::EINVAL);
    }
    [socketpair] stream_is_a_byte_stream(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.write(a, b"one").unwrap();
        k.write(a, b"two").unwrap();
        assert_eq!(k.read_some(b, 100).unwrap(), b"onetwo");
        k.write(b, b"back").unwrap();
        assert_eq!(k.read_some(a, 100).unwrap(), b"back");
    }
    [socketpair] messages_keep_their_boundaries(k) {
        for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
            let (a, b) = pair(k, kind);
            send(k, a, b"first", 0).unwrap();
            send(k, a, b"second", 0).unwrap();
            assert_eq!(receive(k, b, 3, 0).unwrap(), b"fir");
            assert_eq!(receive(k, b, 100, 0).unwrap(), b"second");
        }
    }
    [recvfrom] peek_and_trunc(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        send(k, a, b"message", 0).unwrap();
        assert_eq!(receive(k, b, 3, 2).unwrap(), b"mes");
        assert_eq!(call!(k, RECVFROM, b, &mut [0_u8; 2], 2, 0x20, Arg::Null, Arg::Null), Ok(7));
        fails(receive(k, b, 3, 0x40), Errno::EAGAIN);
    }
    [read] end_of_stream(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.write(a, b"last").unwrap();
        k.close(a).unwrap();
        assert_eq!(k.ready(b, POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
        assert_eq!(k.read_some(b, 10).unwrap(), b"last");
        assert_eq!(k.read_some(b, 10).unwrap(), b"");
    }
    [write] peer_is_gone(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.close(b).unwrap();
        fails(send(k, a, b"x", 0x4000), Errno::EPIPE);
        let child = k.child(|| { let _ = k.write(a, b"x"); 0 });
        assert_eq!(k.status(child), 13);
    }
    [close] unread_data_resets_the_peer(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        k.write(a, b"unread").unwrap();
        k.close(b).unwrap();
        fails(k.read(a, &mut [0]), Errno::ECONNRESET);
        assert_eq!(k.read(a, &mut [0]), Ok(0));
    }
    [shutdown] halves(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        call!(k, SHUTDOWN, a, 1).unwrap();
        fails(send(k, a, b"x", 0x4000), Errno::EPIPE);
        assert_eq!(k.read(b, &mut [0]), Ok(0));
        k.write(b, b"still").unwrap();
        assert_eq!(k.read_some(a, 10).unwrap(), b"still");
        fails(call!(k, SHUTDOWN, a, 3), Errno::EINVAL);
        call!(k, SHUTDOWN, socket(k, SOCK_STREAM), 0).unwrap();
    }
    [bind, listen, connect, accept] conversation(k) {
        let server = listener(k, "sock", SOCK_STREAM);
        let client = socket(k, SOCK_STREAM);
        connect(k, client, "sock").unwrap();
        k.write(client, b"hello").unwrap();
        let connection = call!(k, ACCEPT4, server, Arg::Null, Arg::Null, 0).unwrap() as i32;
        assert_eq!(k.read_some(connection, 10).unwrap(), b"hello");
        fails(connect(k, client, "sock"), Errno::EISCONN);
        assert_eq!(k.stat("sock").unwrap().st_mode & 0o170000, 0o140000);
    }
    [connect] refusals(k) {
        let client = socket(k, SOCK_STREAM);
        fails(connect(k, client, "none"), Errno::ENOENT);
        let server = listener(k, "sock", SOCK_STREAM);
        fails(connect(k, socket(k, SOCK_DGRAM), "sock"), Errno::EPROTOTYPE);
        k.close(server).unwrap();
        fails(connect(k, client, "sock"), Errno::ECONNREFUSED);
        k.open("file", 0o100, 0o600).unwrap();
        fails(connect(k, client, "file"), Errno::ECONNREFUSED);
    }
    [bind] name_is_taken(k) {
        let _server = listener(k, "sock", SOCK_STREAM);
        fails(bind(k, socket(k, SOCK_STREAM), "sock"), Errno::EADDRINUSE);
        let fd = socket(k, SOCK_STREAM);
        bind(k, fd, "other").unwrap();
        fails(bind(k, fd, "third"), Errno::EINVAL);
    }
    [connect] full_backlog_would_block(k) {
        let _server = listener(k, "sock", SOCK_STREAM);
        let mut refused = false;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let client = socket(k, SOCK_STREAM | O_NONBLOCK);
            match connect(k, client, "sock") {
                Ok(()) => clients.push(client),
                Err(errno) => { assert_eq!(errno, Errno::EAGAIN); refused = true; }
            }
        }
        assert!(refused);
        assert_eq!(clients.len(), 2);
    }
    [accept] nobody_waits(k) {
        let server = listener(k, "sock", SOCK_STREAM);
        k.fcntl(server, 4, u64::from(O_NONBLOCK)).unwrap();
        fails(call!(k, ACCEPT, server, Arg::Null, Arg::Null), Errno::EAGAIN);
        fails(call!(k, ACCEPT, socket(k, SOCK_STREAM), Arg::Null, Arg::Null), Errno::EINVAL);
        fails(call!(k, ACCEPT, socket(k, SOCK_DGRAM), Arg::Null, Arg::Null), Errno::EOPNOTSUPP);
        fails(call!(k, LISTEN, socket(k, SOCK_DGRAM), 1), Errno::EOPNOTSUPP);
    }
    [getsockname, getpeername] names(k) {
        let server = listener(k, "sock", SOCK_STREAM);
        let client = socket(k, SOCK_STREAM);
        connect(k, client, "sock").unwrap();
        let (mut address, mut length) = ([0_u8; 110], 110_u32.to_ne_bytes());
        call!(k, GETPEERNAME, client, &mut address, &mut length).unwrap();
        assert_eq!((u32::from_ne_bytes(length), &address[..7]), (7, b"\x01\0sock\0".as_slice()));
        length = 110_u32.to_ne_bytes();
        call!(k, GETSOCKNAME, client, &mut address, &mut length).unwrap();
        assert_eq!(u32::from_ne_bytes(length), 2);
        fails(call!(k, GETPEERNAME, server, &mut address, &mut length), Errno::ENOTCONN);
    }
    [bind] abstract_names_and_autobind(k) {
        let (server, client) = (socket(k, SOCK_STREAM), socket(k, SOCK_STREAM));
        let unique = format!("\x01\0\0test-{}", k.getpid());
        call!(k, BIND, server, unique.as_bytes(), unique.len()).unwrap();
        call!(k, LISTEN, server, 1).unwrap();
        call!(k, CONNECT, client, unique.as_bytes(), unique.len()).unwrap();
        let other = socket(k, SOCK_DGRAM);
        call!(k, BIND, other, b"\x01\0", 2).unwrap();
        let (mut address, mut length) = ([0_u8; 110], 110_u32.to_ne_bytes());
        call!(k, GETSOCKNAME, other, &mut address, &mut length).unwrap();
        assert_eq!((u32::from_ne_bytes(length), address[2]), (8, 0));
    }
    [sendto] datagram_to_a_name(k) {
        let (server, client) = (socket(k, SOCK_DGRAM), socket(k, SOCK_DGRAM));
        bind(k, server, "s").unwrap();
        bind(k, client, "c").unwrap();
        let to = name("s");
        call!(k, SENDTO, client, b"hi", 2, 0, to.as_slice(), to.len()).unwrap();
        let (mut buffer, mut from, mut length) = ([0_u8; 10], [0_u8; 110], 110_u32.to_ne_bytes());
        assert_eq!(call!(k, RECVFROM, server, &mut buffer, 10, 0, &mut from, &mut length), Ok(2));
        assert_eq!((u32::from_ne_bytes(length), &from[..4]), (4, b"\x01\0c\0".as_slice()));
        fails(send(k, client, b"x", 0), Errno::ENOTCONN);
    }
    [sendmsg, recvmsg] descriptors_travel(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| {
            let received = receive_fd(k, b);
            i32::from(k.write(received, b"through") != Ok(7))
        });
        send_fd(k, a, writer).unwrap();
        assert_eq!(k.status(child), 0);
        assert_eq!(k.read_some(reader, 10).unwrap(), b"through");
    }
    [getsockopt] options(k) {
        let (a, _b) = pair(k, SOCK_SEQPACKET);
        let get = |option: u32| { let (mut value, mut length) = ([0_u8; 12], 12_u32.to_ne_bytes()); call!(k, GETSOCKOPT, a, 1, option, &mut value, &mut length).map(|_| i32::from_ne_bytes(value[..4].try_into().unwrap())) };
        assert_eq!((get(3), get(39), get(4), get(30)), (Ok(5), Ok(1), Ok(0), Ok(0)));
        assert_eq!(get(17), Ok(k.getpid()));
        fails(get(9999), Errno::ENOPROTOOPT);
    }
}

/// A `msghdr` over one byte of data and this control buffer; addresses are those of the buffers.
fn message(data: &mut [u8], iov: &mut [u8; 16], control: &mut [u8]) -> [u8; 56] {
    iov[..8].copy_from_slice(&(data.as_mut_ptr() as u64).to_ne_bytes());
    iov[8..].copy_from_slice(&(data.len() as u64).to_ne_bytes());
    let mut header = [0; 56];
    header[16..24].copy_from_slice(&(iov.as_mut_ptr() as u64).to_ne_bytes());
    header[24..32].copy_from_slice(&1_u64.to_ne_bytes());
    header[32..40].copy_from_slice(&(control.as_mut_ptr() as u64).to_ne_bytes());
    header[40..48].copy_from_slice(&(control.len() as u64).to_ne_bytes());
    header
}

fn send_fd(k: &dyn Kernel, socket: Fd, fd: Fd) -> chitin_abi::Result<u64> {
    let (mut data, mut iov, mut control) = ([1], [0; 16], [0_u8; 24]);
    control[..8].copy_from_slice(&20_u64.to_ne_bytes());
    control[8..12].copy_from_slice(&1_i32.to_ne_bytes());
    control[12..16].copy_from_slice(&1_i32.to_ne_bytes());
    control[16..20].copy_from_slice(&fd.to_ne_bytes());
    let header = message(&mut data, &mut iov, &mut control);
    call!(k, SENDMSG, socket, &header, 0)
}

fn receive_fd(k: &dyn Kernel, socket: Fd) -> Fd {
    let (mut data, mut iov, mut control) = ([0], [0; 16], [0_u8; 24]);
    let mut header = message(&mut data, &mut iov, &mut control);
    assert_eq!(call!(k, RECVMSG, socket, &mut header, 0), Ok(1));
    assert_eq!(u64::from_ne_bytes(control[..8].try_into().unwrap()), 20);
    i32::from_ne_bytes(control[16..20].try_into().unwrap())
}
