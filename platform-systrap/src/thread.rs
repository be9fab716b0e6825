//! Guest threads.
//!
//! Costs: `resume` stores 19 words, and makes one `futex` call if the host thread sleeps; `poll_event` loads 25
//! words and makes no host call; `interrupt` makes one `tgkill` if the guest runs and has not been told yet.
//!
//! A kick that comes while the thread is in its handler stays pending until the guest runs on, and would stop it
//! for nothing then. Such a stop is recognised and the guest sent on without telling the task.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use chitin_abi::{Errno, Regs, Result};
use chitin_mm::HostOp;
use chitin_mm::platform::{
    DeathNotice, Event, GuestThread, HotSite, Interrupter, PlatformFuture, Spawned, ThreadState,
};

use crate::frame::Stopped;
use crate::layout::{self, channel, trampoline};
use crate::order;
use crate::patches;
use crate::process::{Process, Slot};
use crate::raw::{host, text};
use crate::shared::Listener;
use crate::{reuse, usage};

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
    /// It is being made to trap.
    goal: Option<Goal>,
    /// What it carries out itself.
    carry: Carry,
    /// Whether the stub may answer what needs no sentry.
    is_alone: bool,
    /// What it stood still as before it last went on.
    went: Option<Fast>,
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
            goal: None,
            carry: Carry::Nothing,
            is_alone: false,
            went: None,
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
        // Not before: a mark on a word that is not GO yet would be taken for a stop.
        shared.running.mark(self.slot.place);
    }

    /// Claims the run, unless somebody wants it to stop before it begins.
    fn may_run(&self) -> bool {
        let change = |state| if state & INTERRUPT != 0 { Some(0) } else { Some(RUNNING) };
        let order = Ordering::SeqCst;
        let before = self.slot.state.fetch_update(order, order, change).unwrap_or(0);
        self.process.patches.wait();
        before & INTERRUPT == 0
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
        let flags = self.prepare(regs);
        let mut regs = *regs;
        if let Some(moved) = self.process.patches.moved(&self.process, regs.rip) {
            regs.rip = moved;
        }
        let channels = &self.process.shared.channels;
        self.slot.channel.store_registers(channels, frame, &regs);
        self.slot.has_old_code.store(false, Ordering::SeqCst);
        self.slot.channel.set_flags(channels, flags | self.carrying());
        if !self.may_run() {
            return false;
        }
        self.went = None;
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
        self.slot.channel.set_flags(channels, flags | self.carrying());
        if !self.may_run() {
            return false;
        }
        self.went = self.fast.take();
        self.carry_off();
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
        }
        result
    }

    /// Makes a guest that came from a patched call site trap, so that there is a signal frame.
    fn convert(&mut self, goal: Goal) {
        self.goal = Some(goal);
        let flags = self.mode() | channel::CONVERT;
        let channels = &self.process.shared.channels;
        if let Some(fast) = self.fast {
            self.slot.channel.set_continuation(channels, fast.cont);
        }
        self.slot.channel.set_flags(channels, flags);
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
        if rip == text::fast()
            && matches!(event, Event::Fault(_))
            && let Some(rip) = self.process.patches.rip_of(regs.rcx)
        {
            // The guest has another base of GS: as if the call had trapped.
            (regs.rip, regs.rcx, regs.r11) = (rip, rip, regs.eflags);
            regs.orig_rax = regs.rax;
            return Event::Syscall;
        }
        self.process.patches.translate(event, regs)
    }

    /// Takes what has stopped the guest. `None`: nothing that the task need know; the guest runs again.
    fn take(&mut self, regs: &mut Regs) -> Option<Event> {
        let shared = Arc::clone(&self.process.shared);
        shared.running.unmark(self.slot.place);
        self.is_running = false;
        let was_interrupted = self.slot.state.swap(0, Ordering::SeqCst) & INTERRUPT != 0;
        if let Some(result) = self.carried(was_interrupted) {
            return Some(result.err().map_or(Event::Interrupted, Event::Failed));
        }
        let Some(stopped) = self.slot.channel.stopped(&shared.channels) else {
            self.process.kill();
            return Some(Event::Dead);
        };
        if let Some(goal) = self.goal.take() {
            return self.converted(goal, &stopped, was_interrupted, regs);
        }
        if stopped.is_fast {
            self.has_stray |= was_interrupted;
            self.fast = Some(self.load_fast(stopped.frame, regs));
            return Some(Event::Syscall);
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

    /// Whether the guest has stopped; who is to be told otherwise.
    fn poll_stop(&mut self, context: &Context<'_>) -> Poll<()> {
        let shared = &self.process.shared;
        if self.slot.channel.word(&shared.channels) == channel::GO {
            let listener = Listener::Task(context.waker().clone());
            *shared.running.cell(self.slot.place).lock() = Some(listener);
            // Who looked before the guest ran may have taken this run's mark for that of the one before; they tell
            // the listener afterwards, so that this is done again.
            shared.running.mark(self.slot.place);
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
        let runs = if let Some(fast) = self.fast {
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
                self.process.shared.running.unmark(self.slot.place);
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

    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<()> {
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
            let channels = &self.process.shared.channels;
            let flags = self.mode() | channel::CARRYING | channel::STAY;
            self.slot.channel.set_flags(channels, flags);
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
        let is_ready = self.fast.is_none() && !self.is_running && self.carry == Carry::Nothing;
        let shared = Arc::clone(&self.process.shared);
        let (true, Ok(extended)) = (is_ready, shared.shape.checked(&state.extended)) else {
            return Err(state);
        };
        let Some(slot) = self.process.mapped_slot() else { return Err(state) };
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
}
