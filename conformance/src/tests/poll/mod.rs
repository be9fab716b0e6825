//! Waiting for many files, and files to be waited for.

pub mod counter;
pub mod epoll_modes;
pub mod polling;
pub mod selecting;
pub mod signals;
pub mod timers;
