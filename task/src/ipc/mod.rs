//! System V IPC (`sysvipc(7)`) and POSIX message queues (`mq_overview(7)`).
//!
//! Each IPC namespace has its own objects. Nothing here waits: what would block fails with `EAGAIN`, and the
//! handler waits on the object's queue and tries again.
//!
//! Lock order: a table of ids before an object of it. Objects are notified when their lock has been released.
//!
//! - [`shm`]: shared memory, one memfd per segment.
//! - [`sem`]: semaphore sets.
//! - [`msg`]: message queues.
//! - [`mqueue`]: POSIX message queues, which are files.

mod budget;
pub mod ids;
pub mod mqueue;
pub mod msg;
pub mod perm;
pub mod sem;
pub mod shm;
#[cfg(test)]
mod tests;
mod text;

use core::sync::atomic::AtomicUsize;
use std::sync::Arc;

pub use self::budget::Budget;
use self::ids::IdTable;
use crate::namespace::UserNamespace;
use crate::task::Task;

/// System V IPC and POSIX message queues of a group of tasks.
pub struct IpcNamespace {
    /// Inode number in /proc/pid/ns.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    /// Shared memory.
    pub shm: Arc<IdTable<shm::Segment>>,
    /// Semaphore sets.
    pub sem: IdTable<sem::SemSet>,
    /// Message queues.
    pub msg: IdTable<msg::MsgQueue>,
    /// Semaphores of all sets.
    pub semaphores: Arc<AtomicUsize>,
    /// Room for messages.
    pub budget: Arc<Budget>,
    /// POSIX message queues.
    pub mqueues: Arc<mqueue::Names>,
}

impl IpcNamespace {
    /// A namespace without objects that `user_ns` owns.
    pub fn new(id: u64, user_ns: Arc<UserNamespace>) -> Arc<Self> {
        Arc::new(Self {
            id,
            user_ns,
            shm: Arc::new(IdTable::new(shm::SEGMENTS_MAX)),
            sem: IdTable::new(sem::SETS_MAX),
            msg: IdTable::new(msg::QUEUES_MAX),
            semaphores: Arc::default(),
            budget: Arc::default(),
            mqueues: Arc::default(),
        })
    }
}

/// A process is gone: what it asked to be undone is undone.
pub fn exit_process(task: &Task) {
    let namespaces = task.namespaces();
    sem::undo_all(&namespaces.ipc.sem, task.tgid());
}
