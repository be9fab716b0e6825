//! Terminals and processes: what the terminals of `chitin-vfs` need of the process table, and job control of the
//! calls on them.
//!
//! A process's controlling terminal is in its thread group; which session a terminal belongs to, and which group is
//! in its foreground, is in the terminal. Ids in terminals are those of the initial pid namespace.
//!
//! Lock order: the process tree's lock is released before signals are sent and before a terminal is called.

use core::any::Any;
use std::sync::{Arc, Weak};

use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{SIG_IGN, SIGCONT, SIGHUP, SigInfo};
use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::file::{IoctlContext, JobCheck, OpenFile, ProcessIds, TerminalAccess};
use chitin_vfs::fs::devpts::DevPtsType;
use chitin_vfs::io::Sink;
use chitin_vfs::tty::{Console, Pty, TerminalHost, register_devices};

use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::kernel::Kernel;
use crate::process::jobs::pgrp_is_orphaned;
use crate::scheduler::wait::Waiter;
use crate::signal::send_to_group;
use crate::task::Task;

const READABLE: PollEvents =
    PollEvents::POLLIN.union(PollEvents::POLLRDNORM).union(PollEvents::POLLPRI);

/// The process table, as terminals see it.
pub struct Processes {
    kernel: Weak<Kernel>,
}

impl Processes {
    /// That of a kernel.
    pub fn new(kernel: &Arc<Kernel>) -> Self {
        Self { kernel: Arc::downgrade(kernel) }
    }

    fn session_members(&self, session: u32) -> Vec<Arc<Task>> {
        let Some(kernel) = self.kernel.upgrade() else { return Vec::new() };
        let tree = kernel.tree.lock();
        let inside = tree.processes().filter(|(_, entry)| entry.session.global() == session);
        inside.filter_map(|(_, entry)| entry.member().cloned()).collect()
    }
}

fn send(member: &Arc<Task>, signal: u32) {
    // A queue that is full has signals enough.
    let _ = send_to_group(member, SigInfo::kernel(signal));
}

impl TerminalHost for Processes {
    fn signal_group(&self, pgrp: u32, signal: u32) {
        let Some(kernel) = self.kernel.upgrade() else { return };
        let members: Vec<Arc<Task>> = {
            let tree = kernel.tree.lock();
            let entries = tree.pgrp_members(pgrp).iter().filter_map(|id| tree.process(*id));
            entries.filter_map(|entry| entry.member().cloned()).collect()
        };
        for member in &members {
            send(member, signal);
        }
    }

    fn is_orphaned(&self, pgrp: u32) -> bool {
        self.kernel.upgrade().is_none_or(|kernel| pgrp_is_orphaned(&kernel.tree.lock(), pgrp, None))
    }

    fn session_of_group(&self, pgrp: u32) -> Option<u32> {
        let kernel = self.kernel.upgrade()?;
        let tree = kernel.tree.lock();
        let members = tree.pgrp_members(pgrp);
        members.iter().find_map(|id| tree.process(*id)).map(|entry| entry.session.global())
    }

    fn hang_up_session(&self, session: u32) {
        self.take_terminal(session);
        for member in self.session_members(session) {
            if member.tgid() == session {
                send(&member, SIGHUP);
                send(&member, SIGCONT);
            }
        }
    }

    fn take_terminal(&self, session: u32) {
        for member in self.session_members(session) {
            let old = member.group.terminal.lock().take();
            drop(old);
        }
    }
}

/// Registers the terminal devices and the type `devpts`; the result is `/dev/console`.
pub fn install(kernel: &Arc<Kernel>) -> Arc<Console> {
    let host: Arc<dyn TerminalHost> = Arc::new(Processes::new(kernel));
    kernel.vfs.fs_types.register(Arc::new(DevPtsType::new(host)));
    register_devices(&kernel.vfs.devices)
}

/// The terminal that a process has as its controlling one.
pub fn controlling(task: &Task) -> Option<Arc<Pty>> {
    let terminal = task.group.terminal.lock().clone()?;
    terminal.downcast::<Pty>().ok()
}

/// A task's place in job control, in ids of the initial pid namespace.
pub fn process_ids(task: &Task) -> ProcessIds {
    let tree = task.kernel.tree.lock();
    let pid = task.tgid();
    tree.process(pid).map_or_else(ProcessIds::default, |entry| ProcessIds {
        pid,
        pgrp: entry.pgrp.global(),
        session: entry.session.global(),
        session_leader: entry.session.global() == pid,
    })
}

/// Opening a terminal or `TIOCSCTTY` makes it the controlling one of a session leader without one.
///
/// # Errors
/// EPERM.
pub fn acquire(task: &Task, terminal: Arc<dyn Any + Send + Sync>) -> Result<()> {
    if !process_ids(task).session_leader {
        return Err(Errno::EPERM);
    }
    let mut own = task.group.terminal.lock();
    match &*own {
        Some(known) if !core::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(&terminal)) => {
            Err(Errno::EPERM)
        }
        _ => {
            *own = Some(terminal);
            Ok(())
        }
    }
}

/// The first process of a session starts with a controlling terminal.
pub fn start_session(terminal: Option<&Arc<dyn Any + Send + Sync>>, session: u32) {
    if let Some(Ok(pty)) = terminal.map(|terminal| Arc::clone(terminal).downcast::<Pty>()) {
        pty.set_foreground(session, session);
    }
}

/// The number that the task's pid namespace has for a process, group or session of the initial one; 0 for none.
pub fn local_id(task: &Task, id: u32) -> u32 {
    let ns = task.pid_ns();
    let tree = task.kernel.tree.lock();
    if let Some(entry) = tree.process(id) {
        return entry.group.pid.in_ns(&ns);
    }
    let pids = tree.processes().flat_map(|(_, entry)| [&entry.pgrp, &entry.session]);
    pids.into_iter().find(|pid| pid.global() == id).map_or(0, |pid| pid.in_ns(&ns))
}

/// The number in the initial pid namespace for one of the task's.
pub fn global_id(task: &Task, number: u32) -> Option<u32> {
    task.pid_ns().global(number)
}

/// Whether the task blocks or ignores a signal.
pub fn ignores_signal(task: &Task, signal: u32) -> bool {
    task.signals.lock().mask.contains(signal) || task.group.actions().get(signal).handler == SIG_IGN
}

/// Job control, before a call works on a file.
///
/// # Errors
/// A restart after SIGTTIN or SIGTTOU; EIO, ENOTTY.
pub fn check(file: &OpenFile, access: TerminalAccess, caller: &dyn IoctlContext) -> SysResult<()> {
    match file.file().check_job(access, caller)? {
        JobCheck::Proceed => Ok(()),
        JobCheck::Restart => Err(SysError::Restart(Restart::Sys)),
    }
}

/// Reads from a terminal, by its times (`VTIME`).
///
/// # Errors
/// Those of the file; a restart when a signal interrupted the wait.
pub async fn read(
    cx: &Ctx<'_>,
    file: &OpenFile,
    to: &mut (dyn Sink + Send),
    env: &VfsEnv,
) -> SysResult<usize> {
    let waiter = Waiter::new();
    let _registration = file.file().wait_queue().map(|queue| waiter.register(queue, READABLE));
    loop {
        let seen = waiter.generation();
        match file.read(to, None, env) {
            Err(Errno::EAGAIN) => {}
            result => return Ok(result?),
        }
        let Some(time) = file.file().read_timeout() else {
            cx.wait(Restart::Sys, waiter.changed(seen)).await?;
            continue;
        };
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let deadline = cx.kernel().clock.monotonic().saturating_add(time);
        if cx.wait_until(Restart::Sys, deadline, waiter.changed(seen)).await?.is_none() {
            return Ok(file.file().read_expired(to)?);
        }
    }
}
