//! The tests, one file per family.

use crate::suite::Family;

mod attr;
mod cred;
mod epoll;
mod eventfd;
mod exec;
mod fcntl;
mod futex;
mod inotify;
mod io;
mod mmap;
mod mqueue;
mod open;
mod pipe;
mod ptrace;
mod select;
mod signal;
mod sysvipc;
mod timer;
mod tree;
mod unix;
mod wait;

/// All families, by name.
pub const FAMILIES: &[Family] = &[
    attr::FAMILY,
    cred::FAMILY,
    epoll::FAMILY,
    eventfd::FAMILY,
    exec::FAMILY,
    fcntl::FAMILY,
    futex::FAMILY,
    inotify::FAMILY,
    io::FAMILY,
    mmap::FAMILY,
    mqueue::FAMILY,
    open::FAMILY,
    pipe::FAMILY,
    ptrace::FAMILY,
    select::FAMILY,
    signal::FAMILY,
    sysvipc::FAMILY,
    timer::FAMILY,
    tree::FAMILY,
    unix::FAMILY,
    wait::FAMILY,
];
