//! Subjects in this process: the kernel of `chitin-task` without a sandbox.
//!
//! Model: the kernel is whole (scheduler, table of system calls, file systems, signals); only its platform is a
//! stand-in. A *guest thread* is a thread of this process that hands registers over and waits for them to come back
//! ([`guest`]); *guest memory* is pages in ordinary buffers to which the plans of `chitin-mm` are applied
//! ([`memory`]). A test's buffers are copied in before a call and out behind it ([`kernel`]). So a body that runs on
//! the host runs here as it is, a handler that counts signals included.
//!
//! What there is not: programs, since no code is run; and two processes at a time. A child runs to its end before its
//! parent goes on, on the same thread, with its own copy of everything that the kernel has. A child that sleeps or
//! waits for what its parent has yet to do cannot be had so: the test is skipped. So is one that fails after it has made a
//! child, since the order of the two may be why.
//!
//! Cost: one hand-over between two threads per system call, about 10 µs.

mod arena;
mod boot;
mod guest;
mod handler;
mod kernel;
mod memory;
mod platform;
mod thread;
mod tree;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

pub use self::guest::Stopped;
pub use self::kernel::InProcess;
use crate::call;
use crate::run::catch_skip;
use crate::subject::Root;
use crate::suite::{Kernel, Need, Test};

/// The user that tests run as that need one other than 0.
const USER: u32 = 1000;

/// A kernel whose first process is the calling thread. It lasts as long as this process.
///
/// # Errors
/// What could not be made.
pub fn start(root: Root) -> Result<InProcess, String> {
    let platform = Arc::new(platform::Local::default());
    let first = boot::start(&platform, root)?;
    InProcess::enter(first).map_err(|errno| format!("the first process: {errno:?}"))
}

/// Runs a test on a kernel of its own.
///
/// # Errors
/// The reason why it cannot run here.
pub fn run(test: &Test, root: Root) -> Result<(), String> {
    if let Some(need) = test.needs.iter().find(|need| is_missing(**need)) {
        return Err(format!("a subject in process has no {need:?}").to_lowercase());
    }
    let kernel = start(root)?;
    let k: &dyn Kernel = &kernel;
    let body = || {
        catch_skip(|| {
            if test.needs.contains(&Need::User) {
                become_user(k);
            }
            (test.body)(k);
        })
    };
    match (catch_unwind(AssertUnwindSafe(body)), thread::doubts()) {
        (Ok(result), _) => result,
        (Err(_), Some(reason)) => Err(reason.to_owned()),
        (Err(payload), None) => resume_unwind(payload),
    }
}

fn become_user(k: &dyn Kernel) {
    let done =
        call!(k, SETRESGID, USER, USER, USER).and_then(|_| call!(k, SETRESUID, USER, USER, USER));
    assert!(done.is_ok(), "set-up: {done:?}");
}

/// Whether no subject in process has this.
pub(crate) const fn is_missing(need: Need) -> bool {
    matches!(need, Need::Exec | Need::Kvm | Need::Network | Need::Native)
}
