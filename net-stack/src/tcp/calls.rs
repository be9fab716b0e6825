//! The calls on TCP sockets.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use hashbrown::HashSet;

use super::connection::{Connection, Opening, Segment};
use super::handshake::{Offer, Repetition, shift_for};
use super::{Ended, Listener, Role, SynSent, TcpState, TcpStats};
use crate::output::mss_of;
use crate::ports::{Binding, Ports};
use crate::stack::{Socket, SocketId, Stack, binding, unspecified};
use crate::wire;

impl Stack {
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
            half_open: HashSet::new(),
        });
        Ok(())
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// EINVAL for a socket that does not listen, EAGAIN.
    pub fn accept(&mut self, id: SocketId) -> Result<SocketId> {
        let Role::Listening(listener) = &mut self.tcp(id)?.role else {
            return Err(Errno::EINVAL);
        };
        let child = listener.ready.pop_front().ok_or(Errno::EAGAIN)?;
        let deferred = listener.deferred.pop_front();
        self.link.extend(deferred);
        self.run();
        if let Ok(socket) = self.tcp(child) {
            socket.told = true;
        }
        Ok(child)
    }

    pub(crate) fn connect_tcp(&mut self, id: SocketId, to: SocketAddr) -> Result<()> {
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
        let local = self.choose_local(id, to)?;
        let now = self.now;
        let iss = self.secret.first_seq(local, to, now);
        self.demux.insert((local, to), id);
        let offer = self.offer(id, local, to)?;
        let syn = offer.syn(local, to, iss);
        let retries = self.settings.syn_retries;
        let socket = self.tcp(id)?;
        socket.told = false;
        let repetition = Repetition::new(socket.options.syn_retries.unwrap_or(retries), now);
        socket.role = Role::SynSent(alloc::boxed::Box::new(SynSent {
            local,
            remote: to,
            iss,
            syn,
            repetition,
        }));
        self.emit_tcp(local.ip(), to.ip(), syn, Bytes::new());
        self.run();
        // On this stack the connection is made, or refused, by now.
        self.rearm(id);
        Err(Errno::EINPROGRESS)
    }

    /// What a socket offers a peer.
    ///
    /// # Errors
    /// EBADF.
    pub(crate) fn offer(
        &mut self,
        id: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Offer> {
        let lossless = self.is_own(remote.ip());
        let mss = mss_of(self.path_mtu(remote.ip()), remote.ip());
        let clock =
            ((self.now / 1_000_000) as u32).wrapping_add(self.secret.clock_offset(local, remote));
        let settings = self.settings;
        let socket = self.tcp(id)?;
        let limit = socket.receive_limit(lossless);
        let mss = socket.options.max_segment.map_or(mss, |most| mss.min(most.into()));
        Ok(Offer {
            mss: mss as u16,
            shift: shift_for(&settings, limit),
            sack: settings.sack && !lossless,
            timestamps: settings.timestamps && !lossless,
            clock,
            window: u16::try_from(limit).unwrap_or(u16::MAX),
        })
    }

    /// The local end of a new connection.
    pub(crate) fn choose_local(&mut self, id: SocketId, to: SocketAddr) -> Result<SocketAddr> {
        let socket = self.tcp(id)?;
        let options = socket.options;
        if let Some(bound) = socket.bound {
            let ip = self.local_ip(bound.ip(), to.ip())?;
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
        let ip = self.source_for(to.ip())?;
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
        self.set_time(now);
        let now = self.now;
        let Role::Open(connection) = &mut self.tcp(id)?.role else { return Err(Errno::EPIPE) };
        let count = data.len();
        connection.send.push(data);
        let mut out = Vec::new();
        connection.transmit(now, &mut out);
        let ends = (connection.local.ip(), connection.remote.ip());
        self.emit_all(ends, out);
        self.rearm(id);
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
        let now = self.now;
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
            connection.data_taken(count, now, &mut out);
            let ends = (connection.local.ip(), connection.remote.ip());
            if !out.is_empty() {
                self.emit_all(ends, out);
                self.run();
            }
        }
        Ok(count)
    }

    pub(crate) fn shutdown_tcp(&mut self, id: SocketId, read: bool, write: bool) -> Result<()> {
        let now = self.now;
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
                    connection.finish(now, &mut out);
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
        self.rearm(id);
        self.run();
        Ok(())
    }

    pub(crate) fn close_tcp(&mut self, id: SocketId) {
        let now = self.now;
        let Ok(socket) = self.tcp(id) else { return };
        socket.orphan = true;
        let abort = socket.options.abort_on_close;
        let mut out = Vec::new();
        match &mut socket.role {
            Role::Open(connection) if !abort && connection.receive.is_empty() => {
                connection.finish(now, &mut out);
                connection.abandon(now);
                let ends = (connection.local.ip(), connection.remote.ip());
                self.emit_all(ends, out);
                self.rearm(id);
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
    pub(crate) fn stop_listening(&mut self, id: SocketId) {
        let Ok(socket) = self.tcp(id) else { return };
        let Role::Listening(listener) = core::mem::replace(&mut socket.role, Role::Idle) else {
            return;
        };
        let port = socket.bound.map_or(0, |bound| bound.port());
        if let Some(binding) = self.tcp_ports.get_mut(port, id) {
            binding.listening = false;
        }
        for child in listener.ready.into_iter().chain(listener.half_open) {
            self.end_tcp(child, true);
            self.forget_tcp(child);
        }
        self.link.extend(listener.deferred);
    }

    /// Takes a connection apart; the peer is told by a reset if `reset`. What was received can still be read.
    pub(crate) fn end_tcp(&mut self, id: SocketId, reset: bool) {
        let now = self.now;
        let Ok(socket) = self.tcp(id) else { return };
        let ends = socket.ends();
        let mut out = Vec::new();
        match core::mem::replace(&mut socket.role, Role::Idle) {
            Role::Open(mut connection) => {
                if reset {
                    connection.reset(now, &mut out);
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
            self.deadlines.forget(id, socket.armed);
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

    pub(crate) fn emit_all(&mut self, (from, to): (IpAddr, IpAddr), segments: Vec<Segment>) {
        for (header, payload) in segments {
            self.emit_tcp(from, to, header, payload);
        }
    }

    /// Removes a connection that never came to be from its listener, and altogether.
    pub(crate) fn forget_half_open(&mut self, id: SocketId) {
        let listener = match self.tcp(id).map(|socket| &socket.role) {
            Ok(Role::SynReceived(state)) => state.listener,
            _ => None,
        };
        if let Some(listener) = listener
            && let Ok(socket) = self.tcp(listener)
            && let Role::Listening(state) = &mut socket.role
        {
            state.half_open.remove(&id);
        }
        self.forget_tcp(id);
    }

    /// A connection that the handshake has made.
    pub(crate) fn open_connection(opening: &Opening, now: u64) -> Role {
        Role::Open(alloc::boxed::Box::new(Connection::new(opening, now)))
    }

    /// Our address for packets to `to`, given what a socket is bound to.
    ///
    /// # Errors
    /// ENETUNREACH, EADDRNOTAVAIL, EINVAL.
    pub(crate) fn local_ip(&self, bound: IpAddr, to: IpAddr) -> Result<IpAddr> {
        let source = self.source_for(to)?;
        if bound.is_unspecified() {
            return Ok(source);
        }
        // A loopback address means nothing to others.
        if bound.is_loopback() && !self.is_own(to) { Err(Errno::EINVAL) } else { Ok(bound) }
    }
}
