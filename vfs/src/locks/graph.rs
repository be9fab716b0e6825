//! Who waits for whom.

use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::LockOwner;

#[derive(Default)]
struct State {
    next: u64,
    /// Several threads may wait on behalf of one owner.
    waiting: HashMap<LockOwner, Vec<(u64, LockOwner)>>,
}

/// The owners that wait, and for whom. Only POSIX locks take part: an open file description may be waited for by
/// its own process.
#[derive(Default)]
pub struct LockGraph {
    state: Mutex<State>,
}

impl LockGraph {
    /// Records that `waiter` waits for `holder`; `None` where that is of no interest.
    ///
    /// # Errors
    /// EDEADLK where `holder` waits for `waiter`, perhaps by way of others.
    pub(super) fn wait(&self, waiter: LockOwner, holder: LockOwner) -> Result<Option<u64>> {
        if !matches!((waiter, holder), (LockOwner::Table(_), LockOwner::Table(_))) {
            return Ok(None);
        }
        let mut state = self.state.lock();
        let mut pending = vec![holder];
        let mut seen = Vec::new();
        while let Some(owner) = pending.pop() {
            if owner == waiter {
                return Err(Errno::EDEADLK);
            }
            if seen.contains(&owner) {
                continue;
            }
            seen.push(owner);
            if let Some(waits) = state.waiting.get(&owner) {
                pending.extend(waits.iter().map(|(_, holder)| *holder));
            }
        }
        state.next += 1;
        let id = state.next;
        state.waiting.entry(waiter).or_default().push((id, holder));
        Ok(Some(id))
    }

    /// A request no longer waits.
    pub(super) fn stop(&self, waiter: LockOwner, id: u64) {
        let mut state = self.state.lock();
        let Some(waits) = state.waiting.get_mut(&waiter) else { return };
        waits.retain(|(known, _)| *known != id);
        if waits.is_empty() {
            state.waiting.remove(&waiter);
        }
    }
}
