//! Tracing: `ptrace(2)`.
//!
//! A tracee is a task with a [`Link`] to its tracer, which is a thread. It stops by itself, in its own future:
//! it publishes its registers in a [`Stop`], tells the tracer, and waits until the stop is taken away. So a tracer
//! never touches a guest thread: it changes the published copy, which the tracee loads when it goes on.
//!
//! - [`stop`] is the tracee's side: stops at signals, system calls and events.
//! - [`link`] makes and ends the relation: attach, detach, inheritance, the end of either side.
//! - [`control`] is what a tracer does to a stopped tracee.
//! - `debug` has the debug registers.
//! - [`user`] reads and writes registers as `struct user` and as register sets, [`memory`] the tracee's memory.
//!
//! Costs: one load of a flag per system call and per delivered signal while nobody traces; per stop a copy of the
//! registers with the extended state, a wake of the tracer and one of the tracee.
//!
//! Lock order: the tree, then `ThreadGroup::tracees`, then [`Tracee`], which is a leaf below
//! `ThreadGroup::signals`. Nothing is told to anybody under these.

pub mod control;
mod debug;
pub mod link;
pub mod memory;
pub mod stop;
pub mod user;

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

pub use self::debug::stepped;
use chitin_abi::Regs;
use chitin_abi::signal::SigInfo;
use parking_lot::Mutex;

use crate::process::ThreadGroup;
use crate::task::Task;

/// What a task is as a tracee.
#[derive(Default)]
pub struct Tracee {
    traced: AtomicBool,
    inner: Mutex<Inner>,
}

impl Tracee {
    /// Whether somebody traces it.
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    /// Whether it stands in a stop of its tracer's.
    pub fn is_stopped(&self) -> bool {
        self.is_traced() && self.inner.lock().stop.is_some()
    }

    /// Its tracer.
    pub fn tracer(&self) -> Option<Arc<Task>> {
        if !self.is_traced() {
            return None;
        }
        self.inner.lock().link.as_ref().and_then(|link| link.tracer.upgrade())
    }

    /// The tracer's process.
    pub fn tracer_group(&self) -> Option<Arc<ThreadGroup>> {
        self.tracer().map(|tracer| Arc::clone(&tracer.group))
    }

    /// Whether it has to stop before it goes on: its tracer wants it to, or its process has stopped for the
    /// `generation`th time and it has not told that yet.
    pub fn has_work(&self, group_stopped: bool, generation: u64) -> bool {
        let inner = self.inner.lock();
        inner.trap || group_stopped && inner.seen_stop != generation
    }

    /// SIGKILL: a tracee leaves the stop of its exit, too.
    pub fn kill(&self) {
        if self.is_traced() {
            self.inner.lock().killed = true;
        }
    }
}

/// Who traces a task, and how.
pub struct Link {
    tracer: Weak<Task>,
    seized: bool,
    options: u32,
}

/// How far a tracee runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// To the next signal or event.
    #[default]
    Run,
    /// To the next system call, before or behind it.
    Calls,
    /// One instruction.
    Step,
    /// To the next system call, which is not made.
    Emulate,
    /// One instruction, and no system call is made.
    EmulateStep,
}

impl Mode {
    fn steps(self) -> bool {
        matches!(self, Self::Step | Self::EmulateStep)
    }
}

#[derive(Default)]
struct Inner {
    link: Option<Link>,
    mode: Mode,
    stop: Option<Stop>,
    /// What it goes on with, once the stop is taken away.
    resumed: Option<Resumed>,
    /// `PTRACE_GETEVENTMSG`.
    message: u64,
    /// It has to stop because its tracer said so, or its process was continued.
    trap: bool,
    /// The latest stop of its process that it has told its tracer.
    seen_stop: u64,
    /// SIGKILL has come since it stopped.
    killed: bool,
    /// It has exited with this status, and its tracer has not learnt that yet.
    dead: Option<i32>,
    debug: debug::Debug,
}

/// Why a tracee stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Signal,
    Enter,
    Leave,
    Event(u32),
    Group,
}

/// A tracee that stands still.
struct Stop {
    kind: Kind,
    /// The signal, and the event above it.
    code: u32,
    info: Option<SigInfo>,
    /// What a filter said (`SECCOMP_RET_TRACE`).
    filter_data: u32,
    regs: Regs,
    extended: Vec<u8>,
    extended_changed: bool,
    /// The tracer's `wait` has seen it.
    reported: bool,
    /// `PTRACE_LISTEN`.
    listening: bool,
}

/// What a tracee goes on with.
struct Resumed {
    regs: Regs,
    extended: Option<Vec<u8>>,
    signal: u32,
    info: Option<SigInfo>,
    /// The tracer: its process id and user as the tracee sees them.
    sender: (u32, u32),
}
