//! Guest threads.
//!
//! Costs: `resume` stores 19 words, and makes one `futex` call if the host thread sleeps; `poll_event` loads 25
//! words and makes no host call; `interrupt` makes one `tgkill` if the guest runs and has not been told yet.
//!
//! A kick that comes while the thread is in its handler stays pending until the guest runs on, and would stop it
//! for nothing then. Such a stop is recognised and the guest sent on without telling the task.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use chitin_abi::{Errno, Regs, Result};
use chitin_mm::platform::{Event, GuestThread, Interrupter};

use crate::layout::{self, channel};
use crate::process::{Process, Slot};
use crate::raw::host;
use crate::shared::Listener;
use crate::usage;

/// The guest runs, as far as the sentry knows.
const RUNNING: u32 = 1;
/// Somebody wants the guest to stop.
const INTERRUPT: u32 = 2;

/// See the module.
pub struct Thread {
    process: Arc<Process>,
    slot: Arc<Slot>,
    /// The guest was resumed, and its stop has not been seen.
    is_running: bool,
    /// An event that needs no guest.
    ready: Option<Event>,
    /// A kick is under way whose purpose is served.
    has_stray: bool,
    /// What the processor has as bases of FS and GS.
    bases: (u64, u64),
}

impl Thread {
    /// A thread that stands still.
    pub fn new(process: Arc<Process>, slot: Arc<Slot>) -> Self {
        let mut bases = (0, 0);
        let header = slot.channel.offset + channel::HEADER;
        let channels = &process.shared.channels;
        if !process.shared.fsgsbase {
            bases.0 = channels.load64(header + channel::FS_BASE);
            bases.1 = channels.load64(header + channel::GS_BASE);
        }
        Self { process, slot, is_running: false, ready: None, has_stray: false, bases }
    }

    /// Lets the guest go; what it goes on with is in its channel.
    fn go(&mut self) {
        let shared = &self.process.shared;
        self.is_running = true;
        let word = if self.process.is_dead() { channel::EXIT } else { channel::GO };
        if self.slot.channel.release(&shared.channels, word) {
            self.slot.channel.wake(&shared.channels);
        }
        // Not before: a mark on a word that is not GO yet would be taken for a stop.
        shared.running.mark(self.slot.place);
    }

    /// Claims the run, unless somebody wants it to stop before it begins.
    fn may_run(&self) -> bool {
        let change = |state| if state & INTERRUPT != 0 { Some(0) } else { Some(RUNNING) };
        let order = Ordering::SeqCst;
        let before = self.slot.state.fetch_update(order, order, change).unwrap_or(0);
        before & INTERRUPT == 0
    }

    fn is_fsgsbase(&self) -> bool {
        self.process.shared.fsgsbase
    }

    fn load(&mut self, frame: u64, event: Event, regs: &mut Regs) {
        let channels = &self.process.shared.channels;
        self.slot.channel.load_registers(channels, frame, event, regs);
        if self.is_fsgsbase() {
            self.bases = (regs.fs_base, regs.gs_base);
        } else {
            (regs.fs_base, regs.gs_base) = self.bases;
        }
    }

    /// Takes what has stopped the guest. `None`: nothing that the task need know; the guest runs again.
    fn take(&mut self, regs: &mut Regs) -> Option<Event> {
        let shared = Arc::clone(&self.process.shared);
        shared.running.unmark(self.slot.place);
        self.is_running = false;
        let was_interrupted = self.slot.state.swap(0, Ordering::SeqCst) & INTERRUPT != 0;
        let Some(stopped) = self.slot.channel.stopped(&shared.channels) else {
            self.process.kill();
            return Some(Event::Dead);
        };
        if stopped.event == Event::Interrupted {
            let is_stray = core::mem::take(&mut self.has_stray) && !was_interrupted;
            if is_stray && self.may_run() {
                self.slot.channel.set_flags(&shared.channels, self.mode());
                self.go();
                return None;
            }
        } else if was_interrupted {
            self.has_stray = true;
        }
        self.load(stopped.frame, stopped.event, regs);
        Some(stopped.event)
    }

    fn mode(&self) -> u32 {
        if self.is_fsgsbase() { channel::FSGSBASE } else { 0 }
    }
}

impl GuestThread for Thread {
    fn resume(&mut self, regs: &Regs) -> Result<()> {
        if self.process.is_dead() {
            return Err(Errno::ESRCH);
        }
        let channels = &self.process.shared.channels;
        let channel = self.slot.channel;
        let Some(frame) = channel.frame(channels) else {
            self.process.kill();
            return Err(Errno::ESRCH);
        };
        channel.store_registers(channels, frame, regs);
        let mut flags = self.mode();
        let bases = (canonical(regs.fs_base, self.bases.0), canonical(regs.gs_base, self.bases.1));
        if bases != self.bases {
            channel.set_bases(channels, bases.0, bases.1);
            flags |= channel::SET_BASES;
        }
        channel.set_flags(channels, flags);
        if !self.may_run() {
            self.ready = Some(Event::Interrupted);
            return Ok(());
        }
        self.bases = bases;
        self.go();
        Ok(())
    }

    fn poll_event(&mut self, context: &mut Context<'_>, regs: &mut Regs) -> Poll<Event> {
        let shared = Arc::clone(&self.process.shared);
        loop {
            if self.process.is_dead() {
                shared.running.unmark(self.slot.place);
                self.is_running = false;
                return Poll::Ready(Event::Dead);
            }
            if !self.is_running {
                let event = self.ready.take().unwrap_or(Event::Interrupted);
                let Some(frame) = self.slot.channel.frame(&shared.channels) else {
                    self.process.kill();
                    continue;
                };
                let channels = &shared.channels;
                self.slot.channel.load_registers(channels, frame, event, regs);
                return Poll::Ready(event);
            }
            if self.slot.channel.word(&shared.channels) == channel::GO {
                let listener = Listener::Task(context.waker().clone());
                *shared.running.cell(self.slot.place).lock() = Some(listener);
                let is_still = self.slot.channel.word(&shared.channels) == channel::GO;
                if is_still && !self.process.is_dead() {
                    return Poll::Pending;
                }
                continue;
            }
            if let Some(event) = self.take(regs) {
                return Poll::Ready(event);
            }
        }
    }

    fn extended_state(&mut self) -> Vec<u8> {
        let shared = &self.process.shared;
        if self.process.is_dead() {
            return shared.shape.initial();
        }
        self.slot.channel.read_extended(&shared.channels, &shared.shape)
    }

    fn set_extended_state(&mut self, state: &[u8]) -> Result<()> {
        let shared = &self.process.shared;
        let state = shared.shape.checked(state)?;
        if !self.process.is_dead() {
            self.slot.channel.write_extended(&shared.channels, &shared.shape, &state);
        }
        Ok(())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::new(Kick { process: Arc::clone(&self.process), slot: Arc::clone(&self.slot) })
    }

    fn cpu_time(&self) -> (u64, u64) {
        usage::thread_time(&self.process, self.slot.tid.load(Ordering::Relaxed))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let shared = &self.process.shared;
        let slot = &self.slot;
        if self.process.is_dead() {
            return;
        }
        if self.is_running {
            *shared.running.cell(slot.place).lock() = Some(Listener::Ending);
            kick(&self.process, slot);
            // Stopped before the listener was there? Then nobody else has told it to end.
            let has_stopped = slot.channel.word(&shared.channels) != channel::GO;
            if has_stopped && shared.running.unmark(slot.place) {
                shared.tell(slot.place);
            }
        } else if slot.channel.release(&shared.channels, channel::EXIT) {
            slot.channel.wake(&shared.channels);
        }
        self.process.retire(Arc::clone(slot));
    }
}

/// A base that the processor takes; another would end the stub in its own code.
fn canonical(base: u64, old: u64) -> u64 {
    if (base as i64) << 16 >> 16 == base as i64 { base } else { old }
}

fn kick(process: &Process, slot: &Slot) {
    let tid = slot.tid.load(Ordering::Relaxed);
    let _ = process.with_pid(|pid| host::signal_thread(pid, tid, layout::KICK));
}

/// Stops a running thread.
struct Kick {
    process: Arc<Process>,
    slot: Arc<Slot>,
}

impl Interrupter for Kick {
    fn interrupt(&self) {
        let before = self.slot.state.fetch_or(INTERRUPT, Ordering::SeqCst);
        if before & RUNNING != 0 && before & INTERRUPT == 0 {
            kick(&self.process, &self.slot);
        }
    }
}
