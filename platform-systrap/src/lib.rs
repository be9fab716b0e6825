#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod agent;
mod code;
mod cpuid;
mod doorbell;
mod filter;
mod fork;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod host_calls;
mod layout;
mod luggage;
mod order;
mod patch;
mod patches;
mod platform;
mod process;
mod raw;
mod reaper;
mod reuse;
mod shared;
mod space;
mod table;
mod thread;
mod ticket;
mod usage;
mod vdso;
mod xstate;

pub use host_calls::{HostCall, sentry_host_calls};
pub use platform::{Starting, Systrap, SystrapConfig};
