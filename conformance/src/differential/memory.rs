//! Operations on mappings, all inside a range that the program reserves first.

use chitin_abi::mm::{MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_NONE};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use serde::{Deserialize, Serialize};

use super::table::{done, show};
use crate::suite::{Calls, Files, Kernel, call};

const PAGE: u64 = 4096;
/// `MREMAP_FIXED`.
const FIXED: u32 = 2;
/// Pages of the range; in front of it and behind it lies one more that is left alone.
const PAGES: u64 = 16;

/// One operation; places and lengths are in pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Map { at: u64, length: u64, rights: u32, shared: bool, keep: bool },
    Unmap { at: u64, length: u64 },
    Protect { at: u64, length: u64, rights: u32 },
    Remap { at: u64, length: u64, new_length: u64, to: u64, flags: u32 },
    Advise { at: u64, length: u64, advice: u32 },
    Lock { at: u64, length: u64, lock: bool },
    Sync { at: u64, length: u64, flags: u32 },
    Poke { at: u64, value: u8 },
    Peek { at: u64 },
    Break { pages: u64 },
}

/// Any operation.
pub(super) fn operations() -> impl Strategy<Value = Operation> + 'static {
    use Operation as O;
    let at = || 0..PAGES;
    let length = || prop_oneof![8 => 1..5_u64, 1 => Just(0)];
    let rights = || prop::sample::select(vec![0_u32, 1, 3, 3, 3, 5]);
    // Those whose effect can be seen: DONTNEED, FREE is not; then forks, dumps, huge pages, and one that is unknown.
    let advice = prop::sample::select(vec![0_u32, 3, 4, 4, 10, 11, 14, 16, 17, 18, 77]);
    prop_oneof![
        5 => (at(), length(), rights(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(at, length, rights, shared, keep)| O::Map { at, length, rights, shared, keep }
        ),
        3 => (at(), length()).prop_map(|(at, length)| O::Unmap { at, length }),
        4 => (at(), length(), rights())
            .prop_map(|(at, length, rights)| O::Protect { at, length, rights }),
        3 => (at(), length(), length(), at(), prop::sample::select(vec![0_u32, 3, 3, 7]))
            .prop_map(|(at, length, new_length, to, flags)| {
                // Moving more than one mapping at once is new in Linux 6.17: those of one page are surely one.
                let length = if flags & FIXED != 0 { length.min(1) } else { length };
                O::Remap { at, length, new_length, to, flags }
            }),
        2 => (at(), length(), advice).prop_map(|(at, length, advice)| O::Advise { at, length, advice }),
        1 => (at(), length(), any::<bool>()).prop_map(|(at, length, lock)| O::Lock { at, length, lock }),
        1 => (at(), length(), 0..7_u32).prop_map(|(at, length, flags)| O::Sync { at, length, flags }),
        4 => (at(), 1..=255_u8).prop_map(|(at, value)| O::Poke { at, value }),
        4 => at().prop_map(|at| O::Peek { at }),
        1 => (0..6_u64).prop_map(|pages| O::Break { pages }),
    ]
}

/// What a program works with.
struct World<'a> {
    k: &'a dyn Kernel,
    /// The first page of the range.
    start: u64,
    heap: u64,
    pipe: (i32, i32),
}

/// Runs operations.
pub(super) fn run(k: &dyn Kernel, operations: &[Operation]) -> Vec<String> {
    let room = (PAGES as usize + 2) * PAGE as usize;
    let reserved = k.map(room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    let (Ok(reserved), Ok(pipe), Ok(heap)) = (reserved, k.pipe2(0), call!(k, BRK, 0)) else {
        return vec!["unavailable: no memory".to_owned()];
    };
    let start = reserved.address() + PAGE;
    // What was reserved only keeps others away: the range itself begins empty.
    let emptied = call!(k, MUNMAP, start, PAGES * PAGE);
    let world = World { k, start, heap, pipe };
    let mut lines = vec![format!("emptied {}", done(emptied))];
    lines.extend(
        operations.iter().map(|operation| format!("{operation:?} -> {}", world.step(operation))),
    );
    world.maps(&mut lines);
    // The range may hold anything now; it goes with the process.
    core::mem::forget(reserved);
    lines
}

impl World<'_> {
    fn step(&self, operation: &Operation) -> String {
        use Operation as O;
        let k = self.k;
        let place = |at: u64| self.start + at * PAGE;
        // Nothing leaves the range.
        let inside = |at: u64, length: u64| length.min(PAGES - at) * PAGE;
        match *operation {
            O::Map { at, length, rights, shared, keep } => {
                const NOREPLACE: u32 = 0x10_0000;
                let kind = if shared { MAP_SHARED } else { MAP_PRIVATE };
                let fixed = if keep { NOREPLACE } else { MAP_FIXED };
                let flags = kind | fixed | MAP_ANONYMOUS;
                done(call!(k, MMAP, place(at), inside(at, length), rights, flags, -1, 0))
            }
            O::Unmap { at, length } => done(call!(k, MUNMAP, place(at), inside(at, length))),
            O::Protect { at, length, rights } => {
                done(call!(k, MPROTECT, place(at), inside(at, length), rights))
            }
            O::Remap { at, length, new_length, to, flags } => {
                let (old, new) = (inside(at, length), inside(to, new_length));
                let result = call!(k, MREMAP, place(at), old, new, flags, place(to));
                show(result.map(|address| address.wrapping_sub(self.start) / PAGE))
            }
            O::Advise { at, length, advice } => {
                done(call!(k, MADVISE, place(at), inside(at, length), advice))
            }
            O::Lock { at, length, lock: true } => {
                done(call!(k, MLOCK, place(at), inside(at, length)))
            }
            O::Lock { at, length, lock: false } => {
                done(call!(k, MUNLOCK, place(at), inside(at, length)))
            }
            O::Sync { at, length, flags } => {
                done(call!(k, MSYNC, place(at), inside(at, length), flags))
            }
            O::Poke { at, value } => {
                let put = k.write(self.pipe.1, &[value]);
                let taken = call!(k, READ, self.pipe.0, place(at), 1);
                if taken.is_err() {
                    // So that the next one finds the pipe empty.
                    let _ = k.read(self.pipe.0, &mut [0]);
                }
                format!("{} {}", done(put), done(taken))
            }
            O::Peek { at } => {
                let put = call!(k, WRITE, self.pipe.1, place(at), 1);
                let mut byte = [0];
                match put {
                    Ok(_) => show(k.read(self.pipe.0, &mut byte).map(|_| byte[0])),
                    Err(errno) => format!("{errno:?}"),
                }
            }
            O::Break { pages } => {
                let wanted = self.heap + pages * PAGE;
                show(call!(k, BRK, wanted).map(|end| end.wrapping_sub(self.heap) / PAGE))
            }
        }
    }

    /// What `/proc/self/maps` says of the range, neighbours with the same rights together: whether they are one
    /// mapping depends on more than what can be seen.
    fn maps(&self, lines: &mut Vec<String>) {
        let text = String::from_utf8_lossy(&self.k.content("/proc/self/maps")).into_owned();
        let end = self.start + PAGES * PAGE;
        let mut runs: Vec<(u64, u64, String)> = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let numbers = range.and_then(|(from, to)| {
                Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
            });
            let (Some((from, to)), Some(rights)) = (numbers, words.next()) else { continue };
            if to <= self.start || from >= end {
                continue;
            }
            let (from, to) = (from.max(self.start), to.min(end));
            match runs.last_mut() {
                Some((_, last, same)) if *last == from && same == rights => *last = to,
                _ => runs.push((from, to, rights.to_owned())),
            }
        }
        lines.extend(runs.into_iter().map(|(from, to, rights)| {
            format!("{}..{} {rights}", (from - self.start) / PAGE, (to - self.start) / PAGE)
        }));
    }
}
