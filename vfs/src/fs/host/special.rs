//! Special files in a host tree. The host's are never opened; the VFS opens the sandbox's own instead, so this is
//! only reached where it has none.

use std::sync::Arc;

use chitin_abi::fs::{S_IFIFO, S_IFSOCK};
use chitin_abi::{Errno, Result};

use super::inode::HostInode;
use crate::file::File;

pub(super) fn open(inode: &HostInode) -> Result<Arc<dyn File>> {
    match inode.kind {
        S_IFSOCK | S_IFIFO => Err(Errno::ENXIO),
        _ => Err(Errno::ENODEV),
    }
}
