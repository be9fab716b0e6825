//! Which connection a segment belongs to, and connections that are over but whose addresses rest.

use core::net::SocketAddr;

use hashbrown::HashMap;

use crate::stack::SocketId;
use crate::tcp::seq::Seq;

/// Both ends: local, remote.
pub(crate) type Tuple = (SocketAddr, SocketAddr);

/// How long addresses rest (`TCP_TIMEWAIT_LEN`), nanoseconds.
const TIME_WAIT: u64 = 60_000_000_000;
/// Most of them (`net.ipv4.tcp_max_tw_buckets`, smaller).
const MAX_RESTING: usize = 16384;

/// What is left of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting {
    /// It had `SO_REUSEADDR`.
    pub(crate) reuse: bool,
    /// Until when.
    until: u64,
    /// What would be sent next, and what was expected.
    pub(crate) snd_nxt: Seq,
    pub(crate) rcv_nxt: Seq,
}

/// Connections by their ends.
#[derive(Default)]
pub(crate) struct Demux {
    connections: HashMap<Tuple, SocketId>,
    resting: HashMap<Tuple, Resting>,
}

impl Demux {
    pub(crate) fn get(&self, tuple: &Tuple) -> Option<SocketId> {
        self.connections.get(tuple).copied()
    }

    pub(crate) fn contains(&self, tuple: &Tuple) -> bool {
        self.connections.contains_key(tuple)
    }

    pub(crate) fn insert(&mut self, tuple: Tuple, id: SocketId) {
        self.resting.remove(&tuple);
        self.connections.insert(tuple, id);
    }

    pub(crate) fn remove(&mut self, tuple: &Tuple, id: SocketId) {
        if self.get(tuple) == Some(id) {
            self.connections.remove(tuple);
        }
    }

    /// Lets the ends of a connection rest: segments that come late are answered as before (RFC 9293 §3.10.7.4).
    pub(crate) fn rest(&mut self, tuple: Tuple, reuse: bool, next: (Seq, Seq), now: u64) {
        if self.resting.len() >= MAX_RESTING {
            self.resting.retain(|_, resting| resting.until > now);
        }
        if self.resting.len() < MAX_RESTING {
            let until = now.saturating_add(TIME_WAIT);
            let (snd_nxt, rcv_nxt) = next;
            self.resting.insert(tuple, Resting { reuse, until, snd_nxt, rcv_nxt });
        }
    }

    /// What is left of a connection between these ends.
    pub(crate) fn resting_at(&self, tuple: &Tuple, now: u64) -> Option<Resting> {
        self.resting.get(tuple).filter(|resting| resting.until > now).copied()
    }

    /// The rest begins once more.
    pub(crate) fn rest_again(&mut self, tuple: &Tuple, now: u64) {
        if let Some(resting) = self.resting.get_mut(tuple) {
            resting.until = now.saturating_add(TIME_WAIT);
        }
    }

    /// It is over.
    pub(crate) fn wake(&mut self, tuple: &Tuple) {
        self.resting.remove(tuple);
    }

    /// Whether a connection with this local address rests that does not share it.
    pub(crate) fn is_resting(&mut self, local: SocketAddr, reuse: bool, now: u64) -> bool {
        self.resting.retain(|_, resting| resting.until > now);
        let unspecified = local.ip().is_unspecified();
        self.resting.iter().any(|((end, _), resting)| {
            let same = end.port() == local.port() && (unspecified || end.ip() == local.ip());
            same && !(reuse && resting.reuse)
        })
    }

    /// All ends that rest, for /proc/net/tcp.
    pub(crate) fn resting(&self) -> impl Iterator<Item = &Tuple> {
        self.resting.keys()
    }
}
