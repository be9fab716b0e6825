//! What is to be done when, without anything coming in.
//!
//! Sockets are kept by their earliest deadline, which is moved lazily: a timer that was put off stays where it was, and when
//! it comes up the socket is asked again. A connection that sends and receives all the time costs no change here.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use chitin_abi::Errno;

use crate::stack::{Socket, SocketId, Stack};
use crate::tcp::connection::Outcome;
use crate::tcp::{Role, handshake};

/// Deadlines of sockets.
#[derive(Default)]
pub(crate) struct Deadlines {
    by_time: BTreeSet<(u64, SocketId)>,
}

impl Deadlines {
    /// Sees to it that a socket is looked at by `wanted`. `armed` is where it stands.
    pub(crate) fn arm(&mut self, id: SocketId, armed: &mut Option<u64>, wanted: Option<u64>) {
        let Some(wanted) = wanted else { return };
        if armed.is_some_and(|armed| armed <= wanted) {
            return;
        }
        if let Some(armed) = armed.replace(wanted) {
            self.by_time.remove(&(armed, id));
        }
        self.by_time.insert((wanted, id));
    }

    /// A socket is gone.
    pub(crate) fn forget(&mut self, id: SocketId, armed: Option<u64>) {
        if let Some(armed) = armed {
            self.by_time.remove(&(armed, id));
        }
    }

    fn earliest(&self) -> Option<u64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: u64) -> Option<SocketId> {
        let (at, id) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        Some(id)
    }
}

impl Stack {
    /// Tells the stack what time it is, for calls that don't say; nanoseconds of a clock that never goes back.
    pub fn set_time(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// When [`Stack::advance`] is to be called, if nothing else happens.
    pub fn deadline(&self) -> Option<u64> {
        let interfaces = self.interfaces.iter().filter_map(|one| one.neighbours.deadline());
        interfaces.chain(self.deadlines.earliest()).chain(self.fragments.deadline()).min()
    }

    /// Does what is due.
    pub fn advance(&mut self, now: u64) {
        self.set_time(now);
        let mut due = Vec::new();
        while let Some(id) = self.deadlines.take_due(now) {
            due.push(id);
        }
        for id in due {
            if let Ok(socket) = self.tcp(id) {
                socket.armed = None;
                self.tcp_on_time(id);
                self.rearm(id);
            }
        }
        self.fragments.expire(now);
        for index in 0..self.interfaces.len() {
            let Some(interface) = self.interfaces.get_mut(index) else { break };
            let (id, steps) = (interface.id, interface.neighbours.on_time(now));
            self.follow(id, steps);
        }
        self.run();
    }

    /// A socket's timers may have changed.
    pub(crate) fn rearm(&mut self, id: SocketId) {
        if let Some(Socket::Tcp(socket)) = self.sockets.get_mut(&id) {
            let wanted = socket.deadline();
            self.deadlines.arm(id, &mut socket.armed, wanted);
        }
    }

    fn tcp_on_time(&mut self, id: SocketId) {
        let now = self.now;
        let Ok(socket) = self.tcp(id) else { return };
        if socket.deadline().is_none_or(|at| at > now) {
            return;
        }
        match &mut socket.role {
            Role::Open(connection) => {
                let mut out = Vec::new();
                let outcome = connection.on_time(now, &mut out);
                let ends = (connection.local.ip(), connection.remote.ip());
                self.emit_all(ends, out);
                if outcome == Outcome::TimedOut {
                    self.time_out(id);
                } else if outcome != Outcome::Open {
                    self.after_input(id, outcome);
                }
            }
            Role::SynSent(_) | Role::SynReceived(_) => match handshake::on_time(socket, now) {
                handshake::Next::Send((local, remote), header) => {
                    self.emit_tcp(local.ip(), remote.ip(), header, bytes::Bytes::new());
                }
                handshake::Next::GiveUp { passive: true } => self.forget_half_open(id),
                handshake::Next::GiveUp { passive: false } => {
                    let errno = self.tcp(id).ok().and_then(|socket| socket.soft_error.take());
                    self.fail(id, errno.unwrap_or(Errno::ETIMEDOUT));
                }
            },
            Role::Idle | Role::Listening(_) | Role::Ended(_) | Role::Refused => {}
        }
    }

    /// The peer of a connection is gone.
    fn time_out(&mut self, id: SocketId) {
        let Ok(socket) = self.tcp(id) else { return };
        let errno = socket.soft_error.take().unwrap_or(Errno::ETIMEDOUT);
        socket.error = Some(errno);
        let orphan = socket.orphan;
        self.end_tcp(id, true);
        if orphan {
            self.forget_tcp(id);
        } else {
            self.tell(id, chitin_abi::poll::PollEvents::all());
        }
    }
}
