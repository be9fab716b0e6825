//! Tables of System V objects: by key, by identifier, by index.
//!
//! An identifier is made of an index and a sequence number, so that one of a removed object is not soon that of
//! another.

use std::sync::Arc;

use chitin_abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE};
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::perm::{Caller, Permission};

/// Identifiers are `sequence * SHIFT + index`.
const SHIFT: i32 = 32768;
const MAX_SEQUENCE: i32 = i32::MAX / SHIFT;

/// An object with a key and permissions.
pub trait Object: Send + Sync {
    /// Its permissions.
    fn permission(&self) -> Permission;
}

struct Entry<T> {
    id: i32,
    key: i32,
    object: Arc<T>,
}

struct Slots<T> {
    entries: Vec<Option<Entry<T>>>,
    count: usize,
    sequence: i32,
}

/// The objects of one kind in a namespace.
pub struct IdTable<T> {
    slots: Mutex<Slots<T>>,
    limit: usize,
}

impl<T: Object> IdTable<T> {
    /// A table for at most `limit` objects.
    pub fn new(limit: usize) -> Self {
        let slots = Slots { entries: Vec::new(), count: 0, sequence: 0 };
        Self { slots: Mutex::new(slots), limit }
    }

    /// The `…get` calls: the object of a key, or a new one.
    ///
    /// # Errors
    /// ENOENT, EEXIST, ENOSPC, EACCES, and what the two functions return.
    pub fn get_or_create(
        &self,
        key: i32,
        flags: u32,
        caller: &Caller<'_>,
        check: impl FnOnce(&T) -> Result<()>,
        create: impl FnOnce(&Self, i32) -> Result<Arc<T>>,
    ) -> Result<i32> {
        let mut slots = self.slots.lock();
        if key != IPC_PRIVATE {
            let known = slots.entries.iter().flatten().find(|entry| entry.key == key);
            if let Some(entry) = known {
                if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL {
                    return Err(Errno::EEXIST);
                }
                check(&entry.object)?;
                caller.check(&entry.object.permission(), flags)?;
                return Ok(entry.id);
            }
            if flags & IPC_CREAT == 0 {
                return Err(Errno::ENOENT);
            }
        }
        if slots.count >= self.limit {
            return Err(Errno::ENOSPC);
        }
        let free = slots.entries.iter().position(Option::is_none);
        let index = free.unwrap_or(slots.entries.len());
        let id = slots.sequence.saturating_mul(SHIFT).saturating_add(index as i32);
        let object = create(self, id)?;
        let entry = Some(Entry { id, key, object });
        match slots.entries.get_mut(index) {
            Some(slot) => *slot = entry,
            None => slots.entries.push(entry),
        }
        slots.count += 1;
        Ok(id)
    }

    /// The object with an identifier.
    ///
    /// # Errors
    /// EINVAL if there is none; EIDRM where there was another one.
    pub fn find(&self, id: i32) -> Result<Arc<T>> {
        let slots = self.slots.lock();
        let index = usize::try_from(id % SHIFT).map_err(|_| Errno::EINVAL)?;
        match slots.entries.get(index) {
            Some(Some(entry)) if entry.id == id => Ok(Arc::clone(&entry.object)),
            Some(Some(_)) => Err(Errno::EIDRM),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The object at an index (`…_STAT`), and its identifier.
    ///
    /// # Errors
    /// EINVAL if there is none.
    pub fn at(&self, index: i32) -> Result<(i32, Arc<T>)> {
        let slots = self.slots.lock();
        let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
        let entry = slots.entries.get(index).and_then(Option::as_ref).ok_or(Errno::EINVAL)?;
        Ok((entry.id, Arc::clone(&entry.object)))
    }

    /// All objects with their identifiers and keys.
    pub fn all(&self) -> Vec<(i32, i32, Arc<T>)> {
        let slots = self.slots.lock();
        slots
            .entries
            .iter()
            .flatten()
            .map(|entry| (entry.id, entry.key, Arc::clone(&entry.object)))
            .collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.lock().count
    }

    /// The highest index in use; 0 for an empty table.
    pub fn highest(&self) -> u64 {
        let slots = self.slots.lock();
        slots.entries.iter().rposition(Option::is_some).unwrap_or(0) as u64
    }

    /// The key of an object; `IPC_PRIVATE` once it was taken away.
    pub fn key_of(&self, id: i32) -> i32 {
        let slots = self.slots.lock();
        let entry = slots.entries.iter().flatten().find(|entry| entry.id == id);
        entry.map_or(IPC_PRIVATE, |entry| entry.key)
    }

    /// Takes an object's key away: it can be found by identifier only.
    pub fn forget_key(&self, id: i32) {
        let mut slots = self.slots.lock();
        if let Some(entry) = slots.entries.iter_mut().flatten().find(|entry| entry.id == id) {
            entry.key = IPC_PRIVATE;
        }
    }

    /// Removes an object.
    ///
    /// # Errors
    /// EIDRM if it is gone already.
    pub fn remove(&self, id: i32) -> Result<Arc<T>> {
        let mut slots = self.slots.lock();
        let slot =
            slots.entries.iter_mut().find(|slot| slot.as_ref().is_some_and(|entry| entry.id == id));
        let entry = slot.and_then(Option::take).ok_or(Errno::EIDRM)?;
        slots.count = slots.count.saturating_sub(1);
        // The next object at this index must have another identifier.
        slots.sequence = if slots.sequence >= MAX_SEQUENCE - 1 { 0 } else { slots.sequence + 1 };
        Ok(entry.object)
    }
}
