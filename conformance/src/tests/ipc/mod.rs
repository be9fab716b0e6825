//! Messages, semaphores and shared memory between processes.

pub(super) mod mq;
pub(super) mod msg;
pub(super) mod sem;
pub(super) mod shm;
