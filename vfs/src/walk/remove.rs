//! `unlink(2)`, `rmdir(2)`.

use std::sync::Arc;

use chitin_abi::fs::{NAME_MAX, W_OK, X_OK};
use chitin_abi::{Errno, Result};

use super::Walk;
use super::resolve::{Last, Resolver};
use crate::dentry::Dentry;
use crate::path::Path;
use crate::permission;

impl Walk<'_> {
    /// The checks of `may_delete`: whether the caller may remove (or replace) an entry.
    pub(super) fn may_delete(&self, dir: &Path, victim: &Dentry, want_dir: bool) -> Result<()> {
        let parent = dir.dentry().inode();
        permission::check(parent.as_ref(), W_OK | X_OK, self.cred, self.env)?;
        if permission::sticky_forbids(
            &parent.access_info()?,
            &victim.inode().access_info()?,
            self.cred,
        ) {
            return Err(Errno::EPERM);
        }
        match (want_dir, victim.is_dir()) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            _ => {}
        }
        if dir.dentry().is_unlinked() { Err(Errno::ENOENT) } else { Ok(()) }
    }

    /// Fails where the caller sees something mounted on the entry.
    pub(super) fn check_not_mounted(dir: &Path, victim: &Arc<Dentry>) -> Result<()> {
        if victim.is_mount_point() && dir.mount().mounted_at(victim).is_some() {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    pub(super) fn do_unlink(&self, path: &[u8]) -> Result<()> {
        let parent = Resolver::new(self, path)?.parent()?;
        let Last::Name(name) = &parent.last else { return Err(Errno::EISDIR) };
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let dir = &parent.dir;
        dir.mount().check_writable()?;
        let changes = dir.dentry().lock_dir();
        let victim = dir.dentry().lookup_locked(name)?;
        if parent.trailing {
            return Err(if victim.is_dir() { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        self.may_delete(dir, &victim, false)?;
        Self::check_not_mounted(dir, &victim)?;
        dir.dentry().inode().unlink(name)?;
        victim.unlinked();
        drop(changes);
        dir.mount().system().detach_all(&victim);
        crate::notify::link_count(&victim, self.env.pid);
        crate::notify::deleted(dir.dentry(), &victim, self.env.pid);
        Ok(())
    }

    pub(super) fn do_rmdir(&self, path: &[u8]) -> Result<()> {
        let parent = Resolver::new(self, path)?.parent()?;
        let name = match &parent.last {
            Last::Name(name) => name,
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Dot => return Err(Errno::EINVAL),
            Last::Root => return Err(Errno::EBUSY),
        };
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let dir = &parent.dir;
        dir.mount().check_writable()?;
        let changes = dir.dentry().lock_dir();
        let victim = dir.dentry().lookup_locked(name)?;
        self.may_delete(dir, &victim, true)?;
        Self::check_not_mounted(dir, &victim)?;
        {
            // Nobody may make an entry in it meanwhile.
            let _empty = victim.lock_dir();
            dir.dentry().inode().rmdir(name)?;
            victim.unlinked();
        }
        drop(changes);
        dir.mount().system().detach_all(&victim);
        crate::notify::deleted(dir.dentry(), &victim, self.env.pid);
        Ok(())
    }
}
