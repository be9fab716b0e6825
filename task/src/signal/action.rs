//! What signals do: `sigaction(2)` and the defaults.

use std::sync::Arc;

use chitin_abi::signal::{
    SIG_DFL, SIG_IGN, SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGKILL, SIGQUIT, SIGSEGV,
    SIGSTOP, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGXCPU, SIGXFSZ,
    SigAction, SigSet,
};
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

/// Signals are numbered 1 to this.
pub const NSIG: u32 = 64;

/// What a signal without a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Ends the process.
    Terminate,
    /// Ends the process, and the wait status says that a core was to be dumped.
    Core,
    /// Stops the process.
    Stop,
    /// Nothing (the effect of SIGCONT happens when it is sent).
    Ignore,
}

/// The default action of a signal.
pub const fn default_action(signal: u32) -> Default {
    match signal {
        SIGCHLD | SIGURG | SIGWINCH | SIGCONT => Default::Ignore,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => Default::Stop,
        SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU | SIGXFSZ
        | SIGSYS => Default::Core,
        _ => Default::Terminate,
    }
}

/// The signals that stop a process by default.
pub fn stop_signals() -> SigSet {
    SigSet::from_signals(&[SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU])
}

/// The dispositions of all signals of one or more processes.
pub struct Actions {
    table: Mutex<[SigAction; NSIG as usize]>,
}

impl core::default::Default for Actions {
    fn default() -> Self {
        Self { table: Mutex::new([SigAction::default(); NSIG as usize]) }
    }
}

impl Actions {
    fn index(signal: u32) -> Result<usize> {
        match signal {
            1..=NSIG => Ok(signal as usize - 1),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The disposition of a signal; the default one for a number that is none.
    pub fn get(&self, signal: u32) -> SigAction {
        let index = Self::index(signal).unwrap_or(usize::MAX);
        self.table.lock().get(index).copied().unwrap_or_default()
    }

    /// Replaces a disposition and returns the old one.
    ///
    /// # Errors
    /// EINVAL for a number that is none, and for SIGKILL and SIGSTOP.
    pub fn set(&self, signal: u32, mut action: SigAction) -> Result<SigAction> {
        if signal == SIGKILL || signal == SIGSTOP {
            return Err(Errno::EINVAL);
        }
        action.mask.remove(SIGKILL);
        action.mask.remove(SIGSTOP);
        let index = Self::index(signal)?;
        let mut table = self.table.lock();
        let entry = table.get_mut(index).ok_or(Errno::EINVAL)?;
        Ok(core::mem::replace(entry, action))
    }

    /// Puts the default handler back (`SA_RESETHAND`, forced signals); flags and mask stay, as on Linux.
    pub fn reset(&self, signal: u32) {
        let Ok(index) = Self::index(signal) else { return };
        if let Some(entry) = self.table.lock().get_mut(index) {
            entry.handler = SIG_DFL;
        }
    }

    /// A copy that shares nothing (`fork`).
    pub fn copy(&self) -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(*self.table.lock()) })
    }

    /// What `execve` leaves: handlers become default, ignored signals stay ignored.
    pub fn after_exec(&self) -> Arc<Self> {
        let mut table = *self.table.lock();
        for entry in &mut table {
            let handler = if entry.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *entry = SigAction { handler, ..SigAction::default() };
        }
        Arc::new(Self { table: Mutex::new(table) })
    }

    /// All handlers to default, ignored ones too (`CLONE_CLEAR_SIGHAND` keeps ignored ones: see above).
    pub fn ignores(&self, signal: u32) -> bool {
        let handler = self.get(signal).handler;
        handler == SIG_IGN || (handler == SIG_DFL && default_action(signal) == Default::Ignore)
    }

    /// The sets of ignored and of caught signals, for /proc/pid/status.
    pub fn summary(&self) -> (SigSet, SigSet) {
        let (mut ignored, mut caught) = (SigSet::default(), SigSet::default());
        for (index, entry) in self.table.lock().iter().enumerate() {
            match entry.handler {
                SIG_DFL => {}
                SIG_IGN => ignored.insert(index as u32 + 1),
                _ => caught.insert(index as u32 + 1),
            }
        }
        (ignored, caught)
    }
}
