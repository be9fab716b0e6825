//! Opening descriptors of host files.

use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::HostFs;
use super::attr;
use super::fd_cache::CachedFd;
use super::inode::HostInode;
use crate::host_errno::from_host;

/// What a descriptor of a regular file is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Writing, and reading where the host permits it.
    Write,
}

/// Longest path that is opened at once.
const CHUNK: usize = 4000;
/// Flags of every open: nothing is followed, nothing blocks, no terminal is acquired.
pub(super) const COMMON: OFlags =
    OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);
const PATH_DIR: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens a relative path of plain names below a directory, through no link of any kind.
fn open_once(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        match rustix::fs::openat2(dir, path, flags, mode, resolve) {
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) if !path.is_empty() => {}
            result => return result,
        }
        // EPERM may be the file's own answer: only a second refusal of something harmless condemns the call.
        match rustix::fs::openat2(dir, c".", PATH_DIR, Mode::empty(), resolve) {
            Ok(_) => return rustix::fs::openat2(dir, path, flags, mode, resolve),
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                NO_OPENAT2.store(true, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
    }
    open_by_component(dir, path, flags, mode)
}

fn open_by_component(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let mut names = path.split(|byte| *byte == b'/').peekable();
    let mut current: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let base = current.as_ref().map_or(dir, AsFd::as_fd);
        if names.peek().is_none() {
            return rustix::fs::openat(base, name, flags, mode);
        }
        current = Some(rustix::fs::openat(base, name, PATH_DIR, Mode::empty())?);
    }
    Err(rustix::io::Errno::NOENT)
}

/// Opens below a directory; where the process has run out of descriptors, empties the cache and tries again.
pub(super) fn open_at(
    fs: &HostFs,
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd> {
    match open_once(dir, path, flags, mode) {
        Err(rustix::io::Errno::MFILE) => {
            fs.fds.clear();
            open_once(dir, path, flags, mode).map_err(from_host)
        }
        result => result.map_err(from_host),
    }
}

/// Opens a directory many levels below another.
fn open_deep(fs: &HostFs, base: &CachedFd, names: &[Box<[u8]>]) -> Result<OwnedFd> {
    let mut current: Option<OwnedFd> = None;
    let mut path = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let last = index.saturating_add(1) == names.len();
        if last || path.len() > CHUNK {
            let from = current.as_ref().map_or_else(|| base.as_fd(), AsFd::as_fd);
            current = Some(open_at(fs, from, &path, PATH_DIR, Mode::empty())?);
            path.clear();
        }
    }
    current.ok_or(Errno::ENOENT)
}

impl HostInode {
    fn live_dir_fd(&self) -> Option<Arc<CachedFd>> {
        let fd = self.fds.lock().path.upgrade();
        if let Some(fd) = &fd {
            fd.touch();
        }
        fd
    }

    /// A descriptor of this directory, to work relative to.
    pub(super) fn dir_fd(&self) -> Result<Arc<CachedFd>> {
        if !self.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if let Some(fd) = self.live_dir_fd() {
            return Ok(fd);
        }
        let place = self.place.lock().clone();
        let mut names = vec![place.name];
        let mut parent = place.parent.ok_or(Errno::ENOENT)?;
        let base = loop {
            if let Some(fd) = parent.live_dir_fd() {
                break fd;
            }
            let place = parent.place.lock().clone();
            names.push(place.name);
            parent = place.parent.ok_or(Errno::ENOENT)?;
        };
        names.reverse();
        let fd = open_deep(&self.fs, &base, &names)?;
        self.check_same(&attr::statx_fd(fd.as_fd())?)?;
        let fd = CachedFd::new(fd);
        self.fds.lock().path = Arc::downgrade(&fd);
        self.fs.fds.insert(Arc::clone(&fd));
        Ok(fd)
    }

    fn live_data_fd(&self, access: Access) -> Option<Arc<CachedFd>> {
        let fds = self.fds.lock();
        let fd = match access {
            Access::Read => fds.read.upgrade(),
            Access::Write => fds.write.upgrade(),
        };
        drop(fds);
        if let Some(fd) = &fd {
            fd.touch();
        }
        fd
    }

    /// Opens this file by its place, and makes sure that it is this one.
    pub(super) fn open_again(&self, flags: OFlags) -> Result<OwnedFd> {
        let place = self.place.lock().clone();
        if place.name.is_empty() {
            return Err(Errno::ENOENT);
        }
        let dir = place.parent.ok_or(Errno::ENOENT)?.dir_fd()?;
        // openat2(2) refuses O_PATH together with flags that it has no use for.
        let path_only = flags.contains(OFlags::PATH);
        let common = if path_only { OFlags::CLOEXEC | OFlags::NOFOLLOW } else { COMMON };
        let fd = open_at(&self.fs, dir.as_fd(), &place.name, flags | common, Mode::empty())?;
        self.check_same(&attr::statx_fd(fd.as_fd())?)?;
        Ok(fd)
    }

    /// A descriptor for reading or writing a regular file.
    pub(super) fn data_fd(&self, access: Access) -> Result<Arc<CachedFd>> {
        if let Some(fd) = self.live_data_fd(access) {
            return Ok(fd);
        }
        let fd = match access {
            Access::Read => match self.open_again(OFlags::RDONLY) {
                Ok(fd) => CachedFd::new(fd),
                // Without its name only what is open already can be used.
                Err(error) => return self.live_data_fd(Access::Write).ok_or(error),
            },
            Access::Write => match self.open_again(OFlags::RDWR) {
                Ok(fd) => CachedFd::new(fd),
                Err(Errno::EACCES) => return Ok(CachedFd::new(self.open_again(OFlags::WRONLY)?)),
                Err(error) => return Err(error),
            },
        };
        self.remember(access, &fd);
        Ok(fd)
    }

    /// Puts a data descriptor into the cache.
    pub(super) fn remember(&self, access: Access, fd: &Arc<CachedFd>) {
        let weak = Arc::downgrade(fd);
        let mut fds = self.fds.lock();
        match access {
            Access::Read => fds.read = weak,
            Access::Write => fds.write = weak,
        }
        drop(fds);
        self.fs.fds.insert(Arc::clone(fd));
    }

    /// A descriptor that is not `O_PATH`, for calls that want one (`fchmod`, xattrs): one that is open already, else
    /// one for reading, else for writing.
    pub(super) fn real_fd(&self) -> Result<Arc<CachedFd>> {
        if self.is_dir() {
            return Ok(CachedFd::new(self.open_dir()?));
        }
        if self.kind != chitin_abi::fs::S_IFREG {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(fd) =
            self.live_data_fd(Access::Read).or_else(|| self.live_data_fd(Access::Write))
        {
            return Ok(fd);
        }
        match self.data_fd(Access::Read) {
            Err(Errno::EACCES) => Ok(CachedFd::new(self.open_again(OFlags::WRONLY)?)),
            result => result,
        }
    }

    /// Opens this directory for listing it.
    pub(super) fn open_dir(&self) -> Result<OwnedFd> {
        let dir = self.dir_fd()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(&*dir, c".", flags, Mode::empty()) {
            Err(rustix::io::Errno::MFILE) => {
                self.fs.fds.clear();
                rustix::fs::openat(&*dir, c".", flags, Mode::empty()).map_err(from_host)
            }
            result => result.map_err(from_host),
        }
    }

    /// Makes sure that the file can be worked with after its last name has gone: keeps a descriptor.
    pub(super) fn keep_without_name(&self) {
        let live = {
            let fds = self.fds.lock();
            let weak = [&fds.read, &fds.write, &fds.path];
            weak.into_iter().filter_map(Weak::upgrade).collect::<Vec<_>>()
        };
        let writable = self.fds.lock().write.strong_count() > 0;
        let more = if writable { None } else { self.open_to_keep(!live.is_empty()) };
        for fd in live.into_iter().chain(more) {
            self.pin(fd);
        }
    }

    /// The best descriptor that can be had; one that cannot write only where there is none yet.
    fn open_to_keep(&self, has_one: bool) -> Option<Arc<CachedFd>> {
        if self.kind == chitin_abi::fs::S_IFREG {
            let writable = self.fs.check_writable().and_then(|()| self.data_fd(Access::Write)).ok();
            let found = writable.or_else(|| self.data_fd(Access::Read).ok());
            if found.is_some() || has_one {
                return found;
            }
        }
        if has_one { None } else { self.open_again(OFlags::PATH).ok().map(CachedFd::new) }
    }
}
