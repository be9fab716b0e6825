//! What terminals need of the kernel that has the processes.

/// The process table as terminals see it. Ids are those of the initial pid namespace, as
/// [`crate::file::IoctlContext::process`] gives them.
pub trait TerminalHost: Send + Sync {
    /// Sends a signal of the kernel (`SI_KERNEL`) to every process of a group.
    fn signal_group(&self, pgrp: u32, signal: u32);

    /// Whether no process of the group has a parent outside the group but inside its session.
    fn is_orphaned(&self, pgrp: u32) -> bool;

    /// The session of a process group; `None` when there is no such group.
    fn session_of_group(&self, pgrp: u32) -> Option<u32>;

    /// The session's terminal has hung up: sends SIGHUP and SIGCONT to its leader, and takes the controlling
    /// terminal from all its processes.
    fn hang_up_session(&self, session: u32);

    /// Takes the controlling terminal from all processes of a session, without signals: it was stolen.
    fn take_terminal(&self, session: u32);
}

/// A host without processes: signals go nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProcesses;

impl TerminalHost for NoProcesses {
    fn signal_group(&self, _pgrp: u32, _signal: u32) {}

    fn is_orphaned(&self, _pgrp: u32) -> bool {
        false
    }

    fn session_of_group(&self, _pgrp: u32) -> Option<u32> {
        None
    }

    fn hang_up_session(&self, _session: u32) {}

    fn take_terminal(&self, _session: u32) {}
}
