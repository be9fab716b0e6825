//! Looking after processes from outside: listing, signals, pausing.

use std::sync::Arc;

use chitin_abi::signal::{SI_USER, SigInfo};
use chitin_abi::{Errno, Result};

use crate::kernel::Kernel;
use crate::limits::usage;
use crate::signal::send_to_group;
use crate::task::Task;

/// One process, as `ps` shows it.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// Global process id.
    pub id: u32,
    /// Process id in the container.
    pub pid: u32,
    /// Parent's process id in the container; 0 for none.
    pub parent: u32,
    /// Real user id.
    pub uid: u32,
    /// Name.
    pub name: Vec<u8>,
    /// Global id of the container's first process.
    pub container: u32,
    /// Threads.
    pub threads: usize,
    /// Whether it has ended and waits for its parent.
    pub zombie: bool,
    /// CPU time: user and system nanoseconds.
    pub cpu: (u64, u64),
    /// Nanoseconds since it started.
    pub age: u64,
    /// Resident bytes.
    pub resident: u64,
}

impl Kernel {
    /// A living thread of a process.
    pub fn member(&self, tgid: u32) -> Option<Arc<Task>> {
        self.tree.lock().process(tgid).and_then(|entry| entry.member().cloned())
    }

    /// All processes, or those of one container.
    pub fn processes(&self, container: Option<u32>) -> Vec<ProcessInfo> {
        let now = self.clock.monotonic();
        let (mut infos, members) = {
            let tree = self.tree.lock();
            let wanted = tree
                .processes()
                .filter(|(_, entry)| container.is_none_or(|id| entry.group.container == id));
            let pairs = wanted.map(|(id, entry)| {
                let info = ProcessInfo {
                    id,
                    pid: entry.group.pid.local(),
                    parent: tree.process(entry.parent).map_or(0, |parent| parent.group.pid.local()),
                    uid: entry.zombie.map_or(0, |zombie| zombie.uid),
                    name: entry.name.clone(),
                    container: entry.group.container,
                    threads: entry.tasks.len(),
                    zombie: entry.zombie.is_some(),
                    cpu: entry.zombie.map_or((0, 0), |zombie| zombie.cpu),
                    age: now.saturating_sub(entry.group.start_time),
                    resident: 0,
                };
                (info, entry.member().cloned())
            });
            pairs.unzip::<_, _, Vec<_>, Vec<_>>()
        };
        for (info, member) in infos.iter_mut().zip(members) {
            let Some(member) = member else { continue };
            info.uid = member.cred().ruid;
            info.name.clone_from(&member.name.lock());
            info.cpu = usage::process_cpu(&member);
            info.resident = member.mm().map_or(0, |mm| mm.host().resident().0);
        }
        infos
    }

    /// Sends a signal from outside to a process.
    ///
    /// # Errors
    /// ESRCH when it is gone, EINVAL for a number that is no signal.
    pub fn kill(&self, tgid: u32, signal: u32) -> Result<()> {
        let member = self.member(tgid).ok_or(Errno::ESRCH)?;
        send_to_group(&member, SigInfo::user(signal, SI_USER, 0, 0))
    }

    /// Sends a signal from outside to all processes of a container.
    ///
    /// # Errors
    /// ESRCH when there is none, EINVAL for a number that is no signal.
    pub fn kill_all(&self, container: u32, signal: u32) -> Result<()> {
        let members: Vec<_> = {
            let tree = self.tree.lock();
            let inside = tree.processes().filter(|(_, entry)| entry.group.container == container);
            inside.filter_map(|(_, entry)| entry.member().cloned()).collect()
        };
        if members.is_empty() {
            return Err(Errno::ESRCH);
        }
        for member in members {
            send_to_group(&member, SigInfo::user(signal, SI_USER, 0, 0))?;
        }
        Ok(())
    }

    /// Waits until a process that was started from outside has ended; its wait status. Blocks the calling thread.
    pub fn wait_exit(&self, tgid: u32) -> i32 {
        self.exits.wait(tgid)
    }

    /// Makes all guest threads stand still as soon as they come to the kernel, which they are made to.
    pub fn pause(&self) {
        self.frozen.set(true);
        self.interrupt_all();
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.frozen.set(false);
        self.interrupt_all();
    }

    fn interrupt_all(&self) {
        let tasks: Vec<_> = self.tree.lock().tasks().cloned().collect();
        for task in tasks {
            task.interrupt.raise();
        }
    }
}
