#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod addr;
#[expect(missing_docs, reason = "the names are those of the kernel headers")]
mod consts {
    pub mod fs;
    pub mod futex;
    pub mod ipc;
    pub mod mm;
    pub mod net;
    pub mod poll;
    pub mod process;
    pub mod signal;
    pub mod time;
    pub mod tty;
    pub mod uio;
}
pub mod errno;
pub mod fs;
pub mod futex;
pub mod ipc;
pub mod mm;
pub mod net;
pub mod nr;
pub mod poll;
pub mod process;
pub mod regs;
pub mod signal;
pub mod system;
pub mod time;
pub mod tty;
pub mod uio;

pub use addr::{GuestAddr, PAGE_SIZE};
pub use errno::{Errno, Result};
pub use regs::Regs;
