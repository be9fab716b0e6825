//! The inodes of tmpfs.
//!
//! Locks, each a leaf but where said: a directory's entries (two of one rename by address; an inode's metadata
//! inside), the content of a file (metadata inside), metadata, extended attributes.

use core::any::Any;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::fs::{
    F_SEAL_EXEC, F_SEAL_GROW, F_SEAL_SHRINK, OpenFlags, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, PAGE_SIZE, Result};
use parking_lot::{Mutex, RwLock};

use super::content::Content;
use super::dir::Entries;
use super::file::{DirFile, RegularFile};
use super::{Tmpfs, xattr};
use crate::acl::{Acl, AclKind};
use crate::attr::{Attr, NewFile, SetAttr};
use crate::env::VfsEnv;
use crate::file::File;
use crate::inode::{AccessInfo, Inode};
use crate::inode_state::InodeState;
use crate::super_block::SuperBlock;

/// Size that Linux shows per directory entry.
const ENTRY_SIZE: u64 = 20;
/// Longest symbolic link that takes no page.
const SHORT_LINK: usize = 128;
/// A day in seconds: access times older than that are renewed in any case.
const DAY: i64 = 24 * 60 * 60;

/// What stat shows besides the size.
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u64,
    pub(super) atime: Timespec,
    pub(super) mtime: Timespec,
    pub(super) ctime: Timespec,
}

/// A regular file's bytes, seals and mappings.
pub(super) struct Regular {
    pub(super) content: RwLock<Content>,
    /// Copies of what the content says, for stat.
    pub(super) size: AtomicU64,
    pub(super) seals: AtomicU32,
    pub(super) writable_mappings: AtomicI64,
}

/// What kind of file it is.
pub(super) enum Kind {
    Regular(Regular),
    Directory { entries: Mutex<Entries>, parent: AtomicU64 },
    Symlink(Box<[u8]>),
    Special,
}

/// A file of a tmpfs.
pub struct TmpfsInode {
    super_block: Arc<SuperBlock>,
    pub(super) fs: Arc<Tmpfs>,
    pub(super) ino: u64,
    rdev: u64,
    btime: Timespec,
    pub(super) meta: Mutex<Meta>,
    pub(super) kind: Kind,
    xattrs: xattr::Table,
    state: InodeState,
}

/// The tmpfs inode behind an inode of another type.
pub(super) fn downcast(inode: &Arc<dyn Inode>) -> Result<Arc<TmpfsInode>> {
    let any: Arc<dyn Any + Send + Sync> = Arc::clone(inode) as _;
    any.downcast().map_err(|_| Errno::EXDEV)
}

impl TmpfsInode {
    pub(super) fn new(
        super_block: &Arc<SuperBlock>,
        fs: &Arc<Tmpfs>,
        new: &NewFile,
        target: &[u8],
    ) -> Result<Arc<Self>> {
        fs.space.charge_inode()?;
        if let Err(error) = fs.space.charge(target_pages(target)) {
            fs.space.release_inode();
            return Err(error);
        }
        let now = fs.clock.now();
        let kind = match new.mode & S_IFMT {
            S_IFREG => Kind::Regular(Regular {
                content: RwLock::default(),
                size: AtomicU64::new(0),
                seals: AtomicU32::new(chitin_abi::fs::F_SEAL_SEAL),
                writable_mappings: AtomicI64::new(0),
            }),
            S_IFDIR => Kind::Directory { entries: Mutex::default(), parent: AtomicU64::new(0) },
            S_IFLNK => Kind::Symlink(target.into()),
            _ => Kind::Special,
        };
        let nlink = if matches!(kind, Kind::Directory { .. }) { 2 } else { 1 };
        Ok(Arc::new(Self {
            super_block: Arc::clone(super_block),
            fs: Arc::clone(fs),
            ino: super_block.next_ino(),
            rdev: new.rdev,
            btime: now,
            meta: Mutex::new(Meta {
                mode: new.mode,
                uid: new.uid,
                gid: new.gid,
                nlink,
                atime: now,
                mtime: now,
                ctime: now,
            }),
            kind,
            xattrs: Mutex::new(None),
            state: InodeState::new(),
        }))
    }

    fn make(&self, new: &NewFile, target: &[u8]) -> Result<Arc<Self>> {
        Self::new(&self.super_block, &self.fs, new, target)
    }

    pub(super) fn regular(&self) -> Result<&Regular> {
        match &self.kind {
            Kind::Regular(regular) => Ok(regular),
            Kind::Directory { .. } => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn entries(&self) -> Result<&Mutex<Entries>> {
        match &self.kind {
            Kind::Directory { entries, .. } => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }

    /// `DT_…`.
    pub(super) fn dirent_type(&self) -> u8 {
        chitin_abi::fs::dirent_type(self.meta.lock().mode)
    }

    /// The inode number of `..`.
    pub(super) fn parent_ino(&self) -> u64 {
        match &self.kind {
            Kind::Directory { parent, .. } => match parent.load(Ordering::Relaxed) {
                0 => self.ino,
                ino => ino,
            },
            _ => self.ino,
        }
    }

    fn set_parent(&self, ino: u64) {
        if let Kind::Directory { parent, .. } = &self.kind {
            parent.store(ino, Ordering::Relaxed);
        }
    }

    /// The contents changed.
    pub(super) fn modified(&self) {
        let now = self.fs.clock.now();
        let mut meta = self.meta.lock();
        meta.mtime = now;
        meta.ctime = now;
    }

    fn link_changed(&self, by: i64) {
        let now = self.fs.clock.now();
        let mut meta = self.meta.lock();
        meta.nlink = meta.nlink.saturating_add_signed(by);
        meta.ctime = now;
    }

    /// A subdirectory came or went.
    fn subdirs_changed(&self, by: i64) {
        let mut meta = self.meta.lock();
        meta.nlink = meta.nlink.saturating_add_signed(by);
    }

    fn add(&self, name: &[u8], inode: Arc<Self>) -> Result<Arc<dyn Inode>> {
        {
            let mut entries = self.entries()?.lock();
            entries.check_free(name)?;
            entries.insert(name, Arc::clone(&inode));
        }
        if inode.is_dir() {
            inode.set_parent(self.ino);
            self.subdirs_changed(1);
        }
        self.modified();
        Ok(inode)
    }

    fn truncate(&self, size: u64) -> Result<()> {
        let regular = self.regular()?;
        let mut content = regular.content.write();
        let seals = regular.seals.load(Ordering::Acquire);
        if (size < content.size() && seals & F_SEAL_SHRINK != 0)
            || (size > content.size() && seals & F_SEAL_GROW != 0)
        {
            return Err(Errno::EPERM);
        }
        content.truncate(size, &self.fs.space)?;
        regular.size.store(size, Ordering::Release);
        Ok(())
    }

    /// Removes what a name leads to from the counts; the inode goes with its last user.
    fn dropped_name(&self, victim: &Self) {
        if victim.is_dir() {
            victim.meta.lock().nlink = 0;
            self.subdirs_changed(-1);
        } else {
            victim.link_changed(-1);
            if victim.meta.lock().nlink > 0 {
                self.fs.space.release_inode();
            }
        }
    }
}

/// Pages that the text of a symbolic link is charged for: none for a short one.
fn target_pages(target: &[u8]) -> u64 {
    u64::from(target.len() > SHORT_LINK)
}

fn is_recent(meta: &Meta, now: Timespec) -> bool {
    meta.atime > meta.mtime
        && meta.atime > meta.ctime
        && now.tv_sec.saturating_sub(meta.atime.tv_sec) < DAY
}

impl Inode for TmpfsInode {
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
        let (size, blocks) = match &self.kind {
            Kind::Regular(regular) => {
                let content = regular.content.read();
                (content.size(), content.pages() * (PAGE_SIZE / 512))
            }
            Kind::Directory { entries, .. } => ((entries.lock().len() as u64 + 2) * ENTRY_SIZE, 0),
            Kind::Symlink(target) => (target.len() as u64, 0),
            Kind::Special => (0, 0),
        };
        let meta = self.meta.lock();
        Ok(Attr {
            dev: self.super_block.dev,
            ino: self.ino,
            mode: meta.mode,
            nlink: meta.nlink,
            uid: meta.uid,
            gid: meta.gid,
            rdev: self.rdev,
            size,
            blksize: PAGE_SIZE as u32,
            blocks,
            atime: meta.atime,
            mtime: meta.mtime,
            ctime: meta.ctime,
            btime: self.btime,
        })
    }

    fn access_info(&self) -> Result<AccessInfo> {
        let meta = self.meta.lock();
        Ok(AccessInfo { mode: meta.mode, uid: meta.uid, gid: meta.gid })
    }

    fn set_attr(&self, change: &SetAttr, now: Timespec) -> Result<()> {
        let mut resized = false;
        if let Some(size) = change.size {
            resized = true;
            self.truncate(size)?;
        }
        if let (Some(mode), Kind::Regular(regular)) = (change.mode, &self.kind) {
            let sealed = regular.seals.load(Ordering::Acquire) & F_SEAL_EXEC != 0;
            if sealed && (mode ^ self.meta.lock().mode) & 0o111 != 0 {
                return Err(Errno::EPERM);
            }
        }
        let mut meta = self.meta.lock();
        if let Some(mode) = change.mode {
            meta.mode = (meta.mode & S_IFMT) | (mode & 0o7777);
        }
        meta.uid = change.uid.unwrap_or(meta.uid);
        meta.gid = change.gid.unwrap_or(meta.gid);
        meta.atime = change.atime.unwrap_or(meta.atime);
        if resized {
            meta.mtime = now;
        }
        meta.mtime = change.mtime.unwrap_or(meta.mtime);
        meta.ctime = now;
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let inode = Arc::clone(self.entries()?.lock().get(name)?);
        Ok(inode)
    }

    fn create(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.entries()?.lock().check_free(name)?;
        self.add(name, self.make(new, b"")?)
    }

    fn mkdir(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.create(name, &NewFile { mode: S_IFDIR | (new.mode & 0o7777), ..*new })
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.entries()?.lock().check_free(name)?;
        self.add(name, self.make(&NewFile { mode: S_IFLNK | 0o777, ..*new }, target)?)
    }

    fn tmpfile(&self, new: &NewFile) -> Result<Arc<dyn Inode>> {
        if self.entries()?.lock().is_dead() {
            return Err(Errno::ENOENT);
        }
        let inode = self.make(new, b"")?;
        inode.meta.lock().nlink = 0;
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = downcast(target)?;
        if target.is_dir() {
            return Err(Errno::EPERM);
        }
        {
            let mut entries = self.entries()?.lock();
            entries.check_free(name)?;
            // A further name takes memory too: it counts as an inode, as on Linux.
            let further = target.meta.lock().nlink > 0;
            if further {
                self.fs.space.charge_inode()?;
            }
            entries.insert(name, Arc::clone(&target));
        }
        target.link_changed(1);
        self.modified();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let victim = {
            let mut entries = self.entries()?.lock();
            if entries.get(name)?.is_dir() {
                return Err(Errno::EISDIR);
            }
            entries.remove(name).ok_or(Errno::ENOENT)?
        };
        self.dropped_name(&victim);
        self.modified();
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let victim = {
            let mut entries = self.entries()?.lock();
            let victim = Arc::clone(entries.get(name)?);
            victim.entries()?.lock().kill()?;
            entries.remove(name);
            victim
        };
        self.dropped_name(&victim);
        self.modified();
        Ok(())
    }

    fn rename(
        &self,
        old_name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: u32,
    ) -> Result<()> {
        let to = downcast(new_dir)?;
        super::rename::rename(self, old_name, &to, new_name, flags)
    }

    fn read_link(&self, _env: &VfsEnv) -> Result<Vec<u8>> {
        match &self.kind {
            Kind::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(self: Arc<Self>, _flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        match &self.kind {
            Kind::Regular(_) => Ok(Arc::new(RegularFile::new(self))),
            Kind::Directory { .. } => Ok(Arc::new(DirFile::new(self))),
            _ => Err(Errno::ENXIO),
        }
    }

    fn touch(&self, now: Timespec, relative: bool) {
        let mut meta = self.meta.lock();
        if !relative || !is_recent(&meta, now) {
            meta.atime = now;
        }
    }

    fn acl(&self, kind: AclKind) -> Result<Option<Acl>> {
        let table = self.xattrs.lock();
        let value = table.as_ref().and_then(|table| table.get(kind.name()));
        value.map_or(Ok(None), |value| Acl::stored(value))
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        xattr::get(&self.xattrs, name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        xattr::set(&self.xattrs, name, value, flags, &self.fs.space)?;
        self.meta.lock().ctime = self.fs.clock.now();
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        xattr::remove(&self.xattrs, name, &self.fs.space)?;
        self.meta.lock().ctime = self.fs.clock.now();
        Ok(())
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self
            .xattrs
            .lock()
            .as_ref()
            .map_or_else(Vec::new, |xattrs| xattrs.keys().cloned().collect()))
    }
}

impl Drop for TmpfsInode {
    fn drop(&mut self) {
        self.fs.space.release_inode();
        self.fs.space.release(xattr::pages(&self.xattrs));
        match &mut self.kind {
            Kind::Regular(regular) => self.fs.space.release(regular.content.get_mut().charged()),
            Kind::Symlink(target) => self.fs.space.release(target_pages(target)),
            Kind::Directory { entries, .. } => {
                // A loop, not a recursion: a guest makes trees of any depth.
                let mut pending = entries.get_mut().drain();
                while let Some(inode) = pending.pop() {
                    if let Some(mut inode) = Arc::into_inner(inode)
                        && let Kind::Directory { entries, .. } = &mut inode.kind
                    {
                        pending.append(&mut entries.get_mut().drain());
                    }
                }
            }
            _ => {}
        }
    }
}

/// The character device 0:0 that stands for a removed entry of a lower layer.
pub(super) fn whiteout(dir: &TmpfsInode) -> Result<Arc<TmpfsInode>> {
    dir.make(&NewFile { mode: S_IFCHR, uid: 0, gid: 0, rdev: 0 }, b"")
}

impl TmpfsInode {
    pub(super) fn moved_names(&self, to: &Self, moved: &Self, replaced: Option<&Self>) {
        if let Some(victim) = replaced {
            to.dropped_name(victim);
        }
        if moved.is_dir() && self.ino != to.ino {
            moved.set_parent(to.ino);
            self.subdirs_changed(-1);
            to.subdirs_changed(1);
        }
        moved.meta.lock().ctime = self.fs.clock.now();
    }
}
