//! What the calling thread is to the kernel, and its system calls.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use chitin_abi::signal::{SIGBUS, SIGSEGV};
use chitin_abi::{Errno, GuestAddr, Result, nr};
use chitin_mm::platform::{Event, Fault};
use parking_lot::Mutex;

use super::arena::Arena;
use super::guest::{Guest, Stopped};
use super::handler::Counts;
use super::kernel::{CODE, HANDLER};
use super::memory::Refusal;
use super::platform::Local;
use crate::suite::{Arg, skip};

/// Behind the instruction that makes a system call.
const AFTER: u64 = CODE + 2;
/// How long a child's call may take: its parent stands still meanwhile.
pub(super) const CHILD_WAITS: Duration = Duration::from_secs(1);

/// What a thread unwinds with when the kernel has ended it.
pub(super) struct Ended;

/// A guest thread that a thread of this process plays.
pub(super) struct Current {
    pub(super) guest: Guest,
    pub(super) arena: Arena,
    pub(super) counts: Arc<Counts>,
    pub(super) platform: Arc<Local>,
    /// Whether it is a child's, whose parent stands still.
    pub(super) is_child: bool,
    /// How long the kernel may take for a call.
    pub(super) patience: Option<Duration>,
}

/// Why a failure of the test that runs says nothing: it used something that is only like what a kernel has.
static DOUBT: Mutex<Option<&'static str>> = Mutex::new(None);

/// From now on a failure says nothing, for this reason.
pub(super) fn doubt(reason: &'static str) {
    DOUBT.lock().get_or_insert(reason);
}

/// Why a failure says nothing.
pub(super) fn doubts() -> Option<&'static str> {
    *DOUBT.lock()
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Makes the calling thread play another guest thread, or none; the one before.
pub(super) fn replace(current: Option<Current>) -> Option<Current> {
    CURRENT.replace(current)
}

/// The guest thread that the calling thread plays.
///
/// # Panics
/// When it plays none: the test is skipped.
pub(super) fn with<T>(body: impl FnOnce(&mut Current) -> T) -> T {
    CURRENT.with_borrow_mut(|current| match current {
        Some(current) => body(current),
        None => {
            doubt("a thread that was not made by the facade is none of the kernel's");
            skip("a thread that was not made by the facade is none of the kernel's")
        }
    })
}

/// Unwinds if the kernel does not let the thread go on.
pub(super) fn settle<T>(result: core::result::Result<T, Stopped>) -> T {
    match result {
        Ok(value) => value,
        Err(Stopped::Ended) => std::panic::resume_unwind(Box::new(Ended)),
        Err(Stopped::Waits) => {
            skip("a child that waits for its parent needs processes at one time")
        }
        Err(Stopped::Arena) => panic!("the memory for the buffers of calls has been unmapped"),
        Err(Stopped::Code) => skip("a subject in process runs no code"),
    }
}

impl Current {
    /// Makes a system call with buffers.
    pub(super) fn call(
        &mut self,
        number: u64,
        args: &mut [Arg<'_>],
    ) -> core::result::Result<Result<u64>, Stopped> {
        let (registers, outputs) = self.arena.put(&self.guest.memory, args)?;
        let result = self.syscall(number, registers);
        Arena::take(&self.guest.memory, &outputs, args);
        result
    }

    /// Makes a system call with registers.
    pub(super) fn syscall(
        &mut self,
        number: u64,
        [a, b, c, d, e, f]: [u64; 6],
    ) -> core::result::Result<Result<u64>, Stopped> {
        let regs = &mut self.guest.regs;
        (regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9) = (a, b, c, d, e, f);
        (regs.rax, regs.rip) = (number, AFTER);
        self.cross(Event::Syscall, AFTER)?;
        let result = self.guest.regs.rax;
        Ok(match result.cast_signed() {
            error @ -4095..0 => Err(Errno::from_raw(i32::try_from(-error).unwrap_or(0))),
            _ => Ok(result),
        })
    }

    /// Stops with an event and runs what the kernel puts before the way back, until the instruction at `until`.
    fn cross(&mut self, event: Event, until: u64) -> core::result::Result<(), Stopped> {
        self.guest.stop(event);
        loop {
            self.guest.wait_resumed(self.patience)?;
            match self.guest.regs.rip {
                rip if rip == until => return Ok(()),
                // The call is made again.
                CODE => self.guest.regs.rip = AFTER,
                HANDLER => {
                    self.counts.count(&self.guest.regs, &self.guest.memory);
                    let regs = &mut self.guest.regs;
                    // The handler's `ret` takes the return address, where the frame is left.
                    regs.rsp += 8;
                    (regs.rax, regs.rip) = (nr::RT_SIGRETURN, AFTER);
                }
                _ => return Err(Stopped::Code),
            }
            self.guest.stop(Event::Syscall);
        }
    }

    /// Has the kernel settle an access that failed; it may be tried again then.
    pub(super) fn fault(&mut self, at: u64, why: Refusal) -> core::result::Result<(), Stopped> {
        let (signal, code) = match why {
            Refusal::Unmapped => (SIGSEGV, 1),
            Refusal::Rights => (SIGSEGV, 2),
            Refusal::BehindEnd => (SIGBUS, 2),
        };
        self.guest.regs.rip = CODE;
        let address = GuestAddr(at);
        self.cross(Event::Fault(Fault { signal, code, address, trap: 14, error: 4 }), CODE)
    }

    /// The thread that the kernel has just made, before its first instruction.
    pub(super) fn newborn(&self) -> core::result::Result<Guest, Stopped> {
        let newborn = self.platform.newborn.lock().pop_front().ok_or(Stopped::Ended)?;
        let mut guest = Guest::new(newborn);
        guest.wait_resumed(None)?;
        Ok(guest)
    }
}
