//! Extended attributes (`xattr(7)`): who may see and change which.

use chitin_abi::fs::{
    R_OK, S_IFDIR, S_IFREG, S_ISVTX, W_OK, XATTR_CREATE, XATTR_NAME_CAPS, XATTR_NAME_MAX,
    XATTR_REPLACE, XATTR_SECURITY_PREFIX, XATTR_SIZE_MAX, XATTR_SYSTEM_PREFIX,
    XATTR_TRUSTED_PREFIX, XATTR_USER_PREFIX,
};
use chitin_abi::process::{CAP_SETFCAP, CAP_SYS_ADMIN};
use chitin_abi::{Errno, Result};

use super::Walk;
use crate::path::Path;
use crate::permission;

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
        self.xattr_permission(path, space, W_OK)?;
        self.security_permission(name, space)?;
        path.dentry().inode().set_xattr(name, value, flags)?;
        path.dentry().inode().state().privileges_changed();
        crate::notify::attributes(path.dentry());
        Ok(())
    }

    pub(super) fn do_remove_xattr(&self, path: &Path, name: &[u8]) -> Result<()> {
        let space = space(name)?;
        path.mount().check_writable()?;
        self.xattr_permission(path, space, W_OK)?;
        self.security_permission(name, space)?;
        path.dentry().inode().remove_xattr(name)?;
        crate::notify::attributes(path.dentry());
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
