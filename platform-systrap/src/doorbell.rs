//! What idle workers sleep on.
//!
//! A worker says in the configuration page that it sleeps, looks for work once more, and reads its event
//! counter. A stub that has posted something looks at that page and writes the counter of the worker on its
//! core if that sleeps. Stubs can neither change the page nor take a ring back, so a hostile one cannot keep
//! others' requests from being seen.
//!
//! Each worker is bound to a core where there are as many workers as cores.
//!
//! **Spinning.** A worker that guests ring often asks one on another core to spin, if more cores are allowed than
//! guests run. The configuration page says which core that worker is on, and stubs on other cores post and look for
//! the answer for a while instead of ringing: the hand-over then needs no host call on either side. A request that
//! nobody takes soon is rung for as ever, so that a spinning worker that another process has pushed off its core
//! delays each call by microseconds only, until it notices. The worker stops when nothing has come for [`PATIENCE`],
//! when as many guests run as there are cores, when it shares its core with the guest or with another process. If
//! little came of it, nobody is asked again for a while, which doubles each time.
//!
//! **Lingering.** A worker that spins and has answered a guest looks for that guest's next call at once (`linger`), for
//! [`LINGER`], before it goes back to its queue: then the hand-over is the load of a word. It looks up for whatever else
//! it has to do every few looks. The configuration page says whose request it deals with: that guest waits awake.
//!
//! Costs: `collect` loads one word per running guest; `wait` makes two host calls when it sleeps (`ppoll` and
//! `read`), none when there is work or it spins; `ring` makes one if the worker sleeps, else none.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chitin_mm::platform::Doorbell;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::raw::host;
use crate::shared::{Bell, Shared, Taken};

/// How long a worker spins after it has found something.
const PATIENCE: u64 = 40_000;
/// So many rings
const RINGS: u32 = 16;
/// within this time (nanoseconds) make a worker ask another one to spin.
const WINDOW: u64 = 16 * 40_000;
/// A worker that spins and does not get on for so long is not alone on its core.
const PUSHED_OFF: u64 = 150_000;
/// A worker that has found so much while it spun was worth it.
const WORTH: u32 = 200;
/// A worker that has found so much had its core for itself for long: to be pushed off it now and then is no reason to give up.
const WELL_WORTH: u32 = 20_000;
/// For how long nobody is asked to spin after it was in vain: the first time, and at most.
const PAUSE: (u64, u64) = (1_000_000, 256_000_000);

/// How long a worker looks for the next call of a guest that it has answered.
const LINGER: u64 = 20_000;
/// How often a worker looks without a pause at first, and
const HOT: u32 = 200;
/// how often a stub does (some 2 us): a pause can be as long as a hand-over.
pub const STUB_HOT: u32 = 3000;
/// After how many looks a worker that lingers looks for other work, and
const OTHERS: u32 = 32;
/// for the time.
const CLOCK: u32 = 128;

/// How often stubs look for a worker that takes their request (about 3 us), and then for the answer (about 40 us),
/// given how long a `pause` takes here.
pub fn looks() -> (u32, u32) {
    let start = now();
    for _ in 0..256 {
        core::hint::spin_loop();
    }
    let each = (now().saturating_sub(start) / 256).clamp(2, 400) as u32;
    (3_000 / each + 1, 40_000 / each + 1)
}

/// How many `pause` instructions take so many nanoseconds here.
pub fn pauses(nanoseconds: u64) -> u32 {
    let start = now();
    for _ in 0..256 {
        core::hint::spin_loop();
    }
    let each = (now().saturating_sub(start) / 256).clamp(2, 400);
    (nanoseconds / each) as u32 + 1
}

/// So many nanoseconds in ticks of the time stamp counter.
pub fn ticks(nanoseconds: u64) -> u32 {
    let (start, first) = (now(), host::ticks());
    while now() - start < 20_000 {
        core::hint::spin_loop();
    }
    let (time, count) = (now() - start, host::ticks().saturating_sub(first));
    let ticks = u128::from(count) * u128::from(nanoseconds) / u128::from(time.max(1));
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// The monotonic clock, nanoseconds.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

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
    let left = deadline.saturating_sub(now());
    Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 }
}

fn note_found(bell: &Bell) {
    let found = bell.found.load(Ordering::Relaxed);
    bell.found.store(found.saturating_add(1), Ordering::Relaxed);
}

/// What ended a worker's spinning.
enum Spun {
    /// Work.
    Found,
    /// Nothing came, or its core has better things to do.
    Vain,
}

impl Sleeper {
    fn is_spinner(&self) -> bool {
        self.shared.spinner.worker.load(Ordering::Relaxed) == self.worker as u64 + 1
    }

    /// Whether a core is left beside the guests that run.
    fn has_free_core(&self) -> bool {
        let running = self.shared.running_guests();
        running > 0 && running < self.shared.cores.len()
    }

    /// Says that this worker spins, if no other does.
    fn begin_spin(&self, bell: &Bell) -> bool {
        let mine = self.worker as u64 + 1;
        let order = Ordering::SeqCst;
        if self.shared.spinner.worker.compare_exchange(0, mine, order, order).is_err() {
            return false;
        }
        let core = bell.core.lock().unwrap_or(0) as u32;
        bell.found.store(0, Ordering::Relaxed);
        self.shared.set_spinner(core + 1);
        true
    }

    fn end_spin(&self, bell: &Bell, is_alone: bool) {
        self.shared.set_spinner(0);
        let found = bell.found.swap(0, Ordering::Relaxed);
        let spinner = &self.shared.spinner;
        if found >= WORTH && is_alone {
            spinner.pause.store(PAUSE.0, Ordering::Relaxed);
        } else if found >= WELL_WORTH {
            spinner.pause.store(PAUSE.0, Ordering::Relaxed);
            spinner.not_before.store(now() + PAUSE.0, Ordering::Relaxed);
        } else {
            let pause = spinner.pause.load(Ordering::Relaxed).clamp(PAUSE.0, PAUSE.1);
            let longer = if is_alone { pause * 2 } else { pause.max(PAUSE.1 / 8) * 2 };
            spinner.pause.store(longer.min(PAUSE.1), Ordering::Relaxed);
            spinner.not_before.store(now() + pause, Ordering::Relaxed);
        }
        spinner.worker.store(0, Ordering::SeqCst);
    }

    /// Looks for work for a while, awake.
    fn spin(&self, bell: &Bell, deadline: Option<u64>) -> Spun {
        let start = now();
        let mut last = start;
        let mut is_alone = true;
        loop {
            if bell.rung.swap(false, Ordering::SeqCst) || self.shared.has_work() {
                note_found(bell);
                return Spun::Found;
            }
            let time = now();
            if deadline.is_some_and(|deadline| deadline <= time) {
                return Spun::Found;
            }
            if time - last > PUSHED_OFF {
                is_alone = false;
                break;
            }
            last = time;
            if time - start > PATIENCE || !self.has_free_core() {
                break;
            }
            core::hint::spin_loop();
        }
        self.end_spin(bell, is_alone);
        Spun::Vain
    }

    /// Whether a worker that lingers has something else to do. Looks for it every few times.
    fn is_called_away(&self, bell: &Bell) -> bool {
        let looks = bell.looks.load(Ordering::Relaxed).wrapping_add(1);
        bell.looks.store(looks, Ordering::Relaxed);
        looks.is_multiple_of(OTHERS)
            && (bell.rung.load(Ordering::Relaxed)
                || self.shared.has_work()
                || !self.has_free_core())
    }

    /// Whether `look` finds something soon.
    fn look_for_long(&self, bell: &Bell, look: &mut dyn FnMut() -> bool) -> bool {
        let (mut start, mut last) = (0, 0);
        for count in 1_u32.. {
            if self.is_called_away(bell) {
                return false;
            }
            if look() {
                return true;
            }
            if count > HOT {
                core::hint::spin_loop();
            }
            if !count.is_multiple_of(CLOCK) {
                continue;
            }
            let time = now();
            if start == 0 {
                (start, last) = (time, time);
            }
            if time - last > PUSHED_OFF {
                bell.pace.lock().is_shared = true;
                return false;
            }
            last = time;
            if time - start > LINGER {
                return false;
            }
        }
        false
    }

    /// Notes that it has found a call. A guest that shares its core cannot be served while it runs.
    fn note_call(&self, bell: &Bell) {
        note_found(bell);
        if bell.found.load(Ordering::Relaxed).is_multiple_of(OTHERS)
            && let (Some(place), Some(core)) = (self.shared.served(), *bell.core.lock())
            && self.shared.core_of(place) == core as u32
        {
            bell.pace.lock().is_shared = true;
        }
    }

    /// Notes that guests have rung, and asks another worker to spin if they do so often.
    fn note_ring(&self, bell: &Bell) {
        if self.shared.cores.len() < 2 {
            return;
        }
        let mut pace = bell.pace.lock();
        pace.rings += 1;
        if pace.rings < RINGS {
            if pace.rings == 1 {
                pace.since = now();
            }
            return;
        }
        pace.rings = 0;
        let (since, time) = (pace.since, now());
        drop(pace);
        let is_busy = time.saturating_sub(since) < WINDOW;
        let spinner = &self.shared.spinner;
        if !is_busy
            || !self.has_free_core()
            || spinner.worker.load(Ordering::Relaxed) != 0
            || time < spinner.not_before.load(Ordering::Relaxed)
        {
            return;
        }
        let others = self.shared.bells.iter().enumerate().filter(|(at, _)| *at != self.worker);
        for (at, other) in others {
            if self.shared.claim_sleeper(at) {
                other.is_recruited.store(true, Ordering::SeqCst);
                let _ = rustix::io::write(&other.counter, &1_u64.to_ne_bytes());
                return;
            }
        }
    }

    /// Whether this worker found work while it spun; false: it has to sleep.
    fn may_spin(&self, bell: &Bell, deadline: Option<u64>) -> bool {
        if self.shared.cores.len() < 2 {
            return false;
        }
        let recruited = bell.is_recruited.swap(false, Ordering::SeqCst);
        if self.is_spinner() {
            let mut pace = bell.pace.lock();
            let taken = core::mem::take(&mut pace.taken);
            let is_shared = core::mem::take(&mut pace.is_shared);
            drop(pace);
            self.shared.defer(taken);
            if is_shared {
                self.end_spin(bell, false);
                return false;
            }
        } else if !recruited || !self.has_free_core() || !self.begin_spin(bell) {
            return false;
        }
        matches!(self.spin(bell, deadline), Spun::Found)
    }

    /// Sleeps until it is rung, unless there is work.
    fn sleep(&self, bell: &Bell, deadline: Option<u64>) {
        self.shared.set_sleeping(self.worker, true);
        let has_work = bell.rung.swap(false, Ordering::SeqCst) || self.shared.has_work();
        if has_work {
            self.shared.set_sleeping(self.worker, false);
            return;
        }
        let timeout = deadline.map(left);
        let mut files = [PollFd::new(&bell.counter, PollFlags::IN)];
        let rang = match rustix::event::poll(&mut files, timeout.as_ref()) {
            Ok(count) => count > 0,
            Err(_) => false,
        };
        self.shared.set_sleeping(self.worker, false);
        if rang {
            let _ = rustix::io::read(&bell.counter, &mut [0; 8]);
            self.note_ring(bell);
        }
        bell.rung.store(false, Ordering::SeqCst);
    }
}

impl Doorbell for Sleeper {
    fn collect(&self) -> usize {
        let Some(bell) = self.bell() else { return 0 };
        self.shared.publish_running();
        if !self.is_spinner() {
            return self.shared.collect(None);
        }
        self.shared.defer_served();
        let mut taken = Taken::new();
        let count = self.shared.collect(Some(&mut taken));
        if !taken.is_empty() {
            let core = bell.core.lock().map_or(u32::MAX, |core| core as u32);
            let mut pace = bell.pace.lock();
            pace.is_shared |= taken.iter().any(|place| self.shared.core_of(*place) == core);
            pace.taken.extend(taken);
        }
        count
    }

    fn wait(&self, deadline: Option<u64>) {
        let Some(bell) = self.bell() else { return };
        self.note_core(bell);
        if !self.may_spin(bell, deadline) {
            self.sleep(bell, deadline);
        }
    }

    fn linger(&self, look: &mut dyn FnMut() -> bool) {
        let Some(bell) = self.bell() else { return };
        if !self.is_spinner() {
            return;
        }
        let lingers = &self.shared.spinner.lingers;
        lingers.store(true, Ordering::Relaxed);
        if self.look_for_long(bell, look) {
            self.note_call(bell);
        } else {
            self.shared.end_serving();
        }
        lingers.store(false, Ordering::Relaxed);
    }

    fn ring(&self) {
        let Some(bell) = self.bell() else { return };
        bell.rung.store(true, Ordering::SeqCst);
        if self.shared.claim_sleeper(self.worker) {
            let _ = rustix::io::write(&bell.counter, &1_u64.to_ne_bytes());
        }
    }
}
