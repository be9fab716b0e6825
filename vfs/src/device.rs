//! Device numbers and what opens them.

use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, S_IFBLK, S_IFMT, major, minor};
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::env::VfsEnv;
use crate::file::File;
use crate::path::Path;

/// Character or block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// `S_IFCHR`.
    Char,
    /// `S_IFBLK`.
    Block,
}

/// Opens device nodes of its numbers.
pub trait Device: Send + Sync {
    /// Opens the node at `path`, whose inode says the device number. Permissions have been checked.
    ///
    /// # Errors
    /// ENXIO, EIO, EBUSY, ENODEV.
    fn open(&self, path: &Path, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>>;
}

#[derive(Default)]
struct Numbers {
    exact: HashMap<(DeviceKind, u32, u32), Arc<dyn Device>>,
    majors: HashMap<(DeviceKind, u32), Arc<dyn Device>>,
}

/// The devices that nodes can name.
#[derive(Default)]
pub struct DeviceRegistry {
    numbers: RwLock<Numbers>,
}

impl DeviceRegistry {
    /// Makes nodes of this number open `device`.
    pub fn register(&self, kind: DeviceKind, major: u32, minor: u32, device: Arc<dyn Device>) {
        let old = self.numbers.write().exact.insert((kind, major, minor), device);
        drop(old);
    }

    /// Makes nodes of this major number open `device`, whatever the minor number, unless the exact number is
    /// registered.
    pub fn register_major(&self, kind: DeviceKind, major: u32, device: Arc<dyn Device>) {
        let old = self.numbers.write().majors.insert((kind, major), device);
        drop(old);
    }

    /// The device of a number.
    pub fn find(&self, kind: DeviceKind, major: u32, minor: u32) -> Option<Arc<dyn Device>> {
        let numbers = self.numbers.read();
        numbers
            .exact
            .get(&(kind, major, minor))
            .or_else(|| numbers.majors.get(&(kind, major)))
            .cloned()
    }

    /// The device of a node with this `st_mode` and `st_rdev`.
    ///
    /// # Errors
    /// ENXIO where nothing is registered.
    pub fn of_node(&self, mode: u32, rdev: u64) -> Result<Arc<dyn Device>> {
        let kind = if mode & S_IFMT == S_IFBLK { DeviceKind::Block } else { DeviceKind::Char };
        self.find(kind, major(rdev), minor(rdev)).ok_or(Errno::ENXIO)
    }
}
