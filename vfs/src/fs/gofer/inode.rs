//! [`GoferInode`]: one file of the server.

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Weak};
use std::time::Instant;

use chitin_abi::fs::{OpenFlags, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_gofer_proto::message::{Attr as WireAttr, List, Reply, Request, Walked};
use chitin_gofer_proto::name::Name;
use parking_lot::Mutex;

use super::prefetch::Listed;
use super::session::{Fid, server_error};
use super::{GoferFs, change, convert, dir, prefetch, remote, xattr};
use crate::acl::{Acl, AclKind};
use crate::acl_cache::AclCache;
use crate::attr::{Attr, NewFile, SetAttr};
use crate::env::VfsEnv;
use crate::file::File;
use crate::fs::host::fd_cache::CachedFd;
use crate::fs::host::file::{self, Regular};
use crate::inode::Inode;
use crate::inode_state::InodeState;
use crate::super_block::SuperBlock;

/// How long attributes in a shared tree are believed: for the rest of the operation that asked for them.
const ONE_OPERATION: Duration = Duration::from_micros(50);

/// Where a file was last seen.
#[derive(Clone)]
pub(super) struct Place {
    /// Its directory; `None` for the root.
    pub parent: Option<Arc<GoferInode>>,
    /// Its name there; empty for a file that has none.
    pub name: Box<[u8]>,
}

/// Donated descriptors, by what they can do.
#[derive(Default)]
struct Fds {
    read: Weak<CachedFd>,
    write: Weak<CachedFd>,
}

/// Attributes as the server said them.
#[derive(Clone, Copy)]
struct Known {
    attr: Attr,
    /// When they are to be asked for again; never in a tree of our own.
    until: Option<Instant>,
}

/// One file of the server.
pub(super) struct GoferInode {
    pub fs: Arc<GoferFs>,
    super_block: Arc<SuperBlock>,
    state: InodeState,
    /// Identity: the path of the qid, which is the inode number too.
    pub ino: u64,
    /// `S_IFMT` bits.
    pub kind: u32,
    /// The server's handle; `None` while only its directory's listing is known.
    fid: Mutex<Option<Arc<Fid>>>,
    pub place: Mutex<Place>,
    attr: Mutex<Option<Known>>,
    link: Mutex<Option<Arc<[u8]>>>,
    acls: AclCache,
    fds: Mutex<Fds>,
    appending: Mutex<()>,
    volatile: AtomicBool,
    pub listing: prefetch::Listing,
    this: Weak<GoferInode>,
}

/// A name of one component.
pub(super) fn component(name: &[u8]) -> Result<Name<'_>> {
    Name::new(name).map_err(|_| if name.len() > 255 { Errno::ENAMETOOLONG } else { Errno::EINVAL })
}

impl GoferInode {
    fn new(
        fs: &Arc<GoferFs>,
        super_block: &Arc<SuperBlock>,
        attr: &WireAttr,
        place: Place,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            fs: Arc::clone(fs),
            super_block: Arc::clone(super_block),
            state: InodeState::default(),
            ino: attr.qid.path,
            kind: attr.mode & S_IFMT,
            fid: Mutex::new(None),
            place: Mutex::new(place),
            attr: Mutex::new(None),
            link: Mutex::new(None),
            acls: AclCache::default(),
            fds: Mutex::default(),
            appending: Mutex::new(()),
            volatile: AtomicBool::new(false),
            listing: prefetch::Listing::default(),
            this: Weak::clone(this),
        })
    }

    /// The root of a tree.
    pub fn root(fs: &Arc<GoferFs>, super_block: &Arc<SuperBlock>, attr: &WireAttr) -> Arc<Self> {
        let place = Place { parent: None, name: Box::default() };
        let make = || Self::new(fs, super_block, attr, place);
        let root = fs.table.get_or_make(attr.qid.path, |_| true, make);
        root.store_attr(attr);
        root
    }

    /// The inode of an entry of this directory; notes that the file is to be found there.
    pub fn child(&self, name: &[u8], attr: &WireAttr, fid: Option<Fid>) -> Result<Arc<Self>> {
        let parent = self.this.upgrade().ok_or(Errno::ENOENT)?;
        let place = Place { parent: Some(parent), name: name.into() };
        let kind = attr.mode & S_IFMT;
        let make = || Self::new(&self.fs, &self.super_block, attr, place.clone());
        let inode = self.fs.table.get_or_make(attr.qid.path, |known| known.kind == kind, make);
        inode.moved_to(place);
        inode.store_attr(attr);
        inode.give_fid(fid);
        Ok(inode)
    }

    fn give_fid(&self, fid: Option<Fid>) {
        let Some(fid) = fid else { return };
        let mut slot = self.fid.lock();
        if slot.is_none() {
            *slot = Some(Arc::new(fid));
            return;
        }
        drop(slot);
        drop(fid);
    }

    /// Notes that the file is to be found elsewhere. A directory that would turn up below itself stays where it
    /// was, so that places never form a ring, whatever the server says.
    pub fn moved_to(&self, place: Place) {
        let same = |current: &Place| match (&current.parent, &place.parent) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) && current.name == place.name,
            (None, _) => true,
            (Some(_), None) => false,
        };
        if same(&self.place.lock()) {
            return;
        }
        let _moving = (self.kind == S_IFDIR).then(|| self.fs.prefetched.moving.lock());
        if self.kind == S_IFDIR && self.is_above(&place) {
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

    /// The server's handle of this file.
    pub fn fid(&self) -> Result<Arc<Fid>> {
        if let Some(fid) = self.fid.lock().as_ref() {
            return Ok(Arc::clone(fid));
        }
        let place = self.place.lock().clone();
        let Some(parent) = place.parent else {
            return self.root_fid();
        };
        // Only files that were found by a listing have none yet, and what was listed has one.
        let dir = parent.fid()?;
        let (fid, attr) = self.fs.session.walk(dir.number(), component(&place.name)?)?;
        self.check_same(&attr)?;
        self.give_fid(Some(fid));
        self.fid.lock().clone().ok_or(Errno::EIO)
    }

    fn root_fid(&self) -> Result<Arc<Fid>> {
        let fid = self.fs.session.duplicate(self.fs.root.number())?;
        self.give_fid(Some(fid));
        self.fid.lock().clone().ok_or(Errno::EIO)
    }

    fn check_same(&self, attr: &WireAttr) -> Result<()> {
        let same = attr.qid.path == self.ino && attr.mode & S_IFMT == self.kind;
        if same { Ok(()) } else { Err(Errno::ESTALE) }
    }

    /// Remembers attributes that were just read.
    pub fn store_attr(&self, attr: &WireAttr) {
        let attr = convert::from_wire(attr, self.super_block.dev);
        let until = self.fs.is_shared().then(|| Instant::now() + ONE_OPERATION);
        *self.attr.lock() = Some(Known { attr, until });
    }

    fn cached_attr(&self) -> Option<Attr> {
        if self.volatile.load(Ordering::Relaxed) {
            return None;
        }
        let known = (*self.attr.lock())?;
        known.until.is_none_or(|until| Instant::now() < until).then_some(known.attr)
    }

    /// An owning reference to itself.
    pub fn this(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    fn live_fd(&self, write: bool) -> Option<Arc<CachedFd>> {
        let fds = self.fds.lock();
        let fd = if write { fds.write.upgrade() } else { fds.read.upgrade() };
        drop(fds);
        if let Some(fd) = &fd {
            fd.touch();
        }
        fd
    }

    /// Keeps a donated descriptor for as long as the cache does.
    pub fn remember(&self, write: bool, fd: &Arc<CachedFd>) {
        let weak = Arc::downgrade(fd);
        let mut fds = self.fds.lock();
        if write {
            fds.write = weak;
        } else {
            fds.read = weak;
        }
        drop(fds);
        self.fs.fds.insert(Arc::clone(fd));
    }

    /// A descriptor for reading, or for reading and writing, from the server.
    fn data_fd(&self, write: bool) -> Result<Arc<CachedFd>> {
        if let Some(fd) = self.live_fd(write) {
            return Ok(fd);
        }
        let flags = if write { OpenFlags::O_RDWR } else { OpenFlags::empty() };
        let known = self.fid.lock().clone();
        let fd = match known {
            Some(fid) => self.donated(&fid, flags)?,
            None => self.walk_and_donate(flags)?,
        };
        self.remember(write, &fd);
        Ok(fd)
    }

    fn donated(&self, fid: &Fid, flags: OpenFlags) -> Result<Arc<CachedFd>> {
        let request = Request::Donate { fid: fid.number(), flags: flags.bits() };
        let mut answers = self.fs.session.exchange(&[request])?;
        answers.list.first().ok_or(Errno::EIO)?.reply()?;
        Ok(CachedFd::new(answers.descriptors.claim().ok_or(Errno::EIO)?))
    }

    /// Fid, attributes and descriptor of a file that only a listing has shown, in one.
    fn walk_and_donate(&self, flags: OpenFlags) -> Result<Arc<CachedFd>> {
        let place = self.place.lock().clone();
        let dir = place.parent.ok_or(Errno::ENOENT)?.fid()?;
        let fid = self.fs.session.new_fid()?;
        let names = List(vec![component(&place.name)?]);
        let (new_fid, flags) = (fid.number(), flags.bits());
        let request = Request::OpenAt { fid: dir.number(), new_fid, names, flags };
        let mut answers = self.fs.session.exchange(&[request])?;
        let answer = answers.list.pop().ok_or(Errno::EIO)?;
        let (number, step) = match answer.reply() {
            Ok(Reply::OpenAt { number, steps, .. }) => (number, steps.0.first().copied()),
            Ok(_) => return Err(Errno::EIO),
            Err(error) => {
                fid.never_made();
                return Err(error);
            }
        };
        let Some(Walked { attr, .. }) = step else {
            fid.never_made();
            return Err(server_error(number));
        };
        self.check_same(&attr)?;
        self.store_attr(&attr);
        self.give_fid(Some(fid));
        if number != 0 {
            return Err(server_error(number));
        }
        Ok(CachedFd::new(answers.descriptors.claim().ok_or(Errno::EIO)?))
    }

    fn open_regular(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>> {
        let write = flags.is_writable();
        if write {
            self.fs.check_writable()?;
        }
        if !self.fs.session.is_extended() {
            return remote::open(self, flags);
        }
        match self.data_fd(write) {
            Ok(fd) => Ok(file::open(self, fd, flags)),
            // A server that serves no files of the host.
            Err(Errno::EOPNOTSUPP) => remote::open(self, flags),
            Err(error) => Err(error),
        }
    }
}

/// Lets go of a chain of directories one by one: their number is the guest's to choose, the stack is not.
impl Drop for GoferInode {
    fn drop(&mut self) {
        self.fs.table.forget(self.ino);
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut inode) = next.and_then(Arc::into_inner) {
            next = inode.place.get_mut().parent.take();
        }
    }
}

impl Regular for GoferInode {
    fn appending(&self) -> &Mutex<()> {
        &self.appending
    }

    fn changed(&self) {
        *self.attr.lock() = None;
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
        names.iter().rev().flat_map(|name| [b"/", &**name].concat()).collect()
    }
}

impl Inode for GoferInode {
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
        let cached = self.cached_attr();
        self.fs.count(cached.is_some());
        if let Some(attr) = cached {
            return Ok(attr);
        }
        let attr = self.fs.session.get_attr(self.fid()?.number())?;
        self.check_same(&attr)?;
        self.store_attr(&attr);
        Ok(convert::from_wire(&attr, self.super_block.dev))
    }

    fn set_attr(&self, change: &SetAttr, _now: Timespec) -> Result<()> {
        self.fs.check_writable()?;
        if change.size.is_some() && self.kind == S_IFDIR {
            return Err(Errno::EISDIR);
        }
        let change = convert::change_to_wire(change);
        let result = self
            .fid()
            .and_then(|fid| self.fs.session.order(&Request::SetAttr { fid: fid.number(), change }));
        self.changed();
        self.acls.forget();
        result
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if self.kind != S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        let listed = self.listed(name);
        self.fs.count(!matches!(listed, Listed::Unknown));
        match listed {
            Listed::Present(attr) => return Ok(self.child(name, &attr, None)?),
            Listed::Absent => return Err(Errno::ENOENT),
            Listed::Unknown => {}
        }
        let (fid, attr) = self.fs.session.walk(self.fid()?.number(), component(name)?)?;
        Ok(self.child(name, &attr, Some(fid))?)
    }

    fn caches_entries(&self) -> bool {
        !self.fs.is_shared()
    }

    fn is_same(&self, other: &dyn Inode) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| core::ptr::eq(self, other))
    }

    fn create(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        Ok(change::make(self, name, new, b"")?)
    }

    fn mkdir(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        let new = NewFile { mode: (new.mode & !S_IFMT) | S_IFDIR, ..*new };
        Ok(change::make(self, name, &new, b"")?)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        let new = NewFile { mode: (new.mode & !S_IFMT) | S_IFLNK, ..*new };
        Ok(change::make(self, name, &new, target)?)
    }

    fn tmpfile(&self, new: &NewFile) -> Result<Arc<dyn Inode>> {
        Ok(change::tmpfile(self, new)?)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        change::link(self, name, target)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        change::remove(self, name, 0)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        change::remove(self, name, chitin_abi::fs::AT_REMOVEDIR)
    }

    fn rename(
        &self,
        old_name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: u32,
    ) -> Result<()> {
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
        let answer = self.fs.session.ask(&Request::ReadLink { fid: self.fid()?.number() })?;
        let Reply::ReadLink { target } = answer.reply()? else { return Err(Errno::EIO) };
        *self.link.lock() = Some(target.0.into());
        Ok(target.0.to_vec())
    }

    fn open(self: Arc<Self>, flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        match self.kind {
            S_IFREG => self.open_regular(flags),
            S_IFDIR => dir::open(&self),
            S_IFLNK => Err(Errno::ELOOP),
            S_IFSOCK | S_IFIFO => Err(Errno::ENXIO),
            _ => Err(Errno::ENODEV),
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
