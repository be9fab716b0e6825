//! How a future waits for events of a [`WaitQueue`].

use core::future::Future;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Poll, Waker};
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_vfs::wait::{Observer, Registration, WaitQueue};
use parking_lot::Mutex;

/// Counts notifications and wakes the future that waits for the next.
///
/// Use: register it, then in a loop take [`Waiter::generation`], try, and wait for [`Waiter::changed`].
#[derive(Default)]
pub struct Waiter {
    generation: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Waiter {
    /// A waiter that has seen nothing.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Registers it on a queue until the guard is dropped.
    pub fn register(
        self: &Arc<Self>,
        queue: &Arc<WaitQueue>,
        interest: PollEvents,
    ) -> Registration {
        let observer: Arc<dyn Observer> = Arc::clone(self) as Arc<dyn Observer>;
        queue.register(interest, &observer)
    }

    /// The same; one notification wakes only one exclusive waiter.
    pub fn register_exclusive(
        self: &Arc<Self>,
        queue: &Arc<WaitQueue>,
        interest: PollEvents,
    ) -> Registration {
        let observer: Arc<dyn Observer> = Arc::clone(self) as Arc<dyn Observer>;
        queue.register_exclusive(interest, &observer)
    }

    /// How often it has been notified.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Is done when it has been notified since `seen`.
    pub fn changed(&self, seen: u64) -> impl Future<Output = ()> + Send + '_ {
        core::future::poll_fn(move |cx| {
            if self.generation() != seen {
                return Poll::Ready(());
            }
            {
                let mut waker = self.waker.lock();
                if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
            }
            if self.generation() == seen { Poll::Pending } else { Poll::Ready(()) }
        })
    }

    /// Notifies it.
    pub fn wake(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Observer for Waiter {
    fn notify(&self, _events: PollEvents) {
        self.wake();
    }
}

/// Something that happens once, and who waits for it.
#[derive(Default)]
pub struct Completion {
    done: AtomicBool,
    queue: Arc<WaitQueue>,
}

impl Completion {
    /// One that has not happened.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether it has happened.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    /// It has happened.
    pub fn complete(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.queue.notify(PollEvents::POLLIN);
    }

    /// Is done when it has happened.
    pub async fn wait(&self) {
        let waiter = Waiter::new();
        let _registration = waiter.register(&self.queue, PollEvents::POLLIN);
        loop {
            let seen = waiter.generation();
            if self.is_done() {
                return;
            }
            waiter.changed(seen).await;
        }
    }
}
