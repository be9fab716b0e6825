//! The inodes that are in use, by what identifies them on the host.

use parking_lot::RwLock;

use super::attr::{HostId, guest_ino};
use super::inode::HostInode;
use crate::fs::inode_table::InodeTable;

/// One inode for each file of the host, and an index for each host device in the tree.
pub(super) struct Table {
    pub inodes: InodeTable<HostId, HostInode>,
    devices: RwLock<Vec<u64>>,
}

impl Table {
    /// A table of a tree whose root is on this device.
    pub fn new(root_dev: u64) -> Self {
        Self { inodes: InodeTable::default(), devices: RwLock::new(vec![root_dev]) }
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
}
