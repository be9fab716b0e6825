//! Process ids and pid namespaces (`pid_namespaces(7)`).
//!
//! A [`Pid`] is an identity with one number that is unique in the sandbox, by which the kernel's own tables go,
//! and one number in each namespace from which it can be seen. It lives as long as a task, process, process
//! group or session has it, and frees its numbers when it goes: nobody has to ask whether a number is in use.
//!
//! Lock: a namespace's numbers, a leaf.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{UserNamespace, initial_id};

/// Ids wrap here (`/proc/sys/kernel/pid_max`).
pub const PID_MAX: u32 = 4_194_304;
/// Where numbers start again after wrapping (`RESERVED_PIDS`).
const RESERVED: u32 = 300;
/// How deep pid namespaces may be nested.
const MAX_LEVEL: u32 = 32;

/// Numbers in use, and whom they belong to.
#[derive(Default)]
struct Numbers {
    last: u32,
    used: BTreeMap<u32, u32>,
}

impl Numbers {
    fn allocate(&mut self, wanted: Option<u32>, global: u32) -> Result<u32> {
        let number = match wanted {
            Some(number) if self.used.contains_key(&number) => return Err(Errno::EEXIST),
            Some(number) => number,
            None => self.next_free()?,
        };
        self.used.insert(number, if global == 0 { number } else { global });
        Ok(number)
    }

    fn next_free(&mut self) -> Result<u32> {
        for _ in 0..PID_MAX {
            self.last = if self.last + 1 >= PID_MAX { RESERVED } else { self.last + 1 };
            if !self.used.contains_key(&self.last) {
                return Ok(self.last);
            }
        }
        Err(Errno::EAGAIN)
    }
}

/// Hands out the numbers that are unique in the sandbox.
#[derive(Default)]
pub struct GlobalNumbers {
    numbers: Mutex<Numbers>,
}

/// A pid namespace.
pub struct PidNamespace {
    /// Inode number in /proc/pid/ns.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    parent: Option<Arc<PidNamespace>>,
    level: u32,
    numbers: Mutex<Numbers>,
    closed: AtomicBool,
    /// Notified when a process of it has gone.
    pub gone: Arc<WaitQueue>,
}

impl PidNamespace {
    /// The namespace of a container: nothing outside sees its processes.
    pub fn initial(user_ns: Arc<UserNamespace>) -> Arc<Self> {
        Arc::new(Self {
            id: initial_id::PID,
            user_ns,
            parent: None,
            level: 0,
            numbers: Mutex::default(),
            closed: AtomicBool::new(false),
            gone: Arc::default(),
        })
    }

    /// A namespace whose processes are also seen in `parent`.
    ///
    /// # Errors
    /// ENOSPC when nested too deeply.
    pub fn new(parent: &Arc<Self>, id: u64, user_ns: Arc<UserNamespace>) -> Result<Arc<Self>> {
        if parent.level >= MAX_LEVEL {
            return Err(Errno::ENOSPC);
        }
        Ok(Arc::new(Self {
            id,
            user_ns,
            parent: Some(Arc::clone(parent)),
            level: parent.level + 1,
            numbers: Mutex::default(),
            closed: AtomicBool::new(false),
            gone: Arc::default(),
        }))
    }

    /// The namespace around it.
    pub fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// Depth; 0 for a container's own.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Whether it is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        let mut at = Some(self);
        while let Some(ns) = at {
            if core::ptr::eq(ns, ancestor) {
                return true;
            }
            at = ns.parent.as_deref();
        }
        false
    }

    /// The kernel's number for one of this namespace.
    pub fn global(&self, number: u32) -> Option<u32> {
        self.numbers.lock().used.get(&number).copied()
    }

    /// No process can be made in it any more: its first one has exited.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether its first process has exited.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The number that was handed out last (`/proc/loadavg`, `ns_last_pid`).
    pub fn last(&self) -> u32 {
        self.numbers.lock().last
    }

    /// Makes the next number this one plus one (`ns_last_pid`).
    pub fn set_last(&self, last: u32) {
        self.numbers.lock().last = last.min(PID_MAX - 1);
    }
}

/// The identity of a task, process, process group or session.
pub struct Pid {
    global: u32,
    numbers: Arc<GlobalNumbers>,
    /// From the innermost namespace outwards.
    levels: SmallVec<[(Arc<PidNamespace>, u32); 1]>,
}

impl Pid {
    /// A new identity in `ns` and all namespaces around it. `wanted` are numbers asked for, innermost first.
    ///
    /// # Errors
    /// EAGAIN when there is no number left, EEXIST when a wanted one is taken, ENOMEM in a closed namespace.
    pub fn new(
        kernel: &Arc<GlobalNumbers>,
        ns: &Arc<PidNamespace>,
        wanted: &[u32],
    ) -> Result<Arc<Self>> {
        if ns.is_closed() {
            return Err(Errno::ENOMEM);
        }
        let global = kernel.numbers.lock().allocate(None, 0)?;
        let mut pid = Self { global, numbers: Arc::clone(kernel), levels: SmallVec::new() };
        let mut at = Some(ns);
        let mut wanted = wanted.iter();
        while let Some(level) = at {
            // Dropping `pid` on failure gives back what it has so far.
            let number = level.numbers.lock().allocate(wanted.next().copied(), global)?;
            pid.levels.push((Arc::clone(level), number));
            at = level.parent.as_ref();
        }
        Ok(Arc::new(pid))
    }

    /// The number that the kernel's own tables go by.
    pub fn global(&self) -> u32 {
        self.global
    }

    /// The number in its own namespace.
    pub fn local(&self) -> u32 {
        self.levels.first().map_or(0, |(_, number)| *number)
    }

    /// Its own namespace.
    pub fn namespace(&self) -> Option<&Arc<PidNamespace>> {
        self.levels.first().map(|(ns, _)| ns)
    }

    /// The number in a namespace; 0 where it cannot be seen.
    pub fn in_ns(&self, ns: &PidNamespace) -> u32 {
        self.levels
            .iter()
            .find(|(level, _)| core::ptr::eq(Arc::as_ptr(level), ns))
            .map_or(0, |(_, number)| *number)
    }

    /// Namespaces and numbers, innermost first.
    pub fn levels(&self) -> &[(Arc<PidNamespace>, u32)] {
        &self.levels
    }
}

impl Drop for Pid {
    fn drop(&mut self) {
        for (ns, number) in &self.levels {
            ns.numbers.lock().used.remove(number);
        }
        self.numbers.numbers.lock().used.remove(&self.global);
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Errno, GlobalNumbers, Pid, PidNamespace, UserNamespace};

    #[test]
    fn numbers_per_level_and_freed() {
        let kernel = Arc::new(GlobalNumbers::default());
        let user = UserNamespace::initial();
        let outer = PidNamespace::initial(user.clone());
        let inner = PidNamespace::new(&outer, 7, user).expect("shallow");
        let first = Pid::new(&kernel, &outer, &[]).expect("free");
        let nested = Pid::new(&kernel, &inner, &[]).expect("free");
        assert_eq!((first.local(), nested.local(), nested.in_ns(&outer)), (1, 1, 2));
        assert_eq!(first.in_ns(&inner), 0);
        assert_eq!(inner.global(1), Some(nested.global()));
        assert_eq!(Pid::new(&kernel, &outer, &[2]).err(), Some(Errno::EEXIST));
        drop(nested);
        assert_eq!((inner.global(1), outer.global(2)), (None, None));
        assert!(Pid::new(&kernel, &outer, &[2]).is_ok());
    }
}
