//! A 64 KiB piece of a file in the heap.
//!
//! The bytes from the first used page to the last written byte are one buffer, so that a read hands them out in
//! one piece; pages outside of it, and bytes of it that nobody wrote, are zeros. A bitmap says which pages are
//! data and which holes.

/// Bytes of a chunk.
pub(super) const CHUNK: usize = 64 * 1024;
const PAGE: usize = 4096;
const PAGES: usize = CHUNK / PAGE;

pub(super) static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Bit mask of the pages that bytes `start..end` touch.
fn touched(start: usize, end: usize) -> u16 {
    mask(start / PAGE, end.div_ceil(PAGE))
}

/// Bit mask of the pages that lie wholly in `start..end`.
fn covered(start: usize, end: usize) -> u16 {
    mask(start.div_ceil(PAGE), end / PAGE)
}

fn mask(first: usize, end: usize) -> u16 {
    (first..end.min(PAGES)).fold(0, |mask, page| mask | 1 << page)
}

#[derive(Default)]
pub(super) struct Chunk {
    /// The page at which `data` begins.
    first: usize,
    data: Vec<u8>,
    used: u16,
}

impl Chunk {
    /// Pages that it is charged for.
    pub(super) fn charge(&self) -> u64 {
        (self.data.len().div_ceil(PAGE) as u64).max(u64::from(self.used.count_ones()))
    }

    /// Pages that are data.
    pub(super) fn pages(&self) -> u64 {
        u64::from(self.used.count_ones())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// What the charge would be with bytes `start..end` written.
    pub(super) fn charge_with(&self, start: usize, end: usize) -> u64 {
        let (first, last) = if self.data.is_empty() {
            (start / PAGE, end)
        } else {
            (self.first.min(start / PAGE), (self.first * PAGE + self.data.len()).max(end))
        };
        let span = last.saturating_sub(first * PAGE).div_ceil(PAGE) as u64;
        span.max(u64::from((self.used | touched(start, end)).count_ones()))
    }

    /// The buffer of bytes `start..end`, made where it was not.
    pub(super) fn writable(&mut self, start: usize, end: usize) -> &mut [u8] {
        let page = start / PAGE;
        if self.data.is_empty() {
            self.first = page;
        } else if page < self.first {
            let missing = (self.first - page) * PAGE;
            self.data.splice(0..0, core::iter::repeat_n(0, missing));
            self.first = page;
        }
        let base = self.first * PAGE;
        let needed = end.saturating_sub(base);
        if self.data.len() < needed {
            self.data.resize(needed, 0);
        }
        self.used |= touched(start, end);
        self.data.get_mut(start.saturating_sub(base)..needed).unwrap_or_default()
    }

    /// The longest piece from `start` on that is before `end`: bytes, or how many zeros.
    pub(super) fn piece(&self, start: usize, end: usize) -> &[u8] {
        let base = self.first * PAGE;
        let stop = base + self.data.len();
        let zeros = |count: usize| ZEROS.get(..count).unwrap_or_default();
        if self.data.is_empty() || start >= stop {
            zeros(end - start)
        } else if start < base {
            zeros(end.min(base) - start)
        } else {
            self.data.get(start - base..end.min(stop) - base).unwrap_or_default()
        }
    }

    /// Makes the pages of `start..end` data without writing them.
    pub(super) fn allocate(&mut self, start: usize, end: usize) {
        self.used |= touched(start, end);
    }

    /// What the charge would be with the pages of `start..end` allocated.
    pub(super) fn charge_allocated(&self, start: usize, end: usize) -> u64 {
        let used = self.used | touched(start, end);
        (self.data.len().div_ceil(PAGE) as u64).max(u64::from(used.count_ones()))
    }

    /// Zeros bytes `start..end`; pages wholly inside become holes.
    pub(super) fn punch(&mut self, start: usize, end: usize) {
        let base = self.first * PAGE;
        let from = start.max(base).saturating_sub(base).min(self.data.len());
        let to = end.max(base).saturating_sub(base).min(self.data.len());
        if let Some(bytes) = self.data.get_mut(from..to) {
            bytes.fill(0);
        }
        self.used &= !covered(start, end);
        let highest = PAGES - self.used.leading_zeros() as usize;
        let keep = (highest * PAGE).saturating_sub(base);
        if keep < self.data.len() {
            self.data.truncate(keep);
            self.data.shrink_to_fit();
        }
    }

    /// The first page from `page` on that is data (or, with `hole`, a hole).
    pub(super) fn next(&self, page: usize, hole: bool) -> Option<usize> {
        (page..PAGES).find(|page| (self.used >> page & 1 == 0) == hole)
    }
}
