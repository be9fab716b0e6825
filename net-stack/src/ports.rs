//! Which sockets have which ports, and whether another may have one too.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;

use crate::random::Random;
use crate::stack::SocketId;

/// Ports that are handed out (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: core::ops::RangeInclusive<u16> = 32768..=60999;

/// How a socket has a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) id: SocketId,
    pub(crate) address: IpAddr,
    /// An unspecified IPv6 address that stands for IPv4 too.
    pub(crate) dual: bool,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) listening: bool,
    pub(crate) user: u32,
}

/// The ports of one protocol.
#[derive(Default)]
pub(crate) struct Ports {
    by_port: HashMap<u16, Vec<Binding>>,
}

impl Ports {
    /// Whether the binding can be had beside those that exist. `exclusive_listeners` is TCP's rule: a reused
    /// address may not be one that somebody listens on.
    pub(crate) fn allows(&self, port: u16, new: &Binding, exclusive_listeners: bool) -> bool {
        let existing = self.by_port.get(&port).map(Vec::as_slice).unwrap_or_default();
        existing.iter().all(|old| {
            let shared_address =
                old.reuse_address && new.reuse_address && !(exclusive_listeners && old.listening);
            let shared_port = old.reuse_port && new.reuse_port && old.user == new.user;
            !overlap(old, new) || shared_address || shared_port || old.id == new.id
        })
    }

    pub(crate) fn insert(&mut self, port: u16, binding: Binding) {
        self.by_port.entry(port).or_default().push(binding);
    }

    pub(crate) fn remove(&mut self, port: u16, id: SocketId) {
        if let Some(bindings) = self.by_port.get_mut(&port) {
            bindings.retain(|binding| binding.id != id);
            if bindings.is_empty() {
                self.by_port.remove(&port);
            }
        }
    }

    /// The binding of a socket.
    pub(crate) fn get_mut(&mut self, port: u16, id: SocketId) -> Option<&mut Binding> {
        self.by_port.get_mut(&port)?.iter_mut().find(|binding| binding.id == id)
    }

    /// All bindings of a port that take what is sent to `to`, the most specific ones first.
    pub(crate) fn matching(&self, to: SocketAddr) -> Vec<Binding> {
        let existing = self.by_port.get(&to.port()).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<Binding> =
            existing.iter().filter(|binding| takes(binding, to.ip())).copied().collect();
        found.sort_by_key(|binding| {
            (binding.address.is_unspecified(), binding.address.is_ipv6() && to.is_ipv4())
        });
        found
    }

    /// A port that `fits`, starting somewhere random.
    pub(crate) fn choose(random: &mut Random, fits: impl Fn(u16) -> bool) -> Option<u16> {
        let count = u32::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        let start = random.next() % count;
        (0..count)
            .map(|step| EPHEMERAL.start() + ((start + step) % count) as u16)
            .find(|port| fits(*port))
    }
}

fn takes(binding: &Binding, to: IpAddr) -> bool {
    binding.address == to
        || (binding.address.is_unspecified()
            && (binding.address.is_ipv4() == to.is_ipv4() || binding.dual))
}

/// Whether some address would belong to both.
fn overlap(one: &Binding, two: &Binding) -> bool {
    takes(one, two.address) || takes(two, one.address)
}
