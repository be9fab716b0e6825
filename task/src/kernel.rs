//! The kernel of one sandbox: what all its tasks share.
//!
//! Lock order (outermost first):
//!
//! ```text
//! Mm::ops (asynchronous, may be held across a wait)
//!   Kernel::tree
//!     ThreadGroup::exit
//!       ThreadGroup::signals
//!         Task::signals
//!           Interrupt, WaitQueue
//!   ThreadGroup::{limits, timers}, Task::{fs, files, cred, namespaces}: leaves
//!   Mm::space: leaf
//! ```
//!
//! Nothing but `Mm::ops` is held across a wait: the guards are not `Send`, so the compiler sees to it.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use chitin_mm::platform::Platform;
use parking_lot::Mutex;

use crate::futex::FutexTable;
use crate::ipc::IpcRegistry;
use crate::process::Tree;
use crate::scheduler::Scheduler;
use crate::time::KernelClock;

/// Everything that is one per sandbox.
pub struct Kernel {
    /// Runs guest code.
    pub platform: Arc<dyn Platform>,
    /// Runs tasks, timers and host polling.
    pub scheduler: Scheduler,
    /// Time.
    pub clock: KernelClock,
    /// Processes.
    pub tree: Mutex<Tree>,
    /// Futexes.
    pub futexes: FutexTable,
    /// System V and POSIX IPC of the initial IPC namespace.
    pub ipc: Arc<IpcRegistry>,
    /// What was called and not supported, by system-call number.
    pub unsupported: crate::syscalls::Unsupported,
    /// Abstract unix sockets and the like of the initial network namespace.
    pub unix: Arc<chitin_vfs::socket::unix::UnixNamespace>,
    /// How the first process ended; whoever runs the sandbox waits on it.
    pub init_exit: crate::boot::InitExit,
    /// Whether system calls are printed, and where.
    pub strace: Option<crate::syscalls::strace::Strace>,
    /// Device files.
    pub devices: Arc<crate::sys::devices::Devices>,
    next_object: AtomicU64,
}

/// What a kernel is made of.
pub struct KernelParts {
    /// Runs guest code.
    pub platform: Arc<dyn Platform>,
    /// Runs tasks.
    pub scheduler: Scheduler,
    /// Time.
    pub clock: KernelClock,
    /// Whether system calls are printed.
    pub strace: Option<crate::syscalls::strace::Strace>,
    /// Device files.
    pub devices: Arc<crate::sys::devices::Devices>,
}

impl Kernel {
    /// A kernel without processes.
    pub fn new(parts: KernelParts) -> Arc<Self> {
        Arc::new(Self {
            platform: parts.platform,
            scheduler: parts.scheduler,
            clock: parts.clock,
            tree: Mutex::default(),
            futexes: FutexTable::default(),
            ipc: Arc::default(),
            unsupported: crate::syscalls::Unsupported::default(),
            unix: Arc::default(),
            init_exit: crate::boot::InitExit::default(),
            strace: parts.strace,
            devices: parts.devices,
            next_object: AtomicU64::new(1),
        })
    }

    /// A number that no other object of this sandbox has (shared mappings, timers).
    pub fn next_object_id(&self) -> u64 {
        self.next_object.fetch_add(1, Ordering::Relaxed)
    }
}
