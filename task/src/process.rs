//! Processes (thread groups) and how they hang together.
//!
//! A [`ThreadGroup`] holds what its threads share for good. Who is whose child, which threads a process has,
//! sessions, process groups and zombies are in the [`Tree`], under one lock of the kernel: these change only
//! at fork, exit, wait and the like.

pub mod tree;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::Arc;

use chitin_vfs::wait::WaitQueue;
use parking_lot::{Mutex, RwLock};

pub use self::tree::{ProcessEntry, Tree};
use crate::limits::Limits;
use crate::signal::{Actions, GroupSignals};
use crate::time::ProcessTimers;

/// What the threads of a process share.
pub struct ThreadGroup {
    /// Process id.
    pub tgid: u32,
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
    /// Interval timers and POSIX timers.
    pub timers: Mutex<ProcessTimers>,
    /// `PR_SET_CHILD_SUBREAPER`.
    pub child_subreaper: AtomicBool,
    /// `PR_SET_DUMPABLE`.
    pub dumpable: AtomicU32,
    /// Whether it has called `execve` since its fork (`setpgid` by the parent then fails).
    pub has_execed: AtomicBool,
    /// Whether a group exit or an `execve` is ending the other threads, and the wait status of the exit.
    pub exit: Mutex<GroupExit>,
    /// `oom_score_adj`.
    pub oom_score_adj: core::sync::atomic::AtomicI32,
    /// CPU time of threads that are gone, nanoseconds: user, system.
    pub dead_cpu: (AtomicU64, AtomicU64),
    /// CPU time of children that were waited for: user, system.
    pub children_cpu: (AtomicU64, AtomicU64),
    /// Monotonic start time in nanoseconds.
    pub start_time: u64,
    /// Notified when a thread of the group has gone (an `execve` waits for the others).
    pub thread_gone: Arc<WaitQueue>,
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

impl ThreadGroup {
    /// A process without threads.
    pub fn new(tgid: u32, actions: Arc<Actions>, limits: Limits, start_time: u64) -> Arc<Self> {
        Arc::new(Self {
            tgid,
            signals: Mutex::default(),
            actions: RwLock::new(actions),
            limits: Mutex::new(limits),
            child_events: Arc::default(),
            exit_event: Arc::default(),
            timers: Mutex::default(),
            child_subreaper: AtomicBool::new(false),
            dumpable: AtomicU32::new(1),
            has_execed: AtomicBool::new(false),
            exit: Mutex::default(),
            oom_score_adj: core::sync::atomic::AtomicI32::new(0),
            dead_cpu: Default::default(),
            children_cpu: Default::default(),
            start_time,
            thread_gone: Arc::default(),
        })
    }

    /// What signals do.
    pub fn actions(&self) -> Arc<Actions> {
        Arc::clone(&self.actions.read())
    }
}
