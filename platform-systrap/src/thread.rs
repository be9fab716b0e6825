//! Guest threads.
//!
//! Costs of a call from a patched site: `poll_event` or `look` loads one cache line, `resume` stores a word into it, with
//! two locked instructions in all. Otherwise: `resume` stores 19 words, `poll_event` loads 25. Neither makes a host
//! call, but for one `futex` if the host thread sleeps; `interrupt` makes one `tgkill` if the guest runs and has not been
//! told yet.
//!
//! A kick that comes while the thread is in its handler stays pending until the guest runs on, and would stop it
//! for nothing then. Such a stop is recognised and the guest sent on without telling the task.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use chitin_abi::{Errno, GuestAddr, Regs, Result};
use chitin_mm::HostOp;
use chitin_mm::platform::{
    Answers, DeathNotice, Event, GuestThread, HotSite, Interrupter, PlatformFuture, Spawned,
    ThreadState,
};

use crate::frame::Stopped;
use crate::layout::{self, channel, trampoline};
use crate::luggage::Luggage;
use crate::order;
use crate::patches;
use crate::process::{Process, Slot};
use crate::raw::{host, text};
use crate::shared::Listener;
use crate::{reuse, space, usage};

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
    /// Whether the stub may answer what needs no sentry.
    is_alone: bool,
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
        let mut bases = (0, 0);
        let header = slot.channel.offset + channel::HEADER;
        let channels = &process.shared.channels;
        if !process.shared.fsgsbase {
            bases.0 = channels.load64(header + channel::FS_BASE);
            bases.1 = channels.load64(header + channel::GS_BASE);
        }
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
            is_alone: false,
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

    /// Lets the guest go; what it goes on with is in its channel.
    fn go(&mut self) {
        let shared = &self.process.shared;
        self.is_running = true;
        let word = if self.process.is_dead() { channel::EXIT } else { channel::GO };
        if self.slot.channel.release(&shared.channels, word) {
            self.slot.channel.wake(&shared.channels);
        }
    }

    /// Writes at once what would be carried out: the guest does not go on behind its call.
    fn deliver_all(&self) {
        if self.luggage.outs() > 0 {
            let write = |address, bytes: &[u8]| {
                space::write(&self.process, address, bytes);
            };
            self.luggage.deliver(self.slot.channel, &self.process.shared.channels, write);
        }
    }

    fn set_flags(&mut self, flags: u32) {
        if self.flags != Some(flags) {
            self.slot.channel.set_flags(&self.process.shared.channels, flags);
            self.flags = Some(flags);
        }
    }

    /// Claims the run, unless somebody wants it to stop before it begins.
    fn may_run(&self) -> bool {
        let before = self.slot.state.swap(RUNNING, Ordering::SeqCst);
        self.process.patches.wait();
        if before & INTERRUPT != 0 {
            self.slot.state.store(0, Ordering::SeqCst);
            return false;
        }
        true
    }

    fn is_fsgsbase(&self) -> bool {
        self.process.shared.fsgsbase
    }

    /// The base of GS while the guest has none of its own: how patched call sites find the channel.
    fn own_gs(&self) -> u64 {
        if self.process.shared.patch { self.slot.channel.header_address() } else { 0 }
    }

    fn load(&mut self, frame: u64, event: Event, regs: &mut Regs) {
        let channels = &self.process.shared.channels;
        self.slot.channel.load_registers(channels, frame, event, regs);
        if self.is_fsgsbase() {
            self.bases = (regs.fs_base, regs.gs_base);
            if regs.gs_base == self.own_gs() {
                regs.gs_base = 0;
            }
        } else {
            (regs.fs_base, regs.gs_base) = self.bases;
        }
    }

    /// A guest that came from a patched call site: registers as a `syscall` leaves them.
    fn load_fast(&mut self, frame: u64, regs: &mut Regs) -> Fast {
        self.load(frame, Event::Syscall, regs);
        regs.rax = self.slot.channel.result(&self.process.shared.channels);
        regs.orig_rax = regs.rax;
        let fast = Fast { rip: regs.rip, cont: regs.rcx };
        regs.rcx = regs.rip;
        regs.r11 = regs.eflags;
        (regs.cs, regs.ss) = (0x33, 0x2b);
        // The stub does not save this one: it could not have got there with another.
        (self.bases.1, regs.gs_base) = (self.own_gs(), 0);
        fast
    }

    /// Has the guest go on by `rt_sigreturn`, unless it is interrupted before.
    fn resume_frame(&mut self, frame: u64, regs: &Regs) -> bool {
        self.deliver_all();
        let flags = self.prepare(regs);
        let mut regs = *regs;
        if let Some(moved) = self.process.patches.moved(&self.process, regs.rip) {
            regs.rip = moved;
        }
        let channels = &self.process.shared.channels;
        self.slot.channel.store_registers(channels, frame, &regs);
        self.slot.has_old_code.store(false, Ordering::SeqCst);
        self.set_flags(flags | self.carrying());
        if !self.may_run() {
            return false;
        }
        (self.went, self.went_partial) = (None, false);
        self.carry_off();
        self.go();
        true
    }

    /// Has the stub load changed segment bases; the header's flags.
    fn prepare(&mut self, regs: &Regs) -> u32 {
        let mut flags = self.mode();
        let mut gs = canonical(regs.gs_base, self.bases.1);
        if self.process.shared.patch {
            if gs != 0 && gs != self.own_gs() {
                patches::close(&self.process);
            } else {
                gs = self.own_gs();
            }
        }
        let bases = (canonical(regs.fs_base, self.bases.0), gs);
        if bases != self.bases {
            self.slot.channel.set_bases(&self.process.shared.channels, bases.0, bases.1);
            flags |= channel::SET_BASES;
            self.bases = bases;
        }
        flags
    }

    /// Has a guest that came from a patched call site go on; false: it is interrupted before.
    fn resume_fast(&mut self, fast: Fast, regs: &Regs) -> bool {
        let is_plain = regs.rip == fast.rip
            && regs.rcx == regs.rip
            && regs.r11 == regs.eflags
            && regs.eflags & TRAP_FLAG == 0
            && regs.cs == 0x33;
        if !is_plain || self.slot.has_old_code.load(Ordering::SeqCst) {
            if !self.may_run() {
                return false;
            }
            self.convert(Goal::Resume(Box::new(*regs)));
            return true;
        }
        let flags = self.prepare(regs) | channel::FAST;
        let channels = &self.process.shared.channels;
        self.slot.channel.store_registers(channels, self.slot.channel.fast_frame(), regs);
        self.slot.channel.set_continuation(channels, fast.cont);
        self.set_flags(flags | self.carrying());
        if !self.may_run() {
            return false;
        }
        (self.went, self.went_partial) = (self.fast.take(), false);
        self.carry_off();
        let channels = &self.process.shared.channels;
        self.slot.channel.set_result(channels, regs.rax);
        self.slot.channel.set_outs(channels, self.luggage.take_outs());
        self.go();
        true
    }

    /// The flag that has it carry out what it has taken.
    fn carrying(&self) -> u32 {
        if self.carry == Carry::Taken { channel::CARRYING } else { 0 }
    }

    /// It goes on, with what it has taken.
    fn carry_off(&mut self) {
        if self.carry == Carry::Taken {
            // Memory may be another when it comes to that.
            self.deliver_all();
            self.carry = Carry::UnderWay;
        }
    }

    /// What came of what it carried out, if that is why it has stopped.
    fn carried(&mut self, was_interrupted: bool) -> Option<Result<()>> {
        let carry = self.carry;
        if !matches!(carry, Carry::UnderWay | Carry::Alone) {
            return None;
        }
        self.carry = Carry::Nothing;
        self.process.unclaim(&self.slot);
        let result = self.slot.channel.carried(&self.process.shared.channels);
        if carry == Carry::Alone {
            if was_interrupted {
                self.slot.state.fetch_or(INTERRUPT, Ordering::SeqCst);
            }
            // Nothing else can have stopped it, but for who writes its own channel.
            return Some(result.unwrap_or(Err(Errno::EFAULT)));
        }
        if result.is_some() {
            self.has_stray |= was_interrupted;
            self.fast = self.went.take();
            self.is_partial = core::mem::take(&mut self.went_partial);
        }
        result
    }

    /// Has a guest go on behind a call of which only number and arguments were loaded.
    fn resume_partial(&mut self, result: u64) -> bool {
        if self.slot.has_old_code.load(Ordering::SeqCst) {
            let mut regs = Regs::default();
            self.complete_registers(&mut regs);
            regs.rax = result;
            return self.fast.is_some_and(|fast| self.resume_fast(fast, &regs));
        }
        self.set_flags(self.mode() | channel::FAST | self.carrying());
        if !self.may_run() {
            return false;
        }
        (self.went, self.went_partial) = (None, true);
        self.is_partial = false;
        self.carry_off();
        // With the word, and nothing in between: the line moves to this core and back whenever it is touched.
        let channels = &self.process.shared.channels;
        self.slot.channel.set_result(channels, result);
        self.slot.channel.set_outs(channels, self.luggage.take_outs());
        self.go();
        true
    }

    fn complete_registers(&mut self, regs: &mut Regs) {
        if core::mem::take(&mut self.is_partial) {
            self.fast = Some(self.load_fast(self.slot.channel.fast_frame(), regs));
        }
    }

    /// Makes a guest that came from a patched call site trap, so that there is a signal frame.
    fn convert(&mut self, goal: Goal) {
        self.deliver_all();
        self.goal = Some(goal);
        let flags = self.mode() | channel::CONVERT;
        let channels = &self.process.shared.channels;
        if let Some(fast) = self.fast {
            self.slot.channel.set_continuation(channels, fast.cont);
        }
        self.set_flags(flags);
        self.go();
    }

    /// Whether this stop, in the stub's own code, is one on the way back to the guest: trapped as it was told, or
    /// interrupted.
    fn is_on_way_back(event: Event, rip: u64) -> bool {
        let (start, end) = text::back();
        match event {
            Event::Interrupted => (start..=end).contains(&rip),
            Event::Fault(fault) => rip == end && fault.signal == libc::SIGTRAP as u32,
            _ => false,
        }
    }

    /// What has happened to the guest, which knows nothing of the stub's own code.
    fn translate(&mut self, event: Event, regs: &mut Regs) -> Event {
        if !self.process.shared.patch {
            return event;
        }
        let rip = regs.rip;
        if Self::is_on_way_back(event, rip) {
            let bases = (self.bases, regs.fs_base, regs.gs_base);
            self.load_fast(self.slot.channel.fast_frame(), regs);
            (self.bases, regs.fs_base, regs.gs_base) = bases;
            regs.rcx = regs.rip;
            regs.orig_rax = u64::MAX;
            return Event::Interrupted;
        }
        if rip == text::answered() && event == Event::Interrupted {
            regs.rip = regs.rcx;
        }
        if rip == text::fast()
            && matches!(event, Event::Fault(_) | Event::Interrupted)
            && let Some(rip) = self.process.patches.rip_of(regs.rcx)
        {
            // The guest has another base of GS, steps, or is interrupted: as if the call had trapped.
            (regs.rip, regs.rcx, regs.r11) = (rip, rip, regs.eflags);
            regs.orig_rax = regs.rax;
            return Event::Syscall;
        }
        self.process.patches.translate(event, regs)
    }

    /// Takes what has stopped the guest. `None`: nothing that the task need know; the guest runs again.
    fn take(&mut self, regs: &mut Regs) -> Option<Event> {
        self.unmark();
        self.is_running = false;
        let was_interrupted = self.slot.state.swap(0, Ordering::SeqCst) & INTERRUPT != 0;
        if let Some(result) = self.carried(was_interrupted) {
            return Some(result.err().map_or(Event::Interrupted, Event::Failed));
        }
        if self.goal.is_none() && self.slot.channel.is_call(&self.process.shared.channels) {
            self.has_stray |= was_interrupted;
            let shared = &self.process.shared;
            self.slot.channel.load_call(&shared.channels, regs);
            self.luggage.arrive(self.slot.channel, (&shared.orders, &shared.channels), regs);
            self.is_partial = true;
            self.hot = None;
            return Some(Event::Syscall);
        }
        let shared = Arc::clone(&self.process.shared);
        let Some(stopped) = self.slot.channel.stopped(&shared.channels) else {
            self.process.kill();
            return Some(Event::Dead);
        };
        if let Some(goal) = self.goal.take() {
            return self.converted(goal, &stopped, was_interrupted, regs);
        }
        if stopped.is_fast {
            // The channel says something else than a moment before.
            self.process.kill();
            return Some(Event::Dead);
        }
        self.load(stopped.frame, stopped.event, regs);
        if let Event::Fault(fault) = stopped.event
            && (fault.signal, fault.code) == (libc::SIGTRAP as u32, TRAP_TRACE)
            && !was_interrupted
            && self.process.patches.is_way_in(regs.rip)
            && self.resume_frame(stopped.frame, regs)
        {
            return None;
        }
        let event = self.translate(stopped.event, regs);
        if event == Event::Interrupted {
            let is_stray = core::mem::take(&mut self.has_stray) && !was_interrupted;
            if is_stray && self.resume_frame(stopped.frame, regs) {
                return None;
            }
        } else if was_interrupted {
            self.has_stray = true;
        }
        if shared.patch {
            self.look_at_site(event, regs);
            if let Event::Fault(fault) = event
                && fault.signal == libc::SIGILL as u32
                && self.process.patches.moved(&self.process, regs.rip).is_some()
            {
                // The guest knows nothing of this fault; an interrupt that came meanwhile is told in its place.
                let goes_on = !was_interrupted && self.resume_frame(stopped.frame, regs);
                return (!goes_on).then_some(Event::Interrupted);
            }
        }
        Some(event)
    }

    fn look_at_site(&mut self, event: Event, regs: &Regs) {
        let patches = &self.process.patches;
        let is_hot = event == Event::Syscall && !patches.is_off() && patches.is_hot(regs.rip);
        self.hot = is_hot.then_some(regs.rip);
    }

    /// It has trapped, as it was told.
    fn converted(
        &mut self,
        goal: Goal,
        stopped: &Stopped,
        was_interrupted: bool,
        regs: &mut Regs,
    ) -> Option<Event> {
        let mut seen = *regs;
        self.slot.channel.load_registers(
            &self.process.shared.channels,
            stopped.frame,
            stopped.event,
            &mut seen,
        );
        if stopped.is_fast || !Self::is_on_way_back(stopped.event, seen.rip) {
            self.process.kill();
            return Some(Event::Dead);
        }
        self.fast = None;
        if was_interrupted && matches!(goal, Goal::Settle) {
            self.slot.state.fetch_or(INTERRUPT, Ordering::SeqCst);
        }
        if let Goal::Resume(wanted) = goal {
            *regs = *wanted;
            if !was_interrupted && self.resume_frame(stopped.frame, regs) {
                return None;
            }
        }
        Some(Event::Interrupted)
    }

    fn unmark(&mut self) {
        if core::mem::take(&mut self.is_marked) {
            self.process.shared.running.unmark(self.slot.place);
        }
    }

    /// Whether the guest has stopped; who is to be told otherwise.
    fn poll_stop(&mut self, context: &Context<'_>) -> Poll<()> {
        let shared = &self.process.shared;
        if self.slot.channel.word(&shared.channels) == channel::GO {
            let listener = Listener::Task(context.waker().clone());
            *shared.running.cell(self.slot.place).lock() = Some(listener);
            // Not before the word is GO: a mark on another word would be taken for a stop.
            shared.running.mark(self.slot.place);
            self.is_marked = true;
            let is_still = self.slot.channel.word(&shared.channels) == channel::GO;
            if is_still && !self.process.is_dead() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn mode(&self) -> u32 {
        let alone = if self.is_alone { channel::ALONE } else { 0 };
        alone | if self.is_fsgsbase() { channel::FSGSBASE } else { 0 }
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

    fn answer_futexes(&mut self, alone: bool) {
        self.is_alone = alone;
    }

    fn carry(&mut self, ops: &[HostOp], optional: &[HostOp]) -> bool {
        if self.is_running || self.carry != Carry::Nothing || self.process.is_dead() {
            return false;
        }
        let list = order::carried(ops, optional, self.process.shared.descriptors);
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

    fn answer_alone(&self, answers: Option<&Answers>) {
        self.slot.channel.set_answers(&self.process.shared.channels, answers);
    }
}
