//! What has stopped a guest thread, and what of that its task is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use chitin_abi::{Errno, GuestAddr, Regs, Result};
use chitin_mm::platform::{Event, Fault};

use super::{Carry, Fast, Goal, INTERRUPT, TRAP_FLAG, TRAP_TRACE, Thread};
use crate::frame::Stopped;
use crate::layout::channel;
use crate::raw::text;
use crate::shared::Listener;

impl Thread {
    pub(super) fn load(&mut self, frame: u64, event: Event, regs: &mut Regs) {
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
    pub(super) fn load_fast(&mut self, frame: u64, regs: &mut Regs) -> Fast {
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

    /// What came of what it carried out, if that is why it has stopped.
    pub(super) fn carried(&mut self, was_interrupted: bool) -> Option<Result<()>> {
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

    pub(super) fn complete_registers(&mut self, regs: &mut Regs) {
        if core::mem::take(&mut self.is_partial) {
            self.fast = Some(self.load_fast(self.slot.channel.fast_frame(), regs));
        }
    }

    /// Whether this stop, in the stub's own code, is one on the way back to the guest: trapped as it was told, or
    /// interrupted.
    pub(super) fn is_on_way_back(event: Event, rip: u64) -> bool {
        let (start, end) = text::back();
        match event {
            Event::Interrupted => (start..=end).contains(&rip),
            Event::Fault(fault) => rip == end && fault.signal == libc::SIGTRAP as u32,
            _ => false,
        }
    }

    /// What has happened to the guest, which knows nothing of the stub's own code.
    pub(super) fn translate(&mut self, event: Event, regs: &mut Regs) -> Event {
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

    /// What an instruction that faults and is there for us comes to, once what the guest's own does is done: nothing, but for
    /// who steps over it.
    fn stands_for(&self, signal: u32, regs: &mut Regs) -> Option<Event> {
        let patches = &self.process.patches;
        if signal == libc::SIGSEGV as u32 && patches.is_cpuid(regs.rip) {
            let shared = &self.process.shared;
            shared.cpuid.emulate(regs, &shared.orders);
            return Some(if regs.eflags & TRAP_FLAG == 0 {
                Event::Interrupted
            } else {
                step(regs)
            });
        }
        let is_moved =
            signal == libc::SIGILL as u32 && patches.moved(&self.process, regs.rip).is_some();
        is_moved.then_some(Event::Interrupted)
    }

    /// Takes what has stopped the guest. `None`: nothing that the task need know; the guest runs again.
    pub(super) fn take(&mut self, regs: &mut Regs) -> Option<Event> {
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
                && let Some(event) = self.stands_for(fault.signal, regs)
            {
                // The guest knows nothing of this fault; an interrupt that came meanwhile is told in its place.
                let goes_on = event == Event::Interrupted
                    && !was_interrupted
                    && self.resume_frame(stopped.frame, regs);
                return (!goes_on).then_some(event);
            }
        }
        Some(event)
    }

    pub(super) fn look_at_site(&mut self, event: Event, regs: &Regs) {
        let patches = &self.process.patches;
        let is_hot =
            event == Event::Syscall && !patches.is_off() && patches.is_hot(regs.rip, regs.rax);
        self.hot = is_hot.then_some(regs.rip);
    }

    /// It has trapped, as it was told.
    pub(super) fn converted(
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

    pub(super) fn unmark(&mut self) {
        if core::mem::take(&mut self.is_marked) {
            self.process.shared.running.unmark(self.slot.place);
        }
    }

    /// Whether the guest has stopped; who is to be told otherwise.
    pub(super) fn poll_stop(&mut self, context: &Context<'_>) -> Poll<()> {
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
}

/// The debug exception of who has stepped to these registers.
fn step(regs: &Regs) -> Event {
    const DEBUG: u64 = 1;
    Event::Fault(Fault {
        signal: libc::SIGTRAP as u32,
        code: TRAP_TRACE,
        address: GuestAddr(regs.rip),
        trap: DEBUG,
        error: 0,
    })
}
