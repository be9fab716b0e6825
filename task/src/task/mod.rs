//! A task: one guest thread and what the kernel knows of it.
//!
//! A task belongs to a [`ThreadGroup`] (a process). What `clone(2)` may share is behind `Arc`s that are
//! replaced, not changed, when the task stops sharing. Every field says what protects it; the lock order is
//! drawn in [`crate::kernel`].

mod answers;
mod cpu;
mod shared;

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::signal::{SIGKILL, SIGSTOP, SigSet};
use chitin_vfs::fdtable::FdTable;
use parking_lot::{Mutex, RwLock};

pub use self::cpu::CpuMeter;
pub use self::shared::FsContext;
use crate::cred::Credentials;
use crate::interrupt::Interrupt;
use crate::kernel::Kernel;
use crate::limits::{SchedParams, SeccompFilters};
use crate::memory::{Mm, Remains};
use crate::namespace::{Namespaces, Pid, PidNamespace};
use crate::process::{ThreadGroup, domain};
use crate::scheduler::wait::Completion;
use crate::signal::TaskSignals;
use crate::time::RestartBlock;

/// One guest thread.
pub struct Task {
    /// The kernel that it lives in.
    pub kernel: Arc<Kernel>,
    /// Thread id as the kernel's tables go by it; changes only in an `execve` by a thread that is not the leader.
    tid: AtomicU32,
    /// Thread id as namespaces see it.
    pid: RwLock<Arc<Pid>>,
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
    /// The wait status that this thread alone has to exit with; negative for none.
    pub exit_alone: AtomicI64,
    /// The task sleeps in a system call (state `S` in /proc) or not (`R`).
    pub sleeping: AtomicBool,
    /// How often it went to sleep in a system call.
    pub sleeps: AtomicU64,
    /// Nice value, policy and the like, which the host's scheduler does not see.
    pub sched: Mutex<SchedParams>,
    /// `set_mempolicy(2)`.
    pub memory_policy: Mutex<crate::syscalls::memory::MemoryPolicy>,
    /// What `restart_syscall(2)` does.
    pub restart: Mutex<Option<RestartBlock>>,
    /// How much CPU time its guest thread has used.
    pub cpu: CpuMeter,
    /// Whether calls are filtered: [`Task::seccomp`] is active.
    pub filtered: AtomicBool,
    /// Seccomp filters that the guest installed.
    pub seccomp: RwLock<SeccompFilters>,
    /// Monotonic start time in nanoseconds.
    pub start_time: u64,
    /// Where it waits, for a child of vfork.
    pub vfork_done: Mutex<Option<Arc<Completion>>>,
    /// Its keyrings.
    pub keyrings: Mutex<crate::keys::rings::TaskRings>,
    /// Who traces it, and how it stands still for that.
    pub trace: crate::ptrace::Tracee,
    /// Of the address space that it was the last to leave: to be ended once nobody waits for this task.
    pub remains: Mutex<Option<Remains>>,
}

/// What a new task starts with.
pub struct NewTask {
    /// Thread id.
    pub pid: Arc<Pid>,
    /// Its process.
    pub group: Arc<ThreadGroup>,
    /// Address space; `None` until a program is loaded.
    pub mm: Option<Arc<Mm>>,
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
        if let Some(mm) = &new.mm {
            mm.attach();
        }
        Arc::new(Self {
            kernel: Arc::clone(kernel),
            tid: AtomicU32::new(new.pid.global()),
            pid: RwLock::new(new.pid),
            group: new.group,
            mm: RwLock::new(new.mm),
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
            exit_alone: AtomicI64::new(-1),
            sleeping: AtomicBool::new(false),
            sleeps: AtomicU64::new(0),
            sched: Mutex::default(),
            memory_policy: Mutex::default(),
            restart: Mutex::new(None),
            cpu: CpuMeter::default(),
            filtered: AtomicBool::new(false),
            seccomp: RwLock::default(),
            start_time: kernel.clock.monotonic(),
            vfork_done: Mutex::new(None),
            keyrings: Mutex::default(),
            trace: crate::ptrace::Tracee::default(),
            remains: Mutex::default(),
        })
    }

    /// Its thread id, as the kernel's tables go by it.
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Its thread id, as namespaces see it.
    pub fn pid(&self) -> Arc<Pid> {
        Arc::clone(&self.pid.read())
    }

    /// Takes over the leader's thread id, in an `execve`.
    pub fn set_pid(&self, pid: Arc<Pid>) {
        self.tid.store(pid.global(), Ordering::Relaxed);
        let old = core::mem::replace(&mut *self.pid.write(), pid);
        drop(old);
    }

    /// Its process id, as the kernel's tables go by it.
    pub fn tgid(&self) -> u32 {
        self.group.tgid
    }

    /// Its thread id as `gettid(2)` says it.
    pub fn local_tid(&self) -> u32 {
        self.pid.read().local()
    }

    /// Its process id as `getpid(2)` says it.
    pub fn local_tgid(&self) -> u32 {
        self.group.pid.local()
    }

    /// The pid namespace that it is in.
    pub fn pid_ns(&self) -> Arc<PidNamespace> {
        match self.group.pid.namespace() {
            Some(ns) => Arc::clone(ns),
            None => Arc::clone(&self.namespaces().pid_for_children),
        }
    }

    /// Whether it leads its process.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.tgid()
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
            // Nobody comes after the first process of a namespace.
            let has_heirs = !self.group.is_init;
            let remains =
                old.detach(|| has_heirs.then(|| domain::of(self, &self.cred())).flatten());
            *self.remains.lock() = remains;
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
        let new = Arc::new(cred);
        let old = core::mem::replace(&mut *self.cred.write(), Arc::clone(&new));
        self.refresh_answers();
        if old.ruid != new.ruid && !self.exiting.load(Ordering::Relaxed) {
            self.kernel.users.remove(old.ruid);
            self.kernel.users.add(new.ruid);
        }
    }

    /// Its namespaces.
    pub fn namespaces(&self) -> Arc<Namespaces> {
        Arc::clone(&self.namespaces.read())
    }

    /// The namespaces that its children start with.
    pub fn child_namespaces(&self) -> Arc<Namespaces> {
        let own = self.namespaces();
        if Arc::ptr_eq(&own.time, &own.time_for_children) {
            return own;
        }
        Arc::new(Namespaces { time: Arc::clone(&own.time_for_children), ..(*own).clone() })
    }

    /// Moves to other namespaces.
    pub fn set_namespaces(&self, namespaces: Arc<Namespaces>) {
        *self.namespaces.write() = namespaces;
    }

    /// Replaces the seccomp filters.
    pub fn set_seccomp(&self, filters: SeccompFilters) {
        let active = filters.is_active();
        let old = core::mem::replace(&mut *self.seccomp.write(), filters);
        self.filtered.store(active, Ordering::SeqCst);
        self.refresh_answers();
        drop(old);
    }

    /// Gives up the seccomp filters, when the task is gone.
    pub fn seccomp_reset(&self) {
        self.set_seccomp(SeccompFilters::default());
    }

    /// The signal mask was `old`: signals that are not blocked any more are delivered.
    pub fn mask_changed(&self, old: SigSet) {
        let unblocked = {
            let group = self.group.signals.lock();
            let signals = self.signals.lock();
            let pending = signals.pending.set().union(group.pending.set());
            !pending.intersection(old.difference(signals.mask)).is_empty()
        };
        if unblocked {
            self.interrupt.raise();
        }
    }

    /// Sets a signal mask for the rest of the current call (`sigsuspend`, `ppoll`): the old one comes back when
    /// the call is over and no handler ran, or when the handler returns.
    pub fn set_temporary_mask(&self, mut mask: SigSet) {
        mask.remove(SIGKILL);
        mask.remove(SIGSTOP);
        let old = {
            let mut signals = self.signals.lock();
            let old = core::mem::replace(&mut signals.mask, mask);
            signals.saved_mask.get_or_insert(old);
            old
        };
        self.interrupt.raise();
        self.mask_changed(old);
    }

    /// The call is over without having been interrupted: the mask that [`Task::set_temporary_mask`] replaced
    /// comes back at once.
    pub fn end_temporary_mask(&self) {
        let old = {
            let mut signals = self.signals.lock();
            let Some(saved) = signals.saved_mask.take() else { return };
            core::mem::replace(&mut signals.mask, saved)
        };
        self.mask_changed(old);
    }

    /// It begins to sleep in a system call, or goes on to.
    pub fn falls_asleep(&self) {
        if !self.sleeping.swap(true, Ordering::Relaxed) {
            self.sleeps.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a wait in a system call has to end: a signal is to be delivered, the process stops or dies.
    pub fn must_leave_wait(&self) -> bool {
        crate::signal::has_work(self)
    }
}
