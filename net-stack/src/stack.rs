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

use crate::address::{destination, mapped, unmapped};
use crate::demux::Demux;
use crate::fragment::Fragments;
use crate::interface::route::{Route, Routes};
use crate::interface::{Interface, InterfaceConfig, InterfaceId};
use crate::ports::{Binding, Ports};
use crate::random::Random;
use crate::raw::RawSocket;
use crate::settings::Settings;
use crate::tcp::handshake::Secret;
use crate::tcp::{Role, TcpOptions, TcpSocket, TcpState};
use crate::timers::Deadlines;
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
    /// Raw and ping sockets.
    Raw,
}

pub(crate) enum Socket {
    Tcp(TcpSocket),
    Udp(UdpSocket),
    Raw(RawSocket),
}

/// A TCP/IP stack with a loopback interface, and others as they are added.
pub struct Stack {
    /// What holds for all sockets.
    pub settings: Settings,
    pub(crate) sockets: HashMap<SocketId, Socket>,
    pub(crate) tcp_ports: Ports,
    pub(crate) udp_ports: Ports,
    pub(crate) demux: Demux,
    pub(crate) random: Random,
    pub(crate) link: VecDeque<Packet>,
    pub(crate) now: u64,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) routes: Routes,
    pub(crate) fragments: Fragments,
    pub(crate) deadlines: Deadlines,
    pub(crate) secret: Secret,
    /// Raw and ping sockets: every packet is shown to them.
    pub(crate) raw_sockets: Vec<SocketId>,
    /// Smaller packets than the link's that routers have asked for, and until when.
    pub(crate) path_mtus: HashMap<IpAddr, (u32, u64)>,
    events: Vec<(SocketId, PollEvents)>,
    next_id: SocketId,
}

impl Stack {
    /// A stack without sockets.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut wide = || u64::from(random.next()) << 32 | u64::from(random.next());
        let secret = Secret(wide(), wide());
        Self {
            settings: Settings::default(),
            interfaces: alloc::vec![Interface::loopback()],
            routes: Routes::default(),
            fragments: Fragments::default(),
            deadlines: Deadlines::default(),
            secret,
            raw_sockets: Vec::new(),
            path_mtus: HashMap::new(),
            sockets: HashMap::new(),
            tcp_ports: Ports::default(),
            udp_ports: Ports::default(),
            demux: Demux::default(),
            random,
            link: VecDeque::new(),
            now: 0,
            events: Vec::new(),
            next_id: 1,
        }
    }

    /// Adds an interface.
    pub fn add_interface(&mut self, config: InterfaceConfig) -> InterfaceId {
        let id = self.interfaces.iter().map(|interface| interface.id).max().unwrap_or(0) + 1;
        self.interfaces.push(Interface::new(id, config));
        id
    }

    /// All interfaces, the loopback interface first.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// One of them.
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.id == id)
    }

    pub(crate) fn interface_mut(&mut self, id: InterfaceId) -> Option<&mut Interface> {
        self.interfaces.iter_mut().find(|interface| interface.id == id)
    }

    /// Brings an interface up or down.
    ///
    /// # Errors
    /// ENODEV.
    pub fn set_up(&mut self, id: InterfaceId, up: bool) -> Result<()> {
        let interface = self.interface_mut(id).ok_or(Errno::ENODEV)?;
        interface.up = up;
        if !up {
            interface.queue.clear();
        }
        Ok(())
    }

    /// Changes the largest packet of an interface.
    ///
    /// # Errors
    /// ENODEV, EINVAL below 68.
    pub fn set_mtu(&mut self, id: InterfaceId, mtu: u32) -> Result<()> {
        let interface = self.interface_mut(id).ok_or(Errno::ENODEV)?;
        if !(68..=crate::interface::LOOPBACK_MTU).contains(&mtu) {
            return Err(Errno::EINVAL);
        }
        interface.config.mtu = mtu;
        Ok(())
    }

    /// Gives an interface an address, and the route to its link.
    ///
    /// # Errors
    /// ENODEV, EEXIST, EINVAL for a prefix that is too long.
    pub fn add_address(&mut self, id: InterfaceId, ip: IpAddr, prefix: u8) -> Result<()> {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(Errno::EINVAL);
        }
        let interface = self.interface_mut(id).ok_or(Errno::ENODEV)?;
        if !interface.add_address(crate::interface::Address { ip, prefix }) {
            return Err(Errno::EEXIST);
        }
        if prefix < most {
            let (destination, gateway, source) = (ip, None, ip.is_ipv4().then_some(ip));
            let metric = if ip.is_ipv4() { 0 } else { 256 };
            let route = Route { destination, prefix, gateway, interface: id, source, metric };
            self.routes.add(route);
        }
        Ok(())
    }

    /// Takes an address from an interface, and the route to its link.
    ///
    /// # Errors
    /// ENODEV, EADDRNOTAVAIL.
    pub fn remove_address(&mut self, id: InterfaceId, ip: IpAddr) -> Result<()> {
        let interface = self.interface_mut(id).ok_or(Errno::ENODEV)?;
        let before = interface.addresses.len();
        interface.addresses.retain(|address| address.ip != ip);
        if interface.addresses.len() == before {
            return Err(Errno::EADDRNOTAVAIL);
        }
        self.routes.retain(|route| {
            !(route.interface == id && (route.destination == ip || route.source == Some(ip)))
        });
        Ok(())
    }

    /// Adds a route.
    ///
    /// # Errors
    /// ENODEV, EEXIST, EINVAL, ENETUNREACH where the gateway is not on a link.
    pub fn add_route(&mut self, route: Route) -> Result<()> {
        let interface = self.interface(route.interface).ok_or(Errno::ENODEV)?;
        let most = if route.destination.is_ipv4() { 32 } else { 128 };
        if route.prefix > most {
            return Err(Errno::EINVAL);
        }
        if let Some(gateway) = route.gateway {
            let near = interface.addresses.iter().any(|address| address.covers(gateway));
            if !near && !crate::output::is_link_local(gateway) {
                return Err(Errno::ENETUNREACH);
            }
        }
        if self.routes.add(route) { Ok(()) } else { Err(Errno::EEXIST) }
    }

    /// Removes routes; says how many.
    pub fn remove_routes(&mut self, mut goes: impl FnMut(&Route) -> bool) -> usize {
        self.routes.retain(|route| !goes(route))
    }

    /// All routes, in the order in which they are looked at.
    pub fn routes(&self) -> &[Route] {
        self.routes.as_slice()
    }

    /// The next frame to be sent on an interface.
    pub fn transmit(&mut self, id: InterfaceId) -> Option<crate::interface::Frame> {
        self.interface_mut(id)?.queue.pop_front()
    }

    /// The neighbours on an interface's link.
    pub fn neighbours(
        &self,
        id: InterfaceId,
    ) -> Vec<(IpAddr, crate::wire::ethernet::Mac, crate::interface::neighbour::NeighbourState)>
    {
        self.interface(id).map(|one| one.neighbours.list(self.now).collect()).unwrap_or_default()
    }

    /// Sets a neighbour's hardware address for good, or forgets it.
    ///
    /// # Errors
    /// ENODEV.
    pub fn set_neighbour(
        &mut self,
        id: InterfaceId,
        ip: IpAddr,
        mac: Option<crate::wire::ethernet::Mac>,
    ) -> Result<()> {
        self.interface_mut(id).ok_or(Errno::ENODEV)?.neighbours.set(ip, mac);
        Ok(())
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
        let (now, settings) = (self.now, self.settings);
        let Ok(socket) = self.tcp(id) else { return };
        change(&mut socket.options);
        let lossless = matches!(&socket.role, Role::Open(connection) if connection.path.lossless);
        let choices = socket.choices(&settings, lossless);
        let mut out = Vec::new();
        let mut ends = None;
        if let Role::Open(connection) = &mut socket.role {
            connection.choose(choices, now);
            connection.transmit(now, &mut out);
            ends = Some((connection.local.ip(), connection.remote.ip()));
        }
        let (bound, reuse) =
            (socket.bound, (socket.options.reuse_address, socket.options.reuse_port));
        if let Some(binding) = bound.and_then(|bound| self.tcp_ports.get_mut(bound.port(), id)) {
            (binding.reuse_address, binding.reuse_port) = reuse;
        }
        if let Some(ends) = ends {
            self.emit_all(ends, out);
            self.rearm(id);
            self.run();
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
            Some(Socket::Raw(socket)) => socket.poll(),
            None => PollEvents::POLLHUP,
        }
    }

    /// The pending error, which is cleared.
    pub fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        match self.sockets.get_mut(&id)? {
            Socket::Tcp(socket) => socket.error.take(),
            Socket::Udp(socket) => socket.error.take(),
            Socket::Raw(socket) => socket.error.take(),
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
            Socket::Raw(socket) => (socket.bound, None, socket.options.v6),
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
            Socket::Raw(socket) => (socket.peer, socket.options.v6),
        };
        let peer = peer.ok_or(Errno::ENOTCONN)?;
        Ok(if v6 { mapped(peer) } else { peer })
    }

    /// Gives a socket an address; port 0 for any. `v6_only` is the socket's option.
    ///
    /// # Errors
    /// EINVAL for a second time, EADDRNOTAVAIL, EADDRINUSE.
    pub fn bind(&mut self, id: SocketId, address: SocketAddr, v6_only: bool) -> Result<()> {
        if matches!(self.sockets.get(&id), Some(Socket::Raw(_))) {
            return self.bind_raw(id, unmapped(address));
        }
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
            Socket::Raw(_) => return Err(Errno::EINVAL),
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
        let usable = self.is_own(address.ip())
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
            Some(Socket::Raw(_)) | None => {}
        }
    }

    /// Connects a socket. A TCP connection is made in the background: EINPROGRESS, then
    /// [`Stack::connect_result`].
    ///
    /// # Errors
    /// EINPROGRESS, EALREADY, EISCONN, ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL.
    pub fn connect(&mut self, id: SocketId, address: SocketAddr, now: u64) -> Result<()> {
        self.set_time(now);
        let to = destination(unmapped(address));
        match self.sockets.get(&id).ok_or(Errno::EBADF)? {
            Socket::Raw(_) => self.connect_raw(id, Some(to)),
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
            Socket::Raw(_) => return self.connect_raw(id, None),
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
        self.set_time(now);
        match self.sockets.get_mut(&id).ok_or(Errno::EBADF)? {
            Socket::Raw(socket) => {
                let connected = socket.peer.is_some();
                if connected { Ok(()) } else { Err(Errno::ENOTCONN) }
            }
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
        self.set_time(now);
        match self.sockets.get(&id) {
            Some(Socket::Raw(_)) => {
                self.sockets.remove(&id);
                self.raw_sockets.retain(|known| *known != id);
            }
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
                    (Socket::Raw(socket), Proto::Raw) => {
                        let v6 = socket.options.v6;
                        let bound = socket.bound.unwrap_or(unspecified(v6));
                        (Some(bound), socket.peer, v6, TcpState::Closed)
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
