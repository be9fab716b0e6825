#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod host_calls;
mod platform;

pub use host_calls::sentry_host_calls;
pub use platform::{Systrap, SystrapConfig};
