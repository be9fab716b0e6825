//! The suite: one test body per behaviour of Linux, written once against a small facade.
//!
//! Model: a [`Test`] is a function that gets a [`Kernel`] and panics where the kernel does not do what Linux
//! does. Which kernel answers is the runner's business: a body makes system calls only through the facade, so
//! the same body runs natively (the oracle: a test that fails there is wrong) and inside a sandbox.
//!
//! Every test runs in a process and an empty directory of its own, with a time limit, so that a crash or a
//! hang harms no other test.

mod args;
mod calls;
mod files;
mod processes;
mod registry;
mod runner;

pub use args::{Arg, Kernel, Mapping};
pub use calls::{Calls, Fd};
pub use files::Files;
pub use processes::{Child, Processes};
pub use registry::{Family, Need, Test, all, find};
pub use runner::{Outcome, Plan, Record, run_here, run_plan, run_plan_with};

pub(crate) use registry::tests;

/// Asserts that a call failed with this error.
///
/// # Panics
/// When it succeeded or failed otherwise.
#[track_caller]
pub fn fails<T: core::fmt::Debug>(result: chitin_abi::Result<T>, errno: chitin_abi::Errno) {
    match result {
        Err(found) => assert_eq!(found, errno, "wrong error"),
        Ok(value) => panic!("succeeded with {value:?} instead of {errno:?}"),
    }
}
