//! `pivot_root(2)`.

use chitin_abi::{Errno, Result};
use std::sync::Arc;

use super::MountNamespace;
use crate::path::Path;

impl MountNamespace {
    /// `pivot_root(2)`: makes the mount at `new_root` the root and moves the old one to `put_old`. `old_root` is the
    /// caller's root. The caller then moves roots and working directories of tasks from `old_root` to `new_root`.
    ///
    /// # Errors
    /// EBUSY, EINVAL, ENOTDIR, ENOENT.
    pub fn pivot_root(&self, new_root: &Path, put_old: &Path, old_root: &Path) -> Result<()> {
        if !new_root.dentry().is_dir() || !put_old.dentry().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.system.change(|topology, crossings, released| {
            let (new, root, old) = (
                new_root.mount().unique_id(),
                old_root.mount().unique_id(),
                put_old.mount().unique_id(),
            );
            for id in [new, root, old] {
                if topology.node(id)?.namespace != self.id {
                    return Err(Errno::EINVAL);
                }
            }
            let (Some(new_parent), Some(root_parent)) =
                (topology.node(new)?.parent, topology.node(root)?.parent)
            else {
                return Err(Errno::EINVAL);
            };
            for id in [old, new_parent, root_parent] {
                if topology.node(id)?.shared != 0 {
                    return Err(Errno::EINVAL);
                }
            }
            if topology.node(new)?.locked {
                return Err(Errno::EINVAL);
            }
            if new_root.dentry().is_unlinked() {
                return Err(Errno::ENOENT);
            }
            if new == root || old == root {
                return Err(Errno::EBUSY);
            }
            if !old_root.is_mount_root()
                || !new_root.is_mount_root()
                || !put_old.is_below(new_root)
                || !new_root.is_below(old_root)
            {
                return Err(Errno::EINVAL);
            }
            let place = old_root.mount().mount_point().ok_or(Errno::EINVAL)?;
            let locked = core::mem::take(&mut topology.node_mut(root)?.locked);
            topology.node_mut(new)?.locked = locked;
            topology.unlink(new, crossings, released);
            topology.unlink(root, crossings, released);
            topology.attach(root, old, put_old.dentry(), crossings, released)?;
            topology.attach(
                new,
                place.mount().unique_id(),
                &Arc::clone(place.dentry()),
                crossings,
                released,
            )
        })
    }
}
