//! The inodes of an overlay.

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use chitin_abi::fs::{OpenFlags, S_IFDIR, S_IFREG};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::{Mutex, RwLock};

use super::copy_up::Data;
use super::dir::DirFile;
use super::file::OverlayFile;
use super::{Key, Overlay, marker};
use crate::acl::{Acl, AclKind};
use crate::attr::{Attr, NewFile, SetAttr};
use crate::env::VfsEnv;
use crate::file::File;
use crate::inode::{AccessInfo, Inode};
use crate::inode_state::InodeState;
use crate::super_block::SuperBlock;

/// Where a file is: in the upper layer, in lower ones (several for a directory), or both.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) upper: Option<Arc<dyn Inode>>,
    pub(super) lowers: Vec<Arc<dyn Inode>>,
}

impl Layers {
    /// The layer that is shown.
    pub(super) fn top(&self) -> Result<&Arc<dyn Inode>> {
        self.upper.as_ref().or(self.lowers.first()).ok_or(Errno::ESTALE)
    }
}

/// A name that leads to a file.
#[derive(Clone)]
pub(super) struct Place {
    /// `None` for the root.
    pub(super) parent: Option<Arc<OverlayInode>>,
    pub(super) name: Box<[u8]>,
}

/// A file of an overlay.
pub struct OverlayInode {
    super_block: Arc<SuperBlock>,
    pub(super) fs: Arc<Overlay>,
    state: InodeState,
    pub(super) key: Key,
    pub(super) ino: u64,
    /// `S_IFMT` bits.
    pub(super) kind: u32,
    layers: RwLock<Layers>,
    has_upper: AtomicBool,
    /// A directory's path in the lower layers, if it is there.
    pub(super) lower_path: Option<Box<[u8]>>,
    /// A name of it; `None` when that name was removed.
    place: Mutex<Option<Place>>,
    /// The number of names, where it is not what the layer says.
    links: Mutex<Option<u64>>,
    /// A directory: serializes its changes. Set when it has been removed.
    pub(super) changes: Mutex<bool>,
    /// Serializes copies up.
    pub(super) copying: Mutex<()>,
    this: Weak<OverlayInode>,
}

impl OverlayInode {
    pub(super) fn new(
        super_block: &Arc<SuperBlock>,
        fs: &Arc<Overlay>,
        key: Key,
        kind: u32,
        layers: Layers,
        lower_path: Option<Box<[u8]>>,
        place: Option<Place>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            super_block: Arc::clone(super_block),
            fs: Arc::clone(fs),
            state: InodeState::new(),
            key,
            ino: fs.number(key),
            kind,
            has_upper: AtomicBool::new(layers.upper.is_some()),
            layers: RwLock::new(layers),
            lower_path,
            place: Mutex::new(place),
            links: Mutex::new(None),
            changes: Mutex::new(false),
            copying: Mutex::new(()),
            this: Weak::clone(this),
        })
    }

    pub(super) fn this(&self) -> Result<Arc<Self>> {
        self.this.upgrade().ok_or(Errno::ESTALE)
    }

    pub(super) fn layers(&self) -> Layers {
        self.layers.read().clone()
    }

    pub(super) fn has_upper(&self) -> bool {
        self.has_upper.load(Ordering::Acquire)
    }

    pub(super) fn upper(&self) -> Option<Arc<dyn Inode>> {
        if self.has_upper() { self.layers.read().upper.clone() } else { None }
    }

    pub(super) fn set_upper(&self, upper: Arc<dyn Inode>) {
        let old = self.layers.write().upper.replace(upper);
        self.has_upper.store(true, Ordering::Release);
        drop(old);
    }

    /// The layer that is shown.
    pub(super) fn top(&self) -> Result<Arc<dyn Inode>> {
        self.layers.read().top().cloned()
    }

    /// Whether lower layers show through a directory, or may once it has an upper part.
    pub(super) fn has_lower(&self) -> bool {
        !self.layers.read().lowers.is_empty()
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.place.lock().clone()
    }

    pub(super) fn set_place(&self, place: Option<Place>) {
        let old = core::mem::replace(&mut *self.place.lock(), place);
        drop(old);
    }

    /// Whether this name is the one that is remembered.
    pub(super) fn is_at(&self, parent: &Self, name: &[u8]) -> bool {
        self.place.lock().as_ref().is_some_and(|place| {
            *place.name == *name
                && place
                    .parent
                    .as_ref()
                    .is_some_and(|known| core::ptr::eq(Arc::as_ptr(known), parent))
        })
    }

    pub(super) fn set_links(&self, count: Option<u64>) {
        *self.links.lock() = count;
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind == S_IFDIR
    }

    /// The inode number of the directory above.
    pub(super) fn parent_ino(&self) -> u64 {
        self.place().and_then(|place| place.parent).map_or(self.ino, |parent| parent.ino)
    }

    pub(super) fn super_block_arc(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }
}

/// The overlay inode behind an inode of another type.
pub(super) fn downcast(inode: &Arc<dyn Inode>) -> Result<Arc<OverlayInode>> {
    inode.as_any().downcast_ref::<OverlayInode>().ok_or(Errno::EXDEV)?.this()
}

impl Inode for OverlayInode {
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
        let layers = self.layers();
        let mut attr = layers.top()?.attr()?;
        attr.dev = self.super_block.dev;
        attr.ino = self.ino;
        if let Some(links) = *self.links.lock() {
            attr.nlink = links;
        } else if self.is_dir() && layers.upper.is_some() && !layers.lowers.is_empty() {
            // As Linux says for merged directories: nobody has counted.
            attr.nlink = 1;
        }
        Ok(attr)
    }

    fn access_info(&self) -> Result<AccessInfo> {
        self.top()?.access_info()
    }

    fn set_attr(&self, change: &SetAttr, now: Timespec) -> Result<()> {
        let data = change.size.map_or(Data::All, Data::UpTo);
        self.copy_up(data)?.set_attr(change, now)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let changes = self.changes.lock();
        let found = self.find(name);
        drop(changes);
        Ok(found?)
    }

    fn caches_entries(&self) -> bool {
        self.fs.caches_entries
    }

    fn create(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.make(name, new, |upper| upper.create(name, new))
    }

    fn mkdir(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.make(name, new, |upper| upper.mkdir(name, new))
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.make(name, new, |upper| upper.symlink(name, target, new))
    }

    fn tmpfile(&self, new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.make_unnamed(new)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        self.add_link(name, &downcast(target)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.remove(name, false)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.remove(name, true)
    }

    fn rename(
        &self,
        old_name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: u32,
    ) -> Result<()> {
        super::rename::rename(&self.this()?, old_name, &downcast(new_dir)?, new_name, flags)
    }

    fn read_link(&self, env: &VfsEnv) -> Result<Vec<u8>> {
        self.top()?.read_link(env)
    }

    fn open(self: Arc<Self>, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        match self.kind {
            S_IFDIR => Ok(Arc::new(DirFile::new(self))),
            S_IFREG => {
                if flags.is_writable() {
                    let truncate = flags.contains(OpenFlags::O_TRUNC);
                    self.copy_up(if truncate { Data::UpTo(0) } else { Data::All })?;
                }
                Ok(Arc::new(OverlayFile::open(self, flags, env)?))
            }
            _ => self.top()?.open(flags, env),
        }
    }

    fn touch(&self, now: Timespec, relative: bool) {
        // A read is no reason for a copy.
        if let Some(upper) = self.upper() {
            upper.touch(now, relative);
        }
    }

    fn acl(&self, kind: AclKind) -> Result<Option<Acl>> {
        self.top()?.acl(kind)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        if name.starts_with(marker::PREFIX) {
            return Err(Errno::ENODATA);
        }
        self.top()?.get_xattr(name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        if name.starts_with(marker::PREFIX) {
            return Err(Errno::EPERM);
        }
        self.copy_up(Data::All)?.set_xattr(name, value, flags)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        // Found out first, because a removal that fails is no reason for a copy.
        self.get_xattr(name)?;
        self.copy_up(Data::All)?.remove_xattr(name)
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        let mut names = self.top()?.list_xattr()?;
        names.retain(|name| !name.starts_with(marker::PREFIX));
        Ok(names)
    }
}

impl Drop for OverlayInode {
    fn drop(&mut self) {
        self.fs.forget(self.key, self);
        // Directories that only this one kept go in a loop: chains are as long as guests make them.
        let mut next = self.place.get_mut().take().and_then(|place| place.parent);
        while let Some(mut inode) = next.and_then(Arc::into_inner) {
            next = inode.place.get_mut().take().and_then(|place| place.parent);
        }
    }
}
