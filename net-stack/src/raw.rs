//! Raw sockets (`raw(7)`) and ping sockets (`icmp(7)`, `SOCK_DGRAM` with `IPPROTO_ICMP`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};

use crate::address::{destination, mapped, unmapped};
use crate::interface::InterfaceId;
use crate::receive::flat;
use crate::stack::{Socket, SocketId, Stack};
use crate::udp::Marks;
use crate::wire::Packet;
use crate::wire::icmp::{self, Message};
use crate::wire::ip::{Repr, protocol};

/// Bytes that wait in a socket unless something else is asked for.
const RECEIVE_BUFFER: usize = 212_992;
/// What a packet counts for beside its bytes.
const OVERHEAD: usize = 256;
/// Longest packet.
const MAX_LEN: usize = 65535;

/// How a raw or ping socket works.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawOptions {
    /// An IPv6 socket.
    pub v6: bool,
    /// The protocol whose packets it takes and sends.
    pub protocol: u8,
    /// It sends echo requests and takes the answers to them, and nothing else.
    pub ping: bool,
    /// What is sent begins with an IP header (`IP_HDRINCL`).
    pub header_included: bool,
    /// Types of ICMP messages that it does not take (`ICMP_FILTER`): a bit each.
    pub refused_types: u32,
    /// Bytes that may wait; `None` for the usual.
    pub receive_buffer: Option<usize>,
}

/// A packet that has come.
#[derive(Clone, Debug)]
pub struct RawPacket {
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
    /// The message; with its header on raw IPv4 sockets.
    pub data: Bytes,
}

/// A raw or ping socket. The ports of its addresses are the identifiers of echoes.
pub(crate) struct RawSocket {
    pub(crate) options: RawOptions,
    pub(crate) bound: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    queue: VecDeque<RawPacket>,
    queued: usize,
    pub(crate) error: Option<Errno>,
}

impl RawSocket {
    pub(crate) fn poll(&self) -> PollEvents {
        let mut events = PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND;
        if !self.queue.is_empty() {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        if self.error.is_some() {
            events |= PollEvents::POLLERR;
        }
        events
    }

    /// Whether it wants a packet; the message is looked at where it is one of ICMP.
    fn takes(&self, repr: &Repr, message: &[u8]) -> bool {
        let is_family = self.options.v6 == repr.to.is_ipv6();
        if !is_family || self.options.protocol != repr.protocol {
            return false;
        }
        if self.options.ping {
            let id = self.bound.map(|bound| bound.port());
            return match Message::parse(repr.protocol, message) {
                Some(Message::EchoReply { id: theirs, .. }) => Some(theirs) == id,
                _ => false,
            };
        }
        let refused = repr.protocol == protocol::ICMP
            && message
                .first()
                .is_some_and(|kind| *kind < 32 && self.options.refused_types >> kind & 1 != 0);
        let fits = |end: Option<SocketAddr>, ip: IpAddr| {
            end.is_none_or(|end| end.ip().is_unspecified() || end.ip() == ip)
        };
        !refused && fits(self.bound, repr.to) && fits(self.peer, repr.from)
    }

    fn push(&mut self, packet: RawPacket) -> bool {
        let size = packet.data.len() + OVERHEAD;
        let limit = self.options.receive_buffer.unwrap_or(RECEIVE_BUFFER);
        if self.queued + size > limit && !self.queue.is_empty() {
            return false;
        }
        self.queued += size;
        self.queue.push_back(packet);
        true
    }
}

impl Stack {
    /// A new raw or ping socket.
    pub fn raw_open(&mut self, options: RawOptions) -> SocketId {
        let id = self.add(Socket::Raw(RawSocket {
            options,
            bound: None,
            peer: None,
            queue: VecDeque::new(),
            queued: 0,
            error: None,
        }));
        self.raw_sockets.push(id);
        id
    }

    fn raw(&mut self, id: SocketId) -> Result<&mut RawSocket> {
        match self.sockets.get_mut(&id) {
            Some(Socket::Raw(socket)) => Ok(socket),
            _ => Err(Errno::EBADF),
        }
    }

    /// Changes how a raw socket works.
    pub fn raw_configure(&mut self, id: SocketId, change: impl FnOnce(&mut RawOptions)) {
        if let Ok(socket) = self.raw(id) {
            change(&mut socket.options);
        }
    }

    pub(crate) fn bind_raw(&mut self, id: SocketId, address: SocketAddr) -> Result<()> {
        let ip = address.ip();
        if !ip.is_unspecified() && !ip.is_multicast() && !self.is_own(ip) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if !self.raw(id)?.options.ping {
            self.raw(id)?.bound = Some(SocketAddr::new(ip, 0));
            return Ok(());
        }
        if self.raw(id)?.bound.is_some() {
            return Err(Errno::EINVAL);
        }
        let number = self.free_echo_id(address.port())?;
        self.raw(id)?.bound = Some(SocketAddr::new(ip, number));
        Ok(())
    }

    /// An identifier that no other ping socket has.
    fn free_echo_id(&mut self, wanted: u16) -> Result<u16> {
        let id_of = |id: &SocketId| match self.sockets.get(id) {
            Some(Socket::Raw(socket)) if socket.options.ping => Some(socket.bound?.port()),
            _ => None,
        };
        let used: Vec<u16> = self.raw_sockets.iter().filter_map(id_of).collect();
        if wanted != 0 {
            return if used.contains(&wanted) { Err(Errno::EADDRINUSE) } else { Ok(wanted) };
        }
        let start = self.random.next() as u16;
        let mut all = (0..=u16::MAX).map(|step| start.wrapping_add(step));
        all.find(|id| *id != 0 && !used.contains(id)).ok_or(Errno::EAGAIN)
    }

    pub(crate) fn connect_raw(&mut self, id: SocketId, to: Option<SocketAddr>) -> Result<()> {
        if let Some(to) = to {
            let source = self.source_for(to.ip())?;
            let ping = self.raw(id)?.options.ping;
            if ping && self.raw(id)?.bound.is_none() {
                self.bind_raw(id, SocketAddr::new(source, 0))?;
            }
        }
        self.raw(id)?.peer = to;
        Ok(())
    }

    /// Sends a message; `to` unless the socket is connected, or instead of where it is.
    ///
    /// # Errors
    /// EDESTADDRREQ, EMSGSIZE, ENETUNREACH, EINVAL, the pending error.
    pub fn raw_send(
        &mut self,
        id: SocketId,
        to: Option<SocketAddr>,
        data: &[u8],
        marks: Marks,
    ) -> Result<usize> {
        let socket = self.raw(id)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let options = socket.options;
        let peer = socket.peer;
        if data.len() > MAX_LEN {
            return Err(Errno::EMSGSIZE);
        }
        let to = to.map(|to| destination(unmapped(to))).or(peer).ok_or(Errno::EDESTADDRREQ)?;
        let bound = self.raw(id)?.bound.map(|bound| bound.ip());
        let from = match bound.filter(|ip| !ip.is_unspecified() && !ip.is_multicast()) {
            Some(bound) => bound,
            None => self.source_for(to.ip())?,
        };
        let mut repr = Repr {
            hops: marks.hops,
            class: marks.class,
            dont_fragment: marks.dont_fragment,
            ..Repr::new(from, to.ip(), options.protocol)
        };
        let mut message = data.to_vec();
        if options.ping {
            self.prepare_echo(id, &mut message)?;
        } else if options.header_included {
            let (theirs, rest, _) = Repr::parse_unchecked(data).ok_or(Errno::EINVAL)?;
            message = rest.to_vec();
            repr = Repr { to: repr.to, ..theirs };
            if repr.from.is_unspecified() {
                repr.from = from;
            }
        }
        if repr.from.is_ipv4() != repr.to.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        if options.ping || repr.protocol == protocol::ICMPV6 {
            self.emit_icmp(repr, message);
        } else {
            self.emit_ip(repr, &[], Bytes::from(message));
        }
        self.run();
        Ok(data.len())
    }

    /// An echo request of a ping socket carries its identifier.
    fn prepare_echo(&mut self, id: SocketId, message: &mut [u8]) -> Result<()> {
        let v6 = self.raw(id)?.options.v6;
        let number = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
        let is_request =
            matches!(Message::parse(number, message), Some(Message::EchoRequest { .. }));
        if !is_request || message.get(1) != Some(&0) {
            return Err(Errno::EINVAL);
        }
        if self.raw(id)?.bound.is_none() {
            self.bind_raw(id, crate::stack::unspecified(v6))?;
        }
        let own = self.raw(id)?.bound.map_or(0, |bound| bound.port());
        if let Some(place) = message.get_mut(4..6) {
            place.copy_from_slice(&own.to_be_bytes());
        }
        Ok(())
    }

    /// Takes a packet, or a copy of it if `peek`.
    ///
    /// # Errors
    /// EAGAIN, the pending error.
    pub fn raw_receive(&mut self, id: SocketId, peek: bool) -> Result<RawPacket> {
        let socket = self.raw(id)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let v6 = socket.options.v6;
        let packet = if peek { socket.queue.front().cloned() } else { socket.queue.pop_front() };
        let mut packet = packet.ok_or(Errno::EAGAIN)?;
        if !peek {
            socket.queued = socket.queued.saturating_sub(packet.data.len() + OVERHEAD);
        }
        if v6 {
            packet.from = mapped(packet.from);
        }
        Ok(packet)
    }

    /// Bytes of the next packet.
    pub fn raw_next_len(&mut self, id: SocketId) -> usize {
        self.raw(id)
            .ok()
            .and_then(|socket| socket.queue.front())
            .map_or(0, |packet| packet.data.len())
    }

    /// Gives a packet to the raw and ping sockets that want it; says whether any did.
    pub(crate) fn deliver_raw(
        &mut self,
        repr: &Repr,
        packet: &Packet,
        interface: Option<InterfaceId>,
    ) -> bool {
        if self.raw_sockets.is_empty() {
            return false;
        }
        let whole = Bytes::from(flat(packet, usize::MAX));
        let message = whole.slice(repr.header_len().min(whole.len())..);
        let mut takers = Vec::new();
        for id in &self.raw_sockets {
            let Some(Socket::Raw(socket)) = self.sockets.get_mut(id) else { continue };
            if !socket.takes(repr, &message) {
                continue;
            }
            let with_header = !socket.options.v6 && !socket.options.ping;
            let data = if with_header { whole.clone() } else { message.clone() };
            let (hops, class) = (repr.hops, repr.class);
            let from = SocketAddr::new(repr.from, 0);
            if socket.push(RawPacket { from, to: repr.to, hops, class, interface, data }) {
                takers.push(*id);
            }
        }
        for id in &takers {
            self.tell(*id, PollEvents::POLLIN | PollEvents::POLLRDNORM);
        }
        !takers.is_empty()
    }

    /// A message of ICMP has come: answers, and errors about what was sent.
    pub(crate) fn input_icmp(&mut self, repr: &Repr, message: &[u8]) {
        match Message::parse(repr.protocol, message) {
            Some(Message::EchoRequest { id, sequence, data }) if self.settings.answer_echoes => {
                let is_group = repr.to.is_multicast()
                    || matches!(repr.to, IpAddr::V4(to) if to.is_broadcast());
                let from = if is_group { self.source_for(repr.from) } else { Ok(repr.to) };
                let Ok(from) = from else { return };
                let mut reply = Vec::with_capacity(message.len());
                Message::EchoReply { id, sequence, data }.emit(repr.protocol, &mut reply);
                let (hops, class) = (self.settings.hops, repr.class);
                let answer = Repr { hops, class, ..Repr::new(from, repr.from, repr.protocol) };
                self.emit_icmp(Repr { dont_fragment: false, ..answer }, reply);
            }
            Some(Message::Error { reason, original }) => self.input_error(reason, original),
            _ => {}
        }
    }
}

/// Most bytes of a packet that an error quotes.
pub(crate) const fn quoted(v6: bool) -> usize {
    // RFC 1812 §4.3.2.3; RFC 4443 §2.4: up to the smallest largest packet.
    if v6 { 1280 - 48 } else { icmp::QUOTED }
}
