//! Mount namespaces: who sees which mounts where, and how mounts propagate between them.
//!
//! One [`MountSystem`] holds the mounts of all namespaces of a kernel, because mounts propagate between
//! namespaces: the tree and the peer groups ([`topology`]) under one lock that only changes take, and the table of
//! crossings that walks look at where a dentry is marked as a mount point. Below a namespace's first mount lies a
//! hidden, empty root file system, as on Linux: so every mount that shows has a place and can be moved off it.
//!
//! Locks: the topology, then the crossings, then a mount's place. What an operation takes out is dropped, and
//! watchers of /proc/pid/mounts are told, when they are free.
//!
//! References: mount_namespaces(7), mount(2), umount(2), pivot_root(2), the kernel's
//! `Documentation/filesystems/sharedsubtree.rst`.

mod change;
mod detached;
mod hidden;
mod pivot;
mod propagate;
mod show;
#[cfg(test)]
mod tests;
mod topology;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use chitin_abi::Result;
use chitin_abi::poll::PollEvents;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

pub use self::detached::DetachedFile;
pub use self::show::{mount_line, mountinfo_line, mountstats_line};
use self::topology::{CopyKind, CopyScope, MountId, NamespaceId, Released, Topology};
use crate::dentry::Dentry;
use crate::env::Sysctls;
use crate::mount::{Mount, NewMount};
use crate::path::Path;
use crate::wait::WaitQueue;

/// What is mounted on (mount, dentry).
pub(crate) type Crossings = HashMap<(MountId, usize), Arc<Mount>>;

/// Mounts of one namespace unless `fs.mount-max` says otherwise.
const DEFAULT_MOUNT_MAX: u32 = 100_000;

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
pub struct MountSystem {
    ids: Mutex<MountIds>,
    topology: Mutex<Topology>,
    crossings: RwLock<Crossings>,
    namespaces: Mutex<HashMap<NamespaceId, Weak<MountNamespace>>>,
    max: RwLock<Arc<AtomicU32>>,
}

impl Default for MountSystem {
    fn default() -> Self {
        Self {
            ids: Mutex::default(),
            topology: Mutex::default(),
            crossings: RwLock::default(),
            namespaces: Mutex::default(),
            max: RwLock::new(Arc::new(AtomicU32::new(DEFAULT_MOUNT_MAX))),
        }
    }
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
        // Linux starts behind the range of the ids that are used again.
        (id, ids.next_unique.wrapping_add(1 << 31))
    }

    pub(crate) fn release_mount_id(&self, id: u32) {
        self.ids.lock().free.insert(id);
    }

    pub(crate) fn mounted_at(&self, mount: &Mount, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        let key = (mount.unique_id(), Arc::as_ptr(dentry).addr());
        self.crossings.read().get(&key).cloned()
    }

    /// Makes these switches bound the mounts of each namespace (`fs.mount-max`).
    pub fn obey(&self, sysctls: &Sysctls) {
        let old = core::mem::replace(&mut *self.max.write(), Arc::clone(&sysctls.mount_max));
        drop(old);
    }

    /// A mount that is attached nowhere (`fsmount(2)`): its root path.
    pub fn detached(self: &Arc<Self>, new: &NewMount) -> Path {
        let tree = new.super_block.tree(&new.root);
        let root = Arc::clone(tree.root());
        Mount::build(self, &new.super_block, tree, root, new.flags, new.source.clone()).root_path()
    }

    /// Runs a change of the tree; drops what it has taken out and tells watchers when the locks are free.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Topology, &mut Crossings, &mut Released) -> Result<T>,
    ) -> Result<T> {
        let mut released = Released::default();
        let result = {
            let mut topology = self.topology.lock();
            let mut crossings = self.crossings.write();
            topology.max = self.max.read().load(Ordering::Relaxed) as usize;
            change(&mut topology, &mut crossings, &mut released)
        };
        self.finish(released);
        result
    }

    fn finish(&self, mut released: Released) {
        released.changed.sort_unstable();
        released.changed.dedup();
        let changed: Vec<_> = {
            let namespaces = self.namespaces.lock();
            released
                .changed
                .iter()
                .filter_map(|id| namespaces.get(id).and_then(Weak::upgrade))
                .collect()
        };
        for namespace in changed {
            namespace.changes.fetch_add(1, Ordering::AcqRel);
            namespace.queue.notify(PollEvents::POLLPRI | PollEvents::POLLERR);
        }
        drop(released.paths);
        drop(released.mounts);
    }

    /// Takes away whatever is mounted on a dentry that has been removed, in all namespaces.
    pub(crate) fn detach_all(&self, dentry: &Arc<Dentry>) {
        if !dentry.is_mount_point() {
            return;
        }
        let _ = self.change(|topology, crossings, released| {
            let on: Vec<MountId> = crossings
                .iter()
                .filter(|((_, at), _)| *at == Arc::as_ptr(dentry).addr())
                .map(|(_, mount)| mount.unique_id())
                .collect();
            for id in on {
                topology.remove_tree(id, crossings, released);
            }
            Ok(())
        });
    }
}

/// What one line of /proc/pid/mountinfo is made of.
#[derive(Clone, Debug)]
pub struct MountInfo {
    /// The mount: path of its root.
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
    id: NamespaceId,
    system: Arc<MountSystem>,
    /// The hidden root file system.
    hidden: Arc<Mount>,
    changes: AtomicU64,
    queue: Arc<WaitQueue>,
}

static NEXT_NAMESPACE: AtomicU64 = AtomicU64::new(1);

impl MountNamespace {
    /// A namespace with this root and nothing else.
    pub fn new(root: NewMount) -> Arc<Self> {
        let system = Arc::new(MountSystem::default());
        let hidden = Arc::clone(system.detached(&hidden::root_file_system()).mount());
        let namespace = Self::with_hidden(&system, &hidden);
        let root = Arc::clone(system.detached(&root).mount());
        let at = Arc::clone(hidden.root());
        let _ = system.change(|topology, crossings, released| {
            let below = topology.add(&hidden);
            topology.set_namespace(below, namespace.id);
            let id = topology.add(&root);
            topology.attach(id, below, &at, crossings, released)
        });
        namespace
    }

    fn with_hidden(system: &Arc<MountSystem>, hidden: &Arc<Mount>) -> Arc<Self> {
        let namespace = Arc::new(Self {
            id: NEXT_NAMESPACE.fetch_add(1, Ordering::Relaxed),
            system: Arc::clone(system),
            hidden: Arc::clone(hidden),
            changes: AtomicU64::new(0),
            queue: Arc::default(),
        });
        system.namespaces.lock().insert(namespace.id, Arc::downgrade(&namespace));
        namespace
    }

    /// Its id (`STATMOUNT_MNT_NS_ID`).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The mounts of the kernel.
    pub fn system(&self) -> &Arc<MountSystem> {
        &self.system
    }

    /// The topmost directory: the root of what is mounted at the very bottom, or over it.
    pub fn root(&self) -> Path {
        self.hidden.root_path().cross_mounts()
    }

    /// Whether a path is on a mount of this namespace.
    pub fn contains(&self, path: &Path) -> bool {
        let topology = self.system.topology.lock();
        topology.nodes.get(&path.mount().unique_id()).is_some_and(|node| node.namespace == self.id)
    }

    /// A copy of all mounts (`CLONE_NEWNS`). `locked` for a new user namespace: mounts become slaves and cannot
    /// be taken apart. Roots and working directories of the old namespace are translated by
    /// [`NamespaceCopy::translate`].
    ///
    /// # Errors
    /// ENOSPC for too many mounts.
    pub fn copy(&self, locked: bool) -> Result<NamespaceCopy> {
        let mut copies = HashMap::new();
        let kind = if locked { CopyKind::SharedToSlave } else { CopyKind::Same };
        let hidden = self.system.change(|topology, crossings, released| {
            let scope = CopyScope { recursive: true, unbindable: true, kind };
            let id = topology.add(&self.hidden);
            let root = Arc::clone(self.hidden.root());
            let top = topology.copy_tree(id, &root, scope, crossings, released, &mut copies)?;
            if locked {
                topology.lock_tree(top)?;
            }
            Ok(Arc::clone(&topology.node(top)?.mount))
        })?;
        let namespace = Self::with_hidden(&self.system, &hidden);
        let mut topology = self.system.topology.lock();
        topology.set_namespace(hidden.unique_id(), namespace.id);
        let copies = copies
            .into_iter()
            .filter_map(|(old, new)| Some((old, Arc::clone(&topology.nodes.get(&new)?.mount))))
            .collect();
        drop(topology);
        Ok(NamespaceCopy { namespace, copies })
    }

    /// Number of changes so far, for poll on /proc/pid/mounts.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Is notified with `POLLPRI | POLLERR` after each change.
    pub fn wait_queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// All mounts, in the order in which they were made, that can be reached from `root`.
    pub fn mounts(&self, root: &Path) -> Vec<MountInfo> {
        let mut all = self.all_mounts();
        all.retain(|info| info.mount.is_below(root));
        all
    }

    fn all_mounts(&self) -> Vec<MountInfo> {
        let topology = self.system.topology.lock();
        let mut ids = topology.subtree(self.hidden.unique_id());
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| {
                let node = topology.nodes.get(&id)?;
                let parent =
                    node.parent.and_then(|parent| topology.nodes.get(&parent)).unwrap_or(node);
                let dominating = topology.dominating_group(id, self.id);
                Some(MountInfo {
                    mount: node.mount.root_path(),
                    parent_id: parent.mount.id(),
                    parent_unique_id: parent.mount.unique_id(),
                    peer_group: node.shared,
                    master: node.master,
                    propagate_from: if dominating == node.master { 0 } else { dominating },
                    unbindable: node.unbindable,
                })
            })
            .collect()
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        self.system.namespaces.lock().remove(&self.id);
        let id = self.hidden.unique_id();
        let _ = self.system.change(|topology, crossings, released| {
            topology.remove_tree(id, crossings, released);
            topology.counts.remove(&self.id);
            Ok(())
        });
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
