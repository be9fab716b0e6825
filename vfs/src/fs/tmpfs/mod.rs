//! tmpfs: files in memory.

use std::sync::Arc;

use chitin_abi::{Errno, Result};

use crate::clock::{Clock, SystemClock};
use crate::inode::Inode;
use crate::super_block::SuperBlock;

/// Options of an instance.
#[derive(Clone)]
pub struct TmpfsOptions {
    /// Most bytes of data; 0 for no limit of its own.
    pub size: u64,
    /// Most inodes; 0 for no limit of its own.
    pub inodes: u64,
    /// Permission bits of the root.
    pub mode: u32,
    /// Owner of the root.
    pub uid: u32,
    /// Group of the root.
    pub gid: u32,
    /// Time of changes.
    pub clock: Arc<dyn Clock>,
}

impl Default for TmpfsOptions {
    fn default() -> Self {
        Self { size: 0, inodes: 0, mode: 0o1777, uid: 0, gid: 0, clock: Arc::new(SystemClock) }
    }
}

/// The file system.
pub struct Tmpfs {}

impl Tmpfs {
    /// An instance and its root.
    ///
    /// # Errors
    /// EINVAL for impossible options.
    pub fn new(options: TmpfsOptions) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let _ = options;
        Err(Errno::ENOSYS)
    }

    /// An unnamed regular file of an instance (memfd, shared anonymous memory, System V shm): its inode. `root`
    /// is a directory of that instance. Charged to its size.
    ///
    /// # Errors
    /// ENOSPC; EINVAL where `root` is no tmpfs directory.
    pub fn anonymous(
        root: &Arc<dyn Inode>,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>> {
        let _ = (root, mode, uid, gid);
        Err(Errno::ENOSYS)
    }
}

/// The `F_SEAL_…` of a tmpfs file.
///
/// # Errors
/// EINVAL for a file that has no seals.
pub fn seals(inode: &Arc<dyn Inode>) -> Result<u32> {
    let _ = inode;
    Err(Errno::EINVAL)
}

/// Replaces the seals without looking at what is there: for a new memfd (`F_SEAL_SEAL` forbids adding; a tmpfs
/// file has it from the start).
///
/// # Errors
/// EINVAL for a file that has no seals.
pub fn set_initial_seals(inode: &Arc<dyn Inode>, seals: u32) -> Result<()> {
    let _ = (inode, seals);
    Err(Errno::EINVAL)
}

/// `F_ADD_SEALS`; the caller has checked that the descriptor is writable.
///
/// # Errors
/// EPERM while sealed against it, EBUSY with writable mappings for `F_SEAL_WRITE`, EINVAL.
pub fn add_seals(inode: &Arc<dyn Inode>, seals: u32) -> Result<()> {
    let _ = (inode, seals);
    Err(Errno::EINVAL)
}
