//! Who a process is and what it may do.

pub(super) mod ids;
pub(super) mod keys;
pub(super) mod seccomp;
pub(super) mod session;
