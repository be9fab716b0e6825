//! What errors of the network do to sockets (RFC 1122 §4.2.3.9, RFC 1191, RFC 8201), and errors that we send.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;

use crate::output::mss_of;
use crate::raw::quoted;
use crate::receive::flat;
use crate::stack::{SocketId, Stack};
use crate::tcp::Role;
use crate::wire::icmp::{Message, Reason};
use crate::wire::ip::{Repr, protocol};
use crate::wire::{Packet, tcp, udp};

/// How long a smaller packet size is remembered (`net.ipv4.route.mtu_expires`).
const MTU_LIFETIME: u64 = 600_000_000_000;
/// Destinations that it is remembered for.
const MAX_MTUS: usize = 1024;
/// No link takes less (RFC 791, RFC 8200); Linux believes no less of IPv4 routers than this (`min_pmtu`).
const SMALLEST_MTU: (u32, u32) = (552, 1280);

/// What a reason is called by sockets.
const fn errno(reason: Reason) -> Errno {
    match reason {
        Reason::Network => Errno::ENETUNREACH,
        Reason::Host | Reason::Expired | Reason::Prohibited => Errno::EHOSTUNREACH,
        Reason::Protocol => Errno::ENOPROTOOPT,
        Reason::Port => Errno::ECONNREFUSED,
        Reason::TooBig(_) => Errno::EMSGSIZE,
        Reason::Malformed => Errno::EPROTO,
    }
}

impl Stack {
    /// Tells the sender of a packet that it was not delivered.
    pub(crate) fn send_error(&mut self, repr: &Repr, packet: &Packet, reason: Reason) {
        let v6 = repr.to.is_ipv6();
        if repr.from.is_unspecified() || repr.from.is_multicast() || repr.to.is_multicast() {
            return;
        }
        let number = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
        let original = flat(packet, quoted(v6));
        let mut message = Vec::with_capacity(original.len() + 8);
        Message::Error { reason, original: &original }.emit(number, &mut message);
        let answer = Repr::new(repr.to, repr.from, number);
        self.emit_icmp(Repr { dont_fragment: false, ..answer }, message);
    }

    /// An error about a packet that begins with `original`, which anybody may have made up.
    pub(crate) fn input_error(&mut self, reason: Reason, original: &[u8]) {
        let Some((repr, rest, _)) = Repr::parse(original) else { return };
        if let Reason::TooBig(mtu) = reason {
            self.learn_mtu(repr.to, mtu);
        }
        match repr.protocol {
            protocol::UDP => {
                if let Some(header) = udp::Repr::parse(rest) {
                    let from = SocketAddr::new(repr.from, header.from);
                    self.error_for_udp(from, SocketAddr::new(repr.to, header.to), errno(reason));
                }
            }
            protocol::TCP => {
                let Some(ports) = tcp::ports(rest) else { return };
                let local = SocketAddr::new(repr.from, ports.0);
                let remote = SocketAddr::new(repr.to, ports.1);
                if let Some(id) = self.demux.get(&(local, remote)) {
                    self.error_for_tcp(id, reason, ports.2);
                }
            }
            _ => {}
        }
    }

    fn learn_mtu(&mut self, to: IpAddr, mtu: u32) {
        let now = self.now;
        let smallest = if to.is_ipv4() { SMALLEST_MTU.0 } else { SMALLEST_MTU.1 };
        // Routers of old don't say how large (RFC 1191 §5).
        let mtu = if mtu == 0 { smallest } else { mtu.max(smallest) };
        if mtu >= self.path_mtu(to) {
            return;
        }
        if self.path_mtus.len() >= MAX_MTUS {
            self.path_mtus.retain(|_, (_, until)| *until > now);
        }
        if self.path_mtus.len() < MAX_MTUS {
            self.path_mtus.insert(to, (mtu, now.saturating_add(MTU_LIFETIME)));
        }
    }

    fn error_for_udp(&mut self, from: SocketAddr, to: SocketAddr, errno: Errno) {
        for binding in self.udp_ports.matching(from) {
            let Ok(socket) = self.udp(binding.id) else { continue };
            if socket.peer == Some(to) {
                socket.error = Some(errno);
                self.tell(binding.id, PollEvents::POLLERR);
                return;
            }
        }
    }

    /// Hard errors end only connections that are beginning; others are remembered as why the peer does not answer.
    fn error_for_tcp(&mut self, id: SocketId, reason: Reason, seq: tcp::Seq) {
        let now = self.now;
        let ends = self.tcp(id).ok().and_then(|socket| socket.ends());
        let Some((local, remote)) = ends else { return };
        let mss = mss_of(self.path_mtu(remote.ip()), remote.ip());
        let Ok(socket) = self.tcp(id) else { return };
        match &mut socket.role {
            Role::SynSent(state) if state.iss == seq => match reason {
                Reason::TooBig(_) => {}
                _ => self.fail(id, errno(reason)),
            },
            Role::Open(connection) => {
                let in_flight =
                    connection.snd_una.at_or_before(seq) && seq.before(connection.snd_nxt);
                if !in_flight {
                    return; // made up, or old
                }
                let mut out = Vec::new();
                match reason {
                    Reason::TooBig(_) if connection.lower_mss(mss) => {
                        connection.transmit(now, &mut out);
                    }
                    Reason::TooBig(_) => {}
                    _ => socket.soft_error = Some(errno(reason)),
                }
                self.emit_all((local.ip(), remote.ip()), out);
                self.rearm(id);
            }
            _ => {}
        }
    }

    /// A packet was lost because nobody on the link has its next hop's address.
    pub(crate) fn neighbour_lost(&mut self, packet: &Packet) {
        let Some((repr, rest, _)) = Repr::parse(&packet.header) else { return };
        match repr.protocol {
            protocol::TCP => {
                let Some((from, to, _)) = tcp::ports(rest) else { return };
                let ends = (SocketAddr::new(repr.from, from), SocketAddr::new(repr.to, to));
                let Some(id) = self.demux.get(&ends) else { return };
                let Ok(socket) = self.tcp(id) else { return };
                match socket.role {
                    Role::SynSent(_) => self.fail(id, Errno::EHOSTUNREACH),
                    _ => socket.soft_error = Some(Errno::EHOSTUNREACH),
                }
            }
            protocol::UDP => {
                let Some(header) = udp::Repr::parse(rest) else { return };
                let from = SocketAddr::new(repr.from, header.from);
                let to = SocketAddr::new(repr.to, header.to);
                self.error_for_udp(from, to, Errno::EHOSTUNREACH);
            }
            _ => {}
        }
    }
}
