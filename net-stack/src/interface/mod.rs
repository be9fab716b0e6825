//! Network interfaces: names, addresses, what they have carried, and the packets that wait to be sent.
//!
//! The first one is the loopback interface, [`LOOPBACK`]. Others are driven from outside: frames go in by
//! [`crate::Stack::receive`] and come out of [`crate::Stack::transmit`].

pub(crate) mod neighbour;
pub(crate) mod route;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::neighbour::Neighbours;
use crate::wire::Packet;
use crate::wire::ethernet::Mac;

/// Number of an interface, from 1.
pub type InterfaceId = u32;
/// The loopback interface.
pub const LOOPBACK: InterfaceId = 1;
/// Its largest packet.
pub(crate) const LOOPBACK_MTU: u32 = 65536;
/// Packets that wait to be sent at most; what is more is dropped.
const QUEUE: usize = 8192;
/// Most addresses of one interface.
const MAX_ADDRESSES: usize = 256;

/// What frames of an interface look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Packets stay here.
    Loopback,
    /// Ethernet frames; our hardware address.
    Ethernet(Mac),
    /// Bare IP packets.
    Ip,
}

/// How an interface is made.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Its name.
    pub name: String,
    /// What its frames look like.
    pub medium: Medium,
    /// Largest packet, without the Ethernet header.
    pub mtu: u32,
    /// The other side fills in checksums of what we send.
    pub checksum_offload: bool,
    /// TCP segments of up to so many bytes are cut up by the other side; 0 for none.
    pub segment_offload: u32,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Bits that the link's addresses have in common.
    pub prefix: u8,
}

impl Address {
    /// Whether another address is on the same link.
    pub fn covers(&self, other: IpAddr) -> bool {
        route::has_prefix(other, self.ip, self.prefix)
    }

    /// Where packets for everybody on the link go (IPv4).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.ip {
            IpAddr::V4(ip) if self.prefix < 31 => {
                let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Some(Ipv4Addr::from(u32::from(ip) | hosts))
            }
            _ => None,
        }
    }
}

/// What an interface has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in /proc/net/dev")]
pub struct Counters {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
    pub multicast: u64,
}

/// What is to be sent on an interface.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The frame; its payload is shared with the sender's buffer.
    pub packet: Packet,
    /// To be cut into segments with so many bytes of data, if not 0.
    pub segment: u16,
    /// The transport checksum is to be filled in: where the transport header starts, and where in it the checksum is.
    pub checksum: Option<(u16, u16)>,
}

/// A network interface.
pub struct Interface {
    /// Its number.
    pub id: InterfaceId,
    /// How it was made.
    pub config: InterfaceConfig,
    /// Whether it is up.
    pub up: bool,
    /// Its addresses, in the order in which they were added.
    pub addresses: Vec<Address>,
    /// What it has carried.
    pub counters: Counters,
    pub(crate) neighbours: Neighbours,
    pub(crate) queue: VecDeque<Frame>,
    /// Groups that packets are taken for, and how many want each.
    pub(crate) groups: Vec<(IpAddr, u32)>,
}

impl Interface {
    pub(crate) fn new(id: InterfaceId, config: InterfaceConfig) -> Self {
        Self {
            id,
            config,
            up: true,
            addresses: Vec::new(),
            counters: Counters::default(),
            neighbours: Neighbours::default(),
            queue: VecDeque::new(),
            groups: Vec::new(),
        }
    }

    pub(crate) fn loopback() -> Self {
        let config = InterfaceConfig {
            name: String::from("lo"),
            medium: Medium::Loopback,
            mtu: LOOPBACK_MTU,
            checksum_offload: true,
            segment_offload: 0,
        };
        let mut interface = Self::new(LOOPBACK, config);
        interface.addresses.push(Address { ip: Ipv4Addr::LOCALHOST.into(), prefix: 8 });
        interface.addresses.push(Address { ip: Ipv6Addr::LOCALHOST.into(), prefix: 128 });
        interface
    }

    /// Our hardware address, if the medium has them.
    pub fn mac(&self) -> Option<Mac> {
        match self.config.medium {
            Medium::Ethernet(mac) => Some(mac),
            Medium::Loopback | Medium::Ip => None,
        }
    }

    /// Adds an address; false where it is known or there are too many.
    pub(crate) fn add_address(&mut self, address: Address) -> bool {
        let known = self.addresses.iter().any(|other| other.ip == address.ip);
        if known || self.addresses.len() >= MAX_ADDRESSES {
            return false;
        }
        self.addresses.push(address);
        true
    }

    /// Whether a packet for this destination that came in here is for us.
    pub(crate) fn takes(&self, to: IpAddr) -> bool {
        match to {
            _ if self.addresses.iter().any(|address| address.ip == to) => true,
            IpAddr::V4(v4) if v4.is_broadcast() => true,
            IpAddr::V4(v4) if v4.is_multicast() => self.is_member(to),
            IpAddr::V4(v4) => self.addresses.iter().any(|address| address.broadcast() == Some(v4)),
            IpAddr::V6(v6) if v6.is_multicast() => self.is_member(to) || self.solicits(v6),
            IpAddr::V6(_) => false,
        }
    }

    /// Groups of all hosts, and those that somebody has joined.
    fn is_member(&self, group: IpAddr) -> bool {
        const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        group == IpAddr::V4(ALL_HOSTS)
            || group == IpAddr::V6(ALL_NODES)
            || self.groups.iter().any(|(known, _)| *known == group)
    }

    /// Whether this is the group for questions about one of our addresses (RFC 4291 §2.7.1).
    fn solicits(&self, group: Ipv6Addr) -> bool {
        self.addresses.iter().any(|address| match address.ip {
            IpAddr::V6(ip) => neighbour::solicited_group(ip) == group,
            IpAddr::V4(_) => false,
        })
    }

    /// Queues a frame; false where it had to be dropped.
    pub(crate) fn push(&mut self, frame: Frame) -> bool {
        if !self.up || self.queue.len() >= QUEUE {
            self.counters.tx_dropped += 1;
            return false;
        }
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += frame.packet.len() as u64;
        self.queue.push_back(frame);
        true
    }
}
