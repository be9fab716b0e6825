//! Waiters: what is in the queues, and what a task waits on.

use core::future::{Future, poll_fn};
use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use core::task::{Poll, Waker};
use std::sync::Arc;

use chitin_abi::GuestAddr;
use chitin_mm::platform::AddressSpace;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{FutexKey, FutexTable};
use crate::memory::Mm;

/// What a task waits on, also several words at once: is set once, by the first wake of one of its waiters.
pub struct Signal {
    /// The index of the waiter that was woken first; negative before.
    woken: AtomicI64,
    waker: Mutex<Option<Waker>>,
    /// Who is told which private words it waits on.
    host: Option<Arc<dyn AddressSpace>>,
}

impl Signal {
    /// One that is not set, of a task in this address space.
    pub fn new(mm: &Mm) -> Arc<Self> {
        Self::with_host(Some(Arc::clone(mm.host())))
    }

    pub(super) fn with_host(host: Option<Arc<dyn AddressSpace>>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicI64::new(-1), waker: Mutex::new(None), host })
    }

    fn expect(&self, key: FutexKey, waits: bool) {
        if let (Some(host), FutexKey::Private(_, addr)) = (&self.host, key) {
            host.expect_wakes(GuestAddr(addr), waits);
        }
    }

    /// The index of the waiter that was woken first.
    pub fn woken(&self) -> Option<u32> {
        u32::try_from(self.woken.load(Ordering::SeqCst)).ok()
    }

    fn set(&self, index: u32) {
        // Later wakes change nothing.
        let _ =
            self.woken.compare_exchange(-1, i64::from(index), Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(super) fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Is done when it is set.
    pub fn wait(&self) -> impl Future<Output = u32> + Send + '_ {
        poll_fn(|context| {
            if let Some(index) = self.woken() {
                return Poll::Ready(index);
            }
            {
                let mut waker = self.waker.lock();
                if waker.as_ref().is_none_or(|known| !known.will_wake(context.waker())) {
                    *waker = Some(context.waker().clone());
                }
            }
            match self.woken() {
                Some(index) => Poll::Ready(index),
                None => Poll::Pending,
            }
        })
    }
}

/// Where a waiter is.
#[derive(Clone, Copy)]
struct Place {
    key: FutexKey,
    queued: bool,
}

/// What a waiter wants besides being woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    Wake,
    /// To be moved to the lock with this key (`FUTEX_WAIT_REQUEUE_PI`), as the thread with this id.
    Requeue(FutexKey, u32),
    /// The lock, as the thread with this id.
    Lock(u32),
}

/// One word that a task waits on. A bucket's lock protects its place.
pub struct Waiter {
    signal: Arc<Signal>,
    index: u32,
    bitset: u32,
    place: Mutex<Place>,
    wish: Mutex<Wish>,
    /// The kernel's id of the task, for the owners of locks.
    tid: AtomicU32,
}

impl Waiter {
    /// A waiter for a wake with a bit of `bitset`.
    pub fn new(key: FutexKey, bitset: u32, signal: &Arc<Signal>, index: u32) -> Arc<Self> {
        Self::with_wish(key, bitset, signal, index, Wish::Wake, 0)
    }

    pub(super) fn with_wish(
        key: FutexKey,
        bitset: u32,
        signal: &Arc<Signal>,
        index: u32,
        wish: Wish,
        tid: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            signal: Arc::clone(signal),
            index,
            bitset,
            place: Mutex::new(Place { key, queued: false }),
            wish: Mutex::new(wish),
            tid: AtomicU32::new(tid),
        })
    }

    pub(super) fn key(&self) -> FutexKey {
        self.place.lock().key
    }

    pub(super) fn set_key(&self, key: FutexKey) {
        let mut place = self.place.lock();
        if place.queued {
            self.signal.expect(key, true);
            self.signal.expect(place.key, false);
        }
        place.key = key;
    }

    pub(super) fn is_queued(&self) -> bool {
        self.place.lock().queued
    }

    pub(super) fn set_queued(&self, queued: bool) {
        let mut place = self.place.lock();
        if place.queued != queued {
            self.signal.expect(place.key, queued);
        }
        place.queued = queued;
    }

    pub(super) fn bitset(&self) -> u32 {
        self.bitset
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }

    pub(super) fn wish(&self) -> Wish {
        *self.wish.lock()
    }

    pub(super) fn set_wish(&self, wish: Wish) {
        *self.wish.lock() = wish;
    }

    pub(super) fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Whether only the owner of a lock can wake it.
    pub(super) fn is_pi(&self) -> bool {
        self.wish() != Wish::Wake
    }

    /// Sets the signal; the caller wakes it once no lock is held.
    pub(super) fn signal(&self, index: u32) -> Arc<Signal> {
        self.signal.set(index);
        Arc::clone(&self.signal)
    }
}

/// Keeps waiters queued; dropping it takes those out that were not woken.
pub struct Queued<'a> {
    table: &'a FutexTable,
    waiters: SmallVec<[Arc<Waiter>; 1]>,
}

impl<'a> Queued<'a> {
    /// Nothing queued yet.
    pub fn new(table: &'a FutexTable) -> Self {
        Self { table, waiters: SmallVec::new() }
    }

    /// Remembers a waiter that was queued.
    pub fn add(&mut self, waiter: Arc<Waiter>) {
        self.waiters.push(waiter);
    }

    /// Takes all out of their queues.
    pub fn leave(&mut self) {
        for waiter in self.waiters.drain(..) {
            self.table.unqueue(&waiter);
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
