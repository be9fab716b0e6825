//! Mounts: a file system's tree seen at a place in another one.
//!
//! A [`Mount`] knows the path that it is mounted on, and asks its [`MountSystem`] what is mounted on its own
//! dentries; both are only looked at where a walk crosses a mount. The topology (children, peer groups,
//! namespaces) belongs to [`crate::namespace`].

use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use chitin_abi::fs::{
    MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, ST_NOATIME, ST_NODEV,
    ST_NODIRATIME, ST_NOEXEC, ST_NOSUID, ST_NOSYMFOLLOW, ST_RDONLY, ST_RELATIME,
};
use chitin_abi::{Errno, Result};
use parking_lot::RwLock;

use crate::dentry::{Dentry, DentryTree};
use crate::inode::Inode;
use crate::namespace::MountSystem;
use crate::notify::MarkList;
use crate::path::Path;
use crate::super_block::SuperBlock;

bitflags::bitflags! {
    /// Flags of one mount; the bits are those of `mount_setattr(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Read-only.
        const READ_ONLY = MOUNT_ATTR_RDONLY as u32;
        /// Set-id bits and file capabilities count for nothing.
        const NO_SUID = MOUNT_ATTR_NOSUID as u32;
        /// Device nodes cannot be opened.
        const NO_DEV = MOUNT_ATTR_NODEV as u32;
        /// Programs cannot be executed.
        const NO_EXEC = MOUNT_ATTR_NOEXEC as u32;
        /// Access times stay.
        const NO_ATIME = MOUNT_ATTR_NOATIME as u32;
        /// Access times change only when older than the change times or a day.
        const REL_ATIME = 1 << 30;
        /// Access times of directories stay.
        const NO_DIR_ATIME = MOUNT_ATTR_NODIRATIME as u32;
        /// Symbolic links are not followed.
        const NO_SYM_FOLLOW = MOUNT_ATTR_NOSYMFOLLOW as u32;
    }
}

impl Default for MountFlags {
    fn default() -> Self {
        Self::REL_ATIME
    }
}

impl MountFlags {
    /// As `f_flags` of `statfs(2)`.
    pub fn to_statfs(self) -> u32 {
        let pairs = [
            (Self::READ_ONLY, ST_RDONLY),
            (Self::NO_SUID, ST_NOSUID),
            (Self::NO_DEV, ST_NODEV),
            (Self::NO_EXEC, ST_NOEXEC),
            (Self::NO_ATIME, ST_NOATIME),
            (Self::REL_ATIME, ST_RELATIME),
            (Self::NO_DIR_ATIME, ST_NODIRATIME),
            (Self::NO_SYM_FOLLOW, ST_NOSYMFOLLOW),
        ];
        pairs
            .iter()
            .filter(|(flag, _)| self.contains(*flag))
            .map(|(_, bit)| bit)
            .fold(0, |all, bit| all | bit)
    }
}

/// What is to be mounted.
#[derive(Clone)]
pub struct NewMount {
    /// The instance.
    pub super_block: Arc<SuperBlock>,
    /// Its root.
    pub root: Arc<dyn Inode>,
    /// Flags of the mount.
    pub flags: MountFlags,
    /// What /proc/mounts shows as the device.
    pub source: Vec<u8>,
}

/// A mount.
pub struct Mount {
    id: u32,
    unique_id: u64,
    system: Arc<MountSystem>,
    super_block: Arc<SuperBlock>,
    /// Keeps the tree's cached dentries.
    tree: Arc<DentryTree>,
    root: Arc<Dentry>,
    source: Vec<u8>,
    flags: AtomicU32,
    /// Open files that may write through this mount.
    writers: AtomicI64,
    /// What it is mounted on; `None` at the top of a namespace and for what is not attached.
    place: RwLock<Option<Path>>,
    marks: OnceLock<Box<MarkList>>,
}

impl Mount {
    pub(crate) fn build(
        system: &Arc<MountSystem>,
        super_block: &Arc<SuperBlock>,
        tree: Arc<DentryTree>,
        root: Arc<Dentry>,
        flags: MountFlags,
        source: Vec<u8>,
    ) -> Arc<Self> {
        let (id, unique_id) = system.new_mount_id();
        Arc::new(Self {
            id,
            unique_id,
            system: Arc::clone(system),
            super_block: Arc::clone(super_block),
            tree,
            root,
            source,
            flags: AtomicU32::new(flags.bits()),
            writers: AtomicI64::new(0),
            place: RwLock::new(None),
            marks: OnceLock::new(),
        })
    }

    /// The id of /proc/pid/mountinfo and `STATX_MNT_ID`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The id of `statmount(2)` and `STATX_MNT_ID_UNIQUE`, never used again.
    pub fn unique_id(&self) -> u64 {
        self.unique_id
    }

    /// The fanotify marks on it.
    pub(crate) fn marks(&self) -> &MarkList {
        self.marks.get_or_init(Box::default)
    }

    /// The fanotify marks on it if there ever were some.
    pub(crate) fn marks_if_any(&self) -> Option<&MarkList> {
        self.marks.get().map(Box::as_ref)
    }

    /// The instance that is mounted.
    pub fn super_block(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }

    /// The dentry that shows at the mount point.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// The whole tree of which [`Mount::root`] is a part.
    pub fn tree(&self) -> &Arc<DentryTree> {
        &self.tree
    }

    /// What /proc/mounts shows as the device.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The mounts that it belongs to.
    pub fn system(&self) -> &Arc<MountSystem> {
        &self.system
    }

    /// Its flags.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Acquire))
    }

    /// Replaces the flags, unchecked.
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Release);
    }

    /// Whether nothing may be changed through it.
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::READ_ONLY) || self.super_block.is_read_only()
    }

    /// Fails for a read-only mount or file system.
    ///
    /// # Errors
    /// EROFS.
    pub fn check_writable(&self) -> Result<()> {
        if self.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// An open file may write through it.
    pub(crate) fn get_write(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// That open file has gone.
    pub(crate) fn put_write(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether open files may write through it.
    pub(crate) fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// The path that it is mounted on.
    pub fn mount_point(&self) -> Option<Path> {
        self.place.read().clone()
    }

    pub(crate) fn set_place(&self, place: Option<Path>) -> Option<Path> {
        core::mem::replace(&mut *self.place.write(), place)
    }

    /// What is mounted on a dentry of this mount.
    pub fn mounted_at(&self, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        self.system.mounted_at(self, dentry)
    }

    /// The path of its root inside the file system, as /proc/pid/mountinfo shows it.
    pub fn shown_root(&self) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut at = Arc::clone(&self.root);
        while let (Some(parent), name) = at.place() {
            parts.push(name);
            at = parent;
        }
        if parts.is_empty() {
            return b"/".to_vec();
        }
        let mut text = Vec::new();
        for part in parts.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(part);
        }
        if self.root.is_unlinked() {
            text.extend_from_slice(b"//deleted");
        }
        text
    }

    /// The path of its root.
    pub fn root_path(self: &Arc<Self>) -> Path {
        Path::new(Arc::clone(self), Arc::clone(&self.root))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.system.release_mount_id(self.id);
    }
}
