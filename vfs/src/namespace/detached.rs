//! Mounts that are attached nowhere: what `fsmount(2)` and `open_tree(2)` return.

use core::any::Any;
use std::sync::Arc;

use crate::file::File;
use crate::path::Path;

/// The file of a descriptor that keeps a mount which is attached nowhere. When it goes, so does the mount, if
/// it was not attached by then.
pub struct DetachedFile {
    root: Path,
}

impl DetachedFile {
    /// A file that keeps the tree of mounts with this root.
    pub fn new(root: Path) -> Arc<Self> {
        Arc::new(Self { root })
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl File for DetachedFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for DetachedFile {
    fn drop(&mut self) {
        let id = self.root.mount().unique_id();
        let _ = self.root.mount().system().change(|topology, crossings, released| {
            let loose = topology
                .nodes
                .get(&id)
                .is_some_and(|node| node.namespace == 0 && node.parent.is_none());
            if loose {
                topology.remove_tree(id, crossings, released);
            }
            Ok(())
        });
    }
}
