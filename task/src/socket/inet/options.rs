//! Options of TCP, UDP, IPv4 and IPv6.
//!
//! What the loopback stack has no use for is checked, kept and shown.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::Ordering;

use chitin_abi::net::{
    IP_HDRINCL, IP_MTU_DISCOVER, IP_MULTICAST_IF, IP_ORIGDSTADDR, IP_PKTINFO, IP_RECVORIGDSTADDR,
    IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TTL, IP_UNICAST_IF, IPV6_ADDR_PREFERENCES, IPV6_HOPLIMIT,
    IPV6_MTU_DISCOVER, IPV6_MULTICAST_IF, IPV6_ORIGDSTADDR, IPV6_PKTINFO, IPV6_RECVHOPLIMIT,
    IPV6_RECVORIGDSTADDR, IPV6_RECVPKTINFO, IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_UNICAST_HOPS,
    IPV6_UNICAST_IF, IPV6_V6ONLY, In6Pktinfo, InPktinfo, SO_PEERGROUPS, SO_PEERNAME, SO_PEERPIDFD,
    SOL_ICMPV6, SOL_IP, SOL_IPV6, SOL_RAW, SOL_SOCKET, SOL_TCP, SOL_UDP, SOL_UDPLITE,
    TCP_CONGESTION, TCP_CORK, TCP_DEFER_ACCEPT, TCP_INFO, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL,
    TCP_LINGER2, TCP_MAXSEG, TCP_NODELAY, TCP_REPAIR, TCP_SYNCNT, TCP_THIN_DUPACK, TCP_ULP,
    TCP_USER_TIMEOUT, TCP_WINDOW_CLAMP, TcpInfo,
};
use chitin_abi::{Errno, Result};
use chitin_net_stack::{CongestionControl, Datagram, Marks, Proto, unmapped};
use zerocopy::{FromBytes, IntoBytes};

use super::InetSocket;
use super::rules::{self, Rule, Shape, Shown, Taken};
use crate::socket::control::RawControl;
use crate::socket::{Control, Socket};

/// The interface index of the loopback interface.
const LOOPBACK: i32 = 1;
/// Bits of the type of service that tell of congestion.
const ECN_MASK: i32 = 3;
/// `IP_PMTUDISC_DO`.
const DISCOVER: i32 = 2;
/// No header of IPv4 can say more.
const MOST_MTU: u32 = u16::MAX as u32;
/// Half the smallest receive buffer.
const MIN_CLAMP: i32 = 1152;
/// Segment sizes that can be asked for.
const MSS: core::ops::RangeInclusive<i32> = 88..=32767;
/// `net.ipv4.tcp_fin_timeout`, in seconds.
const LINGER2: i32 = 60;
/// The longest time between two resent segments.
const MOST_RETRY_SECONDS: i32 = 120;
/// `TCP_CA_NAME_MAX`.
const CONGESTION_NAME: usize = 16;

impl InetSocket {
    /// Hands options to the stack that it looks at when a call is made.
    pub(super) fn apply_options(&self) {
        let common = &self.common;
        let reuse_address = common.reuse_address.load(Ordering::Relaxed);
        let reuse_port = common.reuse_port.load(Ordering::Relaxed);
        let v6_only = self.v6_only();
        let linger = *common.linger.lock();
        let broadcast = common.broadcast.load(Ordering::Relaxed);
        let number = |name| self.shown_number(SOL_TCP, name);
        let seconds = |name| u64::try_from(number(name)).unwrap_or(0) * 1_000_000_000;
        let keepalive = common.keep_alive.load(Ordering::Relaxed).then(|| {
            let count = u32::try_from(number(TCP_KEEPCNT)).unwrap_or(0);
            (seconds(TCP_KEEPIDLE), seconds(TCP_KEEPINTVL), count)
        });
        let user_timeout = u64::try_from(number(TCP_USER_TIMEOUT)).unwrap_or(0) * 1_000_000;
        let asked = |name| self.value(SOL_TCP, name).filter(|value| *value > 0);
        self.with(|stack, _| match self.proto {
            Proto::Tcp => stack.tcp_configure(self.id, |options| {
                options.no_delay = number(TCP_NODELAY) != 0;
                options.cork = number(TCP_CORK) != 0;
                (options.keepalive, options.user_timeout) = (keepalive, user_timeout);
                options.syn_retries = asked(TCP_SYNCNT).map(i32::unsigned_abs);
                options.max_segment = asked(TCP_MAXSEG).and_then(|value| u16::try_from(value).ok());
                options.congestion = *self.congestion.lock();
                (options.reuse_address, options.reuse_port) = (reuse_address, reuse_port);
                options.v6_only = v6_only;
                options.abort_on_close = linger.onoff != 0 && linger.linger == 0;
                options.urgent_inline = common.oob_inline.load(Ordering::Relaxed);
            }),
            Proto::Udp => stack.udp_configure(self.id, |options| {
                (options.reuse_address, options.reuse_port) = (reuse_address, reuse_port);
                (options.v6_only, options.broadcast) = (v6_only, broadcast);
            }),
            Proto::Raw => {
                let included = self.value(SOL_IP, IP_HDRINCL);
                stack.raw_configure(self.id, |options| {
                    options.header_included =
                        included.map_or(options.header_included, |value| value != 0);
                });
            }
        });
    }

    pub(super) fn get_value(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        if level == SOL_SOCKET {
            return self.get_socket_value(name);
        }
        // What is not TCP's or UDP's goes to IPv4, which says so in other words when it is asked than when it is told.
        self.check_level(level).map_err(|errno| if self.v6 { errno } else { Errno::EOPNOTSUPP })?;
        match (level, name) {
            (SOL_TCP, TCP_INFO) => return Ok(self.tcp_info().as_bytes().to_vec()),
            (SOL_TCP, TCP_CONGESTION) => {
                let usual = self.with(|stack, _| stack.settings.congestion);
                let name = self.congestion.lock().unwrap_or(usual).name();
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(CONGESTION_NAME, 0);
                return Ok(bytes);
            }
            (SOL_TCP, TCP_ULP) => return Ok(Vec::new()),
            (SOL_TCP, TCP_MAXSEG) => {
                let mss = self.with(|stack, _| stack.tcp_stats(self.id).mss);
                return Ok(mss.to_ne_bytes().to_vec());
            }
            _ => {}
        }
        let rule = rules::find(level, name, self.shape())?;
        match rule.shown {
            // Who has an address of IPv6 has no use for the other family.
            Shown::Number(_)
                if (level, name) == (SOL_IPV6, IPV6_V6ONLY) && self.has_v6_address() =>
            {
                Ok(1_i32.to_ne_bytes().to_vec())
            }
            Shown::Number(first) => {
                let value = self.value(level, name).unwrap_or(first);
                Ok(value.to_ne_bytes().to_vec())
            }
            Shown::Empty => Ok(Vec::new()),
            Shown::Mtu => {
                let mtu = self.path_mtu().ok_or(Errno::ENOTCONN)?;
                let most = if level == SOL_IP { MOST_MTU } else { u32::MAX };
                Ok(mtu.min(most).to_ne_bytes().to_vec())
            }
            Shown::Fails(errno) => Err(errno),
        }
    }

    /// Largest packet on the way to the peer, if there is one.
    fn path_mtu(&self) -> Option<u32> {
        self.with(|stack, _| {
            let peer = unmapped(stack.peer_address(self.id).ok()?);
            Some(stack.path_mtu(peer.ip()))
        })
    }

    /// A number as it was set, or as it is at first.
    fn shown_number(&self, level: u32, name: u32) -> i32 {
        self.value(level, name).unwrap_or_else(|| match rules::find(level, name, self.shape()) {
            Ok(Rule { shown: Shown::Number(first), .. }) => first,
            _ => 0,
        })
    }

    fn shape(&self) -> Shape {
        match self.proto {
            Proto::Tcp => Shape::Stream,
            Proto::Udp => Shape::Datagram,
            Proto::Raw => Shape::Raw,
        }
    }

    pub(super) fn set_value(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        self.check_level(level)?;
        if (level, name) == (SOL_TCP, TCP_CONGESTION) {
            let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
            let control = CongestionControl::by_name(name).ok_or(Errno::ENOENT)?;
            *self.congestion.lock() = Some(control);
            self.apply_options();
            return Ok(());
        }
        if (level, name) == (SOL_TCP, TCP_ULP) {
            return Err(Errno::ENOENT);
        }
        let joined = match self.proto {
            Proto::Tcp => None,
            Proto::Udp | Proto::Raw => self.set_membership(level, name, value),
        };
        if let Some(result) = joined {
            return result;
        }
        if let Some(result) = self.set_filter(level, name, value) {
            return result;
        }
        let rule = rules::find(level, name, self.shape())?;
        let Some(number) = accepted(&rule, level, name, value)? else { return Ok(()) };
        let number = self.adjusted(level, name, number);
        let named = match (level, name) {
            (SOL_IPV6, IPV6_MULTICAST_IF) => Some((number, Errno::ENODEV)),
            // In network byte order.
            (SOL_IP, IP_UNICAST_IF) | (SOL_IPV6, IPV6_UNICAST_IF) => {
                Some((i32::from_be(number), Errno::EADDRNOTAVAIL))
            }
            _ => None,
        };
        if let Some((id, errno)) = named.filter(|(id, _)| *id != 0) {
            self.with(|stack, _| stack.interface(id.cast_unsigned()).map(|_| ())).ok_or(errno)?;
        }
        if (level, name) == (SOL_IPV6, IPV6_V6ONLY) {
            let bound = self
                .with(|stack, _| stack.local_address(self.id))
                .is_ok_and(|address| address.port() != 0);
            if bound {
                return Err(Errno::EINVAL);
            }
        }
        self.values.lock().insert((level, name), number);
        if level == SOL_TCP || self.proto == Proto::Raw {
            self.apply_options();
        }
        Ok(())
    }

    /// What becomes of a value that is in range.
    fn adjusted(&self, level: u32, name: u32, value: i32) -> i32 {
        let stream = self.proto == Proto::Tcp;
        match (level, name) {
            // The congestion bits of a stream are TCP's own.
            (SOL_IP, IP_TOS) if stream => value & 0xff & !ECN_MASK,
            (SOL_IP, IP_TOS) => value & 0xff,
            (SOL_IPV6, IPV6_TCLASS) if stream => value & !ECN_MASK,
            (SOL_TCP, TCP_WINDOW_CLAMP) if value != 0 => value.max(MIN_CLAMP),
            (SOL_TCP, TCP_LINGER2) if value == 0 => LINGER2,
            (SOL_TCP, TCP_LINGER2) => value.max(-1),
            (SOL_TCP, TCP_DEFER_ACCEPT) => retries_time(value),
            (SOL_TCP, TCP_REPAIR) => value.max(0),
            // Taken, and without an effect since Linux 4.11.
            (SOL_TCP, TCP_THIN_DUPACK) => 0,
            (SOL_IPV6, IPV6_ADDR_PREFERENCES) => preferences(value),
            _ => value,
        }
    }

    fn has_v6_address(&self) -> bool {
        let local = self.with(|stack, _| stack.local_address(self.id));
        local.is_ok_and(|address| match address.ip() {
            IpAddr::V6(ip) => !ip.is_unspecified() && ip.to_ipv4_mapped().is_none(),
            IpAddr::V4(_) => false,
        })
    }

    fn get_socket_value(&self, name: u32) -> Result<Vec<u8>> {
        match name {
            SO_PEERNAME => self.peer_address(),
            SO_PEERGROUPS | SO_PEERPIDFD => Err(Errno::ENODATA),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn check_level(&self, level: u32) -> Result<()> {
        match (level, self.proto, self.v6) {
            (SOL_RAW | SOL_ICMPV6, Proto::Raw, _)
            | (SOL_TCP, Proto::Tcp, _)
            | (SOL_UDP | SOL_UDPLITE, Proto::Udp, _)
            | (SOL_IPV6, _, true)
            | (SOL_IP, ..) => Ok(()),
            (SOL_IPV6, _, false) => Err(Errno::ENOPROTOOPT),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn tcp_info(&self) -> TcpInfo {
        let (state, stats) =
            self.with(|stack, _| (stack.tcp_state(self.id), stack.tcp_stats(self.id)));
        let micros = |nanos: u64| (nanos / 1000) as u32;
        let (sack, timestamps) = stats.options;
        let scaled = stats.shifts != (0, 0);
        let (flying, sacked, lost, resent) = stats.segments;
        // A connection on this stack has no round trips to measure.
        let rtt = if stats.rtt.0 == 0 { (50_000, 10_000, 50_000) } else { stats.rtt };
        TcpInfo {
            state: state as u8,
            ca_state: stats.congestion_state,
            retransmits: stats.tries.min(255) as u8,
            options: u8::from(timestamps) | u8::from(sack) << 1 | u8::from(scaled) << 2,
            wscale: stats.shifts.0 | (stats.shifts.1 << 4),
            rto: micros(stats.rto).max(204_000),
            ato: 40_000,
            snd_mss: stats.mss,
            rcv_mss: stats.mss,
            pmtu: self.path_mtu().map_or(MOST_MTU, |mtu| mtu.min(MOST_MTU)),
            advmss: stats.mss,
            unacked: flying,
            sacked,
            lost,
            total_retrans: resent,
            rcv_ssthresh: stats.receive_window,
            rtt: micros(rtt.0),
            rttvar: micros(rtt.1),
            min_rtt: micros(rtt.2),
            snd_ssthresh: if stats.threshold == 0 { i32::MAX as u32 } else { stats.threshold },
            snd_cwnd: stats.window.max(1),
            reordering: 3,
            rcv_space: stats.receive_window,
            segs_out: stats.segments_out,
            segs_in: stats.segments_in,
            bytes_acked: stats.bytes_acked,
            bytes_received: stats.bytes_in,
            bytes_retrans: stats.bytes_resent,
            rcv_ooopack: stats.out_of_order,
            snd_wnd: stats.send_window,
            rcv_wnd: stats.receive_window,
            ..TcpInfo::default()
        }
    }

    /// Says what is asked for of a datagram's header.
    pub(super) fn attach_header_info(&self, datagram: &Datagram, control: &mut Control) {
        let index = datagram.interface.map_or(LOOPBACK, u32::cast_signed);
        let asked = |level, name| self.value(level, name).is_some_and(|value| value != 0);
        let port = self.with(|stack, _| stack.local_address(self.id)).map_or(0, |own| own.port());
        let destination = super::address::emit(SocketAddr::new(datagram.to, port));
        let mut attach = |level, kind, data: &[u8]| control.other.push(raw(level, kind, data));
        let (hops, class) = (i32::from(datagram.hops), i32::from(datagram.class));
        match datagram.to {
            IpAddr::V4(to) => {
                let octets = to.octets();
                let info = InPktinfo { ifindex: index, spec_dst: octets, addr: octets };
                if asked(SOL_IP, IP_PKTINFO) {
                    attach(SOL_IP, IP_PKTINFO, info.as_bytes());
                }
                if asked(SOL_IP, IP_RECVORIGDSTADDR) {
                    attach(SOL_IP, IP_ORIGDSTADDR, &destination);
                }
                if asked(SOL_IP, IP_RECVTTL) {
                    attach(SOL_IP, IP_TTL, &hops.to_ne_bytes());
                }
                if asked(SOL_IP, IP_RECVTOS) {
                    attach(SOL_IP, IP_TOS, &[datagram.class]);
                }
            }
            IpAddr::V6(to) => {
                let info = In6Pktinfo { addr: to.octets(), ifindex: index.cast_unsigned() };
                if asked(SOL_IPV6, IPV6_RECVPKTINFO) {
                    attach(SOL_IPV6, IPV6_PKTINFO, info.as_bytes());
                }
                if asked(SOL_IPV6, IPV6_RECVORIGDSTADDR) {
                    attach(SOL_IPV6, IPV6_ORIGDSTADDR, &destination);
                }
                if asked(SOL_IPV6, IPV6_RECVHOPLIMIT) {
                    attach(SOL_IPV6, IPV6_HOPLIMIT, &hops.to_ne_bytes());
                }
                if asked(SOL_IPV6, IPV6_RECVTCLASS) {
                    attach(SOL_IPV6, IPV6_TCLASS, &class.to_ne_bytes());
                }
            }
        }
    }

    /// What a datagram's header is to say, by options and control messages.
    ///
    /// # Errors
    /// EINVAL for control messages out of range.
    pub(super) fn marks(&self, control: &Control) -> Result<Marks> {
        let option = |level, name| self.value(level, name).filter(|value| *value >= 0);
        let (hops, class) = if self.v6 {
            (option(SOL_IPV6, IPV6_UNICAST_HOPS), option(SOL_IPV6, IPV6_TCLASS))
        } else {
            (option(SOL_IP, IP_TTL), option(SOL_IP, IP_TOS))
        };
        let mut marks = Marks::default();
        marks.hops = hops.map_or(marks.hops, |hops| hops as u8);
        marks.class = class.map_or(marks.class, |class| class as u8);
        marks.dont_fragment = if self.v6 {
            self.value(SOL_IPV6, IPV6_MTU_DISCOVER) == Some(DISCOVER)
        } else {
            self.value(SOL_IP, IP_MTU_DISCOVER) == Some(DISCOVER)
        };
        let interface = if self.v6 {
            self.value(SOL_IPV6, IPV6_MULTICAST_IF)
        } else {
            self.value(SOL_IP, IP_MULTICAST_IF)
        };
        marks.interface = interface.filter(|id| *id > 0).map(i32::unsigned_abs);
        for message in &control.other {
            let number = i32::read_from_prefix(&message.data).map(|(number, _)| number);
            let number = number.or_else(|_| {
                message.data.first().map(|byte| i32::from(*byte)).ok_or(Errno::EINVAL)
            });
            match (message.level, message.kind) {
                (SOL_IPV6, IPV6_HOPLIMIT) | (SOL_IP, IP_TTL) => {
                    let number = number?;
                    marks.hops = match u8::try_from(number) {
                        Ok(hops) => hops,
                        Err(_) if number == -1 => marks.hops,
                        Err(_) => return Err(Errno::EINVAL),
                    };
                }
                (SOL_IPV6, IPV6_TCLASS) | (SOL_IP, IP_TOS) => {
                    let number = number?;
                    marks.class = match u8::try_from(number) {
                        Ok(class) => class,
                        Err(_) if number == -1 => marks.class,
                        Err(_) => return Err(Errno::EINVAL),
                    };
                }
                (SOL_IPV6, IPV6_PKTINFO) | (SOL_IP, IP_PKTINFO) => {}
                (SOL_IP | SOL_IPV6, _) => return Err(Errno::EINVAL),
                _ => {}
            }
        }
        Ok(marks)
    }
}

pub(super) fn raw(level: u32, kind: u32, data: &[u8]) -> RawControl {
    RawControl { level, kind, data: data.into() }
}

/// The number that an option takes from what it is told; `None` where nothing is kept.
fn accepted(rule: &Rule, level: u32, name: u32, value: &[u8]) -> Result<Option<i32>> {
    match rule.taken {
        Taken::Fails(errno) => return Err(errno),
        Taken::Ignored => return Ok(None),
        Taken::Structure(usize::MAX) if value.is_empty() => return Ok(None),
        Taken::Structure(least) if value.len() < least => return Err(Errno::EINVAL),
        Taken::Structure(_) => return Ok(None),
        Taken::Switch | Taken::Range(..) | Taken::OrDefault(..) | Taken::Any => {}
    }
    let number = match i32::read_from_prefix(value) {
        Ok((number, _)) => number,
        // IPv4 options may be single bytes, or nothing.
        Err(_) if level == SOL_IP => value.first().map_or(0, |byte| i32::from(*byte)),
        Err(_) => return Err(Errno::EINVAL),
    };
    if (level, name) == (SOL_TCP, TCP_MAXSEG) && number != 0 && !MSS.contains(&number) {
        return Err(Errno::EINVAL);
    }
    match (rule.taken, rule.shown) {
        (Taken::Switch, _) => Ok(Some(i32::from(number != 0))),
        (Taken::OrDefault(..), Shown::Number(first)) if number == -1 => Ok(Some(first)),
        (Taken::Range(least, most) | Taken::OrDefault(least, most), _)
            if !(least..=most).contains(&number) =>
        {
            Err(Errno::EINVAL)
        }
        _ => Ok(Some(number)),
    }
}

/// `IPV6_ADDR_PREFERENCES` with what is left open at its default.
fn preferences(value: i32) -> i32 {
    let (temporary, public, by_default) = (1, 2, 0x100);
    let (care_of, home) = (4, 0x400);
    let kind = [temporary, public].into_iter().find(|bit| value & bit != 0).unwrap_or(by_default);
    kind | if value & care_of != 0 { care_of } else { home }
}

/// `TCP_DEFER_ACCEPT` is kept in resent segments: the time that these take, in whole seconds.
fn retries_time(seconds: i32) -> i32 {
    let (mut time, mut step) = (0, 1);
    while time < seconds && step <= MOST_RETRY_SECONDS {
        time += step;
        step *= 2;
    }
    time
}
