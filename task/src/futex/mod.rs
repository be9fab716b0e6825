//! Futexes (`futex(2)`): queues of waiters by the word that they wait on.
//!
//! A word is known by its [`FutexKey`]: address space and address where memory is private, object and offset
//! where it is shared. Waiters are in hash buckets with a lock each; a word is compared and its waiter queued
//! under the bucket's lock, and a waker changes the word before it takes that lock, so no wake is lost.
//!
//! Costs: a wait takes two allocations and reads the word once through the platform; a wake without waiters takes
//! one lock. Wakers run after the locks are released. The platform is told who waits on private words
//! ([`AddressSpace::expect_wakes`]), so that it need not ask for wakes of nobody.
//!
//! [`AddressSpace::expect_wakes`]: chitin_mm::platform::AddressSpace::expect_wakes
//!
//! Lock order: bucket (lower index first), then a waiter's place. Neither is held across a wait, and nothing
//! else is locked under them but the platform's memory access.
//!
//! - [`pi`]: locks that the kernel hands over (`FUTEX_LOCK_PI`).
//! - [`robust`]: what becomes of a dead thread's locks.

mod op;
pub mod pi;
mod requeue;
pub mod robust;
mod waiter;

use core::hash::BuildHasher;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;

use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_mm::space::ObjectId;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

pub use self::op::WakeOp;
pub use self::requeue::Requeue;
pub use self::waiter::{Queued, Signal, Waiter};
use crate::memory::Mm;

/// Waiters that any wake reaches.
pub const MATCH_ANY: u32 = chitin_abi::futex::FUTEX_BITSET_MATCH_ANY;

const BUCKETS: usize = 256;

/// What a futex word is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FutexKey {
    /// A word of private memory: the address space and the address.
    Private(u64, u64),
    /// A word of shared memory: the object and the offset in it.
    Shared(ObjectId, u64),
}

impl FutexKey {
    /// The key of the word at `addr`. `private` promises that no other process waits on it.
    ///
    /// # Errors
    /// EINVAL for an address that is not a multiple of four; EFAULT for one that no guest can have, or where
    /// nothing is mapped.
    pub fn of(mm: &Mm, addr: GuestAddr, private: bool) -> Result<Self> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        crate::syscalls::scatter::check_range(addr.0, 4)?;
        if !private {
            let object = mm.space.lock().shared_object(addr.0)?;
            if let Some((object, offset)) = object {
                return Ok(Self::Shared(object, offset));
            }
        }
        Ok(Self::Private(mm.id(), addr.0))
    }
}

/// The waiters of some words, in the order in which they came.
#[derive(Default)]
struct Bucket {
    waiters: VecDeque<Arc<Waiter>>,
    /// Locks that have waiters, and the tasks that own them.
    owners: Vec<pi::Owner>,
}

/// Wakers to call once the locks are released.
type Wakes = SmallVec<[Arc<Signal>; 4]>;

/// All futex waiters of a kernel.
pub struct FutexTable {
    buckets: Box<[Mutex<Bucket>]>,
    hasher: hashbrown::DefaultHashBuilder,
    /// How many [`pi::Owner`]s there are in all.
    owned: AtomicUsize,
}

impl Default for FutexTable {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| Mutex::default()).collect();
        Self {
            buckets,
            hasher: hashbrown::DefaultHashBuilder::default(),
            owned: AtomicUsize::new(0),
        }
    }
}

impl FutexTable {
    fn index(&self, key: &FutexKey) -> usize {
        self.hasher.hash_one(key) as usize % BUCKETS
    }

    fn lock(&self, key: &FutexKey) -> Option<MutexGuard<'_, Bucket>> {
        self.buckets.get(self.index(key)).map(Mutex::lock)
    }

    /// Locks the buckets of two words; the second is `None` where both are in one.
    fn lock_two(
        &self,
        first: &FutexKey,
        second: &FutexKey,
    ) -> Option<(MutexGuard<'_, Bucket>, Option<MutexGuard<'_, Bucket>>)> {
        let (a, b) = (self.index(first), self.index(second));
        let (bucket_a, bucket_b) = (self.buckets.get(a)?, self.buckets.get(b)?);
        if a == b {
            return Some((bucket_a.lock(), None));
        }
        if a < b {
            let guard = bucket_a.lock();
            return Some((guard, Some(bucket_b.lock())));
        }
        let guard = bucket_b.lock();
        Some((bucket_a.lock(), Some(guard)))
    }

    /// Queues a waiter if the word has the value.
    ///
    /// # Errors
    /// EAGAIN if it has not; EFAULT.
    pub fn queue_if(
        &self,
        memory: &dyn GuestMemory,
        addr: GuestAddr,
        value: u32,
        waiter: &Arc<Waiter>,
    ) -> Result<()> {
        let Some(mut bucket) = self.lock(&waiter.key()) else { return Err(Errno::EFAULT) };
        // Who does not see that it waits has changed the word before.
        waiter.set_queued(true);
        match read_word(memory, addr) {
            Ok(word) if word == value => {
                bucket.push(waiter);
                return Ok(());
            }
            result => {
                waiter.set_queued(false);
                result.map(drop)?;
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Takes a waiter out of its queue; false if it has been woken.
    pub fn unqueue(&self, waiter: &Arc<Waiter>) -> bool {
        loop {
            let key = waiter.key();
            let Some(mut bucket) = self.lock(&key) else { return false };
            if waiter.key() != key {
                // It was moved to another word meanwhile.
                continue;
            }
            if !waiter.is_queued() {
                return false;
            }
            bucket.remove(waiter);
            self.forget_owner(&mut bucket, &key);
            return true;
        }
    }

    /// Wakes at most `most` waiters (at least one) whose bitset has a bit of `bitset`; returns how many.
    ///
    /// # Errors
    /// EINVAL where a waiter waits for a lock that only its owner can hand over.
    pub fn wake(&self, key: &FutexKey, most: u32, bitset: u32) -> Result<u32> {
        let mut wakes = Wakes::new();
        let result = match self.lock(key) {
            Some(mut bucket) => bucket.wake(key, most, bitset, &mut wakes),
            None => Ok(0),
        };
        wake_all(wakes);
        result
    }
}

impl Bucket {
    fn push(&mut self, waiter: &Arc<Waiter>) {
        waiter.set_queued(true);
        self.waiters.push_back(Arc::clone(waiter));
    }

    fn remove(&mut self, waiter: &Arc<Waiter>) {
        waiter.set_queued(false);
        if let Some(index) = self.waiters.iter().position(|entry| Arc::ptr_eq(entry, waiter)) {
            self.waiters.remove(index);
        }
    }

    fn has_waiters(&self, key: &FutexKey) -> bool {
        self.waiters.iter().any(|waiter| waiter.key() == *key)
    }

    fn wake(&mut self, key: &FutexKey, most: u32, bitset: u32, wakes: &mut Wakes) -> Result<u32> {
        let mut count = 0;
        let mut index = 0;
        while let Some(waiter) = self.waiters.get(index) {
            if waiter.key() != *key {
                index += 1;
                continue;
            }
            if waiter.is_pi() {
                return Err(Errno::EINVAL);
            }
            if waiter.bitset() & bitset == 0 {
                index += 1;
                continue;
            }
            let waiter = Arc::clone(waiter);
            self.waiters.remove(index);
            waiter.set_queued(false);
            wakes.push(waiter.signal(waiter.index()));
            count += 1;
            if count >= most {
                break;
            }
        }
        Ok(count)
    }
}

fn wake_all(wakes: Wakes) {
    for signal in wakes {
        signal.wake();
    }
}

fn read_word(memory: &dyn GuestMemory, addr: GuestAddr) -> Result<u32> {
    let mut bytes = [0; 4];
    memory.read(addr, &mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

impl FutexTable {
    /// How many waiters there are, for tests and diagnosis.
    pub fn waiting(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.lock().waiters.len()).sum()
    }

    /// Whether any lock with waiters has an owner.
    fn any_owned(&self) -> bool {
        self.owned.load(Ordering::SeqCst) != 0
    }
}

#[cfg(test)]
mod tests;
