//! Files in memory without a name (`memfd_create(2)`): regular files of a tmpfs that no namespace shows.
//!
//! Contents, mappings and seals are tmpfs's ([`crate::fs::tmpfs`]); here is only where they hang.

use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::{F_SEAL_EXEC, F_SEAL_SEAL};

use crate::clock::Clock;
use crate::cred::Cred;
use crate::fs::tmpfs::{Tmpfs, TmpfsOptions, set_initial_seals};
use crate::mount::{MountFlags, NewMount};
use crate::namespace::MountSystem;
use crate::path::Path;

/// How a file in memory is to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemfdOptions {
    /// Seals may be added (`MFD_ALLOW_SEALING`).
    pub sealing: bool,
    /// It is not executable and cannot become so (`MFD_NOEXEC_SEAL`, which also allows sealing).
    pub no_exec: bool,
}

/// The mount that files in memory are on.
pub(crate) struct MemfdMount {
    root: Path,
}

impl MemfdMount {
    /// An empty one; `None` only if tmpfs refuses its own defaults.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Option<Self> {
        // As on Linux the kernel's own tmpfs has no limit but memory.
        let options = TmpfsOptions { size: 0, inodes: 0, clock, ..TmpfsOptions::default() };
        let (super_block, root) = Tmpfs::new(options).ok()?;
        let new =
            NewMount { super_block, root, flags: MountFlags::empty(), source: b"tmpfs".to_vec() };
        Some(Self { root: Arc::new(MountSystem::default()).detached(&new) })
    }

    /// The path of a new file, which `/proc/self/fd` shows as `/memfd:NAME (deleted)`.
    pub(crate) fn make(&self, name: &[u8], options: MemfdOptions, owner: &Cred) -> Result<Path> {
        let mode = if options.no_exec { 0o666 } else { 0o777 };
        let inode = Tmpfs::anonymous(&self.root.inode(), mode, owner.uid, owner.gid)?;
        let seals = match options {
            MemfdOptions { no_exec: true, .. } => F_SEAL_EXEC,
            MemfdOptions { sealing: true, .. } => 0,
            _ => F_SEAL_SEAL,
        };
        set_initial_seals(&inode, seals)?;
        let name = [b"memfd:", name].concat();
        Ok(self.root.with_dentry(self.root.dentry().detached(&name, inode)))
    }
}

#[cfg(test)]
mod tests {
    use chitin_abi::Errno;
    use chitin_abi::fs::{F_SEAL_SHRINK, F_SEAL_WRITE};

    use crate::clock::SystemClock;
    use crate::cred::Cred;
    use crate::env::VfsShared;
    use crate::fs::tmpfs::{add_seals, seals};
    use crate::memfd::MemfdOptions;

    #[test]
    fn seals_are_as_asked_for() {
        let shared = VfsShared::new(std::sync::Arc::new(SystemClock));
        let make = |options| shared.new_memfd(b"x", options, &Cred::root()).unwrap();
        let plain = make(MemfdOptions::default());
        assert!(plain.text(&plain).deleted);
        assert_eq!(add_seals(&plain.inode(), F_SEAL_WRITE), Err(Errno::EPERM));
        let open = make(MemfdOptions { sealing: true, no_exec: false });
        assert_eq!(add_seals(&open.inode(), F_SEAL_SHRINK), Ok(()));
        assert_eq!(seals(&open.inode()), Ok(F_SEAL_SHRINK));
        let no_exec = make(MemfdOptions { sealing: true, no_exec: true });
        assert_eq!(no_exec.inode().attr().unwrap().mode & 0o777, 0o666);
    }
}
