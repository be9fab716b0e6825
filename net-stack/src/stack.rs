//! The stack: sockets by number, POSIX-shaped calls, and the loopback link.
//!
//! Every call does its work, then carries packets around until there are none, and notes which sockets have
//! become ready ([`Stack::take_events`]). Times are nanoseconds of a monotonic clock.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;

use crate::address::{destination, is_local, mapped, unmapped};
use crate::demux::Demux;
use crate::ports::{Binding, Ports};
use crate::random::Random;
use crate::tcp::{Role, TcpOptions, TcpSocket, TcpState};
use crate::udp::{UdpOptions, UdpSocket};
use crate::wire::Packet;

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
    pub(crate) fn take_address(
        &mut self,
        id: SocketId,
        address: SocketAddr,
        v6_only: bool,
    ) -> Result<()> {
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

    pub(crate) fn set_bound(&mut self, id: SocketId, address: SocketAddr) {
        match self.sockets.get_mut(&id) {
            Some(Socket::Tcp(socket)) => socket.bound = Some(address),
            Some(Socket::Udp(socket)) => socket.bound = Some(address),
            None => {}
        }
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
}

pub(crate) fn binding(
    id: SocketId,
    address: SocketAddr,
    dual: bool,
    options: &TcpOptions,
) -> Binding {
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

pub(crate) fn unspecified(v6: bool) -> SocketAddr {
    if v6 {
        SocketAddr::new(core::net::Ipv6Addr::UNSPECIFIED.into(), 0)
    } else {
        SocketAddr::new(core::net::Ipv4Addr::UNSPECIFIED.into(), 0)
    }
}
