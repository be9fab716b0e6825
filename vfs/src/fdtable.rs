//! Descriptor tables.
//!
//! Bounded by the limit that the caller passes in (`RLIMIT_NOFILE`), lowest free descriptor by a two-level
//! bitmap. A lookup takes a shared lock and one reference count. Files are dropped outside the lock.

mod slots;
#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use parking_lot::RwLock;

use self::slots::Slots;
use crate::file::OpenFile;
use crate::inode_state::InodeState;
use crate::locks::LockOwner;

static NEXT_TABLE: AtomicU64 = AtomicU64::new(1);

/// The descriptors of a process (or of several that share them).
pub struct FdTable {
    id: u64,
    slots: RwLock<Slots>,
}

impl Default for FdTable {
    fn default() -> Self {
        Self::from_slots(Slots::default())
    }
}

impl FdTable {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn from_slots(slots: Slots) -> Self {
        Self { id: NEXT_TABLE.fetch_add(1, Ordering::Relaxed), slots: RwLock::new(slots) }
    }

    /// Identity: the owner of POSIX record locks.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    /// EBADF.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>> {
        self.slots.read().get(fd).map(|slot| Arc::clone(&slot.file)).ok_or(Errno::EBADF)
    }

    /// The open file of a descriptor, and whether it is closed on exec.
    ///
    /// # Errors
    /// EBADF.
    pub fn get_with_flags(&self, fd: i32) -> Result<(Arc<OpenFile>, bool)> {
        let slots = self.slots.read();
        slots.get(fd).map(|slot| (Arc::clone(&slot.file), slot.close_on_exec)).ok_or(Errno::EBADF)
    }

    /// Installs a file at the lowest free descriptor from `min` on and below `limit`.
    ///
    /// # Errors
    /// EMFILE.
    pub fn install(
        &self,
        file: Arc<OpenFile>,
        close_on_exec: bool,
        min: i32,
        limit: u64,
    ) -> Result<i32> {
        let mut slots = self.slots.write();
        let result = slots
            .lowest_free(min, limit)
            .and_then(|fd| slots.put(fd, &file, close_on_exec).map(|_| fd));
        drop(slots);
        drop(file);
        result
    }

    /// Whether a descriptor below `limit` is free.
    pub fn has_room(&self, limit: u64) -> bool {
        self.slots.read().lowest_free(0, limit).is_ok()
    }

    /// Installs a file at this descriptor (`dup2`, `dup3`). What was there is closed: its locks are released
    /// and it is returned, for the caller to flush and drop.
    ///
    /// # Errors
    /// EBADF for a descriptor outside of the limit.
    pub fn install_at(
        &self,
        fd: i32,
        file: Arc<OpenFile>,
        close_on_exec: bool,
        limit: u64,
    ) -> Result<Option<Arc<OpenFile>>> {
        let inside = u64::try_from(fd).is_ok_and(|number| number < limit);
        if !inside {
            return Err(Errno::EBADF);
        }
        let old = self.slots.write().put(fd, &file, close_on_exec);
        drop(file);
        let old = old?;
        if let Some(old) = &old {
            self.release_locks(old);
        }
        Ok(old)
    }

    /// Removes a descriptor and releases the table's record locks on its file, which is returned for the
    /// caller to flush and drop.
    ///
    /// # Errors
    /// EBADF.
    pub fn remove(&self, fd: i32) -> Result<Arc<OpenFile>> {
        let file = self.slots.write().take(fd).ok_or(Errno::EBADF)?;
        self.release_locks(&file);
        Ok(file)
    }

    /// `close(2)`: removes, flushes, drops.
    ///
    /// # Errors
    /// EBADF and what the flush reports; the descriptor is gone even then.
    pub fn close(&self, fd: i32) -> Result<()> {
        self.remove(fd)?.file().flush()
    }

    fn release_locks(&self, file: &OpenFile) {
        if let Some(locks) = file.state().and_then(InodeState::locks_if_any) {
            locks.release_owner(LockOwner::Table(self.id));
        }
    }

    /// Whether a descriptor is closed on exec.
    ///
    /// # Errors
    /// EBADF.
    pub fn close_on_exec_flag(&self, fd: i32) -> Result<bool> {
        self.slots.read().get(fd).map(|slot| slot.close_on_exec).ok_or(Errno::EBADF)
    }

    /// Says whether a descriptor is closed on exec.
    ///
    /// # Errors
    /// EBADF.
    pub fn set_close_on_exec_flag(&self, fd: i32, close_on_exec: bool) -> Result<()> {
        let mut slots = self.slots.write();
        slots.get_mut(fd).map(|slot| slot.close_on_exec = close_on_exec).ok_or(Errno::EBADF)
    }

    /// A table of its own with the same files (`fork(2)`).
    pub fn copy(&self) -> Arc<Self> {
        Arc::new(Self::from_slots(self.slots.read().clone()))
    }

    /// The same without the descriptors `first` to `last` (`close_range(2)` with `CLOSE_RANGE_UNSHARE`).
    pub fn copy_without(&self, first: u32, last: u32) -> Arc<Self> {
        let mut slots = self.slots.read().clone();
        let removed = slots.take_range(first, last);
        let table = Arc::new(Self::from_slots(slots));
        drop(removed);
        table
    }

    /// Closes what is to be closed on exec.
    pub fn close_on_exec(&self) {
        let removed = self.slots.write().take_close_on_exec();
        self.closed(removed);
    }

    /// Closes the descriptors `first` to `last`, both included.
    pub fn close_range(&self, first: u32, last: u32) {
        let removed = self.slots.write().take_range(first, last);
        self.closed(removed);
    }

    /// Marks the descriptors `first` to `last` to be closed on exec.
    pub fn close_range_on_exec(&self, first: u32, last: u32) {
        self.slots.write().mark_range(first, last);
    }

    /// Closes everything, as when the last task that uses the table exits.
    pub fn clear(&self) {
        self.close_range(0, u32::MAX);
    }

    fn closed(&self, files: Vec<Arc<OpenFile>>) {
        for file in files {
            self.release_locks(&file);
            let _ = file.file().flush();
        }
    }

    /// The open descriptors in order.
    pub fn descriptors(&self) -> Vec<i32> {
        self.slots.read().iter().map(|(fd, _)| fd).collect()
    }

    /// The open descriptors in order, with their files and whether they are closed on exec.
    pub fn iter(&self) -> Vec<(i32, Arc<OpenFile>, bool)> {
        self.slots
            .read()
            .iter()
            .map(|(fd, slot)| (fd, Arc::clone(&slot.file), slot.close_on_exec))
            .collect()
    }

    /// How many descriptors are open.
    pub fn len(&self) -> usize {
        self.slots.read().len()
    }

    /// Whether no descriptor is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Slots that the table has room for without growing (`FDSize` of /proc/pid/status).
    pub fn capacity(&self) -> usize {
        self.slots.read().capacity()
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        self.clear();
    }
}
