//! `devpts`: the slaves of pseudo-terminals as files, and the `ptmx` that makes pairs.
//!
//! Every mount is an instance of its own with its own numbers. The nodes open themselves: a device number alone would
//! not say which instance is meant. A slave's node goes when its master is closed; its number is free again when
//! the slave's last open file has gone, too.
//!
//! Locks: the instance's table, a leaf; a node's attributes, a leaf.
//!
//! References: `pts(4)`, the kernel's `Documentation/filesystems/devpts.rst`.

mod node;
mod options;
mod root;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use chitin_abi::fs::{DEVPTS_SUPER_MAGIC, OpenFlags};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::{Mutex, RwLock};

use crate::env::VfsEnv;
use crate::file::File;
use crate::fs_type::FsType;
use crate::inode::Inode;
use crate::super_block::{FileSystem, FsStats, SuperBlock};
use crate::tty::{MasterFile, Pty, PtyOwner, TerminalHost};
use crate::walk::Walk;

use node::{PtmxNode, SlaveNode};
use options::Options;
#[doc(hidden)]
pub use options::check_options;
use root::Root;

/// A mounted devpts.
pub struct DevPts {
    options: RwLock<Options>,
    host: Arc<dyn TerminalHost>,
    numbers: Mutex<BTreeSet<u32>>,
    slaves: Mutex<BTreeMap<u32, Arc<SlaveNode>>>,
    super_block: RwLock<Weak<SuperBlock>>,
    ptmx: RwLock<Weak<PtmxNode>>,
}

/// Removes a slave's node when the master is closed, and frees its number when the pair is gone.
struct Number {
    fs: Weak<DevPts>,
    index: u32,
}

impl PtyOwner for Number {
    fn master_closed(&self) {
        if let Some(fs) = self.fs.upgrade() {
            let node = fs.slaves.lock().remove(&self.index);
            drop(node);
        }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if let Some(fs) = self.fs.upgrade() {
            fs.numbers.lock().remove(&self.index);
        }
    }
}

impl DevPts {
    /// Makes an instance with options as `mount(2)` takes them (`gid=5,mode=620,ptmxmode=666`).
    ///
    /// # Errors
    /// EINVAL for an unknown option or a bad value.
    pub fn mount(
        options: &[u8],
        host: Arc<dyn TerminalHost>,
        now: Timespec,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let fs = Arc::new(Self {
            options: RwLock::new(Options::parse(Options::default(), options)?),
            host,
            numbers: Mutex::default(),
            slaves: Mutex::default(),
            super_block: RwLock::default(),
            ptmx: RwLock::default(),
        });
        let super_block = SuperBlock::new(Arc::clone(&fs) as Arc<dyn FileSystem>, b"devpts");
        *fs.super_block.write() = Arc::downgrade(&super_block);
        let ptmx_mode = fs.options.read().ptmx_mode;
        let ptmx = PtmxNode::new(&fs, &super_block, ptmx_mode, now);
        *fs.ptmx.write() = Arc::downgrade(&ptmx);
        let root = Root::new(&fs, &super_block, ptmx, now);
        Ok((super_block, root))
    }

    /// The instance that an inode is the root of.
    pub fn of(inode: &dyn Inode) -> Option<Arc<Self>> {
        inode.as_any().downcast_ref::<Root>().map(Root::fs)
    }

    fn take_number(&self) -> Result<u32> {
        let max = self.options.read().max;
        let mut numbers = self.numbers.lock();
        let free = (0..max).find(|number| !numbers.contains(number)).ok_or(Errno::ENOSPC)?;
        numbers.insert(free);
        Ok(free)
    }

    /// Makes a pair: what opening `ptmx` does.
    ///
    /// # Errors
    /// ENOSPC when there are no more numbers.
    pub fn open_master(self: &Arc<Self>, _flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        let owner = env.caller.as_ref().map_or((0, 0), |caller| caller.owner());
        let (pty, _) = self.make_pair(owner, env.shared.clock.now())?;
        Ok(MasterFile::new(pty))
    }

    /// Makes a pair for the kernel's own use. The caller holds the master by [`MasterFile::new`], which hangs up
    /// when it is dropped; the slave can be opened once it is unlocked.
    ///
    /// # Errors
    /// ENOSPC when there are no more numbers.
    pub fn make_pair(
        self: &Arc<Self>,
        owner: (u32, u32),
        now: Timespec,
    ) -> Result<(Arc<Pty>, Arc<dyn Inode>)> {
        let super_block = self.super_block.read().upgrade().ok_or(Errno::ENODEV)?;
        let index = self.take_number()?;
        let number = Number { fs: Arc::downgrade(self), index };
        let pty = Pty::new(index, Arc::clone(&self.host), Some(Box::new(number)));
        let (uid, gid, mode) = self.options.read().slave_owner(owner);
        let node = SlaveNode::new(&pty, &super_block, (uid, gid, mode), now);
        let inode: Arc<dyn Inode> = Arc::clone(&node) as Arc<dyn Inode>;
        pty.set_node(&inode);
        self.slaves.lock().insert(index, node);
        Ok((pty, inode))
    }
}

impl FileSystem for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn stats(&self) -> Result<FsStats> {
        let magic = u64::from(DEVPTS_SUPER_MAGIC);
        Ok(FsStats { magic, block_size: 4096, name_max: 255, ..FsStats::default() })
    }

    fn options(&self) -> String {
        self.options.read().show()
    }

    fn remount(&self, options: &[u8]) -> Result<()> {
        let mut current = self.options.write();
        let new = Options::parse(current.clone(), options)?;
        *current = new;
        let mode = current.ptmx_mode;
        drop(current);
        if let Some(ptmx) = self.ptmx.read().upgrade() {
            ptmx.set_permissions(mode);
        }
        Ok(())
    }
}

/// The type for `mount(2)`.
pub struct DevPtsType {
    host: Arc<dyn TerminalHost>,
}

impl DevPtsType {
    /// The type, with the processes that its terminals signal.
    pub fn new(host: Arc<dyn TerminalHost>) -> Self {
        Self { host }
    }
}

impl FsType for DevPtsType {
    fn name(&self) -> &str {
        "devpts"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn mount(
        &self,
        _source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        DevPts::mount(options, Arc::clone(&self.host), walk.env.shared.clock.now())
    }
}
