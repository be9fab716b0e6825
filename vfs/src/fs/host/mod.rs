//! A directory tree of the host, served by descriptors ("directfs").
//!
//! The tree is whatever lies below one directory descriptor that somebody with more rights has opened for us. Every
//! operation is relative to a descriptor: one component at a time, never following a symbolic link, never through
//! `..`, never by an absolute path or `/proc`, so that it works in a process with an empty root and nothing in
//! the tree can lead out of it. What the guest sees as `..` and symbolic links is resolved by the walk above.
//!
//! Model: a [`HostInode`](inode::HostInode) stands for one file of the host, identified by its host device and
//! inode number; a table makes sure that there is one for each. It remembers its *place* (directory and name) and
//! opens descriptors when they are needed. Descriptors live in a bounded cache; one that has been dropped is opened
//! again by the place, and the result must still be the same file, or the operation fails with ESTALE. A file that
//! is unlinked while known keeps a descriptor of its own.
//!
//! Special files of the host are never opened: a device node, FIFO or socket in the tree is only a name and a mode,
//! and opening it leads to the sandbox's own devices, pipes and sockets.
//!
//! Caching: with [`CachePolicy::Exclusive`] nobody else changes the tree, so attributes and link texts are kept as
//! long as the inode; with [`CachePolicy::Shared`] every use asks the host.
//!
//! Cost: a lookup is one `statx`, and once per directory one `openat2` and one `statx`; opening a regular file is
//! one `openat2` and one `statx`, or nothing while a descriptor of the same rights is cached; attributes cost nothing
//! when cached, else one `statx`; a read or write is one host call and two copies per 64 KiB; a directory listing
//! is one `getdents64` per 32 KiB and no `statx`.
//!
//! Locks, each a leaf and never held over a host call except `appending`: the inode table, the descriptor cache's
//! ring, and in each inode its place, descriptors, attributes and link text; `appending` serialises appends to a
//! file. `moving`, above the places, is held while a directory is given a new place.
//!
//! References: `openat2(2)`, `statx(2)`, `getdents64(2)`.

mod attr;
mod change;
mod dir;
pub(super) mod fd_cache;
pub(super) mod file;
mod inode;
mod map;
mod open;
mod special;
pub mod stdio;
mod table;
mod tty_ioctl;
mod xattr;

#[cfg(test)]
mod stdio_tests;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use chitin_abi::fs::{S_IFDIR, S_IFREG};
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use crate::host_errno::from_host;
use crate::inode::Inode;
use crate::super_block::{FileSystem, FsStats, SuperBlock};

use fd_cache::FdCache;
use open::Access;
use table::Table;

/// Who may change the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePolicy {
    /// Only this file system: what has been seen stays true.
    #[default]
    Exclusive,
    /// Other processes of the host, too: nothing is believed for longer than one operation takes.
    Shared,
}

/// How a host tree is served.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Refuses every change with EROFS.
    pub read_only: bool,
    /// Who else changes it.
    pub cache: CachePolicy,
    /// How many descriptors are kept open for later use.
    pub fd_cache: usize,
    /// The type that /proc/mounts shows.
    pub fs_name: &'static str,
    /// What /proc/mounts shows as the device.
    pub source: Vec<u8>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            cache: CachePolicy::Exclusive,
            fd_cache: 512,
            fs_name: "hostfs",
            source: b"none".to_vec(),
        }
    }
}

/// A mounted host tree.
pub struct HostFs {
    options: HostOptions,
    root: Arc<OwnedFd>,
    fds: FdCache,
    table: Table,
    /// Held while a directory changes its place.
    moving: Mutex<()>,
}

impl HostFs {
    /// Serves the tree below a directory descriptor (`O_PATH` is enough).
    ///
    /// The process's umask should be 0; otherwise each new file costs one more host call.
    ///
    /// # Errors
    /// ENOTDIR where it is no directory; those of `statx(2)`.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a file system is used through its super block and root"
    )]
    pub fn new(root: OwnedFd, options: HostOptions) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let stat = attr::statx_fd(root.as_fd())?;
        if attr::mode(&stat) & chitin_abi::fs::S_IFMT != S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        let source = options.source.clone();
        let fs = Arc::new(Self {
            fds: FdCache::new(options.fd_cache),
            table: Table::new(attr::id(&stat).dev),
            moving: Mutex::new(()),
            root: Arc::new(root),
            options,
        });
        let super_block = SuperBlock::new(Arc::clone(&fs) as Arc<dyn FileSystem>, &source);
        let inode = inode::HostInode::root(&fs, &super_block, &stat);
        Ok((super_block, inode))
    }

    fn check_writable(&self) -> Result<()> {
        if self.options.read_only { Err(Errno::EROFS) } else { Ok(()) }
    }

    fn is_shared(&self) -> bool {
        self.options.cache == CachePolicy::Shared
    }
}

/// A descriptor of a regular file of a host tree, for reading or for reading and writing: what a file server gives
/// away. It shares its open file with nobody who cares about the position.
///
/// # Errors
/// EOPNOTSUPP for other files and other file systems, EROFS, EACCES, those of `openat2(2)`.
pub fn descriptor(inode: &dyn Inode, write: bool) -> Result<Arc<OwnedFd>> {
    let inode = inode.as_any().downcast_ref::<inode::HostInode>().ok_or(Errno::EOPNOTSUPP)?;
    if inode.kind != S_IFREG {
        return Err(Errno::EOPNOTSUPP);
    }
    if write {
        inode.fs.check_writable()?;
    }
    let fd = inode.data_fd(if write { Access::Write } else { Access::Read })?;
    if write {
        file::Regular::set_volatile(inode);
    }
    Ok(Arc::clone(&fd.fd))
}

impl FileSystem for HostFs {
    fn name(&self) -> &'static str {
        self.options.fs_name
    }

    fn exports(&self) -> bool {
        true
    }

    fn stats(&self) -> Result<FsStats> {
        let stats = rustix::fs::fstatfs(&self.root).map_err(from_host)?;
        Ok(FsStats {
            magic: u64::try_from(stats.f_type).unwrap_or_default(),
            block_size: u64::try_from(stats.f_bsize).unwrap_or(4096),
            blocks: stats.f_blocks,
            blocks_free: stats.f_bfree,
            blocks_available: stats.f_bavail,
            files: stats.f_files,
            files_free: stats.f_ffree,
            name_max: u64::try_from(stats.f_namelen).unwrap_or(255),
        })
    }

    fn read_only(&self) -> bool {
        self.options.read_only
    }
}
