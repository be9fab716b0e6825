//! Signal handlers that count, of a process in this process.

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::GuestMemory;
use parking_lot::Mutex;
use zerocopy::FromBytes;

use super::memory::Memory;

const SIGNALS: usize = 65;

/// Count, code and value of a signal's last delivery.
pub(super) type Caught = (u32, i32, u64);

/// What the handlers of a process have counted.
pub(super) struct Counts {
    signals: Mutex<[Caught; SIGNALS]>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { signals: Mutex::new([(0, 0, 0); SIGNALS]) }
    }
}

impl Counts {
    /// What a child's handlers begin with.
    pub(super) fn copy(&self) -> Self {
        Self { signals: Mutex::new(*self.signals.lock()) }
    }

    /// Of one signal.
    pub(super) fn get(&self, signal: u32) -> Caught {
        self.signals.lock()[(signal as usize).min(SIGNALS - 1)]
    }

    /// The handler: its arguments are in the registers.
    pub(super) fn count(&self, regs: &Regs, memory: &Memory) {
        let mut info = [0; 32];
        // Where it cannot be read it is not there: the signal counts all the same.
        let _ = memory.read(GuestAddr(regs.rsi), &mut info);
        let code = i32::read_from_bytes(&info[8..12]).unwrap_or_default();
        let value = u64::read_from_bytes(&info[24..32]).unwrap_or_default();
        let index = usize::try_from(regs.rdi).map_or(0, |signal| signal.min(SIGNALS - 1));
        let mut signals = self.signals.lock();
        signals[index] = (signals[index].0 + 1, code, value);
    }
}
