//! Time: clocks, sleeping, interval timers, POSIX timers.

pub mod clock;
pub mod timers;

pub use self::clock::{KernelClock, TimeSource};
pub use self::timers::{ProcessTimers, RestartBlock};
