//! A guest thread: where a thread of this process and the kernel hand registers to each other.
//!
//! The kernel's half is [`Handle`], the test's half [`Guest`]; [`HandOver`] lies between them. One lock, never held
//! across a wait but that of its own condition variable.

use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chitin_abi::{Errno, Regs, Result};
use chitin_mm::platform::{Event, GuestThread, Interrupter};
use parking_lot::{Condvar, Mutex};

use super::memory::Memory;

/// How often a waiting guest looks whether its address space is dead.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of extended state; no guest code changes it.
const EXTENDED: usize = 576;

#[derive(Default)]
struct State {
    resumed: Option<Regs>,
    event: Option<(Event, Regs)>,
    waker: Option<Waker>,
    gone: bool,
}

/// What both halves share.
pub(super) struct HandOver {
    state: Mutex<State>,
    changed: Condvar,
    dead: Arc<AtomicBool>,
    own: AtomicU64,
    space: Arc<AtomicU64>,
}

impl HandOver {
    /// Of a thread in an address space that may be dead, and that counts CPU time.
    pub(super) fn new(dead: &Arc<AtomicBool>, space: &Arc<AtomicU64>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            dead: Arc::clone(dead),
            own: AtomicU64::new(0),
            space: Arc::clone(space),
        }
    }

    fn has_used(&self, nanoseconds: u64) {
        self.own.fetch_add(nanoseconds, Ordering::Relaxed);
        self.space.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
}

impl Interrupter for HandOver {
    /// Between two calls a test does nothing that could be interrupted.
    fn interrupt(&self) {
        self.changed.notify_all();
    }
}

/// The kernel's half.
pub(super) struct Handle {
    shared: Arc<HandOver>,
    extended: Vec<u8>,
}

impl Handle {
    pub(super) fn new(shared: Arc<HandOver>) -> Self {
        Self { shared, extended: vec![0; EXTENDED] }
    }
}

impl GuestThread for Handle {
    fn resume(&mut self, regs: &Regs) -> Result<()> {
        if self.shared.is_dead() {
            return Err(Errno::ESRCH);
        }
        self.shared.state.lock().resumed = Some(*regs);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn poll_event(&mut self, context: &mut Context<'_>, regs: &mut Regs) -> Poll<Event> {
        let mut state = self.shared.state.lock();
        if let Some((event, now)) = state.event.take() {
            *regs = now;
            return Poll::Ready(event);
        }
        if self.shared.is_dead() {
            return Poll::Ready(Event::Dead);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn extended_state(&mut self) -> Vec<u8> {
        self.extended.clone()
    }

    fn set_extended_state(&mut self, state: &[u8]) -> Result<()> {
        self.extended.iter_mut().zip(state).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.shared) as Arc<dyn Interrupter>
    }

    fn cpu_time(&self) -> (u64, u64) {
        (self.shared.own.load(Ordering::Relaxed), 0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state.lock().gone = true;
        self.shared.changed.notify_all();
    }
}

/// Why the kernel has not answered a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The kernel has ended its thread.
    Ended,
    /// The kernel has not answered within the time that was given.
    Waits,
    /// The kernel wants code to run.
    Code,
    /// An earlier call has taken the memory away that buffers are put into.
    Arena,
}

/// The test's half.
pub(super) struct Guest {
    shared: Arc<HandOver>,
    /// Its memory.
    pub(super) memory: Arc<Memory>,
    /// Its registers, as the kernel left them.
    pub(super) regs: Regs,
    /// CPU time of the calling thread when the kernel last let it run.
    since: u64,
}

/// CPU time of the calling thread in nanoseconds.
fn thread_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

impl Guest {
    /// Takes the place of the code of a thread that the kernel has made.
    pub(super) fn new((shared, memory): (Arc<HandOver>, Arc<Memory>)) -> Self {
        Self { shared, memory, regs: Regs::default(), since: thread_time() }
    }

    /// Waits until the kernel lets it run.
    pub(super) fn wait_resumed(
        &mut self,
        limit: Option<Duration>,
    ) -> core::result::Result<(), Stopped> {
        let start = Instant::now();
        let mut state = self.shared.state.lock();
        loop {
            if state.gone || self.shared.is_dead() {
                return Err(Stopped::Ended);
            }
            if let Some(regs) = state.resumed.take() {
                self.regs = regs;
                self.since = thread_time();
                return Ok(());
            }
            if limit.is_some_and(|limit| start.elapsed() > limit) {
                return Err(Stopped::Waits);
            }
            self.shared.changed.wait_for(&mut state, LOOK);
        }
    }

    /// Stops with an event and its registers.
    pub(super) fn stop(&self, event: Event) {
        self.shared.has_used(thread_time().saturating_sub(self.since));
        let waker = {
            let mut state = self.shared.state.lock();
            state.event = Some((event, self.regs));
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
