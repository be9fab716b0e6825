//! Propagation: what happens on a shared mount happens on its peers and their slaves too.

use std::sync::Arc;

use chitin_abi::Result;
use hashbrown::HashMap;

use super::topology::{CopyKind, CopyScope, GroupId, MountId, Released, Topology};
use super::{Crossings, Propagation};
use crate::dentry::Dentry;

impl Topology {
    /// Mounts a tree at a place and at all places that the place propagates to.
    pub(super) fn attach_propagated(
        &mut self,
        id: MountId,
        parent: MountId,
        dentry: &Arc<Dentry>,
        crossings: &mut Crossings,
        released: &mut Released,
    ) -> Result<()> {
        let group = self.node(parent)?.shared;
        if group != 0 {
            for id in self.subtree(id) {
                if self.node(id)?.shared == 0 {
                    let fresh = self.new_group();
                    self.join_group(id, fresh);
                }
            }
            let mut copies = Vec::new();
            let spread = self.spread((group, id, parent), dentry, crossings, released, &mut copies);
            if let Err(error) = spread {
                for copy in copies {
                    self.remove_tree(copy, crossings, released);
                }
                return Err(error);
            }
        }
        self.attach(id, parent, dentry, crossings, released)
    }

    /// Copies a tree to the peers of a group but for one that is done otherwise, and to their slaves: `start` is
    /// group, tree and that one. What was made is added to `copies`.
    fn spread(
        &mut self,
        start: (GroupId, MountId, MountId),
        dentry: &Arc<Dentry>,
        crossings: &mut Crossings,
        released: &mut Released,
        copies: &mut Vec<MountId>,
    ) -> Result<()> {
        // A list of work instead of a recursion: chains of slaves are as long as guests make them.
        let mut work = vec![start];
        while let Some((group, tree, done)) = work.pop() {
            let Some(members) = self.groups.get(&group) else { continue };
            let (peers, slaves) = (members.peers.clone(), members.slaves.clone());
            for peer in peers.into_iter().filter(|peer| *peer != done) {
                let copy = self.copy_to(tree, peer, CopyKind::Same, dentry, crossings, released)?;
                copies.extend(copy);
            }
            let mut seen = Vec::new();
            for slave in slaves {
                let own = self.node(slave)?.shared;
                if own == 0 {
                    let kind = CopyKind::Slave { shared: false };
                    copies.extend(self.copy_to(tree, slave, kind, dentry, crossings, released)?);
                } else if !seen.contains(&own) {
                    let kind = CopyKind::Slave { shared: true };
                    if let Some(copy) =
                        self.copy_to(tree, slave, kind, dentry, crossings, released)?
                    {
                        seen.push(own);
                        copies.push(copy);
                        work.push((own, copy, slave));
                    }
                }
            }
        }
        Ok(())
    }

    fn copy_to(
        &mut self,
        tree: MountId,
        target: MountId,
        kind: CopyKind,
        dentry: &Arc<Dentry>,
        crossings: &mut Crossings,
        released: &mut Released,
    ) -> Result<Option<MountId>> {
        if !dentry.is_below(self.node(target)?.mount.root()) {
            return Ok(None);
        }
        self.check_room(self.node(target)?.namespace, self.subtree(tree).len())?;
        let root = Arc::clone(self.node(tree)?.mount.root());
        let scope = CopyScope { recursive: true, unbindable: true, kind };
        let copy = self.copy_tree(tree, &root, scope, crossings, released, &mut HashMap::new())?;
        self.attach(copy, target, dentry, crossings, released)?;
        Ok(Some(copy))
    }

    /// All mounts that a mount propagates to, without itself.
    pub(super) fn reached_from(&self, id: MountId) -> Vec<MountId> {
        let Some(node) = self.nodes.get(&id) else { return Vec::new() };
        let mut reached = Vec::new();
        let mut groups = vec![node.shared];
        let mut seen: Vec<GroupId> = Vec::new();
        while let Some(group) = groups.pop() {
            if group == 0 || seen.contains(&group) {
                continue;
            }
            seen.push(group);
            let Some(members) = self.groups.get(&group) else { continue };
            reached
                .extend(members.peers.iter().chain(&members.slaves).filter(|other| **other != id));
            groups.extend(
                members
                    .slaves
                    .iter()
                    .filter_map(|slave| self.nodes.get(slave))
                    .map(|node| node.shared),
            );
        }
        reached.sort_unstable();
        reached.dedup();
        reached
    }

    /// The mounts that an unmount of `id` takes along elsewhere: what was propagated from the same place and
    /// has nothing on it.
    pub(super) fn propagated_copies(&self, id: MountId, crossings: &Crossings) -> Vec<MountId> {
        let Some(node) = self.nodes.get(&id) else { return Vec::new() };
        let (Some(parent), Some(place)) = (node.parent, node.mount.mount_point()) else {
            return Vec::new();
        };
        let at = Arc::as_ptr(place.dentry()).addr();
        self.reached_from(parent)
            .into_iter()
            .filter_map(|other| crossings.get(&(other, at)).map(|mount| mount.unique_id()))
            .filter(|copy| {
                *copy != id && self.nodes.get(copy).is_some_and(|node| node.children.is_empty())
            })
            .collect()
    }

    /// Changes how one mount propagates.
    pub(super) fn change_propagation(&mut self, id: MountId, kind: Propagation) -> Result<()> {
        if kind == Propagation::Shared {
            if self.node(id)?.shared == 0 {
                let group = self.new_group();
                self.join_group(id, group);
            }
            return Ok(());
        }
        if self.node(id)?.shared != 0 {
            // Leaving a group that lives on makes a slave of it.
            if let Some(group) = self.leave_group(id) {
                self.leave_master(id);
                self.join_master(id, group);
            }
        }
        if kind != Propagation::Slave {
            self.leave_master(id);
        }
        self.node_mut(id)?.unbindable = kind == Propagation::Unbindable;
        Ok(())
    }

    /// The nearest group that dominates `id` and has a member in the namespace.
    pub(super) fn dominating_group(&self, id: MountId, namespace: u64) -> GroupId {
        let mut master = self.nodes.get(&id).map_or(0, |node| node.master);
        let mut steps = 0;
        while let Some(group) = self.groups.get(&master) {
            let members: Vec<_> =
                group.peers.iter().filter_map(|peer| self.nodes.get(peer)).collect();
            if members.iter().any(|node| node.namespace == namespace) {
                return master;
            }
            master = members.first().map_or(0, |node| node.master);
            steps += 1;
            if steps > 1000 {
                break;
            }
        }
        0
    }
}
