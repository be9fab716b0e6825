//! Time: clocks, sleeping, interval timers, POSIX timers.
//!
//! - [`clock`]: where time comes from. - [`id`]: the clocks that guests name. - [`sleep`]: `nanosleep(2)`.
//! - [`timers`]: interval timers. - [`posix`]: `timer_create(2)`. - [`cpu_timers`]: timers and limits of CPU time.
//! - [`service`]: timers for timerfd.
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
