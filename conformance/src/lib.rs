#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod cli;
pub mod differential;
pub mod expect;
pub mod in_process;
pub mod program;
#[expect(unsafe_code, reason = "system calls with raw pointers are made here and nowhere else")]
pub mod raw;
pub mod report;
pub mod run;
pub mod subject;
pub mod suite;
#[expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a test's set-up that fails is a failure"
)]
mod tests;
