//! Interval timers and POSIX timers.

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers {}

/// How `restart_syscall(2)` goes on with a call that a signal interrupted.
pub enum RestartBlock {
    /// A futex wait with a timeout.
    Futex(crate::syscalls::futex::FutexRestart),
}
