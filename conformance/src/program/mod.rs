//! Real programs: shell scripts that print what they see, run natively and under a command prefix, and
//! compared.
//!
//! Model: the native run is the oracle. A script runs in an empty directory of its own, with `/dev/null` as
//! standard input, and must print the same in every run; its standard output and exit code are compared.
//! Comments at the head of a script say what it needs:
//!
//! ```text
//! # needs: redis-server /usr/bin/python3 root
//! # slow
//! ```
//!
//! A script whose needs are not met is skipped, with the missing need as the reason.

mod run;
mod script;

pub use run::{Outcome, Prefix, compare};
pub use script::{Script, load_all};
