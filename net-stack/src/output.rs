//! Packets that go out: routes, source addresses, fragments, neighbours, checksums.
//!
//! A packet for one of our own addresses goes over the loopback link, where headers are all that is written; others get
//! checksums (unless the interface's other side fills them in) and a link header.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use chitin_abi::{Errno, Result};
use smallvec::SmallVec;

use crate::interface::neighbour::{Step, solicited_group};
use crate::interface::route::Route;
use crate::interface::{Frame, InterfaceId, LOOPBACK, LOOPBACK_MTU, Medium};
use crate::stack::Stack;
use crate::udp::Marks;
use crate::wire::ethernet::{self, Mac, ether_type};
use crate::wire::ip::{self, Fragment, Repr, protocol};
use crate::wire::{Packet, arp, checksum, icmp, ndp, tcp, udp};

/// How packets get to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// It is an address of this stack's.
    pub is_own: bool,
    /// Where they leave.
    pub interface: InterfaceId,
    /// Who takes them on.
    pub gateway: Option<IpAddr>,
    /// Where they come from unless their sender says otherwise.
    pub source: IpAddr,
}

impl Stack {
    /// How packets get to an address.
    ///
    /// # Errors
    /// ENETUNREACH without a route, EADDRNOTAVAIL where its interface has no address.
    pub fn way_to(&self, to: IpAddr) -> Result<Way> {
        let source = self.source_for(to)?;
        if self.is_own(to) {
            return Ok(Way { is_own: true, interface: LOOPBACK, gateway: None, source });
        }
        let Route { interface, gateway, .. } = self.route(to).ok_or(Errno::ENETUNREACH)?;
        Ok(Way { is_own: false, interface, gateway, source })
    }

    /// Whether packets to this address stay here.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback()
            || self.interfaces.iter().any(|interface| {
                interface.up && interface.addresses.iter().any(|address| address.ip == ip)
            })
    }

    /// The route to an address that is not ours.
    pub(crate) fn route(&self, to: IpAddr) -> Option<Route> {
        self.routes.lookup(to, |id| self.interface(id).is_some_and(|interface| interface.up))
    }

    /// The address that packets to `to` come from.
    ///
    /// # Errors
    /// ENETUNREACH without a route, EADDRNOTAVAIL where its interface has no address.
    pub(crate) fn source_for(&self, to: IpAddr) -> Result<IpAddr> {
        if to.is_loopback() {
            return Ok(match to {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        if self.is_own(to) {
            return Ok(to);
        }
        let route = self.route(to).ok_or(Errno::ENETUNREACH)?;
        if let Some(source) = route.source {
            return Ok(source);
        }
        let addresses = self.interface(route.interface).map(|interface| &interface.addresses);
        let usable =
            |ip: &IpAddr| ip.is_ipv4() == to.is_ipv4() && is_link_local(*ip) == is_link_local(to);
        let next = route.gateway.unwrap_or(to);
        let all = addresses.ok_or(Errno::ENETUNREACH)?;
        let near = all.iter().find(|address| address.covers(next) && usable(&address.ip));
        let any = all.iter().map(|address| &address.ip);
        near.map(|address| address.ip)
            .or_else(|| any.clone().find(|ip| usable(ip)).copied())
            .or_else(|| any.clone().find(|ip| ip.is_ipv4() == to.is_ipv4()).copied())
            .ok_or(Errno::EADDRNOTAVAIL)
    }

    /// Largest packet on the way to an address.
    pub fn path_mtu(&self, to: IpAddr) -> u32 {
        if self.is_own(to) {
            return LOOPBACK_MTU;
        }
        let route = self.route(to).and_then(|route| self.interface(route.interface));
        let link = route.map_or(1500, |interface| interface.config.mtu);
        let learnt = self.path_mtus.get(&to).filter(|(_, until)| *until > self.now);
        learnt.map_or(link, |(mtu, _)| link.min(*mtu))
    }

    pub(crate) fn emit_tcp(&mut self, from: IpAddr, to: IpAddr, header: tcp::Repr, payload: Bytes) {
        let mut transport: SmallVec<[u8; 60]> = SmallVec::new();
        header.emit(&mut transport);
        let hops = self.settings.hops;
        let repr = Repr { hops, ..Repr::new(from, to, protocol::TCP) };
        self.emit_ip(repr, &transport, payload);
    }

    pub(crate) fn emit_udp(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        marks: Marks,
        payload: Bytes,
    ) {
        let mut transport: SmallVec<[u8; 8]> = SmallVec::new();
        udp::Repr { from: from.port(), to: to.port() }.emit(payload.len(), &mut transport);
        let repr = Repr {
            hops: marks.hops,
            class: marks.class,
            dont_fragment: marks.dont_fragment,
            ..Repr::new(from.ip(), to.ip(), protocol::UDP)
        };
        self.emit_ip(repr, &transport, payload);
    }

    /// Sends a whole message of ICMP or ICMPv6 from one address to another.
    pub(crate) fn emit_icmp(&mut self, repr: Repr, mut message: Vec<u8>) {
        let pseudo = if repr.protocol == protocol::ICMPV6 {
            checksum::pseudo_header(repr.from, repr.to, protocol::ICMPV6, message.len())
        } else {
            0
        };
        icmp::fill_checksum(&mut message, pseudo);
        self.emit_ip(repr, &[], Bytes::from(message));
    }

    /// Sends a packet. What has no way to go is lost, as on any network; callers that tell of it look first.
    pub(crate) fn emit_ip(&mut self, repr: Repr, transport: &[u8], payload: Bytes) {
        if self.is_own(repr.to) {
            self.emit_on_loopback(&repr, transport, payload);
            return;
        }
        if let Some(id) = self.multicast_interface(&repr) {
            self.emit_on(id, repr.to, repr, transport, payload);
            return;
        }
        let Some(route) = self.route(repr.to) else { return };
        let next = route.gateway.unwrap_or(repr.to);
        self.emit_on(route.interface, next, repr, transport, payload);
    }

    fn emit_on_loopback(&mut self, repr: &Repr, transport: &[u8], payload: Bytes) {
        let mut header = SmallVec::new();
        repr.emit(transport.len() + payload.len(), &mut header);
        header.extend_from_slice(transport);
        self.link.push_back(Packet { header, payload });
    }

    /// Where packets to a group or to everybody go, which need no route: by the address that they come from.
    fn multicast_interface(&self, repr: &Repr) -> Option<InterfaceId> {
        let is_group = match repr.to {
            IpAddr::V4(to) => to.is_multicast() || to.is_broadcast(),
            IpAddr::V6(to) => to.is_multicast(),
        };
        if !is_group {
            return None;
        }
        let has = |ip: IpAddr| {
            let with = |interface: &&crate::interface::Interface| {
                interface.up && interface.addresses.iter().any(|address| address.ip == ip)
            };
            self.interfaces.iter().find(with).map(|interface| interface.id)
        };
        has(repr.from).filter(|id| *id != LOOPBACK)
    }

    /// Sends a packet on an interface to a neighbour.
    pub(crate) fn emit_on(
        &mut self,
        id: InterfaceId,
        next: IpAddr,
        repr: Repr,
        transport: &[u8],
        payload: Bytes,
    ) {
        let Some(interface) = self.interface(id) else { return };
        let config = &interface.config;
        let (mtu, offload) = (config.mtu as usize, config.checksum_offload);
        let segment_offload = config.segment_offload as usize;
        let length = transport.len() + payload.len();
        let is_tcp = repr.protocol == protocol::TCP && segment_offload > 0;
        if repr.header_len() + length <= mtu || (is_tcp && length <= segment_offload) {
            let frame = build(&repr, transport, payload, offload, mtu);
            self.send_to(id, next, frame);
            return;
        }
        if repr.to.is_ipv4() && repr.dont_fragment {
            return;
        }
        let mut whole = Vec::with_capacity(length);
        whole.extend_from_slice(transport);
        whole.extend_from_slice(&payload);
        fill_checksum(&repr, &mut whole);
        let whole = Bytes::from(whole);
        let fragment_id = self.random.next();
        let part = |offset, more| Repr {
            fragment: Some(Fragment { id: fragment_id, offset, more }),
            dont_fragment: false,
            ..repr
        };
        let room = mtu.saturating_sub(part(0, true).header_len()) & !7;
        if room == 0 {
            return;
        }
        let mut offset = 0;
        while offset < whole.len() {
            let end = whole.len().min(offset + room);
            let repr = part(offset as u16, end < whole.len());
            let mut header = SmallVec::new();
            repr.emit(end - offset, &mut header);
            let packet = Packet { header, payload: whole.slice(offset..end) };
            self.send_to(id, next, Frame { packet, segment: 0, checksum: None });
            offset = end;
        }
    }

    /// Finds the neighbour's hardware address and sends.
    pub(crate) fn send_to(&mut self, id: InterfaceId, next: IpAddr, frame: Frame) {
        let now = self.now;
        let Some(interface) = self.interface_mut(id) else { return };
        match interface.config.medium {
            Medium::Loopback => self.link.push_back(frame.packet),
            Medium::Ip => {
                interface.push(frame);
            }
            Medium::Ethernet(_) => {
                let broadcast = interface
                    .addresses
                    .iter()
                    .any(|address| address.broadcast().map(IpAddr::V4) == Some(next));
                let mac = match next {
                    IpAddr::V4(next) if next.is_broadcast() || broadcast => Some(Mac::BROADCAST),
                    next if next.is_multicast() => Some(Mac::of_multicast(next)),
                    _ => None,
                };
                match mac {
                    Some(mac) => self.send_frame(id, mac, frame),
                    None => {
                        let steps = interface.neighbours.resolve(next, frame, now);
                        self.follow(id, steps);
                    }
                }
            }
        }
    }

    /// Does what a neighbour's state calls for.
    pub(crate) fn follow(&mut self, id: InterfaceId, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(frame, mac) => self.send_frame(id, mac, frame),
                Step::Ask(ip, mac) => self.ask_neighbour(id, ip, mac),
                Step::Lost(frames) => {
                    for frame in frames {
                        self.neighbour_lost(&frame.packet);
                    }
                }
            }
        }
    }

    /// Puts an Ethernet header before a packet and queues it.
    fn send_frame(&mut self, id: InterfaceId, to: Mac, frame: Frame) {
        let Some(interface) = self.interface_mut(id) else { return };
        let Some(from) = interface.mac() else { return };
        let ether_type = match frame.packet.header.first().map(|byte| byte >> 4) {
            Some(6) => ether_type::IPV6,
            _ => ether_type::IPV4,
        };
        let mut header = SmallVec::new();
        ethernet::Repr { to, from, ether_type }.emit(&mut header);
        header.extend_from_slice(&frame.packet.header);
        let shift = ethernet::HEADER as u16;
        let checksum = frame.checksum.map(|(start, offset)| (start + shift, offset));
        let packet = Packet { header, payload: frame.packet.payload };
        interface.push(Frame { packet, segment: frame.segment, checksum });
    }

    /// Asks who has an address: everybody, or the one who had it last.
    fn ask_neighbour(&mut self, id: InterfaceId, ip: IpAddr, mac: Option<Mac>) {
        let Some(own) = self.interface(id).and_then(crate::interface::Interface::mac) else {
            return;
        };
        match ip {
            IpAddr::V4(target) => {
                let source = self.address_on(id, ip);
                let Some(IpAddr::V4(source)) = source else { return };
                let request = arp::Repr {
                    operation: arp::Operation::Request,
                    sender: (own, source),
                    target: (Mac::default(), target),
                };
                self.send_arp(id, mac.unwrap_or(Mac::BROADCAST), request);
            }
            IpAddr::V6(target) => {
                let Some(source) = self.address_on(id, ip) else { return };
                let group = solicited_group(target);
                let to = if mac.is_some() { ip } else { group.into() };
                let question = ndp::Message::NeighbourSolicitation { target, source: Some(own) };
                self.send_ndp(
                    id,
                    mac.unwrap_or(Mac::of_multicast(group.into())),
                    (source, to),
                    &question,
                );
            }
        }
    }

    /// Our address on a link, near another one.
    fn address_on(&self, id: InterfaceId, near: IpAddr) -> Option<IpAddr> {
        let addresses = &self.interface(id)?.addresses;
        let usable = |ip: IpAddr| ip.is_ipv4() == near.is_ipv4();
        let close = addresses.iter().find(|address| address.covers(near));
        close
            .or_else(|| addresses.iter().find(|address| usable(address.ip)))
            .map(|address| address.ip)
    }

    pub(crate) fn send_arp(&mut self, id: InterfaceId, to: Mac, message: arp::Repr) {
        let Some(interface) = self.interface_mut(id) else { return };
        let Some(from) = interface.mac() else { return };
        let mut header = SmallVec::new();
        ethernet::Repr { to, from, ether_type: ether_type::ARP }.emit(&mut header);
        message.emit(&mut header);
        let packet = Packet { header, payload: Bytes::new() };
        interface.push(Frame { packet, segment: 0, checksum: None });
    }

    pub(crate) fn send_ndp(
        &mut self,
        id: InterfaceId,
        mac: Mac,
        (from, to): (IpAddr, IpAddr),
        message: &ndp::Message,
    ) {
        let mut bytes = Vec::new();
        message.emit(&mut bytes);
        let pseudo = checksum::pseudo_header(from, to, protocol::ICMPV6, bytes.len());
        icmp::fill_checksum(&mut bytes, pseudo);
        // Neighbours believe only what no router has passed on.
        let repr = Repr { hops: 255, ..Repr::new(from, to, protocol::ICMPV6) };
        let mut header = SmallVec::new();
        repr.emit(bytes.len(), &mut header);
        let packet = Packet { header, payload: bytes.into() };
        self.send_frame(id, mac, Frame { packet, segment: 0, checksum: None });
    }
}

/// Whether an address means something on one link only.
pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Where the checksum of a transport protocol is in its header.
pub(crate) const fn checksum_place(number: u8) -> Option<usize> {
    match number {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        _ => None,
    }
}

/// A packet for a link, with its checksum, or with what the other side needs to fill it in.
fn build(repr: &Repr, transport: &[u8], payload: Bytes, offload: bool, mtu: usize) -> Frame {
    let mut header = SmallVec::new();
    let length = transport.len() + payload.len();
    repr.emit(length, &mut header);
    let start = header.len();
    header.extend_from_slice(transport);
    let mut frame = Frame { packet: Packet { header, payload }, segment: 0, checksum: None };
    let Some(place) = checksum_place(repr.protocol).filter(|place| place + 2 <= transport.len())
    else {
        return frame;
    };
    let pseudo = checksum::pseudo_header(repr.from, repr.to, repr.protocol, length);
    let sum = if offload {
        frame.checksum = Some((start as u16, place as u16));
        if start + length > mtu {
            frame.segment = mtu.saturating_sub(start + transport.len()) as u16;
        }
        checksum::fold(pseudo)
    } else {
        let sum = checksum::transport(transport, &frame.packet.payload);
        let sum = checksum::finish(sum + u32::from(checksum::fold(pseudo)));
        // A UDP checksum of zero would say that there is none.
        if sum == 0 && repr.protocol == protocol::UDP { 0xffff } else { sum }
    };
    let at = start + place;
    if let Some(bytes) = frame.packet.header.get_mut(at..at + 2) {
        bytes.copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// Puts the checksum into a whole transport packet.
fn fill_checksum(repr: &Repr, whole: &mut [u8]) {
    let Some(place) = checksum_place(repr.protocol) else { return };
    let pseudo = checksum::pseudo_header(repr.from, repr.to, repr.protocol, whole.len());
    let sum = u32::from(checksum::fold(checksum::sum(whole))) + u32::from(checksum::fold(pseudo));
    let sum = match checksum::finish(sum) {
        0 if repr.protocol == protocol::UDP => 0xffff,
        sum => sum,
    };
    if let Some(bytes) = whole.get_mut(place..place + 2) {
        bytes.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Largest TCP segment without options in packets of this size.
pub(crate) fn mss_of(mtu: u32, to: IpAddr) -> usize {
    let headers = tcp::HEADER + if to.is_ipv4() { ip::V4_HEADER } else { ip::V6_HEADER };
    (mtu as usize).saturating_sub(headers).clamp(1, usize::from(u16::MAX))
}
