//! Waiting on words.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;

use chitin_abi::{Errno, GuestAddr};

use super::Deadline;
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::futex::{FutexKey, Queued, Signal, Waiter};
use crate::time::RestartBlock;

/// A wait on one word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) uaddr: GuestAddr,
    pub(super) private: bool,
    pub(super) val: u32,
    pub(super) bitset: u32,
    pub(super) deadline: Deadline,
}

/// A wait that a signal interrupted, for `restart_syscall(2)`.
pub struct FutexRestart(Wait);

/// Goes on with an interrupted wait.
///
/// # Errors
/// As the wait itself.
pub async fn restart(cx: &mut Ctx<'_>, block: FutexRestart) -> SysResult {
    wait(cx, block.0).await
}

pub(super) async fn wait(cx: &mut Ctx<'_>, wait: Wait) -> SysResult {
    if wait.bitset == 0 {
        return Err(Errno::EINVAL.into());
    }
    let key = FutexKey::of(&cx.mm, wait.uaddr, wait.private)?;
    let kernel = Arc::clone(cx.kernel());
    let signal = Signal::new(&cx.mm);
    let waiter = Waiter::new(key, wait.bitset, &signal, 0);
    let mut queued = Queued::new(&kernel.futexes);
    kernel.futexes.queue_if(cx.memory(), wait.uaddr, wait.val, &waiter)?;
    queued.add(waiter);
    let restart = if wait.deadline.is_some() { Restart::Block } else { Restart::Sys };
    let result = until(cx, &signal, wait.deadline, restart, &mut queued).await;
    if matches!(result, Err(SysError::Restart(Restart::Block))) {
        *cx.task.restart.lock() = Some(RestartBlock::Futex(FutexRestart(wait)));
    }
    result.map(|_| 0)
}

/// Waits for the signal, a signal of the other kind, or the deadline; returns the index of the waiter that was
/// woken. A wake that came before the waiters were taken out of their queues counts.
pub(super) async fn until(
    cx: &Ctx<'_>,
    signal: &Signal,
    deadline: Deadline,
    restart: Restart,
    queued: &mut Queued<'_>,
) -> SysResult<u32> {
    let result = match deadline {
        None => cx.wait(restart, signal.wait()).await.map(Some),
        Some(deadline) => {
            let sleep = cx.kernel().scheduler.sleep_until(deadline);
            cx.wait(restart, or_timeout(signal.wait(), sleep)).await
        }
    };
    queued.leave();
    match (signal.woken(), result) {
        (Some(index), _) => Ok(index),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(Errno::ETIMEDOUT.into()),
    }
}

/// `None` when the second future is done before the first.
async fn or_timeout<T>(
    first: impl Future<Output = T>,
    second: impl Future<Output = ()>,
) -> Option<T> {
    let mut first = pin!(first);
    let mut second = pin!(second);
    poll_fn(|context| {
        if let Poll::Ready(value) = first.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        second.as_mut().poll(context).map(|()| None)
    })
    .await
}
