//! The suite: one test body per behaviour of Linux, written once against a small facade.
//!
//! Model: a [`Test`] is a function that gets a [`Kernel`] and panics where the kernel does not do what Linux
//! does. Which kernel answers is the runner's business: a body makes system calls only through the facade, so
//! the same body runs natively (the oracle: a test that fails there is wrong) and inside a sandbox.
//!
//! Every test runs in a process and an empty directory of its own, with a time limit ([`crate::run`]), so that a crash
//! or a hang harms no other test.

mod args;
mod calls;
mod fault;
mod files;
mod outcome;
mod processes;
mod registry;
mod threads;

pub use args::{Arg, Kernel, Mapping};
pub use calls::{Calls, Fd};
pub use fault::{Badness, Slot, assert_faults, out};
pub use files::Files;
pub use outcome::{Skip, fails, fails_with_one_of, skip};
pub use processes::{Child, Processes};
pub use registry::{Family, Need, Test, all, find};
pub use threads::Threads;

pub use crate::{call, errors, faults, half_faults};

pub(crate) use registry::tests;

#[cfg(test)]
mod checks;
