//! Leases (`fcntl(F_SETLEASE)`): an open file's promise to be told before somebody else uses the file otherwise.
//!
//! Model: a file has leases of open file descriptions, read leases (broken by who writes) or one write lease (broken by
//! anybody). Who breaks one marks it, tells its holder, and waits on the file's lock queue until the holder has given it
//! up or weakened it, or the time for that is over ([`LeaseWait`]).
//!
//! Cost of an open of a file without leases: one atomic load, if it has ever been locked.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};

use super::{FileLocks, LockKind, State};
use crate::file::OpenFile;
use crate::inode_state::InodeState;
use crate::path::Path;
use crate::wait::{Observer, WaitQueue};

/// What a lease that is being broken is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaking {
    ToRead,
    ToNothing,
}

pub(super) struct Lease {
    /// The open file description that holds it.
    file: u64,
    pid: i32,
    kind: LockKind,
    breaking: Option<Breaking>,
    /// When the holder's time is over: nanoseconds of `CLOCK_REALTIME`.
    deadline: u64,
    holder: Arc<dyn Observer>,
}

/// A lease as `/proc/locks` shows it.
#[derive(Clone, Copy, Debug)]
pub struct LeaseInfo {
    /// The open file description that holds it.
    pub file: u64,
    /// Process id of who took it.
    pub pid: i32,
    /// Shared for a read lease.
    pub kind: LockKind,
    /// Somebody waits for it to be given up.
    pub breaking: bool,
}

impl Lease {
    /// Whether somebody who reads, or writes, must wait for it.
    fn excludes(&self, writes: bool) -> bool {
        writes || self.kind == LockKind::Exclusive
    }

    /// Weakens it as it should have been; whether anything is left.
    fn expire(&mut self) -> bool {
        let left = self.breaking == Some(Breaking::ToRead);
        self.kind = LockKind::Shared;
        self.breaking = None;
        left
    }
}

fn expire(leases: &mut Vec<Lease>, now: u64) {
    leases.retain_mut(|lease| lease.breaking.is_none() || now < lease.deadline || lease.expire());
}

/// Whether an open file description is the only one that uses its file, as a write lease demands.
fn is_only_user(file: &OpenFile, state: &InodeState) -> bool {
    let (readers, writers) = state.users();
    let own = i64::from(file.writable());
    writers == own && readers == i64::from(!file.writable() && file.readable())
}

impl FileLocks {
    fn refresh(&self, state: &State) {
        self.leases.store(state.leases.len(), Ordering::Release);
    }

    /// Takes, weakens or strengthens a lease. `holder` is told when somebody wants to break it.
    ///
    /// # Errors
    /// EAGAIN where others use the file so that it cannot be had.
    pub fn set_lease(
        &self,
        file: &OpenFile,
        pid: i32,
        kind: LockKind,
        holder: Arc<dyn Observer>,
    ) -> Result<()> {
        let users = file.state().ok_or(Errno::EINVAL)?;
        let free = match kind {
            LockKind::Shared => !users.has_writers(),
            LockKind::Exclusive => is_only_user(file, users),
        };
        if !free {
            return Err(Errno::EAGAIN);
        }
        let old = {
            let mut state = self.state.lock();
            let others = state.leases.iter().filter(|lease| lease.file != file.id());
            let in_way = |lease: &Lease| {
                kind == LockKind::Exclusive || lease.breaking == Some(Breaking::ToNothing)
            };
            if others.into_iter().any(in_way) {
                return Err(Errno::EAGAIN);
            }
            let at = state.leases.iter().position(|lease| lease.file == file.id());
            let old = at.map(|at| state.leases.swap_remove(at));
            let breaking = old.as_ref().and_then(|old| old.breaking);
            let breaking = breaking.filter(|breaking| *breaking == Breaking::ToNothing);
            let deadline = old.as_ref().map_or(0, |old| old.deadline);
            state.leases.push(Lease { file: file.id(), pid, kind, breaking, deadline, holder });
            self.refresh(&state);
            old
        };
        self.released(old.is_some());
        Ok(())
    }

    /// Gives up the lease of an open file description.
    ///
    /// # Errors
    /// EAGAIN where it has none.
    pub fn drop_lease(&self, file: u64) -> Result<()> {
        if self.leases.load(Ordering::Acquire) == 0 {
            return Err(Errno::EAGAIN);
        }
        let old = {
            let mut state = self.state.lock();
            let at = state.leases.iter().position(|lease| lease.file == file);
            let old = state.leases.swap_remove(at.ok_or(Errno::EAGAIN)?);
            self.refresh(&state);
            old
        };
        drop(old);
        self.released(true);
        Ok(())
    }

    /// The lease of an open file description: what it is, or what it is to become.
    pub fn lease_of(&self, file: u64, now: u64) -> Option<LockKind> {
        let mut state = self.state.lock();
        expire(&mut state.leases, now);
        self.refresh(&state);
        let lease = state.leases.iter().find(|lease| lease.file == file)?;
        match lease.breaking {
            Some(Breaking::ToNothing) => None,
            Some(Breaking::ToRead) => Some(LockKind::Shared),
            None => Some(lease.kind),
        }
    }

    /// All leases.
    pub fn list_leases(&self) -> Vec<LeaseInfo> {
        let state = self.state.lock();
        let info = |lease: &Lease| LeaseInfo {
            file: lease.file,
            pid: lease.pid,
            kind: lease.kind,
            breaking: lease.breaking.is_some(),
        };
        state.leases.iter().map(info).collect()
    }

    /// Starts breaking what is in the way of a use, whose time ends at `deadline`; whether something is.
    fn break_leases(&self, writes: bool, deadline: u64) -> bool {
        if self.leases.load(Ordering::Acquire) == 0 {
            return false;
        }
        let holders: Vec<Arc<dyn Observer>> = {
            let mut state = self.state.lock();
            let mut told = Vec::new();
            for lease in state.leases.iter_mut().filter(|lease| lease.excludes(writes)) {
                let wanted = if writes { Breaking::ToNothing } else { Breaking::ToRead };
                if lease.breaking == Some(Breaking::ToNothing) || lease.breaking == Some(wanted) {
                    continue;
                }
                lease.breaking = Some(wanted);
                lease.deadline = deadline;
                told.push(Arc::clone(&lease.holder));
            }
            told
        };
        for holder in &holders {
            holder.notify(PollEvents::POLLPRI);
        }
        self.is_leased(writes, 0)
    }

    fn is_leased(&self, writes: bool, now: u64) -> bool {
        let mut state = self.state.lock();
        expire(&mut state.leases, now);
        self.refresh(&state);
        state.leases.iter().any(|lease| lease.excludes(writes))
    }
}

/// A use of a file that must wait until leases have been given up.
pub struct LeaseWait {
    path: Path,
    writes: bool,
    /// When the holders' time is over: nanoseconds of `CLOCK_REALTIME`.
    pub deadline: u64,
}

impl LeaseWait {
    /// Starts breaking the leases that are in the way of a use; `None` where there are none. Their holders' time
    /// ends at `deadline`.
    pub fn begin(path: &Path, writes: bool, deadline: impl FnOnce() -> u64) -> Option<Self> {
        let locks = path.dentry().inode().state().locks_if_any()?;
        if locks.leases.load(Ordering::Acquire) == 0 {
            return None;
        }
        let deadline = deadline();
        let waits = locks.break_leases(writes, deadline);
        waits.then(|| Self { path: path.clone(), writes, deadline })
    }

    fn locks(&self) -> &FileLocks {
        self.path.dentry().inode().state().locks()
    }

    /// Where changes of [`LeaseWait::is_over`] are told.
    pub fn wait_queue(&self) -> &Arc<WaitQueue> {
        self.locks().queue()
    }

    /// Whether nothing is in the way any more.
    pub fn is_over(&self, now: u64) -> bool {
        !self.locks().is_leased(self.writes, now)
    }
}
