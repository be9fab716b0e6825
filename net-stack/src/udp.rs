//! UDP sockets (RFC 768) and the calls on them.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};

use crate::address::{destination, mapped, unmapped};
use crate::interface::InterfaceId;
use crate::stack::{SocketId, Stack, unspecified};
use crate::wire::udp::{MAX_PAYLOAD, MAX_PAYLOAD_V6};

/// Bytes that wait in a socket unless something else is asked for.
const RECEIVE_BUFFER: usize = 212_992;
/// What a datagram counts for beside its bytes.
const OVERHEAD: usize = 256;

/// How a socket is to work.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpOptions {
    /// An IPv6 socket.
    pub v6: bool,
    /// It takes no IPv4 datagrams.
    pub v6_only: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// Who opened it.
    pub user: u32,
    /// Bytes that may wait; `None` for the usual.
    pub receive_buffer: Option<usize>,
}

/// A datagram that has come.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses it was sent to.
    pub to: IpAddr,
    /// Hops that were left.
    pub hops: u8,
    /// Type of service, or traffic class.
    pub class: u8,
    /// Where it came in; `None` on this stack.
    pub interface: Option<InterfaceId>,
    /// The data.
    pub data: Bytes,
}

/// What a datagram's header says beside its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Hops that it may take.
    pub hops: u8,
    /// Type of service, or traffic class.
    pub class: u8,
    /// It may not be taken apart (`IP_PMTUDISC_DO`).
    pub dont_fragment: bool,
    /// Where a packet to a group is sent (`IP_MULTICAST_IF`), if that is said.
    pub interface: Option<InterfaceId>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { hops: 64, class: 0, dont_fragment: false, interface: None }
    }
}

/// A UDP socket.
pub(crate) struct UdpSocket {
    pub(crate) options: UdpOptions,
    pub(crate) bound: Option<SocketAddr>,
    /// What it was bound to by its owner; `None` where the stack chose.
    pub(crate) asked: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) queue: VecDeque<Datagram>,
    pub(crate) queued: usize,
    pub(crate) error: Option<Errno>,
    pub(crate) shut_read: bool,
    pub(crate) shut_write: bool,
}

impl UdpSocket {
    pub(crate) fn new(options: UdpOptions) -> Self {
        Self {
            options,
            bound: None,
            asked: None,
            peer: None,
            queue: VecDeque::new(),
            queued: 0,
            error: None,
            shut_read: false,
            shut_write: false,
        }
    }

    /// Takes a datagram; false where there is no room.
    pub(crate) fn push(&mut self, datagram: Datagram) -> bool {
        let size = datagram.data.len() + OVERHEAD;
        if self.queued + size > self.options.receive_buffer.unwrap_or(RECEIVE_BUFFER)
            && !self.queue.is_empty()
        {
            return false;
        }
        self.queued += size;
        self.queue.push_back(datagram);
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.queued = self.queued.saturating_sub(datagram.data.len() + OVERHEAD);
        Some(datagram)
    }

    pub(crate) fn poll(&self) -> PollEvents {
        let mut events = PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND;
        if !self.queue.is_empty() {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        if self.shut_read {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM | PollEvents::POLLRDHUP;
        }
        if self.shut_read && self.shut_write {
            events |= PollEvents::POLLHUP;
        }
        if self.error.is_some() {
            events |= PollEvents::POLLERR;
        }
        events
    }
}

impl Stack {
    pub(crate) fn connect_udp(&mut self, id: SocketId, to: SocketAddr) -> Result<()> {
        let bound = self.udp(id)?.bound;
        let is_free = bound.is_none_or(|bound| bound.ip().is_unspecified());
        if is_broadcast(to.ip()) && !self.udp(id)?.options.broadcast {
            return Err(Errno::EACCES);
        }
        let source = if is_free || !to.ip().is_multicast() {
            self.source_to(to.ip(), None)
        } else {
            Ok(to.ip())
        };
        let source = source?;
        let local = match bound {
            None => {
                self.take_address(id, SocketAddr::new(source, 0), false)?;
                return self.udp(id).map(|socket| socket.peer = Some(to));
            }
            Some(bound) if bound.ip().is_unspecified() => SocketAddr::new(source, bound.port()),
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

    /// A UDP socket keeps of its address what it was bound to, and no more.
    pub(crate) fn disconnect_udp(&mut self, id: SocketId) -> Result<()> {
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
        if is_broadcast(to.ip()) && !socket.options.broadcast {
            return Err(Errno::EACCES);
        }
        let source = self.source_to(to.ip(), marks.interface)?;
        let socket = self.udp(id)?;
        if socket.bound.is_none() {
            let (any, v6_only) = (unspecified(socket.options.v6), socket.options.v6_only);
            self.take_address(id, any, v6_only)?;
        }
        let bound = self.udp(id)?.bound.ok_or(Errno::EINVAL)?;
        let is_group = bound.ip().is_multicast() || is_broadcast(bound.ip());
        let from = if bound.ip().is_unspecified() || is_group { source } else { bound.ip() };
        if from.is_ipv4() != to.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let count = data.len();
        if marks.dont_fragment && count + 28 > self.path_mtu(to.ip()) as usize {
            return Err(Errno::EMSGSIZE);
        }
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

    /// The address that a datagram to `to` comes from; groups and everybody need no route.
    fn source_to(&self, to: IpAddr, interface: Option<InterfaceId>) -> Result<IpAddr> {
        if !to.is_multicast() && !is_broadcast(to) {
            return self.source_for(to);
        }
        if let Ok(source) = self.source_for(to)
            && interface.is_none()
        {
            return Ok(source);
        }
        let usable = self.interfaces.iter().filter(|one| one.up);
        let mut usable = usable.filter(|one| match interface {
            Some(id) => one.id == id,
            None => one.id != crate::interface::LOOPBACK,
        });
        let addresses = usable.find_map(|one| {
            one.addresses.iter().map(|address| address.ip).find(|ip| ip.is_ipv4() == to.is_ipv4())
        });
        addresses.ok_or(Errno::ENETUNREACH)
    }

    /// Takes packets for a group on an interface, or on the one that leads there.
    ///
    /// # Errors
    /// ENODEV, EINVAL.
    pub fn join(&mut self, group: IpAddr, interface: Option<InterfaceId>) -> Result<InterfaceId> {
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        let id = self.group_interface(group, interface).ok_or(Errno::ENODEV)?;
        let one = self.interface_mut(id).ok_or(Errno::ENODEV)?;
        match one.groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => one.groups.push((group, 1)),
        }
        Ok(id)
    }

    /// Gives up a membership.
    pub fn leave(&mut self, group: IpAddr, interface: InterfaceId) {
        let Some(one) = self.interface_mut(interface) else { return };
        if let Some((_, count)) = one.groups.iter_mut().find(|(known, _)| *known == group) {
            *count = count.saturating_sub(1);
        }
        one.groups.retain(|(_, count)| *count > 0);
    }

    fn group_interface(&self, group: IpAddr, asked: Option<InterfaceId>) -> Option<InterfaceId> {
        if asked.is_some() {
            return asked;
        }
        let routed = self.route(group).map(|route| route.interface);
        let other =
            self.interfaces.iter().find(|one| one.up && one.id != crate::interface::LOOPBACK);
        routed.or(other.map(|one| one.id)).or(Some(crate::interface::LOOPBACK))
    }

    /// Bytes of the next datagram.
    pub fn udp_next_len(&mut self, id: SocketId) -> usize {
        self.udp(id)
            .ok()
            .and_then(|socket| socket.queue.front())
            .map_or(0, |datagram| datagram.data.len())
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}
