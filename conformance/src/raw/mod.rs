//! The one place where system calls are made with raw pointers.

mod host;

pub use host::Host;
