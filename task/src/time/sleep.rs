//! Sleeping: `nanosleep(2)`, `clock_nanosleep(2)`, and how they go on after a signal.

use chitin_abi::time::Timespec;
use chitin_abi::{GuestAddr, Result};

use super::RestartBlock;
use super::id::ClockId;
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};

/// A sleep that a signal may interrupt.
#[derive(Clone)]
pub struct Sleeping {
    /// The clock.
    pub clock: ClockId,
    /// When it ends, on that clock.
    pub deadline: u64,
    /// Where the time that is left is written; null for nowhere.
    pub remaining: GuestAddr,
    /// Whether the end was given as such: then nothing is written and the call is made again as it was.
    pub absolute: bool,
}

/// Sleeps.
///
/// # Errors
/// A restart when a signal comes first.
pub async fn sleep(cx: &mut Ctx<'_>, sleeping: Sleeping) -> SysResult {
    let clock = cx.kernel().clock.clone();
    loop {
        if sleeping.clock.now(&clock) >= sleeping.deadline {
            return Ok(0);
        }
        // A clock that was set, and CPU time, may take longer than foreseen: then once more.
        let at = sleeping.clock.to_monotonic(&clock, sleeping.deadline);
        let at = if sleeping.clock.is_cpu() { at.max(clock.monotonic() + 1_000_000) } else { at };
        let restart = if sleeping.absolute { Restart::NoHandler } else { Restart::Block };
        let done = cx.kernel().scheduler.sleep_until(at);
        if let Err(error) = cx.wait(restart, done).await {
            return Err(interrupted(cx, sleeping, error));
        }
    }
}

fn interrupted(cx: &Ctx<'_>, sleeping: Sleeping, error: SysError) -> SysError {
    if sleeping.absolute {
        return error;
    }
    if let Err(errno) = write_remaining(cx, &sleeping) {
        return errno.into();
    }
    *cx.task.restart.lock() = Some(RestartBlock::Sleep(sleeping));
    error
}

fn write_remaining(cx: &Ctx<'_>, sleeping: &Sleeping) -> Result<()> {
    let left = sleeping.deadline.saturating_sub(sleeping.clock.now(&cx.kernel().clock));
    cx.write_opt(sleeping.remaining, &Timespec::from_nanos(left.min(i64::MAX as u64).cast_signed()))
}
