//! The inodes and the file system of a pseudo tree.

use core::any::Any;
use core::hash::Hasher;
use std::hash::DefaultHasher;
use std::sync::Arc;

use chitin_abi::fs::{
    CGROUP2_SUPER_MAGIC, DT_DIR, OpenFlags, PROC_SUPER_MAGIC, S_IFMT, S_IFREG, SYSFS_MAGIC,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::dir::{DynamicDir, Listed};
use super::node::{Kind, Node, Owner};
use crate::attr::{Attr, NewFile, SetAttr};
use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::{DirEntry, File};
use crate::inode::{Inode, MagicTarget};
use crate::inode_state::InodeState;
use crate::super_block::{FileSystem, FsStats, SuperBlock};

/// What distinguishes one kind of pseudo file system from another.
#[derive(Clone)]
pub struct Style {
    /// The type's name in /proc/filesystems and /proc/mounts.
    pub name: &'static str,
    /// `f_type` of `statfs(2)`.
    pub magic: u64,
    /// `st_blksize` and `f_bsize`.
    pub block_size: u32,
    /// `st_size` of regular files that say nothing.
    pub file_size: u64,
    /// Whether opening a file for what it has no handler for fails with EACCES (kernfs) instead of the read or
    /// write failing with EINVAL (proc).
    pub strict_open: bool,
    /// What making an entry fails with where only the kernel makes them, and what making a regular file does: a
    /// lookup in /proc says ENOENT before anything else is looked at.
    pub creation: (Errno, Errno),
    /// Whether mode and owner of files can be changed; refused with EPERM otherwise.
    pub changeable: bool,
    /// Options that /proc/mounts shows, with a leading comma each.
    pub options: String,
    /// What the times of files are taken from.
    pub clock: fn() -> Timespec,
}

fn wall_clock() -> Timespec {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timespec { tv_sec: now.as_secs().cast_signed(), tv_nsec: i64::from(now.subsec_nanos()) }
}

impl Style {
    fn new(name: &'static str, magic: u32, block_size: u32) -> Self {
        Self {
            name,
            magic: u64::from(magic),
            block_size,
            file_size: 0,
            strict_open: false,
            creation: (Errno::EPERM, Errno::EACCES),
            changeable: false,
            options: String::new(),
            clock: wall_clock,
        }
    }

    /// The manners of `/proc`.
    pub fn proc() -> Self {
        let creation = (Errno::ENOENT, Errno::ENOENT);
        Self { creation, ..Self::new("proc", PROC_SUPER_MAGIC, 1024) }
    }

    /// The manners of `/sys`.
    pub fn sysfs() -> Self {
        Self {
            file_size: 4096,
            strict_open: true,
            changeable: true,
            ..Self::new("sysfs", SYSFS_MAGIC, 4096)
        }
    }

    /// The manners of a cgroup hierarchy of version 2.
    pub fn cgroup2() -> Self {
        Self {
            strict_open: true,
            changeable: true,
            ..Self::new("cgroup2", CGROUP2_SUPER_MAGIC, 4096)
        }
    }

    /// The manners of `/proc` for a tree of another name and magic number.
    pub fn other(name: &'static str, magic: u32) -> Self {
        Self::new(name, magic, 4096)
    }
}

/// A mounted pseudo tree.
pub struct PseudoFs {
    style: Style,
}

impl PseudoFs {
    /// Makes a file system instance of a description of its root.
    pub fn mount(style: Style, root: Node) -> (Arc<SuperBlock>, Arc<dyn Inode>) {
        let name = style.name;
        let fs = Arc::new(Self { style });
        let super_block = SuperBlock::new(Arc::clone(&fs) as Arc<dyn FileSystem>, name.as_bytes());
        let ino = root.ino.unwrap_or(1);
        let root = PseudoInode::new(&super_block, &fs, root, ino, ino);
        (super_block, root)
    }
}

impl FileSystem for PseudoFs {
    fn name(&self) -> &'static str {
        self.style.name
    }

    fn stats(&self) -> Result<FsStats> {
        Ok(FsStats {
            magic: self.style.magic,
            block_size: u64::from(self.style.block_size.max(4096)),
            name_max: 255,
            ..FsStats::default()
        })
    }

    fn options(&self) -> String {
        self.style.options.clone()
    }
}

/// The number of the entry `name` in the directory `parent`: never 0, 1 or one that fits 32 bits, which are left to
/// nodes that number themselves.
pub(super) fn derived_ino(parent: u64, name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(parent);
    hasher.write(name);
    (hasher.finish() >> 1) | (1 << 40)
}

#[derive(Default)]
struct Changed {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    ctime: Option<Timespec>,
}

struct PseudoInode {
    super_block: Arc<SuperBlock>,
    fs: Arc<PseudoFs>,
    state: InodeState,
    node: Node,
    ino: u64,
    parent_ino: u64,
    born: Timespec,
    changed: Mutex<Changed>,
    kept: Mutex<HashMap<Box<[u8]>, Arc<PseudoInode>>>,
}

impl PseudoInode {
    fn new(
        super_block: &Arc<SuperBlock>,
        fs: &Arc<PseudoFs>,
        node: Node,
        ino: u64,
        parent_ino: u64,
    ) -> Arc<Self> {
        let born = (fs.style.clock)();
        Arc::new(Self {
            super_block: Arc::clone(super_block),
            fs: Arc::clone(fs),
            state: InodeState::default(),
            node,
            ino,
            parent_ino,
            born,
            changed: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    fn entries(&self) -> Result<&Arc<dyn DynamicDir>> {
        match &self.node.kind {
            Kind::Dir(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn child(&self, name: &[u8]) -> Result<Arc<Self>> {
        let entries = self.entries()?;
        if let Some(inode) = self.kept.lock().get(name) {
            return Ok(Arc::clone(inode));
        }
        let node = entries.lookup(name)?.ok_or(Errno::ENOENT)?;
        let ino = node.ino.unwrap_or_else(|| derived_ino(self.ino, name));
        let inode = Self::new(&self.super_block, &self.fs, node, ino, self.ino);
        if entries.keeps(name) {
            let mut kept = self.kept.lock();
            return Ok(Arc::clone(kept.entry(name.into()).or_insert(inode)));
        }
        Ok(inode)
    }
}

impl Inode for PseudoInode {
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
        let (uid, gid) = match &self.node.owner {
            Owner::Fixed(uid, gid) => (*uid, *gid),
            Owner::Now(owner) => owner(),
        };
        let mode = self.node.mode();
        let changed = self.changed.lock();
        let (nlink, rdev, size) = match &self.node.kind {
            Kind::Dir(entries) => (0, 0, entries.size().unwrap_or(self.node.size)),
            Kind::File(_) if self.node.size == 0 => (1, 0, self.fs.style.file_size),
            Kind::Device { rdev } => (1, *rdev, 0),
            _ => (1, 0, self.node.size),
        };
        let mode = changed.mode.map_or(mode, |bits| (mode & S_IFMT) | bits);
        let (uid, gid) = (changed.uid.unwrap_or(uid), changed.gid.unwrap_or(gid));
        let ctime = changed.ctime.unwrap_or(self.born);
        drop(changed);
        let nlink = if let Kind::Dir(entries) = &self.node.kind { entries.nlink() } else { nlink };
        Ok(Attr {
            dev: self.super_block.dev,
            ino: self.ino,
            mode,
            nlink,
            uid,
            gid,
            rdev,
            size,
            blksize: self.fs.style.block_size,
            blocks: 0,
            atime: self.born,
            mtime: self.born,
            ctime,
            btime: self.born,
        })
    }

    fn set_attr(&self, change: &SetAttr, now: Timespec) -> Result<()> {
        let touches_owner = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
        if touches_owner {
            if !self.fs.style.changeable {
                return Err(Errno::EPERM);
            }
            let mut changed = self.changed.lock();
            changed.mode = change.mode.map(|mode| mode & 0o7777).or(changed.mode);
            changed.uid = change.uid.or(changed.uid);
            changed.gid = change.gid.or(changed.gid);
            changed.ctime = Some(now);
        }
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.child(name)?)
    }

    fn caches_entries(&self) -> bool {
        false
    }

    fn is_same(&self, other: &dyn Inode) -> bool {
        let other = other.as_any().downcast_ref::<Self>();
        other.is_some_and(|other| {
            self.ino == other.ino && self.super_block.dev == other.super_block.dev
        })
    }

    fn check_access(&self, mask: u32, cred: &Cred, env: &VfsEnv) -> Option<Result<()>> {
        self.node.access.as_ref().and_then(|access| access(mask, cred, env))
    }

    fn create(&self, _name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        let (other, regular) = self.fs.style.creation;
        Err(if new.mode & S_IFMT == S_IFREG { regular } else { other })
    }

    fn symlink(&self, _name: &[u8], _target: &[u8], _new: &NewFile) -> Result<Arc<dyn Inode>> {
        Err(self.fs.style.creation.0)
    }

    fn link(&self, _name: &[u8], _target: &Arc<dyn Inode>) -> Result<()> {
        Err(self.fs.style.creation.0)
    }

    fn mkdir(&self, name: &[u8], new: &NewFile) -> Result<Arc<dyn Inode>> {
        let entries = self.entries()?;
        entries.mkdir(name, new.mode & 0o7777, new.uid, new.gid).map_err(|error| match error {
            Errno::EPERM => self.fs.style.creation.0,
            other => other,
        })?;
        Ok(self.child(name)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.entries()?.unlink(name)?;
        self.kept.lock().remove(name);
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.entries()?.rmdir(name)?;
        self.kept.lock().remove(name);
        Ok(())
    }

    fn rename(
        &self,
        old_name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: u32,
    ) -> Result<()> {
        let same =
            new_dir.as_any().downcast_ref::<Self>().is_some_and(|dir| core::ptr::eq(dir, self));
        if !same || flags != 0 {
            return Err(Errno::EPERM);
        }
        self.entries()?.rename(old_name, new_name)?;
        let mut kept = self.kept.lock();
        if let Some(inode) = kept.remove(old_name) {
            kept.insert(new_name.into(), inode);
        }
        Ok(())
    }

    fn read_link(&self, env: &VfsEnv) -> Result<Vec<u8>> {
        match &self.node.kind {
            Kind::Link { text, .. } => text(env),
            _ => Err(Errno::EINVAL),
        }
    }

    fn follow_magic(&self, env: &VfsEnv) -> Result<Option<MagicTarget>> {
        match &self.node.kind {
            Kind::Link { target: Some(target), .. } => target(env).map(Some),
            _ => Ok(None),
        }
    }

    fn open(self: Arc<Self>, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        match &self.node.kind {
            Kind::Dir(_) => Ok(Arc::new(OpenDir { inode: self })),
            Kind::File(file) => file.open(flags, env, self.fs.style.strict_open),
            Kind::Link { .. } => Err(Errno::ELOOP),
            Kind::Device { .. } => Err(Errno::ENXIO),
        }
    }
}

/// An open directory: `.` and `..` at positions 0 and 1, entry cursors from 2 on.
struct OpenDir {
    inode: Arc<PseudoInode>,
}

impl File for OpenDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _to: &mut dyn crate::io::Sink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let inode = &self.inode;
        let dots: [(&[u8], u64); 2] = [(b".", inode.ino), (b"..", inode.parent_ino)];
        for (index, (name, ino)) in (1..).zip(dots).filter(|(index, _)| position < *index) {
            if !emit(DirEntry { name, ino, kind: DT_DIR, next: index }) {
                return Ok(());
            }
        }
        let cursor = position.saturating_sub(2);
        inode.entries()?.list(cursor, &mut |listed: Listed<'_>| {
            let ino = listed.ino.unwrap_or_else(|| derived_ino(inode.ino, listed.name));
            emit(DirEntry {
                name: listed.name,
                ino,
                kind: listed.kind,
                next: listed.next.saturating_add(2),
            })
        })
    }
}
