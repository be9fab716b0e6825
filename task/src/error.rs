//! What a system-call handler returns.
//!
//! An error number goes to the guest as it is. A [`Restart`] never does: the run loop turns it into another
//! try or into `EINTR`, depending on the signal that interrupted the call (`signal(7)`).

use chitin_abi::Errno;

/// What becomes of a system call that a signal interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Again if no handler runs or the handler has `SA_RESTART`; else `EINTR` (`ERESTARTSYS`).
    Sys,
    /// Again unless a handler runs; then `EINTR` (`ERESTARTNOHAND`).
    NoHandler,
    /// Always again (`ERESTARTNOINTR`).
    Always,
    /// Again by `restart_syscall(2)` with what the task's restart block says, unless a handler runs
    /// (`ERESTART_RESTARTBLOCK`).
    Block,
}

/// Why a handler did not return a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysError {
    /// The guest sees this error.
    Errno(Errno),
    /// A signal interrupted it.
    Restart(Restart),
    /// The task is going away, or its registers were replaced (`exit`, `execve`, `rt_sigreturn`): `rax` stays.
    NoReturn,
}

impl From<Errno> for SysError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// The result of a system-call handler: the value for `rax`.
pub type SysResult<T = u64> = Result<T, SysError>;
