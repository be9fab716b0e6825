//! Dentries: names in a tree of directories, and the bounded cache of them.
//!
//! A [`Dentry`] stands for one name of an inode. A directory's dentry knows its children by a hash table:
//! dentries and, where the file system says that entries may be cached, names that are known to be absent.
//! A child holds its parent, and the parent holds the cached child, until the cache's bound evicts it or the
//! whole tree goes; children of directories that must always be looked up are only held weakly, so that a
//! mount point or working directory in them stays the same dentry while it is in use.
//!
//! Cost of a cached component: one hash lookup under a shared lock, one reference count; no allocation.
//! Eviction is a clock: one queue of names per tree, a referenced bit per entry, work only when an entry is
//! added.
//!
//! Locks, outermost first: `DentryCache::rename` (moves between directories), `Dentry::dir` (changes of one
//! directory; held over the file system's operation; ancestors first, else by address), the file system's
//! own, `Dentry::children`, `Dentry::place`, `DentryCache::queue`. Nothing is dropped under the last three.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{S_IFDIR, S_IFLNK, S_IFMT};
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::inode::Inode;

/// A file name.
pub type Name = Arc<[u8]>;

/// Entries that a tree caches before it evicts.
const DEFAULT_LIMIT: usize = 16_384;
/// Entries that all trees together cache before each evicts, so that many small trees are bounded too.
const TOTAL_LIMIT: usize = 131_072;
/// Entries looked at per added entry while above the limit.
const EVICT_STEP: usize = 4;

/// Entries in the queues of all trees.
static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// Where a dentry hangs.
struct Place {
    parent: Option<Arc<Dentry>>,
    name: Name,
}

/// An entry of a directory's table.
enum Slot {
    Cached(Arc<Dentry>),
    Uncached(Weak<Dentry>),
    Absent(AtomicBool),
}

/// What the cache knows of a name.
pub(crate) enum Cached {
    Present(Arc<Dentry>),
    Absent,
    Unknown,
}

/// A name in the tree.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    /// `S_IFMT` bits, which never change.
    kind: u32,
    cache: Arc<DentryCache>,
    place: RwLock<Place>,
    children: RwLock<HashMap<Name, Slot>>,
    /// Serializes changes of this directory.
    dir: Mutex<()>,
    unlinked: AtomicBool,
    referenced: AtomicBool,
    /// Mounts on this dentry, in whatever namespace.
    mounts: AtomicU32,
}

/// What the dentries of one tree share.
pub(crate) struct DentryCache {
    /// Held over a move between directories.
    pub(crate) rename: Mutex<()>,
    queue: Mutex<VecDeque<(Weak<Dentry>, Name)>>,
    limit: usize,
    /// Names change behind the cache's back: it must not be believed.
    distrusted: AtomicBool,
    /// Inotify watches on inodes of this tree; owned by [`crate::notify`].
    pub(crate) watches: Mutex<Vec<Weak<crate::notify::Watch>>>,
    /// How many: events need no look at parents while it is 0.
    pub(crate) watch_count: AtomicUsize,
    /// How many fanotify marks there are on files, mounts and the instance of this tree.
    pub(crate) mark_count: AtomicUsize,
}

/// The dentries of one file-system instance; the cached ones go with it.
pub struct DentryTree {
    root: Arc<Dentry>,
}

impl DentryTree {
    /// A tree with this root directory (or other file).
    pub(crate) fn new(root: Arc<dyn Inode>) -> Arc<Self> {
        let cache = Arc::new(DentryCache {
            rename: Mutex::new(()),
            queue: Mutex::default(),
            limit: DEFAULT_LIMIT,
            distrusted: AtomicBool::new(false),
            watches: Mutex::default(),
            watch_count: AtomicUsize::new(0),
            mark_count: AtomicUsize::new(0),
        });
        let place = Place { parent: None, name: Arc::from(&b"/"[..]) };
        Arc::new(Self { root: Arc::new(Dentry::build(root, cache, place)) })
    }

    /// The root.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }
}

impl Drop for DentryTree {
    fn drop(&mut self) {
        crate::notify::unmounted(&self.root.cache);
        self.root.forget_children();
    }
}

impl Dentry {
    fn build(inode: Arc<dyn Inode>, cache: Arc<DentryCache>, place: Place) -> Self {
        let kind = inode.access_info().map_or(0, |info| info.mode & S_IFMT);
        Self {
            inode,
            kind,
            cache,
            place: RwLock::new(place),
            children: RwLock::default(),
            dir: Mutex::new(()),
            unlinked: AtomicBool::new(false),
            referenced: AtomicBool::new(false),
            mounts: AtomicU32::new(0),
        }
    }

    fn child(self: &Arc<Self>, name: &Name, inode: Arc<dyn Inode>) -> Arc<Self> {
        let place = Place { parent: Some(Arc::clone(self)), name: Arc::clone(name) };
        Arc::new(Self::build(inode, Arc::clone(&self.cache), place))
    }

    /// A dentry that no directory lists (`O_TMPFILE`, memfd): `parent` is where its path pretends to be.
    pub fn detached(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Self> {
        let dentry = self.child(&Arc::from(name), inode);
        dentry.unlinked.store(true, Ordering::Release);
        dentry
    }

    /// The file.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// Its type (`S_IFMT`).
    pub fn kind(&self) -> u32 {
        self.kind
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == S_IFDIR
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.kind == S_IFLNK
    }

    /// The last component of its path; `/` for a root.
    pub fn name(&self) -> Name {
        Arc::clone(&self.place.read().name)
    }

    /// The directory that it is (or was last) in; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.read().parent.clone()
    }

    /// Parent and name together, as one moment saw them.
    pub(crate) fn place(&self) -> (Option<Arc<Dentry>>, Name) {
        let place = self.place.read();
        (place.parent.clone(), Arc::clone(&place.name))
    }

    /// Whether its name has been removed.
    pub fn is_unlinked(&self) -> bool {
        self.unlinked.load(Ordering::Acquire)
    }

    /// Whether something is mounted here in some namespace.
    pub fn is_mount_point(&self) -> bool {
        self.mounts.load(Ordering::Acquire) != 0
    }

    pub(crate) fn add_mount(&self) {
        self.mounts.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn cache(&self) -> &Arc<DentryCache> {
        &self.cache
    }

    /// Whether what is known of this directory's entries stays true.
    fn caches_entries(&self) -> bool {
        self.inode.caches_entries() && !self.cache.distrusted.load(Ordering::Relaxed)
    }

    /// Locks the directory against changes.
    pub(crate) fn lock_dir(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.dir.lock()
    }

    /// Whether this is `ancestor` or below it.
    pub fn is_below(self: &Arc<Self>, ancestor: &Arc<Dentry>) -> bool {
        let mut at = Some(Arc::clone(self));
        while let Some(dentry) = at {
            if Arc::ptr_eq(&dentry, ancestor) {
                return true;
            }
            at = dentry.parent();
        }
        false
    }

    /// What the cache knows of `name`.
    pub(crate) fn cached(&self, name: &[u8]) -> Cached {
        if self.cache.distrusted.load(Ordering::Relaxed) {
            return Cached::Unknown;
        }
        let children = self.children.read();
        match children.get(name) {
            Some(Slot::Cached(child)) => {
                if !child.referenced.load(Ordering::Relaxed) {
                    child.referenced.store(true, Ordering::Relaxed);
                }
                Cached::Present(Arc::clone(child))
            }
            Some(Slot::Absent(referenced)) => {
                if !referenced.load(Ordering::Relaxed) {
                    referenced.store(true, Ordering::Relaxed);
                }
                Cached::Absent
            }
            Some(Slot::Uncached(_)) | None => Cached::Unknown,
        }
    }

    /// The child of this name, from the cache or the file system.
    ///
    /// # Errors
    /// ENOENT and what the file system says.
    pub(crate) fn lookup(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Dentry>> {
        match self.cached(name) {
            Cached::Present(child) => return Ok(child),
            Cached::Absent => return Err(Errno::ENOENT),
            Cached::Unknown => {}
        }
        if !self.caches_entries() {
            return self.lookup_uncached(name);
        }
        let _changes = self.dir.lock();
        self.lookup_locked(name)
    }

    /// The same for a caller that holds [`Dentry::lock_dir`].
    pub(crate) fn lookup_locked(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Dentry>> {
        match self.cached(name) {
            Cached::Present(child) => return Ok(child),
            Cached::Absent => return Err(Errno::ENOENT),
            Cached::Unknown => {}
        }
        if !self.caches_entries() {
            return self.lookup_uncached(name);
        }
        if self.is_unlinked() {
            return Err(Errno::ENOENT);
        }
        match self.inode.lookup(name) {
            Ok(inode) => Ok(self.insert(&Arc::from(name), inode)),
            Err(Errno::ENOENT) => {
                self.set_absent(&Arc::from(name));
                Err(Errno::ENOENT)
            }
            Err(error) => Err(error),
        }
    }

    fn lookup_uncached(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Dentry>> {
        match self.inode.lookup(name) {
            Ok(inode) => Ok(self.insert_weak(name, inode)),
            Err(error) => {
                if error == Errno::ENOENT {
                    self.forget(name);
                }
                Err(error)
            }
        }
    }

    /// Finds the living dentry of an entry that is not cached, or makes one.
    fn insert_weak(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        let name: Name = Arc::from(name);
        let fresh = self.child(&name, inode);
        let mut children = self.children.write();
        let old = match children.get(&name) {
            Some(Slot::Uncached(old)) => old.upgrade(),
            Some(Slot::Cached(old)) => Some(Arc::clone(old)),
            _ => None,
        };
        if let Some(old) = old {
            if old.is_mount_point() || old.inode.is_same(fresh.inode.as_ref()) {
                drop(children);
                return old;
            }
            let replaced = children.insert(name, Slot::Uncached(Arc::downgrade(&fresh)));
            drop(children);
            drop(replaced);
            return fresh;
        }
        if children.len() >= 64 {
            children.retain(
                |_, slot| !matches!(slot, Slot::Uncached(weak) if weak.strong_count() == 0),
            );
        }
        children.insert(name, Slot::Uncached(Arc::downgrade(&fresh)));
        fresh
    }

    /// Records that `name` is `inode`, unless the directory is never cached, and returns its dentry. The
    /// caller holds [`Dentry::lock_dir`].
    pub(crate) fn insert(self: &Arc<Self>, name: &Name, inode: Arc<dyn Inode>) -> Arc<Dentry> {
        if !self.caches_entries() {
            return self.insert_weak(name, inode);
        }
        let child = self.child(name, inode);
        self.put(name, Slot::Cached(Arc::clone(&child)));
        child
    }

    /// Records that there is no `name`. The caller holds [`Dentry::lock_dir`].
    pub(crate) fn set_absent(self: &Arc<Self>, name: &Name) {
        if self.caches_entries() && !self.is_unlinked() {
            self.put(name, Slot::Absent(AtomicBool::new(false)));
        } else {
            self.forget(name);
        }
    }

    fn put(self: &Arc<Self>, name: &Name, slot: Slot) {
        let old = self.children.write().insert(Arc::clone(name), slot);
        if old.is_none() {
            self.cache.added(self, name);
        }
        drop(old);
    }

    /// Forgets what is known of a name; whether something was.
    pub(crate) fn forget(&self, name: &[u8]) -> bool {
        let old = self.children.write().remove(name);
        old.is_some()
    }

    /// The name has gone: an open file or working directory may still hold the dentry.
    pub(crate) fn unlinked(self: &Arc<Self>) {
        self.unlinked.store(true, Ordering::Release);
        let (parent, name) = self.place();
        if let Some(parent) = parent {
            parent.set_absent(&name);
        }
        // A removed directory has no entries: what was known to be absent is of no use any more.
        self.forget_children();
    }

    /// Moves this dentry to another place. The caller holds both directories' locks (and `rename`).
    pub(crate) fn moved(self: &Arc<Self>, parent: &Arc<Dentry>, name: &Name) {
        let new = Place { parent: Some(Arc::clone(parent)), name: Arc::clone(name) };
        let old = core::mem::replace(&mut *self.place.write(), new);
        if let Some(directory) = &old.parent {
            directory.set_absent(&old.name);
        }
        if parent.caches_entries() {
            parent.put(name, Slot::Cached(Arc::clone(self)));
        } else {
            let replaced = parent
                .children
                .write()
                .insert(Arc::clone(name), Slot::Uncached(Arc::downgrade(self)));
            drop(replaced);
        }
    }

    /// Swaps the places of two dentries. The caller holds both directories' locks (and `rename`).
    pub(crate) fn exchanged(self: &Arc<Self>, other: &Arc<Dentry>) {
        let (my_parent, my_name) = self.place();
        let (other_parent, other_name) = other.place();
        let (Some(my_parent), Some(other_parent)) = (my_parent, other_parent) else { return };
        for (dentry, parent, name) in
            [(self, &other_parent, &other_name), (other, &my_parent, &my_name)]
        {
            let new = Place { parent: Some(Arc::clone(parent)), name: Arc::clone(name) };
            let old = core::mem::replace(&mut *dentry.place.write(), new);
            drop(old);
            let slot = if parent.caches_entries() {
                Slot::Cached(Arc::clone(dentry))
            } else {
                Slot::Uncached(Arc::downgrade(dentry))
            };
            let replaced = parent.children.write().insert(Arc::clone(name), slot);
            drop(replaced);
        }
    }

    /// How many names the table knows.
    #[cfg(test)]
    pub(crate) fn cached_names(&self) -> usize {
        self.children.read().len()
    }

    /// Empties the table, and those of the children that go with it: a loop, because trees are deep.
    pub(crate) fn forget_children(&self) {
        let mut pending: Vec<HashMap<Name, Slot>> =
            vec![core::mem::take(&mut *self.children.write())];
        while let Some(children) = pending.pop() {
            for slot in children.into_values() {
                if let Slot::Cached(child) = slot {
                    let grandchildren = core::mem::take(&mut *child.children.write());
                    if !grandchildren.is_empty() {
                        pending.push(grandchildren);
                    }
                }
            }
        }
    }

    /// Evicts what is not in use below `name`; called by the cache's clock. True where the entry may go or
    /// has gone, false where it must be looked at again later.
    fn try_evict(&self, name: &[u8]) -> bool {
        let mut children = self.children.write();
        let evict = match children.get(name) {
            None | Some(Slot::Uncached(_)) => return true,
            Some(Slot::Absent(referenced)) => !referenced.swap(false, Ordering::Relaxed),
            Some(Slot::Cached(child)) => {
                !child.referenced.swap(false, Ordering::Relaxed) && Arc::strong_count(child) == 1
            }
        };
        let old = if evict { children.remove(name) } else { None };
        drop(children);
        drop(old);
        evict
    }
}

impl DentryCache {
    /// From now on every name is looked up, because somebody changes the tree without telling.
    pub(crate) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    fn added(&self, parent: &Arc<Dentry>, name: &Name) {
        let mut candidates: [Option<(Weak<Dentry>, Name)>; EVICT_STEP] = Default::default();
        {
            let mut queue = self.queue.lock();
            queue.push_back((Arc::downgrade(parent), Arc::clone(name)));
            let total = TOTAL.fetch_add(1, Ordering::Relaxed);
            if queue.len() <= self.limit && total <= TOTAL_LIMIT {
                return;
            }
            candidates.fill_with(|| queue.pop_front());
        }
        for (parent, name) in candidates.into_iter().flatten() {
            let keep = parent.upgrade().is_some_and(|directory| !directory.try_evict(&name));
            if keep {
                self.queue.lock().push_back((parent, name));
            } else {
                TOTAL.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for DentryCache {
    fn drop(&mut self) {
        TOTAL.fetch_sub(self.queue.get_mut().len(), Ordering::Relaxed);
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        if *self.unlinked.get_mut() {
            crate::notify::dentry_gone(self);
        }
        // Parents that only this dentry kept go in a loop, not in a recursion: a guest makes chains of any length.
        let mut parent = self.place.get_mut().parent.take();
        while let Some(mut dentry) = parent.and_then(Arc::into_inner) {
            parent = dentry.place.get_mut().parent.take();
        }
    }
}
