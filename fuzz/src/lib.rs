#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod mutate;
mod run;

pub use run::fuzz;
