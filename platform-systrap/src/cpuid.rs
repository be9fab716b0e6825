//! What `cpuid` says, without asking.
//!
//! In a virtual machine each `cpuid` leaves it, for 1 to 70 µs, and the C library has some 30 of them at the start of every program. In code that is
//! rewritten per file ([`crate::code`]) they are instructions that fault. The sentry answers what is asked for the first time, and puts it on a
//! page of the configuration, where the stub's handler finds it from then on. What tells
//! cores apart is that of the core where it was asked first: the host may move a guest between the instruction and the next one, whatever
//! affinity its kernel notes. Leaves of the hypervisor are asked for each time, and nothing is replaced on machines with several
//! kinds of cores.
//!
//! Costs: a fault that the host turns into a signal, 2 µs; a hand-over besides where the sentry answers.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use chitin_abi::Regs;
use parking_lot::Mutex;

use crate::layout::config;
use crate::raw::arena::Arena;
use crate::raw::host;

/// Registers in the order eax, ebx, ecx, edx.
type Answer = [u32; 4];

/// Bytes of the instruction.
const LEN: u64 = 2;
/// Leaves of the hypervisor, some of which tell of the moment.
const HYPERVISOR: core::ops::Range<u32> = 0x4000_0000..0x5000_0000;
/// Extended features, whose EDX has [`HYBRID`].
const FEATURES: u32 = 7;
/// Cores are of several kinds.
const HYBRID: u32 = 1 << 15;

/// Answers so far, by leaf and subleaf (0 where it does not count).
#[derive(Default)]
pub struct Answers(Mutex<HashMap<(u32, u32), Answer>>);

/// Leaves without subleaves: what is in ECX does not count. Of others it is taken to do.
const fn has_subleaves(leaf: u32) -> bool {
    !matches!(leaf, 0..=3 | 5 | 6 | 8..=0xa | 0xc | 0xe | 0x11 | 0x13 | 0x15 | 0x16 | 0x19)
        && !matches!(leaf, 0x8000_0000..=0x8000_0008)
}

/// Whether an answer means the same on all cores.
pub fn is_same_on_all_cores() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let [most, ..] = host::cpuid(0, 0);
        most < FEATURES || host::cpuid(FEATURES, 0)[3] & HYBRID == 0
    })
}

/// Writes an entry of the page. The word that makes it one comes last: stubs look at it first.
fn publish(page: &Arena, index: u64, (leaf, subleaf): (u32, u32), answer: Answer) {
    let counting = if has_subleaves(leaf) { u32::MAX } else { 0 };
    let [a, b, c, d] = answer;
    let entry = config::CPUID + index * config::CPUID_STRIDE;
    for (at, word) in [(0, leaf), (4, counting), (8, subleaf), (16, a), (20, b), (24, c), (28, d)] {
        page.u32(entry + at).store(word, Ordering::SeqCst);
    }
    page.u32(entry + 12).store(1, Ordering::SeqCst);
}

impl Answers {
    fn answer(&self, leaf: u32, subleaf: u32, page: &Arena) -> Answer {
        if HYPERVISOR.contains(&leaf) {
            return host::cpuid(leaf, subleaf);
        }
        let subleaf = if has_subleaves(leaf) { subleaf } else { 0 };
        let mut known = self.0.lock();
        if let Some(answer) = known.get(&(leaf, subleaf)) {
            return *answer;
        }
        let answer = host::cpuid(leaf, subleaf);
        if known.len() < config::CPUID_COUNT as usize {
            publish(page, known.len() as u64, (leaf, subleaf), answer);
            known.insert((leaf, subleaf), answer);
        }
        answer
    }

    /// What the instruction at `rip` does; for stubs' next time it is put on their page.
    pub fn emulate(&self, regs: &mut Regs, page: &Arena) {
        let [a, b, c, d] = self.answer(regs.rax as u32, regs.rcx as u32, page).map(u64::from);
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
        let page = Arena::new("test", config::CPUID as usize + 0x1000, false).unwrap();
        for _ in 0..2 {
            let high = 0xffff_ffff_0000_0000;
            let mut regs =
                Regs { rax: high, rbx: u64::MAX, rcx: high, rip: 0x1000, ..Regs::default() };
            answers.emulate(&mut regs, &page);
            let wanted = host::cpuid(0, 0).map(u64::from);
            assert_eq!([regs.rax, regs.rbx, regs.rcx, regs.rdx], wanted);
            assert_eq!(regs.rip, 0x1002);
        }
        assert_eq!(answers.0.lock().len(), 1);
        // Leaf 0 without regard to ECX, and no further entry.
        let entry: Vec<u32> = (0..8).map(|word| page.load32(config::CPUID + 4 * word)).collect();
        assert_eq!(entry[..4], [0, 0, 0, 1]);
        assert_eq!(entry[4..], host::cpuid(0, 0));
        assert_eq!(page.load32(config::CPUID + config::CPUID_STRIDE + 12), 0);
        // As many as there is room for.
        for subleaf in 0..200 {
            let mut regs = Regs { rax: 4, rcx: subleaf, ..Regs::default() };
            answers.emulate(&mut regs, &page);
            assert_eq!(regs.rax, u64::from(host::cpuid(4, subleaf as u32)[0]));
        }
        assert_eq!(answers.0.lock().len() as u64, config::CPUID_COUNT);
    }
}
