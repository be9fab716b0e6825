//! Two stacks on a link that delays, loses, repeats, changes and reorders.

mod common;

use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;
use chitin_net_stack::link::Faults;
use chitin_net_stack::{Marks, NeighbourState, RawOptions, TcpOptions, TcpState, UdpOptions};
use common::{MS, Net, SECOND, address, ip, pattern};

#[test]
fn a_connection_is_made_carries_data_and_ends() {
    for at in ["10.0.0.2:80", "[fd00::2]:80"] {
        let mut net = Net::new(Faults { delay: MS, ..Faults::default() }, 1);
        let (client, server) = net.connect(TcpOptions::default(), at);
        let data = pattern(300_000);
        net.transfer((0, client), server, &data, 10 * SECOND);
        net.transfer((1, server), client, &data, 10 * SECOND);
        let stats = net.stacks[0].tcp_stats(client);
        assert_eq!((stats.options, stats.segments.3), ((true, true), 0));
        assert!((2 * MS..50 * MS).contains(&stats.rtt.0), "{:?}", stats.rtt);
        let now = net.now;
        net.stacks[0].close(client, now);
        assert!(net.until(SECOND, |net| net.receive(1, server, 1) == Ok(vec![])));
        let now = net.now;
        net.stacks[1].close(server, now);
        net.run(SECOND);
        assert_eq!(net.stacks[1].tcp_state(server), TcpState::Closed);
        let resting = net.stacks[0].list(chitin_net_stack::Proto::Tcp);
        assert_eq!(resting.iter().filter(|entry| entry.3 == TcpState::TimeWait).count(), 1);
        assert!(net.longest <= 1514);
    }
}

#[test]
fn data_arrive_whatever_happens_on_the_way() {
    let hardships = [
        Faults { loss: 10_000, ..Faults::default() },
        Faults { loss: 100_000, ..Faults::default() },
        Faults { reorder: 200_000, ..Faults::default() },
        Faults { jitter: 30 * MS, ..Faults::default() },
        Faults { duplicate: 200_000, ..Faults::default() },
        Faults { corrupt: 20_000, ..Faults::default() },
        Faults { rate: 1_000_000, queue: 20_000, ..Faults::default() },
        Faults {
            loss: 30_000,
            duplicate: 30_000,
            corrupt: 10_000,
            jitter: 5 * MS,
            ..Faults::default()
        },
    ];
    let data = pattern(400_000);
    for (seed, faults) in (1..).zip(hardships) {
        for options in
            [TcpOptions::default(), TcpOptions { no_delay: true, ..TcpOptions::default() }]
        {
            let mut net = Net::new(Faults { delay: 10 * MS, ..faults }, seed);
            let (client, server) = net.connect(options, "10.0.0.2:80");
            net.transfer((0, client), server, &data, 400 * SECOND);
            net.transfer((1, server), client, &data[..50_000], 400 * SECOND);
        }
    }
}

#[test]
fn it_works_without_each_option() {
    let data = pattern(200_000);
    for off in 0..8 {
        let mut net = Net::new(Faults { delay: 10 * MS, loss: 20_000, ..Faults::default() }, 3);
        let settings = &mut net.stacks[1].settings;
        settings.sack = off & 1 == 0;
        settings.timestamps = off & 2 == 0;
        settings.window_scaling = off & 4 == 0;
        let (client, server) = net.connect(TcpOptions::default(), "10.0.0.2:80");
        net.transfer((0, client), server, &data, 200 * SECOND);
        let stats = net.stacks[0].tcp_stats(client);
        assert_eq!(stats.options, (off & 1 == 0, off & 2 == 0));
        assert_eq!(stats.shifts.0 > 0, off & 4 == 0);
    }
}

#[test]
fn a_long_path_is_filled() {
    // 100 Mbit/s, 100 ms there and back: 1.25 MB under way.
    let faults = Faults { delay: 50 * MS, rate: 12_500_000, queue: 1_250_000, ..Faults::default() };
    let mut net = Net::new(faults, 5);
    let (client, server) = net.connect(TcpOptions::default(), "10.0.0.2:80");
    let data = pattern(60_000_000);
    let took = net.transfer((0, client), server, &data, 60 * SECOND);
    let rate = data.len() as f64 / (took as f64 / SECOND as f64);
    assert!(rate > 9_000_000.0, "{rate} bytes per second");
}

#[test]
fn a_large_packet_is_taken_apart_and_put_together() {
    for to in ["10.0.0.2:9", "[fd00::2]:9"] {
        let mut net = Net::new(Faults { delay: MS, jitter: MS, ..Faults::default() }, 1);
        let options = UdpOptions { v6: address(to).is_ipv6(), ..UdpOptions::default() };
        let one = net.stacks[0].udp_open(options);
        let two = net.stacks[1].udp_open(options);
        net.stacks[1].bind(two, address(to), false).unwrap();
        let data = pattern(9000);
        let sent =
            net.stacks[0].udp_send(one, Some(address(to)), data.clone().into(), Marks::default());
        assert_eq!(sent, Ok(9000));
        net.run(SECOND);
        let datagram = net.stacks[1].udp_receive(two, false).unwrap().unwrap();
        assert!(datagram.data == data && datagram.interface == Some(net.interface));
        let whole = Marks { dont_fragment: true, ..Marks::default() };
        let refused = net.stacks[0].udp_send(one, Some(address(to)), data.into(), whole);
        assert_eq!(refused, Err(Errno::EMSGSIZE));
    }
}

#[test]
fn nobody_is_there() {
    let mut net = Net::new(Faults::default(), 1);
    let client = net.stacks[0].tcp_open(TcpOptions::default());
    let now = net.now;
    let _ = net.stacks[0].connect(client, address("10.0.0.77:80"), now);
    assert!(
        net.until(10 * SECOND, |net| { net.stacks[0].poll(client).contains(PollEvents::POLLERR) })
    );
    assert_eq!(net.stacks[0].connect_result(client), Err(Errno::EHOSTUNREACH));
    let states: Vec<_> =
        net.stacks[0].neighbours(net.interface).iter().map(|entry| entry.2).collect();
    assert_eq!(states, [NeighbourState::Failed]);
    let _ = net.stacks[0].connect(client, address("10.0.0.2:81"), now);
    net.run(SECOND);
    assert_eq!(net.stacks[0].connect_result(client), Err(Errno::ECONNREFUSED));
    let far = net.stacks[0].connect(client, address("192.0.2.1:80"), now);
    assert_eq!(far, Err(Errno::ENETUNREACH));
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut net = Net::new(Faults::default(), 1);
    let options = TcpOptions { user_timeout: 5 * SECOND, ..TcpOptions::default() };
    let (client, _) = net.connect(options, "10.0.0.2:80");
    net.wires[0] =
        chitin_net_stack::link::Wire::new(Faults { loss: 1_000_000, ..Faults::default() }, 1);
    let now = net.now;
    net.stacks[0].tcp_send(client, b"lost", now).unwrap();
    net.run(60 * SECOND);
    assert_eq!(net.stacks[0].take_error(client), Some(Errno::ETIMEDOUT));
}

#[test]
fn refused_datagrams_and_echoes_come_back() {
    let mut net = Net::new(Faults { delay: MS, ..Faults::default() }, 1);
    let one = net.stacks[0].udp_open(UdpOptions::default());
    let now = net.now;
    net.stacks[0].connect(one, address("10.0.0.2:9"), now).unwrap();
    net.stacks[0].udp_send(one, None, b"x"[..].into(), Marks::default()).unwrap();
    net.run(SECOND);
    assert_eq!(net.stacks[0].udp_receive(one, false).err(), Some(Errno::ECONNREFUSED));
    for (to, protocol, kind) in [("10.0.0.2:0", 1, 8), ("[fd00::2]:0", 58, 128)] {
        let v6 = address(to).is_ipv6();
        let options = RawOptions { v6, protocol, ping: true, ..RawOptions::default() };
        let ping = net.stacks[0].raw_open(options);
        let request = [kind, 0, 0, 0, 0, 0, 0, 7, b'h', b'i'];
        let sent = net.stacks[0].raw_send(ping, Some(address(to)), &request, Marks::default());
        assert_eq!(sent, Ok(10));
        net.run(SECOND);
        let reply = net.stacks[0].raw_receive(ping, false).unwrap();
        assert_eq!(reply.from.ip(), address(to).ip());
        assert_eq!(
            (reply.data[0], &reply.data[6..]),
            (kind + u8::from(v6) - if v6 { 0 } else { 8 }, &b"\0\x07hi"[..])
        );
    }
}

#[test]
fn groups_reach_their_members() {
    let mut net = Net::new(Faults::default(), 1);
    let group = ip("239.1.2.3");
    let options = UdpOptions { reuse_address: true, ..UdpOptions::default() };
    let members = [0, 1].map(|_| {
        let id = net.stacks[1].udp_open(options);
        net.stacks[1].bind(id, address("0.0.0.0:5353"), false).unwrap();
        id
    });
    let sender = net.stacks[0].udp_open(UdpOptions::default());
    let send = |net: &mut Net| {
        let marks = Marks { interface: Some(net.interface), ..Marks::default() };
        let to = Some(address("239.1.2.3:5353"));
        net.stacks[0].udp_send(sender, to, b"all"[..].into(), marks).unwrap();
        net.run(MS);
        members.map(|id| net.stacks[1].udp_receive(id, false).is_ok())
    };
    assert_eq!(send(&mut net), [false, false]);
    let interface = net.stacks[1].join(group, None).unwrap();
    assert_eq!(interface, net.interface);
    assert_eq!(send(&mut net), [true, true]);
    net.stacks[1].leave(group, interface);
    assert_eq!(send(&mut net), [false, false]);
}

#[test]
fn a_flood_of_beginnings_is_answered_with_cookies() {
    let mut net = Net::new(Faults::default(), 1);
    let server = net.stacks[1].tcp_open(TcpOptions::default());
    net.stacks[1].bind(server, address("10.0.0.2:80"), false).unwrap();
    net.stacks[1].listen(server, 100).unwrap();
    net.stacks[1].settings.syn_backlog = 0;
    let client = net.stacks[0].tcp_open(TcpOptions::default());
    let now = net.now;
    let _ = net.stacks[0].connect(client, address("10.0.0.2:80"), now);
    net.run(SECOND);
    assert_eq!(net.stacks[0].connect_result(client), Ok(()));
    let accepted = net.stacks[1].accept(server).unwrap();
    net.transfer((0, client), accepted, &pattern(50_000), 10 * SECOND);
}
