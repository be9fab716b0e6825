//! Pending signals.
//!
//! A standard signal is pending once, real-time signals queue up to a limit. Faults go first, then lower
//! numbers, and signals of one number in the order in which they came.

use std::collections::VecDeque;

use chitin_abi::signal::{
    SI_TIMER, SI_USER, SIGBUS, SIGFPE, SIGILL, SIGRTMIN, SIGSEGV, SIGSYS, SIGTRAP, SigInfo, SigSet,
};
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
    /// EAGAIN when `limit` signals are queued and this one may not be dropped.
    pub fn push(&mut self, info: SigInfo, limit: usize) -> Result<()> {
        let signal = info.signo();
        let pending = self.set.contains(signal);
        if signal < SIGRTMIN && pending {
            return Ok(());
        }
        if signal >= SIGRTMIN && self.infos.len() >= limit {
            // One that `kill` sent is pending without a place of its own.
            if info.code() != SI_USER {
                return Err(Errno::EAGAIN);
            }
            if pending {
                return Ok(());
            }
        }
        self.set.insert(signal);
        self.infos.push_back(info);
        Ok(())
    }

    /// Takes the next signal out of `wanted`: faults first, then the lowest number.
    pub fn take(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let faults = SigSet::from_signals(&[SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS]);
        let ready = self.set.intersection(wanted);
        let signal = ready.intersection(faults).lowest().or_else(|| ready.lowest())?;
        let index = self.infos.iter().position(|info| info.signo() == signal)?;
        let info = self.infos.remove(index);
        if !self.infos.iter().any(|info| info.signo() == signal) {
            self.set.remove(signal);
        }
        info
    }

    /// Drops all pending signals of a set. Returns the timers whose signals were among them.
    pub fn discard(&mut self, signals: SigSet) -> Vec<i32> {
        if self.set.intersection(signals).is_empty() {
            return Vec::new();
        }
        let dropped = self.infos.iter().filter(|info| signals.contains(info.signo()));
        let timers =
            dropped.filter(|info| info.code() == SI_TIMER).map(SigInfo::timer_id).collect();
        self.infos.retain(|info| !signals.contains(info.signo()));
        self.set = self.set.difference(signals);
        timers
    }

    /// Drops the signal of a timer.
    pub fn remove_timer(&mut self, id: i32) {
        self.infos.retain(|info| info.code() != SI_TIMER || info.timer_id() != id);
        self.set = self.infos.iter().fold(SigSet::EMPTY, |mut set, info| {
            set.insert(info.signo());
            set
        });
    }

    /// All of them, oldest first, for `PTRACE_PEEKSIGINFO` and signalfd.
    pub fn iter(&self) -> impl Iterator<Item = &SigInfo> {
        self.infos.iter()
    }
}

#[cfg(test)]
mod tests {
    use chitin_abi::signal::{SI_QUEUE, SI_USER, SIGSEGV, SIGUSR1};

    use super::{Errno, Queue, SIGRTMIN, SigInfo, SigSet};

    #[test]
    fn order_and_merging() {
        let mut queue = Queue::default();
        for (signal, value) in [
            (SIGRTMIN + 1, 1),
            (SIGRTMIN, 2),
            (SIGUSR1, 3),
            (SIGUSR1, 4),
            (SIGRTMIN, 5),
            (SIGSEGV, 6),
        ] {
            queue.push(SigInfo::queue(signal, SI_QUEUE, 1, 0, value), 10).expect("below the limit");
        }
        let mut order = Vec::new();
        while let Some(info) = queue.take(SigSet::FULL) {
            order.push((info.signo(), info.value()));
        }
        assert_eq!(
            order,
            [(SIGSEGV, 6), (SIGUSR1, 3), (SIGRTMIN, 2), (SIGRTMIN, 5), (SIGRTMIN + 1, 1)]
        );
        assert!(queue.set().is_empty());
    }

    #[test]
    fn the_limit_counts_for_real_time_signals() {
        let mut queue = Queue::default();
        let info = SigInfo::queue(SIGRTMIN, SI_QUEUE, 1, 0, 0);
        assert_eq!(queue.push(info, 0), Err(Errno::EAGAIN));
        assert_eq!(queue.push(SigInfo::user(SIGRTMIN, SI_USER, 1, 0), 0), Ok(()));
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.push(SigInfo::user(SIGUSR1, SI_USER, 1, 0), 0), Ok(()));
    }
}
