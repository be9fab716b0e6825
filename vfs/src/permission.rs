//! Who may do what with a file: mode bits, owners, capabilities, sticky directories.
//!
//! Cost: one [`Inode::access_info`] per check, none for directories where the caller overrides everything.

use chitin_abi::fs::{
    R_OK, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISVTX, S_IXGRP, W_OK, X_OK,
};
use chitin_abi::process::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID};
use chitin_abi::{Errno, Result};

use crate::acl::AclKind;
use crate::attr::NewFile;
use crate::cred::Cred;
use crate::dentry::Dentry;
use crate::env::VfsEnv;
use crate::inode::{AccessInfo, Inode};

/// Whether the caller may use an inode so (`R_OK`, `W_OK`, `X_OK`).
///
/// # Errors
/// EACCES; what the file system says.
pub fn check(inode: &dyn Inode, mask: u32, cred: &Cred, env: &VfsEnv) -> Result<()> {
    if let Some(decided) = inode.check_access(mask, cred, env) {
        return decided;
    }
    check_inode(inode, mask, cred)
}

/// By the access list where there is one and it counts, else by the mode.
fn check_inode(inode: &dyn Inode, mask: u32, cred: &Cred) -> Result<()> {
    let info = inode.access_info()?;
    let mask = mask & (R_OK | W_OK | X_OK);
    if info.uid != cred.uid
        && info.mode & 0o070 != 0
        && !overrides(info.mode, mask, cred)
        && let Some(acl) = inode.acl(AclKind::Access)?
    {
        return if acl.permits(&info, mask, cred) { Ok(()) } else { Err(Errno::EACCES) };
    }
    check_info(&info, mask, cred)
}

/// The same for a dentry, without looking at the inode of a directory that a capability opens anyway.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_dentry(dentry: &Dentry, mask: u32, cred: &Cred, env: &VfsEnv) -> Result<()> {
    let inode = dentry.inode();
    if let Some(decided) = inode.check_access(mask, cred, env) {
        return decided;
    }
    if dentry.is_dir() && cred.caps.has(CAP_DAC_OVERRIDE) {
        return Ok(());
    }
    check_inode(inode.as_ref(), mask, cred)
}

/// Whether the caller may use a file of these attributes so.
///
/// # Errors
/// EACCES.
pub fn check_info(info: &AccessInfo, mask: u32, cred: &Cred) -> Result<()> {
    let mask = mask & (R_OK | W_OK | X_OK);
    if mask & !class_bits(info, cred) == 0 || overrides(info.mode, mask, cred) {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// The three bits of the class that the caller falls into.
fn class_bits(info: &AccessInfo, cred: &Cred) -> u32 {
    let shift = if info.uid == cred.uid {
        6
    } else if cred.in_group(info.gid) {
        3
    } else {
        0
    };
    (info.mode >> shift) & 7
}

fn overrides(mode: u32, mask: u32, cred: &Cred) -> bool {
    if mode & S_IFMT == S_IFDIR {
        return cred.caps.has(CAP_DAC_OVERRIDE)
            || (mask & W_OK == 0 && cred.caps.has(CAP_DAC_READ_SEARCH));
    }
    if mask == R_OK && cred.caps.has(CAP_DAC_READ_SEARCH) {
        return true;
    }
    (mask & X_OK == 0 || mode & 0o111 != 0) && cred.caps.has(CAP_DAC_OVERRIDE)
}

/// Whether the caller owns the file or may act as if.
pub fn is_owner(info: &AccessInfo, cred: &Cred) -> bool {
    info.uid == cred.uid || cred.caps.has(CAP_FOWNER)
}

/// Whether a sticky directory forbids the caller to remove an entry of it.
pub(crate) fn sticky_forbids(dir: &AccessInfo, victim: &AccessInfo, cred: &Cred) -> bool {
    dir.mode & S_ISVTX != 0
        && victim.uid != cred.uid
        && dir.uid != cred.uid
        && !cred.caps.has(CAP_FOWNER)
}

/// The owner, group and mode of a file that the caller makes in a directory; the umask is applied already.
pub(crate) fn new_file(dir: &AccessInfo, mode: u32, rdev: u64, cred: &Cred) -> NewFile {
    let mut new = NewFile { mode, uid: cred.uid, gid: cred.gid, rdev };
    if dir.mode & S_ISGID != 0 {
        new.gid = dir.gid;
        if mode & S_IFMT == S_IFDIR {
            new.mode |= S_ISGID;
        } else if mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
            && !cred.in_group(dir.gid)
            && !cred.caps.has(CAP_FSETID)
        {
            new.mode &= !S_ISGID;
        }
    }
    new
}

/// Whether a read-only file system forbids writing to a file of this type: not to devices, FIFOs and sockets.
pub(crate) fn type_is_stored(kind: u32) -> bool {
    matches!(kind, S_IFREG | S_IFDIR | S_IFLNK)
}
