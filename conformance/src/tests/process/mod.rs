//! Processes: how they are made, run, waited for and named.

pub(super) mod clone;
pub(super) mod clone3;
pub(super) mod execve;
pub(super) mod pidfd;
pub(super) mod wait4;
pub(super) mod waitid;
