//! The empty root file system below everything.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, RAMFS_MAGIC, S_IFDIR};
use chitin_abi::{Errno, Result};

use crate::attr::Attr;
use crate::env::VfsEnv;
use crate::file::File;
use crate::inode::Inode;
use crate::inode_state::InodeState;
use crate::mount::{MountFlags, NewMount};
use crate::super_block::{FileSystem, FsStats, SuperBlock};

struct RootFs;

impl FileSystem for RootFs {
    fn name(&self) -> &'static str {
        "rootfs"
    }

    fn stats(&self) -> Result<FsStats> {
        Ok(FsStats {
            magic: u64::from(RAMFS_MAGIC),
            block_size: 4096,
            name_max: 255,
            ..FsStats::default()
        })
    }
}

struct RootDirectory {
    super_block: Arc<SuperBlock>,
    state: InodeState,
}

impl Inode for RootDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn super_block(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }

    fn state(&self) -> &InodeState {
        &self.state
    }

    fn attr(&self) -> Result<Attr> {
        Ok(Attr { dev: self.super_block.dev, nlink: 2, ..Attr::empty(S_IFDIR | 0o555) })
    }

    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOENT)
    }

    fn open(self: Arc<Self>, _flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        Err(Errno::ENXIO)
    }
}

pub(super) fn root_file_system() -> NewMount {
    let super_block = SuperBlock::new(Arc::new(RootFs), b"none");
    let root =
        Arc::new(RootDirectory { super_block: Arc::clone(&super_block), state: InodeState::new() });
    NewMount { super_block, root, flags: MountFlags::default(), source: b"none".to_vec() }
}
