//! The array of descriptors and the bitmap that finds the lowest free one.

use std::sync::Arc;

use chitin_abi::{Errno, Result};

use crate::file::OpenFile;

/// Most descriptors of a table (`fs.nr_open`).
const NR_OPEN: usize = 1 << 20;

/// One descriptor.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) file: Arc<OpenFile>,
    pub(super) close_on_exec: bool,
}

/// `used` has a bit per slot; `full` a bit per word of `used` that has no zero.
#[derive(Clone, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    used: Vec<u64>,
    full: Vec<u64>,
    count: usize,
}

fn index(fd: i32) -> Option<usize> {
    usize::try_from(fd).ok()
}

impl Slots {
    pub(super) fn get(&self, fd: i32) -> Option<&Slot> {
        self.slots.get(index(fd)?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, fd: i32) -> Option<&mut Slot> {
        self.slots.get_mut(index(fd)?)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len().max(64)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| {
            let fd = i32::try_from(at).ok()?;
            slot.as_ref().map(|slot| (fd, slot))
        })
    }

    /// The lowest free descriptor from `min` on.
    pub(super) fn lowest_free(&self, min: i32, limit: u64) -> Result<i32> {
        let min = index(min).ok_or(Errno::EINVAL)?;
        let limit = usize::try_from(limit).unwrap_or(NR_OPEN).min(NR_OPEN);
        let found = self.first_zero(min);
        if found >= limit {
            return Err(Errno::EMFILE);
        }
        i32::try_from(found).map_err(|_| Errno::EMFILE)
    }

    fn first_zero(&self, min: usize) -> usize {
        let mut word = min / 64;
        let mut below = (1u64 << (min % 64)) - 1;
        while let Some(bits) = self.used.get(word) {
            let free = !(bits | below);
            if free != 0 {
                return word * 64 + free.trailing_zeros() as usize;
            }
            below = 0;
            word = self.next_word(word + 1);
        }
        (word * 64).max(min)
    }

    /// The first word from `word` on that is not full.
    fn next_word(&self, word: usize) -> usize {
        let mut at = word / 64;
        let mut below = (1u64 << (word % 64)) - 1;
        while let Some(bits) = self.full.get(at) {
            let free = !(bits | below);
            if free != 0 {
                return at * 64 + free.trailing_zeros() as usize;
            }
            below = 0;
            at += 1;
        }
        (at * 64).max(word)
    }

    /// Puts a file at a descriptor and returns what was there.
    pub(super) fn put(
        &mut self,
        fd: i32,
        file: &Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<Option<Arc<OpenFile>>> {
        let at = index(fd).filter(|at| *at < NR_OPEN).ok_or(Errno::EBADF)?;
        if at >= self.slots.len() {
            let size = (at + 1).next_multiple_of(64).max(self.slots.len() * 2).min(NR_OPEN);
            self.slots.resize_with(size, || None);
            self.used.resize(size.div_ceil(64), 0);
            self.full.resize(size.div_ceil(4096), 0);
        }
        let slot = self.slots.get_mut(at).ok_or(Errno::EBADF)?;
        let old = slot.replace(Slot { file: Arc::clone(file), close_on_exec });
        if old.is_none() {
            self.count += 1;
            self.mark(at, true);
        }
        Ok(old.map(|slot| slot.file))
    }

    /// Empties a descriptor.
    pub(super) fn take(&mut self, fd: i32) -> Option<Arc<OpenFile>> {
        let at = index(fd)?;
        let slot = self.slots.get_mut(at)?.take()?;
        self.count = self.count.saturating_sub(1);
        self.mark(at, false);
        Some(slot.file)
    }

    fn mark(&mut self, at: usize, used: bool) {
        let word = at / 64;
        let Some(bits) = self.used.get_mut(word) else { return };
        let bit = 1u64 << (at % 64);
        *bits = if used { *bits | bit } else { *bits & !bit };
        let is_full = *bits == u64::MAX;
        if let Some(summary) = self.full.get_mut(word / 64) {
            let bit = 1u64 << (word % 64);
            *summary = if is_full { *summary | bit } else { *summary & !bit };
        }
    }

    fn range(&self, first: u32, last: u32) -> core::ops::Range<usize> {
        let end = (last as usize).saturating_add(1).min(self.slots.len());
        (first as usize).min(end)..end
    }

    pub(super) fn take_range(&mut self, first: u32, last: u32) -> Vec<Arc<OpenFile>> {
        self.take_if(self.range(first, last), |_| true)
    }

    pub(super) fn take_close_on_exec(&mut self) -> Vec<Arc<OpenFile>> {
        self.take_if(0..self.slots.len(), |slot| slot.close_on_exec)
    }

    fn take_if(
        &mut self,
        range: core::ops::Range<usize>,
        wanted: impl Fn(&Slot) -> bool,
    ) -> Vec<Arc<OpenFile>> {
        let mut taken = Vec::new();
        for at in range {
            let Some(slot) = self.slots.get_mut(at) else { break };
            let Some(slot) = slot.take_if(|slot| wanted(slot)) else { continue };
            taken.push(slot.file);
            self.count = self.count.saturating_sub(1);
            self.mark(at, false);
        }
        taken
    }

    pub(super) fn mark_range(&mut self, first: u32, last: u32) {
        let range = self.range(first, last);
        for slot in self.slots.get_mut(range).unwrap_or_default().iter_mut().flatten() {
            slot.close_on_exec = true;
        }
    }
}
