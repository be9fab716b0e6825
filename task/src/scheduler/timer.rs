//! Deadlines.
//!
//! A map ordered by deadline behind one lock; adding and cancelling cost a tree operation, looking whether
//! something is due one atomic load. Actions run outside the lock.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Scheduler;

/// What happens at a deadline.
pub(super) enum Action {
    /// A future goes on.
    Wake(Waker),
    /// A function runs.
    Call(Box<dyn FnOnce() + Send>),
}

type Key = (u64, u64);

#[derive(Default)]
struct Queue {
    next_id: u64,
    entries: BTreeMap<Key, Action>,
}

/// All deadlines of a scheduler.
pub(super) struct Timers {
    queue: Mutex<Queue>,
    earliest: AtomicU64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { queue: Mutex::default(), earliest: AtomicU64::new(u64::MAX) }
    }
}

impl Timers {
    /// The earliest deadline, `u64::MAX` for none.
    pub(super) fn earliest(&self) -> u64 {
        self.earliest.load(Ordering::SeqCst)
    }

    fn publish(&self, queue: &Queue) {
        let earliest = queue.entries.first_key_value().map_or(u64::MAX, |(key, _)| key.0);
        self.earliest.store(earliest, Ordering::SeqCst);
    }

    pub(super) fn add(self: &Arc<Self>, deadline: u64, action: Action) -> TimerHandle {
        // The very last nanosecond stands for "none".
        let deadline = deadline.min(u64::MAX - 1);
        let mut queue = self.queue.lock();
        let id = queue.next_id;
        queue.next_id = id.wrapping_add(1);
        queue.entries.insert((deadline, id), action);
        self.publish(&queue);
        TimerHandle { timers: Arc::downgrade(self), key: (deadline, id) }
    }

    fn cancel(&self, key: Key) -> Option<Action> {
        let mut queue = self.queue.lock();
        let action = queue.entries.remove(&key);
        self.publish(&queue);
        action
    }

    /// Runs everything that is due.
    pub(super) fn fire(&self, now: u64) {
        while self.earliest() <= now {
            let action = {
                let mut queue = self.queue.lock();
                let due = queue.entries.first_key_value().is_some_and(|(key, _)| key.0 <= now);
                let action = if due { queue.entries.pop_first() } else { None };
                self.publish(&queue);
                action
            };
            match action {
                Some((_, Action::Wake(waker))) => waker.wake(),
                Some((_, Action::Call(call))) => call(),
                None => return,
            }
        }
    }
}

/// A deadline that has not come yet. Dropping it cancels it.
pub struct TimerHandle {
    timers: Weak<Timers>,
    key: Key,
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        let action = self.timers.upgrade().and_then(|timers| timers.cancel(self.key));
        drop(action);
    }
}

/// Waits for a deadline.
pub struct Sleep {
    scheduler: Scheduler,
    deadline: u64,
    armed: Option<(Waker, TimerHandle)>,
}

impl Sleep {
    pub(super) fn new(scheduler: Scheduler, deadline: u64) -> Self {
        Self { scheduler, deadline, armed: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.scheduler.clock().monotonic() >= this.deadline {
            this.armed = None;
            return Poll::Ready(());
        }
        if this.deadline == u64::MAX {
            return Poll::Pending;
        }
        if this.armed.as_ref().is_none_or(|(waker, _)| !waker.will_wake(cx.waker())) {
            let waker = cx.waker().clone();
            let handle = this.scheduler.wake_at(this.deadline, waker.clone());
            this.armed = Some((waker, handle));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU32;

    use super::{Action, Arc, Ordering, Timers};

    #[test]
    fn due_ones_run_in_order_and_dropped_ones_do_not() {
        let timers = Arc::new(Timers::default());
        let log = Arc::new(AtomicU32::new(0));
        let note = |digit: u32| {
            let log = Arc::clone(&log);
            Action::Call(Box::new(move || {
                let old = log.load(Ordering::Relaxed);
                log.store(old * 10 + digit, Ordering::Relaxed);
            }))
        };
        let _second = timers.add(20, note(2));
        let _first = timers.add(10, note(1));
        let third = timers.add(15, note(3));
        let _later = timers.add(30, note(4));
        drop(third);
        assert_eq!(timers.earliest(), 10);
        timers.fire(25);
        assert_eq!(log.load(Ordering::Relaxed), 12);
        assert_eq!(timers.earliest(), 30);
    }
}
