//! `mqueue`: POSIX message queues as files (`mq_overview(7)`). Queues are listed, read (their state), changed and
//! removed here; they are made by `mq_open(2)` only.

use std::sync::{Arc, OnceLock, Weak};

use chitin_abi::fs::DT_REG;
use chitin_abi::{Errno, Result};
use chitin_vfs::file::File;
use chitin_vfs::fs::pseudo::{DirSink, DynamicDir, Listed, Node, PseudoFs, Style};
use chitin_vfs::fs_type::FsType;
use chitin_vfs::inode::Inode;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::Walk;

use crate::ipc::mqueue::{MqFile, Names, Queue};
use crate::kernel::Kernel;
use crate::proc::reader;

/// `f_type`.
const MAGIC: u32 = 0x1980_0202;
/// `st_size` of a queue.
const FILE_SIZE: u64 = 80;

/// The type `mqueue` for `mount(2)`.
pub struct MqueueType {
    kernel: Weak<Kernel>,
}

impl MqueueType {
    /// The type for a kernel.
    pub fn new(kernel: &Weak<Kernel>) -> Self {
        Self { kernel: Weak::clone(kernel) }
    }
}

impl FsType for MqueueType {
    fn name(&self) -> &str {
        "mqueue"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn mount(
        &self,
        _source: &[u8],
        _options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let names = match reader(walk.env) {
            Some(task) => OnceLock::from(Arc::clone(&task.namespaces().ipc.mqueues)),
            None => OnceLock::new(),
        };
        let names = Arc::new(names);
        let queues = Queues { names: Arc::clone(&names) };
        let mut style = Style::other("mqueue", MAGIC);
        style.changeable = true;
        let mounted = PseudoFs::mount(style, Node::dir(0o1777, queues).numbered(1));
        if names.get().is_none() {
            let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
            kernel.unbound.add(mounted.0.dev, move |namespaces, _| {
                let _ = names.set(Arc::clone(&namespaces.ipc.mqueues));
            });
        }
        Ok(mounted)
    }
}

/// The queues of a namespace.
struct Queues {
    /// Set later for a mount that was made before there were processes.
    names: Arc<OnceLock<Arc<Names>>>,
}

impl Queues {
    fn names(&self) -> Result<&Arc<Names>> {
        self.names.get().ok_or(Errno::ENOENT)
    }
}

fn node(name: &[u8], queue: &Arc<Queue>) -> Node {
    let file = Arc::new(MqFile { queue: Arc::clone(queue), name: name.to_vec() });
    let (owner, mode) = (Arc::clone(&file), Arc::clone(&file));
    let attr = |file: &MqFile| file.attr().ok().flatten();
    Node::custom(0o600, move |_, _| Ok(Arc::clone(&file) as Arc<dyn File>))
        .owned_by_now(move || attr(&owner).map_or((0, 0), |attr| (attr.uid, attr.gid)))
        .mode_now(move || attr(&mode).map_or(0, |attr| attr.mode & 0o7777))
        .sized(FILE_SIZE)
}

impl DynamicDir for Queues {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        Ok(self.names()?.find(name).map(|queue| node(name, &queue)))
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        for (index, (name, _)) in self.names()?.all().iter().enumerate() {
            let next = index as u64 + 1;
            if next > cursor && !emit(Listed { name, kind: DT_REG, ino: None, next }) {
                break;
            }
        }
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.names()?.unlink(name).map(drop)
    }
}
