//! Waiting until something is ready, until a deadline, or until a signal arrives.
//!
//! The pattern of all calls that block: try; if it would block, register a [`Waiter`] where changes are told,
//! try again, sleep, and so on. Costs of a call that does not wait: nothing but the try.

use core::future::Future;
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::wait::WaitQueue;

use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::scheduler::wait::Waiter;

/// Waits for `future` until `deadline` (monotonic nanoseconds). `None` when it has come.
///
/// # Errors
/// `restart` when a signal arrives first.
pub async fn before_deadline<F: Future>(
    cx: &Ctx<'_>,
    deadline: Option<u64>,
    restart: Restart,
    future: F,
) -> SysResult<Option<F::Output>> {
    let Some(deadline) = deadline else { return cx.wait(restart, future).await.map(Some) };
    let mut future = pin!(future);
    let mut sleep = pin!(cx.kernel().scheduler.sleep_until(deadline));
    let either = core::future::poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        sleep.as_mut().poll(context).map(|()| None)
    });
    cx.wait(restart, either).await
}

/// Tries `attempt` until it does not fail with `EAGAIN`, sleeping in between until `waiter` is told; `None` when
/// the deadline comes first. The waiter has been registered by the caller.
///
/// # Errors
/// What `attempt` returns; `restart` when a signal arrives.
pub async fn retry<T>(
    cx: &Ctx<'_>,
    waiter: &Arc<Waiter>,
    deadline: Option<u64>,
    restart: Restart,
    mut attempt: impl FnMut() -> Result<T>,
) -> SysResult<Option<T>> {
    loop {
        let seen = waiter.generation();
        match attempt() {
            Err(Errno::EAGAIN) => {}
            result => return Ok(Some(result?)),
        }
        if before_deadline(cx, deadline, restart, waiter.changed(seen)).await?.is_none() {
            return Ok(None);
        }
    }
}

/// How long a call on a file may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// Until a signal.
    Forever,
    /// So many nanoseconds.
    For(u64),
}

impl Patience {
    /// By the file's `O_NONBLOCK` and a timeout in nanoseconds.
    pub fn new(nonblocking: bool, timeout: Option<u64>) -> Self {
        match (nonblocking, timeout) {
            (true, _) => Self::None,
            (false, None) => Self::Forever,
            (false, Some(nanos)) => Self::For(nanos),
        }
    }
}

/// Tries `attempt` until it does not fail with `EAGAIN`, waiting on `queue` in between as long as `patience`
/// lasts; `EAGAIN` then.
///
/// # Errors
/// What `attempt` returns. When a signal arrives: [`Restart::Sys`], but `EINTR` if there is a timeout, since the
/// time that has passed would be lost.
pub async fn patiently<T>(
    cx: &Ctx<'_>,
    queue: &Arc<WaitQueue>,
    interest: PollEvents,
    patience: Patience,
    mut attempt: impl FnMut() -> Result<T>,
) -> SysResult<T> {
    match attempt() {
        Err(Errno::EAGAIN) if patience != Patience::None => {}
        result => return Ok(result?),
    }
    let deadline = match patience {
        Patience::For(nanos) => Some(cx.kernel().clock.monotonic().saturating_add(nanos)),
        _ => None,
    };
    let waiter = Waiter::new();
    let _registration = waiter.register(queue, interest);
    match retry(cx, &waiter, deadline, Restart::Sys, attempt).await {
        Ok(result) => Ok(result.ok_or(Errno::EAGAIN)?),
        Err(SysError::Restart(_)) if deadline.is_some() => Err(Errno::EINTR.into()),
        Err(error) => Err(error),
    }
}
