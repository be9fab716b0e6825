//! Time: clocks, sleeping, timers.

pub(super) mod clock;
pub(super) mod timerfd;
pub(super) mod timers;
