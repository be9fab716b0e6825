//! What the VFS keeps for each inode, whatever file system it belongs to.
//!
//! All of it is made on first use: an inode that nobody locks, watches or writes costs a few words.

use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use chitin_abi::{Errno, Result};
use parking_lot::{Mutex, RwLock};

use crate::locks::FileLocks;
use crate::notify::{MarkList, Watch};
use crate::pipe::FifoSlot;

/// Locks, watches, a FIFO's pipe or a bound socket, counts of writers.
#[derive(Default)]
pub struct InodeState {
    locks: OnceLock<Box<FileLocks>>,
    /// Union of what the watches are interested in.
    watch_mask: AtomicU32,
    watches: RwLock<Vec<Weak<Watch>>>,
    fifo: OnceLock<Box<FifoSlot>>,
    extension: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    /// The file is known to have neither set-id bits nor capabilities.
    no_privileges: AtomicBool,
    /// An unnamed file that may get a name.
    linkable: AtomicBool,
    /// Open files that may write (positive) or running programs that forbid it (negative).
    write_count: AtomicI64,
    /// Open files that may only read.
    read_count: AtomicI64,
    /// `F_SET_RW_HINT`.
    write_hint: AtomicU8,
    marks: OnceLock<Box<MarkList>>,
}

impl InodeState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file's locks.
    pub fn locks(&self) -> &FileLocks {
        self.locks.get_or_init(Box::default)
    }

    /// The file's locks if there ever were some.
    pub fn locks_if_any(&self) -> Option<&FileLocks> {
        self.locks.get().map(Box::as_ref)
    }

    /// Where a FIFO's pipe is found.
    pub fn fifo(&self) -> &FifoSlot {
        self.fifo.get_or_init(Box::default)
    }

    /// A socket's bound endpoint: whatever the part of the kernel that owns it puts there.
    pub fn extension(&self) -> &Mutex<Option<Arc<dyn Any + Send + Sync>>> {
        &self.extension
    }

    /// Whether the file is known to have neither set-id bits nor capabilities.
    pub(crate) fn has_no_privileges(&self) -> bool {
        self.no_privileges.load(Ordering::Acquire)
    }

    /// The file has neither.
    pub(crate) fn set_no_privileges(&self) {
        self.no_privileges.store(true, Ordering::Release);
    }

    /// Mode, owner or attributes have changed.
    pub(crate) fn privileges_changed(&self) {
        self.no_privileges.store(false, Ordering::Release);
    }

    /// Whether an unnamed file may get a name.
    pub(crate) fn is_linkable(&self) -> bool {
        self.linkable.load(Ordering::Acquire)
    }

    /// The unnamed file may get a name.
    pub(crate) fn set_linkable(&self) {
        self.linkable.store(true, Ordering::Release);
    }

    /// Counts one more open file that may write.
    ///
    /// # Errors
    /// ETXTBSY while it is being executed.
    pub fn get_write(&self) -> Result<()> {
        self.count(1, |count| count >= 0)
    }

    /// One open file that may write has gone.
    pub fn put_write(&self) {
        self.write_count.fetch_sub(1, Ordering::AcqRel);
    }

    /// Forbids opening for writing while a program runs from it.
    ///
    /// # Errors
    /// ETXTBSY while it is open for writing.
    pub fn deny_write(&self) -> Result<()> {
        self.count(-1, |count| count <= 0)
    }

    /// Undoes one [`InodeState::deny_write`].
    pub fn allow_write(&self) {
        self.write_count.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts one more open file that may only read.
    pub(crate) fn get_read(&self) {
        self.read_count.fetch_add(1, Ordering::AcqRel);
    }

    /// One open file that may only read has gone.
    pub(crate) fn put_read(&self) {
        self.read_count.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many open files may only read, and how many may write.
    pub(crate) fn users(&self) -> (i64, i64) {
        (self.read_count.load(Ordering::Acquire), self.write_count.load(Ordering::Acquire))
    }

    /// How long what is written is expected to live (`RWH_WRITE_LIFE_…`).
    pub fn write_hint(&self) -> u8 {
        self.write_hint.load(Ordering::Relaxed)
    }

    /// Sets what [`InodeState::write_hint`] says.
    pub fn set_write_hint(&self, hint: u8) {
        self.write_hint.store(hint, Ordering::Relaxed);
    }

    /// Whether some open file may write to it.
    pub fn has_writers(&self) -> bool {
        self.write_count.load(Ordering::Acquire) > 0
    }

    fn count(&self, change: i64, allowed: impl Fn(i64) -> bool) -> Result<()> {
        self.write_count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                if allowed(count) { count.checked_add(change) } else { None }
            })
            .map(|_| ())
            .map_err(|_| Errno::ETXTBSY)
    }

    /// Its fanotify marks.
    pub(crate) fn marks(&self) -> &MarkList {
        self.marks.get_or_init(Box::default)
    }

    /// Its fanotify marks if there ever were some.
    pub(crate) fn marks_if_any(&self) -> Option<&MarkList> {
        self.marks.get().map(Box::as_ref)
    }

    /// Whether a watch asks for one of these events.
    pub(crate) fn is_watched(&self, mask: u32) -> bool {
        self.watch_mask.load(Ordering::Acquire) & mask != 0
    }

    /// The live watches.
    pub(crate) fn watches(&self) -> Vec<Arc<Watch>> {
        self.watches.read().iter().filter_map(Weak::upgrade).collect()
    }

    /// Adds a watch.
    pub(crate) fn add_watch(&self, watch: &Arc<Watch>) {
        self.watches.write().push(Arc::downgrade(watch));
        self.refresh_watches();
    }

    /// Forgets watches that have gone and recomputes the union of the masks.
    pub(crate) fn refresh_watches(&self) {
        let mut watches = self.watches.write();
        let living: Vec<Arc<Watch>> =
            watches.iter().filter_map(Weak::upgrade).filter(|watch| !watch.is_removed()).collect();
        *watches = living.iter().map(Arc::downgrade).collect();
        let union = living.iter().fold(0, |union, watch| union | watch.mask());
        self.watch_mask.store(union, Ordering::Release);
        // Watches may be dropped here, which must not happen under the lock.
        drop(watches);
        drop(living);
    }
}
