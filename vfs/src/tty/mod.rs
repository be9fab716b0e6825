//! Terminals: pseudo-terminal pairs with the line discipline `N_TTY`.
//!
//! A [`Pty`] is one pair. What is written to the *master* goes through the line discipline (editing, echo, signals)
//! and is read from the *slave*; what is written to the slave is post-processed and read from the master. One mutex
//! guards a pair's whole state ([`state::State`]); what a change entails for others (signals, wakes) is collected
//! as [`state::Effects`] and carried out after the mutex is released.
//!
//! ```text
//!  master write ─▶ incoming ─▶ line discipline ─▶ line buffer ─▶ slave read
//!                                  │ echo
//!  master read ◀── outgoing ◀──────┴── post-processing ◀──────── slave write
//! ```
//!
//! Nothing blocks: reads and writes that would block answer EAGAIN and tell [`WaitQueue`](crate::wait::WaitQueue)s
//! when they no longer would. `VMIN` and `VTIME` work through [`File::read_timeout`](crate::file::File::read_timeout).
//! Job control is asked separately ([`File::check_job`](crate::file::File::check_job)), by whoever makes the call.
//!
//! Cost: no host calls; two copies per byte and direction; a wake of the other side per operation if it waits.
//!
//! Locks: a pair's state is a leaf; the wait queues and [`TerminalHost`] are called without it.
//!
//! References: `termios(3)`, `ioctl_tty(2)`, `pty(7)`, POSIX.1 chapter 11.

pub mod console;
mod device;
pub mod host;
mod input;
mod ioctl;
mod job;
mod line;
mod master;
mod output;
mod pty;
pub mod relay;
mod settings;
mod slave;
mod state;

#[cfg(test)]
mod tests;

pub use device::{Console, CurrentTerminal, PtmxDevice, StrayTerminal, register_devices};
pub use host::{NoProcesses, TerminalHost};
pub use job::Foreground;
pub use master::MasterFile;
pub use pty::{Pty, PtyOwner};
pub use slave::SlaveFile;
