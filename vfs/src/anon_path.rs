//! Paths of files without a name, for magic links that lead to them (`/proc/self/fd/3` of a pipe).
//!
//! Such a file gets an inode and a dentry of its own on a mount that no namespace shows.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{ANON_INODE_FS_MAGIC, OpenFlags};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};

use crate::attr::{Attr, SetAttr};
use crate::env::VfsEnv;
use crate::file::{File, OpenFile};
use crate::inode::Inode;
use crate::inode_state::InodeState;
use crate::mount::{MountFlags, NewMount};
use crate::namespace::MountSystem;
use crate::path::Path;
use crate::super_block::{FileSystem, FsStats, SuperBlock};

struct AnonFs;

impl FileSystem for AnonFs {
    fn name(&self) -> &'static str {
        "anon_inodefs"
    }

    fn stats(&self) -> Result<FsStats> {
        Ok(FsStats {
            magic: u64::from(ANON_INODE_FS_MAGIC),
            block_size: 4096,
            name_max: 255,
            ..FsStats::default()
        })
    }
}

/// The mount that files without a name are on.
pub(crate) struct AnonMount {
    root: Path,
}

impl AnonMount {
    pub(crate) fn new() -> Self {
        let super_block = SuperBlock::new(Arc::new(AnonFs), b"anon_inodefs");
        let root: Arc<dyn Inode> =
            Arc::new(AnonRoot { super_block: Arc::clone(&super_block), state: InodeState::new() });
        let new = NewMount {
            super_block,
            root,
            flags: MountFlags::NO_ATIME,
            source: b"anon_inodefs".to_vec(),
        };
        Self { root: Arc::new(MountSystem::default()).detached(&new) }
    }

    /// A path of the file.
    pub(crate) fn path(&self, file: &Arc<OpenFile>) -> Path {
        let name = file.file().link_text().unwrap_or_else(|| b"anon_inode".to_vec());
        let inode = Arc::new(FileInode {
            super_block: Arc::clone(self.root.mount().super_block()),
            file: Arc::clone(file),
            state: InodeState::new(),
        });
        self.root.with_dentry(self.root.dentry().detached(&name, inode))
    }
}

struct AnonRoot {
    super_block: Arc<SuperBlock>,
    state: InodeState,
}

impl Inode for AnonRoot {
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
        Ok(Attr { dev: self.super_block.dev, ..Attr::empty(chitin_abi::fs::S_IFDIR | 0o700) })
    }

    fn open(self: Arc<Self>, _flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        Err(Errno::ENXIO)
    }
}

/// The inode of a file without a name.
pub struct FileInode {
    super_block: Arc<SuperBlock>,
    file: Arc<OpenFile>,
    state: InodeState,
}

impl FileInode {
    /// The open file that it stands for.
    pub fn file(&self) -> &Arc<OpenFile> {
        &self.file
    }
}

impl Inode for FileInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn super_block(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }

    fn state(&self) -> &InodeState {
        self.file.file().state().unwrap_or(&self.state)
    }

    fn attr(&self) -> Result<Attr> {
        self.file.attr()
    }

    fn set_attr(&self, change: &SetAttr, _now: Timespec) -> Result<()> {
        self.file.file().set_attr(change)
    }

    fn opens_special(&self) -> bool {
        true
    }

    fn open(self: Arc<Self>, flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        Arc::clone(self.file.file()).reopen(flags)
    }
}
