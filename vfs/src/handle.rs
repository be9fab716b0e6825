//! File handles (`open_by_handle_at(2)`): what finds a file again without its path.
//!
//! Model: a handle is the number of an inode of one file system instance. The instance remembers for the handles that it
//! gave out lately which name they were about; a handle is found by that name's dentry while it is cached, wherever it
//! has been moved to, else by looking the name up again. What is found must have the number of the handle: anything
//! else is stale, as is a handle that has been forgotten.
//!
//! Cost: nothing for who asks for no handles; memory is bounded by [`MOST`] handles and [`MOST_BYTES`] of names.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use hashbrown::HashMap;

use crate::dentry::{Dentry, Name};

/// Handles that an instance remembers.
const MOST: usize = 4096;
/// Bytes of their names.
const MOST_BYTES: usize = 1 << 20;
/// Bytes of a handle.
pub const HANDLE_LEN: usize = 12;
/// `FILEID_INO32_GEN`, the type of handles that can be opened.
pub const HANDLE_TYPE: i32 = 1;
/// `FILEID_INO64_GEN`, the type of those that only identify.
pub const FID_TYPE: i32 = 0x81;

struct Known {
    dentry: Weak<Dentry>,
    /// From the root.
    names: Vec<Name>,
}

impl Known {
    fn bytes(&self) -> usize {
        self.names.iter().map(|name| name.len().saturating_add(64)).sum()
    }
}

/// The handles that an instance gave out.
#[derive(Default)]
pub struct HandleTable {
    known: HashMap<u64, Known>,
    order: VecDeque<u64>,
    bytes: usize,
}

/// The bytes of the handle of an inode number.
pub fn encode(ino: u64) -> [u8; HANDLE_LEN] {
    let mut bytes = [0; HANDLE_LEN];
    if let Some(to) = bytes.first_chunk_mut() {
        *to = ino.to_le_bytes();
    }
    bytes
}

fn names_of(dentry: &Arc<Dentry>) -> Vec<Name> {
    let (mut names, mut at) = (Vec::new(), Arc::clone(dentry));
    while let (Some(parent), name) = at.place() {
        names.push(name);
        at = parent;
    }
    names.reverse();
    names
}

impl HandleTable {
    /// Remembers what a handle is about.
    fn remember(&mut self, ino: u64, dentry: &Arc<Dentry>) {
        let fresh = Known { dentry: Arc::downgrade(dentry), names: names_of(dentry) };
        self.bytes = self.bytes.saturating_add(fresh.bytes());
        match self.known.insert(ino, fresh) {
            Some(old) => self.bytes = self.bytes.saturating_sub(old.bytes()),
            None => self.order.push_back(ino),
        }
        while self.order.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(old) = self.known.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(old.bytes());
            }
        }
    }
}

/// The handle of a file, which can be found by it from now on.
///
/// # Errors
/// Those of the storage.
pub fn give(dentry: &Arc<Dentry>) -> Result<[u8; HANDLE_LEN]> {
    let ino = dentry.inode().attr()?.ino;
    dentry.inode().super_block().handles().lock().remember(ino, dentry);
    Ok(encode(ino))
}

/// The file of a handle, below the root of its tree.
///
/// # Errors
/// ESTALE.
pub fn find(root: &Arc<Dentry>, handle: &[u8]) -> Result<Arc<Dentry>> {
    let number = handle.first_chunk().ok_or(Errno::ESTALE)?;
    let ino = u64::from_le_bytes(*number);
    let (cached, names) = {
        let table = root.inode().super_block().handles().lock();
        let known = table.known.get(&ino).ok_or(Errno::ESTALE)?;
        (known.dentry.upgrade(), known.names.clone())
    };
    let is_it = |dentry: &Arc<Dentry>| {
        let attr = dentry.inode().attr();
        attr.is_ok_and(|attr| attr.ino == ino && attr.nlink > 0)
    };
    if let Some(dentry) = cached.filter(|dentry| is_it(dentry)) {
        return Ok(dentry);
    }
    let mut at = Arc::clone(root);
    for name in &names {
        at = at.lookup(name).map_err(|_| Errno::ESTALE)?;
    }
    if is_it(&at) { Ok(at) } else { Err(Errno::ESTALE) }
}
