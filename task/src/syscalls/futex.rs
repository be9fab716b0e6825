//! `futex(2)`, the calls of its second generation, and robust lists.

mod lock;
mod two;
mod wait;

use chitin_abi::futex::{
    FUTEX_CLOCK_REALTIME, FUTEX_CMD_MASK, FUTEX_CMP_REQUEUE, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI,
    FUTEX_LOCK_PI2, FUTEX_PRIVATE_FLAG, FUTEX_REQUEUE, FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI,
    FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_WAKE, FUTEX_WAKE_BITSET,
    FUTEX_WAKE_OP, RobustListHead,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, Result};

pub use self::two::{futex_requeue, futex_wait, futex_waitv, futex_wake};
use self::wait::Wait;
pub use self::wait::{FutexRestart, restart};
use super::args::Flags;
use super::memory::may_access;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::futex::{FutexKey, MATCH_ANY, Requeue, WakeOp};

/// A timeout: the monotonic time when it ends, in nanoseconds.
type Deadline = Option<u64>;

/// `futex(2)`.
///
/// # Errors
/// All of futex(2)'s.
pub async fn futex(
    cx: &mut Ctx<'_>,
    uaddr: GuestAddr,
    op: Flags,
    val: u32,
    timeout: GuestAddr,
    uaddr2: GuestAddr,
    val3: u32,
) -> SysResult {
    let command = op.0 & FUTEX_CMD_MASK;
    let private = op.0 & FUTEX_PRIVATE_FLAG != 0;
    let realtime = op.0 & FUTEX_CLOCK_REALTIME != 0;
    let deadline = match command {
        FUTEX_WAIT | FUTEX_LOCK_PI | FUTEX_LOCK_PI2 | FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI => {
            read_timeout(cx, command, realtime, timeout)?
        }
        _ => None,
    };
    if realtime && !matches!(command, FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2) {
        return Err(Errno::ENOSYS.into());
    }
    // Where no time is taken, the same register holds a second number.
    let val2 = timeout.0 as u32;
    match command {
        FUTEX_WAIT => {
            wait::wait(cx, Wait { uaddr, private, val, bitset: MATCH_ANY, deadline }).await
        }
        FUTEX_WAIT_BITSET => {
            wait::wait(cx, Wait { uaddr, private, val, bitset: val3, deadline }).await
        }
        FUTEX_WAKE => wake(cx, uaddr, private, val, MATCH_ANY),
        FUTEX_WAKE_BITSET => wake(cx, uaddr, private, val, val3),
        FUTEX_REQUEUE => requeue(cx, uaddr, uaddr2, private, (val, val2), None),
        FUTEX_CMP_REQUEUE => requeue(cx, uaddr, uaddr2, private, (val, val2), Some(val3)),
        FUTEX_WAKE_OP => {
            let first = FutexKey::of(&cx.mm, uaddr, private)?;
            let second = FutexKey::of(&cx.mm, uaddr2, private)?;
            let op = WakeOp::decode(val3)?;
            let table = &cx.kernel().futexes;
            let keys = (&first, &second);
            Ok(u64::from(table.wake_op(cx.memory(), keys, uaddr2, (val, val2), op)?))
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => lock::lock(cx, uaddr, private, deadline, true).await,
        FUTEX_TRYLOCK_PI => lock::lock(cx, uaddr, private, None, false).await,
        FUTEX_UNLOCK_PI => lock::unlock(cx, uaddr, private),
        FUTEX_WAIT_REQUEUE_PI => {
            lock::wait_requeue(cx, uaddr, uaddr2, private, val, deadline).await
        }
        FUTEX_CMP_REQUEUE_PI => lock::requeue(cx, uaddr, uaddr2, private, (val, val2), val3),
        _ => Err(Errno::ENOSYS.into()),
    }
}

fn read_timeout(
    cx: &Ctx<'_>,
    command: u32,
    realtime: bool,
    timeout: GuestAddr,
) -> Result<Deadline> {
    if timeout.is_null() {
        return Ok(None);
    }
    let time: Timespec = cx.read(timeout)?;
    let nanos = time.to_nanos().ok_or(Errno::EINVAL)?;
    if command == FUTEX_WAIT {
        return Ok(Some(cx.kernel().clock.monotonic().saturating_add(nanos)));
    }
    Ok(Some(absolute(cx, nanos, realtime || command == FUTEX_LOCK_PI)))
}

/// The monotonic time of a point in time.
fn absolute(cx: &Ctx<'_>, nanos: u64, realtime: bool) -> u64 {
    if !realtime {
        return nanos;
    }
    let clock = &cx.kernel().clock;
    let left = nanos.saturating_sub(clock.realtime_nanos());
    clock.monotonic().saturating_add(left)
}

fn wake(cx: &Ctx<'_>, uaddr: GuestAddr, private: bool, most: u32, bitset: u32) -> SysResult {
    if bitset == 0 {
        return Err(Errno::EINVAL.into());
    }
    let key = FutexKey::of(&cx.mm, uaddr, private)?;
    // A negative number wakes one.
    let most = if most.cast_signed() < 0 { 1 } else { most };
    Ok(u64::from(cx.kernel().futexes.wake(&key, most, bitset)?))
}

fn requeue(
    cx: &Ctx<'_>,
    uaddr: GuestAddr,
    uaddr2: GuestAddr,
    private: bool,
    counts: (u32, u32),
    expected: Option<u32>,
) -> SysResult {
    if counts.0.cast_signed() < 0 || counts.1.cast_signed() < 0 {
        return Err(Errno::EINVAL.into());
    }
    let from = FutexKey::of(&cx.mm, uaddr, private)?;
    let to = FutexKey::of(&cx.mm, uaddr2, private)?;
    let expected = expected.map(|value| (uaddr, value));
    let request = Requeue { from, to, expected, wake: counts.0, requeue: counts.1 };
    Ok(u64::from(cx.kernel().futexes.requeue(cx.memory(), &request)?))
}

/// `set_robust_list(2)`.
///
/// # Errors
/// EINVAL.
pub fn set_robust_list(cx: &mut Ctx<'_>, head: GuestAddr, len: usize) -> SysResult {
    if len != size_of::<RobustListHead>() {
        return Err(Errno::EINVAL.into());
    }
    cx.task.robust_list.store(head.0, core::sync::atomic::Ordering::Relaxed);
    Ok(0)
}

/// `get_robust_list(2)`.
///
/// # Errors
/// ESRCH, EPERM, EFAULT.
pub fn get_robust_list(
    cx: &mut Ctx<'_>,
    pid: i32,
    head_ptr: GuestAddr,
    len_ptr: GuestAddr,
) -> SysResult {
    let task = if pid == 0 {
        std::sync::Arc::clone(cx.task)
    } else {
        let number = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
        let ns = cx.task.pid().namespace().cloned().ok_or(Errno::ESRCH)?;
        cx.kernel().tree.lock().task_in(&ns, number).cloned().ok_or(Errno::ESRCH)?
    };
    if !may_access(cx.task, &task) {
        return Err(Errno::EPERM.into());
    }
    cx.write(len_ptr, &(size_of::<RobustListHead>() as u64))?;
    cx.write(head_ptr, &task.robust_list.load(core::sync::atomic::Ordering::Relaxed))?;
    Ok(0)
}
