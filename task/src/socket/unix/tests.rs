use chitin_abi::net::{MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC};
use chitin_vfs::cred::Cred;
use chitin_vfs::io::{SliceSink, SliceSource};

use super::*;
use crate::namespace::UserNamespace;
use crate::socket::{Control, SocketFile};

fn net() -> Arc<NetNamespace> {
    NetNamespace::new(1, UserNamespace::initial(), crate::socket::interface::Loopback::up())
}

fn pair(kind: Kind) -> (Arc<UnixSocket>, Arc<UnixSocket>, Arc<NetNamespace>) {
    let net = net();
    let (one, two) = (UnixSocket::new(kind, &net), UnixSocket::new(kind, &net));
    UnixSocket::pair(&one, &two, &Caller::nobody(&net));
    (one, two, net)
}

fn send_control(
    socket: &UnixSocket,
    bytes: &[u8],
    control: Control,
    to: Option<&[u8]>,
) -> Result<usize> {
    let net = Arc::clone(&socket.net);
    let mut message = Outgoing { to, control, flags: 0 };
    socket.send(&mut SliceSource::new(bytes), &mut message, &Caller::nobody(&net))
}

fn send(socket: &UnixSocket, bytes: &[u8]) -> Result<usize> {
    send_control(socket, bytes, Control::default(), None)
}

fn receive_with(socket: &UnixSocket, room: usize, flags: u32) -> Result<(Vec<u8>, Received)> {
    let mut buffer = vec![0; room];
    let mut sink = SliceSink::new(&mut buffer);
    let received = socket.receive(&mut sink, flags)?;
    let filled = sink.filled();
    buffer.truncate(filled);
    Ok((buffer, received))
}

fn receive(socket: &UnixSocket, room: usize) -> Result<Vec<u8>> {
    receive_with(socket, room, 0).map(|(bytes, _)| bytes)
}

fn name(text: &str) -> Vec<u8> {
    address::emit(Some(&UnixAddress::Abstract(text.as_bytes().to_vec())))
}

fn listening(kind: Kind, net: &Arc<NetNamespace>, at: &str, backlog: u32) -> Arc<UnixSocket> {
    let caller = Caller::nobody(net);
    let socket = UnixSocket::new(kind, net);
    socket.bind(&name(at), &caller).unwrap();
    socket.listen(backlog, &caller).unwrap();
    socket
}

#[test]
fn a_stream_joins_what_was_sent_and_ends() {
    let (one, two, _net) = pair(Kind::Stream);
    assert_eq!(receive(&two, 9), Err(Errno::EAGAIN));
    assert_eq!((send(&one, b"abc"), send(&one, b"def")), (Ok(3), Ok(3)));
    assert_eq!(receive(&two, 4), Ok(b"abcd".to_vec()));
    assert_eq!(receive_with(&two, 4, MSG_PEEK).unwrap().0, b"ef");
    assert_eq!(receive(&two, 4), Ok(b"ef".to_vec()));
    one.shutdown(Shutdown { read: false, write: true }).unwrap();
    assert_eq!(receive(&two, 4), Ok(vec![]));
    assert_eq!(send(&one, b"x"), Err(Errno::EPIPE));
    assert_eq!(send(&two, b"still"), Ok(5));
    assert!(
        two.poll().contains(PollEvents::POLLRDHUP) && !two.poll().contains(PollEvents::POLLHUP)
    );
}

#[test]
fn closing_with_unread_data_resets_the_peer() {
    let (one, two, _net) = pair(Kind::Stream);
    send(&one, b"unread").unwrap();
    two.close();
    assert!(one.poll().contains(PollEvents::POLLHUP | PollEvents::POLLERR));
    assert_eq!(receive(&one, 1), Err(Errno::ECONNRESET));
    assert_eq!((receive(&one, 1), send(&one, b"x")), (Ok(vec![]), Err(Errno::EPIPE)));
}

#[test]
fn a_slow_reader_stops_the_writer() {
    let (one, two, _net) = pair(Kind::Stream);
    let mut sent = 0;
    while let Ok(count) = send(&one, &[7; 10_000]) {
        sent += count;
    }
    assert!(sent >= 100_000 && send(&one, b"x") == Err(Errno::EAGAIN));
    assert!(!one.poll().contains(PollEvents::POLLOUT));
    let mut got = 0;
    while let Ok(bytes) = receive(&two, 65536) {
        got += bytes.len();
    }
    assert_eq!(got, sent);
    assert!(one.poll().contains(PollEvents::POLLOUT));
}

#[test]
fn packets_keep_their_boundaries() {
    let (one, two, _net) = pair(Kind::SeqPacket);
    send(&one, b"first").unwrap();
    send(&one, b"").unwrap();
    let (bytes, received) = receive_with(&two, 3, MSG_TRUNC).unwrap();
    assert_eq!((bytes.as_slice(), received.count, received.flags), (&b"fir"[..], 5, MSG_TRUNC));
    assert_eq!(receive(&two, 3), Ok(vec![]));
    assert_eq!(receive(&two, 3), Err(Errno::EAGAIN));
    one.close();
    assert_eq!(receive_with(&two, 3, MSG_DONTWAIT).unwrap().0, b"");
}

#[test]
fn connections_wait_in_the_backlog() {
    let net = net();
    let caller = Caller::nobody(&net);
    let server = listening(Kind::Stream, &net, "server", 0);
    let client = UnixSocket::new(Kind::Stream, &net);
    assert!(client.poll().contains(PollEvents::POLLHUP));
    assert_eq!(client.connect(&name("nobody"), &caller), Err(Errno::ECONNREFUSED));
    assert_eq!(client.connect(&name("server"), &caller), Ok(()));
    // A full backlog is noticed before the caller's own state, as on Linux.
    assert_eq!(client.connect(&name("server"), &caller), Err(Errno::EAGAIN));
    send(&client, b"early").unwrap();
    let second = UnixSocket::new(Kind::Stream, &net);
    assert_eq!(second.connect(&name("server"), &caller), Err(Errno::EAGAIN));
    assert_eq!(server.poll(), PollEvents::POLLIN | PollEvents::POLLRDNORM);
    let accepted = server.accept().unwrap();
    assert_eq!(
        (accepted.local_address(), accepted.peer_address()),
        (Ok(name("server")), Ok(address::emit(None)))
    );
    assert_eq!(client.peer_address(), Ok(name("server")));
    assert_eq!(client.connect(&name("server"), &caller), Err(Errno::EISCONN));
    assert_eq!(second.connect(&name("server"), &caller), Ok(()));
    assert_eq!(server.accept().err().or(server.accept().err()), Some(Errno::EAGAIN));
    let wrong = UnixSocket::new(Kind::SeqPacket, &net);
    assert_eq!(wrong.connect(&name("server"), &caller), Err(Errno::ECONNREFUSED));
}

#[test]
fn a_closing_listener_resets_those_that_wait() {
    let net = net();
    let server = listening(Kind::Stream, &net, "server", 5);
    let client = UnixSocket::new(Kind::Stream, &net);
    client.connect(&name("server"), &Caller::nobody(&net)).unwrap();
    server.close();
    assert_eq!(receive(&client, 1), Err(Errno::ECONNRESET));
    assert!(
        UnixSocket::new(Kind::Stream, &net).bind(&name("server"), &Caller::nobody(&net)).is_ok()
    );
}

#[test]
fn datagrams_go_to_names_and_come_with_them() {
    let net = net();
    let caller = Caller::nobody(&net);
    let (one, two) = (UnixSocket::new(Kind::Datagram, &net), UnixSocket::new(Kind::Datagram, &net));
    one.bind(&name("one"), &caller).unwrap();
    assert_eq!(two.bind(&name("one"), &caller), Err(Errno::EADDRINUSE));
    two.bind(&address::emit(None), &caller).unwrap();
    assert_eq!(two.local_address().unwrap().len(), 8);
    assert_eq!(send(&two, b"x"), Err(Errno::ENOTCONN));
    send_control(&two, b"hello", Control::default(), Some(&name("one"))).unwrap();
    let (bytes, received) = receive_with(&one, 100, 0).unwrap();
    assert_eq!((bytes, received.from), (b"hello".to_vec(), two.local_address().ok()));
    two.connect(&name("one"), &caller).unwrap();
    assert_eq!(send(&two, &vec![0; 300_000]), Err(Errno::EMSGSIZE));
    for _ in 0..=DATAGRAM_BACKLOG {
        send(&two, b"x").unwrap();
    }
    assert_eq!(send(&two, b"x"), Err(Errno::EAGAIN));
    assert!(!two.poll().contains(PollEvents::POLLOUT));
    receive(&one, 1).unwrap();
    assert!(two.poll().contains(PollEvents::POLLOUT));
    one.close();
    assert_eq!(
        (send(&two, b"x"), send(&two, b"x")),
        (Err(Errno::ECONNREFUSED), Err(Errno::ENOTCONN))
    );
}

#[test]
fn a_connected_datagram_socket_takes_from_its_peer_only() {
    let (one, _two, net) = pair(Kind::Datagram);
    let caller = Caller::nobody(&net);
    one.bind(&name("one"), &caller).unwrap();
    let stranger = UnixSocket::new(Kind::Datagram, &net);
    let result = send_control(&stranger, b"x", Control::default(), Some(&name("one")));
    assert_eq!(
        (result, stranger.connect(&name("one"), &caller)),
        (Err(Errno::EPERM), Err(Errno::EPERM))
    );
}

fn rights(net: &NetNamespace, file: &Arc<chitin_vfs::file::OpenFile>) -> Control {
    let rights = net.unix.flight.launch(vec![Arc::clone(file)], 0, 10).unwrap();
    Control { rights: Some(rights), ..Control::default() }
}

#[test]
fn files_travel_and_a_stream_stops_behind_them() {
    let (one, two, net) = pair(Kind::Stream);
    let file = chitin_vfs::eventfd::new_eventfd(
        0,
        false,
        chitin_abi::fs::OpenFlags::empty(),
        &Cred::root(),
    );
    send(&one, b"ab").unwrap();
    send_control(&one, b"cd", rights(&net, &file), None).unwrap();
    send(&one, b"ef").unwrap();
    let (bytes, received) = receive_with(&two, 100, 0).unwrap();
    assert_eq!((bytes.as_slice(), received.stop), (&b"abcd"[..], true));
    assert!(Arc::ptr_eq(&received.control.rights.unwrap().files()[0], &file));
    assert_eq!((receive(&two, 100), net.unix.flight.total()), (Ok(b"ef".to_vec()), 0));
}

#[test]
fn sockets_that_only_hold_each_other_are_found() {
    let (one, two, net) = pair(Kind::Stream);
    let caller = Caller::nobody(&net);
    let flags = chitin_abi::fs::OpenFlags::O_RDWR;
    let (first, second) = (
        SocketFile::open(Arc::clone(&one) as Arc<dyn Socket>, flags, &caller),
        SocketFile::open(Arc::clone(&two) as Arc<dyn Socket>, flags, &caller),
    );
    // Each travels in its own queue.
    send_control(&one, b"x", rights(&net, &second), None).unwrap();
    send_control(&two, b"x", rights(&net, &first), None).unwrap();
    drop((first, second));
    assert_eq!(net.unix.flight.total(), 2);
    UnixSocket::new(Kind::Stream, &net).close();
    assert_eq!(net.unix.flight.total(), 0);
    assert!(one.state.lock().closed && two.state.lock().closed);
}

#[test]
fn too_many_files_in_flight_are_refused() {
    let (_one, _two, net) = pair(Kind::Stream);
    let file = chitin_vfs::eventfd::new_eventfd(
        0,
        false,
        chitin_abi::fs::OpenFlags::empty(),
        &Cred::root(),
    );
    let launch = |limit| net.unix.flight.launch(vec![Arc::clone(&file)], 7, limit);
    let kept = (launch(0).unwrap(), launch(1).unwrap());
    assert_eq!(launch(1).err(), Some(Errno::ETOOMANYREFS));
    drop(kept);
    assert!(launch(0).is_ok());
}
