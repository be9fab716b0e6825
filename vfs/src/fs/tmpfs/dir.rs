//! The entries of a directory.
//!
//! A hash table by name, and the names in order of creation: an entry's number is its position for `readdir`,
//! never used again in this directory, so that a listing in progress neither repeats nor misses what stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use hashbrown::HashMap;

use super::inode::TmpfsInode;
use crate::dentry::Name;

/// Positions of `.` and `..`; entries begin behind them.
pub(super) const FIRST_POSITION: u64 = 3;

struct Entry {
    inode: Arc<TmpfsInode>,
    position: u64,
}

/// The entries.
pub(super) struct Entries {
    by_name: HashMap<Name, Entry>,
    by_position: BTreeMap<u64, Name>,
    next: u64,
    /// The directory has been removed: nothing can be made in it.
    dead: bool,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            by_position: BTreeMap::new(),
            next: FIRST_POSITION,
            dead: false,
        }
    }
}

impl Entries {
    pub(super) fn get(&self, name: &[u8]) -> Result<&Arc<TmpfsInode>> {
        self.by_name.get(name).map(|entry| &entry.inode).ok_or(Errno::ENOENT)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether a name can be added.
    pub(super) fn check_free(&self, name: &[u8]) -> Result<()> {
        if self.dead {
            Err(Errno::ENOENT)
        } else if self.by_name.contains_key(name) {
            Err(Errno::EEXIST)
        } else {
            Ok(())
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Forbids new entries if there are none.
    pub(super) fn kill(&mut self) -> Result<()> {
        if !self.by_name.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.dead = true;
        Ok(())
    }

    /// Adds a name, which is free, or replaces what it names and returns that.
    pub(super) fn insert(
        &mut self,
        name: &[u8],
        inode: Arc<TmpfsInode>,
    ) -> Option<Arc<TmpfsInode>> {
        if let Some(entry) = self.by_name.get_mut(name) {
            return Some(core::mem::replace(&mut entry.inode, inode));
        }
        let name: Name = Arc::from(name);
        let position = self.next;
        self.next = self.next.saturating_add(1);
        self.by_position.insert(position, Arc::clone(&name));
        self.by_name.insert(name, Entry { inode, position });
        None
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Arc<TmpfsInode>> {
        let entry = self.by_name.remove(name)?;
        self.by_position.remove(&entry.position);
        Some(entry.inode)
    }

    /// The entries behind a position: name, inode, position.
    pub(super) fn after(
        &self,
        position: u64,
    ) -> impl Iterator<Item = (&Name, &Arc<TmpfsInode>, u64)> {
        let start = (core::ops::Bound::Excluded(position), core::ops::Bound::Unbounded);
        self.by_position.range(start).filter_map(|(position, name)| {
            self.by_name.get(name).map(|entry| (name, &entry.inode, *position))
        })
    }

    pub(super) fn drain(&mut self) -> Vec<Arc<TmpfsInode>> {
        self.by_position.clear();
        self.by_name.drain().map(|(_, entry)| entry.inode).collect()
    }
}
