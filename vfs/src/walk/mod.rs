//! Everything that takes a path: lookup, open, create, remove, rename, attributes.
//!
//! A [`Walk`] is the caller's point of view for one system call: root, starting directory, identity, time. It
//! holds no lock between its steps; each change locks the directory (or two) that it is in, as drawn in
//! [`crate::dentry`], asks the file system, updates the cache, unlocks, and only then tells watches.
//!
//! References: path_resolution(7), open(2), openat2(2), rename(2).

mod attributes;
mod create;
mod open;
mod remove;
mod rename;
mod resolve;
#[cfg(test)]
mod tests;
mod xattr;

pub(crate) use self::attributes::remove_capabilities;
pub use self::open::UNNOTICED;

use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;

use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::OpenFile;
use crate::locks::LeaseWait;
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
    /// What to wait for before the open is complete.
    pub wait: Option<OpenWait>,
    /// The file is to be truncated when the open is complete ([`Walk::truncate_opened`]).
    pub truncates: bool,
}

/// What an open waits for.
pub enum OpenWait {
    /// The other side of a FIFO.
    Fifo(FifoWait),
    /// The holders of leases.
    Lease(LeaseWait),
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
    fn do_lookup(&self, path: &[u8], follow: bool) -> Result<Path> {
        resolve::Resolver::new(self, path)?.finish(follow)
    }

    /// The file of a path. A final symbolic link is followed if `follow`.
    ///
    /// # Errors
    /// ENOENT (also for an empty path), ENOTDIR, EACCES, ELOOP, ENAMETOOLONG; EXDEV and EAGAIN by `resolve`.
    pub fn lookup(&self, path: &[u8], follow: bool) -> Result<Path> {
        self.do_lookup(path, follow)
    }

    /// `open(2)`.
    ///
    /// # Errors
    /// All of open(2)'s.
    pub fn open(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Opened> {
        self.do_open(path, flags, mode)
    }

    /// Opens what has been found already; `flags` as for [`Walk::open`] without `O_CREAT`.
    ///
    /// # Errors
    /// As [`Walk::open`].
    pub fn open_path(&self, path: &Path, flags: OpenFlags) -> Result<Opened> {
        self.do_open_path(path, flags)
    }

    /// Truncates a file whose open had to wait before it could do that.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn truncate_opened(&self, opened: &OpenFile) -> Result<()> {
        opened.path().map_or(Ok(()), |path| self.do_truncate_opened(path, opened))
    }

    /// What a change of the contents has to wait for: leases, whose breaking begins.
    pub fn before_change(&self, path: &Path) -> Option<LeaseWait> {
        LeaseWait::begin(path, true, || self.lease_deadline())
    }

    /// Opens a program for execution: a regular file with execute permission on a mount that allows it.
    ///
    /// # Errors
    /// EACCES, ETXTBSY.
    pub fn open_exec(&self, path: &Path) -> Result<ExecFile> {
        self.do_open_exec(path)
    }

    /// `mkdir(2)`.
    ///
    /// # Errors
    /// All of mkdir(2)'s.
    pub fn mkdir(&self, path: &[u8], mode: u32) -> Result<Path> {
        self.do_mkdir(path, mode)
    }

    /// `mknod(2)`; also for the socket of a `bind(2)`.
    ///
    /// # Errors
    /// All of mknod(2)'s.
    pub fn mknod(&self, path: &[u8], mode: u32, device: u64) -> Result<Path> {
        self.do_mknod(path, mode, device)
    }

    /// `symlink(2)`: `path` will lead to `target`.
    ///
    /// # Errors
    /// All of symlink(2)'s.
    pub fn symlink(&self, target: &[u8], path: &[u8]) -> Result<Path> {
        self.do_symlink(target, path)
    }

    /// `link(2)`: a new name for something that has been looked up.
    ///
    /// # Errors
    /// All of link(2)'s.
    pub fn link(&self, old: &Path, path: &[u8]) -> Result<()> {
        self.do_link(old, path)
    }

    /// `unlink(2)`.
    ///
    /// # Errors
    /// All of unlink(2)'s.
    pub fn unlink(&self, path: &[u8]) -> Result<()> {
        self.do_unlink(path)
    }

    /// `rmdir(2)`.
    ///
    /// # Errors
    /// All of rmdir(2)'s.
    pub fn rmdir(&self, path: &[u8]) -> Result<()> {
        self.do_rmdir(path)
    }

    /// `renameat2(2)`: `new` has the directory that `new_path` starts from.
    ///
    /// # Errors
    /// All of rename(2)'s.
    pub fn rename(&self, old: &[u8], new: &Walk<'_>, new_path: &[u8], flags: u32) -> Result<()> {
        self.do_rename(old, new, new_path, flags)
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// EINVAL for anything else.
    pub fn readlink(&self, path: &Path) -> Result<Vec<u8>> {
        self.do_readlink(path)
    }

    /// Whether the caller may use a file so (`R_OK`, `W_OK`, `X_OK`; 0 for existence), with the read-only and
    /// noexec rules of `access(2)`.
    ///
    /// # Errors
    /// EACCES, EROFS.
    pub fn access(&self, path: &Path, mask: u32) -> Result<()> {
        self.do_access(path, mask)
    }

    /// `chmod(2)`.
    ///
    /// # Errors
    /// EPERM, EROFS.
    pub fn chmod(&self, path: &Path, mode: u32) -> Result<()> {
        self.do_chmod(path, mode)
    }

    /// `chown(2)`; `None` leaves an id as it is.
    ///
    /// # Errors
    /// EPERM, EROFS.
    pub fn chown(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.do_chown(path, uid, gid)
    }

    /// `utimensat(2)`: access and modification time.
    ///
    /// # Errors
    /// EPERM, EACCES, EROFS.
    pub fn utimens(&self, path: &Path, atime: SetTime, mtime: SetTime) -> Result<()> {
        self.do_utimens(path, atime, mtime)
    }

    /// `truncate(2)`; [`Walk::before_change`] comes first.
    ///
    /// # Errors
    /// EISDIR, EINVAL, EACCES, EROFS, ETXTBSY, EFBIG.
    pub fn truncate(&self, path: &Path, length: u64) -> Result<()> {
        self.do_truncate(path, length)
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
        self.do_get_xattr(path, name)
    }

    /// Sets an extended attribute (`XATTR_CREATE`, `XATTR_REPLACE`).
    ///
    /// # Errors
    /// EEXIST, ENODATA, EPERM, EACCES, EROFS, E2BIG, ERANGE, ENOSPC.
    pub fn set_xattr(&self, path: &Path, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        self.do_set_xattr(path, name, value, flags)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EPERM, EACCES, EROFS.
    pub fn remove_xattr(&self, path: &Path, name: &[u8]) -> Result<()> {
        self.do_remove_xattr(path, name)
    }

    /// The names of the extended attributes that the caller may see.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    pub fn list_xattr(&self, path: &Path) -> Result<Vec<Vec<u8>>> {
        self.do_list_xattr(path)
    }
}
