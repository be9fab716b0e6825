//! A channel as the sentry sees it: the header, and the signal frame on the alternate stack.
//!
//! The stub's handler copies nothing: registers are read and written in the frame that the kernel made, which
//! `rt_sigreturn` loads again. Everything in a channel may be changed by guest code at any moment; each field is
//! read once, and offsets are checked before they are used.
//!
//! References: `arch/x86/include/uapi/asm/sigcontext.h`, `sigreturn(2)`.

use std::sync::atomic::Ordering;

use chitin_abi::{GuestAddr, Regs, Result};
use chitin_mm::platform::{Answers, Event, Fault};

use crate::layout::{self, CHANNEL_LEN, channel, order::OP_LEN};
use crate::order::{self, Op};
use crate::raw::arena::Arena;
use crate::xstate::{MAGIC2, Shape};

/// Offsets in the frame (`struct rt_sigframe`).
mod field {
    pub const UC_FLAGS: u64 = 8;
    pub const UC_STACK: u64 = 24;
    /// r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags selectors
    pub const REGISTERS: u64 = 48;
    pub const RCX: u64 = REGISTERS + 14 * 8;
    pub const SELECTORS: u64 = REGISTERS + 18 * 8;
    pub const ERROR: u64 = REGISTERS + 19 * 8;
    pub const TRAP: u64 = REGISTERS + 20 * 8;
    pub const EXTENDED: u64 = REGISTERS + 23 * 8;
    pub const MASK: u64 = 304;
    pub const SIGNAL_INFO: u64 = 312;
    pub const LEN: u64 = SIGNAL_INFO + 128;
}

const USER_CODE: u64 = 0x33;
const USER_DATA: u64 = 0x2b;
const X86_64: u32 = 0xc000_003e;
/// There is extended state; the stack segment is saved and to be restored.
const UC_FLAGS: u64 = 1 | 2 | 4;

/// One channel of the arena.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Its offset in the arena.
    pub offset: u64,
    /// Its address in the stub.
    pub address: u64,
}

/// What a stopped thread has left in its channel.
pub struct Stopped {
    /// Why it stopped.
    pub event: Event,
    /// Where its frame is: an offset in the arena, checked.
    pub frame: u64,
    /// It came from a patched call site: the frame has registers only.
    pub is_fast: bool,
}

impl Channel {
    fn header(self, field: u64) -> u64 {
        self.offset + channel::HEADER + field
    }

    /// Its number.
    pub fn place(self) -> u32 {
        (self.offset / CHANNEL_LEN) as u32
    }

    /// The word, read once.
    pub fn word(self, arena: &Arena) -> u32 {
        arena.u32(self.header(channel::WORD)).load(Ordering::Acquire)
    }

    /// Hands the turn to the stub; says whether it sleeps and must be woken.
    pub fn release(self, arena: &Arena, word: u32) -> bool {
        arena.u32(self.header(channel::WORD)).swap(word, Ordering::SeqCst) == channel::PARKED
    }

    /// Wakes the stub's thread.
    pub fn wake(self, arena: &Arena) {
        let word = arena.u32(self.header(channel::WORD));
        let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), 1);
    }

    /// Whether the host thread exists, as far as the channel tells.
    pub fn is_alive(self, arena: &Arena) -> bool {
        arena.load32(self.header(channel::ALIVE)) != 0
    }

    /// There is no host thread.
    pub fn set_gone(self, arena: &Arena) {
        arena.store32(self.header(channel::ALIVE), 0);
    }

    /// Where the kernel's `CLONE_CHILD_CLEARTID` word is in the stub.
    pub fn alive_address(self) -> u64 {
        self.address + channel::HEADER + channel::ALIVE
    }

    /// Makes an empty channel that of a new thread, and says where its frame is in the stub.
    pub fn prepare(self, arena: &Arena, shape: &Shape, regs: &Regs, extended: &[u8]) -> u64 {
        let address = self.write_frame(arena, shape, regs, extended);
        arena.store32(self.header(channel::ALIVE), 1);
        arena.u32(self.header(channel::WORD)).store(channel::TAKEN, Ordering::Release);
        address
    }

    /// What a thread has left here that stands still and whose frame is of no more use.
    pub fn forget(self, arena: &Arena) {
        arena.clear(self.offset, channel::STACK);
        // Lower pages of the stack are only ever touched by guests that mean to.
        for at in (channel::HEADER - 0x1e00..channel::HEADER).step_by(8) {
            arena.store64(self.offset + at, 0);
        }
        let parts = [
            channel::CALL..channel::FRAME,
            channel::FS_BASE..channel::FLAGS,
            channel::FAST_REGISTERS..channel::FAST_REGISTERS + channel::FAST_LEN,
            channel::ANSWERS..channel::ANSWERS_END,
            channel::CARRY..channel::HEADER_LEN,
        ];
        for at in parts.into_iter().flat_map(|part| part.step_by(8)) {
            arena.store64(self.header(at), 0);
        }
    }

    /// Gives a thread that stands still a frame as that of a new one; says where it is in the stub.
    pub fn write_frame(self, arena: &Arena, shape: &Shape, regs: &Regs, extended: &[u8]) -> u64 {
        let room = (shape.size as u64 + 4 + 63) & !63;
        let area = (self.offset + channel::HEADER - room) & !63;
        let frame = ((area - field::LEN) & !15) - 8;
        let address = self.address + (frame - self.offset);
        for at in (0..field::LEN).step_by(8) {
            arena.store64(frame + at, 0);
        }
        arena.store64(frame + field::UC_FLAGS, UC_FLAGS);
        arena.store64(frame + field::UC_STACK, self.address + channel::STACK);
        arena.store64(frame + field::UC_STACK + 16, channel::HEADER - channel::STACK);
        arena.store64(frame + field::MASK, 0);
        arena.store64(frame + field::EXTENDED, self.address + (area - self.offset));
        self.write_extended_at(arena, area, shape, extended);
        self.store_registers(arena, frame, regs);
        arena.store64(self.header(channel::FRAME), address);
        let top = self.header_address() + channel::FAST_REGISTERS + channel::FAST_LEN;
        arena.store64(self.header(channel::FAST_TOP), top);
        arena.store32(self.header(channel::CARRY), channel::IDLE);
        arena.store32(self.header(channel::PATIENCE), channel::PATIENCE_FIRST);
        arena.store32(self.header(channel::PLACE), self.place() + 1);
        self.set_answers(arena, None);
        address
    }

    /// Writes operations that the thread is to carry out itself.
    pub fn set_carried(self, arena: &Arena, ops: &[Op]) {
        for (index, op) in ops.iter().take(channel::CARRIED_COUNT as usize).enumerate() {
            let place = self.header(channel::CARRIED) + index as u64 * OP_LEN;
            for (at, word) in op.words().into_iter().enumerate() {
                arena.store64(place + 8 * at as u64, word);
            }
        }
        let word = arena.u32(self.header(channel::CARRY));
        word.store(channel::UNDER_WAY, Ordering::SeqCst);
    }

    /// Has the thread wake the warden when its operations are done; `None`: they are. Else where the word for that is
    /// in the stub.
    pub fn await_carried(self, arena: &Arena) -> Option<u64> {
        let word = arena.u32(self.header(channel::CARRY));
        let (from, to) = (channel::UNDER_WAY, channel::AWAITED);
        let before = word.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
        let is_done = !matches!(before, Ok(_) | Err(channel::AWAITED));
        (!is_done).then(|| self.header_address() + channel::CARRY)
    }

    /// Whether operations are to be carried out still, as far as the channel tells.
    pub fn is_carrying(self, arena: &Arena) -> bool {
        arena.load32(self.header(channel::CARRY)) != channel::IDLE
    }

    /// Its operations will not be carried out.
    pub fn drop_carried(self, arena: &Arena) {
        let word = arena.u32(self.header(channel::CARRY));
        if word.swap(channel::IDLE, Ordering::SeqCst) == channel::AWAITED {
            let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), 1);
        }
    }

    /// What came of operations, if that is why the thread has stopped: whether all went well, or the first error.
    pub fn carried(self, arena: &Arena) -> Option<Result<()>> {
        match arena.load32(self.header(channel::SIGNAL)) {
            channel::CARRY_DONE => Some(Ok(())),
            channel::CARRY_FAILED => {
                let error = arena.load64(self.header(channel::CARRY_ERROR)) as i64;
                Some(Err(order::errno(error)))
            }
            _ => None,
        }
    }

    /// What the last of its operations returned.
    pub fn carry_result(self, arena: &Arena) -> i64 {
        arena.load64(self.header(channel::CARRY_RESULT)) as i64
    }

    /// What stopped the thread. `None`: the channel makes no sense.
    pub fn stopped(self, arena: &Arena) -> Option<Stopped> {
        let signal = arena.load32(self.header(channel::SIGNAL));
        if signal == channel::FAST_SIGNAL {
            let frame = self.fast_frame();
            return Some(Stopped { event: Event::Syscall, frame, is_fast: true });
        }
        let frame = self.frame(arena)?;
        let info = frame + field::SIGNAL_INFO;
        let code = arena.load32(info + 8) as i32;
        let event = match signal as i32 {
            libc::SIGSYS if arena.load32(info + 28) == X86_64 => Event::Syscall,
            libc::SIGSYS => Event::ForeignSyscall,
            // The kick, or a signal that somebody outside has sent.
            _ if signal == layout::KICK || code <= 0 => Event::Interrupted,
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP => {
                Event::Fault(Fault {
                    signal,
                    code,
                    address: GuestAddr(arena.load64(info + 16)),
                    trap: arena.load64(frame + field::TRAP),
                    error: arena.load64(frame + field::ERROR),
                })
            }
            _ => return None,
        };
        Some(Stopped { event, frame, is_fast: false })
    }

    /// Whether the thread came from a patched call site.
    pub fn is_call(self, arena: &Arena) -> bool {
        arena.load32(self.header(channel::SIGNAL)) == channel::FAST_SIGNAL
    }

    /// A frame whose registers are those that a patched call site has saved. Nothing else is there.
    pub fn fast_frame(self) -> u64 {
        self.header(channel::FAST_REGISTERS) - field::REGISTERS
    }

    /// Where the header is in the stub: the base of GS of threads whose call sites are patched.
    pub fn header_address(self) -> u64 {
        self.address + channel::HEADER
    }

    /// Where a thread that came from a patched call site goes on.
    pub fn set_continuation(self, arena: &Arena, address: u64) {
        arena.store64(self.fast_frame() + field::RCX, address);
    }

    /// The frame's offset in the arena, if it lies on the alternate stack.
    pub fn frame(self, arena: &Arena) -> Option<u64> {
        let inside = arena.load64(self.header(channel::FRAME)).wrapping_sub(self.address);
        let fits = inside <= channel::HEADER - field::LEN && inside.is_multiple_of(8);
        fits.then(|| self.offset + inside)
    }

    /// Reads the registers of a stopped thread.
    pub fn load_registers(self, arena: &Arena, frame: u64, event: Event, regs: &mut Regs) {
        let mut slots = [0; 19];
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = arena.load64(frame + field::REGISTERS + 8 * index as u64);
        }
        let [r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, ..] = slots;
        let [.., rsp, rip, eflags, selectors] = slots;
        let is_call = matches!(event, Event::Syscall | Event::ForeignSyscall);
        *regs = Regs {
            orig_rax: if is_call { rax } else { u64::MAX },
            cs: selectors & 0xffff,
            gs: selectors >> 16 & 0xffff,
            fs: selectors >> 32 & 0xffff,
            ss: selectors >> 48,
            ds: 0,
            es: 0,
            fs_base: arena.load64(self.header(channel::FS_BASE)),
            gs_base: arena.load64(self.header(channel::GS_BASE)),
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            eflags,
        };
    }

    /// Number and arguments of a call from a patched site; the other registers are left as they are.
    pub fn load_call(self, arena: &Arena, regs: &mut Regs) {
        let mut slots = [0; 7];
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = arena.load64(self.header(channel::CALL) + 8 * index as u64);
        }
        [regs.rax, regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = slots;
        regs.orig_rax = regs.rax;
    }

    /// What stands where the result of a call from a patched site is put.
    pub fn result(self, arena: &Arena) -> u64 {
        arena.load64(self.header(channel::CALL))
    }

    /// How many bytes of two arguments came with a call from a patched site, as the stub says.
    pub fn brought(self, arena: &Arena) -> [u32; 2] {
        let both = arena.load64(self.header(channel::IN));
        [both as u32, (both >> 32) as u32]
    }

    /// Puts a range down that the stub is to carry out.
    pub fn give(self, arena: &Arena, index: u32, address: u64, len: u32, offset: u32) {
        let at = self.header(channel::OUTS) + channel::OUTS_STRIDE * u64::from(index);
        arena.store64(at, address);
        arena.store64(at + 8, u64::from(len) | u64::from(offset) << 32);
    }

    /// Has the stub carry out so many ranges.
    pub fn set_outs(self, arena: &Arena, count: u32) {
        arena.store32(self.header(channel::SIGNAL), count);
    }

    /// The result of a call from a patched site.
    pub fn set_result(self, arena: &Arena, result: u64) {
        arena.store64(self.header(channel::CALL), result);
    }

    /// Writes the registers that a stopped thread goes on with.
    pub fn store_registers(self, arena: &Arena, frame: u64, regs: &Regs) {
        let cs = if regs.cs == 0x23 { 0x23 } else { USER_CODE };
        let slots = [
            regs.r8,
            regs.r9,
            regs.r10,
            regs.r11,
            regs.r12,
            regs.r13,
            regs.r14,
            regs.r15,
            regs.rdi,
            regs.rsi,
            regs.rbp,
            regs.rbx,
            regs.rdx,
            regs.rax,
            regs.rcx,
            regs.rsp,
            regs.rip,
            regs.eflags,
        ];
        for (index, slot) in slots.into_iter().enumerate() {
            arena.store64(frame + field::REGISTERS + 8 * index as u64, slot);
        }
        arena.store64(frame + field::SELECTORS, cs | USER_DATA << 48);
    }

    /// What the stub answers by itself; `None`: nothing.
    pub fn set_answers(self, arena: &Arena, answers: Option<&Answers>) {
        for (index, answer) in answers.iter().flat_map(|answers| answers.0).enumerate() {
            arena.store64(self.header(channel::ANSWERS) + 8 * index as u64, answer);
        }
        let silent = u64::from(answers.is_none());
        arena.u64(self.header(channel::SILENT)).store(silent, Ordering::SeqCst);
    }

    /// Has the stub load these bases before the guest runs on.
    pub fn set_bases(self, arena: &Arena, fs: u64, gs: u64) {
        arena.store64(self.header(channel::FS_BASE), fs);
        arena.store64(self.header(channel::GS_BASE), gs);
    }

    /// Sets the header's flags.
    pub fn set_flags(self, arena: &Arena, flags: u32) {
        arena.store32(self.header(channel::FLAGS), flags);
    }

    /// Where the extended state of a stopped thread is in the arena, if there is room for all of it.
    fn extended(self, arena: &Arena, frame: u64, shape: &Shape) -> Option<u64> {
        let inside = arena.load64(frame + field::EXTENDED).wrapping_sub(self.address);
        let room = channel::HEADER.checked_sub(shape.size as u64 + 8)?;
        (inside <= room && inside.is_multiple_of(64) && inside < CHANNEL_LEN)
            .then(|| self.offset + inside)
    }

    /// Reads the extended state of a stopped thread; the initial one where the frame has none.
    pub fn read_extended(self, arena: &Arena, shape: &Shape) -> Vec<u8> {
        let place = self.frame(arena).and_then(|frame| self.extended(arena, frame, shape));
        let Some(place) = place else { return shape.initial() };
        let mut state = vec![0; shape.size];
        arena.read(place, &mut state);
        shape.note(&mut state);
        state
    }

    /// Writes a checked extended state into the frame of a stopped thread.
    pub fn write_extended(self, arena: &Arena, shape: &Shape, state: &[u8]) {
        let place = self.frame(arena).and_then(|frame| self.extended(arena, frame, shape));
        if let Some(place) = place {
            self.write_extended_at(arena, place, shape, state);
        }
    }

    fn write_extended_at(self, arena: &Arena, place: u64, shape: &Shape, state: &[u8]) {
        arena.write(place, state);
        // The size need not be a multiple of 8, the magic word follows at once.
        let end = place + shape.size as u64;
        if shape.size.is_multiple_of(4) {
            arena.store32(end, MAGIC2);
        }
    }
}
