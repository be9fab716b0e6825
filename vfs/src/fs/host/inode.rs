//! [`HostInode`]: one file of the host.

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};
use std::time::Instant;

use chitin_abi::fs::{OpenFlags, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Statx};

use super::attr::{self, HostId};
use super::fd_cache::CachedFd;
use super::open::Access;
use super::{HostFs, change, dir, file, special, xattr};
use crate::acl::{Acl, AclKind};
use crate::acl_cache::AclCache;
use crate::attr::{Attr, NewFile, SetAttr};
use crate::env::VfsEnv;
use crate::file::File;
use crate::host_errno::from_host;
use crate::inode::Inode;
use crate::inode_state::InodeState;
use crate::super_block::SuperBlock;

/// How long attributes in a shared tree are believed: for the rest of the operation that asked for them (a walk
/// looks at those of each component twice), not for another one that could follow a change by somebody else.
const ONE_OPERATION: Duration = Duration::from_micros(50);

/// Where a file was last seen.
#[derive(Clone)]
pub(super) struct Place {
    /// Its directory; `None` for the root.
    pub parent: Option<Arc<HostInode>>,
    /// Its name there; empty for a file that has none.
    pub name: Box<[u8]>,
}

/// The descriptors of a file, by what they can do.
#[derive(Default)]
pub(super) struct Fds {
    /// `O_PATH`, or a directory for reading: good for everything relative to it.
    pub path: Weak<CachedFd>,
    /// For reading.
    pub read: Weak<CachedFd>,
    /// For reading and writing.
    pub write: Weak<CachedFd>,
    /// Those that must stay: the root's, and those of a file without a name.
    pub pinned: Vec<Arc<CachedFd>>,
}

/// Attributes as the host said them.
#[derive(Clone, Copy)]
struct Known {
    attr: Attr,
    /// When they are to be asked for again; never in a tree of our own.
    until: Option<Instant>,
}

impl Known {
    fn new(fs: &HostFs, attr: Attr) -> Self {
        Self { attr, until: fs.is_shared().then(|| Instant::now() + ONE_OPERATION) }
    }
}

/// One file of the host.
pub(super) struct HostInode {
    pub fs: Arc<HostFs>,
    super_block: Arc<SuperBlock>,
    state: InodeState,
    pub id: HostId,
    pub ino: u64,
    /// `S_IFMT` bits.
    pub kind: u32,
    pub place: Mutex<Place>,
    pub fds: Mutex<Fds>,
    attr: Mutex<Option<Known>>,
    link: Mutex<Option<Arc<[u8]>>>,
    acls: AclCache,
    /// Held over an append.
    appending: Mutex<()>,
    /// The host changes attributes behind our back: the file is mapped shared and writable somewhere, or a
    /// descriptor that may write has been given away.
    pub volatile: AtomicBool,
    this: Weak<HostInode>,
}

impl HostInode {
    fn new(
        fs: &Arc<HostFs>,
        super_block: &Arc<SuperBlock>,
        stat: &Statx,
        place: Place,
    ) -> Arc<Self> {
        let id = attr::id(stat);
        let ino = fs.table.guest_ino(id);
        Arc::new_cyclic(|this| Self {
            fs: Arc::clone(fs),
            super_block: Arc::clone(super_block),
            state: InodeState::default(),
            id,
            ino,
            kind: attr::mode(stat) & S_IFMT,
            place: Mutex::new(place),
            fds: Mutex::default(),
            attr: Mutex::new(Some(Known::new(fs, attr::convert(stat, super_block.dev, ino)))),
            link: Mutex::new(None),
            acls: AclCache::default(),
            appending: Mutex::new(()),
            volatile: AtomicBool::new(false),
            this: Weak::clone(this),
        })
    }

    /// The root of a tree.
    pub fn root(fs: &Arc<HostFs>, super_block: &Arc<SuperBlock>, stat: &Statx) -> Arc<Self> {
        let place = Place { parent: None, name: Box::default() };
        let make = || Self::new(fs, super_block, stat, place);
        let root = fs.table.inodes.get_or_make(attr::id(stat), |_| true, make);
        root.pin(CachedFd::shared(Arc::clone(&fs.root)));
        root
    }

    /// The inode of an entry of this directory with these attributes; notes that the file is to be found there.
    pub fn child(&self, name: &[u8], stat: &Statx) -> Result<Arc<Self>> {
        let parent = self.this.upgrade().ok_or(Errno::ENOENT)?;
        let place = Place { parent: Some(parent), name: name.into() };
        let kind = attr::mode(stat) & S_IFMT;
        let make = || Self::new(&self.fs, &self.super_block, stat, place.clone());
        let inode =
            self.fs.table.inodes.get_or_make(attr::id(stat), |known| known.kind == kind, make);
        inode.moved_to(place);
        inode.store_attr(stat);
        Ok(inode)
    }

    /// Notes that the file is to be found elsewhere. A directory that turns up below itself (a bind mount on the
    /// host) stays where it was, as the root always does, so that places never form a ring.
    pub fn moved_to(&self, place: Place) {
        let same = |current: &Place| match (&current.parent, &place.parent) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) && current.name == place.name,
            (None, _) => true,
            (Some(_), None) => false,
        };
        if same(&self.place.lock()) {
            return;
        }
        let _moving = self.is_dir().then(|| self.fs.moving.lock());
        if self.is_dir() && self.is_above(&place) {
            return;
        }
        let old = core::mem::replace(&mut *self.place.lock(), place);
        drop(old);
    }

    fn is_above(&self, place: &Place) -> bool {
        let mut next = place.parent.clone();
        while let Some(inode) = next {
            if core::ptr::eq(Arc::as_ptr(&inode), self) {
                return true;
            }
            next = inode.place.lock().parent.clone();
        }
        false
    }

    /// Keeps a descriptor open as long as the inode.
    pub fn pin(&self, fd: Arc<CachedFd>) {
        let mut fds = self.fds.lock();
        if fds.path.strong_count() == 0 {
            fds.path = Arc::downgrade(&fd);
        }
        fds.pinned.push(fd);
    }

    /// Remembers attributes that were just read.
    pub fn store_attr(&self, stat: &Statx) {
        let attr = attr::convert(stat, self.super_block.dev, self.ino);
        *self.attr.lock() = Some(Known::new(&self.fs, attr));
    }

    /// Forgets attributes: something has changed.
    pub fn changed(&self) {
        *self.attr.lock() = None;
    }

    fn cached_attr(&self) -> Option<Attr> {
        if self.volatile.load(Ordering::Relaxed) {
            return None;
        }
        let known = (*self.attr.lock())?;
        known.until.is_none_or(|until| Instant::now() < until).then_some(known.attr)
    }

    /// Any open descriptor of the file.
    pub fn live_fd(&self) -> Option<Arc<CachedFd>> {
        let fds = self.fds.lock();
        let weak = [&fds.path, &fds.read, &fds.write];
        let found =
            weak.into_iter().find_map(Weak::upgrade).or_else(|| fds.pinned.first().cloned());
        drop(fds);
        if let Some(fd) = &found {
            fd.touch();
        }
        found
    }

    /// Asks the host for the attributes.
    fn statx_now(&self) -> Result<Statx> {
        let stat = if let Some(fd) = self.live_fd() {
            attr::statx_fd(fd.as_fd())?
        } else {
            let place = self.place.lock().clone();
            let dir = place.parent.ok_or(Errno::ENOENT)?.dir_fd()?;
            attr::statx_at(dir.as_fd(), &place.name, AtFlags::empty())?
        };
        self.check_same(&stat)?;
        Ok(stat)
    }

    /// Calls `operation` with a descriptor and a name (empty: the descriptor itself) that lead to this file.
    pub fn with_handle<T>(
        &self,
        operation: impl FnOnce(BorrowedFd<'_>, &[u8], AtFlags) -> rustix::io::Result<T>,
    ) -> Result<T> {
        if let Some(fd) = self.live_fd() {
            return operation(fd.as_fd(), b"", AtFlags::EMPTY_PATH).map_err(from_host);
        }
        let place = self.place.lock().clone();
        let parent = place.parent.ok_or(Errno::ENOENT)?;
        let dir = parent.dir_fd()?;
        if self.fs.is_shared() {
            let stat = attr::statx_at(dir.as_fd(), &place.name, AtFlags::empty())?;
            self.check_same(&stat)?;
        }
        operation(dir.as_fd(), &place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(from_host)
    }

    /// Whether these attributes are of this very file.
    pub fn check_same(&self, stat: &Statx) -> Result<()> {
        let same = attr::id(stat) == self.id && attr::mode(stat) & S_IFMT == self.kind;
        if same { Ok(()) } else { Err(Errno::ESTALE) }
    }

    fn open_regular(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>> {
        let access = if flags.is_writable() { Access::Write } else { Access::Read };
        if access == Access::Write {
            self.fs.check_writable()?;
        }
        let fd = self.data_fd(access)?;
        Ok(file::open(self, fd, flags))
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == S_IFDIR
    }

    /// An owning reference to itself.
    pub fn this(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }
}

impl file::Regular for HostInode {
    fn appending(&self) -> &Mutex<()> {
        &self.appending
    }

    fn changed(&self) {
        Self::changed(self);
    }

    fn set_volatile(&self) {
        self.volatile.store(true, Ordering::Relaxed);
    }

    fn ino(&self) -> u64 {
        self.ino
    }

    fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut place = self.place.lock().clone();
        let mut length = 0usize;
        while let Some(parent) = place.parent {
            length = length.saturating_add(place.name.len()).saturating_add(1);
            if length > chitin_abi::fs::PATH_MAX {
                break;
            }
            names.push(place.name);
            place = parent.place.lock().clone();
        }
        let mut path = Vec::with_capacity(length);
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }
}

/// Lets go of a chain of directories one by one: their number is the guest's to choose, the stack is not.
impl Drop for HostInode {
    fn drop(&mut self) {
        self.fs.table.inodes.forget(self.id);
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut inode) = next.and_then(Arc::into_inner) {
            next = inode.place.get_mut().parent.take();
        }
    }
}

impl Inode for HostInode {
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
        if let Some(attr) = self.cached_attr() {
            return Ok(attr);
        }
        let stat = self.statx_now()?;
        self.store_attr(&stat);
        Ok(attr::convert(&stat, self.super_block.dev, self.ino))
    }

    fn set_attr(&self, change: &SetAttr, _now: Timespec) -> Result<()> {
        self.fs.check_writable()?;
        let result = change::set_attr(self, change);
        self.changed();
        self.acls.forget();
        result
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let dir = self.dir_fd()?;
        let stat = attr::statx_at(dir.as_fd(), name, AtFlags::empty())?;
        Ok(self.child(name, &stat)?)
    }

    fn caches_entries(&self) -> bool {
        !self.fs.is_shared()
    }

    fn is_same(&self, other: &dyn Inode) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| core::ptr::eq(self, other))
    }

    fn create(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.fs.check_writable()?;
        Ok(change::create(self, name, new)?)
    }

    fn mkdir(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.fs.check_writable()?;
        Ok(change::mkdir(self, name, new)?)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.fs.check_writable()?;
        Ok(change::symlink(self, name, target, new)?)
    }

    fn tmpfile(&self, new: &NewFile) -> Result<Arc<dyn Inode>> {
        self.fs.check_writable()?;
        Ok(change::tmpfile(self, new)?)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        self.fs.check_writable()?;
        change::link(self, name, target)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.fs.check_writable()?;
        change::remove(self, name, AtFlags::empty())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.fs.check_writable()?;
        change::remove(self, name, AtFlags::REMOVEDIR)
    }

    fn rename(
        &self,
        old_name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: u32,
    ) -> Result<()> {
        self.fs.check_writable()?;
        change::rename(self, old_name, new_dir, new_name, flags)
    }

    fn read_link(&self, _env: &VfsEnv) -> Result<Vec<u8>> {
        if self.kind != S_IFLNK {
            return Err(Errno::EINVAL);
        }
        if !self.fs.is_shared()
            && let Some(text) = self.link.lock().as_ref()
        {
            return Ok(text.to_vec());
        }
        let text = self
            .with_handle(|fd, name, _| rustix::fs::readlinkat(fd, name, Vec::new()))?
            .into_bytes();
        *self.link.lock() = Some(text.as_slice().into());
        Ok(text)
    }

    fn open(self: Arc<Self>, flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        match self.kind {
            S_IFREG => self.open_regular(flags),
            S_IFDIR => dir::open(&self),
            S_IFLNK => Err(Errno::ELOOP),
            _ => special::open(&self),
        }
    }

    fn acl(&self, kind: AclKind) -> Result<Option<Acl>> {
        if !Acl::fits(self.kind) {
            return Ok(None);
        }
        let read = || Acl::read(self.get_xattr(kind.name()));
        if self.fs.is_shared() { read() } else { self.acls.get(kind, read) }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        xattr::get(self, name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        self.fs.check_writable()?;
        let result = xattr::set(self, name, value, flags);
        self.acls.forget();
        result
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.fs.check_writable()?;
        let result = xattr::remove(self, name);
        self.acls.forget();
        result
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        xattr::list(self)
    }
}
