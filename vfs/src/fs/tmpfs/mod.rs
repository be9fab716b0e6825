//! tmpfs: files in memory.
//!
//! Regular files are sparse; they live in the heap until they are mapped or large, then in a host memfd
//! ([`content`]). Directories are hash tables with stable positions ([`dir`]). What an instance may hold is
//! bounded by pages and inodes; nothing is allocated before it is charged. Pages that a guest touches through a
//! mapping are charged at the next operation on the file: the host's own limit (the container's cgroup) bounds
//! them meanwhile.
//!
//! memfd, System V and POSIX shared memory use the same inodes ([`Tmpfs::anonymous`]).
//!
//! References: tmpfs(5), memfd_create(2), fallocate(2), the kernel's `mm/shmem.c`.

mod chunk;
mod content;
mod dir;
mod file;
mod inode;
mod options;
mod rename;
mod space;
#[cfg(test)]
mod tests;
mod xattr;

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::fs::{
    F_SEAL_EXEC, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE,
    S_IFDIR, S_IFREG, TMPFS_MAGIC,
};
use chitin_abi::{Errno, PAGE_SIZE, Result};

pub use self::file::{DirFile, RegularFile};
pub use self::inode::TmpfsInode;
use self::space::Space;
use crate::attr::NewFile;
use crate::clock::{Clock, SystemClock};
use crate::fs_type::FsType;
use crate::inode::Inode;
use crate::super_block::{FileSystem, FsStats, SuperBlock};
use crate::walk::Walk;

/// Size of an instance that says nothing else and knows nothing of the memory there is.
pub const DEFAULT_SIZE: u64 = 2 << 30;

/// Options of an instance.
#[derive(Clone)]
pub struct TmpfsOptions {
    /// Most bytes of data; 0 for no limit.
    pub size: u64,
    /// Most inodes; 0 for no limit.
    pub inodes: u64,
    /// Permission bits of the root.
    pub mode: u32,
    /// Owner of the root.
    pub uid: u32,
    /// Group of the root.
    pub gid: u32,
    /// What /proc/mounts shows as the device.
    pub source: Vec<u8>,
    /// Time of changes.
    pub clock: Arc<dyn Clock>,
}

impl Default for TmpfsOptions {
    fn default() -> Self {
        Self {
            size: DEFAULT_SIZE,
            inodes: DEFAULT_SIZE / PAGE_SIZE,
            mode: 0o1777,
            uid: 0,
            gid: 0,
            source: b"tmpfs".to_vec(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl TmpfsOptions {
    /// Applies an option string such as `size=64m,mode=755`; `memory` is what percentages are of.
    ///
    /// # Errors
    /// EINVAL for an option that tmpfs does not know.
    pub fn parse(mut self, text: &[u8], memory: u64) -> Result<Self> {
        options::parse(&mut self, text, memory)?;
        Ok(self)
    }
}

/// The file system.
pub struct Tmpfs {
    space: Space,
    clock: Arc<dyn Clock>,
    root: (u32, u32, u32),
}

impl Tmpfs {
    /// An instance and its root.
    ///
    /// # Errors
    /// EINVAL for impossible options.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a file system is used through its super block and root"
    )]
    pub fn new(options: TmpfsOptions) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let fs = Arc::new(Self {
            space: Space::new(options.size, options.inodes),
            clock: options.clock,
            root: (options.mode & 0o7777, options.uid, options.gid),
        });
        let super_block = SuperBlock::new(Arc::clone(&fs) as Arc<dyn FileSystem>, &options.source);
        let new = NewFile {
            mode: S_IFDIR | (options.mode & 0o7777),
            uid: options.uid,
            gid: options.gid,
            rdev: 0,
        };
        let root = TmpfsInode::new(&super_block, &fs, &new, b"")?;
        Ok((super_block, root))
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
        let dir = inode::downcast(root).map_err(|_| Errno::EINVAL)?;
        dir.tmpfile(&NewFile { mode: S_IFREG | (mode & 0o7777), uid, gid, rdev: 0 })
    }
}

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn exports(&self) -> bool {
        true
    }

    fn stats(&self) -> Result<FsStats> {
        let (blocks, blocks_free) = self.space.pages();
        let (files, files_free) = self.space.inodes();
        Ok(FsStats {
            magic: u64::from(TMPFS_MAGIC),
            block_size: PAGE_SIZE,
            blocks,
            blocks_free,
            blocks_available: blocks_free,
            files,
            files_free,
            name_max: 255,
        })
    }

    fn options(&self) -> String {
        options::show(self.space.pages().0 * PAGE_SIZE, self.space.inodes().0, self.root)
    }

    fn remount(&self, text: &[u8]) -> Result<()> {
        let mut ignored = TmpfsOptions::default();
        let limits = options::parse(&mut ignored, text, 2 * DEFAULT_SIZE)?;
        self.space.set_limits(limits.size, limits.inodes)
    }
}

/// The type that guests mount.
pub(super) struct TmpfsType;

impl FsType for TmpfsType {
    fn name(&self) -> &str {
        "tmpfs"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, option: &[u8]) -> Result<()> {
        options::parse(&mut TmpfsOptions::default(), option, 1 << 30).map(|_| ())
    }

    fn mount(
        &self,
        source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let shared = &walk.env.shared;
        let memory = shared.memory_total.load(Ordering::Relaxed);
        let base = TmpfsOptions {
            size: memory / 2,
            inodes: memory / 2 / PAGE_SIZE,
            uid: walk.cred.uid,
            gid: walk.cred.gid,
            source: source.to_vec(),
            clock: Arc::clone(&shared.clock),
            ..TmpfsOptions::default()
        };
        Tmpfs::new(base.parse(options, memory)?)
    }
}

fn regular(inode: &Arc<dyn Inode>) -> Result<Arc<TmpfsInode>> {
    let inode = inode::downcast(inode).map_err(|_| Errno::EINVAL)?;
    inode.regular().map_err(|_| Errno::EINVAL)?;
    Ok(inode)
}

/// The `F_SEAL_…` of a tmpfs file.
///
/// # Errors
/// EINVAL for a file that has no seals.
pub fn seals(inode: &Arc<dyn Inode>) -> Result<u32> {
    Ok(regular(inode)?.regular()?.seals.load(Ordering::Acquire))
}

/// Replaces the seals without looking at what is there: for a new memfd (`F_SEAL_SEAL` forbids adding; a tmpfs
/// file has it from the start).
///
/// # Errors
/// EINVAL for a file that has no seals.
pub fn set_initial_seals(inode: &Arc<dyn Inode>, seals: u32) -> Result<()> {
    regular(inode)?.regular()?.seals.store(seals, Ordering::Release);
    Ok(())
}

/// `F_ADD_SEALS`; the caller has checked that the descriptor is writable.
///
/// # Errors
/// EPERM while sealed against it, EBUSY with writable mappings for `F_SEAL_WRITE`, EINVAL; EAGAIN where the host still has
/// a writable mapping that nobody has any more: one that is being unmapped, or that a hostile guest has kept.
pub fn add_seals(inode: &Arc<dyn Inode>, seals: u32) -> Result<()> {
    const ALL: u32 = F_SEAL_SEAL
        | F_SEAL_SHRINK
        | F_SEAL_GROW
        | F_SEAL_WRITE
        | F_SEAL_FUTURE_WRITE
        | F_SEAL_EXEC;
    if seals & !ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = regular(inode)?;
    let file = inode.regular()?;
    // Writes hold this lock: none is in progress, and mappings are counted before they can be written to.
    let content = file.content.write();
    let old = file.seals.load(Ordering::Acquire);
    if old & F_SEAL_SEAL != 0 {
        return Err(Errno::EPERM);
    }
    if seals & F_SEAL_WRITE != 0 && old & F_SEAL_WRITE == 0 {
        if file.writable_mappings.load(Ordering::Acquire) > 0 {
            return Err(Errno::EBUSY);
        }
        content.seal_writes()?;
    }
    let mut new = old | seals;
    if seals & F_SEAL_EXEC != 0 && inode.meta.lock().mode & 0o111 != 0 {
        // Sealing an executable's mode also seals its contents.
        new |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    }
    file.seals.store(new, Ordering::Release);
    Ok(())
}
