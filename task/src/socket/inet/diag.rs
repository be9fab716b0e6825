//! TCP and UDP sockets as `sock_diag(7)` lists them.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::Ordering;
use std::sync::Weak;

use chitin_abi::net::{AF_INET, AF_INET6, INET_DIAG_SKV6ONLY, InetDiagMsg, InetDiagSockid};
use chitin_net_stack::SocketId;

use super::InetStack;
use crate::socket::netlink::diag::{InetQuery, Listing, fixed};

impl InetStack {
    /// Lists the sockets that a query asks for.
    pub(in crate::socket) fn diagnose(&self, query: &InetQuery, listing: &mut Listing<'_>) {
        for (id, local, remote, state) in self.with(|stack, _| stack.list(query.proto)) {
            if listing.is_full() {
                return;
            }
            let state = state as u8;
            let ends = sockid(local, remote, id);
            let wanted = match &query.one {
                Some(one) => same_ends(one, &ends),
                None => {
                    1_u32.checked_shl(u32::from(state)).is_some_and(|bit| query.states & bit != 0)
                }
            };
            if wanted && local.is_ipv6() == query.v6 {
                let (message, v6_only) = self.describe(id, state, ends, query.v6);
                let v6_only = [u8::from(v6_only || !local.ip().is_unspecified())];
                let attributes: &[(u16, &[u8])] = &[(INET_DIAG_SKV6ONLY as u16, &v6_only)];
                listing.socket(fixed(&message), if query.v6 { attributes } else { &[] });
            }
        }
    }

    /// The message about a socket, and whether it was made for IPv6 alone.
    fn describe(
        &self,
        id: SocketId,
        state: u8,
        ends: InetDiagSockid,
        v6: bool,
    ) -> (InetDiagMsg, bool) {
        let socket = self.sockets.lock().get(&id).and_then(Weak::upgrade);
        let (inode, uid, v6_only) = socket.map_or((0, 0, false), |socket| {
            (socket.ino.load(Ordering::Relaxed), socket.user, socket.v6_only())
        });
        let stats = self.with(|stack, _| stack.tcp_stats(id));
        let message = InetDiagMsg {
            family: if v6 { AF_INET6 } else { AF_INET } as u8,
            state,
            timer: 0,
            retrans: 0,
            id: ends,
            expires: 0,
            rqueue: stats.unread,
            wqueue: stats.unsent,
            uid,
            inode: inode as u32,
        };
        (message, v6_only)
    }
}

fn sockid(local: SocketAddr, remote: SocketAddr, id: SocketId) -> InetDiagSockid {
    InetDiagSockid {
        sport: local.port().to_be_bytes(),
        dport: remote.port().to_be_bytes(),
        src: octets(local.ip()),
        dst: octets(remote.ip()),
        interface: 0,
        cookie: cookie(id),
    }
}

/// A socket's number in the stack, which no other socket gets while it lives.
fn cookie(id: SocketId) -> [u32; 2] {
    [id as u32, (id >> 32) as u32]
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let [one, two, three, four] = address.octets();
            [one, two, three, four, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

fn same_ends(one: &InetDiagSockid, other: &InetDiagSockid) -> bool {
    (one.sport, one.dport, one.src, one.dst) == (other.sport, other.dport, other.src, other.dst)
}
