//! [`Pty`]: one pair of a master and a slave.

use std::sync::{Arc, OnceLock, Weak};

use chitin_abi::fs::makedev;
use chitin_abi::signal::{SIGCONT, SIGHUP, SIGWINCH};
use chitin_abi::tty::Winsize;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::host::TerminalHost;
use super::job::Foreground;
use super::state::{Effects, READABLE, State, WRITABLE};
use crate::inode::Inode;
use crate::wait::WaitQueue;

/// First major device number of slaves.
const SLAVE_MAJOR: u32 = 136;

/// Who has given a pair its number; it is free again when this is dropped.
pub trait PtyOwner: Send + Sync {
    /// The master has been closed: nobody can open the slave any more.
    fn master_closed(&self);
}

/// A pseudo-terminal pair.
pub struct Pty {
    index: u32,
    host: Arc<dyn TerminalHost>,
    pub(super) state: Mutex<State>,
    pub(super) master_queue: Arc<WaitQueue>,
    pub(super) slave_queue: Arc<WaitQueue>,
    /// The slave's node in its devpts.
    node: OnceLock<Weak<dyn Inode>>,
    owner: Option<Box<dyn PtyOwner>>,
    this: Weak<Pty>,
}

impl Pty {
    /// A pair whose master counts as open and whose slave is locked. `owner` is dropped with it.
    pub fn new(
        index: u32,
        host: Arc<dyn TerminalHost>,
        owner: Option<Box<dyn PtyOwner>>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            index,
            host,
            state: Mutex::new(State::new()),
            master_queue: Arc::new(WaitQueue::new()),
            slave_queue: Arc::new(WaitQueue::new()),
            node: OnceLock::new(),
            owner,
            this: Weak::clone(this),
        })
    }

    /// Its number: the slave is `/dev/pts/N`.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The slave's device number.
    pub fn slave_rdev(&self) -> u64 {
        makedev(SLAVE_MAJOR.saturating_add(self.index >> 8), self.index & 0xff)
    }

    /// Says where the slave's node is.
    pub fn set_node(&self, node: &Arc<dyn Inode>) {
        // A pair has one node for life.
        let _ = self.node.set(Arc::downgrade(node));
    }

    /// The slave's node.
    pub fn node(&self) -> Option<Arc<dyn Inode>> {
        self.node.get().and_then(Weak::upgrade)
    }

    pub(super) fn this(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    pub(super) fn host(&self) -> &dyn TerminalHost {
        &*self.host
    }

    /// Changes the state and does what that entails.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let result = change(&mut self.state.lock(), &mut effects);
        self.carry_out(effects);
        result
    }

    fn carry_out(&self, effects: Effects) {
        for (pgrp, signal) in effects.signals {
            self.host.signal_group(pgrp, signal);
        }
        if let Some(session) = effects.taken_from {
            self.host.take_terminal(session);
        }
        if let Some(session) = effects.hung_up {
            self.host.hang_up_session(session);
        }
        if !effects.slave.is_empty() {
            self.slave_queue.notify(effects.slave);
        }
        if !effects.master.is_empty() {
            self.master_queue.notify(effects.master);
        }
    }

    /// The session that this is the controlling terminal of, and its foreground group; 0 for none.
    pub fn foreground(&self) -> Foreground {
        let state = self.state.lock();
        Foreground { session: state.session, pgrp: state.pgrp }
    }

    /// Makes this the controlling terminal of a session without asking: for the first process of a container.
    pub fn set_foreground(&self, session: u32, pgrp: u32) {
        let mut state = self.state.lock();
        state.session = session;
        state.pgrp = pgrp;
    }

    /// The size of the window.
    pub fn window_size(&self) -> Winsize {
        self.state.lock().window
    }

    /// Changes the size of the window; the foreground group is told if it differs.
    pub fn set_window_size(&self, window: Winsize) {
        self.change(|state, effects| {
            if state.window != window {
                state.window = window;
                if state.pgrp != 0 {
                    effects.signals.push((state.pgrp, SIGWINCH));
                }
            }
        });
    }

    /// Hangs up (`vhangup(2)`, the master's close): open slaves are dead, the session loses the terminal.
    pub fn hang_up(&self) {
        self.change(State::hang_up);
    }

    /// The leader of a session has left its controlling terminal, by exiting or by `TIOCNOTTY`: the foreground is
    /// told, and the terminal is free for another session.
    pub fn session_left(&self, session: u32, exiting: bool) {
        self.change(|state, effects| {
            if state.session != session || session == 0 {
                return;
            }
            if state.pgrp != 0 {
                effects.signals.push((state.pgrp, SIGHUP));
                if !exiting {
                    effects.signals.push((state.pgrp, SIGCONT));
                }
            }
            state.session = 0;
            state.pgrp = 0;
            effects.taken_from = Some(session);
        });
    }

    /// Allows or forbids opening the slave (`TIOCSPTLCK`).
    pub fn set_locked(&self, locked: bool) {
        self.state.lock().locked = locked;
    }

    /// Counts an open of the slave; returns how often it had hung up before.
    ///
    /// # Errors
    /// EIO while it is locked or the master is closed, EBUSY after `TIOCEXCL`.
    pub(super) fn open_slave(&self, privileged: bool, peer: bool) -> Result<u64> {
        let mut state = self.state.lock();
        if !state.has_master || (state.locked && !peer) {
            return Err(Errno::EIO);
        }
        if state.exclusive && !privileged {
            return Err(Errno::EBUSY);
        }
        state.slaves = state.slaves.saturating_add(1);
        state.slave_gone = false;
        Ok(state.hangups)
    }

    pub(super) fn close_slave(&self) {
        self.change(|state, effects| {
            state.slaves = state.slaves.saturating_sub(1);
            if state.slaves == 0 {
                state.slave_gone = true;
                state.exclusive = false;
                state.packet = false;
                effects.master |= READABLE | WRITABLE | chitin_abi::poll::PollEvents::POLLHUP;
            }
        });
    }

    pub(super) fn close_master(&self) {
        if let Some(owner) = &self.owner {
            owner.master_closed();
        }
        self.change(|state, effects| {
            state.has_master = false;
            state.packet = false;
            state.hang_up(effects);
        });
    }
}
