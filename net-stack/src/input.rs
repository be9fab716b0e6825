//! Packets that come in: what they are, whom they are for, what they do.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;

use crate::interface::InterfaceId;
use crate::ports::Binding;
use crate::stack::{Socket, SocketId, Stack};
use crate::tcp::connection::{Opening, Outcome};
use crate::tcp::handshake::{Offer, Repetition};
use crate::tcp::seq::Seq;
use crate::tcp::{Role, SynReceived, TcpSocket};
use crate::udp::Datagram;
use crate::wire::icmp::Reason;
use crate::wire::ip::{self, protocol};
use crate::wire::{Packet, tcp, udp};

/// First segments that wait for room in a listener.
const MAX_DEFERRED: usize = 1024;

impl Stack {
    /// Carries packets around the loopback link until there are none.
    pub(crate) fn run(&mut self) {
        while let Some(packet) = self.link.pop_front() {
            self.input(packet, None);
        }
    }

    /// A packet has come in: on an interface, or from this stack. Its headers are whole and its payload is what the
    /// transport carries.
    pub fn input(&mut self, packet: Packet, interface: Option<InterfaceId>) {
        let Some((network, rest, _)) = ip::Repr::parse(&packet.header) else { return };
        let taken = self.deliver_raw(&network, &packet, interface);
        match network.protocol {
            protocol::TCP => {
                let Some((header, _)) = tcp::Repr::parse(rest) else { return };
                self.input_tcp(&network, header, packet.clone());
            }
            protocol::UDP => {
                if let Some(header) = udp::Repr::parse(rest) {
                    self.input_udp(&network, header, &packet, interface);
                }
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let message = packet.payload.clone();
                if rest.is_empty() {
                    self.input_icmp(&network, &message);
                }
            }
            _ if taken => {}
            _ => self.send_error(&network, &packet, Reason::Protocol),
        }
    }

    fn input_udp(
        &mut self,
        network: &ip::Repr,
        header: udp::Repr,
        packet: &Packet,
        interface: Option<InterfaceId>,
    ) {
        let from = SocketAddr::new(network.from, header.from);
        let to = SocketAddr::new(network.to, header.to);
        let takers = self.udp_ports.matching(to);
        let peer_of = |id: SocketId| match self.sockets.get(&id) {
            Some(Socket::Udp(socket)) => socket.peer,
            _ => None,
        };
        let datagram = Datagram {
            from,
            to: network.to,
            hops: network.hops,
            class: network.class,
            interface,
            data: packet.payload.clone(),
        };
        let for_all = network.to.is_multicast() || self.is_broadcast_here(network.to, interface);
        let connected = takers.iter().find(|binding| peer_of(binding.id) == Some(from));
        let open = |binding: &&Binding| peer_of(binding.id).is_none();
        let taken: Vec<SocketId> = if for_all {
            let fits = |binding: &&Binding| peer_of(binding.id).is_none_or(|peer| peer == from);
            takers.iter().filter(fits).map(|binding| binding.id).collect()
        } else {
            connected.or(takers.iter().find(open)).map(|binding| binding.id).into_iter().collect()
        };
        if taken.is_empty() && !for_all {
            self.send_error(network, packet, Reason::Port);
        }
        for taker in taken {
            if self.udp(taker).is_ok_and(|socket| socket.push(datagram.clone())) {
                self.tell(taker, PollEvents::POLLIN | PollEvents::POLLRDNORM);
            }
        }
    }

    /// Whether an address means everybody on the link that a packet came from.
    fn is_broadcast_here(&self, to: core::net::IpAddr, interface: Option<InterfaceId>) -> bool {
        let core::net::IpAddr::V4(to) = to else { return false };
        let of_link = interface
            .and_then(|id| self.interface(id))
            .is_some_and(|one| one.addresses.iter().any(|address| address.broadcast() == Some(to)));
        to.is_broadcast() || of_link
    }

    fn input_tcp(&mut self, network: &ip::Repr, header: tcp::Repr, packet: Packet) {
        let local = SocketAddr::new(network.to, header.to);
        let remote = SocketAddr::new(network.from, header.from);
        if local.ip().is_multicast() || remote.ip().is_unspecified() {
            return;
        }
        if let Some(id) = self.demux.get(&(local, remote)) {
            self.input_connection(id, local, remote, &header, packet.payload);
            self.rearm(id);
            return;
        }
        if self.answer_for_resting(local, remote, &header, packet.payload.len()) {
            return;
        }
        if !header.rst && (header.syn != header.ack.is_some()) {
            let listener =
                self.tcp_ports.matching(local).into_iter().find(|binding| binding.listening);
            match listener {
                Some(binding) if header.syn => {
                    self.input_syn(binding.id, local, remote, &header, packet);
                    return;
                }
                Some(binding) if self.input_cookie(binding.id, local, remote, &header) => {
                    if let Some(id) = self.demux.get(&(local, remote)) {
                        self.input_connection(id, local, remote, &header, packet.payload);
                        self.rearm(id);
                    }
                    return;
                }
                _ => {}
            }
        }
        if !header.rst {
            self.refuse_segment(local, remote, &header, packet.payload.len());
        }
    }

    /// A late segment of a connection whose ends rest (RFC 9293 §3.10.7.4, RFC 1337); false where there is none, or where
    /// it begins a new one.
    fn answer_for_resting(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
        payload: usize,
    ) -> bool {
        let ends = (local, remote);
        let Some(resting) = self.demux.resting_at(&ends, self.now) else { return false };
        if header.syn && header.ack.is_none() && resting.rcv_nxt.before(header.seq) {
            self.demux.wake(&ends);
            return false;
        }
        if header.rst || (payload == 0 && !header.fin && !header.syn) {
            return true;
        }
        if header.fin {
            let now = self.now;
            self.demux.rest_again(&ends, now);
        }
        let reply = tcp::Repr {
            from: local.port(),
            to: remote.port(),
            seq: resting.snd_nxt,
            ack: Some(resting.rcv_nxt),
            ..tcp::Repr::default()
        };
        self.emit_tcp(local.ip(), remote.ip(), reply, Bytes::new());
        true
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
        let lossless = self.is_own(remote.ip());
        let now = self.now;
        let settings = self.settings;
        let Ok(socket) = self.tcp(id) else { return };
        let Role::Listening(listener) = &mut socket.role else { return };
        if listener.ready.len() > listener.backlog {
            // On this stack nothing is lost: it is looked at again when there is room.
            let known = |other: &Packet| other.header == packet.header;
            if lossless
                && listener.deferred.len() < MAX_DEFERRED
                && !listener.deferred.iter().any(known)
            {
                listener.deferred.push_back(packet);
            }
            return;
        }
        if listener.half_open.len() >= settings.syn_backlog.min(listener.backlog.max(8) * 2) {
            if settings.syn_cookies {
                let iss = self.secret.cookie(local, remote, header, now);
                self.send_cookie(id, local, remote, header, iss);
            }
            return;
        }
        let iss = self.secret.first_seq(local, remote, now);
        self.add_half_open(id, local, remote, header, iss);
        if let Some(child) = self.demux.get(&(local, remote))
            && let Ok(socket) = self.tcp(child)
            && let Role::SynReceived(state) = &socket.role
        {
            let reply = state.reply;
            self.emit_tcp(local.ip(), remote.ip(), reply, Bytes::new());
            if !lossless {
                self.rearm(child);
            }
        }
    }

    /// Makes the socket of a connection that begins.
    fn add_half_open(
        &mut self,
        listener: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        syn: &tcp::Repr,
        iss: Seq,
    ) {
        let Ok(offer) = self.offer(listener, local, remote) else { return };
        let Ok(socket) = self.tcp(listener) else { return };
        let mut child = TcpSocket::new(socket.options);
        child.bound = Some(local);
        let opening = self.opening(&child, &offer, (local, remote), iss, syn);
        let reply = offer.answer(&opening, syn, iss);
        let repetition = Repetition::new(self.settings.syn_ack_retries, self.now);
        let binding = Binding {
            id: 0,
            address: local.ip(),
            dual: false,
            reuse_address: child.options.reuse_address,
            reuse_port: child.options.reuse_port,
            listening: false,
            user: child.options.user,
        };
        child.role = Role::SynReceived(Box::new(SynReceived {
            listener: Some(listener),
            opening,
            reply,
            repetition,
        }));
        let child = self.add(Socket::Tcp(child));
        self.tcp_ports.insert(local.port(), Binding { id: child, ..binding });
        self.demux.insert((local, remote), child);
        if let Ok(socket) = self.tcp(listener)
            && let Role::Listening(state) = &mut socket.role
        {
            state.half_open.insert(child);
        }
    }

    /// Answers a SYN without remembering it: options that a cookie cannot tell are not offered.
    fn send_cookie(
        &mut self,
        listener: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        syn: &tcp::Repr,
        iss: Seq,
    ) {
        let Ok(offer) = self.offer(listener, local, remote) else { return };
        let offer = Offer { shift: 0, sack: false, timestamps: false, ..offer };
        let mut reply = offer.syn(local, remote, iss);
        reply.ack = Some(syn.seq.add(1));
        self.emit_tcp(local.ip(), remote.ip(), reply, Bytes::new());
    }

    /// An acknowledgement of a cookie makes the connection after all.
    fn input_cookie(
        &mut self,
        id: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
    ) -> bool {
        let (Some(ack), now) = (header.ack, self.now) else { return false };
        if !self.settings.syn_cookies || self.is_own(remote.ip()) {
            return false;
        }
        let Some(syn) = self.secret.open_cookie(local, remote, ack, header.seq, now) else {
            return false;
        };
        let has_room = match self.tcp(id).map(|socket| &socket.role) {
            Ok(Role::Listening(listener)) => listener.ready.len() <= listener.backlog,
            _ => false,
        };
        if has_room {
            self.add_half_open(id, local, remote, &syn, ack.add(u32::MAX));
        }
        has_room
    }

    /// What a SYN says of the connection that it begins.
    fn opening(
        &self,
        socket: &TcpSocket,
        offer: &Offer,
        (local, remote): (SocketAddr, SocketAddr),
        iss: Seq,
        syn: &tcp::Repr,
    ) -> Opening {
        let lossless = self.is_own(remote.ip());
        let clock_offset = self.secret.clock_offset(local, remote);
        let choices = socket.choices(&self.settings, lossless);
        offer.accept((local, remote), iss, syn, choices, (lossless, clock_offset))
    }

    fn input_connection(
        &mut self,
        id: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
        header: &tcp::Repr,
        payload: Bytes,
    ) {
        let now = self.now;
        let Ok(socket) = self.tcp(id) else { return };
        match &mut socket.role {
            Role::SynSent(_) => self.input_syn_sent(id, local, remote, header),
            Role::SynReceived(_) => self.input_syn_received(id, local, remote, header, payload),
            Role::Open(connection) => {
                let mut out = Vec::new();
                let outcome = connection.input(header, payload, socket.orphan, now, &mut out);
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
        let Ok(offer) = self.offer(id, local, remote) else { return };
        let (now, retries) = (self.now, self.settings.syn_retries);
        let Some(Socket::Tcp(socket)) = self.sockets.get(&id) else { return };
        let opening = self.opening(socket, &offer, (local, remote), iss, header);
        let reply = offer.answer(&opening, header, iss);
        let Ok(socket) = self.tcp(id) else { return };
        if acked {
            socket.role = Self::open_connection(&opening, now);
            let mut out = Vec::new();
            if let Role::Open(connection) = &mut socket.role {
                connection.acknowledge(now, &mut out);
            }
            self.emit_all((local.ip(), remote.ip()), out);
            self.tell(id, PollEvents::POLLOUT | PollEvents::POLLWRNORM);
        } else {
            // Both sides have called at the same time.
            let repetition = Repetition::new(retries, now);
            socket.role = Role::SynReceived(Box::new(SynReceived {
                listener: None,
                opening,
                reply,
                repetition,
            }));
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
        let now = self.now;
        let Ok(socket) = self.tcp(id) else { return };
        let Role::SynReceived(state) = &mut socket.role else { return };
        let listener = state.listener;
        if header.rst {
            match listener {
                _ if header.seq != state.opening.rcv_nxt => {}
                Some(_) => self.forget_half_open(id),
                None => self.fail(id, Errno::ECONNREFUSED),
            }
            return;
        }
        if header.ack != Some(state.opening.snd_nxt) {
            let repeated = header.syn && header.ack.is_none();
            let reply = state.reply;
            if repeated {
                self.emit_tcp(local.ip(), remote.ip(), reply, Bytes::new());
            } else if header.ack.is_some() {
                self.refuse_segment(local, remote, header, 0);
            }
            return;
        }
        let window = if header.syn {
            header.window.into()
        } else {
            u32::from(header.window) << state.opening.path.snd_shift
        };
        state.opening.snd_wnd = window;
        let opening = &state.opening;
        let open = Self::open_connection(opening, now);
        if let Some(listener) = listener {
            let Ok(parent) = self.tcp(listener) else { return };
            let Role::Listening(state) = &mut parent.role else { return };
            if state.ready.len() > state.backlog {
                return; // the peer will say it again
            }
            state.half_open.remove(&id);
            state.ready.push_back(id);
            self.tell(listener, PollEvents::POLLIN | PollEvents::POLLRDNORM);
        } else {
            self.tell(id, PollEvents::POLLOUT | PollEvents::POLLWRNORM);
        }
        let Ok(socket) = self.tcp(id) else { return };
        socket.role = open;
        if !payload.is_empty() || header.fin {
            self.input_connection(id, local, remote, header, payload);
        }
    }

    /// What a segment has made of an open connection.
    pub(crate) fn after_input(&mut self, id: SocketId, outcome: Outcome) {
        let Ok(socket) = self.tcp(id) else { return };
        let (orphan, ends, reuse) = (socket.orphan, socket.ends(), socket.options.reuse_address);
        let next = match &socket.role {
            Role::Open(connection) => (connection.snd_nxt, connection.rcv_nxt),
            _ => Default::default(),
        };
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
            Outcome::Closed | Outcome::TimedOut => self.end_tcp(id, false),
            Outcome::Abort => self.end_tcp(id, true),
            Outcome::TimeWait => {
                self.end_tcp(id, false);
                if let Some(ends) = ends {
                    let now = self.now;
                    self.demux.rest(ends, reuse, next, now);
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
    pub(crate) fn fail(&mut self, id: SocketId, errno: Errno) {
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
