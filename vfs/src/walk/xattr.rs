//! Extended attributes (`xattr(7)`): who may see and change which.

use chitin_abi::fs::{
    R_OK, S_IFDIR, S_IFREG, S_ISGID, S_ISVTX, W_OK, XATTR_CREATE, XATTR_NAME_CAPS, XATTR_NAME_MAX,
    XATTR_REPLACE, XATTR_SECURITY_PREFIX, XATTR_SIZE_MAX, XATTR_SYSTEM_PREFIX,
    XATTR_TRUSTED_PREFIX, XATTR_USER_PREFIX,
};
use chitin_abi::process::{CAP_FSETID, CAP_SETFCAP, CAP_SYS_ADMIN};
use chitin_abi::{Errno, Result};

use super::Walk;
use crate::acl::{Acl, AclKind};
use crate::attr::SetAttr;
use crate::inode::Inode;
use crate::path::Path;
use crate::permission;

/// The bits of the first word of file capabilities that say their form.
const VFS_CAP_REVISION_MASK: u32 = 0xff00_0000;

/// Whose attributes they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    User,
    Trusted,
    Security,
    System,
}

fn space(name: &[u8]) -> Result<Space> {
    if name.is_empty() || name.len() > XATTR_NAME_MAX as usize {
        return Err(Errno::ERANGE);
    }
    let known = [
        (XATTR_USER_PREFIX, Space::User),
        (XATTR_TRUSTED_PREFIX, Space::Trusted),
        (XATTR_SECURITY_PREFIX, Space::Security),
        (XATTR_SYSTEM_PREFIX, Space::System),
    ];
    let found = known.into_iter().find(|(prefix, _)| name.starts_with(prefix.as_bytes()));
    let Some((prefix, space)) = found else { return Err(Errno::EOPNOTSUPP) };
    if name.len() == prefix.len() { Err(Errno::EINVAL) } else { Ok(space) }
}

/// Whether a value has the form of file capabilities.
fn are_capabilities(value: &[u8]) -> bool {
    let Some(head) = value.first_chunk().copied().map(u32::from_le_bytes) else { return false };
    matches!((head & VFS_CAP_REVISION_MASK, value.len()), (0x0200_0000, 20) | (0x0300_0000, 24))
}

fn drop_acl(inode: &dyn Inode, kind: AclKind) -> Result<()> {
    match inode.remove_xattr(kind.name()) {
        Err(Errno::ENODATA) => Ok(()),
        result => result,
    }
}

impl Walk<'_> {
    fn xattr_permission(&self, path: &Path, space: Space, mask: u32) -> Result<()> {
        let denied = if mask & W_OK != 0 { Errno::EPERM } else { Errno::ENODATA };
        match space {
            Space::Security | Space::System => return Ok(()),
            Space::Trusted => {
                return if self.cred.caps.has(CAP_SYS_ADMIN) { Ok(()) } else { Err(denied) };
            }
            Space::User => {}
        }
        let kind = path.dentry().kind();
        if !matches!(kind, S_IFREG | S_IFDIR) {
            return Err(denied);
        }
        let inode = path.dentry().inode();
        if kind == S_IFDIR && mask & W_OK != 0 {
            let info = inode.access_info()?;
            if info.mode & S_ISVTX != 0 && !permission::is_owner(&info, self.cred) {
                return Err(Errno::EPERM);
            }
        }
        permission::check(inode.as_ref(), mask, self.cred, self.env)
    }

    /// Who may change attributes of security modules.
    fn security_permission(&self, name: &[u8], space: Space) -> Result<()> {
        let needed = match space {
            Space::Security if name == XATTR_NAME_CAPS.as_bytes() => CAP_SETFCAP,
            Space::Security => CAP_SYS_ADMIN,
            _ => return Ok(()),
        };
        if self.cred.caps.has(needed) { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(super) fn do_get_xattr(&self, path: &Path, name: &[u8]) -> Result<Vec<u8>> {
        let space = space(name)?;
        self.xattr_permission(path, space, R_OK)?;
        path.dentry().inode().get_xattr(name)
    }

    pub(super) fn do_set_xattr(
        &self,
        path: &Path,
        name: &[u8],
        value: &[u8],
        flags: u32,
    ) -> Result<()> {
        if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
            return Err(Errno::EINVAL);
        }
        if value.len() > XATTR_SIZE_MAX as usize {
            return Err(Errno::E2BIG);
        }
        let space = space(name)?;
        path.mount().check_writable()?;
        if let Some(kind) = AclKind::of(name) {
            return self.set_acl(path, kind, Acl::parse(value)?);
        }
        self.xattr_permission(path, space, W_OK)?;
        self.security_permission(name, space)?;
        if name == XATTR_NAME_CAPS.as_bytes() && !are_capabilities(value) {
            return Err(Errno::EINVAL);
        }
        path.dentry().inode().set_xattr(name, value, flags)?;
        path.dentry().inode().state().privileges_changed();
        crate::notify::attributes(path.dentry(), self.env.pid);
        Ok(())
    }

    /// Sets or removes a list; one that the mode can say becomes the mode.
    fn set_acl(&self, path: &Path, kind: AclKind, acl: Option<Acl>) -> Result<()> {
        let inode = path.dentry().inode();
        if !Acl::fits(path.dentry().kind()) {
            return Err(Errno::EOPNOTSUPP);
        }
        let info = inode.access_info()?;
        if !permission::is_owner(&info, self.cred) {
            return Err(Errno::EPERM);
        }
        match (kind, acl) {
            (AclKind::Default, Some(_)) if !path.dentry().is_dir() => return Err(Errno::EACCES),
            (AclKind::Access, Some(acl)) => {
                let (bits, exact) = acl.mode();
                if exact {
                    drop_acl(inode.as_ref(), kind)?;
                } else {
                    inode.set_xattr(kind.name(), &acl.encode(), 0)?;
                }
                let mut mode = (info.mode & 0o7000) | bits;
                if !self.cred.in_group(info.gid) && !self.cred.caps.has(CAP_FSETID) {
                    mode &= !S_ISGID;
                }
                inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() }, self.now)?;
            }
            (AclKind::Default, Some(acl)) => inode.set_xattr(kind.name(), &acl.encode(), 0)?,
            (_, None) => drop_acl(inode.as_ref(), kind)?,
        }
        inode.state().privileges_changed();
        crate::notify::attributes(path.dentry(), self.env.pid);
        Ok(())
    }

    pub(super) fn do_remove_xattr(&self, path: &Path, name: &[u8]) -> Result<()> {
        let space = space(name)?;
        path.mount().check_writable()?;
        if let Some(kind) = AclKind::of(name) {
            return self.set_acl(path, kind, None);
        }
        self.xattr_permission(path, space, W_OK)?;
        self.security_permission(name, space)?;
        path.dentry().inode().remove_xattr(name)?;
        crate::notify::attributes(path.dentry(), self.env.pid);
        Ok(())
    }

    pub(super) fn do_list_xattr(&self, path: &Path) -> Result<Vec<Vec<u8>>> {
        let mut names = path.dentry().inode().list_xattr()?;
        if !self.cred.caps.has(CAP_SYS_ADMIN) {
            names.retain(|name| !name.starts_with(XATTR_TRUSTED_PREFIX.as_bytes()));
        }
        Ok(names)
    }
}
