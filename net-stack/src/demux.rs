//! Which connection a segment belongs to, and connections that are over but whose addresses rest.

use core::net::SocketAddr;

use hashbrown::HashMap;

use crate::stack::SocketId;

/// Both ends: local, remote.
pub(crate) type Tuple = (SocketAddr, SocketAddr);

/// How long addresses rest (`TCP_TIMEWAIT_LEN`), nanoseconds.
const TIME_WAIT: u64 = 60_000_000_000;
/// Most of them (`net.ipv4.tcp_max_tw_buckets`, smaller).
const MAX_RESTING: usize = 16384;

/// Connections by their ends.
#[derive(Default)]
pub(crate) struct Demux {
    connections: HashMap<Tuple, SocketId>,
    /// Whether the connection had `SO_REUSEADDR`, and until when.
    resting: HashMap<Tuple, (bool, u64)>,
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

    /// Lets the ends of a connection rest.
    pub(crate) fn rest(&mut self, tuple: Tuple, reuse: bool, now: u64) {
        if self.resting.len() >= MAX_RESTING {
            self.resting.retain(|_, (_, until)| *until > now);
        }
        if self.resting.len() < MAX_RESTING {
            self.resting.insert(tuple, (reuse, now.saturating_add(TIME_WAIT)));
        }
    }

    /// Whether a connection with this local address rests that does not share it.
    pub(crate) fn is_resting(&mut self, local: SocketAddr, reuse: bool, now: u64) -> bool {
        self.resting.retain(|_, (_, until)| *until > now);
        let unspecified = local.ip().is_unspecified();
        self.resting.iter().any(|((end, _), (shares, _))| {
            let same = end.port() == local.port() && (unspecified || end.ip() == local.ip());
            same && !(reuse && *shares)
        })
    }

    /// All ends that rest, for /proc/net/tcp.
    pub(crate) fn resting(&self) -> impl Iterator<Item = &Tuple> {
        self.resting.keys()
    }
}
