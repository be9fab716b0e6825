//! Readiness and waiting: how something that would block tells others when it no longer does.
//!
//! Model: a file never blocks. What would block returns `EAGAIN`; who wants to wait registers an
//! [`Observer`] on the file's [`WaitQueue`] for the events that it is interested in, **tries again** (so that
//! no wake is lost between the first try and the registration), and waits for the observer's call.
//!
//! Whoever makes an operation possible calls [`WaitQueue::notify`] after it has released its own locks.
//! Observers run on the notifier's thread, must not block, and must take no lock that ranks below the wait
//! queue's. Cost of a notify with no observer: one atomic load.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use chitin_abi::poll::PollEvents;
use parking_lot::Mutex;
use smallvec::SmallVec;

/// Is told when events happen on a [`WaitQueue`].
pub trait Observer: Send + Sync {
    /// Some of the events that were asked for have happened.
    fn notify(&self, events: PollEvents);
}

struct Entry {
    id: usize,
    interest: PollEvents,
    exclusive: bool,
    observer: Weak<dyn Observer>,
}

#[derive(Default)]
struct Entries {
    next_id: usize,
    list: Vec<Entry>,
}

/// The observers of one file, socket, process or the like.
#[derive(Default)]
pub struct WaitQueue {
    count: AtomicUsize,
    entries: Mutex<Entries>,
}

impl WaitQueue {
    /// A queue without observers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an observer until the returned guard is dropped. `POLLERR` and `POLLHUP` are always of
    /// interest. The queue holds the observer weakly.
    pub fn register(
        self: &Arc<Self>,
        interest: PollEvents,
        observer: &Arc<dyn Observer>,
    ) -> Registration {
        self.register_with(interest, observer, false)
    }

    /// The same for an observer of which one call suffices: a notify calls the first exclusive observer that
    /// is interested, and no other exclusive one.
    pub fn register_exclusive(
        self: &Arc<Self>,
        interest: PollEvents,
        observer: &Arc<dyn Observer>,
    ) -> Registration {
        self.register_with(interest, observer, true)
    }

    fn register_with(
        self: &Arc<Self>,
        interest: PollEvents,
        observer: &Arc<dyn Observer>,
        exclusive: bool,
    ) -> Registration {
        let mut entries = self.entries.lock();
        let id = entries.next_id;
        entries.next_id = id.wrapping_add(1);
        let interest = interest | PollEvents::POLLERR | PollEvents::POLLHUP;
        entries.list.push(Entry { id, interest, exclusive, observer: Arc::downgrade(observer) });
        self.count.store(entries.list.len(), Ordering::SeqCst);
        Registration { queue: Arc::clone(self), id }
    }

    /// Tells the observers that these events have happened.
    pub fn notify(&self, events: PollEvents) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut targets: SmallVec<[Arc<dyn Observer>; 4]> = SmallVec::new();
        {
            let entries = self.entries.lock();
            let mut exclusive_done = false;
            for entry in entries.list.iter().filter(|entry| entry.interest.intersects(events)) {
                if entry.exclusive && exclusive_done {
                    continue;
                }
                if let Some(observer) = entry.observer.upgrade() {
                    exclusive_done |= entry.exclusive;
                    targets.push(observer);
                }
            }
        }
        for observer in targets {
            observer.notify(events);
        }
    }

    /// How many observers are registered.
    pub fn observers(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn remove(&self, id: usize) {
        let mut entries = self.entries.lock();
        if let Some(index) = entries.list.iter().position(|entry| entry.id == id) {
            entries.list.remove(index);
        }
        self.count.store(entries.list.len(), Ordering::SeqCst);
    }
}

/// Keeps an observer registered.
pub struct Registration {
    queue: Arc<WaitQueue>,
    id: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.queue.remove(self.id);
    }
}
