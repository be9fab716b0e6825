//! Everything that takes a path: lookup, open, create, remove, rename, attributes.

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};

use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::OpenFile;
use crate::path::Path;
use crate::pipe::FifoWait;
use crate::super_block::FsStats;

bitflags::bitflags! {
    /// `RESOLVE_…` of `openat2(2)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ResolveFlags: u64 {
        /// Mount points are not crossed.
        const NO_XDEV = chitin_abi::fs::RESOLVE_NO_XDEV;
        /// Magic links are not followed.
        const NO_MAGICLINKS = chitin_abi::fs::RESOLVE_NO_MAGICLINKS;
        /// No symbolic links are followed.
        const NO_SYMLINKS = chitin_abi::fs::RESOLVE_NO_SYMLINKS;
        /// Nothing above the starting directory is reached.
        const BENEATH = chitin_abi::fs::RESOLVE_BENEATH;
        /// The starting directory is the root.
        const IN_ROOT = chitin_abi::fs::RESOLVE_IN_ROOT;
        /// Only what is cached.
        const CACHED = chitin_abi::fs::RESOLVE_CACHED;
    }
}

/// The caller of path operations.
pub struct Walk<'a> {
    /// The root directory.
    pub root: Path,
    /// Where relative paths start: the working directory or a directory descriptor's path.
    pub base: Path,
    /// Who asks.
    pub cred: &'a Cred,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// The time of changes.
    pub now: Timespec,
    /// How paths are resolved.
    pub resolve: ResolveFlags,
    /// The kernel around.
    pub env: &'a VfsEnv,
}

/// An opened file.
pub struct Opened {
    /// The open file description.
    pub file: Arc<OpenFile>,
    /// A FIFO whose peer is missing: what to wait for before the open is complete.
    pub wait: Option<FifoWait>,
}

/// One of the two times of `utimensat(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// `UTIME_OMIT`.
    Omit,
    /// `UTIME_NOW`.
    Now,
    /// This one.
    To(Timespec),
}

/// A program that is being executed or mapped as one: nobody can open it for writing meanwhile.
pub struct ExecFile {
    /// The file, open for reading.
    pub file: Arc<OpenFile>,
}

impl Walk<'_> {
    /// The file of a path. A final symbolic link is followed if `follow`.
    ///
    /// # Errors
    /// ENOENT (also for an empty path), ENOTDIR, EACCES, ELOOP, ENAMETOOLONG; EXDEV and EAGAIN by `resolve`.
    pub fn lookup(&self, path: &[u8], follow: bool) -> Result<Path> {
        let _ = (path, follow);
        Err(Errno::ENOSYS)
    }

    /// `open(2)`.
    ///
    /// # Errors
    /// All of open(2)'s.
    pub fn open(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Opened> {
        let _ = (path, flags, mode);
        Err(Errno::ENOSYS)
    }

    /// Opens what has been found already; `flags` as for [`Walk::open`] without `O_CREAT`.
    ///
    /// # Errors
    /// As [`Walk::open`].
    pub fn open_path(&self, path: &Path, flags: OpenFlags) -> Result<Opened> {
        let _ = (path, flags);
        Err(Errno::ENOSYS)
    }

    /// Opens a program for execution: a regular file with execute permission on a mount that allows it.
    ///
    /// # Errors
    /// EACCES, ETXTBSY.
    pub fn open_exec(&self, path: &Path) -> Result<ExecFile> {
        let _ = path;
        Err(Errno::ENOSYS)
    }

    /// `mkdir(2)`.
    ///
    /// # Errors
    /// All of mkdir(2)'s.
    pub fn mkdir(&self, path: &[u8], mode: u32) -> Result<Path> {
        let _ = (path, mode);
        Err(Errno::ENOSYS)
    }

    /// `mknod(2)`; also for the socket of a `bind(2)`.
    ///
    /// # Errors
    /// All of mknod(2)'s.
    pub fn mknod(&self, path: &[u8], mode: u32, device: u64) -> Result<Path> {
        let _ = (path, mode, device);
        Err(Errno::ENOSYS)
    }

    /// `symlink(2)`: `path` will lead to `target`.
    ///
    /// # Errors
    /// All of symlink(2)'s.
    pub fn symlink(&self, target: &[u8], path: &[u8]) -> Result<Path> {
        let _ = (target, path);
        Err(Errno::ENOSYS)
    }

    /// `link(2)`: a new name for something that has been looked up.
    ///
    /// # Errors
    /// All of link(2)'s.
    pub fn link(&self, old: &Path, path: &[u8]) -> Result<()> {
        let _ = (old, path);
        Err(Errno::ENOSYS)
    }

    /// `unlink(2)`.
    ///
    /// # Errors
    /// All of unlink(2)'s.
    pub fn unlink(&self, path: &[u8]) -> Result<()> {
        let _ = path;
        Err(Errno::ENOSYS)
    }

    /// `rmdir(2)`.
    ///
    /// # Errors
    /// All of rmdir(2)'s.
    pub fn rmdir(&self, path: &[u8]) -> Result<()> {
        let _ = path;
        Err(Errno::ENOSYS)
    }

    /// `renameat2(2)`: `new` has the directory that `new_path` starts from.
    ///
    /// # Errors
    /// All of rename(2)'s.
    pub fn rename(&self, old: &[u8], new: &Walk<'_>, new_path: &[u8], flags: u32) -> Result<()> {
        let _ = (old, new, new_path, flags);
        Err(Errno::ENOSYS)
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// EINVAL for anything else.
    pub fn readlink(&self, path: &Path) -> Result<Vec<u8>> {
        let _ = path;
        Err(Errno::ENOSYS)
    }

    /// Whether the caller may use a file so (`R_OK`, `W_OK`, `X_OK`; 0 for existence), with the read-only and
    /// noexec rules of `access(2)`.
    ///
    /// # Errors
    /// EACCES, EROFS.
    pub fn access(&self, path: &Path, mask: u32) -> Result<()> {
        let _ = (path, mask);
        Err(Errno::ENOSYS)
    }

    /// `chmod(2)`.
    ///
    /// # Errors
    /// EPERM, EROFS.
    pub fn chmod(&self, path: &Path, mode: u32) -> Result<()> {
        let _ = (path, mode);
        Err(Errno::ENOSYS)
    }

    /// `chown(2)`; `None` leaves an id as it is.
    ///
    /// # Errors
    /// EPERM, EROFS.
    pub fn chown(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let _ = (path, uid, gid);
        Err(Errno::ENOSYS)
    }

    /// `utimensat(2)`: access and modification time.
    ///
    /// # Errors
    /// EPERM, EACCES, EROFS.
    pub fn utimens(&self, path: &Path, atime: SetTime, mtime: SetTime) -> Result<()> {
        let _ = (path, atime, mtime);
        Err(Errno::ENOSYS)
    }

    /// `truncate(2)`.
    ///
    /// # Errors
    /// EISDIR, EINVAL, EACCES, EROFS, ETXTBSY, EFBIG.
    pub fn truncate(&self, path: &Path, length: u64) -> Result<()> {
        let _ = (path, length);
        Err(Errno::ENOSYS)
    }

    /// Numbers of the file system and `f_flags`.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn statfs(&self, path: &Path) -> Result<(FsStats, u32)> {
        Ok((path.mount().super_block().fs().stats()?, path.mount().flags().to_statfs()))
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP, EACCES.
    pub fn get_xattr(&self, path: &Path, name: &[u8]) -> Result<Vec<u8>> {
        let _ = (path, name);
        Err(Errno::ENOSYS)
    }

    /// Sets an extended attribute (`XATTR_CREATE`, `XATTR_REPLACE`).
    ///
    /// # Errors
    /// EEXIST, ENODATA, EPERM, EACCES, EROFS, E2BIG, ERANGE, ENOSPC.
    pub fn set_xattr(&self, path: &Path, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let _ = (path, name, value, flags);
        Err(Errno::ENOSYS)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EPERM, EACCES, EROFS.
    pub fn remove_xattr(&self, path: &Path, name: &[u8]) -> Result<()> {
        let _ = (path, name);
        Err(Errno::ENOSYS)
    }

    /// The names of the extended attributes that the caller may see.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    pub fn list_xattr(&self, path: &Path) -> Result<Vec<Vec<u8>>> {
        let _ = path;
        Err(Errno::ENOSYS)
    }
}
