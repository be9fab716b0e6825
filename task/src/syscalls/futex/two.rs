//! `futex_waitv(2)`, `futex_wake(2)`, `futex_wait(2)`, `futex_requeue(2)`.

use std::sync::Arc;

use chitin_abi::futex::{
    FUTEX_WAITV_MAX, FUTEX2_MPOL, FUTEX2_NUMA, FUTEX2_PRIVATE, FUTEX2_SIZE_MASK, FUTEX2_SIZE_U32,
    FutexWaitv,
};
use chitin_abi::time::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};
use chitin_abi::{Errno, GuestAddr, Result};

use super::wait::{Wait, until, wait};
use super::{Deadline, absolute};
use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::futex::{FutexKey, MATCH_ANY, Queued, Requeue, Signal, Waiter};
use crate::syscalls::args::{Clock, Flags, LongFlags, Time};

/// Checks the flags of a word; true for a private one.
fn check_flags(flags: u32) -> Result<bool> {
    if flags & !(FUTEX2_SIZE_MASK | FUTEX2_NUMA | FUTEX2_MPOL | FUTEX2_PRIVATE) != 0
        || flags & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32
        || flags & (FUTEX2_NUMA | FUTEX2_MPOL) != 0
    {
        return Err(Errno::EINVAL);
    }
    Ok(flags & FUTEX2_PRIVATE != 0)
}

fn read_deadline(cx: &Ctx<'_>, timeout: Time, clock: Clock) -> Result<Deadline> {
    if timeout.0.is_null() {
        return Ok(None);
    }
    let realtime = match clock.0.cast_unsigned() {
        CLOCK_MONOTONIC => false,
        CLOCK_REALTIME => true,
        _ => return Err(Errno::EINVAL),
    };
    let time: Timespec = cx.read(timeout.0)?;
    let nanos = time.to_nanos().ok_or(Errno::EINVAL)?;
    Ok(Some(absolute(cx, nanos, realtime)))
}

/// A word's description, checked.
struct Word {
    uaddr: GuestAddr,
    val: u32,
    private: bool,
}

fn read_words(cx: &Ctx<'_>, waiters: GuestAddr, count: usize) -> Result<Vec<Word>> {
    let entries: Vec<FutexWaitv> = cx.read_array(waiters, count)?;
    let checked = entries.into_iter().map(|entry| {
        let private = check_flags(entry.flags)?;
        let val = u32::try_from(entry.val).map_err(|_| Errno::EINVAL)?;
        if entry.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Word { uaddr: GuestAddr(entry.uaddr), val, private })
    });
    checked.collect()
}

/// `futex_waitv(2)`.
///
/// # Errors
/// EINVAL, EFAULT, EAGAIN, ETIMEDOUT.
pub async fn futex_waitv(
    cx: &mut Ctx<'_>,
    waiters: GuestAddr,
    nr_futexes: u32,
    flags: Flags,
    timeout: Time,
    clockid: Clock,
) -> SysResult {
    if flags.0 != 0 || nr_futexes == 0 || nr_futexes > FUTEX_WAITV_MAX || waiters.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let deadline = read_deadline(cx, timeout, clockid)?;
    let words = read_words(cx, waiters, nr_futexes as usize)?;
    let kernel = Arc::clone(cx.kernel());
    let signal = Signal::new(&cx.mm);
    let mut queued = Queued::new(&kernel.futexes);
    for (index, word) in words.iter().enumerate() {
        let key = FutexKey::of(&cx.mm, word.uaddr, word.private)?;
        let waiter = Waiter::new(key, MATCH_ANY, &signal, index as u32);
        match kernel.futexes.queue_if(cx.memory(), word.uaddr, word.val, &waiter) {
            Ok(()) => queued.add(waiter),
            Err(errno) => {
                queued.leave();
                // Another word may have been woken already; that wake must not be lost.
                return signal.woken().map(u64::from).ok_or(errno.into());
            }
        }
    }
    until(cx, &signal, deadline, Restart::Sys, &mut queued).await.map(u64::from)
}

fn check_mask(mask: LongFlags) -> Result<u32> {
    u32::try_from(mask.0).map_err(|_| Errno::EINVAL)
}

/// `futex_wake(2)`.
///
/// # Errors
/// EINVAL, EFAULT.
pub fn futex_wake(
    cx: &mut Ctx<'_>,
    uaddr: GuestAddr,
    mask: LongFlags,
    nr: i32,
    flags: Flags,
) -> SysResult {
    let private = check_flags(flags.0)?;
    let mask = check_mask(mask)?;
    if mask == 0 {
        return Err(Errno::EINVAL.into());
    }
    let key = FutexKey::of(&cx.mm, uaddr, private)?;
    if nr == 0 {
        return Ok(0);
    }
    Ok(u64::from(cx.kernel().futexes.wake(&key, u32::try_from(nr).unwrap_or(1), mask)?))
}

/// `futex_wait(2)`.
///
/// # Errors
/// EINVAL, EFAULT, EAGAIN, ETIMEDOUT.
pub async fn futex_wait(
    cx: &mut Ctx<'_>,
    uaddr: GuestAddr,
    val: u64,
    mask: LongFlags,
    flags: Flags,
    timeout: Time,
    clockid: Clock,
) -> SysResult {
    let private = check_flags(flags.0)?;
    let val = u32::try_from(val).map_err(|_| Errno::EINVAL)?;
    let bitset = check_mask(mask)?;
    let deadline = read_deadline(cx, timeout, clockid)?;
    wait(cx, Wait { uaddr, private, val, bitset, deadline }).await
}

/// `futex_requeue(2)`.
///
/// # Errors
/// EINVAL, EFAULT, EAGAIN.
pub fn futex_requeue(
    cx: &mut Ctx<'_>,
    waiters: GuestAddr,
    flags: Flags,
    nr_wake: i32,
    nr_requeue: i32,
) -> SysResult {
    if flags.0 != 0 || waiters.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let words = read_words(cx, waiters, 2)?;
    let [from, to] = words.as_slice() else { return Err(Errno::EINVAL.into()) };
    let count = |count: i32| u32::try_from(count).map_err(|_| Errno::EINVAL);
    let request = Requeue {
        from: FutexKey::of(&cx.mm, from.uaddr, from.private)?,
        to: FutexKey::of(&cx.mm, to.uaddr, to.private)?,
        expected: Some((from.uaddr, from.val)),
        wake: count(nr_wake)?,
        requeue: count(nr_requeue)?,
    };
    Ok(u64::from(cx.kernel().futexes.requeue(cx.memory(), &request)?))
}
