//! What `NETLINK_ROUTE` shows of interfaces beside the loopback interface: a message per interface, address, route and neighbour.

use core::net::IpAddr;

use chitin_abi::net::{
    AF_INET, AF_INET6, AF_UNSPEC, ARPHRD_ETHER, IFA_ADDRESS, IFA_BROADCAST, IFA_CACHEINFO,
    IFA_F_PERMANENT, IFA_FLAGS, IFA_LABEL, IFA_LOCAL, IFF_BROADCAST, IFF_LOWER_UP, IFF_MULTICAST,
    IFF_RUNNING, IFF_UP, IFLA_ADDRESS, IFLA_BROADCAST, IFLA_GROUP, IFLA_IFNAME, IFLA_MTU,
    IFLA_OPERSTATE, IFLA_QDISC, IFLA_TXQLEN, IfAddrMsg, IfInfoMsg, IfaCacheinfo, NDA_DST,
    NDA_LLADDR, NUD_DELAY, NUD_FAILED, NUD_INCOMPLETE, NUD_PERMANENT, NUD_PROBE, NUD_REACHABLE,
    NUD_STALE, NdMsg, RT_SCOPE_HOST, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RT_TABLE_LOCAL,
    RT_TABLE_MAIN, RTA_DST, RTA_GATEWAY, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE,
    RTM_NEWADDR, RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWROUTE, RTN_LOCAL, RTN_UNICAST, RTPROT_BOOT,
    RTPROT_KERNEL, RtMsg,
};
use chitin_net_stack::{Interface, LOOPBACK, NeighbourState, Route, Stack, Way};
use zerocopy::IntoBytes;

use super::Dump;

/// `IF_OPER_UP` and `IF_OPER_DOWN`.
const UP: u8 = 6;
const DOWN: u8 = 2;
const QUEUE: u32 = 1000;
/// The way was looked up; nobody has made a route of it.
const RTM_F_CLONED: u32 = 0x200;
const RTPROT_UNSPEC: u8 = 0;

/// All interfaces but the loopback interface.
pub(super) fn others(stack: &Stack) -> impl Iterator<Item = &Interface> {
    stack.interfaces().iter().filter(|one| one.id != LOOPBACK)
}

/// The flags of an interface, as `SIOCGIFFLAGS` and `RTM_GETLINK` show them.
pub(in crate::socket) fn flags_of(one: &Interface) -> u32 {
    IFF_BROADCAST | IFF_MULTICAST | if one.up { IFF_UP | IFF_RUNNING } else { 0 }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family_of(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn wants(family: u32, ip: IpAddr) -> bool {
    family == AF_UNSPEC || family == family_of(ip)
}

/// An interface.
pub(super) fn link(one: &Interface, dump: &mut Dump<'_>, flags: u16) {
    let lower = if one.up { IFF_LOWER_UP } else { 0 };
    let info = IfInfoMsg {
        family: AF_UNSPEC as u8,
        pad: 0,
        kind: ARPHRD_ETHER,
        index: one.id.cast_signed(),
        flags: flags_of(one) | lower,
        change: 0,
    };
    let mut name = one.config.name.clone().into_bytes();
    name.push(0);
    let attributes: &[(u16, &[u8])] = &[
        (IFLA_IFNAME, &name),
        (IFLA_GROUP, &0_u32.to_ne_bytes()),
        (IFLA_TXQLEN, &QUEUE.to_ne_bytes()),
        (IFLA_OPERSTATE, &[if one.up { UP } else { DOWN }]),
        (IFLA_MTU, &one.config.mtu.to_ne_bytes()),
        (IFLA_QDISC, b"noqueue\0"),
        (IFLA_ADDRESS, &one.mac().unwrap_or_default().0),
        (IFLA_BROADCAST, &[0xff; 6]),
    ];
    dump.message(RTM_NEWLINK, flags, info.as_bytes(), attributes);
}

/// The addresses of an interface.
pub(super) fn addresses(one: &Interface, dump: &mut Dump<'_>, family: u32, flags: u16) {
    let forever = IfaCacheinfo { prefered: u32::MAX, valid: u32::MAX, cstamp: 0, tstamp: 0 };
    let permanent = IFA_F_PERMANENT.to_ne_bytes();
    let mut label = one.config.name.clone().into_bytes();
    label.push(0);
    for address in one.addresses.iter().filter(|address| wants(family, address.ip)) {
        let is_local = matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let header = IfAddrMsg {
            family: family_of(address.ip) as u8,
            prefixlen: address.prefix,
            flags: IFA_F_PERMANENT as u8,
            scope: if is_local { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE },
            index: one.id,
        };
        let ip = octets(address.ip);
        let broadcast = address.broadcast().map(|ip| ip.octets());
        let mut attributes: Vec<(u16, &[u8])> = vec![(IFA_ADDRESS, &ip)];
        if address.ip.is_ipv4() {
            attributes.push((IFA_LOCAL, &ip));
            if let Some(broadcast) = &broadcast {
                attributes.push((IFA_BROADCAST, broadcast));
            }
            attributes.push((IFA_LABEL, &label));
        }
        attributes.push((IFA_FLAGS, &permanent));
        attributes.push((IFA_CACHEINFO, forever.as_bytes()));
        dump.message(RTM_NEWADDR, flags, header.as_bytes(), &attributes);
    }
}

/// A route.
pub(super) fn route(route: &Route, dump: &mut Dump<'_>, flags: u16) {
    let is_near = route.gateway.is_none() && route.destination.is_ipv4();
    let header = RtMsg {
        family: family_of(route.destination) as u8,
        dst_len: route.prefix,
        src_len: 0,
        tos: 0,
        table: RT_TABLE_MAIN,
        protocol: if route.gateway.is_none() { RTPROT_KERNEL } else { RTPROT_BOOT },
        scope: if is_near { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE },
        kind: RTN_UNICAST,
        flags: 0,
    };
    let table = u32::from(RT_TABLE_MAIN).to_ne_bytes();
    let (interface, metric) = (route.interface.to_ne_bytes(), route.metric.to_ne_bytes());
    let destination = octets(masked(route.destination, route.prefix));
    let gateway = route.gateway.map(octets);
    let source = route.source.map(octets);
    let mut attributes: Vec<(u16, &[u8])> = vec![(RTA_TABLE, &table)];
    if route.prefix > 0 {
        attributes.push((RTA_DST, &destination));
    }
    if route.metric > 0 {
        attributes.push((RTA_PRIORITY, &metric));
    }
    if let Some(gateway) = &gateway {
        attributes.push((RTA_GATEWAY, gateway));
    }
    if let Some(source) = &source {
        attributes.push((RTA_PREFSRC, source));
    }
    attributes.push((RTA_OIF, &interface));
    dump.message(RTM_NEWROUTE, flags, header.as_bytes(), &attributes);
}

/// The routes to the addresses of an interface, which are in the table of local ones.
pub(super) fn local_routes(one: &Interface, dump: &mut Dump<'_>, family: u32, flags: u16) {
    let table = u32::from(RT_TABLE_LOCAL).to_ne_bytes();
    let interface = one.id.to_ne_bytes();
    for address in one.addresses.iter().filter(|address| wants(family, address.ip)) {
        let ip = octets(address.ip);
        let is_v4 = address.ip.is_ipv4();
        let header = RtMsg {
            family: family_of(address.ip) as u8,
            dst_len: if is_v4 { 32 } else { 128 },
            src_len: 0,
            tos: 0,
            table: RT_TABLE_LOCAL,
            protocol: RTPROT_KERNEL,
            scope: if is_v4 { RT_SCOPE_HOST } else { RT_SCOPE_UNIVERSE },
            kind: RTN_LOCAL,
            flags: 0,
        };
        let mut attributes: Vec<(u16, &[u8])> = vec![(RTA_TABLE, &table), (RTA_DST, &ip)];
        if is_v4 {
            attributes.push((RTA_PREFSRC, &ip));
        }
        attributes.push((RTA_OIF, &interface));
        dump.message(RTM_NEWROUTE, flags, header.as_bytes(), &attributes);
    }
}

/// The way to one address, as who asks for it is told. IPv4 names the table only if that is wanted.
pub(super) fn way(to: IpAddr, way: &Way, names_table: bool, dump: &mut Dump<'_>) {
    let is_v4 = to.is_ipv4();
    let table = if way.is_own && (names_table || !is_v4) { RT_TABLE_LOCAL } else { RT_TABLE_MAIN };
    let header = RtMsg {
        family: family_of(to) as u8,
        dst_len: if is_v4 { 32 } else { 128 },
        src_len: 0,
        tos: 0,
        table,
        protocol: if is_v4 { RTPROT_UNSPEC } else { RTPROT_KERNEL },
        scope: RT_SCOPE_UNIVERSE,
        kind: if way.is_own { RTN_LOCAL } else { RTN_UNICAST },
        flags: if is_v4 { RTM_F_CLONED } else { 0 },
    };
    let (table, interface) = (u32::from(table).to_ne_bytes(), way.interface.to_ne_bytes());
    let (destination, source) = (octets(to), octets(way.source));
    let gateway = way.gateway.map(octets);
    let mut attributes: Vec<(u16, &[u8])> = vec![(RTA_TABLE, &table), (RTA_DST, &destination)];
    if let Some(gateway) = &gateway {
        attributes.push((RTA_GATEWAY, gateway));
    }
    attributes.extend([(RTA_OIF, &interface[..]), (RTA_PREFSRC, &source[..])]);
    dump.message(RTM_NEWROUTE, 0, header.as_bytes(), &attributes);
}

/// Whether a request for a family wants a route.
pub(super) fn wants_route(family: u32, route: &Route) -> bool {
    wants(family, route.destination)
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::from((u32::from(ip) & mask).to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::from((u128::from(ip) & mask).to_be_bytes())
        }
    }
}

/// The neighbours on an interface's link.
pub(super) fn neighbours(stack: &Stack, id: u32, dump: &mut Dump<'_>, family: u32, flags: u16) {
    let all = stack.neighbours(id).into_iter().filter(|(ip, ..)| wants(family, *ip));
    // What fits into one message; more of them than that share a link with nobody.
    for (ip, mac, state) in all.take(64) {
        let header = NdMsg {
            family: family_of(ip) as u8,
            ifindex: id.cast_signed(),
            state: match state {
                NeighbourState::Incomplete => NUD_INCOMPLETE,
                NeighbourState::Reachable => NUD_REACHABLE,
                NeighbourState::Stale => NUD_STALE,
                NeighbourState::Delay => NUD_DELAY,
                NeighbourState::Probe => NUD_PROBE,
                NeighbourState::Failed => NUD_FAILED,
                NeighbourState::Permanent => NUD_PERMANENT,
            },
            kind: RTN_UNICAST,
            ..NdMsg::default()
        };
        let ip = octets(ip);
        let known = !matches!(state, NeighbourState::Incomplete | NeighbourState::Failed);
        let attributes: &[(u16, &[u8])] = &[(NDA_DST, &ip), (NDA_LLADDR, &mac.0)];
        let count = if known { 2 } else { 1 };
        let attributes = attributes.get(..count).unwrap_or_default();
        dump.message(RTM_NEWNEIGH, flags, header.as_bytes(), attributes);
    }
}
