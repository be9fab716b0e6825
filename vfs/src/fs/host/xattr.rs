//! Extended attributes of host files.
//!
//! Only those that mean something inside are passed on: `user.*`, file capabilities and access control lists. The
//! host's security labels and other users' `trusted.*` are not the guest's business. The host takes a
//! descriptor that can read or write for them, so links and special files have none.

use core::mem::MaybeUninit;

use chitin_abi::fs::{
    XATTR_LIST_MAX, XATTR_NAME_CAPS, XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT,
    XATTR_SIZE_MAX, XATTR_USER_PREFIX,
};
use chitin_abi::{Errno, Result};
use rustix::fs::XattrFlags;

use super::inode::HostInode;
use crate::host_errno::from_host;

fn passes(name: &[u8]) -> bool {
    let exact = [XATTR_NAME_CAPS, XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT];
    name.starts_with(XATTR_USER_PREFIX.as_bytes())
        || exact.iter().any(|known| known.as_bytes() == name)
}

pub(super) fn get(inode: &HostInode, name: &[u8]) -> Result<Vec<u8>> {
    if !passes(name) {
        return Err(Errno::ENODATA);
    }
    let fd = inode.real_fd().map_err(|error| match error {
        // Nobody here could ask for it. What fails for want of descriptors or memory is no answer: access is
        // decided by what this says.
        Errno::EOPNOTSUPP | Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ETXTBSY => {
            Errno::ENODATA
        }
        error => error,
    })?;
    let mut small = [0u8; 256];
    match rustix::fs::fgetxattr(&*fd, name, &mut small[..]) {
        Ok(length) => return Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(rustix::io::Errno::RANGE) => {}
        Err(error) => return Err(from_host(error)),
    }
    let mut value = Box::<[u8]>::new_uninit_slice(XATTR_SIZE_MAX as usize);
    let buffer: &mut [MaybeUninit<u8>] = &mut value;
    let (value, _) = rustix::fs::fgetxattr(&*fd, name, buffer).map_err(from_host)?;
    Ok(value.to_vec())
}

pub(super) fn set(inode: &HostInode, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
    if !passes(name) {
        return Err(Errno::EOPNOTSUPP);
    }
    let fd = inode.real_fd()?;
    let flags = XattrFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    rustix::fs::fsetxattr(&*fd, name, value, flags).map_err(from_host)?;
    inode.changed();
    Ok(())
}

pub(super) fn remove(inode: &HostInode, name: &[u8]) -> Result<()> {
    if !passes(name) {
        return Err(Errno::ENODATA);
    }
    let fd = inode.real_fd()?;
    rustix::fs::fremovexattr(&*fd, name).map_err(from_host)?;
    inode.changed();
    Ok(())
}

pub(super) fn list(inode: &HostInode) -> Result<Vec<Vec<u8>>> {
    let Ok(fd) = inode.real_fd() else { return Ok(Vec::new()) };
    let mut names = Box::<[u8]>::new_uninit_slice(XATTR_LIST_MAX as usize);
    let buffer: &mut [MaybeUninit<u8>] = &mut names;
    let (names, _) = match rustix::fs::flistxattr(&*fd, buffer) {
        Ok(names) => names,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(from_host(error)),
    };
    Ok(names.split(|byte| *byte == 0).filter(|name| passes(name)).map(<[u8]>::to_vec).collect())
}
