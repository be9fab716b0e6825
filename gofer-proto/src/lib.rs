#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
pub mod donate;
pub mod fuzz;
pub mod handler;
pub mod message;
pub mod name;
pub mod server;
pub mod wire;

#[cfg(test)]
mod tests;
