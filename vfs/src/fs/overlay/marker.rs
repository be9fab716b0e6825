//! The marks that an overlay leaves in its upper layer.

use std::sync::Arc;

use chitin_abi::fs::{S_IFCHR, S_IFMT};
use chitin_abi::{Errno, Result};

use crate::attr::NewFile;
use crate::inode::Inode;

/// Prefix of the attributes that only the overlay itself sees.
pub(super) const PREFIX: &[u8] = b"trusted.overlay.";
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const REDIRECT: &[u8] = b"trusted.overlay.redirect";
const ORIGIN: &[u8] = b"trusted.overlay.origin";

/// Whether an inode of a layer stands for "there is no such name".
pub(super) fn is_whiteout(inode: &dyn Inode) -> bool {
    let is_device = inode.access_info().is_ok_and(|info| info.mode & S_IFMT == S_IFCHR);
    is_device && inode.attr().is_ok_and(|attr| attr.rdev == 0)
}

/// Hides a name of the lower layers.
pub(super) fn whiteout(dir: &dyn Inode, name: &[u8]) -> Result<()> {
    dir.create(name, &NewFile { mode: S_IFCHR, uid: 0, gid: 0, rdev: 0 }).map(|_| ())
}

/// Whether nothing below shows through a directory.
pub(super) fn is_opaque(dir: &dyn Inode) -> bool {
    dir.get_xattr(OPAQUE).is_ok_and(|value| value == b"y")
}

pub(super) fn set_opaque(dir: &dyn Inode) -> Result<()> {
    dir.set_xattr(OPAQUE, b"y", 0)
}

/// Where the lower part of a moved directory is: a path from the layers' roots.
pub(super) fn redirect(dir: &dyn Inode) -> Option<Vec<u8>> {
    dir.get_xattr(REDIRECT).ok()
}

pub(super) fn set_redirect(dir: &dyn Inode, path: &[u8]) -> Result<()> {
    dir.set_xattr(REDIRECT, path, 0)
}

/// Remembers in a copied file what it was copied from: index of the file system, number in it.
pub(super) fn set_origin(upper: &dyn Inode, file_system: usize, ino: u64) -> Result<()> {
    match upper.set_xattr(ORIGIN, format!("{file_system}:{ino}").as_bytes(), 0) {
        // A layer without such attributes forgets it: the number changes when the inode is looked up anew.
        Err(Errno::EOPNOTSUPP | Errno::EPERM) => Ok(()),
        result => result,
    }
}

pub(super) fn origin(upper: &dyn Inode) -> Option<(usize, u64)> {
    let value = upper.get_xattr(ORIGIN).ok()?;
    let text = core::str::from_utf8(&value).ok()?;
    let (file_system, ino) = text.split_once(':')?;
    Some((file_system.parse().ok()?, ino.parse().ok()?))
}

/// Removes a whiteout, if that is what a name is in the upper layer; whether it was.
pub(super) fn clear_whiteout(dir: &Arc<dyn Inode>, name: &[u8]) -> Result<bool> {
    match dir.lookup(name) {
        Ok(found) if is_whiteout(found.as_ref()) => dir.unlink(name).map(|()| true),
        Ok(_) | Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
