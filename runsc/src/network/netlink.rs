//! Questions and orders to the host's routing (`rtnetlink(7)`).

use std::io;
use std::net::IpAddr;

use chitin_net_stack::wire::ethernet::Mac;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::RoutePlan;
use crate::error::{Context as _, Failure, Result};

/// An interface of the host's.
pub(super) struct HostLink {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) is_up: bool,
    pub(super) is_loopback: bool,
    /// Of an Ethernet interface.
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
}

/// A connection to the routing of the current network namespace.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens it.
    pub(super) fn open() -> Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok::<_, io::Error>(socket)
        };
        let socket = open().context(|| "cannot ask for the host's interfaces (netlink)")?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request and gives the answers.
    fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).context(|| "cannot talk to the host's routing")?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) =
                self.socket.recv_from_full().context(|| "the host's routing does not answer")?;
            if self.take(&bytes, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    /// Takes the messages of one datagram; true at the end of the answer.
    fn take(&self, bytes: &[u8], answers: &mut Vec<RouteNetlinkMessage>) -> Result<bool> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|error| {
                    Failure::new(format!("the host's routing says what is not understood: {error}"))
                })?;
            let length = (message.header.length as usize).next_multiple_of(4);
            if message.header.sequence_number == self.sequence {
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(true),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(true),
                            Some(_) => Err(error.to_io()).context(|| "the host's routing refuses"),
                        };
                    }
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
            }
            rest = rest.get(length.max(16)..).unwrap_or_default();
        }
        Ok(false)
    }

    /// All interfaces.
    pub(super) fn links(&mut self) -> Result<Vec<HostLink>> {
        let answers = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(host_link).collect())
    }

    /// The addresses of all interfaces.
    pub(super) fn addresses(&mut self) -> Result<Vec<AddressMessage>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let message = |answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        };
        Ok(self.ask(request, NLM_F_DUMP)?.into_iter().filter_map(message).collect())
    }

    /// The routes of all tables.
    pub(super) fn routes(&mut self) -> Result<Vec<RouteMessage>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let answers = self.ask(RouteNetlinkMessage::GetRoute(request), NLM_F_DUMP)?;
            routes.extend(answers.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(message) => Some(message),
                _ => None,
            }));
        }
        Ok(routes)
    }

    /// Takes an address from its interface.
    pub(super) fn remove_address(&mut self, message: &AddressMessage) -> Result<()> {
        self.ask(RouteNetlinkMessage::DelAddress(message.clone()), NLM_F_ACK).map(drop)
    }

    /// Gives an interface an address that it had.
    pub(super) fn restore_address(&mut self, message: &AddressMessage) -> Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.ask(RouteNetlinkMessage::NewAddress(message.clone()), flags).map(drop)
    }

    /// Makes a route that there was.
    pub(super) fn restore_route(&mut self, message: &RouteMessage) -> Result<()> {
        let mut message = message.clone();
        // The others say how it did.
        message.header.flags &= RouteFlags::Onlink;
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RouteNetlinkMessage::NewRoute(message), flags).map(drop)
    }

    /// Gives an interface an address.
    pub(super) fn add_address(&mut self, index: u32, ip: IpAddr, prefix: u8) -> Result<()> {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, ip, prefix));
        self.ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Makes an interface.
    pub(super) fn add_link(&mut self, message: LinkMessage) -> Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RouteNetlinkMessage::NewLink(message), flags).map(drop)
    }

    /// Brings an interface up.
    pub(super) fn set_up(&mut self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.ask(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
    }

    /// The number of an interface.
    pub(super) fn index_of(&mut self, name: &str) -> Result<u32> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.ask(RouteNetlinkMessage::GetLink(message), NLM_F_ACK)?;
        let found = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(message.header.index),
            _ => None,
        });
        found.ok_or_else(|| Failure::new(format!("interface {name} is not there")))
    }
}

fn address_message(index: u32, ip: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix;
    message.header.scope = AddressScope::Universe;
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes.push(AddressAttribute::Local(ip));
    message.attributes.push(AddressAttribute::Address(ip));
    message
}

fn host_link(answer: RouteNetlinkMessage) -> Option<HostLink> {
    let RouteNetlinkMessage::NewLink(message) = answer else { return None };
    let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let (mut name, mut mac, mut mtu) = (None, None, 1500);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Address(bytes) if is_ethernet => {
                mac = bytes.first_chunk().map(|bytes| Mac(*bytes));
            }
            LinkAttribute::Mtu(bytes) => mtu = bytes,
            _ => {}
        }
    }
    let flags = message.header.flags;
    let (is_up, is_loopback) = (flags.contains(LinkFlags::Up), flags.contains(LinkFlags::Loopback));
    Some(HostLink { index: message.header.index, name: name?, is_up, is_loopback, mac, mtu })
}

/// An address and the length of its prefix.
pub(super) fn address_of(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) if local => Some(*ip),
            AddressAttribute::Address(ip) if !local => Some(*ip),
            _ => None,
        })
    };
    find(true).or(find(false)).map(|ip| (ip, message.header.prefix_len))
}

/// What a route of the main table means, if it leads over an interface that `place` knows.
pub(super) fn plan_of(
    message: &RouteMessage,
    place: &impl Fn(u32) -> Option<usize>,
) -> Option<RoutePlan> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    let ip = |address: &RouteAddress| match address {
        RouteAddress::Inet(ip) => Some(IpAddr::from(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::from(*ip)),
        _ => None,
    };
    let mut link = None;
    let mut plan = RoutePlan {
        destination: any,
        prefix: header.destination_prefix_length,
        gateway: None,
        source: None,
        metric: 0,
        link: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => plan.destination = ip(address)?,
            RouteAttribute::Gateway(address) => plan.gateway = ip(address),
            RouteAttribute::PrefSource(address) => plan.source = ip(address),
            RouteAttribute::Priority(metric) => plan.metric = *metric,
            RouteAttribute::Oif(index) => link = place(*index),
            _ => {}
        }
    }
    plan.link = link?;
    Some(plan)
}
