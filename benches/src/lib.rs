#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "calls without a safe wrapper are made here and nowhere else")]
pub mod raw;
pub mod report;
pub mod workload;
