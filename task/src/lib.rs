#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod boot;
pub mod context;
pub mod cred;
pub mod error;
pub mod futex;
pub mod interrupt;
pub mod ipc;
pub mod kernel;
pub mod keys;
pub mod limits;
pub mod loader;
pub mod memory;
pub mod namespace;
pub mod proc;
pub mod process;
pub mod ptrace;
pub mod readiness;
pub mod run;
pub mod scheduler;
pub mod signal;
pub mod socket;
pub mod sys;
pub mod syscalls;
pub mod task;
pub mod terminal;
pub mod time;

pub use context::Ctx;
pub use error::{Restart, SysError, SysResult};
pub use kernel::Kernel;
pub use memory::Mm;
pub use task::Task;
