//! Which mount is where: the nodes of the mount tree and of the peer groups.
//!
//! All of it is under one lock of the [`MountSystem`](super::MountSystem); walks do not take it, they look
//! at the crossing table and at each mount's own place, which only change here. What goes is collected in
//! [`Released`] and dropped when the lock is free.

use std::sync::Arc;

use chitin_abi::{Errno, Result};
use hashbrown::HashMap;

use super::Crossings;
use crate::dentry::Dentry;
use crate::mount::{Mount, MountFlags};
use crate::path::Path;

/// The id of a mount that is never used again.
pub(super) type MountId = u64;
/// The id of a peer group; 0 is none.
pub(super) type GroupId = u64;
/// The id of a namespace; 0 is none: the mount is attached nowhere, or to something that is.
pub(super) type NamespaceId = u64;

/// What has been taken out of the tables, to be dropped outside the lock.
#[derive(Default)]
pub(super) struct Released {
    pub(super) mounts: Vec<Arc<Mount>>,
    pub(super) paths: Vec<Path>,
    /// Namespaces whose listing has changed.
    pub(super) changed: Vec<NamespaceId>,
}

/// A mount in the tree.
pub(super) struct Node {
    pub(super) mount: Arc<Mount>,
    pub(super) namespace: NamespaceId,
    pub(super) parent: Option<MountId>,
    pub(super) children: Vec<MountId>,
    /// The peer group.
    pub(super) shared: GroupId,
    /// The peer group that it gets mounts from.
    pub(super) master: GroupId,
    pub(super) unbindable: bool,
    /// It cannot be taken off by itself: a less privileged namespace got it as part of a tree.
    pub(super) locked: bool,
    /// Flags that cannot be cleared, for the same reason.
    pub(super) locked_flags: MountFlags,
    /// A first `MNT_EXPIRE` has found it idle.
    pub(super) expiring: bool,
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) peers: Vec<MountId>,
    pub(super) slaves: Vec<MountId>,
}

/// How a copy of a mount relates to the original.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyKind {
    /// A peer where the original is shared, a slave of the same master where it is a slave.
    Same,
    /// A slave where the original is shared (new user namespace).
    SharedToSlave,
    /// A slave of the original's group, in a new group of its own if `shared`.
    Slave { shared: bool },
}

/// Which part of a tree is copied.
#[derive(Clone, Copy)]
pub(super) struct CopyScope {
    pub(super) recursive: bool,
    /// Also mounts that cannot be bound.
    pub(super) unbindable: bool,
    pub(super) kind: CopyKind,
}

/// The tree.
#[derive(Default)]
pub(super) struct Topology {
    pub(super) nodes: HashMap<MountId, Node>,
    pub(super) groups: HashMap<GroupId, Group>,
    next_group: GroupId,
    /// Most mounts of a namespace.
    pub(super) max: usize,
    /// Mounts per namespace.
    pub(super) counts: HashMap<NamespaceId, usize>,
}

impl Topology {
    pub(super) fn node(&self, id: MountId) -> Result<&Node> {
        self.nodes.get(&id).ok_or(Errno::EINVAL)
    }

    pub(super) fn node_mut(&mut self, id: MountId) -> Result<&mut Node> {
        self.nodes.get_mut(&id).ok_or(Errno::EINVAL)
    }

    /// Adds a mount that is attached nowhere.
    pub(super) fn add(&mut self, mount: &Arc<Mount>) -> MountId {
        let id = mount.unique_id();
        self.nodes.entry(id).or_insert_with(|| Node {
            mount: Arc::clone(mount),
            namespace: 0,
            parent: None,
            children: Vec::new(),
            shared: 0,
            master: 0,
            unbindable: false,
            locked: false,
            locked_flags: MountFlags::empty(),
            expiring: false,
        });
        id
    }

    /// Fails where a namespace would get too many mounts.
    pub(super) fn check_room(&self, namespace: NamespaceId, more: usize) -> Result<()> {
        let count = self.counts.get(&namespace).copied().unwrap_or(0);
        if count + more > self.max { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// The mount and everything on it, parents first.
    pub(super) fn subtree(&self, id: MountId) -> Vec<MountId> {
        let mut found = vec![id];
        let mut at = 0;
        while let Some(id) = found.get(at).copied() {
            if let Some(node) = self.nodes.get(&id) {
                found.extend_from_slice(&node.children);
            }
            at += 1;
        }
        found
    }

    /// Puts a tree into a namespace.
    pub(super) fn set_namespace(&mut self, id: MountId, namespace: NamespaceId) {
        for id in self.subtree(id) {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            let old = core::mem::replace(&mut node.namespace, namespace);
            if let Some(count) = self.counts.get_mut(&old) {
                *count = count.saturating_sub(1);
            }
            if namespace != 0 {
                *self.counts.entry(namespace).or_default() += 1;
            }
        }
    }

    /// Mounts a tree on a dentry of another mount. What is mounted there already comes to be on the new tree's
    /// root.
    pub(super) fn attach(
        &mut self,
        id: MountId,
        parent: MountId,
        dentry: &Arc<Dentry>,
        crossings: &mut Crossings,
        released: &mut Released,
    ) -> Result<()> {
        let under =
            crossings.get(&(parent, Arc::as_ptr(dentry).addr())).map(|mount| mount.unique_id());
        if let Some(under) = under {
            self.unlink(under, crossings, released);
        }
        self.link(id, parent, dentry, crossings, released)?;
        let namespace = self.node(parent)?.namespace;
        self.set_namespace(id, namespace);
        released.changed.push(namespace);
        if let Some(under) = under {
            let root = Arc::clone(self.node(id)?.mount.root());
            self.link(under, id, &root, crossings, released)?;
        }
        Ok(())
    }

    fn link(
        &mut self,
        id: MountId,
        parent: MountId,
        dentry: &Arc<Dentry>,
        crossings: &mut Crossings,
        released: &mut Released,
    ) -> Result<()> {
        let on = Arc::clone(&self.node(parent)?.mount);
        let node = self.node_mut(id)?;
        node.parent = Some(parent);
        let mount = Arc::clone(&node.mount);
        dentry.add_mount();
        released.paths.extend(mount.set_place(Some(Path::new(on, Arc::clone(dentry)))));
        released.mounts.extend(crossings.insert((parent, Arc::as_ptr(dentry).addr()), mount));
        self.node_mut(parent)?.children.push(id);
        Ok(())
    }

    /// Takes a mount (with what is on it) off its place.
    pub(super) fn unlink(
        &mut self,
        id: MountId,
        crossings: &mut Crossings,
        released: &mut Released,
    ) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let parent = node.parent.take();
        let place = node.mount.set_place(None);
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children.retain(|child| *child != id);
        }
        if let Some(place) = place {
            place.dentry().remove_mount();
            let key = (place.mount().unique_id(), Arc::as_ptr(place.dentry()).addr());
            released.mounts.extend(crossings.remove(&key));
            released.paths.push(place);
        }
    }

    /// Takes a whole tree apart.
    pub(super) fn remove_tree(
        &mut self,
        id: MountId,
        crossings: &mut Crossings,
        released: &mut Released,
    ) {
        let tree = self.subtree(id);
        for id in tree.into_iter().rev() {
            self.unlink(id, crossings, released);
            self.leave_group(id);
            self.leave_master(id);
            if let Some(node) = self.nodes.remove(&id) {
                if let Some(count) = self.counts.get_mut(&node.namespace) {
                    *count = count.saturating_sub(1);
                }
                released.changed.push(node.namespace);
                released.mounts.push(node.mount);
            }
        }
    }

    /// A new peer group.
    pub(super) fn new_group(&mut self) -> GroupId {
        self.next_group += 1;
        self.next_group
    }

    pub(super) fn join_group(&mut self, id: MountId, group: GroupId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.shared = group;
            node.unbindable = false;
            self.groups.entry(group).or_default().peers.push(id);
        }
    }

    /// Leaves the peer group. The last one hands its slaves to its own master. The group that was left, if it
    /// lives on.
    pub(super) fn leave_group(&mut self, id: MountId) -> Option<GroupId> {
        let node = self.nodes.get_mut(&id)?;
        let group_id = core::mem::take(&mut node.shared);
        let master = node.master;
        let group = self.groups.get_mut(&group_id)?;
        group.peers.retain(|peer| *peer != id);
        if !group.peers.is_empty() {
            return Some(group_id);
        }
        let slaves = self.groups.remove(&group_id).map(|group| group.slaves).unwrap_or_default();
        for slave in slaves {
            if let Some(node) = self.nodes.get_mut(&slave) {
                node.master = master;
                if let Some(group) = self.groups.get_mut(&master) {
                    group.slaves.push(slave);
                }
            }
        }
        None
    }

    pub(super) fn join_master(&mut self, id: MountId, master: GroupId) {
        if let Some(node) = self.nodes.get_mut(&id)
            && master != 0
        {
            node.master = master;
            self.groups.entry(master).or_default().slaves.push(id);
        }
    }

    pub(super) fn leave_master(&mut self, id: MountId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let master = core::mem::take(&mut node.master);
        if let Some(group) = self.groups.get_mut(&master) {
            group.slaves.retain(|slave| *slave != id);
        }
    }

    /// Copies one mount, with `root` as what it shows.
    fn copy_one(&mut self, id: MountId, root: &Arc<Dentry>, kind: CopyKind) -> Result<MountId> {
        let node = self.node(id)?;
        let (shared, master, locked_flags) = (node.shared, node.master, node.locked_flags);
        let old = &node.mount;
        let mount = Mount::build(
            old.system(),
            old.super_block(),
            Arc::clone(old.tree()),
            Arc::clone(root),
            old.flags(),
            old.source().to_vec(),
        );
        let copy = self.add(&mount);
        self.node_mut(copy)?.locked_flags = locked_flags;
        match kind {
            CopyKind::Same => {
                if shared != 0 {
                    self.join_group(copy, shared);
                }
                self.join_master(copy, master);
            }
            CopyKind::SharedToSlave => {
                self.join_master(copy, if shared != 0 { shared } else { master });
            }
            CopyKind::Slave { shared: own } => {
                self.join_master(copy, if shared != 0 { shared } else { master });
                if own {
                    let group = self.new_group();
                    self.join_group(copy, group);
                }
            }
        }
        Ok(copy)
    }

    /// Copies a mount, and what is on it below `root` if the scope says so. The copies are attached nowhere;
    /// `copies` maps originals to them.
    pub(super) fn copy_tree(
        &mut self,
        id: MountId,
        root: &Arc<Dentry>,
        scope: CopyScope,
        crossings: &mut Crossings,
        released: &mut Released,
        copies: &mut HashMap<MountId, MountId>,
    ) -> Result<MountId> {
        if self.node(id)?.unbindable && !scope.unbindable {
            return Err(Errno::EINVAL);
        }
        let top = self.copy_one(id, root, scope.kind)?;
        copies.insert(id, top);
        if !scope.recursive {
            return Ok(top);
        }
        for original in self.subtree(id).into_iter().skip(1) {
            let node = self.node(original)?;
            let Some(parent) = node.parent.and_then(|parent| copies.get(&parent).copied()) else {
                continue;
            };
            let Some(place) = node.mount.mount_point() else { continue };
            let outside = node.parent == Some(id) && !place.dentry().is_below(root);
            if outside || (node.unbindable && !scope.unbindable) {
                continue;
            }
            let (shown, locked, unbindable) =
                (Arc::clone(node.mount.root()), node.locked, node.unbindable);
            let copy = self.copy_one(original, &shown, scope.kind)?;
            let node = self.node_mut(copy)?;
            node.locked = locked;
            node.unbindable = unbindable;
            copies.insert(original, copy);
            self.link(copy, parent, place.dentry(), crossings, released)?;
        }
        Ok(top)
    }

    /// Whether `id` is `ancestor` or mounted somewhere on it.
    pub(super) fn is_on(&self, id: MountId, ancestor: MountId) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            at = self.nodes.get(&id).and_then(|node| node.parent);
        }
        false
    }
}
