//! A task: one guest thread and what the kernel knows of it.
//!
//! A task belongs to a [`ThreadGroup`] (a process). What `clone(2)` may share is behind `Arc`s that are
//! replaced, not changed, when the task stops sharing. Every field says what protects it; the lock order is
//! drawn in [`crate::kernel`].

mod shared;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use chitin_vfs::fdtable::FdTable;
use parking_lot::{Mutex, RwLock};

pub use self::shared::FsContext;
use crate::cred::Credentials;
use crate::interrupt::Interrupt;
use crate::kernel::Kernel;
use crate::memory::Mm;
use crate::namespace::Namespaces;
use crate::process::ThreadGroup;
use crate::signal::TaskSignals;

/// One guest thread.
pub struct Task {
    /// The kernel that it lives in.
    pub kernel: Arc<Kernel>,
    /// Thread id; changes only in an `execve` by a thread that is not the leader.
    tid: AtomicU32,
    /// Its process.
    pub group: Arc<ThreadGroup>,
    /// Address space; `None` once it has exited.
    mm: RwLock<Option<Arc<Mm>>>,
    /// Working directory, root, umask.
    fs: RwLock<Arc<FsContext>>,
    /// Descriptors; an empty table once it has exited.
    files: RwLock<Arc<FdTable>>,
    /// Identity.
    cred: RwLock<Arc<Credentials>>,
    /// Namespaces.
    namespaces: RwLock<Arc<Namespaces>>,
    /// Mask, pending signals, alternate stack.
    pub signals: Mutex<TaskSignals>,
    /// How others get its attention.
    pub interrupt: Interrupt,
    /// `comm`: at most 15 bytes.
    pub name: Mutex<Vec<u8>>,
    /// `set_tid_address(2)`: cleared and woken at exit.
    pub clear_child_tid: AtomicU64,
    /// `set_robust_list(2)`: head.
    pub robust_list: AtomicU64,
    /// `rseq(2)`: registered area (address, length, signature).
    pub rseq: Mutex<(u64, u32, u32)>,
    /// `PR_SET_PDEATHSIG`.
    pub parent_death_signal: AtomicU32,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: AtomicBool,
    /// Set once the task has begun to exit.
    pub exiting: AtomicBool,
    /// The task sleeps in a system call (state `S` in /proc) or not (`R`).
    pub sleeping: AtomicBool,
    /// Nice value, policy and the like, which the host's scheduler does not see.
    pub sched: Mutex<crate::limits::SchedParams>,
    /// What `restart_syscall(2)` does.
    pub restart: Mutex<Option<crate::time::RestartBlock>>,
    /// Signal mask to put back when a handler has been set up (`sigsuspend`, `ppoll`).
    /// CPU time of the guest thread when last asked: (user, system) nanoseconds.
    pub cpu_time: Mutex<(u64, u64)>,
    /// Seccomp filters that the guest installed.
    pub seccomp: RwLock<crate::limits::SeccompFilters>,
    /// Monotonic start time in nanoseconds.
    pub start_time: u64,
    /// Where it waits, for a child of vfork.
    pub vfork_done: Mutex<Option<Arc<crate::process::VforkDone>>>,
}

/// What a new task starts with.
pub struct NewTask {
    /// Thread id.
    pub tid: u32,
    /// Its process.
    pub group: Arc<ThreadGroup>,
    /// Address space.
    pub mm: Arc<Mm>,
    /// Working directory and so on.
    pub fs: Arc<FsContext>,
    /// Descriptors.
    pub files: Arc<FdTable>,
    /// Identity.
    pub cred: Arc<Credentials>,
    /// Namespaces.
    pub namespaces: Arc<Namespaces>,
    /// Mask and alternate stack.
    pub signals: TaskSignals,
    /// `comm`.
    pub name: Vec<u8>,
}

impl Task {
    /// A task that nothing knows of yet.
    pub fn new(kernel: &Arc<Kernel>, new: NewTask) -> Arc<Self> {
        new.mm.attach();
        Arc::new(Self {
            kernel: Arc::clone(kernel),
            tid: AtomicU32::new(new.tid),
            group: new.group,
            mm: RwLock::new(Some(new.mm)),
            fs: RwLock::new(new.fs),
            files: RwLock::new(new.files),
            cred: RwLock::new(new.cred),
            namespaces: RwLock::new(new.namespaces),
            signals: Mutex::new(new.signals),
            interrupt: Interrupt::default(),
            name: Mutex::new(new.name),
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            rseq: Mutex::new((0, 0, 0)),
            parent_death_signal: AtomicU32::new(0),
            no_new_privs: AtomicBool::new(false),
            exiting: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            sched: Mutex::default(),
            restart: Mutex::new(None),
            cpu_time: Mutex::new((0, 0)),
            seccomp: RwLock::default(),
            start_time: kernel.clock.monotonic(),
            vfork_done: Mutex::new(None),
        })
    }

    /// Its thread id.
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Takes over the leader's thread id, in an `execve`.
    pub fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// Its process id.
    pub fn tgid(&self) -> u32 {
        self.group.tgid
    }

    /// Its address space; `None` once it has exited.
    pub fn mm(&self) -> Option<Arc<Mm>> {
        self.mm.read().clone()
    }

    /// Replaces the address space and gives back the old one, from which it is detached.
    pub fn replace_mm(&self, mm: Option<Arc<Mm>>) -> Option<Arc<Mm>> {
        if let Some(mm) = &mm {
            mm.attach();
        }
        let old = core::mem::replace(&mut *self.mm.write(), mm);
        if let Some(old) = &old {
            old.detach();
        }
        old
    }

    /// Its descriptors.
    pub fn files(&self) -> Arc<FdTable> {
        Arc::clone(&self.files.read())
    }

    /// Replaces its descriptors; the old table is returned so that it is dropped outside the lock.
    pub fn replace_files(&self, files: Arc<FdTable>) -> Arc<FdTable> {
        core::mem::replace(&mut *self.files.write(), files)
    }

    /// Its working directory, root and umask.
    pub fn fs(&self) -> Arc<FsContext> {
        Arc::clone(&self.fs.read())
    }

    /// Stops sharing its working directory, root and umask, or shares others.
    pub fn replace_fs(&self, fs: Arc<FsContext>) -> Arc<FsContext> {
        core::mem::replace(&mut *self.fs.write(), fs)
    }

    /// Its identity.
    pub fn cred(&self) -> Arc<Credentials> {
        Arc::clone(&self.cred.read())
    }

    /// Becomes someone else.
    pub fn set_cred(&self, cred: Credentials) {
        *self.cred.write() = Arc::new(cred);
    }

    /// Its namespaces.
    pub fn namespaces(&self) -> Arc<Namespaces> {
        Arc::clone(&self.namespaces.read())
    }

    /// Moves to other namespaces.
    pub fn set_namespaces(&self, namespaces: Arc<Namespaces>) {
        *self.namespaces.write() = namespaces;
    }

    /// Whether a wait in a system call has to end: a signal is to be delivered, the process stops or dies.
    pub fn must_leave_wait(&self) -> bool {
        crate::signal::has_work(self)
    }
}
