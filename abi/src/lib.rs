#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod addr;
pub mod errno;
pub mod regs;

pub use addr::{GuestAddr, PAGE_SIZE};
pub use errno::{Errno, Result};
pub use regs::Regs;
