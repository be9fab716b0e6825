//! Job control: who may use a controlling terminal, and becoming or ceasing to be one.

use std::any::Any;
use std::sync::Arc;

use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::signal::{SIGTTIN, SIGTTOU};
use chitin_abi::tty::{
    TCFLSH, TCSBRK, TCSBRKP, TCSETA, TCSETAF, TCSETAW, TCSETS, TCSETS2, TCSETSF, TCSETSF2, TCSETSW,
    TCSETSW2, TCXONC, TIOCCBRK, TIOCSBRK, TIOCSETD, TIOCSPGRP, TOSTOP,
};
use chitin_abi::{Errno, Result};

use super::pty::Pty;
use crate::env::Caller;
use crate::file::{IoctlContext, JobCheck, ProcessIds, TerminalAccess};

/// Whose terminal it is. Ids are those of the initial pid namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreground {
    /// The session; 0 for none.
    pub session: u32,
    /// The foreground process group; 0 for none.
    pub pgrp: u32,
}

/// Whether a process of the background may not do this ioctl.
fn changes_terminal(command: u32) -> bool {
    matches!(
        command,
        TCSETS
            | TCSETSW
            | TCSETSF
            | TCSETS2
            | TCSETSW2
            | TCSETSF2
            | TCSETA
            | TCSETAW
            | TCSETAF
            | TCFLSH
            | TCXONC
            | TCSBRK
            | TCSBRKP
            | TIOCSBRK
            | TIOCCBRK
            | TIOCSETD
            | TIOCSPGRP
    )
}

impl Pty {
    /// Whether it is the controlling terminal of a process.
    pub(super) fn controls(&self, ids: &ProcessIds) -> bool {
        let session = self.state.lock().session;
        session != 0 && session == ids.session
    }

    /// The check of [`crate::file::File::check_job`].
    pub(super) fn check_job(
        &self,
        access: TerminalAccess,
        caller: &dyn IoctlContext,
    ) -> Result<JobCheck> {
        let signal = match access {
            TerminalAccess::Read => SIGTTIN,
            TerminalAccess::Write if !self.state.lock().settings.local(TOSTOP) => {
                return Ok(JobCheck::Proceed);
            }
            TerminalAccess::Ioctl(command) if !changes_terminal(command) => {
                return Ok(JobCheck::Proceed);
            }
            _ => SIGTTOU,
        };
        let ids = caller.process();
        let now = self.foreground();
        if now.session == 0 || now.session != ids.session || now.pgrp == 0 || now.pgrp == ids.pgrp {
            return Ok(JobCheck::Proceed);
        }
        let failure =
            if access == TerminalAccess::Ioctl(TIOCSPGRP) { Errno::ENOTTY } else { Errno::EIO };
        if caller.ignores_signal(signal) {
            return if signal == SIGTTIN { Err(failure) } else { Ok(JobCheck::Proceed) };
        }
        if self.host().is_orphaned(ids.pgrp) {
            return Err(failure);
        }
        self.host().signal_group(ids.pgrp, signal);
        Ok(JobCheck::Restart)
    }

    /// `TIOCSCTTY`.
    pub(super) fn acquire(
        &self,
        steal: bool,
        readable: bool,
        context: &dyn IoctlContext,
    ) -> Result<()> {
        let ids = context.process();
        let now = self.foreground();
        if ids.session_leader && ids.session == now.session && now.session != 0 {
            return Ok(());
        }
        let privileged = context.cred().caps.has(CAP_SYS_ADMIN);
        if now.session != 0 && !(steal && privileged) {
            return Err(Errno::EPERM);
        }
        if !readable && !privileged {
            return Err(Errno::EPERM);
        }
        let this = self.this().ok_or(Errno::EIO)?;
        context.set_controlling_terminal(Some(this as Arc<dyn Any + Send + Sync>), steal)?;
        self.change(|state, effects| {
            if state.session != 0 && state.session != ids.session {
                effects.taken_from = Some(state.session);
            }
            state.session = ids.session;
            state.pgrp = ids.pgrp;
        });
        Ok(())
    }

    /// `TIOCNOTTY`.
    pub(super) fn leave(&self, context: &dyn IoctlContext) -> Result<()> {
        let ids = context.process();
        if !self.controls(&ids) {
            return Err(Errno::ENOTTY);
        }
        context.set_controlling_terminal(None, false)?;
        if ids.session_leader {
            self.session_left(ids.session, false);
        }
        Ok(())
    }

    /// What opening a terminal without `O_NOCTTY` does for a session leader without one.
    pub(super) fn acquire_by_open(&self, caller: &dyn Caller) {
        let ids = caller.process();
        if !ids.session_leader || caller.terminal().is_some() {
            return;
        }
        let Some(this) = self.this() else { return };
        if self.state.lock().session == 0
            && caller.acquire_terminal(this as Arc<dyn Any + Send + Sync>).is_ok()
        {
            self.set_foreground(ids.session, ids.pgrp);
        }
    }

    /// `TIOCSPGRP`; `group` is the caller's number.
    pub(super) fn set_foreground_group(
        &self,
        group: i32,
        context: &dyn IoctlContext,
    ) -> Result<()> {
        let local = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
        let ids = context.process();
        if !self.controls(&ids) {
            return Err(Errno::ENOTTY);
        }
        let group = context.to_global_id(local).ok_or(Errno::ESRCH)?;
        let session = self.host().session_of_group(group).ok_or(Errno::ESRCH)?;
        if session != ids.session {
            return Err(Errno::EPERM);
        }
        self.state.lock().pgrp = group;
        Ok(())
    }
}
