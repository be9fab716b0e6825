//! Processes (thread groups) and how they hang together.
//!
//! A [`ThreadGroup`] holds what its threads share for good. Who is whose child, which threads a process has,
//! sessions, process groups and zombies are in the [`Tree`], under one lock of the kernel: these change only
//! at fork, exit, wait and the like.
//!
//! - [`tree`] is that bookkeeping.
//! - [`clone`] makes new tasks, [`exec`] new programs.
//! - [`exit`] is the end of tasks and processes, [`wait`] what parents learn of it.
//! - [`jobs`] has sessions and process groups, [`notify`] stops and continuations.
//! - [`pidfd`] makes processes files, [`find`] finds them by the numbers that guests use.

pub mod clone;
pub mod domain;
pub mod exec;
pub mod exit;
pub mod find;
pub mod jobs;
pub mod notify;
pub mod pidfd;
pub mod tree;
pub mod wait;

use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use chitin_vfs::wait::WaitQueue;
use parking_lot::{Mutex, RwLock};

pub use self::tree::{ProcessEntry, Tree, Zombie};
use crate::limits::Limits;
use crate::namespace::Pid;
use crate::signal::{Actions, GroupSignals};
use crate::time::ProcessTimers;

/// What the threads of a process share.
pub struct ThreadGroup {
    /// Process id, as the kernel's tables go by it.
    pub tgid: u32,
    /// Process id, as namespaces see it.
    pub pid: Arc<Pid>,
    /// Signals for the process, and whether it is stopped.
    pub signals: Mutex<GroupSignals>,
    /// What signals do; shared with other processes after `CLONE_SIGHAND` without `CLONE_THREAD`.
    pub actions: RwLock<Arc<Actions>>,
    /// Resource limits.
    pub limits: Mutex<Limits>,
    /// Notified (`POLLIN`) when a child exits, stops or continues: what `wait(2)` waits on.
    pub child_events: Arc<WaitQueue>,
    /// Notified (`POLLIN`) when this process exits: what a pidfd waits on.
    pub exit_event: Arc<WaitQueue>,
    /// Notified (`POLLIN`) when a signal is queued for any of its threads: signalfd waits on it.
    pub signal_event: Arc<WaitQueue>,
    /// Notified when a thread of the group has gone (an `execve` waits for the others).
    pub thread_gone: Arc<WaitQueue>,
    /// Interval timers and POSIX timers.
    pub timers: Mutex<ProcessTimers>,
    /// The controlling terminal, which children inherit.
    pub terminal: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    /// `PR_SET_CHILD_SUBREAPER`.
    pub child_subreaper: AtomicBool,
    /// Whether an ancestor is a subreaper, so that orphans look for it.
    pub has_subreaper: AtomicBool,
    /// `PR_SET_DUMPABLE`.
    pub dumpable: AtomicU32,
    /// Whether it has called `execve` since its fork (`setpgid` by the parent then fails).
    pub has_execed: AtomicBool,
    /// Whether a group exit or an `execve` is ending the other threads, and the wait status of the exit.
    pub exit: Mutex<GroupExit>,
    /// `oom_score_adj`.
    pub oom_score_adj: AtomicI32,
    /// Whether it is the first process of its pid namespace.
    pub is_init: bool,
    /// Whether signals without a handler do nothing to it. Ends with a fault of its own.
    pub immune: AtomicBool,
    /// Set once its last thread has gone.
    pub exited: AtomicBool,
    /// `PR_SET_THP_DISABLE`.
    pub thp_disabled: AtomicBool,
    /// `personality(2)`.
    pub personality: AtomicU32,
    /// CPU time of threads that are gone, nanoseconds: user, system.
    pub dead_cpu: (AtomicU64, AtomicU64),
    /// CPU time before the last `execve`, part of the former: user, system.
    pub exec_cpu: (AtomicU64, AtomicU64),
    /// CPU time of children that were waited for: user, system.
    pub children_cpu: (AtomicU64, AtomicU64),
    /// Largest resident size in KiB: its own, and of children that were waited for.
    pub max_rss: (AtomicU64, AtomicU64),
    /// What it has read and written.
    pub io: IoCounters,
    /// Which of the sandbox's containers it belongs to: the global id of that container's first process.
    pub container: u32,
    /// Monotonic start time in nanoseconds.
    pub start_time: u64,
    /// What `getppid(2)` returns; 0 until the process first runs.
    pub parent_pid: AtomicU32,
    /// Threads that threads of this process trace, those included that have exited and not been waited for.
    pub tracees: Mutex<Vec<Arc<crate::task::Task>>>,
    /// The process that traces the leader of this one.
    pub leader_tracer: Mutex<Option<Weak<ThreadGroup>>>,
}

/// Counts of `/proc/pid/io`.
#[derive(Default)]
pub struct IoCounters {
    /// Bytes read.
    pub bytes_read: AtomicU64,
    /// Bytes written.
    pub bytes_written: AtomicU64,
    /// Calls that read.
    pub reads: AtomicU64,
    /// Calls that write.
    pub writes: AtomicU64,
}

impl IoCounters {
    /// Counts a call that read.
    pub fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that wrote.
    pub fn wrote(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        self.writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// How far a process is with its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupExit {
    /// It lives.
    #[default]
    None,
    /// `execve` by the thread with this id: the others exit.
    Exec(u32),
    /// It exits with this wait status.
    Exiting(i32),
}

/// What a new process starts with.
pub struct NewGroup {
    /// Process id.
    pub pid: Arc<Pid>,
    /// What signals do.
    pub actions: Arc<Actions>,
    /// Resource limits.
    pub limits: Limits,
    /// The container's first process; 0 when this is it.
    pub container: u32,
    /// Monotonic start time in nanoseconds.
    pub start_time: u64,
}

impl ThreadGroup {
    /// A process without threads.
    pub fn new(new: NewGroup) -> Arc<Self> {
        let tgid = new.pid.global();
        Arc::new(Self {
            tgid,
            is_init: new.pid.local() == 1,
            immune: AtomicBool::new(new.pid.local() == 1),
            exited: AtomicBool::new(false),
            parent_pid: AtomicU32::new(0),
            pid: new.pid,
            signals: Mutex::default(),
            actions: RwLock::new(new.actions),
            limits: Mutex::new(new.limits),
            child_events: Arc::default(),
            exit_event: Arc::default(),
            signal_event: Arc::default(),
            thread_gone: Arc::default(),
            timers: Mutex::default(),
            terminal: Mutex::default(),
            child_subreaper: AtomicBool::new(false),
            has_subreaper: AtomicBool::new(false),
            dumpable: AtomicU32::new(1),
            has_execed: AtomicBool::new(false),
            exit: Mutex::default(),
            oom_score_adj: AtomicI32::new(0),
            thp_disabled: AtomicBool::new(false),
            personality: AtomicU32::new(0),
            dead_cpu: Default::default(),
            exec_cpu: Default::default(),
            children_cpu: Default::default(),
            max_rss: Default::default(),
            io: IoCounters::default(),
            container: if new.container == 0 { tgid } else { new.container },
            start_time: new.start_time,
            tracees: Mutex::default(),
            leader_tracer: Mutex::default(),
        })
    }

    /// What signals do.
    pub fn actions(&self) -> Arc<Actions> {
        Arc::clone(&self.actions.read())
    }

    /// A copy of the resource limits.
    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }
}
