//! What `cpuid` says, without asking.
//!
//! In a virtual machine each `cpuid` leaves it, for 1 to 70 µs, and the C library has some 30 of them at the start of every program. In code that is
//! rewritten per file ([`crate::code`]) they are instructions that fault; the sentry knows what they would say, and the guest goes on
//! behind them. Leaves that tell cores apart are asked for each time, and nothing is replaced on machines whose cores differ.
//!
//! Costs: a fault that the host turns into a signal, and a hand-over: 2 to 5 µs.

use std::collections::HashMap;
use std::sync::OnceLock;

use chitin_abi::Regs;
use parking_lot::Mutex;

use crate::raw::host;

/// Registers in the order eax, ebx, ecx, edx.
type Answer = [u32; 4];

/// Bytes of the instruction.
const LEN: u64 = 2;
/// Answers that are kept.
const MOST: usize = 256;
/// Leaves that say on which core one is, or what it does just now.
const CHANGING: [u32; 6] = [1, 0xb, 0x1a, 0x1b, 0x1f, 0x8000_001e];
/// Extended features, whose EDX has [`HYBRID`].
const FEATURES: u32 = 7;
/// Cores are of several kinds.
const HYBRID: u32 = 1 << 15;

/// Answers so far, by leaf and subleaf.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<(u32, u32), Answer>>);

/// Whether an answer means the same on all cores.
pub fn is_same_on_all_cores() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let [most, ..] = host::cpuid(0, 0);
        most < FEATURES || host::cpuid(FEATURES, 0)[3] & HYBRID == 0
    })
}

impl Answers {
    fn answer(&self, leaf: u32, subleaf: u32) -> Answer {
        if CHANGING.contains(&leaf) {
            return host::cpuid(leaf, subleaf);
        }
        let mut known = self.0.lock();
        if let Some(answer) = known.get(&(leaf, subleaf)) {
            return *answer;
        }
        let answer = host::cpuid(leaf, subleaf);
        if known.len() < MOST {
            known.insert((leaf, subleaf), answer);
        }
        answer
    }

    /// What the instruction at `rip` does.
    pub fn emulate(&self, regs: &mut Regs) {
        let [a, b, c, d] = self.answer(regs.rax as u32, regs.rcx as u32).map(u64::from);
        (regs.rax, regs.rbx, regs.rcx, regs.rdx) = (a, b, c, d);
        regs.rip = regs.rip.wrapping_add(LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_those_of_the_processor() {
        let answers = Answers::default();
        for _ in 0..2 {
            let high = 0xffff_ffff_0000_0000;
            let mut regs =
                Regs { rax: high, rbx: u64::MAX, rcx: high, rip: 0x1000, ..Regs::default() };
            answers.emulate(&mut regs);
            let wanted = host::cpuid(0, 0).map(u64::from);
            assert_eq!([regs.rax, regs.rbx, regs.rcx, regs.rdx], wanted);
            assert_eq!(regs.rip, 0x1002);
        }
        assert_eq!(answers.0.lock().len(), 1);
    }
}
