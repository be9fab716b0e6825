//! The texts of /proc/net/dev, route, arp, if_inet6 and ipv6_route (`proc_net(5)`).

use core::fmt::Write;
use core::net::{IpAddr, Ipv6Addr};

use chitin_net_stack::{Interface, LOOPBACK, NeighbourState, Route, Stack};

use super::InetStack;

const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n";
const ARP: &str =
    "IP address       HW type     Flags       HW address            Mask     Device\n";
/// `RTF_UP`, `RTF_GATEWAY`, `RTF_HOST`; and of a route to an own address.
const UP: u32 = 1;
const GATEWAY: u32 = 2;
const HOST: u32 = 4;
const LOCAL: u32 = 0x8020_0001;

fn name(stack: &Stack, id: u32) -> String {
    stack.interface(id).map_or_else(|| "?".to_owned(), |one| one.config.name.clone())
}

/// Counters of all interfaces.
pub fn dev(stack: &InetStack) -> String {
    let line = |one: &Interface| {
        let (name, c) = (&one.config.name, &one.counters);
        format!(
            "{name:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}\n",
            c.rx_bytes,
            c.rx_packets,
            c.rx_errors,
            c.rx_dropped,
            0,
            0,
            0,
            c.multicast,
            c.tx_bytes,
            c.tx_packets,
            0,
            c.tx_dropped,
            0,
            0,
            0,
            0
        )
    };
    stack.with(|stack, _| {
        stack.interfaces().iter().fold(DEV.to_owned(), |text, one| text + &line(one))
    })
}

/// IPv4 routes.
pub fn route(stack: &InetStack) -> String {
    let line = |stack: &Stack, route: &Route| {
        let IpAddr::V4(destination) = route.destination else { return String::new() };
        let mask = u32::MAX.checked_shl(32 - u32::from(route.prefix)).unwrap_or(0);
        let network = u32::from(destination) & mask;
        let gateway = match route.gateway {
            Some(IpAddr::V4(gateway)) => u32::from(gateway),
            _ => 0,
        };
        let host = if route.prefix == 32 { HOST } else { 0 };
        let flags = UP | host | if gateway == 0 { 0 } else { GATEWAY };
        format!(
            "{}\t{:08X}\t{:08X}\t{flags:04X}\t0\t0\t{}\t{:08X}\t0\t0\t0",
            name(stack, route.interface),
            network.swap_bytes(),
            gateway.swap_bytes(),
            route.metric,
            mask.swap_bytes()
        )
    };
    stack.with(|stack, _| {
        let lines = stack.routes().iter().map(|route| line(stack, route));
        let lines = lines.filter(|line| !line.is_empty());
        lines.fold(ROUTE.to_owned(), |text, line| text + &format!("{line:<127}\n"))
    })
}

/// IPv4 neighbours.
pub fn arp(stack: &InetStack) -> String {
    stack.with(|stack, _| {
        let mut text = ARP.to_owned();
        for one in stack.interfaces() {
            for (ip, mac, state) in stack.neighbours(one.id) {
                if !ip.is_ipv4() {
                    continue;
                }
                let flags = match state {
                    NeighbourState::Incomplete | NeighbourState::Failed => 0,
                    NeighbourState::Permanent => 6,
                    _ => 2,
                };
                let mac = mac.0.map(|byte| format!("{byte:02x}")).join(":");
                let name = &one.config.name;
                // Writing to a string does not fail.
                let _ =
                    writeln!(text, "{ip:<16} 0x1         0x{flags:<10x}{mac}     *        {name}");
            }
        }
        text
    })
}

fn hex(ip: Ipv6Addr) -> String {
    ip.octets().map(|byte| format!("{byte:02x}")).concat()
}

/// `IPV6_ADDR_LOOPBACK`, `_LINKLOCAL`, or 0 for the rest.
fn scope(ip: Ipv6Addr) -> u8 {
    match ip {
        _ if ip.is_loopback() => 0x10,
        _ if ip.segments()[0] & 0xffc0 == 0xfe80 => 0x20,
        _ => 0,
    }
}

fn own_v6(stack: &Stack) -> Vec<(Ipv6Addr, u8, u32, String)> {
    let mut all = Vec::new();
    for one in stack.interfaces() {
        for address in &one.addresses {
            if let IpAddr::V6(ip) = address.ip {
                all.push((ip, address.prefix, one.id, one.config.name.clone()));
            }
        }
    }
    all
}

/// IPv6 addresses: `IFA_F_PERMANENT` all of them.
pub fn if_inet6(stack: &InetStack) -> String {
    stack.with(|stack, _| {
        own_v6(stack).into_iter().fold(String::new(), |text, (ip, prefix, id, name)| {
            text + &format!("{} {id:02x} {prefix:02x} {:02x} 80 {name:>8}\n", hex(ip), scope(ip))
        })
    })
}

/// IPv6 routes, then those to own addresses.
pub fn ipv6_route(stack: &InetStack) -> String {
    let line = |destination: Ipv6Addr,
                prefix: u8,
                next: Ipv6Addr,
                metric: u32,
                flags: u32,
                name: &str| {
        let none = "0".repeat(32);
        format!(
            "{} {prefix:02x} {none} 00 {} {metric:08x} 00000001 00000000 {flags:08x} {name:>8}\n",
            hex(destination),
            hex(next)
        )
    };
    stack.with(|stack, _| {
        let mut text = String::new();
        for route in stack.routes() {
            let IpAddr::V6(destination) = route.destination else { continue };
            let (next, flags) = match route.gateway {
                Some(IpAddr::V6(gateway)) => (gateway, UP | GATEWAY),
                _ => (Ipv6Addr::UNSPECIFIED, UP),
            };
            let name = name(stack, route.interface);
            text += &line(destination, route.prefix, next, route.metric, flags, &name);
        }
        for (ip, _, id, name) in own_v6(stack) {
            let metric = if id == LOOPBACK { 0 } else { 256 };
            text += &line(ip, 128, Ipv6Addr::UNSPECIFIED, metric, LOCAL, &name);
        }
        text
    })
}
