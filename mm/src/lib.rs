#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod guest_memory;
pub mod host_op;
pub mod platform;

pub use guest_memory::GuestMemory;
pub use host_op::{HostOp, HostProt};
