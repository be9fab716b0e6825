//! Sockets of one stack that talk to each other.

use core::net::SocketAddr;

use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;
use chitin_net_stack::{Marks, SocketId, Stack, TcpOptions, TcpState, UdpOptions};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn receive(stack: &mut Stack, id: SocketId, most: usize) -> Result<Vec<u8>, Errno> {
    let mut got = Vec::new();
    let mut take = |bytes: &[u8]| {
        got.extend_from_slice(bytes);
        Ok(bytes.len())
    };
    stack.tcp_receive(id, most, false, 0, &mut take).map(|_| got)
}

fn listener(stack: &mut Stack, at: &str, backlog: usize) -> (SocketId, SocketAddr) {
    let v6 = address(at).is_ipv6();
    let id = stack.tcp_open(TcpOptions { v6, ..TcpOptions::default() });
    stack.bind(id, address(at), false).unwrap();
    stack.listen(id, backlog).unwrap();
    (id, stack.local_address(id).unwrap())
}

fn pair(stack: &mut Stack) -> (SocketId, SocketId) {
    let (server, at) = listener(stack, "127.0.0.1:0", 8);
    let client = stack.tcp_open(TcpOptions::default());
    assert_eq!(stack.connect(client, at, 0), Err(Errno::EINPROGRESS));
    assert_eq!(stack.connect_result(client), Ok(()));
    let accepted = stack.accept(server).unwrap();
    stack.close(server, 0);
    (client, accepted)
}

#[test]
fn a_connection_carries_data_both_ways_and_ends() {
    let mut stack = Stack::new(7);
    let (client, server) = pair(&mut stack);
    assert_eq!(stack.peer_address(client), stack.local_address(server));
    assert_eq!(stack.tcp_send(client, b"ping", 0), Ok(4));
    assert_eq!(receive(&mut stack, server, 100), Ok(b"ping".to_vec()));
    assert_eq!(receive(&mut stack, server, 100), Err(Errno::EAGAIN));
    stack.tcp_send(server, b"pong", 0).unwrap();
    stack.shutdown(server, false, true, 0).unwrap();
    assert_eq!(stack.tcp_send(server, b"x", 0), Err(Errno::EPIPE));
    assert_eq!(receive(&mut stack, client, 2), Ok(b"po".to_vec()));
    assert_eq!(receive(&mut stack, client, 9), Ok(b"ng".to_vec()));
    assert_eq!(receive(&mut stack, client, 9), Ok(vec![]));
    assert_eq!(
        (stack.tcp_state(client), stack.tcp_state(server)),
        (TcpState::CloseWait, TcpState::FinWait2)
    );
    let events = stack.poll(client);
    assert!(events.contains(PollEvents::POLLIN | PollEvents::POLLRDHUP | PollEvents::POLLOUT));
    assert!(!events.contains(PollEvents::POLLHUP));
    stack.close(client, 0);
    assert_eq!(receive(&mut stack, server, 9), Ok(vec![]));
    assert!(stack.poll(server).contains(PollEvents::POLLHUP));
    assert_eq!(stack.tcp_state(server), TcpState::Closed);
}

#[test]
fn a_large_transfer_stops_at_the_window_and_goes_on() {
    let mut stack = Stack::new(7);
    let (client, server) = pair(&mut stack);
    let data: Vec<u8> = (0..4_000_000_u32).map(|index| (index / 7) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    let mut stalls = 0;
    while got.len() < data.len() {
        match stack.tcp_send(client, &data[sent..], 0) {
            Ok(count) => sent += count,
            Err(errno) => {
                assert!(
                    errno == Errno::EAGAIN && !stack.poll(client).contains(PollEvents::POLLOUT)
                );
                stalls += 1;
                got.extend(receive(&mut stack, server, 300_000).unwrap());
            }
        }
        if sent == data.len() {
            got.extend(receive(&mut stack, server, 1 << 20).unwrap());
        }
    }
    assert!(stalls > 2 && got == data);
}

#[test]
fn nobody_listens() {
    let mut stack = Stack::new(7);
    let client = stack.tcp_open(TcpOptions::default());
    assert_eq!(stack.connect(client, address("127.0.0.1:9"), 0), Err(Errno::EINPROGRESS));
    assert!(stack.poll(client).contains(PollEvents::POLLERR));
    assert_eq!(stack.connect_result(client), Err(Errno::ECONNREFUSED));
    assert_eq!(stack.connect(client, address("192.0.2.1:9"), 0), Err(Errno::ENETUNREACH));
}

#[test]
fn closing_with_unread_data_resets() {
    let mut stack = Stack::new(7);
    let (client, server) = pair(&mut stack);
    stack.tcp_send(client, b"unread", 0).unwrap();
    stack.tcp_send(server, b"last words", 0).unwrap();
    stack.close(server, 0);
    assert_eq!(receive(&mut stack, client, 99), Ok(b"last words".to_vec()));
    assert_eq!(receive(&mut stack, client, 99), Err(Errno::ECONNRESET));
    assert_eq!(receive(&mut stack, client, 99), Ok(vec![]));
    assert_eq!(stack.tcp_send(client, b"x", 0), Err(Errno::EPIPE));
}

#[test]
fn sending_to_a_closed_peer_breaks_the_pipe() {
    let mut stack = Stack::new(7);
    let (client, server) = pair(&mut stack);
    stack.close(server, 0);
    assert_eq!(stack.tcp_send(client, b"one", 0), Ok(3));
    assert_eq!(stack.tcp_send(client, b"two", 0), Err(Errno::EPIPE));
}

#[test]
fn a_full_backlog_makes_connections_wait() {
    let mut stack = Stack::new(7);
    let (server, at) = listener(&mut stack, "127.0.0.1:0", 0);
    let clients: Vec<_> = (0..3).map(|_| stack.tcp_open(TcpOptions::default())).collect();
    for client in &clients {
        assert_eq!(stack.connect(*client, at, 0), Err(Errno::EINPROGRESS));
    }
    let states: Vec<_> = clients.iter().map(|client| stack.tcp_state(*client)).collect();
    assert_eq!(states, [TcpState::Established, TcpState::SynSent, TcpState::SynSent]);
    stack.accept(server).unwrap();
    assert_eq!(stack.tcp_state(clients[1]), TcpState::Established);
    stack.close(server, 0);
    assert_eq!(stack.connect_result(clients[2]), Err(Errno::ECONNREFUSED));
    assert_eq!(receive(&mut stack, clients[1], 1), Err(Errno::ECONNRESET));
}

#[test]
fn ports_are_shared_only_as_linux_shares_them() {
    let mut stack = Stack::new(7);
    let (_, at) = listener(&mut stack, "127.0.0.1:0", 1);
    let reuse = TcpOptions { reuse_address: true, ..TcpOptions::default() };
    let other = stack.tcp_open(reuse);
    assert_eq!(stack.bind(other, at, false), Err(Errno::EADDRINUSE));
    assert_eq!(stack.bind(other, SocketAddr::new([127, 0, 0, 2].into(), at.port()), false), Ok(()));
    assert_eq!(stack.bind(other, address("127.0.0.1:0"), false), Err(Errno::EINVAL));
    let any = stack.tcp_open(TcpOptions::default());
    assert_eq!(
        stack.bind(any, SocketAddr::new([0, 0, 0, 0].into(), at.port()), false),
        Err(Errno::EADDRINUSE)
    );
    assert_eq!(stack.bind(any, address("192.0.2.1:80"), false), Err(Errno::EADDRNOTAVAIL));
    let six = stack.tcp_open(TcpOptions { v6: true, v6_only: true, ..TcpOptions::default() });
    assert_eq!(
        stack.bind(six, SocketAddr::new(core::net::Ipv6Addr::UNSPECIFIED.into(), at.port()), true),
        Ok(())
    );
}

#[test]
fn addresses_rest_after_an_orderly_end() {
    let mut stack = Stack::new(7);
    let (server, at) = listener(&mut stack, "127.0.0.1:0", 1);
    stack.tcp_configure(server, |options| options.reuse_address = true);
    let client = stack.tcp_open(TcpOptions::default());
    let _ = stack.connect(client, at, 0);
    let accepted = stack.accept(server).unwrap();
    for id in [accepted, client, server] {
        stack.close(id, 0);
    }
    let again = stack.tcp_open(TcpOptions::default());
    assert_eq!(stack.bind(again, at, false), Err(Errno::EADDRINUSE));
    let reuse = stack.tcp_open(TcpOptions { reuse_address: true, ..TcpOptions::default() });
    assert_eq!(stack.bind(reuse, at, false), Ok(()));
}

#[test]
fn a_dual_stack_listener_takes_ipv4() {
    let mut stack = Stack::new(7);
    let (server, at) = listener(&mut stack, "[::]:0", 4);
    let client = stack.tcp_open(TcpOptions::default());
    let _ = stack.connect(client, SocketAddr::new([127, 0, 0, 1].into(), at.port()), 0);
    let accepted = stack.accept(server).unwrap();
    assert_eq!(stack.local_address(accepted).unwrap().ip().to_string(), "::ffff:127.0.0.1");
    let six = stack.tcp_open(TcpOptions { v6: true, ..TcpOptions::default() });
    let _ =
        stack.connect(six, SocketAddr::new(core::net::Ipv6Addr::LOCALHOST.into(), at.port()), 0);
    assert!(stack.accept(server).is_ok());
}

#[test]
fn datagrams_keep_their_boundaries_and_refusals_come_back() {
    let mut stack = Stack::new(7);
    let one = stack.udp_open(UdpOptions::default());
    let two = stack.udp_open(UdpOptions::default());
    stack.bind(one, address("127.0.0.1:0"), false).unwrap();
    let at = stack.local_address(one).unwrap();
    assert_eq!(
        stack.udp_send(two, None, b"x"[..].into(), Marks::default()),
        Err(Errno::EDESTADDRREQ)
    );
    for text in [&b"first"[..], b"", b"third"] {
        assert_eq!(stack.udp_send(two, Some(at), text.into(), Marks::default()), Ok(text.len()));
    }
    let first = stack.udp_receive(one, true).unwrap().unwrap();
    assert_eq!(
        (&*first.data, first.from),
        (&b"first"[..], {
            let port = stack.local_address(two).unwrap().port();
            SocketAddr::new([127, 0, 0, 1].into(), port)
        })
    );
    let texts: Vec<_> =
        (0..3).map(|_| stack.udp_receive(one, false).unwrap().unwrap().data).collect();
    assert_eq!(texts, [&b"first"[..], b"", b"third"]);
    assert_eq!(stack.udp_receive(one, false).err(), Some(Errno::EAGAIN));
    stack.connect(two, at, 0).unwrap();
    stack.close(one, 0);
    assert_eq!(stack.udp_send(two, None, b"x"[..].into(), Marks::default()), Ok(1));
    assert_eq!(stack.udp_receive(two, false).err(), Some(Errno::ECONNREFUSED));
    assert_eq!(
        stack.udp_send(two, Some(at), vec![0; 65508].into(), Marks::default()),
        Err(Errno::EMSGSIZE)
    );
}

#[test]
fn an_urgent_byte_overtakes_and_marks_its_place() {
    let mut stack = Stack::new(7);
    let (client, server) = pair(&mut stack);
    assert_eq!(stack.tcp_receive_urgent(server, false), Err(Errno::EINVAL));
    stack.tcp_send(client, b"ab", 0).unwrap();
    stack.tcp_send_urgent(client, b"c!"[..].into(), 0).unwrap();
    stack.tcp_send(client, b"de", 0).unwrap();
    assert!(stack.poll(server).contains(PollEvents::POLLPRI));
    assert_eq!(stack.tcp_receive_urgent(server, true), Ok(Some(b'!')));
    assert_eq!(stack.tcp_receive_urgent(server, false), Ok(Some(b'!')));
    assert!(!stack.poll(server).contains(PollEvents::POLLPRI));
    assert_eq!(receive(&mut stack, server, 9), Ok(b"abc".to_vec()));
    assert!(stack.tcp_at_mark(server));
    assert_eq!(receive(&mut stack, server, 9), Ok(b"de".to_vec()));
    assert_eq!(stack.tcp_receive_urgent(server, false), Err(Errno::EINVAL));
}

#[test]
fn a_socket_can_connect_to_itself() {
    let mut stack = Stack::new(7);
    let socket = stack.tcp_open(TcpOptions::default());
    stack.bind(socket, address("127.0.0.1:0"), false).unwrap();
    let at = stack.local_address(socket).unwrap();
    assert_eq!(stack.connect(socket, at, 0), Err(Errno::EINPROGRESS));
    assert_eq!(stack.connect_result(socket), Ok(()));
    stack.tcp_send(socket, b"echo", 0).unwrap();
    assert_eq!(receive(&mut stack, socket, 9), Ok(b"echo".to_vec()));
}
