//! Locks that the kernel hands over: `FUTEX_LOCK_PI` and its relatives.
//!
//! The word holds the owner's thread id, as its pid namespace numbers it; who cannot have the lock sets
//! `FUTEX_WAITERS` and queues, and the unlock puts the next waiter's id into the word before it wakes it. Guest
//! threads are scheduled by the host, so there is no priority to inherit: waiters are served in order.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;

use super::op::change_word;
use super::waiter::Wish;
use super::{Bucket, FutexKey, FutexTable, Signal, Waiter, Wakes, read_word, wake_all};
use crate::memory::Mm;

/// A lock with waiters: whoever owns it hands it over when its thread ends.
pub(super) struct Owner {
    key: FutexKey,
    /// The kernel's id of the task.
    tid: u32,
    addr: GuestAddr,
}

/// A thread that wants a lock.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The kernel's id of the task.
    pub tid: u32,
    /// The id that goes into the word.
    pub number: u32,
}

/// What came of an attempt to lock.
pub enum Attempt {
    /// The lock is the caller's.
    Acquired,
    /// It waits in the queue.
    Queued(Arc<Waiter>),
    /// The word has changed: look again.
    Again,
}

/// What is asked of a lock attempt.
#[derive(Clone, Copy)]
pub struct LockRequest<'a> {
    /// The word.
    pub key: FutexKey,
    /// Where it is.
    pub addr: GuestAddr,
    /// Who wants it.
    pub contender: Contender,
    /// The word as it was when the owner was looked up.
    pub word: u32,
    /// The kernel's id of the task that the word names, if it exists.
    pub owner: Option<u32>,
    /// Whether to queue if it is not free.
    pub queue: bool,
    /// What is signalled when the lock has been handed over.
    pub signal: &'a Arc<Signal>,
}

impl FutexTable {
    /// Takes a lock or queues for it.
    ///
    /// # Errors
    /// EDEADLK if it is the caller's already, EAGAIN if it is not free and the caller does not want to wait,
    /// ESRCH if it belongs to a thread that does not exist, EFAULT.
    pub fn lock_pi(&self, memory: &dyn GuestMemory, request: &LockRequest<'_>) -> Result<Attempt> {
        let Some(mut bucket) = self.lock(&request.key) else { return Err(Errno::EFAULT) };
        let word = read_word(memory, request.addr)?;
        if word != request.word {
            return Ok(Attempt::Again);
        }
        let number = request.contender.number;
        if word & FUTEX_TID_MASK == number {
            return Err(Errno::EDEADLK);
        }
        if word & FUTEX_TID_MASK == 0 {
            let waiters = if bucket.has_waiters(&request.key) { FUTEX_WAITERS } else { 0 };
            let new = number | (word & FUTEX_OWNER_DIED) | waiters;
            let seen = memory.compare_exchange_u32(request.addr, word, new)?;
            if seen != word {
                return Ok(Attempt::Again);
            }
            if waiters != 0 {
                self.set_owner(&mut bucket, request.key, request.contender.tid, request.addr);
            }
            return Ok(Attempt::Acquired);
        }
        if !request.queue {
            return Err(Errno::EAGAIN);
        }
        let Some(owner) = request.owner else { return Err(Errno::ESRCH) };
        if word & FUTEX_WAITERS == 0 {
            let seen = memory.compare_exchange_u32(request.addr, word, word | FUTEX_WAITERS)?;
            if seen != word {
                return Ok(Attempt::Again);
            }
        }
        self.set_owner(&mut bucket, request.key, owner, request.addr);
        let contender = request.contender;
        let wish = Wish::Lock(contender.number);
        let waiter =
            Waiter::with_wish(request.key, u32::MAX, request.signal, 0, wish, contender.tid);
        bucket.push(&waiter);
        Ok(Attempt::Queued(waiter))
    }

    /// Gives a lock up: to the first waiter if there is one.
    ///
    /// # Errors
    /// EPERM if it is not the caller's, EFAULT, EAGAIN.
    pub fn unlock_pi(
        &self,
        memory: &dyn GuestMemory,
        key: &FutexKey,
        addr: GuestAddr,
        contender: Contender,
    ) -> Result<()> {
        let mut wakes = Wakes::new();
        let result = self.unlock_locked(memory, key, addr, contender, &mut wakes);
        wake_all(wakes);
        result
    }

    fn unlock_locked(
        &self,
        memory: &dyn GuestMemory,
        key: &FutexKey,
        addr: GuestAddr,
        contender: Contender,
        wakes: &mut Wakes,
    ) -> Result<()> {
        let Some(mut bucket) = self.lock(key) else { return Err(Errno::EFAULT) };
        let word = read_word(memory, addr)?;
        if word & FUTEX_TID_MASK != contender.number {
            return Err(Errno::EPERM);
        }
        if bucket.waiters.iter().any(|waiter| waiter.key() == *key && !waits_for_lock(waiter)) {
            return Err(Errno::EINVAL);
        }
        self.hand_over(&mut bucket, memory, key, addr, 0, wakes)
    }

    /// Puts the next waiter's id into the word, or zero, and wakes it.
    fn hand_over(
        &self,
        bucket: &mut Bucket,
        memory: &dyn GuestMemory,
        key: &FutexKey,
        addr: GuestAddr,
        died: u32,
        wakes: &mut Wakes,
    ) -> Result<()> {
        let next = bucket
            .waiters
            .iter()
            .position(|waiter| waiter.key() == *key && waits_for_lock(waiter))
            .and_then(|index| bucket.waiters.get(index).cloned());
        let Some(waiter) = next else {
            change_word(memory, addr, |_| died)?;
            self.forget_owner(bucket, key);
            return Ok(());
        };
        let Wish::Lock(number) = waiter.wish() else { return Err(Errno::EINVAL) };
        change_word(memory, addr, |_| number | FUTEX_WAITERS | died)?;
        bucket.remove(&waiter);
        wakes.push(waiter.signal(0));
        if bucket.has_waiters(key) {
            self.set_owner(bucket, *key, waiter.tid(), addr);
        } else {
            self.forget_owner(bucket, key);
        }
        Ok(())
    }

    fn set_owner(&self, bucket: &mut Bucket, key: FutexKey, tid: u32, addr: GuestAddr) {
        match bucket.owners.iter_mut().find(|owner| owner.key == key) {
            Some(owner) => owner.tid = tid,
            None => {
                bucket.owners.push(Owner { key, tid, addr });
                self.owned.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Drops the note of a lock's owner once nobody waits for it.
    pub(super) fn forget_owner(&self, bucket: &mut Bucket, key: &FutexKey) {
        if bucket.owners.is_empty() || bucket.has_waiters(key) {
            return;
        }
        if let Some(index) = bucket.owners.iter().position(|owner| owner.key == *key) {
            bucket.owners.swap_remove(index);
            self.owned.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Hands over what a dead thread owned, marked with `FUTEX_OWNER_DIED`.
    pub fn release_owned(&self, mm: &Mm, tid: u32) {
        if !self.any_owned() {
            return;
        }
        let mut wakes = Wakes::new();
        for bucket in &self.buckets {
            let mut bucket = bucket.lock();
            let owned: Vec<_> = bucket
                .owners
                .iter()
                .filter(|owner| owner.tid == tid)
                .map(|owner| (owner.key, owner.addr))
                .collect();
            for (key, addr) in owned {
                // A word that is not writable any more has no users either.
                let _ = self.hand_over(
                    &mut bucket,
                    mm.memory(),
                    &key,
                    addr,
                    FUTEX_OWNER_DIED,
                    &mut wakes,
                );
            }
        }
        wake_all(wakes);
    }
}

/// A move of waiters to a lock (`FUTEX_CMP_REQUEUE_PI`).
#[derive(Clone, Copy)]
pub struct RequeuePi {
    /// The word that they wait on, where it is, and the value that it must have.
    pub from: (FutexKey, GuestAddr, u32),
    /// The lock, and where it is.
    pub to: (FutexKey, GuestAddr),
    /// How many are moved at most, besides the one that gets the lock.
    pub requeue: u32,
    /// The lock's word when its owner was looked up, and the owner.
    pub lock: (u32, Option<u32>),
}

impl FutexTable {
    /// Queues a waiter that wants to be moved to a lock.
    ///
    /// # Errors
    /// As [`FutexTable::queue_if`].
    pub fn queue_for_lock(
        &self,
        memory: &dyn GuestMemory,
        from: (FutexKey, GuestAddr, u32),
        lock: FutexKey,
        contender: Contender,
        signal: &Arc<Signal>,
    ) -> Result<Arc<Waiter>> {
        let wish = Wish::Requeue(lock, contender.number);
        let waiter = Waiter::with_wish(from.0, u32::MAX, signal, 0, wish, contender.tid);
        self.queue_if(memory, from.1, from.2, &waiter)?;
        Ok(waiter)
    }

    /// Gives the lock to the first waiter if it is free and moves others to it; `None` if a word changed
    /// meanwhile and the caller should look again.
    ///
    /// # Errors
    /// EAGAIN if the first word has another value, EINVAL for waiters that want something else, ESRCH, EFAULT.
    pub fn requeue_pi(&self, memory: &dyn GuestMemory, request: &RequeuePi) -> Result<Option<u32>> {
        let mut wakes = Wakes::new();
        let result = self.requeue_pi_locked(memory, request, &mut wakes);
        wake_all(wakes);
        result
    }

    fn requeue_pi_locked(
        &self,
        memory: &dyn GuestMemory,
        request: &RequeuePi,
        wakes: &mut Wakes,
    ) -> Result<Option<u32>> {
        let (from_key, from_addr, value) = request.from;
        let (to_key, to_addr) = request.to;
        let Some((mut from, mut to)) = self.lock_two(&from_key, &to_key) else {
            return Ok(Some(0));
        };
        if read_word(memory, from_addr)? != value {
            return Err(Errno::EAGAIN);
        }
        let candidates: Vec<_> = from
            .waiters
            .iter()
            .filter(|waiter| waiter.key() == from_key)
            .take(request.requeue.saturating_add(1) as usize)
            .cloned()
            .collect();
        if candidates
            .iter()
            .any(|waiter| !matches!(waiter.wish(), Wish::Requeue(key, _) if key == to_key))
        {
            return Err(Errno::EINVAL);
        }
        let mut count = 0;
        let mut owner = request.lock.1;
        for waiter in candidates {
            let Wish::Requeue(_, number) = waiter.wish() else { continue };
            let word = read_word(memory, to_addr)?;
            if count == 0 && word != request.lock.0 {
                return Ok(None);
            }
            if count == 0 && word & FUTEX_TID_MASK == 0 {
                let seen = memory.compare_exchange_u32(to_addr, word, number | FUTEX_WAITERS)?;
                if seen != word {
                    return Ok(None);
                }
                owner = Some(waiter.tid());
                from.remove(&waiter);
                wakes.push(waiter.signal(0));
                count += 1;
                continue;
            }
            let Some(owner) = owner else { return Err(Errno::ESRCH) };
            change_word(memory, to_addr, |word| word | FUTEX_WAITERS)?;
            waiter.set_key(to_key);
            waiter.set_wish(Wish::Lock(number));
            if let Some(to) = &mut to {
                let index = from.waiters.iter().position(|entry| Arc::ptr_eq(entry, &waiter));
                if let Some(index) = index {
                    from.waiters.remove(index);
                }
                to.waiters.push_back(waiter);
            }
            self.set_owner(to.as_deref_mut().unwrap_or(&mut from), to_key, owner, to_addr);
            count += 1;
        }
        Ok(Some(count))
    }
}

fn waits_for_lock(waiter: &Waiter) -> bool {
    matches!(waiter.wish(), Wish::Lock(_))
}
