//! Mounts that are made before their container has processes: whose namespaces they show is told when it starts.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::namespace::{Namespaces, PidNamespace};

/// Tells a mount's file system of the container's namespaces.
type Bind = Box<dyn FnOnce(&Namespaces, &Arc<PidNamespace>) + Send>;

/// Such mounts, by the device numbers of their file systems.
#[derive(Default)]
pub struct Unbound {
    waiting: Mutex<Vec<(u64, Bind)>>,
}

impl Unbound {
    /// Has `bind` called when a container starts that has the file system `dev` mounted.
    pub fn add(
        &self,
        dev: u64,
        bind: impl FnOnce(&Namespaces, &Arc<PidNamespace>) + Send + 'static,
    ) {
        self.waiting.lock().push((dev, Box::new(bind)));
    }

    /// A container starts with these namespaces.
    pub fn bind(&self, namespaces: &Namespaces, pid_ns: &Arc<PidNamespace>) {
        let mounts = namespaces.mount.mounts(&namespaces.mount.root());
        let mounted =
            |dev: u64| mounts.iter().any(|info| info.mount.mount().super_block().dev == dev);
        let (own, others): (Vec<_>, Vec<_>) = core::mem::take(&mut *self.waiting.lock())
            .into_iter()
            .partition(|(dev, _)| mounted(*dev));
        self.waiting.lock().extend(others);
        for (_, bind) in own {
            bind(namespaces, pid_ns);
        }
    }
}
