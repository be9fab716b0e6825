//! The ordered set of mappings: splitting, merging, counting, and finding room.
//!
//! Everything that changes the set goes through [`VmaTree::insert`], [`VmaTree::take`] and
//! [`VmaTree::remove`], which keep the counters. Cost: O(log n) per mapping touched; finding room is O(log n)
//! as long as nothing was unmapped above the last place found, thanks to the [`GapCache`].

use std::collections::BTreeMap;

use chitin_abi::mm::ProtFlags;

use super::vma::{Vma, VmaFlags};

/// Bytes that are kept free below a mapping that grows down.
pub(crate) const STACK_GUARD: u64 = 256 * chitin_abi::PAGE_SIZE;

/// Bytes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) total: u64,
    pub(crate) data: u64,
    pub(crate) stack: u64,
    pub(crate) exec: u64,
    pub(crate) locked: u64,
}

/// What is known of the room above a place: every hole that ends between `floor` and `top` has at most
/// `largest` bytes.
#[derive(Clone, Copy, Debug)]
struct GapCache {
    top: u64,
    floor: u64,
    largest: u64,
}

/// The mappings of an address space.
pub(crate) struct VmaTree {
    map: BTreeMap<u64, Vma>,
    counters: Counters,
    cache: GapCache,
}

impl VmaTree {
    pub(crate) fn new() -> Self {
        let cache = GapCache { top: 0, floor: 0, largest: 0 };
        Self { map: BTreeMap::new(), counters: Counters::default(), cache }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// All mappings in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Vma)> {
        self.map.iter().map(|(start, vma)| (*start, vma))
    }

    /// The mapping that holds `addr`.
    pub(crate) fn find(&self, addr: u64) -> Option<(u64, &Vma)> {
        let (start, vma) = self.map.range(..=addr).next_back()?;
        (vma.end > addr).then_some((*start, vma))
    }

    /// The first mapping that ends above `addr`.
    pub(crate) fn find_from(&self, addr: u64) -> Option<(u64, &Vma)> {
        self.find(addr).or_else(|| self.map.range(addr..).next().map(|(start, vma)| (*start, vma)))
    }

    /// The last mapping that starts below `addr`.
    pub(crate) fn before(&self, addr: u64) -> Option<(u64, &Vma)> {
        self.map.range(..addr).next_back().map(|(start, vma)| (*start, vma))
    }

    /// The mappings that overlap the range, in order.
    pub(crate) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Vma)> {
        let first = self.find(start).map_or(start, |(first, _)| first);
        self.map.range(first..end.max(first)).map(|(start, vma)| (*start, vma))
    }

    /// Whether anything is mapped in the range.
    pub(crate) fn intersects(&self, start: u64, end: u64) -> bool {
        self.find_from(start).is_some_and(|(first, _)| first < end)
    }

    /// Whether the whole range is mapped.
    pub(crate) fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for (first, vma) in self.overlapping(start, end) {
            if first > at {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    /// Bytes mapped in the range.
    pub(crate) fn mapped_bytes(&self, start: u64, end: u64, counts: impl Fn(&Vma) -> bool) -> u64 {
        self.overlapping(start, end)
            .filter(|(_, vma)| counts(vma))
            .map(|(first, vma)| vma.end.min(end).saturating_sub(first.max(start)))
            .fold(0, u64::saturating_add)
    }

    /// Whether a boundary at `addr` would split a mapping.
    pub(crate) fn splits_at(&self, addr: u64) -> bool {
        self.find(addr).is_some_and(|(start, _)| start < addr)
    }

    fn count(&mut self, start: u64, vma: &Vma, add: bool) {
        let len = vma.end.saturating_sub(start);
        let change = |counter: &mut u64| {
            *counter = if add { counter.saturating_add(len) } else { counter.saturating_sub(len) };
        };
        let counters = &mut self.counters;
        change(&mut counters.total);
        if vma.flags.contains(VmaFlags::LOCKED) {
            change(&mut counters.locked);
        }
        if vma.flags.contains(VmaFlags::GROWS_DOWN) {
            change(&mut counters.stack);
        } else if vma.is_data() {
            change(&mut counters.data);
        } else if vma.prot.contains(ProtFlags::PROT_EXEC)
            && !vma.prot.contains(ProtFlags::PROT_WRITE)
        {
            change(&mut counters.exec);
        }
    }

    fn put(&mut self, start: u64, vma: Vma) {
        self.count(start, &vma, true);
        self.map.insert(start, vma);
    }

    fn pull(&mut self, start: u64) -> Option<Vma> {
        let vma = self.map.remove(&start)?;
        self.count(start, &vma, false);
        Some(vma)
    }

    /// Makes `at` a boundary.
    fn split(&mut self, at: u64) {
        let Some((start, _)) = self.find(at).filter(|(start, _)| *start < at) else { return };
        // The counters don't change: both pieces are of the same kind.
        if let Some(vma) = self.map.get_mut(&start) {
            let tail = vma.split_off(start, at);
            self.map.insert(at, tail);
        }
    }

    /// Takes out the parts of mappings inside the range, in order.
    pub(crate) fn take(&mut self, start: u64, end: u64) -> Vec<(u64, Vma)> {
        self.split(start);
        self.split(end);
        let starts: Vec<u64> =
            self.map.range(start..end.max(start)).map(|(first, _)| *first).collect();
        starts.into_iter().filter_map(|first| Some((first, self.pull(first)?))).collect()
    }

    /// The same, for good: the place is free from now on.
    pub(crate) fn remove(&mut self, start: u64, end: u64) -> Vec<(u64, Vma)> {
        let pieces = self.take(start, end);
        if !pieces.is_empty() && end > self.cache.floor {
            let low = self.before(start).map_or(0, |(_, vma)| vma.end);
            let high = self.map.range(end..).next().map_or(u64::MAX, |(first, _)| *first);
            self.cache.largest = self.cache.largest.max(high.saturating_sub(low));
        }
        pieces
    }

    /// Puts a mapping where nothing is, and makes it one with its neighbours where they allow it. What became
    /// superfluous is returned, to be dropped outside of locks.
    #[must_use]
    pub(crate) fn insert(&mut self, start: u64, mut vma: Vma) -> Vec<Vma> {
        let mut superfluous = Vec::new();
        let mut start = start;
        if self.map.get(&vma.end).is_some_and(|next| vma.merges_with(start, next))
            && let Some(next) = self.pull(vma.end)
        {
            vma.end = next.end;
            superfluous.push(next);
        }
        let previous = self.before(start).filter(|(first, previous)| {
            previous.end == start && previous.merges_with(*first, &vma)
        });
        if let Some((first, _)) = previous
            && let Some(mut previous) = self.pull(first)
        {
            previous.end = vma.end;
            superfluous.push(core::mem::replace(&mut vma, previous));
            start = first;
        }
        self.put(start, vma);
        superfluous
    }

    /// The highest free place of `len` bytes in the range.
    pub(crate) fn find_top_down(&mut self, len: u64, low: u64, high: u64) -> Option<u64> {
        let cache = self.cache;
        let resume = cache.top == high && len > cache.largest && cache.floor < high;
        let (mut top, mut largest) = if resume { (cache.floor, cache.largest) } else { (high, 0) };
        let mut found = None;
        for (start, vma) in self.map.range(..top).rev() {
            let bottom = vma.end.max(low).min(top);
            let gap = top.saturating_sub(bottom);
            if gap >= len {
                found = Some(top - len);
                break;
            }
            largest = largest.max(gap);
            top = top.min(limit_below(*start, vma));
            if top < low {
                break;
            }
        }
        let place = match found {
            Some(place) => place,
            None => top.checked_sub(len).filter(|place| *place >= low)?,
        };
        self.cache = GapCache { top: high, floor: place, largest };
        Some(place)
    }

    /// The lowest free place of `len` bytes in the range.
    pub(crate) fn find_bottom_up(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        let mut bottom = self.find(low).map_or(low, |(_, vma)| vma.end);
        for (start, vma) in self.map.range(bottom..) {
            if limit_below(*start, vma).min(high).saturating_sub(bottom) >= len {
                return Some(bottom);
            }
            bottom = vma.end;
            if bottom >= high {
                return None;
            }
        }
        (high.saturating_sub(bottom) >= len).then_some(bottom)
    }

    /// Whether nothing is mapped in the range nor wants to grow into it.
    pub(crate) fn is_free(&self, start: u64, end: u64) -> bool {
        match self.find_from(start) {
            Some((first, vma)) => limit_below(first, vma) >= end && first >= end,
            None => true,
        }
    }
}

/// Up to where something may be placed below a mapping.
fn limit_below(start: u64, vma: &Vma) -> u64 {
    if vma.flags.contains(VmaFlags::GROWS_DOWN) { start.saturating_sub(STACK_GUARD) } else { start }
}
