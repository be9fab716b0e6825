//! The scheduler: a few worker threads that run futures, timers, and what must not stall them.
//!
//! Model: every guest thread is one future (see [`crate::run`]). A worker runs what is in its own queue, then
//! in the common one, then in the others'; when there is nothing, it sleeps on its platform [`Doorbell`], which
//! guests ring when they stop. After each future it looks for guests that have stopped meanwhile
//! ([`Doorbell::collect`]) and for timers that are due.
//!
//! - [`timer`]: deadlines. The earliest limits the sleep of one worker.
//! - [`blocking`]: host calls that may take long, on threads that come and go.
//! - [`host_poll`]: host descriptors that become ready.
//! - [`wait`]: how a future waits on a [`chitin_vfs::wait::WaitQueue`].
//! - [`contain`]: a panic in one future ends one guest process, not the sandbox.
//!
//! Costs: a wake on a worker is a push to its own queue, without a host call; one from elsewhere rings one
//! sleeping worker, and only if none is awake. An idle worker makes no host call until it is rung.
//!
//! Lock order: none of the scheduler's locks is held while foreign code (a waker, a callback, a future) runs.
//!
//! [`Doorbell`]: chitin_mm::platform::Doorbell
//! [`Doorbell::collect`]: chitin_mm::platform::Doorbell::collect

pub mod blocking;
pub mod contain;
mod host_poll;
pub mod timer;
pub mod wait;
mod worker;

use core::future::Future;
use core::task::Waker;
use std::io;
use std::sync::Arc;

use chitin_mm::platform::Platform;

pub use self::timer::{Sleep, TimerHandle};
use self::worker::Shared;
use crate::time::KernelClock;

/// Runs futures on worker threads. Cloning makes another handle.
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
}

impl Scheduler {
    /// A scheduler of `workers` workers, which do not run yet.
    pub fn new(platform: &dyn Platform, clock: KernelClock, workers: usize) -> Self {
        let doorbells = (0..workers.max(1)).map(|index| platform.doorbell(index)).collect();
        Self { shared: Shared::new(doorbells, clock) }
    }

    /// Starts the worker threads.
    ///
    /// # Errors
    /// Those of making a thread.
    pub fn start(&self) -> io::Result<()> {
        worker::start(&self.shared)
    }

    /// Makes the workers return once they have nothing to run. Futures that wait are dropped with the scheduler.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Runs a future until it is done. A panic in it is logged and ends only this future; who must know of it
    /// uses [`Scheduler::spawn_contained`].
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn_contained(future, || {});
    }

    /// The same; `on_panic` runs on the worker after a panic of the future, which has been dropped then.
    pub fn spawn_contained(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
        on_panic: impl FnOnce() + Send + Unpin + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        let schedule = move |runnable| shared.schedule(runnable);
        let (runnable, task) =
            async_task::spawn(contain::Contained::new(future, on_panic), schedule);
        task.detach();
        runnable.schedule();
    }

    /// Runs `callback` once, on a worker, when the monotonic clock reaches `deadline` (nanoseconds). Dropping
    /// the handle cancels it.
    pub fn timer(&self, deadline: u64, callback: impl FnOnce() + Send + 'static) -> TimerHandle {
        self.shared.add_timer(deadline, timer::Action::Call(Box::new(callback)))
    }

    /// Wakes a waker at `deadline`. Dropping the handle cancels it.
    pub fn wake_at(&self, deadline: u64, waker: Waker) -> TimerHandle {
        self.shared.add_timer(deadline, timer::Action::Wake(waker))
    }

    /// Is done when the monotonic clock reaches `deadline` (nanoseconds).
    pub fn sleep_until(&self, deadline: u64) -> Sleep {
        Sleep::new(self.clone(), deadline)
    }

    /// Runs `call` on a thread where it may block, and gives what it returned; `None` if it panicked.
    pub fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send + 'static {
        self.shared.pool.run(call)
    }

    /// What `look` finds, if it finds something within a short time that this worker may stay awake for: while it has
    /// nothing else to do and a core is free for it.
    pub fn linger<T>(&self, look: impl FnMut() -> Option<T>) -> Option<T> {
        self.shared.linger(look)
    }

    fn poller(&self) -> &host_poll::Poller {
        &self.shared.poller
    }

    /// The clock that deadlines are of.
    pub fn clock(&self) -> &KernelClock {
        &self.shared.clock
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shared.workers()
    }
}
