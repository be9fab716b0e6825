//! File-system types: what `mount(2)` finds by name.

use std::sync::Arc;

use chitin_abi::{Errno, Result};
use parking_lot::RwLock;

use crate::inode::Inode;
use crate::super_block::SuperBlock;
use crate::walk::Walk;

/// A type of file system that guests can mount.
pub trait FsType: Send + Sync {
    /// The name (`tmpfs`).
    fn name(&self) -> &str;

    /// Whether it needs no block device (`nodev` in /proc/filesystems).
    fn nodev(&self) -> bool {
        true
    }

    /// Whether it may be mounted by the owner of a user namespace that is not the initial one.
    fn user_mountable(&self) -> bool {
        false
    }

    /// Whether an option (`name` or `name=value`) is one that [`FsType::mount`] takes, as far as can be told before.
    ///
    /// # Errors
    /// EINVAL.
    fn check_option(&self, option: &[u8]) -> Result<()> {
        let _ = option;
        Ok(())
    }

    /// Makes an instance (or finds one to share) with the option string of `mount(2)`; `walk` is the caller's,
    /// for options that are paths. `options` has no generic ones such as `ro`.
    ///
    /// # Errors
    /// EINVAL for bad options, ENOENT, ENOTDIR, ENOMEM.
    fn mount(
        &self,
        source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)>;
}

/// The registered types.
#[derive(Default)]
pub struct FsTypes {
    types: RwLock<Vec<Arc<dyn FsType>>>,
}

impl FsTypes {
    /// The types that this crate can mount by itself.
    pub fn with_builtin() -> Self {
        let types = Self::default();
        for fs_type in crate::fs::builtin_types() {
            types.register(fs_type);
        }
        types
    }

    /// Adds a type; one of the same name is replaced.
    pub fn register(&self, fs_type: Arc<dyn FsType>) {
        let mut types = self.types.write();
        types.retain(|old| old.name() != fs_type.name());
        types.push(fs_type);
    }

    /// The type of this name.
    ///
    /// # Errors
    /// ENODEV.
    pub fn find(&self, name: &[u8]) -> Result<Arc<dyn FsType>> {
        let types = self.types.read();
        types.iter().find(|known| known.name().as_bytes() == name).cloned().ok_or(Errno::ENODEV)
    }

    /// All types, as /proc/filesystems lists them: name and `nodev`.
    pub fn list(&self) -> Vec<(String, bool)> {
        self.types.read().iter().map(|known| (known.name().to_owned(), known.nodev())).collect()
    }
}
