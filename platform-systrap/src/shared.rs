//! What all parts of one platform share: memory, doorbells, and who waits where.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use chitin_abi::{Errno, Result};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use smallvec::SmallVec;

use crate::code::Codes;
use crate::cpuid::Answers;
use crate::fork::Sockets;
use crate::frame::Channel;
use crate::layout::{self, Descriptors, channel, config};
use crate::process::Process;
use crate::raw::arena::Arena;
use crate::reaper::Registry;
use crate::reuse::Spares;
use crate::table::{Numbers, Table};
use crate::xstate::Shape;

/// Who is to be told when a thread has stopped.
pub enum Listener {
    /// A task.
    Task(Waker),
    /// Nobody: the thread shall end.
    Ending,
}

/// See the module.
pub struct Shared {
    /// Configuration (first pages) and order pages.
    pub orders: Arena,
    /// Who has which order page.
    pub order_numbers: Numbers,
    /// Channels and reply pages.
    pub channels: Arena,
    /// Who has which channel.
    pub channel_numbers: Numbers,
    /// The host's extended state.
    pub shape: Shape,
    /// Whether FSGSBASE can be used.
    pub fsgsbase: bool,
    /// Whether call sites are rewritten.
    pub patch: bool,
    /// What is known of files' call sites.
    pub codes: Codes,
    /// What `cpuid` says.
    pub cpuid: Answers,
    /// Numbers of a stub's descriptors.
    pub descriptors: Descriptors,
    /// The core of each worker, where there is one worker per core that this process may use.
    pub cores: Vec<usize>,
    /// Doorbells.
    pub bells: Vec<Bell>,
    /// Who spins.
    pub spinner: Spinner,
    /// Channels of running threads, and who is to be told.
    pub running: Table<Listener>,
    /// Order pages with a list under way, and whose it is.
    pub ordering: Table<Arc<Process>>,
    /// Stubs that live.
    pub registry: Registry,
    /// `/proc`, where it shows this process under its own id.
    pub proc: Option<OwnedFd>,
    /// Where the vDSO begins in each stub; its end where there is none.
    pub vdso: u64,
    /// Stubs that lie ready.
    pub spares: Spares,
    /// Sockets of copies to come.
    pub sockets: Sockets,
    /// The sentry's process id.
    pub pid: i32,
    /// Order and reply pages and channels of copies that were given up, and since when.
    pub given_up: Mutex<VecDeque<(Instant, u32, u32, u32)>>,
}

/// How long the pages of a copy that was given up are kept from use. (It ends by itself whenever it gets that
/// far; this only keeps its last writes out of others' pages.)
const QUARANTINE: Duration = Duration::from_secs(10);

/// A worker's doorbell.
pub struct Bell {
    /// An event counter; stubs can write it and cannot read it.
    pub counter: OwnedFd,
    /// Rung by the sentry while its worker was awake.
    pub rung: AtomicBool,
    /// The core on which the worker slept last.
    pub core: Mutex<Option<usize>>,
    /// Asked to spin by another worker.
    pub is_recruited: AtomicBool,
    /// How often it has looked for its guest's next call awake. Only its worker changes this and the next.
    pub looks: AtomicU32,
    /// What it found while it spun.
    pub found: AtomicU32,
    /// Calls that the worker has taken since it last slept or spun for long, and since when.
    pub pace: Mutex<Pace>,
}

/// What a worker knows of how often it is needed.
#[derive(Default)]
pub struct Pace {
    /// Rings by guests.
    pub rings: u32,
    /// When the first of them came.
    pub since: u64,
    /// Threads whose requests it has taken and may not have answered.
    pub taken: Taken,
    /// A thread that stopped on the core of the worker that spins.
    pub is_shared: bool,
}

/// Numbers of channels.
pub type Taken = SmallVec<[u32; 8]>;

/// The worker that spins, if any.
#[derive(Default)]
pub struct Spinner {
    /// Its number, plus 1.
    pub worker: AtomicU64,
    /// It looks for a guest's next call, and that guest is not marked as running.
    pub lingers: AtomicBool,
    /// No worker is asked to spin before this time.
    pub not_before: AtomicU64,
    /// For how long none is asked next time it was in vain.
    pub pause: AtomicU64,
}

impl Shared {
    /// Offset of an order page.
    pub const fn order_offset(place: u32) -> u64 {
        layout::CONFIG_LEN + place as u64 * layout::PAGE
    }

    /// Offset of a channel or reply page.
    pub const fn channel_offset(place: u32) -> u64 {
        place as u64 * layout::CHANNEL_LEN
    }

    /// The same file, open for reading only: mappings of it can never be made writable. One host call where it is
    /// so already, else two.
    ///
    /// # Errors
    /// EACCES where it cannot be had so.
    pub fn for_reading(&self, file: &Arc<OwnedFd>) -> Result<Arc<OwnedFd>> {
        let flags = rustix::fs::fcntl_getfl(file).map_err(|_| Errno::EACCES)?;
        if flags.intersection(OFlags::RWMODE) == OFlags::RDONLY {
            return Ok(Arc::clone(file));
        }
        let proc = self.proc.as_ref().ok_or(Errno::EACCES)?;
        let path = format!("{}/fd/{}", self.pid, file.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(proc, path, flags, Mode::empty());
        file.map(Arc::new).map_err(|_| Errno::EACCES)
    }

    /// Puts pages away.
    pub fn quarantine(&self, order: u32, reply: u32, channel: u32) {
        self.given_up.lock().push_back((Instant::now(), order, reply, channel));
    }

    /// Gives back the pages that have been put away for long enough.
    pub fn end_quarantine(&self) {
        let mut given_up = self.given_up.lock();
        while let Some((since, order, reply, channel)) = given_up.front().copied()
            && since.elapsed() > QUARANTINE
        {
            given_up.pop_front();
            crate::process::give_back_channel(self, reply);
            crate::process::give_back_channel(self, channel);
            self.order_numbers.give_back(order);
        }
    }

    fn sleeping(&self, worker: usize) -> u64 {
        config::SLEEPING + worker as u64 % config::WORKERS * config::SLEEPING_STRIDE
    }

    /// Says that a worker is about to sleep, before it looks for work a last time.
    pub fn set_sleeping(&self, worker: usize, is_sleeping: bool) {
        let word = self.orders.u32(self.sleeping(worker));
        word.store(u32::from(is_sleeping), Ordering::SeqCst);
    }

    /// Claims the right to wake a worker that sleeps.
    pub fn claim_sleeper(&self, worker: usize) -> bool {
        self.orders.u32(self.sleeping(worker)).swap(0, Ordering::SeqCst) == 1
    }

    /// Says on which core a worker spins (plus 1), or that none does.
    pub fn set_spinner(&self, core: u32) {
        self.orders.u32(config::SPINNER).store(core, Ordering::SeqCst);
    }

    /// How many guests run: those that are marked, and the one that a worker lingers for.
    pub fn running_guests(&self) -> usize {
        self.running.count() + usize::from(self.spinner.lingers.load(Ordering::Relaxed))
    }

    /// Tells stubs how many guests run, as of now.
    pub fn publish_running(&self) {
        let (word, count) = (self.orders.u32(config::RUNNING), self.running_guests() as u32);
        if word.load(Ordering::Relaxed) != count {
            word.store(count, Ordering::Relaxed);
        }
    }

    fn serving(&self) -> &AtomicU32 {
        self.orders.u32(config::SERVING)
    }

    /// Says that the worker that spins deals with the requests of a channel, so that its thread waits awake.
    pub fn begin_serving(&self, place: u32) {
        // Stubs look at it: not written for each call.
        if self.served() != Some(place) {
            self.serving().store(place + 1, Ordering::Relaxed);
        }
    }

    /// It deals with other things.
    pub fn end_serving(&self) {
        if self.served().is_some() {
            self.serving().store(0, Ordering::Release);
        }
    }

    /// The channel whose requests the worker that spins deals with.
    pub fn served(&self) -> Option<u32> {
        self.serving().load(Ordering::Relaxed).checked_sub(1)
    }

    /// Says which worker serves a core.
    pub fn set_worker_of(&self, core: usize, worker: usize) {
        let core = core as u64 & 0x3ff;
        let offset = config::WORKER_OF + (core & !3);
        let shift = 8 * (core & 3);
        let word = self.orders.u32(offset);
        let value = (worker as u32 & 0xff) << shift;
        let keep = !(0xff << shift);
        let _ =
            word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old & keep | value));
    }

    /// Whether a thread has stopped that nobody was told of, or a list is done that nobody looked at.
    pub fn has_work(&self) -> bool {
        let mut found = false;
        self.running.each(|place| {
            found = self.has_stopped(place);
            !found
        });
        if !found {
            self.ordering.each(|place| {
                let process = self.ordering.cell(place).lock().clone();
                found = process.is_some_and(|process| process.has_reply());
                !found
            });
        }
        found
    }

    fn has_stopped(&self, place: u32) -> bool {
        let offset = Self::channel_offset(place) + channel::HEADER + channel::WORD;
        self.channels.u32(offset).load(Ordering::SeqCst) != channel::GO
    }

    fn change_word(&self, place: u32, from: u32, to: u32) -> bool {
        let offset = Self::channel_offset(place) + channel::HEADER + channel::WORD;
        let word = self.channels.u32(offset);
        word.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Has threads whose requests this worker took, and that are still not answered, sleep at once.
    pub fn defer(&self, taken: Taken) {
        for place in taken {
            self.change_word(place, channel::TAKEN, channel::LATER);
        }
    }

    /// The same for the request that it has dealt with and not answered, if any.
    pub fn defer_served(&self) {
        if let Some(place) = self.served() {
            self.change_word(place, channel::POSTED, channel::LATER);
            self.end_serving();
        }
    }

    /// The core on which a thread says that it stopped.
    pub fn core_of(&self, place: u32) -> u32 {
        self.channels.load32(Self::channel_offset(place) + channel::HEADER + channel::CORE)
    }

    /// Tells whoever waits for a thread that has stopped or an order that is done; says how many. A worker that
    /// spins writes down which requests it takes.
    pub fn collect(&self, mut spinning: Option<&mut Taken>) -> usize {
        let mut count = 0;
        self.running.each(|place| {
            if self.has_stopped(place) && self.running.unmark(place) {
                if let Some(taken) = &mut spinning
                    && self.change_word(place, channel::POSTED, channel::TAKEN)
                {
                    taken.push(place);
                }
                self.tell(place);
                count += 1;
            }
            true
        });
        self.ordering.each(|place| {
            let process = self.ordering.cell(place).lock().clone();
            if let Some(process) = process
                && process.has_reply()
            {
                process.pump();
                count += 1;
            }
            true
        });
        count
    }

    /// Tells the listener of a channel, whose mark is gone.
    pub fn tell(&self, place: u32) {
        let listener = self.running.cell(place).lock().take();
        match listener {
            Some(Listener::Task(waker)) => waker.wake(),
            Some(Listener::Ending) => {
                let channel = Channel { offset: Self::channel_offset(place), address: 0 };
                if channel.release(&self.channels, channel::EXIT) {
                    channel.wake(&self.channels);
                }
            }
            None => {}
        }
    }
}
