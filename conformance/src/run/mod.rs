//! Running tests so that none harms another.
//!
//! Model: three levels of processes.
//!
//! ```text
//! runner ──prefix──▶ batch ──▶ case      one test in a process, a process group and an empty directory of its own
//!    │                 │  ◀─── exit code, standard error
//!    ◀── lines of JSON ┘                 what begins, and how it ended
//! ```
//!
//! The batch runs where the tests run (inside the sandbox), because starting a sandbox costs more than a test. It ends
//! a test that takes too long, with everything that the test left behind. When the batch itself ends or falls silent,
//! which takes a crash of the kernel under test, the test that ran is run again alone, and the others go on in a new
//! batch.

mod batch;
mod case;
mod child;
mod plan;
mod record;
mod runner;

pub use batch::serve;
pub use case::{SKIPPED, catch_skip, run_case};
pub use child::{end_group, wait_limited};
pub use plan::{Plan, select};
pub use record::{Message, Outcome, Record};
pub use runner::run;
