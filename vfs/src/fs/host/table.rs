//! The inodes that are in use, by what identifies them on the host.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::attr::{HostId, guest_ino};
use super::inode::HostInode;

/// One inode for each file of the host, and an index for each host device in the tree.
pub(super) struct Table {
    inodes: Mutex<HashMap<HostId, Weak<HostInode>>>,
    devices: RwLock<Vec<u64>>,
}

impl Table {
    /// A table of a tree whose root is on this device.
    pub fn new(root_dev: u64) -> Self {
        Self { inodes: Mutex::default(), devices: RwLock::new(vec![root_dev]) }
    }

    /// The inode number that the guest sees.
    pub fn guest_ino(&self, id: HostId) -> u64 {
        guest_ino(id, self.device_index(id.dev))
    }

    fn device_index(&self, dev: u64) -> u64 {
        let position = |devices: &[u64]| devices.iter().position(|known| *known == dev);
        let known = position(&self.devices.read());
        let index = known.unwrap_or_else(|| {
            let mut devices = self.devices.write();
            position(&devices).unwrap_or_else(|| {
                devices.push(dev);
                devices.len().saturating_sub(1)
            })
        });
        index as u64
    }

    /// The inode of a file if it is in use.
    pub fn get(&self, id: HostId) -> Option<Arc<HostInode>> {
        self.inodes.lock().get(&id).and_then(Weak::upgrade)
    }

    /// The inode of a file: the one in use if `fits` accepts it, else one that `make` makes.
    pub fn get_or_make(
        &self,
        id: HostId,
        fits: impl Fn(&HostInode) -> bool,
        make: impl FnOnce() -> Arc<HostInode>,
    ) -> Arc<HostInode> {
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
    pub fn forget(&self, id: HostId) {
        let mut inodes = self.inodes.lock();
        if inodes.get(&id).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(&id);
        }
        if inodes.capacity() > 1024 && inodes.len() < inodes.capacity() / 8 {
            inodes.shrink_to_fit();
        }
    }
}
