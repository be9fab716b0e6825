//! Locks that the kernel hands over.

use std::sync::Arc;

use chitin_abi::futex::FUTEX_TID_MASK;
use chitin_abi::{Errno, GuestAddr, Result};

use super::Deadline;
use super::wait::until;
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::futex::pi::{Attempt, Contender, LockRequest, RequeuePi};
use crate::futex::{FutexKey, Queued, Signal};

fn contender(cx: &Ctx<'_>) -> Contender {
    Contender { tid: cx.task.tid(), number: cx.task.pid().local() }
}

/// The kernel's id of the task that a lock's word names, if it lives.
fn owner_of(cx: &Ctx<'_>, word: u32) -> Option<u32> {
    let pid = cx.task.pid();
    let ns = pid.namespace()?;
    let tree = cx.kernel().tree.lock();
    let owner = tree.task_in(ns, word & FUTEX_TID_MASK)?;
    let exiting = owner.exiting.load(core::sync::atomic::Ordering::SeqCst);
    (!exiting).then(|| owner.tid())
}

pub(super) async fn lock(
    cx: &mut Ctx<'_>,
    uaddr: GuestAddr,
    private: bool,
    deadline: Deadline,
    queue: bool,
) -> SysResult {
    let key = FutexKey::of(&cx.mm, uaddr, private)?;
    let kernel = Arc::clone(cx.kernel());
    let signal = Signal::new(&cx.mm);
    let contender = contender(cx);
    let mut queued = Queued::new(&kernel.futexes);
    loop {
        let word = cx.mm.read_u32(uaddr)?;
        let owner = owner_of(cx, word);
        let request =
            LockRequest { key, addr: uaddr, contender, word, owner, queue, signal: &signal };
        match kernel.futexes.lock_pi(cx.memory(), &request)? {
            Attempt::Acquired => return Ok(0),
            Attempt::Queued(waiter) => {
                queued.add(waiter);
                break;
            }
            Attempt::Again => {}
        }
    }
    until(cx, &signal, deadline, Restart::Always, &mut queued).await.map(|_| 0)
}

pub(super) fn unlock(cx: &Ctx<'_>, uaddr: GuestAddr, private: bool) -> SysResult {
    // The owner is checked before the address's kind, as on Linux.
    let word = cx.mm.read_u32(uaddr)?;
    let contender = contender(cx);
    if word & FUTEX_TID_MASK != contender.number {
        return Err(Errno::EPERM.into());
    }
    let key = FutexKey::of(&cx.mm, uaddr, private)?;
    cx.kernel().futexes.unlock_pi(cx.memory(), &key, uaddr, contender)?;
    Ok(0)
}

/// `FUTEX_WAIT_REQUEUE_PI`.
pub(super) async fn wait_requeue(
    cx: &mut Ctx<'_>,
    uaddr: GuestAddr,
    uaddr2: GuestAddr,
    private: bool,
    val: u32,
    deadline: Deadline,
) -> SysResult {
    if uaddr == uaddr2 {
        return Err(Errno::EINVAL.into());
    }
    let (from, to) = keys(cx, uaddr, uaddr2, private)?;
    let kernel = Arc::clone(cx.kernel());
    let signal = Signal::new(&cx.mm);
    let mut queued = Queued::new(&kernel.futexes);
    let word = (from, uaddr, val);
    let waiter = kernel.futexes.queue_for_lock(cx.memory(), word, to, contender(cx), &signal)?;
    queued.add(waiter);
    match until(cx, &signal, deadline, Restart::Always, &mut queued).await {
        // The program has to look at its condition again: the wait itself cannot be repeated.
        Err(SysError::Restart(_)) => Err(Errno::EAGAIN.into()),
        result => result.map(|_| 0),
    }
}

/// `FUTEX_CMP_REQUEUE_PI`.
pub(super) fn requeue(
    cx: &Ctx<'_>,
    uaddr: GuestAddr,
    uaddr2: GuestAddr,
    private: bool,
    counts: (u32, u32),
    expected: u32,
) -> SysResult {
    if uaddr == uaddr2 || counts.0 != 1 || counts.1.cast_signed() < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (from, to) = keys(cx, uaddr, uaddr2, private)?;
    loop {
        let word = cx.mm.read_u32(uaddr2)?;
        let request = RequeuePi {
            from: (from, uaddr, expected),
            to: (to, uaddr2),
            requeue: counts.1,
            lock: (word, owner_of(cx, word)),
        };
        if let Some(count) = cx.kernel().futexes.requeue_pi(cx.memory(), &request)? {
            return Ok(u64::from(count));
        }
    }
}

fn keys(
    cx: &Ctx<'_>,
    first: GuestAddr,
    second: GuestAddr,
    private: bool,
) -> Result<(FutexKey, FutexKey)> {
    let first = FutexKey::of(&cx.mm, first, private)?;
    let second = FutexKey::of(&cx.mm, second, private)?;
    if first == second { Err(Errno::EINVAL) } else { Ok((first, second)) }
}
