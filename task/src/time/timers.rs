//! Interval timers and POSIX timers.

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers {}

/// How `restart_syscall(2)` goes on with a call that a signal interrupted.
pub enum RestartBlock {
    /// A futex wait with a timeout.
    Futex(crate::syscalls::futex::FutexRestart),
}

impl ProcessTimers {
    /// A signal of a timer is delivered: how often it has expired since it was sent.
    pub fn signal_taken(&mut self, id: i32) -> Option<i32> {
        let _ = id;
        None
    }

    /// POSIX timers do not outlive a program; interval timers do.
    pub fn after_exec(&mut self) {}
}
