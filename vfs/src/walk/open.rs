//! `open(2)`.
//!
//! The order of checks is that of Linux, because it decides which error a caller sees: flags, path, existence,
//! kind (`ENOTDIR`, `EISDIR`, `ELOOP`), devices, permission, read-only, running programs, then the file
//! system's own.

use std::sync::Arc;

use chitin_abi::fs::{
    O_ACCMODE, O_RDONLY, O_RDWR, O_TMPFILE, O_WRONLY, OpenFlags, R_OK, S_IFBLK, S_IFCHR, S_IFDIR,
    S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_ISVTX, W_OK, X_OK,
};
use chitin_abi::{Errno, Result};
use core::sync::atomic::Ordering;

use super::resolve::{Last, Parent, Resolver};
use super::{ExecFile, OpenWait, Opened, ResolveFlags, Walk};
use crate::attr::SetAttr;
use crate::dentry::{Dentry, Name};
use crate::file::{File, OpenFile};
use crate::inode::Inode;
use crate::locks::LeaseWait;
use crate::mount::MountFlags;
use crate::path::Path;
use crate::permission;
use crate::pipe::FifoWait;

/// The bit of `O_TMPFILE` that is not `O_DIRECTORY`.
const TMPFILE_BIT: u32 = O_TMPFILE & !OpenFlags::O_DIRECTORY.bits();

/// Flags that `O_PATH` leaves.
const PATH_FLAGS: OpenFlags = OpenFlags::O_PATH
    .union(OpenFlags::O_DIRECTORY)
    .union(OpenFlags::O_NOFOLLOW)
    .union(OpenFlags::O_CLOEXEC);

/// The flag of an open that watches and marks are not told of; no caller of the kernel can give it.
pub const UNNOTICED: u32 = 1 << 26;

/// Flags that are done when the file is open.
const CREATION_FLAGS: OpenFlags = OpenFlags::O_CREAT
    .union(OpenFlags::O_EXCL)
    .union(OpenFlags::O_NOCTTY)
    .union(OpenFlags::O_TRUNC);

/// What is to be done with a file, in the bits of permission checks.
fn access_mask(flags: OpenFlags) -> u32 {
    let mode = match flags.bits() & O_ACCMODE {
        O_RDONLY => R_OK,
        O_WRONLY => W_OK,
        _ => R_OK | W_OK,
    };
    if flags.contains(OpenFlags::O_TRUNC) { mode | W_OK } else { mode }
}

fn is_tmpfile(flags: OpenFlags) -> bool {
    flags.bits() & TMPFILE_BIT != 0
}

/// Checks combinations and drops what counts for nothing.
fn normalize(flags: OpenFlags) -> Result<OpenFlags> {
    if flags.contains(OpenFlags::O_PATH) {
        return Ok(flags & PATH_FLAGS);
    }
    if flags.contains(OpenFlags::O_CREAT) && flags.contains(OpenFlags::O_DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    let writes = matches!(flags.bits() & O_ACCMODE, O_WRONLY | O_RDWR);
    if is_tmpfile(flags) && (!flags.contains(OpenFlags::O_DIRECTORY) || !writes) {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

impl Walk<'_> {
    pub(super) fn do_open(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Opened> {
        let flags = normalize(flags)?;
        let changes =
            flags.intersects(OpenFlags::O_CREAT | OpenFlags::O_TRUNC) || is_tmpfile(flags);
        if changes && self.resolve.contains(ResolveFlags::CACHED) {
            return Err(Errno::EAGAIN);
        }
        if is_tmpfile(flags) {
            return self.open_tmpfile(path, flags, mode);
        }
        let exclusive = flags.contains(OpenFlags::O_CREAT | OpenFlags::O_EXCL);
        let follow = !flags.contains(OpenFlags::O_NOFOLLOW) && !exclusive;
        let mut resolver = Resolver::new(self, path)?;
        if !flags.contains(OpenFlags::O_CREAT) {
            let found = resolver.finish(follow)?;
            return self.open_found(&found, flags);
        }
        loop {
            let parent = resolver.parent()?;
            if let Last::Name(name) = &parent.last {
                if parent.trailing {
                    return Err(Errno::EISDIR);
                }
                if name.len() > chitin_abi::fs::NAME_MAX {
                    return Err(Errno::ENAMETOOLONG);
                }
                if let Some(opened) = self.create_and_open(&parent.dir, name, flags, mode)? {
                    return Ok(opened);
                }
            }
            let found = resolver.last(&parent)?;
            if found.dentry().is_symlink() && follow {
                match resolver.follow(&found, false)? {
                    Some(target) => return self.open_existing(&parent, &target, flags),
                    None => continue,
                }
            }
            return self.open_existing(&parent, &found, flags);
        }
    }

    /// Makes the file if its name is free and opens it; `None` where there is something already.
    fn create_and_open(
        &self,
        dir: &Path,
        name: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<Option<Opened>> {
        if let crate::dentry::Cached::Present(_) = dir.dentry().cached(name) {
            return Ok(None);
        }
        let changes = dir.dentry().lock_dir();
        match dir.dentry().lookup_locked(name) {
            Ok(_) => return Ok(None),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        if dir.dentry().is_unlinked() {
            return Err(Errno::ENOENT);
        }
        dir.mount().check_writable()?;
        let mode = S_IFREG | (mode & 0o7777);
        let made = self.make_locked(dir, name, |parent, name, info| {
            self.make_new(parent, info, (mode, 0), |new| parent.create(name, new))
        });
        drop(changes);
        let (dentry, _) = match made {
            // Somebody outside of this kernel was faster.
            Err(Errno::EEXIST) if !flags.contains(OpenFlags::O_EXCL) => return Ok(None),
            made => made?,
        };
        self.created(dir, &dentry);
        let path = dir.with_dentry(dentry);
        let opened = self.finish_open(&path, flags & !OpenFlags::O_TRUNC)?;
        opened.file.set_created();
        Ok(Some(opened))
    }

    /// Checks the permission to make an entry and has `make` do it. The caller holds the directory's lock.
    pub(super) fn make_locked(
        &self,
        dir: &Path,
        name: &[u8],
        make: impl FnOnce(&dyn Inode, &[u8], &crate::inode::AccessInfo) -> Result<Arc<dyn Inode>>,
    ) -> Result<(Arc<Dentry>, Name)> {
        let parent = dir.dentry().inode();
        permission::check(parent.as_ref(), W_OK | X_OK, self.cred, self.env)?;
        let info = parent.access_info()?;
        let name: Name = Arc::from(name);
        let inode = make(parent.as_ref(), &name, &info)?;
        Ok((dir.dentry().insert(&name, inode), name))
    }

    /// An `O_CREAT` that found something.
    fn open_existing(&self, parent: &Parent, found: &Path, flags: OpenFlags) -> Result<Opened> {
        if flags.contains(OpenFlags::O_EXCL) {
            return Err(Errno::EEXIST);
        }
        if found.dentry().is_dir() {
            return Err(Errno::EISDIR);
        }
        self.check_sticky_create(&parent.dir, found)?;
        self.open_found(found, flags)
    }

    /// `fs.protected_fifos` and `fs.protected_regular`.
    fn check_sticky_create(&self, dir: &Path, found: &Path) -> Result<()> {
        let sysctls = &self.env.shared.sysctls;
        let level = match found.dentry().kind() {
            S_IFIFO => sysctls.protected_fifos.load(Ordering::Relaxed),
            S_IFREG => sysctls.protected_regular.load(Ordering::Relaxed),
            _ => 0,
        };
        if level == 0 {
            return Ok(());
        }
        let dir = dir.dentry().inode().access_info()?;
        let info = found.dentry().inode().access_info()?;
        if dir.mode & S_ISVTX == 0 || info.uid == dir.uid || info.uid == self.cred.uid {
            return Ok(());
        }
        if dir.mode & 0o002 != 0 || (dir.mode & 0o020 != 0 && level >= 2) {
            Err(Errno::EACCES)
        } else {
            Ok(())
        }
    }

    fn open_tmpfile(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Opened> {
        if flags.contains(OpenFlags::O_CREAT) {
            return Err(Errno::EINVAL);
        }
        let dir = self.do_lookup(path, !flags.contains(OpenFlags::O_NOFOLLOW))?;
        if !dir.dentry().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        dir.mount().check_writable()?;
        let parent = dir.dentry().inode();
        permission::check(parent.as_ref(), W_OK | X_OK, self.cred, self.env)?;
        let (mode, info) = (S_IFREG | (mode & 0o7777), parent.access_info()?);
        let inode = self.make_new(parent.as_ref(), &info, (mode, 0), |new| parent.tmpfile(new))?;
        if !flags.contains(OpenFlags::O_EXCL) {
            inode.state().set_linkable();
        }
        let name = format!("#{}", inode.attr()?.ino);
        let path = dir.with_dentry(dir.dentry().detached(name.as_bytes(), inode));
        let flags = flags & !OpenFlags::from_bits_retain(OpenFlags::O_TRUNC.bits());
        self.finish_open(&path, flags)
    }

    /// Opens something that exists: by path, or (`/proc/self/fd`, exec) without.
    pub(super) fn open_found(&self, path: &Path, flags: OpenFlags) -> Result<Opened> {
        let dentry = path.dentry();
        if flags.contains(OpenFlags::O_DIRECTORY) && !dentry.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if flags.contains(OpenFlags::O_PATH) {
            let file: Arc<dyn File> = Arc::new(PathOnly);
            let file = OpenFile::new(file, Some(path.clone()), flags, self.cred.clone());
            return Ok(Opened { file, wait: None, truncates: false });
        }
        self.may_open(path, access_mask(flags), flags)?;
        let truncate = flags.contains(OpenFlags::O_TRUNC) && dentry.kind() == S_IFREG;
        if truncate {
            path.mount().check_writable()?;
        }
        let mut opened = self.finish_open(path, flags)?;
        if truncate && opened.wait.is_some() {
            opened.truncates = true;
        } else if truncate {
            self.do_truncate_opened(path, &opened.file)?;
        }
        Ok(opened)
    }

    pub(super) fn do_open_path(&self, path: &Path, flags: OpenFlags) -> Result<Opened> {
        let flags = normalize(flags & !(OpenFlags::O_CREAT | OpenFlags::O_EXCL))?;
        if is_tmpfile(flags) {
            return Err(Errno::EINVAL);
        }
        self.open_found(path, flags)
    }

    pub(super) fn do_truncate_opened(&self, path: &Path, opened: &OpenFile) -> Result<()> {
        let inode = path.dentry().inode();
        // Without write access (`O_RDONLY|O_TRUNC`) the file was not counted as written yet.
        let counted = opened.writable();
        if !counted {
            inode.state().get_write()?;
        }
        let mut change = SetAttr { size: Some(0), ..SetAttr::default() };
        let result = self
            .without_set_id(inode, &mut change)
            .and_then(|()| inode.set_attr(&change, self.now));
        if !counted {
            inode.state().put_write();
        }
        result?;
        crate::notify::modify(opened, self.env.pid);
        Ok(())
    }

    /// The checks of `may_open`: kind, device, permission, owner for `O_NOATIME`.
    fn may_open(&self, path: &Path, mask: u32, flags: OpenFlags) -> Result<()> {
        let dentry = path.dentry();
        match dentry.kind() {
            S_IFLNK => return Err(Errno::ELOOP),
            S_IFDIR if mask & W_OK != 0 => return Err(Errno::EISDIR),
            S_IFBLK | S_IFCHR if path.mount().flags().contains(MountFlags::NO_DEV) => {
                return Err(Errno::EACCES);
            }
            _ => {}
        }
        if mask & W_OK != 0
            && permission::type_is_stored(dentry.kind())
            && path.mount().super_block().is_read_only()
        {
            return Err(Errno::EROFS);
        }
        permission::check_dentry(dentry, mask, self.cred, self.env)?;
        if flags.contains(OpenFlags::O_NOATIME)
            && !permission::is_owner(&dentry.inode().access_info()?, self.cred)
        {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// Opens after all checks of permission.
    fn finish_open(&self, path: &Path, flags: OpenFlags) -> Result<Opened> {
        let dentry = path.dentry();
        let counts = flags.is_writable() && matches!(dentry.kind(), S_IFREG | 0);
        let reads = dentry.kind() == S_IFREG && flags.is_readable() && !flags.is_writable();
        let guard = if counts { Some(WriteGuard::new(path)?) } else { None };
        let lease = LeaseWait::begin(path, flags.is_writable(), || self.lease_deadline());
        if lease.is_some() && flags.contains(OpenFlags::O_NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        let (file, wait) = self.open_inode(path, flags)?;
        let wait = wait.map(OpenWait::Fifo).or(lease.map(OpenWait::Lease));
        let unnoticed = OpenFlags::from_bits_retain(UNNOTICED);
        let kept = (flags & !CREATION_FLAGS & !unnoticed) | OpenFlags::O_LARGEFILE;
        let counted = guard.is_some();
        if let Some(guard) = guard {
            guard.keep();
        }
        let file = OpenFile::build(file, Some(path.clone()), kept, self.cred.clone(), counted);
        if reads {
            file.count_reader();
        }
        file.set_opener(self.env.pid);
        if flags.bits() & UNNOTICED != 0 {
            file.set_unnoticed();
        }
        crate::notify::open(&file, self.env.pid);
        Ok(Opened { file, wait, truncates: false })
    }

    /// When the time of holders of leases that are broken now is over.
    pub(super) fn lease_deadline(&self) -> u64 {
        let seconds = self.env.shared.sysctls.lease_break_time.load(Ordering::Relaxed);
        let now = self.now.tv_sec.unsigned_abs().saturating_add(u64::from(seconds));
        now.saturating_mul(1_000_000_000).saturating_add(self.now.tv_nsec.unsigned_abs())
    }

    fn open_inode(
        &self,
        path: &Path,
        flags: OpenFlags,
    ) -> Result<(Arc<dyn File>, Option<FifoWait>)> {
        let inode = path.dentry().inode();
        if inode.opens_special() {
            return Ok((Arc::clone(inode).open(flags, self.env)?, None));
        }
        match path.dentry().kind() {
            S_IFIFO => inode.state().fifo().open(flags),
            S_IFSOCK => Err(Errno::ENXIO),
            S_IFCHR | S_IFBLK => {
                let attr = inode.attr()?;
                let device = self.env.shared.devices.of_node(attr.mode & S_IFMT, attr.rdev)?;
                Ok((device.open(path, flags, self.env)?, None))
            }
            _ => Ok((Arc::clone(inode).open(flags, self.env)?, None)),
        }
    }

    pub(super) fn do_open_exec(&self, path: &Path) -> Result<ExecFile> {
        let dentry = path.dentry();
        match dentry.kind() {
            S_IFLNK => return Err(Errno::ELOOP),
            S_IFREG => {}
            _ => return Err(Errno::EACCES),
        }
        if path.mount().flags().contains(MountFlags::NO_EXEC) {
            return Err(Errno::EACCES);
        }
        permission::check_dentry(dentry, X_OK, self.cred, self.env)?;
        let inode = dentry.inode();
        inode.state().deny_write()?;
        match self.finish_open(path, OpenFlags::empty()) {
            Ok(opened) => {
                crate::notify::open_exec(&opened.file, self.env.pid);
                Ok(ExecFile { file: opened.file })
            }
            Err(error) => {
                inode.state().allow_write();
                Err(error)
            }
        }
    }
}

impl Drop for ExecFile {
    fn drop(&mut self) {
        if let Some(path) = self.file.path() {
            path.dentry().inode().state().allow_write();
        }
    }
}

/// A file counted as being written, until it is known whether the open succeeds.
struct WriteGuard<'p> {
    path: &'p Path,
}

impl<'p> WriteGuard<'p> {
    fn new(path: &'p Path) -> Result<Self> {
        path.dentry().inode().state().get_write()?;
        path.mount().get_write();
        let guard = Self { path };
        path.mount().check_writable()?;
        Ok(guard)
    }

    fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        self.path.dentry().inode().state().put_write();
        self.path.mount().put_write();
    }
}

/// What `O_PATH` opens: nothing but the place.
struct PathOnly;

impl File for PathOnly {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}
