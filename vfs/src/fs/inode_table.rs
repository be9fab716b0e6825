//! The inodes of a file system that are in use, by what identifies them where they come from.

use core::hash::Hash;
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::Mutex;

/// One inode for each file. Holds none alive; who drops an inode calls [`InodeTable::forget`].
pub(in crate::fs) struct InodeTable<K, I> {
    inodes: Mutex<HashMap<K, Weak<I>>>,
}

impl<K, I> Default for InodeTable<K, I> {
    fn default() -> Self {
        Self { inodes: Mutex::default() }
    }
}

impl<K: Copy + Eq + Hash, I> InodeTable<K, I> {
    /// The inode of a file if it is in use.
    pub fn get(&self, id: K) -> Option<Arc<I>> {
        self.inodes.lock().get(&id).and_then(Weak::upgrade)
    }

    /// The inode of a file: the one in use if `fits` accepts it, else one that `make` makes.
    pub fn get_or_make(
        &self,
        id: K,
        fits: impl Fn(&I) -> bool,
        make: impl FnOnce() -> Arc<I>,
    ) -> Arc<I> {
        // The inode is made outside the lock, and one that loses the race is dropped outside it.
        if let Some(inode) = self.get(id)
            && fits(&inode)
        {
            return inode;
        }
        let fresh = make();
        let mut inodes = self.inodes.lock();
        let known = inodes.get(&id).and_then(Weak::upgrade);
        match known {
            Some(inode) if fits(&inode) => {
                drop(inodes);
                inode
            }
            other => {
                inodes.insert(id, Arc::downgrade(&fresh));
                drop(inodes);
                drop(other);
                fresh
            }
        }
    }

    /// Forgets an inode that is gone.
    pub fn forget(&self, id: K) {
        let mut inodes = self.inodes.lock();
        if inodes.get(&id).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(&id);
        }
        if inodes.capacity() > 1024 && inodes.len() < inodes.capacity() / 8 {
            inodes.shrink_to_fit();
        }
    }
}
