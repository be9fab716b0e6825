//! How a guest thread goes on: by `rt_sigreturn` with a whole frame, the way of patched call sites, or with a result alone.

use std::sync::atomic::Ordering;

use chitin_abi::Regs;

use super::{Carry, Fast, Goal, INTERRUPT, RUNNING, TRAP_FLAG, Thread};
use crate::layout::channel;
use crate::{patches, space};

impl Thread {
    /// Lets the guest go; what it goes on with is in its channel.
    pub(super) fn go(&mut self) {
        let shared = &self.process.shared;
        self.is_running = true;
        let word = if self.process.is_dead() { channel::EXIT } else { channel::GO };
        if self.slot.channel.release(&shared.channels, word) {
            self.slot.channel.wake(&shared.channels);
        }
    }

    /// Writes at once what would be carried out: the guest does not go on behind its call.
    pub(super) fn deliver_all(&self) {
        if self.luggage.outs() > 0 {
            let write = |address, bytes: &[u8]| {
                space::write(&self.process, address, bytes);
            };
            self.luggage.deliver(self.slot.channel, &self.process.shared.channels, write);
        }
    }

    pub(super) fn set_flags(&mut self, flags: u32) {
        if self.flags != Some(flags) {
            self.slot.channel.set_flags(&self.process.shared.channels, flags);
            self.flags = Some(flags);
        }
    }

    /// Claims the run, unless somebody wants it to stop before it begins.
    pub(super) fn may_run(&self) -> bool {
        let before = self.slot.state.swap(RUNNING, Ordering::SeqCst);
        self.process.patches.wait();
        if before & INTERRUPT != 0 {
            self.slot.state.store(0, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Has the guest go on by `rt_sigreturn`, unless it is interrupted before.
    pub(super) fn resume_frame(&mut self, frame: u64, regs: &Regs) -> bool {
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
    pub(super) fn prepare(&mut self, regs: &Regs) -> u32 {
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
    pub(super) fn resume_fast(&mut self, fast: Fast, regs: &Regs) -> bool {
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
    pub(super) fn carrying(&self) -> u32 {
        if self.carry == Carry::Taken { channel::CARRYING } else { 0 }
    }

    /// It goes on, with what it has taken.
    pub(super) fn carry_off(&mut self) {
        if self.carry == Carry::Taken {
            // Memory may be another when it comes to that.
            self.deliver_all();
            self.carry = Carry::UnderWay;
        }
    }

    /// Has a guest go on behind a call of which only number and arguments were loaded.
    pub(super) fn resume_partial(&mut self, result: u64) -> bool {
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

    /// Makes a guest that came from a patched call site trap, so that there is a signal frame.
    pub(super) fn convert(&mut self, goal: Goal) {
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
}

/// A base that the processor takes; another would end the stub in its own code.
fn canonical(base: u64, old: u64) -> u64 {
    if (base as i64) << 16 >> 16 == base as i64 { base } else { old }
}
