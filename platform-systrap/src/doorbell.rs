//! What idle workers sleep on.
//!
//! A worker says in the configuration page that it sleeps, looks for work once more, and reads its event
//! counter. A stub that has posted something looks at that page and writes the counter of the worker on its
//! core if that sleeps. Stubs can neither change the page nor take a ring back, so a hostile one cannot keep
//! others' requests from being seen.
//!
//! Each worker is bound to a core where there are as many workers as cores.
//!
//! Costs: `collect` loads one word per running guest; `wait` makes two host calls when it sleeps (`ppoll` and
//! `read`), none when there is work; `ring` makes one if the worker sleeps, else none.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chitin_mm::platform::Doorbell;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::raw::host;
use crate::shared::{Bell, Shared};

/// One worker's doorbell.
pub struct Sleeper {
    shared: Arc<Shared>,
    worker: usize,
}

impl Sleeper {
    /// That of a worker; there are as many as workers.
    pub fn new(shared: Arc<Shared>, worker: usize) -> Self {
        let worker = worker % shared.bells.len().max(1);
        Self { shared, worker }
    }

    fn bell(&self) -> Option<&Bell> {
        self.shared.bells.get(self.worker)
    }

    /// Guests on the core of this worker ring it from now on. The first time, the worker moves to a core of its
    /// own if there is one for each: a guest and its worker then take turns on one core, which costs a tenth of
    /// waking another core.
    fn note_core(&self, bell: &Bell) {
        let mut known = bell.core.lock();
        if known.is_none()
            && let Some(core) = self.shared.cores.get(self.worker)
        {
            let mut set = CpuSet::new();
            set.set(*core);
            let _ = sched_setaffinity(None, &set);
        }
        let core = host::current_core();
        if *known != Some(core) {
            *known = Some(core);
            self.shared.set_worker_of(core, self.worker);
        }
    }
}

/// What is left until a moment of the monotonic clock.
fn left(deadline: u64) -> Timespec {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    let left = deadline.saturating_sub(now);
    Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 }
}

impl Doorbell for Sleeper {
    fn collect(&self) -> usize {
        self.shared.collect()
    }

    fn wait(&self, deadline: Option<u64>) {
        let Some(bell) = self.bell() else { return };
        self.note_core(bell);
        self.shared.set_sleeping(self.worker, true);
        let has_work = bell.rung.swap(false, Ordering::SeqCst) || self.shared.has_work();
        if !has_work {
            let timeout = deadline.map(left);
            let mut files = [PollFd::new(&bell.counter, PollFlags::IN)];
            let rang = match rustix::event::poll(&mut files, timeout.as_ref()) {
                Ok(count) => count > 0,
                Err(_) => false,
            };
            self.shared.set_sleeping(self.worker, false);
            if rang {
                let _ = rustix::io::read(&bell.counter, &mut [0; 8]);
            }
            bell.rung.store(false, Ordering::SeqCst);
        } else {
            self.shared.set_sleeping(self.worker, false);
        }
    }

    fn ring(&self) {
        let Some(bell) = self.bell() else { return };
        bell.rung.store(true, Ordering::SeqCst);
        if self.shared.claim_sleeper(self.worker) {
            let _ = rustix::io::write(&bell.counter, &1_u64.to_ne_bytes());
        }
    }
}
