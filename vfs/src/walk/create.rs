//! `mkdir(2)`, `mknod(2)`, `symlink(2)`, `link(2)`.

use std::sync::Arc;

use chitin_abi::fs::{
    NAME_MAX, PATH_MAX, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK,
    S_ISGID, S_ISUID, S_IXGRP,
};
use chitin_abi::process::{CAP_FOWNER, CAP_MKNOD};
use chitin_abi::{Errno, Result};
use core::sync::atomic::Ordering;

use super::Walk;
use super::resolve::{Last, Resolver};
use crate::acl::AclKind;
use crate::attr::NewFile;
use crate::dentry::Dentry;
use crate::inode::{AccessInfo, Inode};
use crate::path::Path;
use crate::permission;

impl Walk<'_> {
    /// Makes an entry: the name must be free and the directory writable.
    fn make(
        &self,
        path: &[u8],
        is_dir: bool,
        allowed: impl FnOnce() -> Result<()>,
        make: impl FnOnce(&dyn Inode, &[u8], &AccessInfo) -> Result<Arc<dyn Inode>>,
    ) -> Result<Path> {
        let parent = Resolver::new(self, path)?.parent()?;
        let Last::Name(name) = &parent.last else { return Err(Errno::EEXIST) };
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let dir = &parent.dir;
        let changes = dir.dentry().lock_dir();
        match dir.dentry().lookup_locked(name) {
            Ok(_) => return Err(Errno::EEXIST),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        if parent.trailing && !is_dir {
            return Err(Errno::ENOENT);
        }
        dir.mount().check_writable()?;
        if dir.dentry().is_unlinked() {
            return Err(Errno::ENOENT);
        }
        let (dentry, _) = self.make_locked(dir, name, |parent, name, info| {
            allowed()?;
            make(parent, name, info)
        })?;
        drop(changes);
        self.created(dir, &dentry);
        Ok(dir.with_dentry(dentry))
    }

    /// Makes a file of this mode and device number, less what the umask or the directory's default list takes away.
    pub(super) fn make_new(
        &self,
        parent: &dyn Inode,
        info: &AccessInfo,
        (mode, rdev): (u32, u64),
        make: impl FnOnce(&NewFile) -> Result<Arc<dyn Inode>>,
    ) -> Result<Arc<dyn Inode>> {
        let Some(default) = parent.acl(AclKind::Default)? else {
            return make(&permission::new_file(info, mode & !self.umask, rdev, self.cred));
        };
        let (access, mode) = default.inherited(mode);
        let inode = make(&permission::new_file(info, mode, rdev, self.cred))?;
        // What the storage has inherited by itself need not be, and with entries of nobody cannot be, set once more.
        if let Some(access) = access
            && inode.acl(AclKind::Access)?.as_ref() != Some(&access)
        {
            inode.set_xattr(AclKind::Access.name(), &access.encode(), 0)?;
        }
        if mode & S_IFMT == S_IFDIR && inode.acl(AclKind::Default)?.as_ref() != Some(&default) {
            inode.set_xattr(AclKind::Default.name(), &default.encode(), 0)?;
        }
        Ok(inode)
    }

    /// Tells watches of a new entry.
    pub(super) fn created(&self, dir: &Path, dentry: &Arc<Dentry>) {
        crate::notify::created(dir.dentry(), dentry, self.env.pid);
    }

    pub(super) fn do_mkdir(&self, path: &[u8], mode: u32) -> Result<Path> {
        let mode = S_IFDIR | (mode & 0o1777);
        self.make(
            path,
            true,
            || Ok(()),
            |parent, name, info| {
                self.make_new(parent, info, (mode, 0), |new| parent.mkdir(name, new))
            },
        )
    }

    pub(super) fn do_mknod(&self, path: &[u8], mode: u32, device: u64) -> Result<Path> {
        let kind = match mode & S_IFMT {
            0 => S_IFREG,
            kind @ (S_IFREG | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK) => kind,
            S_IFDIR => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        };
        let is_device = matches!(kind, S_IFCHR | S_IFBLK);
        // A whiteout (character device 0:0) is no device.
        let needs_capability = is_device && !(kind == S_IFCHR && device == 0);
        let rdev = if is_device { device } else { 0 };
        let mode = kind | (mode & 0o7777);
        let allowed = || {
            if needs_capability && !self.cred.caps.has(CAP_MKNOD) {
                Err(Errno::EPERM)
            } else {
                Ok(())
            }
        };
        self.make(path, false, allowed, |parent, name, info| {
            self.make_new(parent, info, (mode, rdev), |new| parent.create(name, new))
        })
    }

    pub(super) fn do_symlink(&self, target: &[u8], path: &[u8]) -> Result<Path> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        self.make(
            path,
            false,
            || Ok(()),
            |parent, name, info| {
                parent.symlink(
                    name,
                    target,
                    &permission::new_file(info, S_IFLNK | 0o777, 0, self.cred),
                )
            },
        )
    }

    pub(super) fn do_link(&self, old: &Path, path: &[u8]) -> Result<()> {
        let parent = Resolver::new(self, path)?.parent()?;
        let Last::Name(name) = &parent.last else { return Err(Errno::EEXIST) };
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let dir = &parent.dir;
        let changes = dir.dentry().lock_dir();
        match dir.dentry().lookup_locked(name) {
            Ok(_) => return Err(Errno::EEXIST),
            Err(Errno::ENOENT) if parent.trailing => return Err(Errno::ENOENT),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        dir.mount().check_writable()?;
        if !Arc::ptr_eq(old.mount(), dir.mount()) {
            return Err(Errno::EXDEV);
        }
        self.may_link(old)?;
        if dir.dentry().is_unlinked() {
            return Err(Errno::ENOENT);
        }
        let inode = old.inode();
        let (dentry, _) = self.make_locked(dir, name, |parent, name, _| {
            if old.dentry().is_dir() {
                return Err(Errno::EPERM);
            }
            if !inode.state().is_linkable() && inode.attr()?.nlink == 0 {
                return Err(Errno::ENOENT);
            }
            parent.link(name, &inode)?;
            // What can be linked without a name (O_TMPFILE) has one now.
            Ok(Arc::clone(&inode))
        })?;
        drop(changes);
        crate::notify::linked(dir.dentry(), &dentry, self.env.pid);
        Ok(())
    }

    /// `fs.protected_hardlinks`: links to what is not one's own, unless it is a plain file that one may write.
    fn may_link(&self, old: &Path) -> Result<()> {
        if !self.env.shared.sysctls.protected_hardlinks.load(Ordering::Relaxed) {
            return Ok(());
        }
        let inode = old.dentry().inode();
        let info = inode.access_info()?;
        let safe = info.mode & S_IFMT == S_IFREG
            && info.mode & S_ISUID == 0
            && info.mode & (S_ISGID | S_IXGRP) != S_ISGID | S_IXGRP
            && permission::check(inode.as_ref(), 6, self.cred, self.env).is_ok();
        if safe || info.uid == self.cred.uid || self.cred.caps.has(CAP_FOWNER) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }
}
