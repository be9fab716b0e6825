//! Debug registers: hardware breakpoints and watchpoints, by single steps.
//!
//! The host's debug registers are out of reach, so a tracee with an active one runs step by step: after each
//! instruction what is watched is compared with what it was. So a watchpoint sees that a value changes, not that it is
//! read or written as it was: those are refused, as on a processor without debug registers to spare. Cost: one stop
//! of the guest per instruction, and one read of guest memory per watchpoint.
//!
//! Reference: Intel's manual, volume 3, "Debug registers".

use chitin_abi::signal::{TRAP_HWBKPT, TRAP_TRACE};
use chitin_abi::system::TASK_SIZE;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;

use crate::task::Task;

const SLOTS: usize = 4;
/// `DR6`: a step.
const STEPPED: u64 = 1 << 14;
/// `DR6` without anything in it.
const QUIET: u64 = 0xffff_0ff0;

/// What an active register looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Code,
    Data(usize),
}

/// The debug registers of a tracee.
#[derive(Default)]
pub struct Debug {
    addresses: [u64; SLOTS],
    status: u64,
    control: u64,
    seen: [u64; SLOTS],
}

fn watch(control: u64, slot: usize) -> Option<Result<Watch>> {
    if control >> (2 * slot) & 3 == 0 {
        return None;
    }
    let bits = control >> (16 + 4 * slot) & 0xf;
    let len = match bits >> 2 {
        0 => 1,
        1 => 2,
        2 => 8,
        _ => 4,
    };
    Some(match bits & 3 {
        0 if len == 1 => Ok(Watch::Code),
        1 => Ok(Watch::Data(len)),
        3 => Err(Errno::EIO),
        _ => Err(Errno::EINVAL),
    })
}

fn value(memory: &dyn GuestMemory, addr: u64, len: usize) -> u64 {
    let mut bytes = [0; 8];
    // What is not mapped has no value that could change.
    let _ = bytes.get_mut(..len).map(|bytes| memory.read(GuestAddr(addr), bytes));
    u64::from_ne_bytes(bytes)
}

impl Debug {
    /// Whether any is active.
    pub fn is_active(&self) -> bool {
        self.control & 0xff != 0
    }

    /// Register `index`, as `PTRACE_PEEKUSR` shows it.
    pub fn peek(&self, index: usize) -> u64 {
        match index {
            6 => self.status,
            7 => self.control,
            _ => self.addresses.get(index).copied().unwrap_or(0),
        }
    }

    /// Sets register `index`.
    ///
    /// # Errors
    /// EIO for a register that is none, and for what cannot be watched; EINVAL for an address that is not aligned.
    pub fn poke(&mut self, index: usize, new: u64, memory: &dyn GuestMemory) -> Result<()> {
        match index {
            0..SLOTS if new >= TASK_SIZE => return Err(Errno::EINVAL),
            6 => self.status = new,
            7 => self.set_control(new)?,
            _ => *self.addresses.get_mut(index).ok_or(Errno::EIO)? = new,
        }
        self.look(memory);
        Ok(())
    }

    fn set_control(&mut self, control: u64) -> Result<()> {
        for (slot, addr) in self.addresses.iter().enumerate() {
            match watch(control, slot).transpose()? {
                Some(Watch::Data(len)) if !addr.is_multiple_of(len as u64) => {
                    return Err(Errno::EINVAL);
                }
                _ => {}
            }
        }
        self.control = control;
        Ok(())
    }

    /// Remembers what is watched, and says which of it has changed, or is where `rip` points.
    fn changes(&mut self, rip: Option<u64>, memory: &dyn GuestMemory) -> u64 {
        let mut hits = 0;
        for (slot, (addr, seen)) in self.addresses.iter().zip(&mut self.seen).enumerate() {
            let hit = match watch(self.control, slot) {
                Some(Ok(Watch::Code)) => rip == Some(*addr),
                Some(Ok(Watch::Data(len))) => {
                    let now = value(memory, *addr, len);
                    core::mem::replace(seen, now) != now
                }
                _ => false,
            };
            hits |= u64::from(hit) << slot;
        }
        hits
    }

    fn look(&mut self, memory: &dyn GuestMemory) {
        self.changes(None, memory);
    }
}

/// A tracee has made a step to `rip`: the `si_code` that its SIGTRAP has, or `None` if it was a step that nobody
/// asked for and that changed nothing.
pub fn stepped(task: &Task, rip: u64, memory: &dyn GuestMemory) -> Option<i32> {
    let mut inner = task.trace.inner.lock();
    if !inner.debug.is_active() {
        return Some(TRAP_TRACE);
    }
    let hits = inner.debug.changes(Some(rip), memory);
    let asked = inner.mode.steps();
    if hits == 0 && !asked {
        return None;
    }
    inner.debug.status = QUIET | hits | if asked { STEPPED } else { 0 };
    Some(if hits == 0 { TRAP_TRACE } else { TRAP_HWBKPT })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word(core::sync::atomic::AtomicU64);

    impl GuestMemory for Word {
        fn read_partial(&self, _addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
            let word = self.0.load(core::sync::atomic::Ordering::Relaxed).to_ne_bytes();
            buffer.copy_from_slice(&word[..buffer.len()]);
            Ok(buffer.len())
        }

        fn write_partial(&self, _addr: GuestAddr, _bytes: &[u8]) -> Result<usize> {
            Err(Errno::EFAULT)
        }
    }

    #[test]
    fn changes_and_places_are_seen_once() {
        let memory = Word(1.into());
        let mut debug = Debug::default();
        debug.poke(0, 0x1000, &memory).expect("an address");
        debug.poke(1, 0x2000, &memory).expect("an address");
        // Slot 0: four bytes written; slot 1: execution.
        debug.poke(7, 0b0101 | 0b1101 << 16, &memory).expect("both can be watched");
        assert_eq!(debug.changes(Some(0), &memory), 0);
        memory.0.store(2, core::sync::atomic::Ordering::Relaxed);
        assert_eq!(debug.changes(Some(0x2000), &memory), 3);
        assert_eq!(debug.changes(Some(0), &memory), 0);
    }

    #[test]
    fn what_cannot_be_watched_is_refused() {
        let memory = Word(0.into());
        let mut debug = Debug::default();
        debug.poke(0, 0x1001, &memory).expect("an address");
        assert_eq!(debug.poke(7, 1 | 0b1101 << 16, &memory), Err(Errno::EINVAL));
        assert_eq!(debug.poke(7, 1 | 0b0011 << 16, &memory), Err(Errno::EIO));
        assert_eq!(debug.poke(4, 1, &memory), Err(Errno::EIO));
        assert!(!debug.is_active());
    }
}
