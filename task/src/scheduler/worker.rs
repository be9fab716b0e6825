//! Worker threads and their queues.
//!
//! Sleep protocol: a worker counts itself among the sleepers, looks at all queues once more, and only then
//! waits; who pushes does so first and then looks at the sleepers. All of it is sequentially consistent, so
//! either the worker sees the push or the pusher sees the sleeper, and a ring that comes before the wait ends
//! it at once.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use async_task::Runnable;
use chitin_mm::platform::Doorbell;
use parking_lot::{Mutex, MutexGuard};

use super::blocking::Pool;
use super::host_poll::Poller;
use super::timer::{Action, TimerHandle, Timers};
use crate::time::KernelClock;

/// A worker with this many runnable futures rings another one that sleeps: fewer are done sooner than a
/// sleeping core wakes.
const BACKLOG: usize = 3;

/// A worker that lingers looks for timers that are due after so many looks.
const LOOKS: u32 = 64;

struct Worker {
    doorbell: Arc<dyn Doorbell>,
    queue: Mutex<VecDeque<Runnable>>,
    /// How many there are, for who only wants to know whether there are any.
    queued: AtomicUsize,
    /// How often it has lingered. Only the worker itself changes it.
    looks: AtomicU32,
    asleep: AtomicBool,
}

impl Worker {
    fn pop(&self, mut queue: MutexGuard<'_, VecDeque<Runnable>>) -> Option<Runnable> {
        let runnable = queue.pop_front()?;
        self.queued.store(queue.len(), Ordering::Relaxed);
        Some(runnable)
    }
}

/// What the workers share.
pub(super) struct Shared {
    workers: Vec<Worker>,
    injector: Mutex<VecDeque<Runnable>>,
    injected: AtomicUsize,
    sleepers: AtomicUsize,
    stopping: AtomicBool,
    timers: Arc<Timers>,
    /// The earliest deadline that a sleeping worker wakes for, and that worker.
    armed: AtomicU64,
    keeper: AtomicUsize,
    pub(super) pool: Pool,
    pub(super) poller: Poller,
    pub(super) clock: KernelClock,
}

thread_local! {
    /// Which scheduler's worker this thread is: the address of its shared part, and the number.
    static CURRENT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

impl Shared {
    pub(super) fn new(doorbells: Vec<Arc<dyn Doorbell>>, clock: KernelClock) -> Arc<Self> {
        let workers = doorbells.into_iter().map(|doorbell| Worker {
            doorbell,
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            looks: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
        });
        Arc::new(Self {
            workers: workers.collect(),
            injector: Mutex::default(),
            injected: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            timers: Arc::default(),
            armed: AtomicU64::new(u64::MAX),
            keeper: AtomicUsize::new(usize::MAX),
            pool: Pool::default(),
            poller: Poller::default(),
            clock,
        })
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    fn identity(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    fn current(&self) -> Option<&Worker> {
        let (scheduler, index) = CURRENT.get();
        if scheduler == self.identity() { self.workers.get(index) } else { None }
    }

    /// Makes a future run soon: here if this is a worker, else wherever one is awake.
    pub(super) fn schedule(&self, runnable: Runnable) {
        if let Some(worker) = self.current() {
            let backlog = {
                let mut queue = worker.queue.lock();
                queue.push_back(runnable);
                worker.queued.store(queue.len(), Ordering::Relaxed);
                queue.len()
            };
            if backlog >= BACKLOG {
                self.ring_one();
            }
            return;
        }
        self.injector.lock().push_back(runnable);
        let waiting = self.injected.fetch_add(1, Ordering::SeqCst) + 1;
        if waiting >= BACKLOG || self.sleepers.load(Ordering::SeqCst) == self.workers.len() {
            self.ring_one();
        }
    }

    fn ring_one(&self) {
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            return;
        }
        for worker in &self.workers {
            if worker.asleep.swap(false, Ordering::SeqCst) {
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
                worker.doorbell.ring();
                return;
            }
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for worker in &self.workers {
            worker.doorbell.ring();
        }
        self.pool.stop();
    }

    pub(super) fn add_timer(&self, deadline: u64, action: Action) -> TimerHandle {
        let handle = self.timers.add(deadline, action);
        // A worker that inserts looks at the deadline again before it sleeps.
        if self.current().is_none() && deadline < self.armed.load(Ordering::SeqCst) {
            let keeper =
                self.workers.get(self.keeper.load(Ordering::SeqCst)).or(self.workers.first());
            if let Some(keeper) = keeper {
                keeper.doorbell.ring();
            }
        }
        handle
    }

    fn next(&self, index: usize) -> Option<Runnable> {
        if let Some(worker) = self.workers.get(index)
            && let Some(runnable) = worker.pop(worker.queue.lock())
        {
            return Some(runnable);
        }
        if self.injected.load(Ordering::SeqCst) > 0
            && let Some(runnable) = self.injector.lock().pop_front()
        {
            self.injected.fetch_sub(1, Ordering::SeqCst);
            return Some(runnable);
        }
        let (before, after) = self.workers.split_at_checked(index).unwrap_or((&self.workers, &[]));
        after.iter().skip(1).chain(before).find_map(|worker| worker.pop(worker.queue.try_lock()?))
    }

    fn has_work(&self) -> bool {
        self.injected.load(Ordering::SeqCst) > 0
            || self.workers.iter().any(|worker| !worker.queue.lock().is_empty())
    }

    fn sleep(&self, index: usize) {
        let Some(worker) = self.workers.get(index) else { return };
        worker.asleep.store(true, Ordering::SeqCst);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        if !self.has_work() && !self.stopping.load(Ordering::SeqCst) {
            let deadline = self.arm(index);
            if deadline.is_none_or(|deadline| deadline > self.clock.monotonic()) {
                worker.doorbell.wait(deadline);
            }
            self.disarm(index);
        }
        if worker.asleep.swap(false, Ordering::SeqCst) {
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The deadline that this worker has to wake for, if no other sleeper wakes early enough.
    fn arm(&self, index: usize) -> Option<u64> {
        loop {
            let earliest = self.timers.earliest();
            let armed = self.armed.load(Ordering::SeqCst);
            if earliest >= armed {
                return None;
            }
            if self
                .armed
                .compare_exchange(armed, earliest, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            {
                self.keeper.store(index, Ordering::SeqCst);
                if self.timers.earliest() >= earliest {
                    return Some(earliest);
                }
            }
        }
    }

    fn disarm(&self, index: usize) {
        if self
            .keeper
            .compare_exchange(index, usize::MAX, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            self.armed.store(u64::MAX, Ordering::SeqCst);
        }
    }

    /// See [`super::Scheduler::linger`].
    pub(super) fn linger<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let worker = self.current()?;
        let mut found = None;
        worker.doorbell.linger(&mut || {
            let count = worker.looks.load(Ordering::Relaxed).wrapping_add(1);
            worker.looks.store(count, Ordering::Relaxed);
            if worker.queued.load(Ordering::Relaxed) != 0
                || self.injected.load(Ordering::Relaxed) != 0
                || count.is_multiple_of(LOOKS) && self.is_due()
            {
                return true;
            }
            found = look();
            found.is_some()
        });
        found
    }

    fn is_due(&self) -> bool {
        let earliest = self.timers.earliest();
        earliest != u64::MAX && earliest <= self.clock.monotonic()
            || self.stopping.load(Ordering::Relaxed)
    }

    fn fire_timers(&self) {
        if self.timers.earliest() != u64::MAX {
            self.timers.fire(self.clock.monotonic());
        }
    }

    fn work(&self, index: usize) {
        CURRENT.set((self.identity(), index));
        let Some(worker) = self.workers.get(index) else { return };
        loop {
            worker.doorbell.collect();
            self.fire_timers();
            if let Some(runnable) = self.next(index) {
                runnable.run();
                continue;
            }
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            self.sleep(index);
        }
    }
}

/// Starts one thread per worker.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    for index in 0..shared.workers() {
        let shared = Arc::clone(shared);
        thread::Builder::new()
            .name(format!("worker-{index}"))
            .stack_size(1 << 21)
            .spawn(move || shared.work(index))?;
    }
    Ok(())
}
