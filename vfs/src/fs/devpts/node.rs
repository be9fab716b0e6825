//! The nodes of a devpts: slaves and `ptmx`.

use core::any::Any;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{OpenFlags, S_IFCHR, makedev};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::DevPts;
use crate::attr::{Attr, SetAttr};
use crate::env::VfsEnv;
use crate::file::File;
use crate::inode::Inode;
use crate::inode_state::InodeState;
use crate::super_block::SuperBlock;
use crate::tty::{Pty, SlaveFile};

/// Inode number of `ptmx`.
pub(super) const PTMX_INO: u64 = 2;
const PTMX_DEV: u64 = makedev(5, 2);

/// The inode number of a slave.
pub(super) fn slave_ino(index: u32) -> u64 {
    u64::from(index).saturating_add(3)
}

/// Attributes of something new.
pub(super) fn new_attr(dev: u64, ino: u64, mode: u32, now: Timespec) -> Attr {
    Attr {
        dev,
        ino,
        mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        blksize: 1024,
        blocks: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
    }
}

/// Applies a change of mode, owner or times; sizes mean nothing here.
pub(super) fn apply(attr: &Mutex<Attr>, change: &SetAttr, now: Timespec) {
    let mut attr = attr.lock();
    if let Some(mode) = change.mode {
        attr.mode = (attr.mode & chitin_abi::fs::S_IFMT) | (mode & 0o7777);
    }
    attr.uid = change.uid.unwrap_or(attr.uid);
    attr.gid = change.gid.unwrap_or(attr.gid);
    attr.atime = change.atime.unwrap_or(attr.atime);
    attr.mtime = change.mtime.unwrap_or(attr.mtime);
    attr.ctime = now;
}

/// `/dev/pts/N`.
pub(super) struct SlaveNode {
    super_block: Arc<SuperBlock>,
    state: InodeState,
    attr: Mutex<Attr>,
    pty: Weak<Pty>,
}

impl SlaveNode {
    pub fn new(
        pty: &Arc<Pty>,
        super_block: &Arc<SuperBlock>,
        (uid, gid, mode): (u32, u32, u32),
        now: Timespec,
    ) -> Arc<Self> {
        let mut attr = new_attr(super_block.dev, slave_ino(pty.index()), S_IFCHR | mode, now);
        (attr.uid, attr.gid, attr.rdev) = (uid, gid, pty.slave_rdev());
        Arc::new(Self {
            super_block: Arc::clone(super_block),
            state: InodeState::default(),
            attr: Mutex::new(attr),
            pty: Arc::downgrade(pty),
        })
    }
}

impl Inode for SlaveNode {
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

    fn open(self: Arc<Self>, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        let pty = self.pty.upgrade().ok_or(Errno::EIO)?;
        Ok(SlaveFile::open(&pty, flags, env)?)
    }

    fn opens_special(&self) -> bool {
        true
    }
}

/// `/dev/pts/ptmx`.
pub(super) struct PtmxNode {
    fs: Arc<DevPts>,
    super_block: Arc<SuperBlock>,
    state: InodeState,
    attr: Mutex<Attr>,
}

impl PtmxNode {
    pub fn new(
        fs: &Arc<DevPts>,
        super_block: &Arc<SuperBlock>,
        mode: u32,
        now: Timespec,
    ) -> Arc<Self> {
        let mut attr = new_attr(super_block.dev, PTMX_INO, S_IFCHR | mode, now);
        attr.rdev = PTMX_DEV;
        Arc::new(Self {
            fs: Arc::clone(fs),
            super_block: Arc::clone(super_block),
            state: InodeState::default(),
            attr: Mutex::new(attr),
        })
    }

    pub fn set_permissions(&self, mode: u32) {
        let mut attr = self.attr.lock();
        attr.mode = S_IFCHR | mode;
    }
}

impl Inode for PtmxNode {
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

    fn open(self: Arc<Self>, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        self.fs.open_master(flags, env)
    }

    fn opens_special(&self) -> bool {
        true
    }
}
