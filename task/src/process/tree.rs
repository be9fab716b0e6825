//! The process tree: ids, parents and children, threads, sessions, process groups, zombies.
//!
//! Invariants: every process but the first has a parent entry; a zombie has no threads; an id is free only
//! when no thread, process, process group or session has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chitin_abi::{Errno, Result};

use super::ThreadGroup;
use crate::task::Task;

/// Ids wrap here (`/proc/sys/kernel/pid_max`).
pub const PID_MAX: u32 = 4_194_304;

/// What the tree knows of one process.
pub struct ProcessEntry {
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// Parent's process id; 0 for the first process.
    pub parent: u32,
    /// The signal that the parent gets when it exits; 0 for none.
    pub exit_signal: u32,
    /// Children, oldest first.
    pub children: Vec<u32>,
    /// Living threads, the leader first while it lives.
    pub tasks: Vec<Arc<Task>>,
    /// Process group.
    pub pgrp: u32,
    /// Session.
    pub session: u32,
    /// Wait status, once the last thread has exited and the parent may wait for it.
    pub zombie: Option<Zombie>,
    /// A stop (the signal) that `wait` with `WUNTRACED` has not reported yet.
    pub stop_report: Option<u32>,
    /// A continuation that `wait` with `WCONTINUED` has not reported yet.
    pub continue_report: bool,
    /// Whether it is stopped now.
    pub stopped: bool,
}

/// What is left of a process.
#[derive(Clone, Copy, Debug)]
pub struct Zombie {
    /// Wait status as `wait(2)` reports it.
    pub status: i32,
    /// Real user id at its end.
    pub uid: u32,
    /// CPU time with its waited-for children's: user, system nanoseconds.
    pub cpu: (u64, u64),
}

/// All processes and threads of one sandbox.
#[derive(Default)]
pub struct Tree {
    processes: BTreeMap<u32, ProcessEntry>,
    tasks: BTreeMap<u32, Arc<Task>>,
    last_id: u32,
}

impl Tree {
    /// An id that nothing uses.
    ///
    /// # Errors
    /// EAGAIN when all are taken.
    pub fn allocate_id(&mut self) -> Result<u32> {
        for _ in 0..PID_MAX {
            self.last_id = if self.last_id + 1 >= PID_MAX { 300 } else { self.last_id + 1 };
            if !self.id_in_use(self.last_id) {
                return Ok(self.last_id);
            }
        }
        Err(Errno::EAGAIN)
    }

    fn id_in_use(&self, id: u32) -> bool {
        self.tasks.contains_key(&id)
            || self.processes.contains_key(&id)
            || (self.last_id < id && self.processes.values().any(|entry| entry.pgrp == id || entry.session == id))
    }

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

    /// Enters a new process as a child of `entry.parent`.
    pub fn insert_process(&mut self, entry: ProcessEntry) {
        let id = entry.group.tgid;
        if let Some(parent) = self.processes.get_mut(&entry.parent) {
            parent.children.push(id);
        }
        for task in &entry.tasks {
            self.tasks.insert(task.tid(), Arc::clone(task));
        }
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
        Some(entry)
    }

    /// Gives the thread a new id (the leader's, in an `execve` by another thread).
    pub fn rename_task(&mut self, task: &Arc<Task>, tid: u32) {
        self.tasks.remove(&task.tid());
        task.set_tid(tid);
        self.tasks.insert(tid, Arc::clone(task));
    }

    /// The processes of a process group.
    pub fn group_members(&self, pgrp: u32) -> Vec<u32> {
        self.processes.iter().filter(|(_, entry)| entry.pgrp == pgrp).map(|(id, _)| *id).collect()
    }
}
