//! What a mounted file system knows of itself.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use chitin_abi::Result;
use parking_lot::{Mutex, RwLock};

use crate::dentry::DentryTree;
use crate::handle::HandleTable;
use crate::inode::Inode;
use crate::notify::MarkList;

/// File systems that one may have below it, each on top of the next (`FILESYSTEM_MAX_STACK_DEPTH`).
pub const MAX_STACK_DEPTH: u32 = 2;

/// Numbers of `statfs(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsStats {
    /// `f_type`.
    pub magic: u64,
    /// Block size in bytes.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for everyone.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Longest name.
    pub name_max: u64,
}

/// What a file system type implements per mounted instance.
pub trait FileSystem: Send + Sync {
    /// The type's name (`tmpfs`).
    fn name(&self) -> &'static str;

    /// Its numbers now.
    ///
    /// # Errors
    /// Those of the storage.
    fn stats(&self) -> Result<FsStats>;

    /// The options that /proc/mounts shows behind the generic ones, with a leading comma each.
    fn options(&self) -> String {
        String::new()
    }

    /// Whether hard links, renames and attributes can change at all.
    fn read_only(&self) -> bool {
        false
    }

    /// How many file systems of this VFS are below it, each on top of the next. Operations go through all of them on
    /// one stack: what is mounted on files or directories of others refuses more than [`MAX_STACK_DEPTH`].
    fn stack_depth(&self) -> u32 {
        0
    }

    /// Whether its files can be opened by handles.
    fn exports(&self) -> bool {
        false
    }

    /// Applies options of a remount.
    ///
    /// # Errors
    /// EINVAL for an option that it does not know.
    fn remount(&self, options: &[u8]) -> Result<()> {
        let _ = options;
        Ok(())
    }

    /// Brings everything to the storage.
    ///
    /// # Errors
    /// EIO, ENOSPC.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// A mounted file system instance, shared by all mounts (binds) of it.
pub struct SuperBlock {
    /// Device number (`st_dev`), unique among instances.
    pub dev: u64,
    /// What /proc/mounts shows as the device.
    pub source: RwLock<Vec<u8>>,
    fs: Arc<dyn FileSystem>,
    next_ino: AtomicU64,
    read_only: AtomicBool,
    tree: Mutex<Weak<DentryTree>>,
    handles: Mutex<HandleTable>,
    marks: OnceLock<Box<MarkList>>,
}

static NEXT_ANONYMOUS_MINOR: AtomicU64 = AtomicU64::new(32);

impl SuperBlock {
    /// An instance with a fresh anonymous device number.
    pub fn new(fs: Arc<dyn FileSystem>, source: &[u8]) -> Arc<Self> {
        let dev = NEXT_ANONYMOUS_MINOR.fetch_add(1, Ordering::Relaxed) & 0xfffff;
        let dev = (dev & 0xff) | ((dev & 0xfff00) << 12);
        Arc::new(Self {
            dev,
            source: RwLock::new(source.to_vec()),
            fs,
            next_ino: AtomicU64::new(1),
            read_only: AtomicBool::new(false),
            tree: Mutex::default(),
            handles: Mutex::default(),
            marks: OnceLock::new(),
        })
    }

    /// The dentries of this instance: one tree, however often it is mounted.
    pub fn tree(&self, root: &Arc<dyn Inode>) -> Arc<DentryTree> {
        let mut tree = self.tree.lock();
        if let Some(tree) = tree.upgrade() {
            return tree;
        }
        let fresh = DentryTree::new(Arc::clone(root));
        *tree = Arc::downgrade(&fresh);
        fresh
    }

    /// The fanotify marks on it.
    pub(crate) fn marks(&self) -> &MarkList {
        self.marks.get_or_init(Box::default)
    }

    /// The fanotify marks on it if there ever were some.
    pub(crate) fn marks_if_any(&self) -> Option<&MarkList> {
        self.marks.get().map(Box::as_ref)
    }

    /// The file handles that were given out.
    pub(crate) fn handles(&self) -> &Mutex<HandleTable> {
        &self.handles
    }

    /// Whether nothing can be changed, through whatever mount.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire) || self.fs.read_only()
    }

    /// Makes the instance read-only or writable (`MS_REMOUNT`).
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Release);
    }

    /// The file system behind it.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// An inode number that this instance has not used.
    pub fn next_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }
}
