//! Options of TCP, UDP, IPv4 and IPv6.
//!
//! What the loopback stack has no use for is checked, kept and shown.

use core::net::IpAddr;
use core::sync::atomic::Ordering;

use chitin_abi::net::{
    IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_PKTINFO, IP_TTL, IPV6_PKTINFO, IPV6_RECVPKTINFO,
    IPV6_UNICAST_HOPS, IPV6_V6ONLY, In6Pktinfo, InPktinfo, SOL_IP, SOL_IPV6, SOL_TCP, SOL_UDP,
    TCP_CONGESTION, TCP_INFO, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_MAXSEG, TCP_NODELAY,
    TCP_SYNCNT, TCP_ULP, TCP_USER_TIMEOUT, TcpInfo,
};
use chitin_abi::{Errno, Result};
use chitin_net_stack::{Datagram, Proto};
use zerocopy::{FromBytes, IntoBytes};

use super::InetSocket;
use crate::socket::Control;
use crate::socket::control::RawControl;

/// The interface index of the loopback interface.
const LOOPBACK: i32 = 1;
/// The only congestion control.
const CONGESTION: &[u8; 16] = b"cubic\0\0\0\0\0\0\0\0\0\0\0";

impl InetSocket {
    /// Hands options to the stack that it looks at when a call is made.
    pub(super) fn apply_options(&self) {
        let common = &self.common;
        let reuse_address = common.reuse_address.load(Ordering::Relaxed);
        let reuse_port = common.reuse_port.load(Ordering::Relaxed);
        let v6_only = self.v6_only();
        let linger = *common.linger.lock();
        let broadcast = common.broadcast.load(Ordering::Relaxed);
        self.with(|stack, _| match self.proto {
            Proto::Tcp => stack.tcp_configure(self.id, |options| {
                (options.reuse_address, options.reuse_port) = (reuse_address, reuse_port);
                options.v6_only = v6_only;
                options.abort_on_close = linger.onoff != 0 && linger.linger == 0;
            }),
            Proto::Udp => stack.udp_configure(self.id, |options| {
                (options.reuse_address, options.reuse_port) = (reuse_address, reuse_port);
                (options.v6_only, options.broadcast) = (v6_only, broadcast);
            }),
        });
    }

    pub(super) fn get_value(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        self.check_level(level)?;
        match (level, name) {
            (SOL_TCP, TCP_INFO) => return Ok(self.tcp_info().as_bytes().to_vec()),
            (SOL_TCP, TCP_CONGESTION) => return Ok(CONGESTION.to_vec()),
            (SOL_TCP, TCP_ULP) => return Ok(Vec::new()),
            (SOL_TCP, TCP_MAXSEG) => {
                let mss = self.with(|stack, _| stack.tcp_stats(self.id).mss);
                return Ok(mss.to_ne_bytes().to_vec());
            }
            _ => {}
        }
        let value = self.value(level, name).unwrap_or_else(|| default(level, name));
        Ok(value.to_ne_bytes().to_vec())
    }

    pub(super) fn set_value(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        self.check_level(level)?;
        if (level, name) == (SOL_TCP, TCP_CONGESTION) {
            let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
            return if name == b"cubic" || name == b"reno" { Ok(()) } else { Err(Errno::ENOENT) };
        }
        if (level, name) == (SOL_TCP, TCP_ULP) {
            return Err(Errno::ENOENT);
        }
        let number = match i32::read_from_prefix(value) {
            Ok((number, _)) => number,
            // IPv4 options may be single bytes.
            Err(_) => i32::from(*value.first().filter(|_| level == SOL_IP).ok_or(Errno::EINVAL)?),
        };
        check_range(level, name, number)?;
        if (level, name) == (SOL_IPV6, IPV6_V6ONLY) {
            let bound = self
                .with(|stack, _| stack.local_address(self.id))
                .is_ok_and(|address| address.port() != 0);
            if bound {
                return Err(Errno::EINVAL);
            }
        }
        self.values.lock().insert((level, name), number);
        Ok(())
    }

    fn check_level(&self, level: u32) -> Result<()> {
        match (level, self.proto, self.v6) {
            (SOL_TCP, Proto::Tcp, _)
            | (SOL_UDP, Proto::Udp, _)
            | (SOL_IPV6, _, true)
            | (SOL_IP, ..) => Ok(()),
            (SOL_IPV6, _, false) => Err(Errno::ENOPROTOOPT),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn tcp_info(&self) -> TcpInfo {
        let (state, stats) =
            self.with(|stack, _| (stack.tcp_state(self.id), stack.tcp_stats(self.id)));
        TcpInfo {
            state: state as u8,
            wscale: stats.shifts.0 | (stats.shifts.1 << 4),
            rto: 204_000,
            ato: 40_000,
            snd_mss: stats.mss,
            rcv_mss: stats.mss,
            pmtu: 65535,
            advmss: stats.mss,
            unacked: stats.unsent,
            rcv_ssthresh: stats.receive_window,
            rtt: 50,
            rttvar: 10,
            snd_ssthresh: i32::MAX as u32,
            snd_cwnd: 10,
            reordering: 3,
            rcv_space: stats.receive_window,
            segs_out: stats.segments_out,
            segs_in: stats.segments_in,
            bytes_acked: stats.bytes_acked,
            bytes_received: stats.bytes_in,
            snd_wnd: stats.send_window,
            rcv_wnd: stats.receive_window,
            ..TcpInfo::default()
        }
    }

    /// Says where a datagram has come in, if that is asked for.
    pub(super) fn attach_packet_info(&self, datagram: &Datagram, control: &mut Control) {
        let asked = |level, name| self.value(level, name).is_some_and(|value| value != 0);
        match datagram.to {
            IpAddr::V4(to) if asked(SOL_IP, IP_PKTINFO) => {
                let octets = to.octets();
                let info = InPktinfo { ifindex: LOOPBACK, spec_dst: octets, addr: octets };
                control.other.push(raw(SOL_IP, IP_PKTINFO, info.as_bytes()));
            }
            IpAddr::V6(to) if asked(SOL_IPV6, IPV6_RECVPKTINFO) => {
                let info = In6Pktinfo { addr: to.octets(), ifindex: LOOPBACK as u32 };
                control.other.push(raw(SOL_IPV6, IPV6_PKTINFO, info.as_bytes()));
            }
            _ => {}
        }
    }
}

fn raw(level: u32, kind: u32, data: &[u8]) -> RawControl {
    RawControl { level, kind, data: data.into() }
}

fn default(level: u32, name: u32) -> i32 {
    match (level, name) {
        (SOL_IP, IP_TTL) | (SOL_IPV6, IPV6_UNICAST_HOPS) => 64,
        (SOL_IP, IP_MULTICAST_TTL | IP_MULTICAST_LOOP) => 1,
        (SOL_TCP, TCP_KEEPIDLE) => 7200,
        (SOL_TCP, TCP_KEEPINTVL) => 75,
        (SOL_TCP, TCP_KEEPCNT) => 9,
        (SOL_TCP, TCP_SYNCNT) => 6,
        _ => 0,
    }
}

fn check_range(level: u32, name: u32, value: i32) -> Result<()> {
    let fits = match (level, name) {
        (SOL_TCP, TCP_KEEPIDLE | TCP_KEEPINTVL) => (1..=32767).contains(&value),
        (SOL_TCP, TCP_KEEPCNT | TCP_SYNCNT) => (1..=127).contains(&value),
        (SOL_TCP, TCP_MAXSEG) => value == 0 || (88..=32767).contains(&value),
        (SOL_TCP, TCP_USER_TIMEOUT) => value >= 0,
        (SOL_TCP, TCP_NODELAY) => true,
        (SOL_IP, IP_TTL) => value == -1 || (1..=255).contains(&value),
        (SOL_IPV6, IPV6_UNICAST_HOPS) => (-1..=255).contains(&value),
        (SOL_TCP, TCP_INFO) => return Err(Errno::ENOPROTOOPT),
        _ => true,
    };
    if fits { Ok(()) } else { Err(Errno::EINVAL) }
}
