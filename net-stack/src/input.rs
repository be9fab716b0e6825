//! Packets that come in: what they are, whom they are for, what they do.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;
use smallvec::SmallVec;

use crate::ports::Binding;
use crate::stack::{Socket, SocketId, Stack};
use crate::tcp::connection::{Opening, Outcome};
use crate::tcp::seq::Seq;
use crate::tcp::{Role, SynReceived, TcpSocket, WINDOW_SHIFT};
use crate::udp::{Datagram, Marks};
use crate::wire::ip::{self, protocol};
use crate::wire::{Packet, icmp, tcp, udp};

/// First segments that wait for room in a listener.
const MAX_DEFERRED: usize = 1024;
/// The segment size of a peer that does not say one.
const DEFAULT_MSS: u16 = 536;

impl Stack {
    pub(crate) fn emit_tcp(&mut self, from: IpAddr, to: IpAddr, header: tcp::Repr, payload: Bytes) {
        let mut transport: SmallVec<[u8; 40]> = SmallVec::new();
        header.emit(&mut transport);
        self.emit_ip(from, to, protocol::TCP, Marks::default(), &transport, payload);
    }

    pub(crate) fn emit_udp(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        marks: Marks,
        payload: Bytes,
    ) {
        let mut transport: SmallVec<[u8; 40]> = SmallVec::new();
        udp::Repr { from: from.port(), to: to.port() }.emit(payload.len(), &mut transport);
        self.emit_ip(from.ip(), to.ip(), protocol::UDP, marks, &transport, payload);
    }

    fn emit_ip(
        &mut self,
        from: IpAddr,
        to: IpAddr,
        protocol: u8,
        marks: Marks,
        transport: &[u8],
        payload: Bytes,
    ) {
        let mut header = SmallVec::new();
        ip::Repr { from, to, protocol, hops: marks.hops, class: marks.class }
            .emit(transport.len() + payload.len(), &mut header);
        header.extend_from_slice(transport);
        self.link.push_back(Packet { header, payload });
    }

    /// Carries packets around the loopback link until there are none.
    pub(crate) fn run(&mut self) {
        while let Some(packet) = self.link.pop_front() {
            self.input(packet);
        }
    }

    /// A packet has come in.
    pub fn input(&mut self, packet: Packet) {
        let Some((network, rest, _)) = ip::Repr::parse(&packet.header) else { return };
        match network.protocol {
            protocol::TCP => {
                let Some((header, _)) = tcp::Repr::parse(rest) else { return };
                self.input_tcp(&network, header, packet.clone());
            }
            protocol::UDP => {
                if let Some(header) = udp::Repr::parse(rest) {
                    self.input_udp(&network, header, &packet);
                }
            }
            protocol::ICMP | protocol::ICMPV6 => self.input_icmp(network.protocol, &packet.payload),
            _ => {}
        }
    }

    fn input_udp(&mut self, network: &ip::Repr, header: udp::Repr, packet: &Packet) {
        let from = SocketAddr::new(network.from, header.from);
        let to = SocketAddr::new(network.to, header.to);
        let takers = self.udp_ports.matching(to);
        let peer_of = |id: SocketId| match self.sockets.get(&id) {
            Some(Socket::Udp(socket)) => socket.peer,
            _ => None,
        };
        let connected = takers.iter().find(|binding| peer_of(binding.id) == Some(from));
        let open = takers.iter().find(|binding| peer_of(binding.id).is_none());
        let Some(taker) = connected.or(open).map(|binding| binding.id) else {
            self.refuse_datagram(network, packet);
            return;
        };
        let datagram = Datagram {
            from,
            to: network.to,
            hops: network.hops,
            class: network.class,
            data: packet.payload.clone(),
        };
        if self.udp(taker).is_ok_and(|socket| socket.push(datagram)) {
            self.tell(taker, PollEvents::POLLIN | PollEvents::POLLRDNORM);
        }
    }

    /// Tells the sender of a datagram that nobody takes it.
    fn refuse_datagram(&mut self, network: &ip::Repr, packet: &Packet) {
        let kind = if network.to.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        let mut message = Vec::new();
        icmp::emit_port_unreachable(kind, &packet.header, &mut message);
        self.emit_ip(network.to, network.from, kind, Marks::default(), &[], Bytes::from(message));
    }

    fn input_icmp(&mut self, kind: u8, message: &[u8]) {
        let Some(original) = icmp::parse_port_unreachable(kind, message) else { return };
        let Some((network, rest, _)) = ip::Repr::parse(original) else { return };
        let Some(header) = udp::Repr::parse(rest) else { return };
        let (from, to) =
            (SocketAddr::new(network.from, header.from), SocketAddr::new(network.to, header.to));
        for binding in self.udp_ports.matching(from) {
            let Ok(socket) = self.udp(binding.id) else { continue };
            if socket.peer == Some(to) {
                socket.error = Some(Errno::ECONNREFUSED);
                self.tell(binding.id, PollEvents::POLLERR);
                return;
            }
        }
    }

    fn input_tcp(&mut self, network: &ip::Repr, header: tcp::Repr, packet: Packet) {
        let local = SocketAddr::new(network.to, header.to);
        let remote = SocketAddr::new(network.from, header.from);
        if let Some(id) = self.demux.get(&(local, remote)) {
            self.input_connection(id, local, remote, &header, packet.payload);
            return;
        }
        if header.syn && header.ack.is_none() && !header.rst {
            let listener =
                self.tcp_ports.matching(local).into_iter().find(|binding| binding.listening);
            if let Some(binding) = listener {
                self.input_syn(binding.id, local, remote, &header, packet);
                return;
            }
        }
        if !header.rst {
            self.refuse_segment(local, remote, &header, packet.payload.len());
        }
    }

    /// Answers a segment that belongs to nothing with a reset.
    fn refuse_segment(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
        payload: usize,
    ) {
        let length = payload as u32 + u32::from(header.syn) + u32::from(header.fin);
        let mut reply =
            tcp::Repr { from: local.port(), to: remote.port(), rst: true, ..tcp::Repr::default() };
        match header.ack {
            Some(ack) => reply.seq = ack,
            None => reply.ack = Some(header.seq.add(length)),
        }
        self.emit_tcp(local.ip(), remote.ip(), reply, Bytes::new());
    }

    fn input_syn(
        &mut self,
        id: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
        packet: Packet,
    ) {
        let iss = Seq(self.random.next());
        let Ok(socket) = self.tcp(id) else { return };
        let mut child = TcpSocket::new(socket.options);
        let Role::Listening(listener) = &mut socket.role else { return };
        if listener.ready.len() > listener.backlog {
            if listener.deferred.len() < MAX_DEFERRED {
                listener.deferred.push_back(packet);
            }
            return;
        }
        child.bound = Some(local);
        let opening = opening(&child, local, remote, iss.add(1), header);
        let reply = syn_ack(&child, &opening, iss);
        child.role =
            Role::SynReceived(alloc::boxed::Box::new(SynReceived { listener: Some(id), opening }));
        let binding = Binding {
            id: 0,
            address: local.ip(),
            dual: false,
            reuse_address: child.options.reuse_address,
            reuse_port: child.options.reuse_port,
            listening: false,
            user: child.options.user,
        };
        let child = self.add(Socket::Tcp(child));
        self.tcp_ports.insert(local.port(), Binding { id: child, ..binding });
        self.demux.insert((local, remote), child);
        self.emit_tcp(local.ip(), remote.ip(), reply, Bytes::new());
    }

    fn input_connection(
        &mut self,
        id: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
        payload: Bytes,
    ) {
        let Ok(socket) = self.tcp(id) else { return };
        match &mut socket.role {
            Role::SynSent(_) => self.input_syn_sent(id, local, remote, header),
            Role::SynReceived(_) => self.input_syn_received(id, local, remote, header, payload),
            Role::Open(connection) => {
                let mut out = Vec::new();
                let outcome = connection.input(header, payload, socket.orphan, &mut out);
                self.emit_all((local.ip(), remote.ip()), out);
                self.after_input(id, outcome);
            }
            Role::Idle | Role::Refused | Role::Listening(_) | Role::Ended(_) => {}
        }
    }

    fn input_syn_sent(
        &mut self,
        id: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
    ) {
        let Ok(socket) = self.tcp(id) else { return };
        let Role::SynSent(state) = &socket.role else { return };
        let iss = state.iss;
        let acked = header.ack == Some(iss.add(1));
        if header.ack.is_some() && !acked {
            if !header.rst {
                self.refuse_segment(local, remote, header, 0);
            }
            return;
        }
        if header.rst {
            if acked {
                self.fail(id, Errno::ECONNREFUSED);
            }
            return;
        }
        if !header.syn {
            return;
        }
        let opening = opening(socket, local, remote, iss.add(1), header);
        if acked {
            socket.role = Self::open_connection(&opening);
            let mut out = Vec::new();
            if let Role::Open(connection) = &mut socket.role {
                connection.acknowledge(&mut out);
            }
            self.emit_all((local.ip(), remote.ip()), out);
            self.tell(id, PollEvents::POLLOUT | PollEvents::POLLWRNORM);
        } else {
            // Both sides have called at the same time.
            let reply = syn_ack(socket, &opening, iss);
            socket.role =
                Role::SynReceived(alloc::boxed::Box::new(SynReceived { listener: None, opening }));
            self.emit_tcp(local.ip(), remote.ip(), reply, Bytes::new());
        }
    }

    fn input_syn_received(
        &mut self,
        id: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
        payload: Bytes,
    ) {
        let Ok(socket) = self.tcp(id) else { return };
        let Role::SynReceived(state) = &mut socket.role else { return };
        let listener = state.listener;
        if header.rst {
            match listener {
                Some(_) => self.forget_tcp(id),
                None => self.fail(id, Errno::ECONNREFUSED),
            }
            return;
        }
        if header.ack != Some(state.opening.snd_nxt) {
            return;
        }
        let window = if header.syn {
            header.window.into()
        } else {
            u32::from(header.window) << state.opening.snd_shift
        };
        state.opening.snd_wnd = window;
        socket.role = Self::open_connection(&state.opening);
        match listener {
            Some(listener) => {
                let Ok(socket) = self.tcp(listener) else { return };
                if let Role::Listening(state) = &mut socket.role {
                    state.ready.push_back(id);
                }
                self.tell(listener, PollEvents::POLLIN | PollEvents::POLLRDNORM);
            }
            None => self.tell(id, PollEvents::POLLOUT | PollEvents::POLLWRNORM),
        }
        if !payload.is_empty() || header.fin {
            self.input_connection(id, local, remote, header, payload);
        }
    }

    /// What a segment has made of an open connection.
    fn after_input(&mut self, id: SocketId, outcome: Outcome) {
        let Ok(socket) = self.tcp(id) else { return };
        let (orphan, ends, reuse) = (socket.orphan, socket.ends(), socket.options.reuse_address);
        match outcome {
            Outcome::Open => {
                let events = socket.poll();
                self.tell(id, events);
                return;
            }
            Outcome::Reset => {
                let half_closed =
                    matches!(&socket.role, Role::Open(connection) if connection.peer_finished());
                socket.error = Some(if half_closed { Errno::EPIPE } else { Errno::ECONNRESET });
                self.end_tcp(id, false);
            }
            Outcome::Closed => self.end_tcp(id, false),
            Outcome::Abort => self.end_tcp(id, true),
            Outcome::TimeWait => {
                self.end_tcp(id, false);
                if let Some(ends) = ends {
                    let now = self.now;
                    self.demux.rest(ends, reuse, now);
                }
            }
        }
        if orphan {
            self.forget_tcp(id);
        } else {
            self.tell(id, PollEvents::all());
        }
    }

    /// A handshake has failed.
    fn fail(&mut self, id: SocketId, errno: Errno) {
        self.end_tcp(id, false);
        let Ok(socket) = self.tcp(id) else { return };
        socket.role = Role::Refused;
        socket.error = Some(errno);
        if socket.orphan {
            self.forget_tcp(id);
        } else {
            self.tell(id, PollEvents::all());
        }
    }
}

/// What a SYN says of the connection that it begins.
fn opening(
    socket: &TcpSocket,
    local: SocketAddr,
    remote: SocketAddr,
    snd_nxt: Seq,
    syn: &tcp::Repr,
) -> Opening {
    let own = TcpSocket::own_mss(remote);
    Opening {
        local,
        remote,
        snd_nxt,
        rcv_nxt: syn.seq.add(1),
        snd_wnd: syn.window.into(),
        snd_shift: syn.scale.unwrap_or(0),
        rcv_shift: if syn.scale.is_some() { WINDOW_SHIFT } else { 0 },
        mss: usize::from(syn.mss.unwrap_or(DEFAULT_MSS).min(own)).max(1),
        send_limit: socket.send_limit(),
        receive_limit: socket.receive_limit(),
    }
}

fn syn_ack(socket: &TcpSocket, opening: &Opening, iss: Seq) -> tcp::Repr {
    tcp::Repr {
        from: opening.local.port(),
        to: opening.remote.port(),
        seq: iss,
        ack: Some(opening.rcv_nxt),
        syn: true,
        window: u16::try_from(socket.receive_limit()).unwrap_or(u16::MAX),
        mss: Some(TcpSocket::own_mss(opening.remote)),
        scale: (opening.rcv_shift > 0).then_some(WINDOW_SHIFT),
        ..tcp::Repr::default()
    }
}
