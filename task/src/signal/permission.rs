//! Who may send whom a signal, and what `kill(2)` and its relatives reach.

use std::sync::Arc;

use chitin_abi::process::CAP_KILL;
use chitin_abi::signal::{SI_TKILL, SI_USER, SIGCONT, SIGRTMAX, SigInfo};
use chitin_abi::{Errno, Result};

use super::{send_to_group, send_to_task};
use crate::error::SysResult;
use crate::task::Task;

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process with this global id.
    Process(u32),
    /// The process group with this global id.
    Group(u32),
    /// Everybody but the caller and the first process of its namespace.
    All,
}

/// A signal number, or 0 for none.
///
/// # Errors
/// EINVAL for a number that is none.
pub fn signal_number(signal: i32) -> Result<u32> {
    let signal = u32::try_from(signal).map_err(|_| Errno::EINVAL)?;
    if signal <= SIGRTMAX { Ok(signal) } else { Err(Errno::EINVAL) }
}

/// Whether `sender` may send `target` this signal.
pub fn may_signal(sender: &Arc<Task>, target: &Arc<Task>, signal: u32) -> bool {
    if Arc::ptr_eq(&sender.group, &target.group) {
        return true;
    }
    let (own, other) = (sender.cred(), target.cred());
    let same = [own.euid, own.ruid].iter().any(|uid| *uid == other.suid || *uid == other.ruid);
    if same || own.capable(&other.user_ns, CAP_KILL) {
        return true;
    }
    signal == SIGCONT && {
        let tree = sender.kernel.tree.lock();
        let session = |task: &Task| tree.process(task.tgid()).map(|entry| entry.session.global());
        session(sender) == session(target)
    }
}

/// The siginfo of a signal that `sender` sends, as `target` is to see it.
fn info_for(
    sender: &Task,
    target: &Task,
    signal: u32,
    code: i32,
    given: Option<SigInfo>,
) -> SigInfo {
    if let Some(mut info) = given {
        info.set_signo(signal);
        return info;
    }
    let pid = sender.group.pid.in_ns(&target.pid_ns());
    SigInfo::user(signal, code, pid, target.cred().show_uid(sender.cred().ruid))
}

/// Sends to a thread, or to the process that it belongs to. Signal 0 only checks.
///
/// # Errors
/// EPERM, EAGAIN.
pub fn send_one(
    sender: &Arc<Task>,
    target: &Arc<Task>,
    signal: u32,
    given: Option<SigInfo>,
    to_thread: bool,
) -> Result<()> {
    if !may_signal(sender, target, signal) {
        return Err(Errno::EPERM);
    }
    if signal == 0 {
        return Ok(());
    }
    let code = if to_thread { SI_TKILL } else { SI_USER };
    let info = info_for(sender, target, signal, code, given);
    if to_thread { send_to_task(target, info) } else { send_to_group(target, info) }
}

/// Sends to a process or to many. Signal 0 only checks.
///
/// # Errors
/// ESRCH when there is nobody, EPERM when nobody may be reached.
pub fn send(sender: &Arc<Task>, scope: Scope, signal: u32, given: Option<SigInfo>) -> SysResult {
    let (targets, known) = targets(sender, scope);
    if targets.is_empty() {
        // Zombies are there, but have nobody to take a signal.
        return if known { Ok(0) } else { Err(Errno::ESRCH.into()) };
    }
    let mut failure = Errno::ESRCH;
    let mut done = false;
    for target in &targets {
        match send_one(sender, target, signal, given, false) {
            Ok(()) => done = true,
            Err(Errno::EPERM) if scope == Scope::All => {}
            Err(errno) => failure = errno,
        }
    }
    if done || scope == Scope::All && failure == Errno::ESRCH { Ok(0) } else { Err(failure.into()) }
}

/// A thread of each process in scope, and whether there are processes at all.
fn targets(sender: &Arc<Task>, scope: Scope) -> (Vec<Arc<Task>>, bool) {
    let ns = sender.pid_ns();
    let tree = sender.kernel.tree.lock();
    let ids: Vec<u32> = match scope {
        Scope::Process(id) => tree.process(id).map(|_| id).into_iter().collect(),
        Scope::Group(pgrp) => tree.pgrp_members(pgrp).to_vec(),
        Scope::All => {
            let others = tree
                .processes()
                .filter(|(id, entry)| *id != sender.tgid() && entry.group.pid.in_ns(&ns) > 1);
            others.map(|(id, _)| id).collect()
        }
    };
    let known = !ids.is_empty();
    (ids.into_iter().filter_map(|id| tree.process(id)?.member().cloned()).collect(), known)
}
