//! System V semaphores.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chitin_abi::ipc::{IPC_NOWAIT, SEM_UNDO, SEMAEM, SEMVMX, Sembuf, SemidDs};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;

use super::ids::{IdTable, Object};
use super::perm::{Caller, Permission, READ, WRITE};

/// Most sets of a namespace.
pub const SETS_MAX: usize = chitin_abi::ipc::SEMMNI as usize;
/// Most semaphores of a set.
pub const SET_SIZE_MAX: u32 = chitin_abi::ipc::SEMMSL;
/// Most semaphores of a namespace: fewer than `kernel.sem` says, because they are our memory.
const SEMAPHORES_MAX: usize = 1 << 20;
/// Most operations of a call.
pub const OPERATIONS_MAX: usize = chitin_abi::ipc::SEMOPM as usize;

const VALUE_MAX: i32 = SEMVMX as i32;

#[derive(Clone, Copy, Debug, Default)]
struct Semaphore {
    value: i32,
    pid: i32,
}

struct State {
    permission: Permission,
    values: Vec<Semaphore>,
    /// What each process wants to be added when it exits.
    undo: HashMap<u32, BTreeMap<u16, i32>>,
    /// Who sleeps: number of the semaphore, and whether for zero.
    sleepers: Vec<(u64, u16, bool)>,
    next_sleeper: u64,
    operation_time: i64,
    change_time: i64,
    removed: bool,
}

/// A set of semaphores.
pub struct SemSet {
    id: i32,
    /// How many there are.
    pub size: usize,
    state: Mutex<State>,
    /// Notified when values change or the set goes.
    pub queue: Arc<WaitQueue>,
    total: Arc<AtomicUsize>,
}

impl Drop for SemSet {
    fn drop(&mut self) {
        self.total.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl Object for SemSet {
    fn permission(&self) -> Permission {
        self.state.lock().permission
    }
}

/// How an attempt of a list of operations went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// All were done.
    Done,
    /// This one has to wait: number of the semaphore, and whether for zero.
    Blocked(u16, bool),
}

/// `semget(2)`.
///
/// # Errors
/// EINVAL, and those of [`IdTable::get_or_create`].
pub fn get(
    table: &IdTable<SemSet>,
    total: &Arc<AtomicUsize>,
    key: i32,
    size: i32,
    flags: u32,
    caller: &Caller<'_>,
) -> Result<i32> {
    let size = u32::try_from(size).ok().filter(|size| *size <= SET_SIZE_MAX).ok_or(Errno::EINVAL)?
        as usize;
    let check = |set: &SemSet| if size > set.size { Err(Errno::EINVAL) } else { Ok(()) };
    table.get_or_create(key, flags, caller, check, |_, id| {
        if size == 0 {
            return Err(Errno::EINVAL);
        }
        if total.load(Ordering::Relaxed).saturating_add(size) > SEMAPHORES_MAX {
            return Err(Errno::ENOSPC);
        }
        total.fetch_add(size, Ordering::Relaxed);
        let state = State {
            permission: caller.new_permission(flags),
            values: vec![Semaphore::default(); size],
            undo: HashMap::new(),
            sleepers: Vec::new(),
            next_sleeper: 0,
            operation_time: 0,
            change_time: caller.now,
            removed: false,
        };
        Ok(Arc::new(SemSet {
            id,
            size,
            state: Mutex::new(state),
            queue: Arc::default(),
            total: Arc::clone(total),
        }))
    })
}

impl SemSet {
    fn changed(&self) {
        self.queue.notify(PollEvents::POLLIN);
    }

    /// Checks a list of operations before it is first tried.
    ///
    /// # Errors
    /// EFBIG, EACCES.
    pub fn check(&self, operations: &[Sembuf], caller: &Caller<'_>) -> Result<()> {
        if operations.iter().any(|operation| usize::from(operation.sem_num) >= self.size) {
            return Err(Errno::EFBIG);
        }
        let alters = operations.iter().any(|operation| operation.sem_op != 0);
        caller.check(&self.permission(), if alters { WRITE } else { READ })
    }

    /// Tries to do all of a list of operations at once.
    ///
    /// # Errors
    /// EIDRM if the set is gone, EAGAIN for one that would block and must not, ERANGE.
    pub fn attempt(&self, operations: &[Sembuf], caller: &Caller<'_>) -> Result<Attempt> {
        let alters = {
            let mut state = self.state.lock();
            if state.removed {
                return Err(Errno::EIDRM);
            }
            let mut values: Vec<i32> =
                state.values.iter().map(|semaphore| semaphore.value).collect();
            let mut undo = state.undo.get(&caller.tgid).cloned();
            for operation in operations {
                let index = usize::from(operation.sem_num);
                let value = values.get_mut(index).ok_or(Errno::EFBIG)?;
                let change = i32::from(operation.sem_op);
                let zero = change == 0;
                if (zero && *value != 0) || value.saturating_add(change) < 0 {
                    if operation.sem_flg as u16 as u32 & IPC_NOWAIT != 0 {
                        return Err(Errno::EAGAIN);
                    }
                    return Ok(Attempt::Blocked(operation.sem_num, zero));
                }
                let new = value.saturating_add(change);
                if new > VALUE_MAX {
                    return Err(Errno::ERANGE);
                }
                if operation.sem_flg as u16 as u32 & SEM_UNDO != 0 {
                    let undo = undo.get_or_insert_default();
                    let adjustment = undo.entry(operation.sem_num).or_insert(0);
                    let changed = adjustment.saturating_sub(change);
                    let most = SEMAEM as i32;
                    if changed < -most - 1 || changed > most {
                        return Err(Errno::ERANGE);
                    }
                    *adjustment = changed;
                }
                *value = new;
            }
            for (semaphore, value) in state.values.iter_mut().zip(values) {
                semaphore.value = value;
            }
            for operation in operations {
                if let Some(semaphore) = state.values.get_mut(usize::from(operation.sem_num)) {
                    semaphore.pid = caller.pid;
                }
            }
            if let Some(undo) = undo {
                state.undo.insert(caller.tgid, undo);
            }
            state.operation_time = caller.now;
            operations.iter().any(|operation| operation.sem_op != 0)
        };
        if alters {
            self.changed();
        }
        Ok(Attempt::Done)
    }

    /// Counts a sleeper until the returned guard is dropped.
    pub fn sleep(&self, semaphore: u16, zero: bool) -> Sleeper<'_> {
        let mut state = self.state.lock();
        let id = state.next_sleeper;
        state.next_sleeper = id.wrapping_add(1);
        state.sleepers.push((id, semaphore, zero));
        Sleeper { set: self, id }
    }

    fn semaphore(&self, index: i32) -> Result<Semaphore> {
        let state = self.state.lock();
        if state.removed {
            return Err(Errno::EIDRM);
        }
        let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
        state.values.get(index).copied().ok_or(Errno::EINVAL)
    }

    /// `GETVAL`.
    ///
    /// # Errors
    /// EINVAL for a number that is none, EIDRM.
    pub fn value(&self, index: i32) -> Result<u64> {
        Ok(u64::from(self.semaphore(index)?.value.unsigned_abs()))
    }

    /// `GETPID`.
    ///
    /// # Errors
    /// As [`SemSet::value`].
    pub fn pid(&self, index: i32) -> Result<u64> {
        Ok(u64::from(self.semaphore(index)?.pid.unsigned_abs()))
    }

    /// `GETNCNT` and `GETZCNT`.
    ///
    /// # Errors
    /// As [`SemSet::value`].
    pub fn sleepers(&self, index: i32, zero: bool) -> Result<u64> {
        self.semaphore(index)?;
        let state = self.state.lock();
        let count = state
            .sleepers
            .iter()
            .filter(|(_, semaphore, for_zero)| i32::from(*semaphore) == index && *for_zero == zero);
        Ok(count.count() as u64)
    }

    /// `GETALL`.
    pub fn values(&self) -> Vec<u16> {
        self.state.lock().values.iter().map(|semaphore| semaphore.value as u16).collect()
    }

    /// `SETVAL`.
    ///
    /// # Errors
    /// EINVAL, EIDRM.
    pub fn set_value(&self, index: i32, value: i32, caller: &Caller<'_>) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.removed {
                return Err(Errno::EIDRM);
            }
            let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
            let semaphore = state.values.get_mut(index).ok_or(Errno::EINVAL)?;
            *semaphore = Semaphore { value, pid: caller.pid };
            for undo in state.undo.values_mut() {
                undo.remove(&(index as u16));
            }
            state.change_time = caller.now;
        }
        self.changed();
        Ok(())
    }

    /// `SETALL`.
    ///
    /// # Errors
    /// ERANGE, EIDRM.
    pub fn set_values(&self, values: &[u16], caller: &Caller<'_>) -> Result<()> {
        if values.iter().any(|value| i32::from(*value) > VALUE_MAX) {
            return Err(Errno::ERANGE);
        }
        {
            let mut state = self.state.lock();
            if state.removed {
                return Err(Errno::EIDRM);
            }
            for (semaphore, value) in state.values.iter_mut().zip(values) {
                *semaphore = Semaphore { value: i32::from(*value), pid: caller.pid };
            }
            state.undo.clear();
            state.change_time = caller.now;
        }
        self.changed();
        Ok(())
    }

    /// `IPC_SET`.
    ///
    /// # Errors
    /// EINVAL.
    pub fn set(&self, caller: &Caller<'_>, new: &SemidDs) -> Result<()> {
        let mut state = self.state.lock();
        caller.apply(&mut state.permission, &new.sem_perm)?;
        state.change_time = caller.now;
        Ok(())
    }

    /// It has been taken out of the table: sleepers learn of it.
    pub fn removed(&self) {
        self.state.lock().removed = true;
        self.changed();
    }

    /// What `IPC_STAT` shows.
    pub fn stat(&self, caller: &Caller<'_>, key: i32) -> SemidDs {
        let state = self.state.lock();
        SemidDs {
            sem_perm: caller.show(&state.permission, key, self.id),
            sem_otime: state.operation_time,
            sem_ctime: state.change_time,
            sem_nsems: self.size as u64,
            ..SemidDs::default()
        }
    }

    /// A process is gone.
    fn undo(&self, tgid: u32) {
        {
            let mut state = self.state.lock();
            let Some(undo) = state.undo.remove(&tgid) else { return };
            for (index, adjustment) in undo {
                if let Some(semaphore) = state.values.get_mut(usize::from(index)) {
                    semaphore.value =
                        semaphore.value.saturating_add(adjustment).clamp(0, VALUE_MAX);
                }
            }
        }
        self.changed();
    }
}

/// A process is gone: its adjustments are made in all sets of a namespace.
pub fn undo_all(table: &IdTable<SemSet>, tgid: u32) {
    if table.count() == 0 {
        return;
    }
    for (_, _, set) in table.all() {
        set.undo(tgid);
    }
}

/// Keeps a sleeper counted.
pub struct Sleeper<'a> {
    set: &'a SemSet,
    id: u64,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.set.state.lock().sleepers.retain(|(id, _, _)| *id != self.id);
    }
}
