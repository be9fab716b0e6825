//! What the guest's memory learns when a thread ends: `set_robust_list(2)`, `set_tid_address(2)`.
//!
//! The list is the guest's and may be anything: at most [`ROBUST_LIST_MAX`] entries are looked at, and whatever
//! cannot be read, or has been looked at before, ends the walk. Costs: two reads of guest memory per entry.

use core::sync::atomic::Ordering;

use chitin_abi::futex::{
    FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_MAX, RobustListHead,
};
use chitin_abi::{GuestAddr, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::op::change_word;
use super::{FutexKey, FutexTable, MATCH_ANY, read_word};
use crate::memory::Mm;
use crate::task::Task;

/// Everything that a thread leaves behind in `mm` when it exits or runs another program: robust futexes, locks
/// that others wait for, and the cleared word that `pthread_join` waits on.
pub fn release_thread_words(task: &Task, mm: &Mm) {
    let table = &task.kernel.futexes;
    let number = task.pid().local();
    let head = task.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        // An unreadable list is the guest's own affair.
        let _ = walk(table, mm, GuestAddr(head), number);
    }
    table.release_owned(mm, task.tid());
    let clear = GuestAddr(task.clear_child_tid.swap(0, Ordering::Relaxed));
    if !clear.is_null() && mm.users() > 1 && mm.memory().write(clear, &0_u32.to_ne_bytes()).is_ok()
    {
        wake_one(table, mm, clear);
    }
}

fn wake_one(table: &FutexTable, mm: &Mm, addr: GuestAddr) {
    if let Ok(key) = FutexKey::of(mm, addr, false) {
        // Waiters of another kind are not woken by this.
        let _ = table.wake(&key, 1, MATCH_ANY);
    }
}

/// An entry of the list: where it is, and whether it is a lock that the kernel hands over.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    addr: u64,
    pi: bool,
}

impl Entry {
    const fn decode(pointer: u64) -> Self {
        Self { addr: pointer & !1, pi: pointer & 1 != 0 }
    }
}

/// Notices that a list goes in circles, before it has gone round three times.
#[derive(Default)]
struct Round {
    mark: u64,
    steps: u32,
    until: u32,
}

impl Round {
    /// Whether this entry has been seen before.
    fn has_seen(&mut self, addr: u64) -> bool {
        if self.steps == self.until {
            *self = Self { mark: addr, steps: 0, until: self.until.max(1).saturating_mul(2) };
            return false;
        }
        self.steps = self.steps.saturating_add(1);
        addr == self.mark
    }
}

fn read_pointer(mm: &Mm, addr: u64) -> Result<Entry> {
    let mut bytes = [0; 8];
    mm.memory().read(GuestAddr(addr), &mut bytes)?;
    Ok(Entry::decode(u64::from_ne_bytes(bytes)))
}

fn walk(table: &FutexTable, mm: &Mm, head: GuestAddr, number: u32) -> Result<()> {
    let mut list = RobustListHead::new_zeroed();
    mm.memory().read(head, list.as_mut_bytes())?;
    let pending = Entry::decode(list.list_op_pending);
    let word = |entry: Entry| GuestAddr(entry.addr.wrapping_add(list.futex_offset.cast_unsigned()));
    let mut entry = Entry::decode(list.list);
    let mut round = Round::default();
    for _ in 0..ROBUST_LIST_MAX {
        if entry.addr == head.0 || round.has_seen(entry.addr) {
            break;
        }
        // The next entry is read first: waking may let another thread free this one.
        let next = read_pointer(mm, entry.addr);
        if entry.addr != pending.addr && !bury(table, mm, word(entry), entry.pi, false, number) {
            return Ok(());
        }
        entry = next?;
    }
    if pending.addr != 0 {
        bury(table, mm, word(pending), pending.pi, true, number);
    }
    Ok(())
}

/// Marks a dead thread's lock and wakes a waiter. False where the word cannot be accessed.
fn bury(
    table: &FutexTable,
    mm: &Mm,
    addr: GuestAddr,
    pi: bool,
    pending: bool,
    number: u32,
) -> bool {
    if !addr.0.is_multiple_of(4) {
        return false;
    }
    let Ok(word) = read_word(mm.memory(), addr) else { return false };
    if pending && !pi && word == 0 {
        // It was unlocked, but the thread died before it could wake anyone.
        wake_one(table, mm, addr);
        return true;
    }
    if word & FUTEX_TID_MASK != number {
        return true;
    }
    let mark = |word: u32| {
        if word & FUTEX_TID_MASK == number {
            (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED
        } else {
            word
        }
    };
    let Ok(old) = change_word(mm.memory(), addr, mark) else { return false };
    if !pi && old & FUTEX_WAITERS != 0 {
        wake_one(table, mm, addr);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::Round;

    #[test]
    fn circles_are_noticed_and_nothing_else() {
        let mut round = Round::default();
        assert!((1..5000).all(|addr| !round.has_seen(addr)));
        for tail in 0..40_u64 {
            for len in 1..40_u64 {
                let mut round = Round::default();
                let list =
                    (0..1000).map(|at| if at < tail { 1 + at } else { 100 + (at - tail) % len });
                let seen = list.take_while(|addr| !round.has_seen(*addr)).count() as u64;
                assert!(seen >= tail + len, "all of it is looked at");
                assert!(seen <= 3 * (tail + len) + 2, "{tail} {len}: {seen}");
            }
        }
    }
}
