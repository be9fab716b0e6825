//! Guest threads.
//!
//! Costs of a call from a patched site: `poll_event` or `look` loads one cache line, `resume` stores a word into it, with
//! two locked instructions in all. Otherwise: `resume` stores 19 words, `poll_event` loads 25. Neither makes a host
//! call, but for one `futex` if the host thread sleeps; `interrupt` makes one `tgkill` if the guest runs and has not been
//! told yet.
//!
//! [`resume`] has the guest go on, [`stop`] says what has stopped it, [`kick`](mod@kick) stops it.
//!
//! A kick that comes while the thread is in its handler stays pending until the guest runs on, and would stop it
//! for nothing then. Such a stop is recognised and the guest sent on without telling the task.

mod kick;
mod resume;
mod stop;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use chitin_abi::{Errno, GuestAddr, Regs, Result};
use chitin_mm::HostOp;
use chitin_mm::platform::{
    DeathNotice, Event, GuestThread, HotSite, Interrupter, PlatformFuture, Spawned, ThreadState,
};

use crate::layout::{self, channel, trampoline};
use crate::luggage::Luggage;
use crate::order;
use crate::patches;
use crate::process::{Process, Slot};
use crate::shared::Listener;
use crate::{reuse, usage};

use self::kick::{Kick, kick};

/// The guest runs, as far as the sentry knows.
pub const RUNNING: u32 = 1;
/// Somebody wants the guest to stop.
const INTERRUPT: u32 = 2;
/// `si_code` of a single step.
const TRAP_TRACE: i32 = 2;
/// The trap flag: a guest that has set it goes on by `rt_sigreturn` only.
const TRAP_FLAG: u64 = 0x100;

/// A segment base that no processor takes.
const NO_BASE: u64 = 1 << 63;

/// A thread that came from a patched call site and stands still.
#[derive(Clone, Copy)]
struct Fast {
    /// The address behind the call, as the guest knows it.
    rip: u64,
    /// Where its trampoline goes on.
    cont: u64,
}

/// What follows when a thread that came from a patched call site has been made to trap.
enum Goal {
    /// It stands still; its extended state can be had.
    Settle,
    /// It goes on with these registers.
    Resume(Box<Regs>),
}

/// Operations that it carries out itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carry {
    Nothing,
    /// They are in its channel.
    Taken,
    /// It has been sent off with them.
    UnderWay,
    /// The same, and it will stop behind them.
    Alone,
}

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
    /// It stands still without a signal frame.
    fast: Option<Fast>,
    /// It stands still at a call from a patched site of which only number and arguments were loaded.
    is_partial: bool,
    /// It is marked as running, and a listener is there.
    is_marked: bool,
    /// What the header's flags are, unless guest code has changed them.
    flags: Option<u32>,
    /// What goes with the call that it stands at.
    luggage: Luggage,
    /// It is being made to trap.
    goal: Option<Goal>,
    /// What it carries out itself.
    carry: Carry,
    /// What it stood still as before it last went on.
    went: Option<Fast>,
    /// The same, where only number and arguments were loaded.
    went_partial: bool,
    /// A call of this site trapped, not for the first time.
    hot: Option<u64>,
}

impl Thread {
    /// A thread that stands still.
    pub fn new(process: Arc<Process>, slot: Arc<Slot>) -> Self {
        // A new host thread has none. Without FSGSBASE the stub never says what a guest has: both are loaded.
        let bases = if process.shared.fsgsbase { (0, 0) } else { (NO_BASE, NO_BASE) };
        Self {
            process,
            slot,
            is_running: false,
            ready: None,
            has_stray: false,
            bases,
            fast: None,
            is_partial: false,
            is_marked: false,
            flags: None,
            luggage: Luggage::default(),
            goal: None,
            carry: Carry::Nothing,
            went: None,
            went_partial: false,
            hot: None,
        }
    }

    /// A thread that lay ready, for another use: it stands still, and goes on as a new one does.
    pub fn again(process: Arc<Process>, slot: Arc<Slot>, regs: &Regs, extended: &[u8]) -> Self {
        slot.state.store(0, Ordering::SeqCst);
        let mut thread = Self::new(process, slot);
        thread.start_over(regs, extended);
        thread
    }

    /// Gives it the frame of a new thread.
    fn start_over(&mut self, regs: &Regs, extended: &[u8]) {
        let shared = &self.process.shared;
        self.slot.channel.write_frame(&shared.channels, &shared.shape, regs, extended);
        self.slot.has_old_code.store(false, Ordering::SeqCst);
        self.fast = None;
        self.went = None;
        self.went_partial = false;
        self.is_partial = false;
        self.luggage.leave();
        self.flags = None;
        self.hot = None;
        // Not what any guest has: both are loaded.
        self.bases = (NO_BASE, NO_BASE);
    }

    fn is_fsgsbase(&self) -> bool {
        self.process.shared.fsgsbase
    }

    /// The base of GS while the guest has none of its own: how patched call sites find the channel.
    fn own_gs(&self) -> u64 {
        if self.process.shared.patch { self.slot.channel.header_address() } else { 0 }
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
        let runs = if self.is_partial {
            self.resume_partial(regs.rax)
        } else if let Some(fast) = self.fast {
            self.resume_fast(fast, regs)
        } else {
            let channel = self.slot.channel;
            let Some(frame) = channel.frame(&self.process.shared.channels) else {
                self.process.kill();
                return Err(Errno::ESRCH);
            };
            self.resume_frame(frame, regs)
        };
        if !runs {
            self.ready = Some(Event::Interrupted);
        }
        Ok(())
    }

    fn poll_event(&mut self, context: &mut Context<'_>, regs: &mut Regs) -> Poll<Event> {
        loop {
            if self.process.is_dead() {
                self.unmark();
                self.is_running = false;
                return Poll::Ready(Event::Dead);
            }
            if !self.is_running {
                // The registers are those that it was to go on with.
                return Poll::Ready(self.ready.take().unwrap_or(Event::Interrupted));
            }
            ready!(self.poll_stop(context));
            if self.slot.channel.word(&self.process.shared.channels) == channel::GO {
                continue;
            }
            if let Some(event) = self.take(regs) {
                return Poll::Ready(event);
            }
        }
    }

    fn look(&mut self, regs: &mut Regs) -> Option<Event> {
        if !self.is_running {
            return Some(self.ready.take().unwrap_or(Event::Interrupted));
        }
        if self.slot.channel.word(&self.process.shared.channels) != channel::GO {
            self.process.shared.begin_serving(self.slot.place);
            return self.take(regs);
        }
        if self.process.is_dead() {
            self.is_running = false;
            return Some(Event::Dead);
        }
        None
    }

    fn complete(&mut self, regs: &mut Regs) {
        let (result, number) = (regs.rax, regs.orig_rax);
        if self.is_partial {
            self.complete_registers(regs);
            (regs.rax, regs.orig_rax) = (result, number);
        }
    }

    fn brought(&self, addr: GuestAddr, buffer: &mut [u8]) -> Option<usize> {
        let is_call = self.is_partial || self.fast.is_some();
        let channels = &self.process.shared.channels;
        if is_call { self.luggage.read(self.slot.channel, channels, addr, buffer) } else { None }
    }

    fn give(&self, addr: GuestAddr, bytes: &[u8]) -> bool {
        let end = addr.0.saturating_add(bytes.len() as u64);
        (self.is_partial || self.fast.is_some())
            && end <= layout::MAX_ADDRESS
            && self.luggage.write(self.slot.channel, &self.process.shared.channels, addr, bytes)
    }

    fn deliver(&self, addr: GuestAddr, len: usize) {
        if self.luggage.outs() > 0 && self.luggage.touches(addr, len as u64) {
            self.deliver_all();
        }
    }

    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_partial {
            self.complete_registers(&mut Regs::default());
        }
        if self.fast.is_none() || self.process.is_dead() {
            return Poll::Ready(());
        }
        if self.goal.is_none() {
            self.convert(Goal::Settle);
        }
        loop {
            ready!(self.poll_stop(context));
            let is_dead = self.process.is_dead();
            if is_dead || self.slot.channel.word(&self.process.shared.channels) != channel::GO {
                break;
            }
        }
        let _ = self.take(&mut Regs::default());
        Poll::Ready(())
    }

    fn carry(&mut self, ops: &[HostOp], optional: &[HostOp]) -> bool {
        if self.is_running || self.carry != Carry::Nothing || self.process.is_dead() {
            return false;
        }
        let list = order::carried(ops, optional, &self.process.shared);
        let Some(list) = list else { return false };
        if !self.process.claim(&self.slot, list.range) {
            return false;
        }
        patches::note(&self.process, ops);
        self.slot.channel.set_carried(&self.process.shared.channels, &list.ops);
        self.carry = Carry::Taken;
        true
    }

    fn poll_carried(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.carry == Carry::Taken && !self.process.is_dead() {
            self.set_flags(self.mode() | channel::CARRYING | channel::STAY);
            self.carry = Carry::Alone;
            self.go();
        }
        if self.carry != Carry::Alone {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_stop(context));
        if self.process.is_dead() {
            self.carry = Carry::Nothing;
            return Poll::Ready(Err(Errno::ESRCH));
        }
        match self.take(&mut Regs::default()) {
            Some(Event::Failed(errno)) => Poll::Ready(Err(errno)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn spawn(&mut self, state: ThreadState) -> Spawned<'_> {
        // Signals are blocked in the handler only, and the new thread must not be interrupted before it is one.
        let is_settled = self.fast.is_none() && !self.is_partial;
        let is_ready = is_settled && !self.is_running && self.carry == Carry::Nothing;
        let shared = Arc::clone(&self.process.shared);
        let (true, Ok(extended)) = (is_ready, shared.shape.checked(&state.extended)) else {
            return Err(Box::new(state));
        };
        let Some(slot) = self.process.mapped_slot() else {
            return Err(Box::new(state));
        };
        let frame = self.process.prepare(&slot, &state.regs, &extended);
        let clone = order::end(vec![order::clone_thread(slot.channel, frame)]);
        self.slot.channel.set_carried(&shared.channels, &clone);
        self.carry = Carry::Taken;
        Ok(Box::pin(async move {
            let done = poll_fn(|context| self.poll_carried(context)).await;
            let tid = done.map(|()| self.slot.channel.carry_result(&shared.channels));
            let thread = self.process.spawned(slot, tid)?;
            Ok(Box::new(thread) as Box<dyn GuestThread>)
        }))
    }

    fn hot_site(&mut self) -> Option<HotSite> {
        let address = self.hot?;
        let is_near = self.process.patches.has_area(address);
        let needs_area = (!is_near).then_some(trampoline::AREA_LEN);
        Some(HotSite { address: address.wrapping_sub(1), needs_area })
    }

    fn patch(&mut self, area: Option<u64>) -> PlatformFuture<'_, ()> {
        let channels = &self.process.shared.channels;
        let mut regs = Regs::default();
        if let Some(frame) = self.slot.channel.frame(channels) {
            self.slot.channel.load_registers(channels, frame, Event::Syscall, &mut regs);
        }
        match self.hot.take() {
            Some(rip) if rip == regs.rip => {
                let (process, slot) = (Arc::clone(&self.process), Arc::clone(&self.slot));
                Box::pin(patches::rewrite(process, slot, regs, area))
            }
            _ => Box::pin(async { Ok(()) }),
        }
    }

    fn renew(&mut self) -> Result<()> {
        let shared = &self.process.shared;
        if self.is_running || self.goal.is_some() || self.process.is_dead() {
            return Err(Errno::ESRCH);
        }
        self.slot.channel.forget(&shared.channels);
        self.start_over(&Regs::default(), &shared.shape.initial());
        Ok(())
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

    fn on_death(&mut self, notice: DeathNotice) {
        *self.slot.notice.lock() = Some(notice);
        self.process.tell_death(); // if it has ended before
    }

    fn cpu_time(&self) -> (u64, u64) {
        let is_first = self.slot.channel.address == layout::CHANNELS;
        usage::thread_time(&self.process, self.slot.tid.load(Ordering::Relaxed), is_first)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let shared = &self.process.shared;
        let slot = &self.slot;
        let notice = slot.notice.lock().take();
        drop(notice);
        if self.process.is_dead() {
            return;
        }
        if self.carry == Carry::Taken {
            slot.channel.drop_carried(&shared.channels);
            self.process.unclaim(slot);
        }
        if self.is_running {
            *shared.running.cell(slot.place).lock() = Some(Listener::Ending);
            shared.running.mark(slot.place); // as in `poll_stop`
            kick(&self.process, slot);
            // Stopped before the listener was there? Then nobody else has told it to end.
            let has_stopped = slot.channel.word(&shared.channels) != channel::GO;
            if has_stopped && shared.running.unmark(slot.place) {
                shared.tell(slot.place);
            }
        } else if self.goal.is_none() && reuse::park(&self.process, slot) {
            return;
        } else if slot.channel.release(&shared.channels, channel::EXIT) {
            slot.channel.wake(&shared.channels);
        }
        self.process.retire(Arc::clone(slot));
    }
}
