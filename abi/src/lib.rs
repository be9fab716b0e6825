#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod macros;

pub mod addr;
mod arch;
pub mod auxv;
#[expect(missing_docs, reason = "the names are those of the kernel headers")]
#[expect(non_upper_case_globals, reason = "the names are those of the kernel headers")]
mod consts {
    pub mod auxv;
    pub mod clone;
    pub mod cred;
    pub mod file;
    pub mod fs_ioctl;
    pub mod futex;
    pub mod inet;
    pub mod ipc;
    pub mod magic;
    pub mod mm;
    pub mod mount;
    pub mod netdev;
    pub mod netlink;
    pub mod notify;
    pub mod poll;
    pub mod prctl;
    pub mod ptrace;
    pub mod sched;
    pub mod seccomp;
    pub mod signal;
    pub mod socket;
    pub mod system;
    pub mod time;
    pub mod tty;
    pub mod uio;
}
pub mod errno;
pub mod fs;
pub mod futex;
pub mod ipc;
pub mod mm;
pub mod names;
pub mod net;
pub mod poll;
pub mod process;
pub mod regs;
pub mod signal;
pub mod system;
pub mod time;
pub mod tty;
pub mod uio;

pub use addr::{GuestAddr, PAGE_SIZE};
pub use arch::nr;
pub use errno::{Errno, Result};
pub use regs::Regs;
