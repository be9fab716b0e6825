//! Mount namespaces: who sees which mounts where, and how mounts propagate between them.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeSet;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::dentry::Dentry;
use crate::mount::{Mount, MountFlags, NewMount};
use crate::path::Path;
use crate::wait::WaitQueue;

/// How a mount passes on mounts and unmounts below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// To and from its peers.
    Shared,
    /// Not at all.
    Private,
    /// From its master only.
    Slave,
    /// Not at all, and it cannot be bound elsewhere.
    Unbindable,
}

/// All mounts of one kernel, in whatever namespace.
#[derive(Default)]
pub struct MountSystem {
    ids: Mutex<MountIds>,
    /// What is mounted on (mount, dentry).
    crossings: RwLock<HashMap<(u64, usize), Arc<Mount>>>,
}

#[derive(Default)]
struct MountIds {
    next: u32,
    next_unique: u64,
    free: BTreeSet<u32>,
}

impl MountSystem {
    pub(crate) fn new_mount_id(&self) -> (u32, u64) {
        let mut ids = self.ids.lock();
        let id = ids.free.pop_first().unwrap_or_else(|| {
            ids.next = ids.next.wrapping_add(1);
            ids.next
        });
        ids.next_unique = ids.next_unique.wrapping_add(1);
        (id, ids.next_unique | 1 << 31)
    }

    pub(crate) fn release_mount_id(&self, id: u32) {
        self.ids.lock().free.insert(id);
    }

    pub(crate) fn mounted_at(&self, mount: &Mount, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        let key = (mount.unique_id(), Arc::as_ptr(dentry).addr());
        self.crossings.read().get(&key).cloned()
    }

    /// Takes away whatever is mounted on a dentry that has been removed, in all namespaces.
    pub(crate) fn detach_all(&self, dentry: &Arc<Dentry>) {
        let _ = dentry;
    }

    /// A mount that is attached nowhere (`fsmount(2)`): its root path.
    pub fn detached(self: &Arc<Self>, new: &NewMount) -> Path {
        let tree = new.super_block.tree(&new.root);
        let root = Arc::clone(tree.root());
        Mount::build(self, &new.super_block, tree, root, new.flags, new.source.clone()).root_path()
    }
}

/// What one line of /proc/pid/mountinfo is made of.
#[derive(Clone, Debug)]
pub struct MountInfo {
    /// The mount.
    pub mount: Path,
    /// The id of the mount that it is on; its own at the top.
    pub parent_id: u32,
    /// The unique id of the mount that it is on.
    pub parent_unique_id: u64,
    /// The peer group; 0 for none.
    pub peer_group: u64,
    /// The master's peer group; 0 for none.
    pub master: u64,
    /// The nearest dominating peer group that the reader sees; 0 for none.
    pub propagate_from: u64,
    /// Whether it cannot be bound.
    pub unbindable: bool,
}

/// A mount namespace.
pub struct MountNamespace {
    id: u64,
    system: Arc<MountSystem>,
    root: RwLock<Arc<Mount>>,
    changes: AtomicU64,
    queue: Arc<WaitQueue>,
}

static NEXT_NAMESPACE: AtomicU64 = AtomicU64::new(1);

impl MountNamespace {
    /// A namespace with this root and nothing else.
    pub fn new(root: NewMount) -> Arc<Self> {
        let system = Arc::new(MountSystem::default());
        let root = Arc::clone(system.detached(&root).mount());
        Arc::new(Self {
            id: NEXT_NAMESPACE.fetch_add(1, Ordering::Relaxed),
            system,
            root: RwLock::new(root),
            changes: AtomicU64::new(0),
            queue: Arc::default(),
        })
    }

    /// Its id (`STATMOUNT_MNT_NS_ID`).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The mounts of the kernel.
    pub fn system(&self) -> &Arc<MountSystem> {
        &self.system
    }

    /// The topmost directory: root of the first mount, or of what is mounted over it.
    pub fn root(&self) -> Path {
        let root = self.root.read().root_path();
        root.cross_mounts()
    }

    /// A copy of all mounts (`CLONE_NEWNS`). `locked` for a new user namespace: mounts become slaves and cannot
    /// be taken apart. Returns it with a function's worth of translation: paths (root, cwd) of the old
    /// namespace and what they are in the new one are found by [`MountNamespace::translate`].
    ///
    /// # Errors
    /// ENOSPC for too many mounts.
    pub fn copy(&self, locked: bool) -> Result<NamespaceCopy> {
        let _ = locked;
        Err(Errno::ENOSYS)
    }

    /// Number of changes so far, for poll on /proc/pid/mounts.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Is notified with `POLLPRI | POLLERR` after each change.
    pub fn wait_queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// All mounts in the order of /proc/pid/mountinfo that can be reached from `root`.
    pub fn mounts(&self, root: &Path) -> Vec<MountInfo> {
        let _ = root;
        Vec::new()
    }

    /// Mounts something new on `at` and returns its root.
    ///
    /// # Errors
    /// ENOTDIR and the like for a directory on a file, EINVAL for a path of another namespace, ENOENT for one
    /// that has been removed, EBUSY for the same again, ENOSPC for too many mounts.
    pub fn mount(&self, at: &Path, new: NewMount) -> Result<Path> {
        let _ = (at, new);
        Err(Errno::ENOSYS)
    }

    /// Mounts `from` a second time at `at`.
    ///
    /// # Errors
    /// EINVAL for something unbindable or locked, and as [`MountNamespace::mount`].
    pub fn bind(&self, from: &Path, at: &Path, recursive: bool) -> Result<Path> {
        let _ = (from, at, recursive);
        Err(Errno::ENOSYS)
    }

    /// A copy of a mount (or tree of them) that is attached nowhere (`OPEN_TREE_CLONE`).
    ///
    /// # Errors
    /// As [`MountNamespace::bind`].
    pub fn clone_tree(&self, from: &Path, recursive: bool) -> Result<Path> {
        let _ = (from, recursive);
        Err(Errno::ENOSYS)
    }

    /// Moves the mount whose root is `from` (also one that is attached nowhere) to `at`.
    ///
    /// # Errors
    /// EINVAL where `from` is no mount's root, is locked or shared above, ELOOP into itself.
    pub fn move_mount(&self, from: &Path, at: &Path) -> Result<()> {
        let _ = (from, at);
        Err(Errno::ENOSYS)
    }

    /// `umount2(2)` with `MNT_…` flags.
    ///
    /// # Errors
    /// EINVAL for what is no mount's root, EBUSY while in use, EAGAIN on the first `MNT_EXPIRE`.
    pub fn unmount(&self, at: &Path, flags: u32) -> Result<()> {
        let _ = (at, flags);
        Err(Errno::ENOSYS)
    }

    /// Changes the flags of the mount whose root is `at`: `set` after `clear`; in all below it if `recursive`.
    ///
    /// # Errors
    /// EINVAL, EPERM for locked flags, EBUSY for read-only with open writers.
    pub fn set_flags(
        &self,
        at: &Path,
        clear: MountFlags,
        set: MountFlags,
        recursive: bool,
    ) -> Result<()> {
        let _ = (at, clear, set, recursive);
        Err(Errno::ENOSYS)
    }

    /// `MS_REMOUNT` without `MS_BIND`: flags of the mount, and options and read-only state of the file system.
    ///
    /// # Errors
    /// EINVAL for bad options, EBUSY.
    pub fn remount(
        &self,
        at: &Path,
        flags: MountFlags,
        read_only: bool,
        options: &[u8],
    ) -> Result<()> {
        let _ = (at, flags, read_only, options);
        Err(Errno::ENOSYS)
    }

    /// Changes how a mount propagates; all below it too if `recursive`.
    ///
    /// # Errors
    /// EINVAL for what is no mount's root.
    pub fn set_propagation(&self, at: &Path, kind: Propagation, recursive: bool) -> Result<()> {
        let _ = (at, kind, recursive);
        Err(Errno::ENOSYS)
    }

    /// `pivot_root(2)`: the caller moves roots and working directories of tasks from `old_root` to the returned
    /// path afterwards.
    ///
    /// # Errors
    /// EBUSY, EINVAL, ENOTDIR.
    pub fn pivot_root(&self, new_root: &Path, put_old: &Path, old_root: &Path) -> Result<()> {
        let _ = (new_root, put_old, old_root);
        Err(Errno::ENOSYS)
    }
}

/// A copied namespace and how paths translate to it.
pub struct NamespaceCopy {
    /// The copy.
    pub namespace: Arc<MountNamespace>,
    copies: HashMap<u64, Arc<Mount>>,
}

impl NamespaceCopy {
    /// The path of the copy that corresponds to one of the original; unchanged for others.
    pub fn translate(&self, path: &Path) -> Path {
        match self.copies.get(&path.mount().unique_id()) {
            Some(mount) => Path::new(Arc::clone(mount), Arc::clone(path.dentry())),
            None => path.clone(),
        }
    }
}
