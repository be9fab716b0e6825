//! Signals: what is pending, what is blocked, what happens (`signal(7)`).
//!
//! - [`mod@queue`] keeps pending signals with their `siginfo_t`.
//! - [`action`] keeps dispositions.
//! - [`send`] decides who gets a signal, and does what sending does at once (SIGKILL, SIGCONT, ignored ones).
//! - [`permission`] decides who may send, and finds what `kill(2)` and its relatives reach.
//! - [`deliver`] is what a task does with its signals before it goes back to the guest.
//! - [`frame`] builds the frame on the guest's stack, and takes it back in `rt_sigreturn`.
//! - [`signalfd`] makes signals a file.
//!
//! Lock order: group signals before task signals.

pub mod action;
pub mod deliver;
pub mod frame;
pub mod permission;
pub mod queue;
pub mod send;
pub mod signalfd;

use chitin_abi::signal::{SigSet, StackT};
use chitin_mm::platform::Fault;

pub use self::action::Actions;
pub use self::deliver::{Next, before_guest, exit_status, has_work};
pub use self::queue::Queue;
pub use self::send::{begin_exit, force, kill_by_host, send_to_group, send_to_task};
use crate::error::Restart;

/// A thread's own signal state.
#[derive(Default)]
pub struct TaskSignals {
    /// Blocked signals.
    pub mask: SigSet,
    /// The mask to put back when the current call is over (`sigsuspend`, `ppoll`, `epoll_pwait`).
    pub saved_mask: Option<SigSet>,
    /// Signals for this thread.
    pub pending: Queue,
    /// `sigaltstack(2)`.
    pub alt_stack: StackT,
    /// How the call that a signal interrupted goes on.
    pub restart: Option<Restart>,
    /// The latest fault, for the frame's trap number, error code and address.
    pub last_fault: Option<Fault>,
    /// Signals that `rt_sigtimedwait` waits for: they count as unblocked for waking.
    pub waited: SigSet,
}

/// A process's signal state.
#[derive(Default)]
pub struct GroupSignals {
    /// Signals for the process, which any thread may take.
    pub pending: Queue,
    /// The signal that stopped it.
    pub stopped: Option<u32>,
    /// A stop signal has been taken and nothing has taken it back yet.
    pub stop_pending: bool,
    /// How often it has been stopped.
    pub stop_generation: u64,
}
