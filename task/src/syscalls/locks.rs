//! Locks on files: `flock(2)` and the record locks of `fcntl(2)`.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::fs::{
    F_OWNER_PID, F_RDLCK, F_UNLCK, F_WRLCK, Flock, LOCK_EX, LOCK_MAND, LOCK_NB, LOCK_SH, LOCK_UN,
    SEEK_CUR, SEEK_END, SEEK_SET,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::process::CAP_LEASE;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::OpenFile;
use chitin_vfs::locks::{LockKind, LockOwner, LockRange, LockRequest, RecordLock};

use super::args::Fd;
use crate::context::Ctx;
use crate::error::SysResult;

/// What a lock that goes is told by.
const RELEASED: PollEvents = PollEvents::all();

/// `flock(2)`.
pub async fn flock(cx: &mut Ctx<'_>, fd: Fd, op: u32) -> SysResult {
    if op & LOCK_MAND != 0 {
        // Mandatory locks are gone; asking for them does nothing.
        return Ok(0);
    }
    let kind = match op & !LOCK_NB {
        LOCK_SH => Some(LockKind::Shared),
        LOCK_EX => Some(LockKind::Exclusive),
        LOCK_UN => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let file = cx.file(fd.0)?;
    let locks = file.lockable_state().locks();
    let Some(kind) = kind else {
        locks.funlock(file.id());
        return Ok(0);
    };
    let pid = cx.task.tgid().cast_signed();
    let attempt = || locks.flock(file.id(), pid, kind);
    cx.blocking(Some(locks.queue()), RELEASED, op & LOCK_NB != 0, attempt).await?;
    Ok(0)
}

/// Whose lock a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `F_SETLK`: the process's.
    Posix,
    /// `F_OFD_SETLK`: the open file description's.
    Description,
}

fn owner(cx: &Ctx<'_>, file: &OpenFile, kind: Kind) -> LockOwner {
    match kind {
        Kind::Posix => LockOwner::Table(cx.task.files().id()),
        Kind::Description => LockOwner::File(file.id()),
    }
}

fn range(file: &OpenFile, lock: &Flock) -> Result<LockRange> {
    let base = match lock.l_whence as u32 {
        SEEK_SET => 0,
        SEEK_CUR => *file.position.lock(),
        SEEK_END => file.attr()?.size,
        _ => return Err(Errno::EINVAL),
    };
    LockRange::new(base, lock.l_start, lock.l_len)
}

fn record(cx: &Ctx<'_>, file: &OpenFile, lock: &Flock, kind: Kind) -> Result<RecordLock> {
    let shared = match lock.l_type as u32 {
        F_RDLCK => LockKind::Shared,
        F_WRLCK => LockKind::Exclusive,
        _ => return Err(Errno::EINVAL),
    };
    let pid = if kind == Kind::Posix { cx.task.tgid().cast_signed() } else { -1 };
    Ok(RecordLock { owner: owner(cx, file, kind), pid, kind: shared, range: range(file, lock)? })
}

/// `F_GETLEASE`.
pub fn lease(cx: &Ctx<'_>, file: &OpenFile) -> u64 {
    let now = cx.kernel().clock.realtime();
    let now = now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000);
    let locks = file.state().and_then(|state| state.locks_if_any());
    let kind = locks.and_then(|locks| locks.lease_of(file.id(), now));
    u64::from(match kind {
        Some(LockKind::Shared) => F_RDLCK,
        Some(LockKind::Exclusive) => F_WRLCK,
        None => F_UNLCK,
    })
}

/// `F_SETLEASE`.
///
/// # Errors
/// EINVAL, EACCES, EAGAIN.
pub fn set_lease(cx: &Ctx<'_>, fd: Fd, file: &Arc<OpenFile>, kind: u32) -> Result<()> {
    let kind = match kind {
        F_RDLCK => Some(LockKind::Shared),
        F_WRLCK => Some(LockKind::Exclusive),
        F_UNLCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let (attr, cred) = (file.attr()?, cx.task.cred().fs_cred());
    if !attr.is_regular() || !cx.kernel().vfs.sysctls.leases_enable.load(Ordering::Relaxed) {
        return Err(Errno::EINVAL);
    }
    if attr.uid != cred.uid && !cred.caps.has(CAP_LEASE) {
        return Err(Errno::EACCES);
    }
    let locks = file.lockable_state().locks();
    let Some(kind) = kind else { return locks.drop_lease(file.id()) };
    let pid = cx.task.tgid().cast_signed();
    locks.set_lease(file, pid, kind, super::sigio::lease_watch(cx, file, fd.0))?;
    let mut owner = file.owner.lock();
    if owner.id == 0 {
        (owner.kind, owner.id) = (F_OWNER_PID.cast_signed(), pid);
    }
    Ok(())
}

/// An open file description has no process id.
fn check_pid(lock: &Flock, kind: Kind) -> Result<()> {
    if kind == Kind::Description && lock.l_pid != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// `F_GETLK` and `F_OFD_GETLK`.
///
/// # Errors
/// EFAULT, EINVAL, EOVERFLOW.
pub fn get(cx: &Ctx<'_>, file: &OpenFile, addr: GuestAddr, kind: Kind) -> SysResult {
    let mut lock: Flock = cx.read(addr)?;
    let wanted = record(cx, file, &lock, kind)?;
    check_pid(&lock, kind)?;
    let held = file
        .state()
        .and_then(|state| state.locks_if_any())
        .and_then(|locks| locks.conflict(&wanted));
    match held {
        None => lock.l_type = F_UNLCK as i16,
        Some(held) => {
            lock.l_type = if held.kind == LockKind::Shared { F_RDLCK } else { F_WRLCK } as i16;
            lock.l_whence = SEEK_SET as i16;
            lock.l_start = held.range.start.cast_signed();
            let endless = held.range.end >= i64::MAX as u64;
            let length = held.range.end.wrapping_sub(held.range.start).wrapping_add(1);
            lock.l_len = if endless { 0 } else { length.cast_signed() };
            lock.l_pid = visible_pid(cx, held.pid);
        }
    }
    cx.write(addr, &lock)?;
    Ok(0)
}

/// A holder's number in the caller's namespace.
fn visible_pid(cx: &Ctx<'_>, global: i32) -> i32 {
    let Ok(global) = u32::try_from(global) else { return -1 };
    let ns = cx.task.pid_ns();
    let tree = cx.kernel().tree.lock();
    tree.process(global).map_or(0, |entry| entry.group.pid.in_ns(&ns).cast_signed())
}

/// `F_SETLK` and the like; `wait` for `F_SETLKW` and `F_OFD_SETLKW`.
///
/// # Errors
/// EFAULT, EINVAL, EBADF, EAGAIN, EDEADLK, ENOLCK; a restart when a signal interrupted the wait.
pub async fn set(
    cx: &Ctx<'_>,
    file: &Arc<OpenFile>,
    addr: GuestAddr,
    kind: Kind,
    wait: bool,
) -> SysResult {
    let lock: Flock = cx.read(addr)?;
    if lock.l_type as u32 == F_UNLCK {
        let range = range(file, &lock)?;
        check_pid(&lock, kind)?;
        if let Some(locks) = file.state().and_then(|state| state.locks_if_any()) {
            locks.unlock(owner(cx, file, kind), range);
        }
        return Ok(0);
    }
    let record = record(cx, file, &lock, kind)?;
    let allowed = if record.kind == LockKind::Shared { file.readable() } else { file.writable() };
    if !allowed {
        return Err(Errno::EBADF.into());
    }
    check_pid(&lock, kind)?;
    file.lockable_state();
    let request = LockRequest::new(Arc::clone(&cx.kernel().vfs), Arc::clone(file), record);
    let queue = Arc::clone(request.queue()?);
    cx.blocking(Some(&queue), RELEASED, !wait, || request.attempt(wait)).await?;
    Ok(0)
}
