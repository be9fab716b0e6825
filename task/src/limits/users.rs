//! What users have: processes (`RLIMIT_NPROC` counts by real user id) and fanotify groups (by effective user id).

use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::HashMap;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

/// Counts by user.
#[derive(Default)]
pub struct Users {
    processes: Mutex<HashMap<u32, u64>>,
    /// Groups of `fanotify(7)`.
    pub fanotify_groups: Arc<Groups>,
}

/// How many groups users have, and may have.
pub struct Groups {
    /// `fs.fanotify.max_user_groups`.
    pub limit: AtomicU32,
    by_user: Mutex<HashMap<u32, u32>>,
}

impl Default for Groups {
    fn default() -> Self {
        Self { limit: AtomicU32::new(128), by_user: Mutex::default() }
    }
}

impl Groups {
    /// The user has one group more, until what is returned is dropped.
    ///
    /// # Errors
    /// EMFILE.
    pub fn charge(self: &Arc<Self>, user: u32) -> Result<GroupCharge> {
        let mut by_user = self.by_user.lock();
        let count = by_user.get(&user).copied().unwrap_or(0);
        if count >= self.limit.load(Ordering::Relaxed) {
            return Err(Errno::EMFILE);
        }
        by_user.insert(user, count.saturating_add(1));
        Ok(GroupCharge { groups: Arc::clone(self), user })
    }
}

/// One group of a user.
pub struct GroupCharge {
    groups: Arc<Groups>,
    user: u32,
}

impl Drop for GroupCharge {
    fn drop(&mut self) {
        let mut by_user = self.groups.by_user.lock();
        if let Some(count) = by_user.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

impl Users {
    /// How many threads the user has.
    pub fn processes(&self, kuid: u32) -> u64 {
        self.processes.lock().get(&kuid).copied().unwrap_or(0)
    }

    /// The user has one thread more.
    pub fn add(&self, kuid: u32) {
        let mut processes = self.processes.lock();
        let count = processes.entry(kuid).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// The user has one thread less.
    pub fn remove(&self, kuid: u32) {
        let mut processes = self.processes.lock();
        if let Some(count) = processes.get_mut(&kuid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                processes.remove(&kuid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded_by_user_and_given_back() {
        let groups = Arc::new(Groups::default());
        groups.limit.store(2, Ordering::Relaxed);
        let charges: Vec<_> = (0..2).map(|_| groups.charge(7).unwrap()).collect();
        assert_eq!(groups.charge(7).err(), Some(Errno::EMFILE));
        assert!(groups.charge(8).is_ok());
        drop(charges);
        assert!(groups.charge(7).is_ok());
        assert!(groups.by_user.lock().is_empty());
    }
}
