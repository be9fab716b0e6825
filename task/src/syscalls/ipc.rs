//! System V IPC and POSIX message queues: the calls on what [`crate::ipc`] keeps.

mod mqueue;
mod msg;
mod sem;
mod shm;

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::wait::WaitQueue;

pub use self::mqueue::{
    mq_getsetattr, mq_notify, mq_open, mq_timedreceive, mq_timedsend, mq_unlink,
};
pub use self::msg::{msgctl, msgget, msgrcv, msgsnd};
pub use self::sem::{semctl, semget, semop, semtimedop};
pub use self::shm::{shmat, shmctl, shmdt, shmget};
use crate::context::Ctx;
use crate::cred::Credentials;
use crate::error::{Restart, SysResult};
use crate::ipc::IpcNamespace;
use crate::ipc::perm::Caller;
use crate::scheduler::wait::Waiter;

/// The caller's IPC namespace and credentials.
fn world(cx: &Ctx<'_>) -> (Arc<IpcNamespace>, Arc<Credentials>) {
    (Arc::clone(&cx.task.namespaces().ipc), cx.task.cred())
}

/// How to wait.
struct Patience<'a> {
    queue: &'a Arc<WaitQueue>,
    interest: PollEvents,
    /// Monotonic nanoseconds.
    deadline: Option<u64>,
    restart: Restart,
    /// What the call fails with at the deadline.
    timeout: Errno,
}

/// Tries until the result is something else than `again`, waiting in between.
async fn retry<T>(
    cx: &Ctx<'_>,
    patience: Patience<'_>,
    again: Errno,
    mut attempt: impl FnMut() -> Result<T>,
) -> SysResult<T> {
    let waiter = Waiter::new();
    let _registration = waiter.register(patience.queue, patience.interest);
    loop {
        let seen = waiter.generation();
        match attempt() {
            Err(errno) if errno == again => {}
            result => return Ok(result?),
        }
        pause(cx, waiter.changed(seen), &patience).await?;
    }
}

/// Waits for a change, the deadline or a signal.
async fn pause(
    cx: &Ctx<'_>,
    changed: impl Future<Output = ()>,
    patience: &Patience<'_>,
) -> SysResult<()> {
    let Some(deadline) = patience.deadline else {
        return cx.wait(patience.restart, changed).await;
    };
    let sleep = cx.kernel().scheduler.sleep_until(deadline);
    let mut changed = pin!(changed);
    let mut sleep = pin!(sleep);
    let either = poll_fn(|context| {
        if changed.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        sleep.as_mut().poll(context).map(|()| false)
    });
    if cx.wait(patience.restart, either).await? { Ok(()) } else { Err(patience.timeout.into()) }
}

/// The credentials and process of the caller, for the checks of objects.
fn caller<'a>(cx: &Ctx<'_>, cred: &'a Credentials) -> Caller<'a> {
    Caller::new(cx.task, cred)
}
