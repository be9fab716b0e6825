//! The process tree: parents and children, threads, sessions, process groups, zombies.
//!
//! Processes and threads go by their global numbers ([`Pid::global`]). Invariants: every process but the first
//! of a container has a parent entry; a zombie has no threads; the index of process groups holds exactly the
//! processes, zombies included, by their group.

use std::collections::BTreeMap;
use std::sync::Arc;

use chitin_abi::{Errno, Result};

use super::ThreadGroup;
use crate::namespace::{Pid, PidNamespace};
use crate::task::Task;

/// What the tree knows of one process.
pub struct ProcessEntry {
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// Parent's process id; 0 for the first process of a container and for those made from outside.
    pub parent: u32,
    /// The thread of the parent that made it (`__WNOTHREAD`, `PR_SET_PDEATHSIG`).
    pub parent_task: u32,
    /// The signal that the parent gets when it exits; 0 for none.
    pub exit_signal: u32,
    /// Children, oldest first.
    pub children: Vec<u32>,
    /// Living threads, the leader first while it lives.
    pub tasks: Vec<Arc<Task>>,
    /// Process group; change it by [`Tree::set_pgrp`].
    pub pgrp: Arc<Pid>,
    /// Session.
    pub session: Arc<Pid>,
    /// Wait status, once the last thread has exited and the parent may wait for it.
    pub zombie: Option<Zombie>,
    /// A stop (the signal) that `wait` with `WUNTRACED` has not reported yet.
    pub stop_report: Option<u32>,
    /// A continuation that `wait` with `WCONTINUED` has not reported yet.
    pub continue_report: bool,
    /// Whether it is stopped now.
    pub stopped: bool,
    /// The name of its last thread, for /proc once it is a zombie.
    pub name: Vec<u8>,
}

/// What is left of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zombie {
    /// Wait status as `wait(2)` reports it.
    pub status: i32,
    /// Real user id (kernel id) at its end.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// CPU time without its children's: user, system nanoseconds.
    pub cpu: (u64, u64),
    /// CPU time of its waited-for children.
    pub children_cpu: (u64, u64),
    /// Largest resident size in KiB, its children's included.
    pub max_rss: u64,
}

impl ProcessEntry {
    /// The leader, or the oldest thread once it is gone.
    pub fn member(&self) -> Option<&Arc<Task>> {
        self.tasks.first()
    }
}

/// All processes and threads of one sandbox.
#[derive(Default)]
pub struct Tree {
    processes: BTreeMap<u32, ProcessEntry>,
    tasks: BTreeMap<u32, Arc<Task>>,
    pgrps: BTreeMap<u32, Vec<u32>>,
    stopped: usize,
}

impl Tree {
    /// The process of this id, zombies included.
    pub fn process(&self, tgid: u32) -> Option<&ProcessEntry> {
        self.processes.get(&tgid)
    }

    /// The same, to change it.
    pub fn process_mut(&mut self, tgid: u32) -> Option<&mut ProcessEntry> {
        self.processes.get_mut(&tgid)
    }

    /// All processes in the order of their ids, zombies included.
    pub fn processes(&self) -> impl Iterator<Item = (u32, &ProcessEntry)> {
        self.processes.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many processes there are, zombies included.
    pub fn process_count(&self) -> usize {
        self.processes.len()
    }

    /// The living thread of this id.
    pub fn task(&self, tid: u32) -> Option<&Arc<Task>> {
        self.tasks.get(&tid)
    }

    /// All living threads.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// How many threads live.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// The process of this number in a namespace, zombies included.
    pub fn process_in(&self, ns: &PidNamespace, number: u32) -> Option<&ProcessEntry> {
        self.processes.get(&ns.global(number)?)
    }

    /// The living thread of this number in a namespace.
    pub fn task_in(&self, ns: &PidNamespace, number: u32) -> Option<&Arc<Task>> {
        self.tasks.get(&ns.global(number)?)
    }

    /// Enters a new process as a child of `entry.parent`.
    pub fn insert_process(&mut self, entry: ProcessEntry) {
        let id = entry.group.tgid;
        if let Some(parent) = self.processes.get_mut(&entry.parent) {
            parent.children.push(id);
        }
        for task in &entry.tasks {
            self.tasks.insert(task.tid(), Arc::clone(task));
        }
        self.pgrps.entry(entry.pgrp.global()).or_default().push(id);
        self.processes.insert(id, entry);
    }

    /// Enters a new thread of an existing process.
    ///
    /// # Errors
    /// ESRCH when the process is gone.
    pub fn insert_task(&mut self, task: &Arc<Task>) -> Result<()> {
        let entry = self.processes.get_mut(&task.tgid()).ok_or(Errno::ESRCH)?;
        entry.tasks.push(Arc::clone(task));
        self.tasks.insert(task.tid(), Arc::clone(task));
        Ok(())
    }

    /// Takes out a thread; says how many its process has left.
    pub fn remove_task(&mut self, task: &Arc<Task>) -> usize {
        if self.tasks.get(&task.tid()).is_some_and(|entry| Arc::ptr_eq(entry, task)) {
            self.tasks.remove(&task.tid());
        }
        let Some(entry) = self.processes.get_mut(&task.tgid()) else { return 0 };
        entry.tasks.retain(|other| !Arc::ptr_eq(other, task));
        entry.tasks.len()
    }

    /// Takes out a process that was waited for, or that nobody waits for.
    pub fn remove_process(&mut self, tgid: u32) -> Option<ProcessEntry> {
        let entry = self.processes.remove(&tgid)?;
        if let Some(parent) = self.processes.get_mut(&entry.parent) {
            parent.children.retain(|child| *child != tgid);
        }
        self.leave_pgrp(entry.pgrp.global(), tgid);
        if entry.stopped {
            self.stopped = self.stopped.saturating_sub(1);
        }
        Some(entry)
    }

    /// Makes `heir` the parent of a process.
    pub fn reparent(&mut self, tgid: u32, heir: u32, heir_task: u32) {
        let Some(entry) = self.processes.get_mut(&tgid) else { return };
        let old = core::mem::replace(&mut entry.parent, heir);
        entry.parent_task = heir_task;
        if let Some(parent) = self.processes.get_mut(&old) {
            parent.children.retain(|child| *child != tgid);
        }
        if let Some(parent) = self.processes.get_mut(&heir) {
            parent.children.push(tgid);
        }
    }

    /// Gives the thread the identity of its process's leader, in an `execve` by another thread.
    pub fn become_leader(&mut self, task: &Arc<Task>) {
        self.tasks.remove(&task.tid());
        task.set_pid(Arc::clone(&task.group.pid));
        self.tasks.insert(task.tid(), Arc::clone(task));
    }

    /// The processes of a process group.
    pub fn pgrp_members(&self, pgrp: u32) -> &[u32] {
        self.pgrps.get(&pgrp).map_or(&[], Vec::as_slice)
    }

    /// Moves a process to a process group and gives back the old one, to be dropped by the caller.
    pub fn set_pgrp(&mut self, tgid: u32, pgrp: Arc<Pid>) -> Option<Arc<Pid>> {
        let new = pgrp.global();
        let entry = self.processes.get_mut(&tgid)?;
        let old = core::mem::replace(&mut entry.pgrp, pgrp);
        self.leave_pgrp(old.global(), tgid);
        self.pgrps.entry(new).or_default().push(tgid);
        Some(old)
    }

    fn leave_pgrp(&mut self, pgrp: u32, tgid: u32) {
        if let Some(members) = self.pgrps.get_mut(&pgrp) {
            members.retain(|member| *member != tgid);
            if members.is_empty() {
                self.pgrps.remove(&pgrp);
            }
        }
    }

    /// Says whether a process is stopped.
    pub fn set_stopped(&mut self, tgid: u32, stopped: bool) {
        let Some(entry) = self.processes.get_mut(&tgid) else { return };
        match (core::mem::replace(&mut entry.stopped, stopped), stopped) {
            (false, true) => self.stopped += 1,
            (true, false) => self.stopped = self.stopped.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether any process is stopped.
    pub fn any_stopped(&self) -> bool {
        self.stopped > 0
    }
}
