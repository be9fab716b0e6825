//! Finding sockets that only messages keep open.
//!
//! A socket that travels as `SCM_RIGHTS` in its own queue, or several in each other's, has no descriptor left
//! but is never dropped either. When a socket is closed while descriptors are on their way, everything that
//! cannot be reached from a descriptor has its queue emptied.
//!
//! A socket is a root unless its open file is known to be referenced by messages only. Roots reach what is in
//! their queues, and listeners what waits to be accepted. A receive that takes a file out of a queue while
//! this looks around makes it give up; the next close tries again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Role, UnixSocket};
use crate::namespace::NetNamespace;
use crate::socket::SocketFile;

type SocketId = usize;

#[derive(Default)]
struct Survey {
    /// Which sockets a socket's queue reaches.
    reaches: HashMap<SocketId, Vec<SocketId>>,
    /// Open files of sockets that are in messages: how often, how often referenced at all, which socket.
    travelling: HashMap<usize, (usize, usize, SocketId)>,
    /// Sockets that wait to be accepted: reached by their listener only.
    unaccepted: HashSet<SocketId>,
}

fn id(socket: &UnixSocket) -> SocketId {
    core::ptr::from_ref(socket).addr()
}

/// Empties the queues of sockets that nobody can reach.
pub(super) fn collect(net: &Arc<NetNamespace>) {
    let flight = &net.unix.flight;
    if flight.total() == 0 {
        return;
    }
    let landings = flight.landings();
    let sockets = net.unix.sockets();
    let mut survey = Survey::default();
    for socket in &sockets {
        survey.look(socket);
    }
    let alive = survey.alive(&sockets);
    if flight.landings() != landings {
        return;
    }
    let mut garbage = Vec::new();
    for socket in sockets.iter().filter(|socket| !alive.contains(&id(socket))) {
        garbage.push(core::mem::take(&mut socket.state.lock().inbox));
    }
    drop(garbage);
}

impl Survey {
    fn look(&mut self, socket: &UnixSocket) {
        let state = socket.state.lock();
        let mut reached = Vec::new();
        for rights in state.inbox.iter().filter_map(|message| message.rights.as_ref()) {
            for file in rights.files() {
                let Some(inner) = file.file().as_any().downcast_ref::<SocketFile>() else {
                    continue;
                };
                let Some(target) = inner.socket().as_any().downcast_ref::<UnixSocket>() else {
                    continue;
                };
                reached.push(id(target));
                let references = Arc::strong_count(file);
                // Files that somebody is just looking at count as referenced from outside.
                let travelling = usize::from(rights.is_unshared());
                let entry =
                    self.travelling.entry(Arc::as_ptr(file).addr()).or_insert((0, 0, id(target)));
                entry.0 += travelling;
                entry.1 = entry.1.max(references);
            }
        }
        if let Role::Listening { pending, .. } = &state.role {
            for server in pending {
                reached.push(id(server));
                self.unaccepted.insert(id(server));
            }
        }
        self.reaches.insert(id(socket), reached);
    }

    fn alive(&self, sockets: &[Arc<UnixSocket>]) -> HashSet<SocketId> {
        let unreferenced: HashSet<SocketId> = self
            .travelling
            .values()
            .filter(|(travelling, all, _)| travelling >= all)
            .map(|(_, _, id)| *id)
            .collect();
        let is_root =
            |socket: &SocketId| !unreferenced.contains(socket) && !self.unaccepted.contains(socket);
        let mut todo: Vec<SocketId> =
            sockets.iter().map(|socket| id(socket)).filter(is_root).collect();
        let mut alive = HashSet::new();
        while let Some(socket) = todo.pop() {
            if alive.insert(socket) {
                todo.extend(self.reaches.get(&socket).into_iter().flatten());
            }
        }
        alive
    }
}
