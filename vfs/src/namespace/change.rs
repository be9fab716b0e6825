//! Mounting, binding, moving, unmounting, changing flags.

use std::sync::Arc;

use chitin_abi::fs::{MNT_DETACH, MNT_EXPIRE, MNT_FORCE};
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;

use super::topology::{CopyKind, CopyScope, MountId, Released, Topology};
use super::{Crossings, MountNamespace, Propagation};
use crate::mount::{MountFlags, NewMount};
use crate::path::Path;

/// References to an idle mount: the tree's, the crossing's, and the caller's path.
const IDLE_REFERENCES: usize = 3;

impl Topology {
    /// A new user namespace cannot take the tree apart: what is mounted stays where it is, and flags stay set.
    pub(super) fn lock_tree(&mut self, top: MountId) -> Result<()> {
        for id in self.subtree(top) {
            let node = self.node_mut(id)?;
            node.locked = id != top;
            let flags = node.mount.flags();
            node.locked_flags = flags
                & (MountFlags::READ_ONLY
                    | MountFlags::NO_SUID
                    | MountFlags::NO_DEV
                    | MountFlags::NO_EXEC);
        }
        Ok(())
    }
}

/// Where something is mounted: the mount and, looked at under the lock, the path itself or what covers it.
struct Target {
    id: MountId,
    path: Path,
}

impl MountNamespace {
    /// The place to mount on: the top of what is mounted at `at`.
    fn target(
        &self,
        topology: &Topology,
        crossings: &Crossings,
        at: &Path,
        is_dir: bool,
    ) -> Result<Target> {
        let mut path = at.clone();
        while let Some(mount) =
            crossings.get(&(path.mount().unique_id(), Arc::as_ptr(path.dentry()).addr()))
        {
            path = mount.root_path();
        }
        let id = path.mount().unique_id();
        if topology.node(id)?.namespace != self.id {
            return Err(Errno::EINVAL);
        }
        if path.dentry().is_unlinked() {
            return Err(Errno::ENOENT);
        }
        if path.dentry().is_dir() != is_dir {
            return Err(Errno::ENOTDIR);
        }
        Ok(Target { id, path })
    }

    /// The mount whose root is `at`.
    fn root_of(&self, topology: &Topology, at: &Path) -> Result<MountId> {
        let id = at.mount().unique_id();
        if !at.is_mount_root() || topology.node(id)?.namespace != self.id {
            return Err(Errno::EINVAL);
        }
        Ok(id)
    }

    /// Mounts something new on `at` and returns its root.
    ///
    /// # Errors
    /// ENOTDIR and the like for a directory on a file, EINVAL for a path of another namespace, ENOENT for one
    /// that has been removed, EBUSY for the same again, ENOSPC for too many mounts.
    pub fn mount(&self, at: &Path, new: NewMount) -> Result<Path> {
        let root = self.system.detached(&new);
        self.system.change(|topology, crossings, released| {
            let target = self.target(topology, crossings, at, root.dentry().is_dir())?;
            if target.path.is_mount_root()
                && Arc::ptr_eq(target.path.mount().super_block(), &new.super_block)
            {
                return Err(Errno::EBUSY);
            }
            topology.check_room(self.id, 1)?;
            let id = topology.add(root.mount());
            self.attach_or_remove(topology, id, &target, crossings, released)
        })?;
        Ok(root)
    }

    fn attach_or_remove(
        &self,
        topology: &mut Topology,
        id: MountId,
        target: &Target,
        crossings: &mut Crossings,
        released: &mut Released,
    ) -> Result<()> {
        let result =
            topology.attach_propagated(id, target.id, target.path.dentry(), crossings, released);
        if result.is_err() {
            topology.remove_tree(id, crossings, released);
        }
        result
    }

    /// Mounts `from` a second time at `at`.
    ///
    /// # Errors
    /// EINVAL for something unbindable or locked, and as [`MountNamespace::mount`].
    pub fn bind(&self, from: &Path, at: &Path, recursive: bool) -> Result<Path> {
        self.system.change(|topology, crossings, released| {
            let target = self.target(topology, crossings, at, from.dentry().is_dir())?;
            let id = self.copy_for_bind(topology, from, recursive, crossings, released)?;
            let size = topology.subtree(id).len();
            if let Err(error) = topology.check_room(self.id, size) {
                topology.remove_tree(id, crossings, released);
                return Err(error);
            }
            let root = topology.node(id)?.mount.root_path();
            self.attach_or_remove(topology, id, &target, crossings, released)?;
            Ok(root)
        })
    }

    fn copy_for_bind(
        &self,
        topology: &mut Topology,
        from: &Path,
        recursive: bool,
        crossings: &mut Crossings,
        released: &mut Released,
    ) -> Result<MountId> {
        let id = from.mount().unique_id();
        // A mount without a node is attached nowhere and has nothing on it (`fsmount`).
        let id = if topology.nodes.contains_key(&id) { id } else { topology.add(from.mount()) };
        let node = topology.node(id)?;
        if node.namespace != self.id && node.namespace != 0 {
            return Err(Errno::EINVAL);
        }
        if !recursive && Self::has_locked_children(topology, id, from) {
            return Err(Errno::EINVAL);
        }
        let scope = CopyScope { recursive, unbindable: false, kind: CopyKind::Same };
        let copy = topology.copy_tree(
            id,
            from.dentry(),
            scope,
            crossings,
            released,
            &mut HashMap::new(),
        )?;
        topology.node_mut(copy)?.locked = false;
        Ok(copy)
    }

    fn has_locked_children(topology: &Topology, id: MountId, from: &Path) -> bool {
        topology.nodes.get(&id).is_some_and(|node| {
            node.children.iter().filter_map(|child| topology.nodes.get(child)).any(|child| {
                let place = child.mount.mount_point();
                child.locked && place.is_some_and(|place| place.dentry().is_below(from.dentry()))
            })
        })
    }

    /// A copy of a mount (or tree of them) that is attached nowhere (`OPEN_TREE_CLONE`), to be kept by a
    /// [`super::DetachedFile`].
    ///
    /// # Errors
    /// As [`MountNamespace::bind`].
    pub fn clone_tree(&self, from: &Path, recursive: bool) -> Result<Path> {
        self.system.change(|topology, crossings, released| {
            let id = self.copy_for_bind(topology, from, recursive, crossings, released)?;
            Ok(topology.node(id)?.mount.root_path())
        })
    }

    /// Moves the mount whose root is `from` (also one that is attached nowhere) to `at`.
    ///
    /// # Errors
    /// EINVAL where `from` is no mount's root, is locked or shared above, ELOOP into itself.
    pub fn move_mount(&self, from: &Path, at: &Path) -> Result<()> {
        if !from.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        self.system.change(|topology, crossings, released| {
            let id = topology.add(from.mount());
            let target = match self.target(topology, crossings, at, from.dentry().is_dir()) {
                Err(Errno::ENOTDIR) => return Err(Errno::EINVAL),
                target => target?,
            };
            let node = topology.node(id)?;
            let attached = node.parent.is_some();
            if (node.namespace != self.id && node.namespace != 0)
                || node.locked
                || (node.namespace != 0 && !attached)
            {
                return Err(Errno::EINVAL);
            }
            if let Some(parent) = node.parent
                && topology.node(parent)?.shared != 0
            {
                return Err(Errno::EINVAL);
            }
            let shared = topology.node(target.id)?.shared != 0;
            if shared
                && topology
                    .subtree(id)
                    .iter()
                    .any(|id| topology.nodes.get(id).is_some_and(|node| node.unbindable))
            {
                return Err(Errno::EINVAL);
            }
            if topology.is_on(target.id, id) {
                return Err(Errno::ELOOP);
            }
            if !attached {
                topology.check_room(self.id, topology.subtree(id).len())?;
            }
            let old = topology.node(id)?.parent.zip(from.mount().mount_point());
            topology.unlink(id, crossings, released);
            let moved = topology.attach_propagated(
                id,
                target.id,
                target.path.dentry(),
                crossings,
                released,
            );
            if let (Err(_), Some((parent, place))) = (&moved, old) {
                topology.attach(id, parent, place.dentry(), crossings, released)?;
            }
            moved
        })
    }

    /// `umount2(2)` with `MNT_…` flags. `at` is the only path of the caller that may be on the mount.
    ///
    /// # Errors
    /// EINVAL for what is no mount's root, EBUSY while in use, EAGAIN on the first `MNT_EXPIRE`.
    pub fn unmount(&self, at: &Path, flags: u32) -> Result<()> {
        self.system.change(|topology, crossings, released| {
            let id = self.root_of(topology, at)?;
            let node = topology.node(id)?;
            if node.locked || node.parent.is_none() {
                return Err(Errno::EINVAL);
            }
            let copies = topology.propagated_copies(id, crossings);
            if flags & MNT_EXPIRE != 0 {
                if flags & (MNT_FORCE | MNT_DETACH) != 0 {
                    return Err(Errno::EINVAL);
                }
                Self::check_idle(topology, id, &copies)?;
                if !core::mem::replace(&mut topology.node_mut(id)?.expiring, true) {
                    return Err(Errno::EAGAIN);
                }
            } else if flags & MNT_DETACH == 0 {
                Self::check_idle(topology, id, &copies)?;
            }
            for copy in copies {
                topology.remove_tree(copy, crossings, released);
            }
            topology.remove_tree(id, crossings, released);
            Ok(())
        })
    }

    /// Fails where a mount has something on it or is used by somebody.
    fn check_idle(topology: &Topology, id: MountId, copies: &[MountId]) -> Result<()> {
        let node = topology.node(id)?;
        if !node.children.is_empty() || Arc::strong_count(&node.mount) > IDLE_REFERENCES {
            return Err(Errno::EBUSY);
        }
        for copy in copies {
            if Arc::strong_count(&topology.node(*copy)?.mount) >= IDLE_REFERENCES {
                return Err(Errno::EBUSY);
            }
        }
        Ok(())
    }

    /// Changes the flags of the mount whose root is `at`: `set` after `clear`; in all on it if `recursive`.
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
        self.system.change(|topology, _, released| {
            // A mount that is attached nowhere may be changed too.
            let id = at.mount().unique_id();
            let id = if topology.nodes.contains_key(&id) { id } else { topology.add(at.mount()) };
            let namespace = topology.node(id)?.namespace;
            if !at.is_mount_root() || (namespace != self.id && namespace != 0) {
                return Err(Errno::EINVAL);
            }
            let tree = if recursive { topology.subtree(id) } else { vec![id] };
            for id in &tree {
                let node = topology.node(*id)?;
                let new = (node.mount.flags() & !clear) | set;
                if !new.contains(node.locked_flags) {
                    return Err(Errno::EPERM);
                }
                let becomes_read_only = new.contains(MountFlags::READ_ONLY)
                    && !node.mount.flags().contains(MountFlags::READ_ONLY);
                if becomes_read_only && node.mount.has_writers() {
                    return Err(Errno::EBUSY);
                }
            }
            for id in tree {
                let mount = &topology.node(id)?.mount;
                mount.set_flags((mount.flags() & !clear) | set);
            }
            released.changed.push(namespace);
            Ok(())
        })
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
        let super_block = Arc::clone(at.mount().super_block());
        self.system.change(|topology, _, _| {
            let id = self.root_of(topology, at)?;
            if !flags.contains(topology.node(id)?.locked_flags) {
                return Err(Errno::EPERM);
            }
            let in_use = topology.nodes.values().any(|node| {
                Arc::ptr_eq(node.mount.super_block(), &super_block) && node.mount.has_writers()
            });
            if read_only && !super_block.is_read_only() && in_use {
                Err(Errno::EBUSY)
            } else {
                Ok(())
            }
        })?;
        super_block.fs().remount(options)?;
        super_block.set_read_only(read_only);
        self.system.change(|topology, _, released| {
            topology.node(at.mount().unique_id())?.mount.set_flags(flags);
            released.changed.push(self.id);
            Ok(())
        })
    }

    /// Changes how a mount propagates; all on it too if `recursive`.
    ///
    /// # Errors
    /// EINVAL for what is no mount's root.
    pub fn set_propagation(&self, at: &Path, kind: Propagation, recursive: bool) -> Result<()> {
        self.system.change(|topology, _, released| {
            let id = self.root_of(topology, at)?;
            let tree = if recursive { topology.subtree(id) } else { vec![id] };
            for id in tree {
                topology.change_propagation(id, kind)?;
            }
            released.changed.push(self.id);
            Ok(())
        })
    }
}
