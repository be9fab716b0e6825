//! The root directory of a devpts.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{DT_CHR, DT_DIR, OpenFlags, S_IFDIR};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::DevPts;
use super::node::{PTMX_INO, PtmxNode, apply, new_attr, slave_ino};
use crate::attr::{Attr, SetAttr};
use crate::env::VfsEnv;
use crate::file::{DirEntry, File};
use crate::inode::Inode;
use crate::inode_state::InodeState;
use crate::io::Sink;
use crate::super_block::SuperBlock;

const ROOT_INO: u64 = 1;

/// The root.
pub(super) struct Root {
    fs: Arc<DevPts>,
    super_block: Arc<SuperBlock>,
    ptmx: Arc<PtmxNode>,
    state: InodeState,
    attr: Mutex<Attr>,
}

impl Root {
    pub fn new(
        fs: &Arc<DevPts>,
        super_block: &Arc<SuperBlock>,
        ptmx: Arc<PtmxNode>,
        now: Timespec,
    ) -> Arc<Self> {
        let mut attr = new_attr(super_block.dev, ROOT_INO, S_IFDIR | 0o755, now);
        attr.nlink = 2;
        Arc::new(Self {
            fs: Arc::clone(fs),
            super_block: Arc::clone(super_block),
            ptmx,
            state: InodeState::default(),
            attr: Mutex::new(attr),
        })
    }

    pub fn fs(&self) -> Arc<DevPts> {
        Arc::clone(&self.fs)
    }
}

/// The number that a name is the decimal form of, without leading zeros.
fn parse_index(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let index: u32 = text.parse().ok()?;
    (index.to_string() == text).then_some(index)
}

impl Inode for Root {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn super_block(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }

    fn state(&self) -> &InodeState {
        &self.state
    }

    fn attr(&self) -> Result<Attr> {
        Ok(*self.attr.lock())
    }

    fn set_attr(&self, change: &SetAttr, now: Timespec) -> Result<()> {
        apply(&self.attr, change, now);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if name == b"ptmx" {
            return Ok(Arc::clone(&self.ptmx) as Arc<dyn Inode>);
        }
        let index = parse_index(name).ok_or(Errno::ENOENT)?;
        let node = self.fs.slaves.lock().get(&index).cloned();
        Ok(node.ok_or(Errno::ENOENT)?)
    }

    fn caches_entries(&self) -> bool {
        false
    }

    fn open(self: Arc<Self>, _flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        Ok(Arc::new(OpenRoot { fs: Arc::clone(&self.fs) }))
    }
}

struct OpenRoot {
    fs: Arc<DevPts>,
}

/// Positions: 1 is behind `.`, 2 behind `..`, 3 behind `ptmx`, n + 4 behind slave n.
impl File for OpenRoot {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let fixed: [(&[u8], u64, u8); 3] =
            [(b".", ROOT_INO, DT_DIR), (b"..", ROOT_INO, DT_DIR), (b"ptmx", PTMX_INO, DT_CHR)];
        for (next, (name, ino, kind)) in (1..).zip(fixed).filter(|(next, _)| *next > position) {
            if !emit(DirEntry { name, ino, kind, next }) {
                return Ok(());
            }
        }
        let Ok(first) = u32::try_from(position.saturating_sub(3)) else { return Ok(()) };
        let indexes: Vec<u32> =
            self.fs.slaves.lock().range(first..).map(|(index, _)| *index).collect();
        for index in indexes {
            let name = index.to_string();
            let next = u64::from(index).saturating_add(4);
            if !emit(DirEntry { name: name.as_bytes(), ino: slave_ino(index), kind: DT_CHR, next })
            {
                break;
            }
        }
        Ok(())
    }
}
