//! The one place where system calls are made with raw pointers.

mod handler;
mod host;
mod mapping;
pub mod own_memory;

pub use host::Host;
