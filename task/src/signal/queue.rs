//! Pending signals.
//!
//! A standard signal is pending once, real-time signals queue up to a limit. Lower numbers go first, and
//! signals of one number in the order in which they came.

use std::collections::VecDeque;

use chitin_abi::signal::{SIGRTMIN, SigInfo, SigSet};
use chitin_abi::{Errno, Result};

/// Signals that wait to be delivered.
#[derive(Default)]
pub struct Queue {
    set: SigSet,
    infos: VecDeque<SigInfo>,
}

impl Queue {
    /// Which signals are pending.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// How many are queued.
    pub fn len(&self) -> usize {
        self.infos.len()
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.infos.is_empty()
    }

    /// Queues a signal. A standard signal that is pending already is dropped.
    ///
    /// # Errors
    /// EAGAIN when `limit` real-time signals are queued.
    pub fn push(&mut self, info: SigInfo, limit: usize) -> Result<()> {
        let signal = info.signo();
        if signal < SIGRTMIN && self.set.contains(signal) {
            return Ok(());
        }
        if signal >= SIGRTMIN && self.infos.len() >= limit {
            return Err(Errno::EAGAIN);
        }
        self.set.insert(signal);
        self.infos.push_back(info);
        Ok(())
    }

    /// Takes the next signal out of `wanted`: synchronous faults first, then the lowest number.
    pub fn take(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let signal = self.set.intersection(wanted).lowest()?;
        let index = self.infos.iter().position(|info| info.signo() == signal)?;
        let info = self.infos.remove(index);
        if !self.infos.iter().any(|info| info.signo() == signal) {
            self.set.remove(signal);
        }
        info
    }

    /// Drops all pending signals of a set.
    pub fn discard(&mut self, signals: SigSet) {
        self.infos.retain(|info| !signals.contains(info.signo()));
        self.set = self.set.difference(signals);
    }

    /// All of them, oldest first, for `PTRACE_PEEKSIGINFO` and signalfd.
    pub fn iter(&self) -> impl Iterator<Item = &SigInfo> {
        self.infos.iter()
    }
}
