//! The stack: sockets by number, POSIX-shaped calls, and the loopback link.
//!
//! Every call does its work, then carries packets around until there are none, and notes which sockets have
//! become ready ([`Stack::take_events`]). Times are nanoseconds of a monotonic clock.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;

use crate::address::{destination, is_local, mapped, source_for, unmapped};
use crate::demux::Demux;
use crate::ports::{Binding, Ports};
use crate::random::Random;
use crate::tcp::connection::{Connection, Segment};
use crate::tcp::seq::Seq;
use crate::tcp::{
    Ended, Listener, Role, SynSent, TcpOptions, TcpSocket, TcpState, TcpStats, WINDOW_SHIFT,
};
use crate::udp::{Datagram, Marks, UdpOptions, UdpSocket};
use crate::wire::udp::{MAX_PAYLOAD, MAX_PAYLOAD_V6};
use crate::wire::{self, Packet};

/// Names a socket of a stack.
pub type SocketId = u64;

/// Transport protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

pub(crate) enum Socket {
    Tcp(TcpSocket),
    Udp(UdpSocket),
}

/// A TCP/IP stack with a loopback interface.
pub struct Stack {
    pub(crate) sockets: HashMap<SocketId, Socket>,
    pub(crate) tcp_ports: Ports,
    pub(crate) udp_ports: Ports,
    pub(crate) demux: Demux,
    pub(crate) random: Random,
    pub(crate) link: VecDeque<Packet>,
    pub(crate) now: u64,
    events: Vec<(SocketId, PollEvents)>,
    next_id: SocketId,
}

impl Stack {
    /// A stack without sockets.
    pub fn new(seed: u64) -> Self {
        Self {
            sockets: HashMap::new(),
            tcp_ports: Ports::default(),
            udp_ports: Ports::default(),
            demux: Demux::default(),
            random: Random::new(seed),
            link: VecDeque::new(),
            now: 0,
            events: Vec::new(),
            next_id: 1,
        }
    }

    /// Which sockets have changed since the last call, and what may have become possible.
    pub fn take_events(&mut self) -> Vec<(SocketId, PollEvents)> {
        core::mem::take(&mut self.events)
    }

    pub(crate) fn tell(&mut self, id: SocketId, events: PollEvents) {
        self.events.push((id, events));
    }

    pub(crate) fn add(&mut self, socket: Socket) -> SocketId {
        let id = self.next_id;
        self.next_id += 1;
        self.sockets.insert(id, socket);
        id
    }

    pub(crate) fn tcp(&mut self, id: SocketId) -> Result<&mut TcpSocket> {
        match self.sockets.get_mut(&id) {
            Some(Socket::Tcp(socket)) => Ok(socket),
            _ => Err(Errno::EBADF),
        }
    }

    pub(crate) fn udp(&mut self, id: SocketId) -> Result<&mut UdpSocket> {
        match self.sockets.get_mut(&id) {
            Some(Socket::Udp(socket)) => Ok(socket),
            _ => Err(Errno::EBADF),
        }
    }

    /// A new TCP socket.
    pub fn tcp_open(&mut self, options: TcpOptions) -> SocketId {
        self.add(Socket::Tcp(TcpSocket::new(options)))
    }

    /// A new UDP socket.
    pub fn udp_open(&mut self, options: UdpOptions) -> SocketId {
        self.add(Socket::Udp(UdpSocket::new(options)))
    }

    /// Changes how a TCP socket works.
    pub fn tcp_configure(&mut self, id: SocketId, change: impl FnOnce(&mut TcpOptions)) {
        let Ok(socket) = self.tcp(id) else { return };
        change(&mut socket.options);
        let (send, receive) = (socket.send_limit(), socket.receive_limit());
        if let Role::Open(connection) = &mut socket.role {
            connection.send_limit = send;
            connection.receive_limit = receive;
        }
        let (bound, reuse) =
            (socket.bound, (socket.options.reuse_address, socket.options.reuse_port));
        if let Some(binding) = bound.and_then(|bound| self.tcp_ports.get_mut(bound.port(), id)) {
            (binding.reuse_address, binding.reuse_port) = reuse;
        }
    }

    /// Changes how a UDP socket works.
    pub fn udp_configure(&mut self, id: SocketId, change: impl FnOnce(&mut UdpOptions)) {
        let Ok(socket) = self.udp(id) else { return };
        change(&mut socket.options);
        let (bound, reuse) =
            (socket.bound, (socket.options.reuse_address, socket.options.reuse_port));
        if let Some(binding) = bound.and_then(|bound| self.udp_ports.get_mut(bound.port(), id)) {
            (binding.reuse_address, binding.reuse_port) = reuse;
        }
    }

    /// What poll reports.
    pub fn poll(&self, id: SocketId) -> PollEvents {
        match self.sockets.get(&id) {
            Some(Socket::Tcp(socket)) => socket.poll(),
            Some(Socket::Udp(socket)) => socket.poll(),
            None => PollEvents::POLLHUP,
        }
    }

    /// The pending error, which is cleared.
    pub fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        match self.sockets.get_mut(&id)? {
            Socket::Tcp(socket) => socket.error.take(),
            Socket::Udp(socket) => socket.error.take(),
        }
    }

    /// The local address; unspecified before there is one.
    ///
    /// # Errors
    /// EBADF.
    pub fn local_address(&self, id: SocketId) -> Result<SocketAddr> {
        let (bound, connected, v6) = match self.sockets.get(&id).ok_or(Errno::EBADF)? {
            Socket::Tcp(socket) => {
                (socket.bound, socket.ends().map(|ends| ends.0), socket.options.v6)
            }
            Socket::Udp(socket) => (socket.bound, None, socket.options.v6),
        };
        let local = connected.or(bound).unwrap_or_else(|| unspecified(v6));
        Ok(if v6 { mapped(local) } else { local })
    }

    /// The other side's address.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn peer_address(&self, id: SocketId) -> Result<SocketAddr> {
        let (peer, v6) = match self.sockets.get(&id).ok_or(Errno::EBADF)? {
            Socket::Tcp(socket) => {
                let ends = socket.ends().filter(|_| !matches!(socket.role, Role::SynSent(_)));
                (ends.map(|ends| ends.1), socket.options.v6)
            }
            Socket::Udp(socket) => (socket.peer, socket.options.v6),
        };
        let peer = peer.ok_or(Errno::ENOTCONN)?;
        Ok(if v6 { mapped(peer) } else { peer })
    }

    /// Gives a socket an address; port 0 for any. `v6_only` is the socket's option.
    ///
    /// # Errors
    /// EINVAL for a second time, EADDRNOTAVAIL, EADDRINUSE.
    pub fn bind(&mut self, id: SocketId, address: SocketAddr, v6_only: bool) -> Result<()> {
        self.take_address(id, address, v6_only)?;
        if let Ok(socket) = self.udp(id) {
            socket.asked = socket.bound;
        }
        Ok(())
    }

    /// The same for an address that the stack chooses.
    fn take_address(&mut self, id: SocketId, address: SocketAddr, v6_only: bool) -> Result<()> {
        let address = unmapped(address);
        let multicast =
            address.ip().is_multicast() || address.ip() == IpAddr::from([255, 255, 255, 255]);
        let (template, proto) = match self.sockets.get(&id).ok_or(Errno::EBADF)? {
            Socket::Tcp(socket) if socket.bound.is_some() || !matches!(socket.role, Role::Idle) => {
                return Err(Errno::EINVAL);
            }
            Socket::Udp(socket) if socket.bound.is_some() => return Err(Errno::EINVAL),
            Socket::Tcp(socket) => {
                (binding(id, address, socket.options.v6 && !v6_only, &socket.options), Proto::Tcp)
            }
            Socket::Udp(socket) => {
                let options = TcpOptions {
                    reuse_address: socket.options.reuse_address,
                    reuse_port: socket.options.reuse_port,
                    user: socket.options.user,
                    ..TcpOptions::default()
                };
                (binding(id, address, socket.options.v6 && !v6_only, &options), Proto::Udp)
            }
        };
        let usable = is_local(address.ip())
            || address.ip().is_unspecified()
            || (multicast && proto == Proto::Udp);
        if !usable {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let port = self.claim(proto, address, &template)?;
        self.set_bound(id, SocketAddr::new(address.ip(), port));
        Ok(())
    }

    /// Takes the port of an address, or any free one.
    fn claim(&mut self, proto: Proto, address: SocketAddr, binding: &Binding) -> Result<u16> {
        let now = self.now;
        let rests = proto == Proto::Tcp
            && address.port() != 0
            && self.demux.is_resting(address, binding.reuse_address, now);
        let ports = if proto == Proto::Tcp { &mut self.tcp_ports } else { &mut self.udp_ports };
        let tcp = proto == Proto::Tcp;
        let port = match address.port() {
            0 => {
                let strict = Binding { reuse_address: false, reuse_port: false, ..*binding };
                Ports::choose(&mut self.random, |port| ports.allows(port, &strict, tcp))
                    .ok_or(Errno::EADDRINUSE)?
            }
            port if rests || !ports.allows(port, binding, tcp) => {
                let _ = port;
                return Err(Errno::EADDRINUSE);
            }
            port => port,
        };
        ports.insert(port, *binding);
        Ok(port)
    }

    fn set_bound(&mut self, id: SocketId, address: SocketAddr) {
        match self.sockets.get_mut(&id) {
            Some(Socket::Tcp(socket)) => socket.bound = Some(address),
            Some(Socket::Udp(socket)) => socket.bound = Some(address),
            None => {}
        }
    }

    /// Makes a TCP socket accept connections.
    ///
    /// # Errors
    /// EINVAL for a connected one, EADDRINUSE.
    pub fn listen(&mut self, id: SocketId, backlog: usize) -> Result<()> {
        let socket = self.tcp(id)?;
        match &mut socket.role {
            Role::Listening(listener) => {
                listener.backlog = backlog;
                return Ok(());
            }
            Role::Idle => {}
            _ => return Err(Errno::EINVAL),
        }
        if socket.bound.is_none() {
            let any = unspecified(socket.options.v6);
            let v6_only = socket.options.v6_only;
            self.bind(id, any, v6_only)?;
        }
        let port = self.tcp(id)?.bound.map_or(0, |bound| bound.port());
        let binding = self.tcp_ports.get_mut(port, id).ok_or(Errno::EINVAL)?;
        binding.listening = true;
        let binding = *binding;
        if !self.tcp_ports.allows(port, &binding, true) {
            if let Some(binding) = self.tcp_ports.get_mut(port, id) {
                binding.listening = false;
            }
            return Err(Errno::EADDRINUSE);
        }
        self.tcp(id)?.role = Role::Listening(Listener {
            backlog,
            ready: VecDeque::new(),
            deferred: VecDeque::new(),
        });
        Ok(())
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// EINVAL for a socket that does not listen, EAGAIN.
    pub fn accept(&mut self, id: SocketId) -> Result<SocketId> {
        let Role::Listening(listener) = &mut self.tcp(id)?.role else { return Err(Errno::EINVAL) };
        let child = listener.ready.pop_front().ok_or(Errno::EAGAIN)?;
        let deferred = listener.deferred.pop_front();
        self.link.extend(deferred);
        self.run();
        if let Ok(socket) = self.tcp(child) {
            socket.told = true;
        }
        Ok(child)
    }

    /// Connects a socket. A TCP connection is made in the background: EINPROGRESS, then
    /// [`Stack::connect_result`].
    ///
    /// # Errors
    /// EINPROGRESS, EALREADY, EISCONN, ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL.
    pub fn connect(&mut self, id: SocketId, address: SocketAddr, now: u64) -> Result<()> {
        self.now = now;
        let to = destination(unmapped(address));
        match self.sockets.get(&id).ok_or(Errno::EBADF)? {
            Socket::Udp(_) => self.connect_udp(id, to),
            Socket::Tcp(_) => self.connect_tcp(id, to),
        }
    }

    fn connect_udp(&mut self, id: SocketId, to: SocketAddr) -> Result<()> {
        if !is_local(to.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let bound = self.udp(id)?.bound;
        let local = match bound {
            None => {
                self.take_address(id, SocketAddr::new(source_for(to.ip()), 0), false)?;
                return self.udp(id).map(|socket| socket.peer = Some(to));
            }
            Some(bound) if bound.ip().is_unspecified() => {
                SocketAddr::new(source_for(to.ip()), bound.port())
            }
            Some(bound) if bound.is_ipv4() != to.is_ipv4() => return Err(Errno::ENETUNREACH),
            Some(bound) => bound,
        };
        if let Some(binding) = self.udp_ports.get_mut(local.port(), id) {
            binding.address = local.ip();
        }
        let socket = self.udp(id)?;
        socket.bound = Some(local);
        socket.peer = Some(to);
        Ok(())
    }

    fn connect_tcp(&mut self, id: SocketId, to: SocketAddr) -> Result<()> {
        let socket = self.tcp(id)?;
        match &socket.role {
            Role::Open(_) if !socket.told => {
                socket.told = true;
                return Ok(());
            }
            Role::Open(_) | Role::Ended(_) | Role::Listening(_) => return Err(Errno::EISCONN),
            Role::Refused => {
                socket.role = Role::Idle;
                return Err(socket.error.take().unwrap_or(Errno::ECONNABORTED));
            }
            Role::SynSent(_) | Role::SynReceived(_) => return Err(Errno::EALREADY),
            Role::Idle => {}
        }
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        if !is_local(to.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let local = self.choose_local(id, to)?;
        let iss = Seq(self.random.next());
        self.demux.insert((local, to), id);
        let socket = self.tcp(id)?;
        socket.told = false;
        socket.role = Role::SynSent(SynSent { local, remote: to, iss });
        let header = wire::tcp::Repr {
            from: local.port(),
            to: to.port(),
            seq: iss,
            syn: true,
            window: u16::try_from(socket.receive_limit()).unwrap_or(u16::MAX),
            mss: Some(TcpSocket::own_mss(to)),
            scale: Some(WINDOW_SHIFT),
            ..wire::tcp::Repr::default()
        };
        self.emit_tcp(local.ip(), to.ip(), header, Bytes::new());
        self.run();
        Err(Errno::EINPROGRESS)
    }

    /// The local end of a new connection.
    fn choose_local(&mut self, id: SocketId, to: SocketAddr) -> Result<SocketAddr> {
        let socket = self.tcp(id)?;
        let options = socket.options;
        if let Some(bound) = socket.bound {
            let ip = if bound.ip().is_unspecified() { source_for(to.ip()) } else { bound.ip() };
            let local = SocketAddr::new(ip, bound.port());
            if ip.is_ipv4() != to.is_ipv4() {
                return Err(Errno::ENETUNREACH);
            }
            return if self.demux.contains(&(local, to)) {
                Err(Errno::EADDRNOTAVAIL)
            } else {
                Ok(local)
            };
        }
        let ip = source_for(to.ip());
        let strict = Binding {
            reuse_address: false,
            reuse_port: false,
            ..binding(id, SocketAddr::new(ip, 0), false, &options)
        };
        let (ports, demux) = (&self.tcp_ports, &self.demux);
        let port = Ports::choose(&mut self.random, |port| {
            ports.allows(port, &strict, true) && !demux.contains(&(SocketAddr::new(ip, port), to))
        })
        .ok_or(Errno::EADDRNOTAVAIL)?;
        let shared = binding(id, SocketAddr::new(ip, 0), false, &options);
        self.tcp_ports.insert(port, shared);
        let local = SocketAddr::new(ip, port);
        self.set_bound(id, local);
        Ok(local)
    }

    /// How a connect has ended; told once.
    ///
    /// # Errors
    /// EAGAIN while it goes on; why it failed.
    pub fn connect_result(&mut self, id: SocketId) -> Result<()> {
        let socket = self.tcp(id)?;
        match (&socket.role, socket.error.take()) {
            (Role::Refused, errno) => {
                socket.role = Role::Idle;
                Err(errno.unwrap_or(Errno::ECONNABORTED))
            }
            (_, Some(errno)) => Err(errno),
            (Role::SynSent(_) | Role::SynReceived(_), None) => Err(Errno::EAGAIN),
            (Role::Idle, None) => Err(Errno::ECONNABORTED),
            _ => {
                socket.told = true;
                Ok(())
            }
        }
    }

    /// Undoes a connection (`AF_UNSPEC`): a UDP socket takes datagrams from anyone, a TCP one is idle again.
    ///
    /// # Errors
    /// EBADF.
    pub fn disconnect(&mut self, id: SocketId) -> Result<()> {
        match self.sockets.get_mut(&id).ok_or(Errno::EBADF)? {
            Socket::Udp(_) => return self.disconnect_udp(id),
            Socket::Tcp(_) => {
                self.end_tcp(id, true);
                if let Ok(socket) = self.tcp(id) {
                    socket.role = Role::Idle;
                    (socket.shut_read, socket.shut_write, socket.error) = (false, false, None);
                }
                self.run();
            }
        }
        Ok(())
    }

    /// A UDP socket keeps of its address what it was bound to, and no more.
    fn disconnect_udp(&mut self, id: SocketId) -> Result<()> {
        let socket = self.udp(id)?;
        socket.peer = None;
        let (asked, bound) = (socket.asked, socket.bound);
        socket.bound = asked;
        match (asked, bound) {
            (Some(asked), _) => {
                if let Some(binding) = self.udp_ports.get_mut(asked.port(), id) {
                    binding.address = asked.ip();
                }
            }
            (None, Some(bound)) => self.udp_ports.remove(bound.port(), id),
            (None, None) => {}
        }
        Ok(())
    }

    /// Sends what fits into the buffer.
    ///
    /// # Errors
    /// EAGAIN, EPIPE, the pending error.
    pub fn tcp_send(&mut self, id: SocketId, bytes: &[u8], now: u64) -> Result<usize> {
        let room = match self.tcp_send_room(id) {
            Ok(room) => room.min(bytes.len()),
            Err(errno) => return Err(self.take_error(id).unwrap_or(errno)),
        };
        let data = bytes.get(..room).unwrap_or_default();
        self.tcp_push(id, Bytes::copy_from_slice(data), now)
    }

    /// Bytes that can be sent now. A pending error is told but stays pending.
    ///
    /// # Errors
    /// As [`Stack::tcp_send`].
    pub fn tcp_send_room(&mut self, id: SocketId) -> Result<usize> {
        let socket = self.tcp(id)?;
        if let Some(errno) = socket.error {
            return Err(errno);
        }
        if socket.shut_write {
            return Err(Errno::EPIPE);
        }
        match &socket.role {
            Role::Open(connection) => match connection.send_room() {
                0 => Err(Errno::EAGAIN),
                room => Ok(room),
            },
            Role::SynSent(_) | Role::SynReceived(_) => Err(Errno::EAGAIN),
            Role::Idle | Role::Refused | Role::Listening(_) | Role::Ended(_) => Err(Errno::EPIPE),
        }
    }

    /// Sends data that [`Stack::tcp_send_room`] has said there is room for.
    ///
    /// # Errors
    /// EPIPE.
    pub fn tcp_push(&mut self, id: SocketId, data: Bytes, now: u64) -> Result<usize> {
        self.now = now;
        let Role::Open(connection) = &mut self.tcp(id)?.role else { return Err(Errno::EPIPE) };
        let count = data.len();
        connection.send.push(data);
        let mut out = Vec::new();
        connection.transmit(&mut out);
        let ends = (connection.local.ip(), connection.remote.ip());
        self.emit_all(ends, out);
        self.run();
        Ok(count)
    }

    /// Sends data of which the last byte is urgent.
    ///
    /// # Errors
    /// As [`Stack::tcp_send`].
    pub fn tcp_send_urgent(&mut self, id: SocketId, data: Bytes, now: u64) -> Result<usize> {
        if let Role::Open(connection) = &mut self.tcp(id)?.role {
            connection.mark_urgent(data.len());
        }
        self.tcp_push(id, data, now)
    }

    /// Takes the urgent byte, or looks at it if `peek`; `None` at the end of the connection.
    ///
    /// # Errors
    /// EINVAL where there is none, EAGAIN where it is announced and has not come, ENOTCONN.
    pub fn tcp_receive_urgent(&mut self, id: SocketId, peek: bool) -> Result<Option<u8>> {
        let socket = self.tcp(id)?;
        match &mut socket.role {
            Role::Open(connection) => connection.take_urgent(peek),
            Role::Ended(_) => Ok(None),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// Whether the next byte to be read is the urgent one.
    pub fn tcp_at_mark(&mut self, id: SocketId) -> bool {
        match self.tcp(id).map(|socket| &socket.role) {
            Ok(Role::Open(connection)) => connection.urgent_offset() == Some(0),
            _ => false,
        }
    }

    /// Gives up to `most` received bytes to `take`, from `offset` on; they stay if `peek`. 0 is the end.
    ///
    /// # Errors
    /// EAGAIN, ENOTCONN, the pending error, what `take` says.
    pub fn tcp_receive(
        &mut self,
        id: SocketId,
        most: usize,
        peek: bool,
        offset: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<usize>,
    ) -> Result<usize> {
        let socket = self.tcp(id)?;
        let shut = socket.shut_read;
        let mut most = most;
        if let Role::Open(connection) = &mut socket.role {
            most = most.min(connection.before_mark(socket.options.urgent_inline, peek));
        }
        let (buffer, finished) = match &mut socket.role {
            Role::Open(connection) => {
                let finished = connection.peer_finished();
                (&mut connection.receive, finished)
            }
            Role::Ended(ended) => (&mut ended.receive, true),
            Role::SynSent(_) | Role::SynReceived(_) => {
                return Err(socket.error.take().unwrap_or(Errno::EAGAIN));
            }
            Role::Refused => return socket.error.take().map_or(Ok(0), Err),
            Role::Idle | Role::Listening(_) => {
                return Err(socket.error.take().unwrap_or(Errno::ENOTCONN));
            }
        };
        if buffer.len() <= offset {
            let nothing = if finished || shut { Ok(0) } else { Err(Errno::EAGAIN) };
            return socket.error.take().map_or(nothing, Err);
        }
        let count = buffer.read(offset, most, take)?;
        if peek {
            return Ok(count);
        }
        buffer.advance(count);
        let mut out = Vec::new();
        if let Role::Open(connection) = &mut socket.role {
            connection.data_taken(&mut out);
            let ends = (connection.local.ip(), connection.remote.ip());
            self.emit_all(ends, out);
            self.run();
        }
        Ok(count)
    }

    /// Sends a datagram; `to` unless the socket is connected, or instead of where it is.
    ///
    /// # Errors
    /// EDESTADDRREQ, EMSGSIZE, EPIPE, ENETUNREACH, EACCES, EINVAL, the pending error.
    pub fn udp_send(
        &mut self,
        id: SocketId,
        to: Option<SocketAddr>,
        data: Bytes,
        marks: Marks,
    ) -> Result<usize> {
        let socket = self.udp(id)?;
        if data.len() > if socket.options.v6 { MAX_PAYLOAD_V6 } else { MAX_PAYLOAD } {
            return Err(Errno::EMSGSIZE);
        }
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        if socket.shut_write {
            return Err(Errno::EPIPE);
        }
        let to =
            to.map(|to| destination(unmapped(to))).or(socket.peer).ok_or(Errno::EDESTADDRREQ)?;
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        if to.ip() == IpAddr::from([255, 255, 255, 255]) && !socket.options.broadcast {
            return Err(Errno::EACCES);
        }
        if !is_local(to.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        if socket.bound.is_none() {
            let (any, v6_only) = (unspecified(socket.options.v6), socket.options.v6_only);
            self.take_address(id, any, v6_only)?;
        }
        let bound = self.udp(id)?.bound.ok_or(Errno::EINVAL)?;
        let from = if bound.ip().is_unspecified() { source_for(to.ip()) } else { bound.ip() };
        if from.is_ipv4() != to.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let count = data.len();
        self.emit_udp(SocketAddr::new(from, bound.port()), to, marks, data);
        self.run();
        Ok(count)
    }

    /// Takes a datagram, or a copy of it if `peek`.
    ///
    /// # Errors
    /// EAGAIN, the pending error.
    pub fn udp_receive(&mut self, id: SocketId, peek: bool) -> Result<Option<Datagram>> {
        let socket = self.udp(id)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let v6 = socket.options.v6;
        let datagram = if peek { socket.queue.front().cloned() } else { socket.pop() };
        match datagram {
            Some(mut datagram) => {
                if v6 {
                    datagram.from = mapped(datagram.from);
                }
                Ok(Some(datagram))
            }
            None if socket.shut_read => Ok(None),
            None => Err(Errno::EAGAIN),
        }
    }

    /// Bytes of the next datagram.
    pub fn udp_next_len(&mut self, id: SocketId) -> usize {
        self.udp(id)
            .ok()
            .and_then(|socket| socket.queue.front())
            .map_or(0, |datagram| datagram.data.len())
    }

    /// Ends directions.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn shutdown(&mut self, id: SocketId, read: bool, write: bool, now: u64) -> Result<()> {
        self.now = now;
        match self.sockets.get_mut(&id).ok_or(Errno::EBADF)? {
            Socket::Udp(socket) => {
                let connected = socket.peer.is_some();
                socket.shut_read |= read;
                socket.shut_write |= write;
                self.tell(id, PollEvents::all());
                if connected { Ok(()) } else { Err(Errno::ENOTCONN) }
            }
            Socket::Tcp(_) => self.shutdown_tcp(id, read, write),
        }
    }

    fn shutdown_tcp(&mut self, id: SocketId, read: bool, write: bool) -> Result<()> {
        let socket = self.tcp(id)?;
        let mut out = Vec::new();
        match &mut socket.role {
            Role::Idle | Role::Refused => return Err(Errno::ENOTCONN),
            Role::Listening(_) if read => {
                self.stop_listening(id);
                self.tell(id, PollEvents::all());
                return Ok(());
            }
            Role::Open(connection) => {
                if write {
                    connection.finish(&mut out);
                }
                let ends = (connection.local.ip(), connection.remote.ip());
                socket.shut_read |= read;
                socket.shut_write |= write;
                self.emit_all(ends, out);
            }
            Role::Listening(_) => {}
            Role::SynSent(_) | Role::SynReceived(_) => {
                self.end_tcp(id, true);
            }
            Role::Ended(_) => {
                return Err(Errno::ENOTCONN);
            }
        }
        self.tell(id, PollEvents::all());
        self.run();
        Ok(())
    }

    /// The owner is gone.
    pub fn close(&mut self, id: SocketId, now: u64) {
        self.now = now;
        match self.sockets.get(&id) {
            Some(Socket::Udp(socket)) => {
                if let Some(bound) = socket.bound {
                    self.udp_ports.remove(bound.port(), id);
                }
                self.sockets.remove(&id);
            }
            Some(Socket::Tcp(_)) => self.close_tcp(id),
            None => {}
        }
        self.run();
    }

    fn close_tcp(&mut self, id: SocketId) {
        let Ok(socket) = self.tcp(id) else { return };
        socket.orphan = true;
        let abort = socket.options.abort_on_close;
        let mut out = Vec::new();
        match &mut socket.role {
            Role::Open(connection) if !abort && connection.receive.is_empty() => {
                connection.finish(&mut out);
                let ends = (connection.local.ip(), connection.remote.ip());
                self.emit_all(ends, out);
            }
            Role::Listening(_) => {
                self.stop_listening(id);
                self.forget_tcp(id);
            }
            _ => {
                self.end_tcp(id, true);
                self.forget_tcp(id);
            }
        }
    }

    /// Ends a listener: connections that nobody took are reset.
    fn stop_listening(&mut self, id: SocketId) {
        let Ok(socket) = self.tcp(id) else { return };
        let Role::Listening(listener) = core::mem::replace(&mut socket.role, Role::Idle) else {
            return;
        };
        let port = socket.bound.map_or(0, |bound| bound.port());
        if let Some(binding) = self.tcp_ports.get_mut(port, id) {
            binding.listening = false;
        }
        let half_open: Vec<SocketId> = self
            .sockets
            .iter()
            .filter(|(_, socket)| match socket {
                Socket::Tcp(TcpSocket { role: Role::SynReceived(state), .. }) => {
                    state.listener == Some(id)
                }
                _ => false,
            })
            .map(|(child, _)| *child)
            .collect();
        for child in listener.ready.into_iter().chain(half_open) {
            self.end_tcp(child, true);
            self.forget_tcp(child);
        }
        self.link.extend(listener.deferred);
    }

    /// Takes a connection apart; the peer is told by a reset if `reset`. What was received can still be read.
    pub(crate) fn end_tcp(&mut self, id: SocketId, reset: bool) {
        let Ok(socket) = self.tcp(id) else { return };
        let ends = socket.ends();
        let mut out = Vec::new();
        match core::mem::replace(&mut socket.role, Role::Idle) {
            Role::Open(mut connection) => {
                if reset {
                    connection.reset(&mut out);
                }
                socket.role = Role::Ended(Ended { receive: connection.receive });
            }
            Role::SynReceived(state) if reset => {
                let opening = &state.opening;
                out.push((
                    wire::tcp::Repr {
                        from: opening.local.port(),
                        to: opening.remote.port(),
                        seq: opening.snd_nxt,
                        ack: Some(opening.rcv_nxt),
                        rst: true,
                        ..wire::tcp::Repr::default()
                    },
                    Bytes::new(),
                ));
            }
            Role::Ended(ended) => socket.role = Role::Ended(ended),
            _ => {}
        }
        if let Some((local, remote)) = ends {
            self.demux.remove(&(local, remote), id);
            self.emit_all((local.ip(), remote.ip()), out);
        }
    }

    /// Removes a socket that nobody holds.
    pub(crate) fn forget_tcp(&mut self, id: SocketId) {
        if let Some(Socket::Tcp(socket)) = self.sockets.remove(&id) {
            if let Some(bound) = socket.bound {
                self.tcp_ports.remove(bound.port(), id);
            }
            if let Some(ends) = socket.ends() {
                self.demux.remove(&ends, id);
            }
        }
    }

    /// The state of a TCP socket.
    pub fn tcp_state(&self, id: SocketId) -> TcpState {
        match self.sockets.get(&id) {
            Some(Socket::Tcp(socket)) => socket.state(),
            _ => TcpState::Closed,
        }
    }

    /// The numbers of a TCP socket.
    pub fn tcp_stats(&self, id: SocketId) -> TcpStats {
        match self.sockets.get(&id) {
            Some(Socket::Tcp(socket)) => socket.stats(),
            _ => TcpStats::default(),
        }
    }

    /// All sockets of a protocol: number, local and remote address, state as /proc/net shows it.
    pub fn list(&self, proto: Proto) -> Vec<(SocketId, SocketAddr, SocketAddr, TcpState)> {
        let mut list: Vec<_> = self
            .sockets
            .iter()
            .filter_map(|(id, socket)| {
                let (bound, peer, v6, state) = match (socket, proto) {
                    (Socket::Tcp(socket), Proto::Tcp) => {
                        let ends = socket.ends();
                        let local = ends.map(|ends| ends.0).or(socket.bound);
                        (local, ends.map(|ends| ends.1), socket.options.v6, socket.state())
                    }
                    (Socket::Udp(socket), Proto::Udp) => {
                        let state = if socket.peer.is_some() {
                            TcpState::Established
                        } else {
                            TcpState::Closed
                        };
                        (socket.bound, socket.peer, socket.options.v6, state)
                    }
                    _ => return None,
                };
                let show = |address: SocketAddr| if v6 { mapped(address) } else { address };
                let any = unspecified(v6);
                Some((*id, show(bound?), peer.map_or(any, show), state))
            })
            .collect();
        if proto == Proto::Tcp {
            list.extend(
                self.demux
                    .resting()
                    .map(|(local, remote)| (0, *local, *remote, TcpState::TimeWait)),
            );
        }
        list.sort_by_key(|entry| entry.0);
        list
    }

    pub(crate) fn emit_all(&mut self, (from, to): (IpAddr, IpAddr), segments: Vec<Segment>) {
        for (header, payload) in segments {
            self.emit_tcp(from, to, header, payload);
        }
    }

    /// A connection that the handshake has made.
    pub(crate) fn open_connection(opening: &crate::tcp::connection::Opening) -> Role {
        Role::Open(alloc::boxed::Box::new(Connection::new(opening)))
    }
}

fn binding(id: SocketId, address: SocketAddr, dual: bool, options: &TcpOptions) -> Binding {
    Binding {
        id,
        address: address.ip(),
        dual: dual && address.is_ipv6(),
        reuse_address: options.reuse_address,
        reuse_port: options.reuse_port,
        listening: false,
        user: options.user,
    }
}

fn unspecified(v6: bool) -> SocketAddr {
    if v6 {
        SocketAddr::new(core::net::Ipv6Addr::UNSPECIFIED.into(), 0)
    } else {
        SocketAddr::new(core::net::Ipv4Addr::UNSPECIFIED.into(), 0)
    }
}
