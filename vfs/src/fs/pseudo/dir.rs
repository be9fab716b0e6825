//! Directories of a pseudo tree: fixed ones, dynamic ones, tables over a context, and mixtures.

use std::sync::{Arc, OnceLock};

use chitin_abi::fs::dirent_type;
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;

use super::node::Node;

/// An entry as a [`DynamicDir`] lists it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The name.
    pub name: &'a [u8],
    /// `DT_…`.
    pub kind: u8,
    /// The number that the node brings itself, if it does.
    pub ino: Option<u64>,
    /// The cursor behind this entry; grows from entry to entry and stays below 2^62.
    pub next: u64,
}

/// Takes the entries of a listing; false means that there is no more room.
pub type DirSink<'a> = dyn FnMut(Listed<'_>) -> bool + 'a;

/// The entries of a directory, asked at every use.
pub trait DynamicDir: Send + Sync {
    /// The entry of this name, if there is one.
    ///
    /// # Errors
    /// ENOENT does as well as `None`; ESRCH, EACCES, EPERM.
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>>;

    /// Lists the entries behind `cursor` (0 is the start) in the order of their cursors until `emit` returns
    /// false; `.` and `..` are not among them.
    ///
    /// # Errors
    /// ENOENT, ESRCH where the object behind the directory is gone, EACCES.
    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()>;

    /// Hard links: 2 and one for each subdirectory, as far as somebody wants to know.
    fn nlink(&self) -> u64 {
        2
    }

    /// `st_size`, where it is not the node's.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Whether a node that [`DynamicDir::lookup`] returned for a name stands for it for ever, so that its inode
    /// is made once and kept.
    fn keeps(&self, name: &[u8]) -> bool {
        let _ = name;
        false
    }

    /// Makes a directory (cgroup).
    ///
    /// # Errors
    /// EPERM in trees where only the kernel makes files; EEXIST, ENOSPC.
    fn mkdir(&self, name: &[u8], permissions: u32, uid: u32, gid: u32) -> Result<()> {
        let _ = (name, permissions, uid, gid);
        Err(Errno::EPERM)
    }

    /// Removes a directory (cgroup).
    ///
    /// # Errors
    /// EPERM in trees where only the kernel makes files; EBUSY, ENOTEMPTY.
    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Removes a file (POSIX message queues).
    ///
    /// # Errors
    /// EPERM in trees where only the kernel makes files.
    fn unlink(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Renames within the directory.
    ///
    /// # Errors
    /// EPERM.
    fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let _ = (from, to);
        Err(Errno::EPERM)
    }
}

/// A directory whose entries are given when the tree is built, with or without a dynamic part behind them.
#[derive(Default)]
pub struct Dir {
    entries: Vec<(Box<[u8]>, Node)>,
    by_name: HashMap<Box<[u8]>, usize>,
    rest: Option<Arc<dyn DynamicDir>>,
}

impl Dir {
    /// A directory without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry, or replaces the one of this name.
    pub fn with(mut self, name: impl AsRef<[u8]>, node: Node) -> Self {
        self.insert(name.as_ref(), node);
        self
    }

    /// Adds an entry, or replaces the one of this name.
    pub fn insert(&mut self, name: &[u8], node: Node) {
        if let Some(slot) = self.by_name.get(name).and_then(|index| self.entries.get_mut(*index)) {
            slot.1 = node;
            return;
        }
        self.by_name.insert(name.into(), self.entries.len());
        self.entries.push((name.into(), node));
    }

    /// Adds entries that come and go, listed behind the fixed ones; a fixed name wins.
    pub fn and(mut self, rest: impl DynamicDir + 'static) -> Self {
        self.rest = Some(Arc::new(rest));
        self
    }
}

impl DynamicDir for Dir {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        match (self.by_name.get(name).and_then(|index| self.entries.get(*index)), &self.rest) {
            (Some((_, node)), _) => Ok(Some(node.clone())),
            (None, Some(rest)) => rest.lookup(name),
            (None, None) => Ok(None),
        }
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        let fixed = self.entries.len() as u64;
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        for (index, (name, node)) in self.entries.iter().enumerate().skip(start) {
            let listed = Listed {
                name,
                kind: dirent_type(node.mode),
                ino: node.ino,
                next: index as u64 + 1,
            };
            if !emit(listed) {
                return Ok(());
            }
        }
        match &self.rest {
            Some(rest) => rest.list(cursor.saturating_sub(fixed), &mut |listed| {
                emit(Listed { next: listed.next.saturating_add(fixed), ..listed })
            }),
            None => Ok(()),
        }
    }

    fn nlink(&self) -> u64 {
        let dirs = self
            .entries
            .iter()
            .filter(|(_, node)| dirent_type(node.mode) == chitin_abi::fs::DT_DIR)
            .count();
        let rest = self.rest.as_ref().map_or(0, |rest| rest.nlink().saturating_sub(2));
        2 + dirs as u64 + rest
    }

    fn keeps(&self, name: &[u8]) -> bool {
        self.by_name.contains_key(name) || self.rest.as_ref().is_some_and(|rest| rest.keeps(name))
    }

    fn mkdir(&self, name: &[u8], permissions: u32, uid: u32, gid: u32) -> Result<()> {
        self.rest.as_ref().map_or(Err(Errno::EPERM), |rest| rest.mkdir(name, permissions, uid, gid))
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.rest.as_ref().map_or(Err(Errno::EPERM), |rest| rest.rmdir(name))
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.rest.as_ref().map_or(Err(Errno::EPERM), |rest| rest.unlink(name))
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.rest.as_ref().map_or(Err(Errno::EPERM), |rest| rest.rename(from, to))
    }
}

/// A fixed directory that is put together when somebody first looks into it.
pub struct LazyDir {
    build: Box<dyn Fn() -> Dir + Send + Sync>,
    dir: OnceLock<Dir>,
}

impl LazyDir {
    /// What `build` puts together, once.
    pub fn new(build: impl Fn() -> Dir + Send + Sync + 'static) -> Self {
        Self { build: Box::new(build), dir: OnceLock::new() }
    }

    fn dir(&self) -> &Dir {
        self.dir.get_or_init(&self.build)
    }
}

impl DynamicDir for LazyDir {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        self.dir().lookup(name)
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        self.dir().list(cursor, emit)
    }

    fn nlink(&self) -> u64 {
        self.dir().nlink()
    }

    fn keeps(&self, name: &[u8]) -> bool {
        self.dir().keeps(name)
    }

    fn mkdir(&self, name: &[u8], permissions: u32, uid: u32, gid: u32) -> Result<()> {
        self.dir().mkdir(name, permissions, uid, gid)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.dir().rmdir(name)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.dir().unlink(name)
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.dir().rename(from, to)
    }
}

/// One row of a [`TableDir`].
pub struct TableEntry<C> {
    /// The name.
    pub name: &'static str,
    /// `DT_…` for listings.
    pub kind: u8,
    /// Makes the node when it is looked up.
    pub make: fn(&C) -> Node,
}

/// A directory that is the same table for each of many objects, such as `/proc/PID`: a lookup makes only the
/// node that it asked for.
pub struct TableDir<C: 'static> {
    context: C,
    table: &'static [TableEntry<C>],
    alive: fn(&C) -> bool,
}

impl<C: Send + Sync + 'static> TableDir<C> {
    /// The directory of this object.
    pub fn new(context: C, table: &'static [TableEntry<C>]) -> Self {
        Self { context, table, alive: |_| true }
    }

    /// Says whether the object still exists: lookups fail with ENOENT and listings are empty when it does not.
    pub fn alive_while(mut self, alive: fn(&C) -> bool) -> Self {
        self.alive = alive;
        self
    }
}

impl<C: Send + Sync + 'static> DynamicDir for TableDir<C> {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        if !(self.alive)(&self.context) {
            return Ok(None);
        }
        let row = self.table.iter().find(|row| row.name.as_bytes() == name);
        Ok(row.map(|row| (row.make)(&self.context)))
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        if !(self.alive)(&self.context) {
            return Err(Errno::ENOENT);
        }
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        for (index, row) in self.table.iter().enumerate().skip(start) {
            let listed = Listed {
                name: row.name.as_bytes(),
                kind: row.kind,
                ino: None,
                next: index as u64 + 1,
            };
            if !emit(listed) {
                break;
            }
        }
        Ok(())
    }

    fn nlink(&self) -> u64 {
        2 + self.table.iter().filter(|row| row.kind == chitin_abi::fs::DT_DIR).count() as u64
    }
}
