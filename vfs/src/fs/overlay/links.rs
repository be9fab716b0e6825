//! Files of a lower layer that have several names there.
//!
//! Once such a file is copied up or one of its names is removed, its names in the lower layer no longer tell the
//! truth. The table remembers, by the file's identity, where it is now and how many names it has.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Key;
use crate::inode::Inode;

#[derive(Clone)]
pub(super) struct Linked {
    /// Where it was copied to.
    pub(super) upper: Option<Arc<dyn Inode>>,
    /// Its names.
    pub(super) count: u64,
}

#[derive(Default)]
pub(super) struct LinkTable {
    files: Mutex<HashMap<Key, Linked>>,
}

impl LinkTable {
    pub(super) fn get(&self, key: Key) -> Option<Linked> {
        self.files.lock().get(&key).cloned()
    }

    /// The file was copied up.
    pub(super) fn copied(&self, key: Key, count: u64, upper: &Arc<dyn Inode>) {
        let mut files = self.files.lock();
        let linked = files.entry(key).or_insert(Linked { upper: None, count });
        linked.upper = Some(Arc::clone(upper));
    }

    /// The file got or lost a name; how many it has now. `count` is what it had, if it was not remembered.
    pub(super) fn changed(&self, key: Key, count: u64, by: i64) -> u64 {
        let mut files = self.files.lock();
        let linked = files.entry(key).or_insert(Linked { upper: None, count });
        linked.count = linked.count.saturating_add_signed(by);
        let count = linked.count;
        // The last name is gone: nobody looks it up any more.
        let gone = if count == 0 { files.remove(&key) } else { None };
        drop(files);
        drop(gone);
        count
    }
}
