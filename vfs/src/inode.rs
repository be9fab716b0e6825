//! Inodes: what a file system provides for each file.
//!
//! Names are single components without `/` and NUL, never `.` or `..`. Permissions, read-only mounts, sticky
//! bits, link and name limits are checked above, in the walk; an inode only does what it is told. Nothing
//! blocks: an inode that must fetch something from elsewhere does it at once or fails.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};

use crate::acl::{Acl, AclKind};
use crate::attr::{Attr, NewFile, SetAttr};
use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::File;
use crate::inode_state::InodeState;
use crate::path::Path;
use crate::super_block::SuperBlock;

/// What [`Inode::follow_magic`] leads to.
pub enum MagicTarget {
    /// Another place in the tree (`/proc/self/exe`, `/proc/self/root`).
    Path(Path),
    /// An open file that may have no name (`/proc/self/fd/3` of a pipe).
    File(Arc<crate::file::OpenFile>),
}

/// Type, permission bits and owner.
#[derive(Clone, Copy, Debug)]
pub struct AccessInfo {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A file in a file system. Every method has a default for files that cannot do it.
pub trait Inode: Any + Send + Sync {
    /// For downcasts by the file system that made it.
    fn as_any(&self) -> &dyn Any;

    /// The mounted file system that it belongs to.
    fn super_block(&self) -> &Arc<SuperBlock>;

    /// What the VFS keeps per inode: locks, watches, a FIFO's pipe, a bound socket. Overlay-like file systems
    /// return the state of the inode that stands for the file whatever layer it is in.
    fn state(&self) -> &InodeState;

    /// Its attributes now.
    ///
    /// # Errors
    /// Those of the storage behind it.
    fn attr(&self) -> Result<Attr>;

    /// What permission checks look at. Asked for every component of a path: file systems whose
    /// [`Inode::attr`] costs a host call answer it from what they remember.
    ///
    /// # Errors
    /// Those of the storage behind it.
    fn access_info(&self) -> Result<AccessInfo> {
        let attr = self.attr()?;
        Ok(AccessInfo { mode: attr.mode, uid: attr.uid, gid: attr.gid })
    }

    /// Changes attributes; `now` becomes `ctime` (and `mtime` when the size changes).
    ///
    /// # Errors
    /// EPERM where attributes are fixed, ENOSPC, EFBIG, EROFS, those of the storage.
    fn set_attr(&self, change: &SetAttr, now: Timespec) -> Result<()> {
        let _ = (change, now);
        Err(Errno::EPERM)
    }

    /// The entry of this name.
    ///
    /// # Errors
    /// ENOENT; ENOTDIR for what is not a directory.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let _ = name;
        Err(Errno::ENOTDIR)
    }

    /// Whether a name that [`Inode::lookup`] has answered (also with ENOENT) may be answered from the dentry
    /// cache from now on, until this VFS changes it. False for trees that change by themselves (`/proc`).
    fn caches_entries(&self) -> bool {
        true
    }

    /// Makes a regular file, FIFO, socket or device node (by the type in `new.mode`).
    ///
    /// # Errors
    /// EEXIST, ENOSPC, EPERM where the file system makes no such files.
    fn create(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        let _ = (name, new);
        Err(Errno::EPERM)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Inode::create`].
    fn mkdir(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        let _ = (name, new);
        Err(Errno::EPERM)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`Inode::create`].
    fn symlink(&self, name: &[u8], target: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        let _ = (name, target, new);
        Err(Errno::EPERM)
    }

    /// Makes an unnamed regular file (`O_TMPFILE`), which [`Inode::link`] may name later.
    ///
    /// # Errors
    /// EOPNOTSUPP where there is no such thing.
    fn tmpfile(&self, new: &NewFile) -> Result<Arc<dyn Inode>> {
        let _ = new;
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes another name for `target`, which is of the same file system.
    ///
    /// # Errors
    /// EEXIST, EMLINK, EPERM.
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let _ = (name, target);
        Err(Errno::EPERM)
    }

    /// Removes the name of something that is not a directory.
    ///
    /// # Errors
    /// ENOENT, EISDIR.
    fn unlink(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY.
    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Moves an entry to `new_dir`, which is of the same file system; `flags` are `RENAME_…`. The walk has
    /// checked types, ancestry and permissions; the file system checks emptiness of a replaced directory.
    ///
    /// # Errors
    /// ENOENT, EEXIST, ENOTEMPTY, EINVAL for flags that it cannot do.
    fn rename(
        &self,
        old_name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: u32,
    ) -> Result<()> {
        let _ = (old_name, new_dir, new_name, flags);
        Err(Errno::EPERM)
    }

    /// The text of a symbolic link, which may depend on who asks (`/proc/self`).
    ///
    /// # Errors
    /// EINVAL for what is no symbolic link.
    fn read_link(&self, env: &VfsEnv) -> Result<Vec<u8>> {
        let _ = env;
        Err(Errno::EINVAL)
    }

    /// Where a magic link leads; `None` for an ordinary one, which is followed by its text.
    ///
    /// # Errors
    /// ENOENT, EACCES.
    fn follow_magic(&self, env: &VfsEnv) -> Result<Option<MagicTarget>> {
        let _ = env;
        Ok(None)
    }

    /// Opens the file (permissions are checked, `O_CREAT`, `O_EXCL` and `O_TRUNC` are done). FIFOs, sockets
    /// and device nodes are opened by the VFS itself and never get here unless the file system says so by
    /// [`Inode::opens_special`].
    ///
    /// # Errors
    /// ENXIO, ENODEV, those of the storage.
    fn open(self: Arc<Self>, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>>;

    /// Notes that the file was read at `now`; with `relative`, only if the last access is older than the last
    /// change or a day (`relatime`). Must be cheap.
    fn touch(&self, now: Timespec, relative: bool) {
        let _ = (now, relative);
    }

    /// Whether another object stands for the same file, so that its dentry may stay. Asked only in trees that
    /// do not cache entries.
    fn is_same(&self, other: &dyn Inode) -> bool {
        core::ptr::addr_eq(self.state(), other.state())
    }

    /// Permissions beyond the mode bits, or instead of them: `Some` decides a check for `mask` (`R_OK`, `W_OK`,
    /// `X_OK`) by itself.
    fn check_access(&self, mask: u32, cred: &Cred, env: &VfsEnv) -> Option<Result<()>> {
        let _ = (mask, cred, env);
        None
    }

    /// Whether this file system opens its device nodes itself.
    fn opens_special(&self) -> bool {
        false
    }

    /// An access-control list, where the file has one: what its attribute says. Called by permission checks: a file
    /// system whose attributes cost a host call answers from what it remembers.
    ///
    /// # Errors
    /// Those of the storage, EINVAL for a damaged list.
    fn acl(&self, kind: AclKind) -> Result<Option<Acl>> {
        Acl::read(self.get_xattr(kind.name()))
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP.
    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        let _ = name;
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets an extended attribute; `flags` are `XATTR_CREATE`, `XATTR_REPLACE`.
    ///
    /// # Errors
    /// EEXIST, ENODATA, ENOSPC, EOPNOTSUPP.
    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let _ = (name, value, flags);
        Err(Errno::EOPNOTSUPP)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP.
    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EOPNOTSUPP)
    }

    /// The names of all extended attributes.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
}
