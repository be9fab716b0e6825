//! The tests, one file per family.

use crate::suite::Family;

mod cred;
mod epoll;
mod eventfd;
mod fcntl;
mod mmap;
mod open;
mod pipe;
mod signal;
mod tree;
mod unix;
mod wait;

/// All families, by name.
pub const FAMILIES: &[Family] = &[
    cred::FAMILY,
    epoll::FAMILY,
    eventfd::FAMILY,
    fcntl::FAMILY,
    mmap::FAMILY,
    open::FAMILY,
    pipe::FAMILY,
    signal::FAMILY,
    tree::FAMILY,
    unix::FAMILY,
    wait::FAMILY,
];
