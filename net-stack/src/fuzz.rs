//! What a fuzzer runs: the bodies of fuzz targets, as ordinary functions.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::stack::Socket;
use crate::tcp::Role;
use crate::tcp::seq::Seq;
use crate::udp::Marks;
use crate::wire::ethernet::{Mac, ether_type};
use crate::wire::{Packet, arp, ethernet, icmp, ip, ndp, tcp, udp};
use crate::{Checksum, InterfaceConfig, Medium, SocketId, Stack, TcpOptions, UdpOptions};

/// Sockets that a script opens at most.
const MAX_SOCKETS: usize = 24;
/// No buffer that a script asks for is larger.
const MAX_BUFFER: usize = 1 << 19;

/// Parses bytes as every kind of header; what parses must be written and read again as the same.
///
/// # Panics
/// When something is wrong with the crate.
pub fn headers(data: &[u8]) {
    let mut again = Vec::new();
    if let Some((header, _)) = tcp::Repr::parse(data) {
        header.emit(&mut again);
        assert_eq!(tcp::Repr::parse(&again), Some((header, again.len())), "TCP");
    }
    again.clear();
    if let Some((header, rest, length)) = ip::Repr::parse(data) {
        assert!(rest.len() < data.len(), "a header of no length");
        header.emit(length, &mut again);
        assert_eq!(ip::Repr::parse(&again).map(|(header, ..)| header), Some(header), "IP");
    }
    again.clear();
    if let Some(header) = udp::Repr::parse(data) {
        header.emit(0, &mut again);
        assert_eq!(udp::Repr::parse(&again), Some(header), "UDP");
    }
    for protocol in [1, 58] {
        again.clear();
        if let Some(message) = icmp::Message::parse(protocol, data) {
            message.emit(protocol, &mut again);
            assert_eq!(icmp::Message::parse(protocol, &again), Some(message), "ICMP");
        }
    }
    again.clear();
    if let Some(message) = arp::Repr::parse(data) {
        message.emit(&mut again);
        assert_eq!(arp::Repr::parse(&again), Some(message), "ARP");
    }
    let _ = ndp::Message::parse(data);
    if let Some((_, rest)) = ethernet::Repr::parse(data) {
        assert!(rest.len() < data.len(), "a frame without a header");
    }
}

struct Script<'a> {
    data: &'a [u8],
    stack: Stack,
    sockets: Vec<SocketId>,
    now: u64,
}

/// Has sockets talk to each other by a script, with segments of anybody's in between.
///
/// # Panics
/// When something is wrong with the crate.
pub fn script(data: &[u8]) {
    let stack = Stack::new(7);
    let mut script = Script { data, stack, sockets: Vec::new(), now: 0 };
    while let Some(step) = script.byte() {
        script.now = script.now.wrapping_add(1 << (step >> 4));
        script.step(step % 16);
        script.check();
    }
    for id in core::mem::take(&mut script.sockets) {
        script.stack.close(id, script.now);
    }
    script.check();
}

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.data.split_first()?;
        self.data = rest;
        Some(*first)
    }

    fn number(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.number(), self.number(), self.number(), self.number()])
    }

    fn bytes(&mut self) -> Bytes {
        let count = self.number();
        let count = if count > 250 { 4000 } else { count.into() };
        (0..count).map(|index| index as u8).collect::<Vec<_>>().into()
    }

    fn socket(&mut self) -> SocketId {
        let index = usize::from(self.number());
        let index = index.checked_rem(self.sockets.len()).unwrap_or(0);
        self.sockets.get(index).copied().unwrap_or(0)
    }

    fn address(&mut self) -> SocketAddr {
        let choice = self.number();
        let ip = match choice & 7 {
            0..=3 => IpAddr::from(Ipv4Addr::LOCALHOST),
            4 => Ipv4Addr::UNSPECIFIED.into(),
            5 => Ipv6Addr::LOCALHOST.into(),
            6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::from(self.word()).into(),
        };
        SocketAddr::new(ip, u16::from(choice >> 3 & 3) * 80)
    }

    fn open(&mut self) {
        if self.sockets.len() >= MAX_SOCKETS {
            return;
        }
        let choice = self.number();
        let v6 = choice & 2 != 0;
        let id = if choice & 1 == 0 {
            let buffer = (choice & 4 != 0).then_some(4096);
            let options = TcpOptions {
                v6,
                reuse_address: choice & 8 != 0,
                reuse_port: choice & 16 != 0,
                send_buffer: buffer,
                receive_buffer: buffer,
                abort_on_close: choice & 32 != 0,
                urgent_inline: choice & 64 != 0,
                ..TcpOptions::default()
            };
            self.stack.tcp_open(options)
        } else {
            self.stack.udp_open(UdpOptions { v6, ..UdpOptions::default() })
        };
        self.sockets.push(id);
    }

    fn step(&mut self, step: u8) {
        let now = self.now;
        let id = if step == 0 { 0 } else { self.socket() };
        match step {
            0 => self.open(),
            1 => drop(self.address()),
            2 => {
                let address = self.address();
                let _ = self.stack.bind(id, address, false);
                let _ = self.stack.listen(id, 2);
            }
            3 => {
                let address = self.address();
                let _ = self.stack.connect(id, address, now);
                let _ = self.stack.connect_result(id);
            }
            4 => self.sockets.extend(self.stack.accept(id)),
            5 => {
                let data = self.bytes();
                let _ = self.stack.tcp_send(id, &data, now);
                let _ = self.stack.udp_send(id, None, data, Marks::default());
            }
            6 => {
                let most = usize::from(self.number()) * 16;
                let mut take = |bytes: &[u8]| Ok(bytes.len());
                let _ = self.stack.tcp_receive(id, most, now & 1 != 0, 0, &mut take);
                let _ = self.stack.udp_receive(id, now & 1 != 0);
            }
            7 => {
                let data = self.bytes();
                let _ = self.stack.tcp_send_urgent(id, data, now);
                let _ = self.stack.tcp_receive_urgent(id, false);
                let _ = self.stack.tcp_at_mark(id);
            }
            8 => {
                let how = self.number();
                let _ = self.stack.shutdown(id, how & 1 != 0, how & 2 != 0, now);
            }
            9 => {
                self.sockets.retain(|known| *known != id);
                self.stack.close(id, now);
            }
            10 => {
                let size = usize::from(self.number()) << (self.number() % 11);
                self.stack.tcp_configure(id, |options| options.receive_buffer = Some(size));
            }
            11 => {
                let (to, data) = (self.address(), self.bytes());
                let _ = self.stack.udp_send(id, Some(to), data, Marks::default());
            }
            12 => drop(self.stack.disconnect(id)),
            13 => self.raw(),
            _ => self.segment(id),
        }
    }

    /// A packet of anything.
    fn raw(&mut self) {
        let count = usize::from(self.number() % 80).min(self.data.len());
        let (header, rest) = self.data.split_at(count);
        self.data = rest;
        let payload = self.bytes();
        self.stack.input(Packet { header: SmallVec::from_slice(header), payload }, None);
        self.stack.run();
    }

    /// A segment that looks as if the peer of a socket had sent it, with numbers near those that are expected.
    fn segment(&mut self, id: SocketId) {
        let Ok(socket) = self.stack.tcp(id) else { return };
        let bound = socket.bound;
        let (seq, ack) = match &socket.role {
            Role::Open(connection) => (connection.rcv_nxt, connection.snd_nxt),
            Role::SynSent(state) => (Seq(0), state.iss.add(1)),
            Role::SynReceived(state) => (state.opening.rcv_nxt, state.opening.snd_nxt),
            _ => (Seq(0), Seq(0)),
        };
        let stray = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let (local, remote) = socket.ends().unwrap_or((bound.unwrap_or(stray), stray));
        let flags = self.number();
        let near = |number: u8| u32::from(number).wrapping_sub(if number > 127 { 256 } else { 0 });
        let seq = seq.add(if flags & 32 != 0 { near(self.number()) } else { 0 });
        let ack = ack.add(if flags & 64 != 0 { near(self.number()) } else { 0 });
        let header = tcp::Repr {
            from: remote.port(),
            to: local.port(),
            seq: if flags == 255 { Seq(self.word()) } else { seq },
            ack: (flags & 16 != 0).then_some(ack),
            syn: flags & 2 != 0,
            fin: flags & 1 != 0,
            rst: flags & 4 != 0,
            psh: false,
            urgent: (flags & 8 != 0).then_some(self.number().into()),
            window: self.word() as u16,
            mss: (flags & 2 != 0).then_some(self.number().into()),
            scale: (flags & 128 != 0).then_some(self.number()),
            ..tcp::Repr::default()
        };
        let payload = if flags & 2 == 0 { self.bytes() } else { Bytes::new() };
        let mut transport: SmallVec<[u8; 64]> = SmallVec::new();
        header.emit(&mut transport);
        let mut bytes = SmallVec::new();
        ip::Repr::new(remote.ip(), local.ip(), 6)
            .emit(transport.len().saturating_add(payload.len()), &mut bytes);
        bytes.extend_from_slice(&transport);
        self.stack.input(Packet { header: bytes, payload }, None);
        self.stack.run();
    }

    /// What must hold whatever has come.
    fn check(&mut self) {
        let _ = self.stack.take_events();
        for (id, socket) in &self.stack.sockets {
            let Socket::Tcp(socket) = socket else { continue };
            let _ = socket.poll();
            let Role::Open(connection) = &socket.role else { continue };
            let (sent, received) = (connection.send.len(), connection.receive.len());
            assert!(received <= MAX_BUFFER, "socket {id} has received {received} bytes");
            assert!(sent <= MAX_BUFFER, "socket {id} has {sent} bytes to send");
            let flight = connection.snd_nxt.since(connection.snd_una) as usize;
            assert!(flight <= sent.saturating_add(1), "socket {id} has sent {flight} of {sent}");
        }
    }
}

/// Feeds frames of anybody on the link to a stack that listens, connects and pings, as time goes by.
///
/// # Panics
/// When something is wrong with the crate.
pub fn frames(data: &[u8]) {
    let own = Mac([2, 0, 0, 0, 0, 1]);
    let mut stack = Stack::new(7);
    let id = stack.add_interface(InterfaceConfig {
        name: "eth0".into(),
        medium: Medium::Ethernet(own),
        mtu: 1500,
        checksum_offload: false,
        segment_offload: 0,
    });
    let (v4, v6) = (Ipv4Addr::new(10, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
    let _ = stack.add_address(id, v4.into(), 24);
    let _ = stack.add_address(id, v6.into(), 64);
    let _ = stack.add_link_local(id);
    let server = stack.tcp_open(TcpOptions { v6: true, ..TcpOptions::default() });
    let _ = stack.bind(server, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 80), false);
    let _ = stack.listen(server, 4);
    let client = stack.tcp_open(TcpOptions::default());
    let peer = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 80));
    let _ = stack.connect(client, peer, 0);
    let datagrams = stack.udp_open(UdpOptions::default());
    let _ = stack.bind(datagrams, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53)), false);
    let mut rest = data;
    let mut now = 0;
    while let Some(([step, length, kind], behind)) = rest.split_first_chunk::<3>() {
        now += 1_u64 << (step % 40);
        let (body, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        let mut frame = Vec::new();
        let ether_type =
            [ether_type::IPV4, ether_type::IPV6, ether_type::ARP][usize::from(kind % 3)];
        ethernet::Repr { to: own, from: Mac([2, 0, 0, 0, 0, 2]), ether_type }.emit(&mut frame);
        match kind % 3 {
            0 => {
                let from = Ipv4Addr::new(10, 0, 0, 2);
                let repr = ip::Repr::new(from.into(), v4.into(), kind >> 2);
                repr.emit(body.len(), &mut frame);
            }
            1 => {
                let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
                let repr =
                    ip::Repr { hops: 255, ..ip::Repr::new(from.into(), v6.into(), kind >> 2) };
                repr.emit(body.len(), &mut frame);
            }
            _ => {}
        }
        frame.extend_from_slice(body);
        stack.receive(id, &Bytes::from(frame), Checksum::Trusted, now);
        stack.advance(now);
        while stack.transmit(id).is_some() {}
        let _ = stack.take_events();
        let _ = (stack.deadline(), stack.accept(server), stack.udp_receive(datagrams, false));
        let mut take = |bytes: &[u8]| Ok(bytes.len());
        let _ = stack.tcp_receive(client, 1 << 16, false, 0, &mut take);
    }
    assert!(stack.neighbours(id).len() <= 1024 && stack.routes().len() <= 4096);
}
