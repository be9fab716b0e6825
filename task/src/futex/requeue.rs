//! `FUTEX_REQUEUE` and `FUTEX_CMP_REQUEUE`: wake some waiters and move others to another word.

use std::sync::Arc;

use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;

use super::{FutexKey, FutexTable, Wakes, read_word, wake_all};

/// A requeue.
#[derive(Clone, Copy, Debug)]
pub struct Requeue {
    /// The word that the waiters wait on.
    pub from: FutexKey,
    /// Where they go.
    pub to: FutexKey,
    /// The first word's address, and the value that it must have.
    pub expected: Option<(GuestAddr, u32)>,
    /// How many are woken at most.
    pub wake: u32,
    /// How many are moved at most.
    pub requeue: u32,
}

impl FutexTable {
    /// Wakes and moves; returns how many waiters that were in all.
    ///
    /// # Errors
    /// EAGAIN if the word has another value, EFAULT, EINVAL for waiters that wait for a lock.
    pub fn requeue(&self, memory: &dyn GuestMemory, request: &Requeue) -> Result<u32> {
        let mut wakes = Wakes::new();
        let result = self.requeue_locked(memory, request, &mut wakes);
        wake_all(wakes);
        result
    }

    fn requeue_locked(
        &self,
        memory: &dyn GuestMemory,
        request: &Requeue,
        wakes: &mut Wakes,
    ) -> Result<u32> {
        let Some((mut from, mut to)) = self.lock_two(&request.from, &request.to) else {
            return Ok(0);
        };
        if let Some((addr, value)) = request.expected
            && read_word(memory, addr)? != value
        {
            return Err(Errno::EAGAIN);
        }
        let (mut woken, mut moved) = (0, 0);
        let mut index = 0;
        while let Some(waiter) = from.waiters.get(index) {
            if waiter.key() != request.from {
                index += 1;
                continue;
            }
            if waiter.is_pi() {
                return Err(Errno::EINVAL);
            }
            let waiter = Arc::clone(waiter);
            if woken < request.wake {
                from.waiters.remove(index);
                waiter.set_queued(false);
                wakes.push(waiter.signal(waiter.index()));
                woken += 1;
            } else if moved < request.requeue {
                waiter.set_key(request.to);
                match &mut to {
                    Some(to) => {
                        from.waiters.remove(index);
                        to.waiters.push_back(waiter);
                    }
                    None => index += 1,
                }
                moved += 1;
            } else {
                break;
            }
        }
        Ok(woken + moved)
    }
}
