//! System calls: the table, decoding, dispatch, and one file of handlers per family.
//!
//! The table ([`table`]) is the only place where a call is declared: number, name, typed arguments, handler
//! and level of support come from one line, and dispatch, `--strace`, `runsc help syscalls` and
//! `docs/syscalls.md` from the table.
//!
//! A handler is a plain function where it cannot wait, an `async` one where it can. None blocks a worker.

pub mod aio;
pub mod args;
pub mod at;
pub mod attr;
pub mod cred;
pub mod dirs;
pub mod fanotify;
pub mod fcntl;
pub mod futex;
pub mod handle;
pub mod inotify;
pub mod io;
pub mod ioctl;
pub mod ipc;
mod keys;
pub mod limits;
mod listener;
pub mod listing;
pub mod locks;
pub mod memory;
pub mod misc;
pub mod mount_fd;
pub mod mount_info;
pub mod mounts;
pub mod open;
pub mod poll;
pub mod prctl;
pub mod process;
pub mod ptrace;
pub mod quota;
pub mod scatter;
pub mod sched;
pub mod seccomp;
pub mod sigio;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod stat;
pub mod strace;
pub mod streams;
pub mod sync;
pub mod table;
pub mod thread;
pub mod time;
pub mod tree;
mod unsupported;
pub mod xattr;

pub use self::table::{SYSCALLS, call};
pub use self::unsupported::Unsupported;

/// How much of a system call works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// All that Linux does.
    Full,
    /// Not all of it: what is missing.
    Partial(&'static str),
    /// Always fails, with this errno's name.
    Fails(&'static str),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct SyscallInfo {
    /// Number on x86_64.
    pub number: u64,
    /// Name without `sys_`.
    pub name: &'static str,
    /// The names of its arguments.
    pub names: &'static [&'static str],
    /// How its arguments are printed.
    pub args: &'static [args::Print],
    /// How much of it works.
    pub support: Support,
}
