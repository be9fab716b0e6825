//! Stubs that live, and the thread that notices when one does not.
//!
//! The thread blocks in `waitid` on the stubs' process group, so that it neither sees nor reaps other children.
//! It looks at a dead stub before it reaps it: until then the id cannot belong to another process.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::process::Process;
use crate::raw::host;

#[derive(Default)]
struct State {
    processes: HashMap<i32, Arc<Process>>,
    /// Stubs that are being copied.
    parents: Vec<Weak<Process>>,
    /// Copies under way.
    forks: usize,
    /// Stubs that ended before they were known; empty while no copy is under way.
    early: HashSet<i32>,
}

/// See the module.
#[derive(Default)]
pub struct Registry {
    state: Mutex<State>,
}

impl Registry {
    /// A stub is going to be copied.
    pub fn begin_fork(&self, parent: &Arc<Process>) {
        let mut state = self.state.lock();
        state.forks += 1;
        state.parents.retain(|parent| parent.strong_count() > 0);
        state.parents.push(Arc::downgrade(parent));
    }

    /// That is over.
    pub fn end_fork(&self) {
        let mut state = self.state.lock();
        state.forks = state.forks.saturating_sub(1);
        if state.forks == 0 {
            state.early.clear();
            state.parents.clear();
        }
    }

    /// A stub has said hello; says whether it is dead already.
    pub fn add(&self, process: &Arc<Process>) -> bool {
        let mut state = self.state.lock();
        if state.early.remove(&process.pid) {
            return true;
        }
        state.processes.insert(process.pid, Arc::clone(process));
        false
    }

    /// All stubs.
    pub fn all(&self) -> Vec<Arc<Process>> {
        self.state.lock().processes.values().cloned().collect()
    }

    /// Notices the end of one stub of this group; false when there can be none any more.
    pub fn reap_one(&self, group: i32) -> bool {
        let ended = match host::wait_any(group, true) {
            Ok(ended) => ended,
            Err(error) => return error.raw_os_error() == Some(libc::EINTR),
        };
        let mut state = self.state.lock();
        let process = state.processes.remove(&ended.pid);
        if let Some(process) = &process {
            process.set_ended(ended.cpu);
        } else if state.forks > 0 {
            state.early.insert(ended.pid);
        }
        let _ = host::reap(ended.pid);
        let parents = if process.is_none() { state.parents.clone() } else { Vec::new() };
        drop(state);
        if let Some(process) = process {
            process.bury();
            process.tell_death();
        }
        for parent in parents.iter().filter_map(Weak::upgrade) {
            parent.pump();
        }
        true
    }
}
