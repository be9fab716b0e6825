//! `chmod(2)`, `chown(2)`, `utimensat(2)`, `truncate(2)`, `access(2)`, `readlink(2)`.

use std::sync::Arc;

use chitin_abi::fs::{
    S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFREG, S_IFSOCK, S_ISGID, S_ISUID, S_IXGRP, W_OK, X_OK,
    XATTR_NAME_CAPS,
};
use chitin_abi::process::{CAP_CHOWN, CAP_FSETID};
use chitin_abi::{Errno, Result};

use super::{SetTime, Walk};
use crate::acl::AclKind;
use crate::attr::SetAttr;
use crate::inode::{AccessInfo, Inode};
use crate::mount::MountFlags;
use crate::path::Path;
use crate::permission;

impl Walk<'_> {
    pub(super) fn do_readlink(&self, path: &Path) -> Result<Vec<u8>> {
        if !path.dentry().is_symlink() {
            return Err(Errno::EINVAL);
        }
        crate::rw::touch_path(path, self.env);
        path.dentry().inode().read_link(self.env)
    }

    pub(super) fn do_access(&self, path: &Path, mask: u32) -> Result<()> {
        let kind = path.dentry().kind();
        let flags = path.mount().flags();
        if mask & X_OK != 0 && kind == S_IFREG && flags.contains(MountFlags::NO_EXEC) {
            return Err(Errno::EACCES);
        }
        let stored = permission::type_is_stored(kind);
        if mask & W_OK != 0 && stored && path.mount().super_block().is_read_only() {
            return Err(Errno::EROFS);
        }
        if mask != 0 {
            permission::check_dentry(path.dentry(), mask, self.cred, self.env)?;
        }
        let special = matches!(kind, S_IFBLK | S_IFCHR | S_IFIFO | S_IFSOCK);
        if mask & W_OK != 0 && !special && flags.contains(MountFlags::READ_ONLY) {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    fn apply(&self, path: &Path, change: &SetAttr) -> Result<()> {
        path.dentry().inode().set_attr(change, self.now)?;
        path.dentry().inode().state().privileges_changed();
        if change.mode.or(change.uid).or(change.gid).is_some() {
            crate::notify::attributes(path.dentry(), self.env.pid);
        }
        Ok(())
    }

    pub(super) fn do_chmod(&self, path: &Path, mode: u32) -> Result<()> {
        path.mount().check_writable()?;
        if path.dentry().is_symlink() {
            return Err(Errno::EOPNOTSUPP);
        }
        let info = path.dentry().inode().access_info()?;
        if !permission::is_owner(&info, self.cred) {
            return Err(Errno::EPERM);
        }
        let mut mode = mode & 0o7777;
        if !self.cred.in_group(info.gid) && !self.cred.caps.has(CAP_FSETID) {
            mode &= !S_ISGID;
        }
        self.apply(path, &SetAttr { mode: Some(mode), ..SetAttr::default() })?;
        let inode = path.dentry().inode();
        if let Some(acl) = inode.acl(AclKind::Access)? {
            let changed = acl.clone().with_mode(mode);
            // Storage that keeps the two in step has done so already.
            if changed != acl {
                inode.set_xattr(AclKind::Access.name(), &changed.encode(), 0)?;
            }
        }
        Ok(())
    }

    fn may_chown(&self, info: &AccessInfo, uid: Option<u32>, gid: Option<u32>) -> bool {
        if self.cred.caps.has(CAP_CHOWN) {
            return true;
        }
        let is_owner = info.uid == self.cred.uid;
        let uid_ok = uid.is_none_or(|uid| is_owner && uid == info.uid);
        let gid_ok = gid.is_none_or(|gid| is_owner && (gid == info.gid || self.cred.in_group(gid)));
        uid_ok && gid_ok
    }

    pub(super) fn do_chown(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        path.mount().check_writable()?;
        let inode = path.dentry().inode();
        let info = inode.access_info()?;
        if !self.may_chown(&info, uid, gid) {
            return Err(Errno::EPERM);
        }
        let mut change = SetAttr { uid, gid, ..SetAttr::default() };
        if !path.dentry().is_dir() && !path.dentry().is_symlink() {
            let kept = info.mode & 0o7777 & !self.lost_on_chown(&info);
            if kept != info.mode & 0o7777 {
                change.mode = Some(kept);
            }
            if path.dentry().kind() == S_IFREG {
                remove_capabilities(inode)?;
            }
        }
        self.apply(path, &change)
    }

    fn lost_on_chown(&self, info: &AccessInfo) -> u32 {
        let in_group = self.cred.in_group(info.gid) || self.cred.caps.has(CAP_FSETID);
        let group = if info.mode & S_IXGRP != 0 || !in_group { S_ISGID } else { 0 };
        S_ISUID | group
    }

    pub(super) fn do_utimens(&self, path: &Path, atime: SetTime, mtime: SetTime) -> Result<()> {
        if atime == SetTime::Omit && mtime == SetTime::Omit {
            return Ok(());
        }
        path.mount().check_writable()?;
        let info = path.dentry().inode().access_info()?;
        if !permission::is_owner(&info, self.cred) {
            if atime != SetTime::Now || mtime != SetTime::Now {
                return Err(Errno::EPERM);
            }
            permission::check_dentry(path.dentry(), W_OK, self.cred, self.env)?;
        }
        let time = |time| match time {
            SetTime::Omit => None,
            SetTime::Now => Some(self.now),
            SetTime::To(time) => Some(time),
        };
        let change = SetAttr { atime: time(atime), mtime: time(mtime), ..SetAttr::default() };
        path.dentry().inode().set_attr(&change, self.now)?;
        crate::notify::times_changed(
            path.dentry(),
            change.atime.is_some(),
            change.mtime.is_some(),
            self.env.pid,
        );
        Ok(())
    }

    pub(super) fn do_truncate(&self, path: &Path, length: u64) -> Result<()> {
        match path.dentry().kind() {
            S_IFDIR => return Err(Errno::EISDIR),
            S_IFREG => {}
            _ => return Err(Errno::EINVAL),
        }
        path.mount().check_writable()?;
        permission::check_dentry(path.dentry(), W_OK, self.cred, self.env)?;
        let inode = path.dentry().inode();
        inode.state().get_write()?;
        let result = self.truncate_inode(inode, length);
        inode.state().put_write();
        result?;
        crate::notify::path_modified(path, self.env.pid);
        Ok(())
    }

    fn truncate_inode(&self, inode: &Arc<dyn Inode>, length: u64) -> Result<()> {
        crate::rw::check_growth(length, inode.attr()?.size, self.env)?;
        let mut change = SetAttr { size: Some(length), ..SetAttr::default() };
        self.without_set_id(inode, &mut change)?;
        inode.set_attr(&change, self.now)
    }

    /// Adds to a change of the contents what it takes away from set-id bits and file capabilities.
    pub(super) fn without_set_id(
        &self,
        inode: &Arc<dyn Inode>,
        change: &mut SetAttr,
    ) -> Result<()> {
        change.mode = crate::rw::lost_privileges(inode, self.cred.caps.has(CAP_FSETID))?;
        Ok(())
    }
}

/// Removes file capabilities, if there are some.
pub(crate) fn remove_capabilities(inode: &Arc<dyn Inode>) -> Result<()> {
    let name = XATTR_NAME_CAPS.as_bytes();
    // Asked first, because a removal is a change: it may copy the file to another layer.
    if inode.get_xattr(name).is_err() {
        return Ok(());
    }
    match inode.remove_xattr(name) {
        Ok(()) | Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::EPERM) => Ok(()),
        Err(error) => Err(error),
    }
}
