//! overlay: a writable layer over read-only ones.
//!
//! What a directory shows is the upper layer's entries and, where the upper one neither has nor hides a name, the
//! lower layers'. The lower layers are never written: a file is *copied up* before it is changed
//! ([`copy_up`]), a removed name leaves a *whiteout* (character device 0:0) in the upper layer, a directory that was
//! made anew is *opaque*, one that was moved says by a *redirect* where its lower part is ([`marker`]).
//!
//! A file is one [`OverlayInode`] whatever layer it is in and however many names it has: identity and inode number
//! are those of the layer where it first was (its *origin*), so that they survive a copy up; locks, watches, FIFOs
//! and sockets live in the overlay's own inode state. Files with several names in a lower layer are remembered when
//! one of the names is changed ([`links`]), so that all names keep showing the same file. Open files look again
//! for the upper file after a copy up, so a reader sees what a writer changed.
//!
//! Cost: a lookup is one lookup per layer until the name is found; reads and writes are the layer's own plus one
//! atomic load; listing a directory that is in one layer only streams, a merged one is collected once per open.
//!
//! Locks, outermost first: an inode's `copying`; `changes` of directories (parents first, else by address; never
//! taken before a copy up of the same directory); the layers' own; `layers`, `place`, the tables (leaves).
//!
//! References: the kernel's `Documentation/filesystems/overlayfs.rst`.

mod change;
mod changes;
mod copy_up;
mod dir;
mod file;
mod inode;
mod links;
mod lookup;
mod marker;
mod mount;
mod rename;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use chitin_abi::fs::{OVERLAYFS_SUPER_MAGIC, S_IFDIR, S_IFMT};
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::Mutex;

pub use self::changes::{Change, ChangeKind, changes};
pub use self::inode::OverlayInode;
use self::inode::{Layers, Place};
use self::links::LinkTable;
pub(super) use self::mount::OverlayType;
#[doc(hidden)]
pub use self::mount::check_options;
use crate::clock::{Clock, SystemClock};
use crate::env::{VfsEnv, VfsShared};
use crate::inode::Inode;
use crate::super_block::{FileSystem, FsStats, MAX_STACK_DEPTH, SuperBlock};

/// Options of an instance.
#[derive(Clone)]
pub struct OverlayOptions {
    /// What /proc/mounts shows behind the generic options, with a leading comma.
    pub shown: String,
    /// What /proc/mounts shows as the device.
    pub source: Vec<u8>,
    /// The lower layers may hold whiteouts and opaque directories of an earlier overlay.
    pub lower_markers: bool,
    /// Time of changes.
    pub clock: Arc<dyn Clock>,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self {
            shown: String::new(),
            source: b"overlay".to_vec(),
            lower_markers: false,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Identity of a file: file system and number of its origin.
pub(super) type Key = (usize, u64);

/// The file system.
pub struct Overlay {
    options: OverlayOptions,
    upper: Option<Arc<dyn Inode>>,
    lowers: Vec<Arc<dyn Inode>>,
    /// File systems of the layers, in the order of their numbers (see [`Overlay::number`]).
    file_systems: Vec<usize>,
    inodes: Mutex<HashMap<Key, Weak<OverlayInode>>>,
    links: LinkTable,
    /// Nobody else changes any of the layers.
    caches_entries: bool,
    /// File systems of this VFS below it, each on top of the next.
    depth: u32,
    /// For opening files of the layers.
    env: VfsEnv,
}

fn address(inode: &dyn Inode) -> usize {
    Arc::as_ptr(inode.super_block()).addr()
}

impl Overlay {
    /// A merged tree of `lowers` (the first is the topmost) below `upper`, which takes the changes; read-only
    /// without one.
    ///
    /// # Errors
    /// EINVAL without a lower layer, or with one that is too many file systems up; ENOTDIR.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a file system is used through its super block and root"
    )]
    pub fn new(
        upper: Option<Arc<dyn Inode>>,
        lowers: Vec<Arc<dyn Inode>>,
        options: OverlayOptions,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let first = lowers.first().ok_or(Errno::EINVAL)?;
        for layer in lowers.iter().chain(&upper) {
            if layer.access_info()?.mode & S_IFMT != S_IFDIR {
                return Err(Errno::ENOTDIR);
            }
        }
        let below = lowers.iter().chain(&upper).map(|layer| layer.super_block().fs().stack_depth());
        let depth = below.max().unwrap_or(0).saturating_add(1);
        if depth > MAX_STACK_DEPTH {
            return Err(Errno::EINVAL);
        }
        let mut file_systems = Vec::new();
        for layer in lowers.iter().chain(&upper) {
            let address = address(layer.as_ref());
            if !file_systems.contains(&address) {
                file_systems.push(address);
            }
        }
        let caches_entries = lowers.iter().chain(&upper).all(|layer| layer.caches_entries());
        let shared = VfsShared::new(Arc::clone(&options.clock));
        let source = options.source.clone();
        let fs = Arc::new(Self {
            caches_entries,
            depth,
            upper: upper.clone(),
            lowers: lowers.clone(),
            file_systems,
            inodes: Mutex::default(),
            links: LinkTable::default(),
            env: VfsEnv::new(shared, None),
            options,
        });
        let super_block = SuperBlock::new(Arc::clone(&fs) as Arc<dyn FileSystem>, &source);
        let key = (address(first.as_ref()), first.attr()?.ino);
        let layers = Layers { upper, lowers };
        let place = Place { parent: None, name: Box::default() };
        let root = OverlayInode::new(
            &super_block,
            &fs,
            key,
            S_IFDIR,
            layers,
            Some(Box::default()),
            Some(place),
        );
        fs.inodes.lock().insert(key, Arc::downgrade(&root));
        Ok((super_block, root))
    }

    /// The number of a file as the overlay shows it: a file system's own number, marked by which one it is.
    pub(super) fn number(&self, key: Key) -> u64 {
        let index = self.file_systems.iter().position(|known| *known == key.0).unwrap_or(0) as u64;
        key.1 ^ (index << 48)
    }

    /// The inode of this identity, made if there is none.
    pub(super) fn get_or_make(
        &self,
        key: Key,
        make: impl FnOnce() -> Arc<OverlayInode>,
    ) -> Arc<OverlayInode> {
        let known = self.inodes.lock().get(&key).and_then(Weak::upgrade);
        if let Some(known) = known {
            return known;
        }
        let fresh = make();
        let mut inodes = self.inodes.lock();
        if let Some(known) = inodes.get(&key).and_then(Weak::upgrade) {
            drop(inodes);
            return known;
        }
        inodes.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    fn forget(&self, key: Key, inode: *const OverlayInode) {
        let mut inodes = self.inodes.lock();
        if inodes.get(&key).is_some_and(|known| core::ptr::eq(known.as_ptr(), inode)) {
            inodes.remove(&key);
        }
    }
}

impl FileSystem for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn exports(&self) -> bool {
        true
    }

    fn stack_depth(&self) -> u32 {
        self.depth
    }

    fn stats(&self) -> Result<FsStats> {
        let layer = self.upper.as_ref().or(self.lowers.first()).ok_or(Errno::EIO)?;
        let stats = layer.super_block().fs().stats()?;
        // An upper layer in memory takes nothing until it is written to; a file system with files in it is never
        // empty, and programs know that.
        let most = stats.blocks.saturating_sub(1);
        Ok(FsStats {
            magic: u64::from(OVERLAYFS_SUPER_MAGIC),
            blocks_free: stats.blocks_free.min(most),
            blocks_available: stats.blocks_available.min(most),
            ..stats
        })
    }

    fn options(&self) -> String {
        self.options.shown.clone()
    }

    fn read_only(&self) -> bool {
        self.upper.as_ref().is_none_or(|upper| upper.super_block().is_read_only())
    }

    fn sync(&self) -> Result<()> {
        self.upper.as_ref().map_or(Ok(()), |upper| upper.super_block().fs().sync())
    }
}
