//! Numbered places: who has one, which are marked, and what waits at each.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// The most places of a [`Table`] or [`Numbers`].
pub const PLACES: u32 = 0x1_0000;
const CHUNK: u32 = 256;

/// Hands out numbers below [`PLACES`]; those that come back are used again last.
#[derive(Default)]
pub struct Numbers {
    state: Mutex<(u32, VecDeque<u32>)>,
}

impl Numbers {
    /// Numbers that start at `first`.
    #[cfg(test)]
    pub fn starting_at(first: u32) -> Self {
        Self { state: Mutex::new((first, VecDeque::new())) }
    }

    /// A number that nobody has.
    pub fn take(&self) -> Option<u32> {
        let mut state = self.state.lock();
        if state.1.len() > 64 || state.0 == PLACES {
            return state.1.pop_front();
        }
        state.0 += 1;
        Some(state.0 - 1)
    }

    /// Gives a number back.
    pub fn give_back(&self, number: u32) {
        self.state.lock().1.push_back(number);
    }
}

type Chunk<T> = OnceLock<Box<[Mutex<Option<T>>]>>;

/// A mark and a cell for each place. Looking for marks costs a load per 4096 places without any.
pub struct Table<T> {
    marks: Box<[AtomicU64]>,
    summary: Box<[AtomicU64]>,
    count: AtomicUsize,
    cells: Box<[Chunk<T>]>,
}

impl<T> Table<T> {
    /// A table without marks.
    pub fn new() -> Self {
        let words = PLACES as usize / 64;
        Self {
            marks: (0..words).map(|_| AtomicU64::new(0)).collect(),
            summary: (0..words / 64).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicUsize::new(0),
            cells: (0..PLACES / CHUNK).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The cell of a place.
    pub fn cell(&self, place: u32) -> &Mutex<Option<T>> {
        let place = place % PLACES;
        let chunk = &self.cells[(place / CHUNK) as usize];
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| Mutex::new(None)).collect());
        &chunk[(place % CHUNK) as usize]
    }

    /// Marks a place.
    pub fn mark(&self, place: u32) {
        let word = (place % PLACES / 64) as usize;
        let bit = 1 << (place % 64);
        let before = self.marks[word].fetch_or(bit, Ordering::SeqCst);
        self.summary[word / 64].fetch_or(1 << (word % 64), Ordering::SeqCst);
        if before & bit == 0 {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many places are marked. May be off for a moment while others mark.
    pub fn count(&self) -> usize {
        // Taking a mark away can overtake the counting of it.
        let count = self.count.load(Ordering::Relaxed);
        if count > PLACES as usize { 0 } else { count }
    }

    /// Takes the mark away; says whether there was one.
    pub fn unmark(&self, place: u32) -> bool {
        let word = (place % PLACES / 64) as usize;
        let bit = 1 << (place % 64);
        let before = self.marks[word].fetch_and(!bit, Ordering::SeqCst);
        if before & !bit == 0 {
            self.summary[word / 64].fetch_and(!(1 << (word % 64)), Ordering::SeqCst);
            if self.marks[word].load(Ordering::SeqCst) != 0 {
                self.summary[word / 64].fetch_or(1 << (word % 64), Ordering::SeqCst);
            }
        }
        let was_marked = before & bit != 0;
        if was_marked {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        was_marked
    }

    /// Calls `visit` for each marked place until it says false.
    pub fn each(&self, mut visit: impl FnMut(u32) -> bool) {
        for (group, summary) in self.summary.iter().enumerate() {
            let mut words = summary.load(Ordering::SeqCst);
            while words != 0 {
                let word = group * 64 + words.trailing_zeros() as usize;
                words &= words - 1;
                let mut marks = self.marks[word].load(Ordering::SeqCst);
                while marks != 0 {
                    let place = word as u32 * 64 + marks.trailing_zeros();
                    marks &= marks - 1;
                    if !visit(place) {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbers, PLACES, Table};

    #[test]
    fn numbers_are_given_once() {
        let numbers = Numbers::starting_at(PLACES - 2);
        assert_eq!(numbers.take(), Some(PLACES - 2));
        assert_eq!(numbers.take(), Some(PLACES - 1));
        assert_eq!(numbers.take(), None);
        numbers.give_back(7);
        assert_eq!(numbers.take(), Some(7));
    }

    #[test]
    fn marks_are_found() {
        let table = Table::<()>::new();
        for place in [0, 63, 64, 4096, PLACES - 1] {
            table.mark(place);
        }
        assert!(table.unmark(64));
        assert!(!table.unmark(64));
        assert_eq!(table.count(), 4);
        let mut seen = Vec::new();
        table.each(|place| {
            seen.push(place);
            true
        });
        assert_eq!(seen, [0, 63, 4096, PLACES - 1]);
    }
}
