//! Time: clocks, sleeping, interval timers, POSIX timers.
//!
//! - [`clock`] is where time comes from, [`id`] the clocks that guests name.
//! - [`sleep`] is `nanosleep(2)` and its relatives.
//! - [`timers`] has interval timers, [`posix`] those of `timer_create(2)`.
//! - [`cpu_timers`] looks after timers and limits of CPU time.
//! - [`service`] is what timerfd uses.
//!
//! An armed timer costs an entry of the scheduler's; nothing is polled but CPU time, and that only while somebody
//! waits for it.

pub mod clock;
pub mod cpu_timers;
pub mod id;
pub mod posix;
pub mod service;
pub mod sleep;
pub mod timers;

pub use self::clock::{KernelClock, TimeSource};
pub use self::timers::{ProcessTimers, RestartBlock};
