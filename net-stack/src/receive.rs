//! Frames that come in on an interface: checked, put together and handed on as packets.
//!
//! Everything here is what anybody on the link may send. What is malformed, not for us, or wrong in its checksum is counted
//! and dropped; nothing is forwarded.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::interface::{InterfaceId, Medium};
use crate::output::{checksum_place, is_link_local};
use crate::stack::Stack;
use crate::tcp::buffer::compact;
use crate::wire::ethernet::{self, Mac, ether_type};
use crate::wire::ip::{self, Repr, protocol};
use crate::wire::{Packet, arp, checksum, ndp, tcp, udp};

/// Whether a frame's transport checksum is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It came over a wire.
    Verify,
    /// It never left this machine, or the device has checked it.
    Trusted,
}

impl Stack {
    /// A frame has come in on an interface.
    pub fn receive(&mut self, id: InterfaceId, frame: &Bytes, trust: Checksum, now: u64) {
        self.now = now;
        let Some(interface) = self.interface_mut(id).filter(|interface| interface.up) else {
            return;
        };
        interface.counters.rx_packets += 1;
        interface.counters.rx_bytes += frame.len() as u64;
        let taken = match interface.config.medium {
            Medium::Ethernet(own) => self.receive_ethernet(id, own, frame, trust),
            Medium::Ip => self.receive_ip(id, frame, trust),
            Medium::Loopback => None,
        };
        if taken.is_none()
            && let Some(interface) = self.interface_mut(id)
        {
            interface.counters.rx_dropped += 1;
        }
        self.run();
    }

    fn receive_ethernet(
        &mut self,
        id: InterfaceId,
        own: Mac,
        frame: &Bytes,
        trust: Checksum,
    ) -> Option<()> {
        let (header, rest) = ethernet::Repr::parse(frame)?;
        if header.to != own && !header.to.is_multicast() {
            return None;
        }
        if header.to.is_multicast()
            && let Some(interface) = self.interface_mut(id)
        {
            interface.counters.multicast += 1;
        }
        match header.ether_type {
            ether_type::ARP => self.receive_arp(id, own, &arp::Repr::parse(rest)?),
            ether_type::IPV4 | ether_type::IPV6 => {
                let bytes = frame.slice(frame.len() - rest.len()..);
                self.receive_ip(id, &bytes, trust)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// RFC 826: learns from questions to us and from answers.
    fn receive_arp(&mut self, id: InterfaceId, own: Mac, message: &arp::Repr) {
        let (sender_mac, sender) = message.sender;
        let target = message.target.1;
        let Some(interface) = self.interface_mut(id) else { return };
        let is_ours = interface.addresses.iter().any(|address| address.ip == IpAddr::V4(target));
        let is_reply = message.operation == arp::Operation::Reply;
        if !sender.is_unspecified() {
            let how = (is_reply && is_ours, true, is_ours && !is_reply);
            let now = self.now;
            let Some(interface) = self.interface_mut(id) else { return };
            let steps = interface.neighbours.learn(sender.into(), sender_mac, how, now);
            self.follow(id, steps);
        }
        if is_ours && !is_reply {
            let reply = arp::Repr {
                operation: arp::Operation::Reply,
                sender: (own, target),
                target: message.sender,
            };
            self.send_arp(id, sender_mac, reply);
        }
    }

    fn receive_ip(&mut self, id: InterfaceId, bytes: &Bytes, trust: Checksum) -> Option<()> {
        let (repr, rest, length) = Repr::parse(bytes)?;
        let start = bytes.len() - rest.len();
        // What is shorter than it says is cut off; what is longer is padding.
        if rest.len() < length {
            return None;
        }
        let mut data = compact(bytes.slice(start..start + length), bytes.len());
        // Nobody on a wire has a loopback address, a group's, or ours.
        let from = repr.from;
        let is_strange = from.is_loopback() || from.is_multicast() || repr.to.is_loopback();
        if is_strange || (self.is_own(from) && !is_link_local(from)) {
            return None;
        }
        self.interface(id).filter(|interface| interface.takes(repr.to))?;
        let mut trust = trust;
        if let Some(fragment) = repr.fragment {
            let now = self.now;
            data = self.fragments.insert(&repr, fragment, data, now)?;
            trust = Checksum::Verify;
        }
        let repr = Repr { fragment: None, ..repr };
        self.receive_transport(id, repr, data, trust)
    }

    fn receive_transport(
        &mut self,
        id: InterfaceId,
        repr: Repr,
        data: Bytes,
        trust: Checksum,
    ) -> Option<()> {
        if trust == Checksum::Verify && !is_intact(&repr, &data) {
            if let Some(interface) = self.interface_mut(id) {
                interface.counters.rx_errors += 1;
            }
            return None;
        }
        if repr.protocol == protocol::ICMPV6
            && let Some(message) = ndp::Message::parse(&data)
        {
            // RFC 4861 §7.1: not passed on by any router.
            if repr.hops == 255 {
                self.receive_ndp(id, &repr, &message);
            }
            return Some(());
        }
        let header_len = match repr.protocol {
            protocol::TCP => tcp::Repr::parse(&data)?.1,
            protocol::UDP => {
                let length = udp::length(&data)?;
                return self.hand_on(id, &repr, udp::HEADER, data.slice(..length));
            }
            _ => 0,
        };
        self.hand_on(id, &repr, header_len, data)
    }

    fn hand_on(
        &mut self,
        id: InterfaceId,
        repr: &Repr,
        header_len: usize,
        data: Bytes,
    ) -> Option<()> {
        let mut header = SmallVec::new();
        repr.emit(data.len(), &mut header);
        header.extend_from_slice(data.get(..header_len)?);
        self.input(Packet { header, payload: data.slice(header_len..) }, Some(id));
        Some(())
    }

    fn receive_ndp(&mut self, id: InterfaceId, repr: &Repr, message: &ndp::Message) {
        let now = self.now;
        let learn = |stack: &mut Self, ip: IpAddr, mac: Option<Mac>, how| {
            let (Some(mac), Some(interface)) = (mac, stack.interface_mut(id)) else { return };
            let steps = interface.neighbours.learn(ip, mac, how, now);
            stack.follow(id, steps);
        };
        match *message {
            ndp::Message::NeighbourSolicitation { target, source } => {
                let target_ip = IpAddr::V6(target);
                let Some(interface) = self.interface(id) else { return };
                if !interface.addresses.iter().any(|address| address.ip == target_ip) {
                    return;
                }
                let own = interface.mac();
                if !repr.from.is_unspecified() {
                    learn(self, repr.from, source, (false, true, true));
                }
                self.answer_solicitation(id, repr.from, source, target, own);
            }
            ndp::Message::NeighbourAdvertisement {
                target, address, solicited, overrides, ..
            } => {
                learn(self, target.into(), address, (solicited, overrides, false));
            }
            ndp::Message::RouterAdvertisement { source, .. } => {
                learn(self, repr.from, source, (false, true, true));
                self.take_router_advertisement(id, repr.from, message);
            }
            ndp::Message::RouterSolicitation { .. } => {}
        }
    }

    fn answer_solicitation(
        &mut self,
        id: InterfaceId,
        from: IpAddr,
        source: Option<Mac>,
        target: Ipv6Addr,
        own: Option<Mac>,
    ) {
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let solicited = !from.is_unspecified();
        let to = if solicited { from } else { ALL_NODES.into() };
        let answer = ndp::Message::NeighbourAdvertisement {
            target,
            address: own,
            router: false,
            solicited,
            overrides: true,
        };
        let known = self.interface(id).and_then(|interface| {
            interface.neighbours.list(self.now).find(|(ip, ..)| *ip == to).map(|(_, mac, _)| mac)
        });
        let mac = source.or(known).unwrap_or(Mac::of_multicast(ALL_NODES.into()));
        self.send_ndp(id, mac, (target.into(), to), &answer);
    }
}

/// Whether the transport checksum is right.
fn is_intact(repr: &Repr, data: &[u8]) -> bool {
    let sum = checksum::sum(data);
    match repr.protocol {
        protocol::ICMP => checksum::finish(sum) == 0,
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => {
            let place = checksum_place(repr.protocol).unwrap_or(2);
            let is_absent = data.get(place..place + 2) == Some(&[0, 0]);
            if repr.protocol == protocol::UDP && repr.to.is_ipv4() && is_absent {
                return true;
            }
            let pseudo = checksum::pseudo_header(repr.from, repr.to, repr.protocol, data.len());
            let sum = u32::from(checksum::fold(sum)) + u32::from(checksum::fold(pseudo));
            checksum::finish(sum) == 0
        }
        _ => true,
    }
}

/// The bytes of a packet as they would be on a wire, for errors that quote it.
pub(crate) fn flat(packet: &Packet, most: usize) -> Vec<u8> {
    let mut bytes = packet.header.to_vec();
    bytes.extend_from_slice(&packet.payload);
    bytes.truncate(most.max(ip::V4_HEADER + 8));
    bytes
}
