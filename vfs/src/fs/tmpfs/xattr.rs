//! Extended attributes in memory, bounded per inode.

use std::collections::BTreeMap;

use chitin_abi::fs::{XATTR_CREATE, XATTR_REPLACE, XATTR_SYSTEM_PREFIX};
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

/// Name and value of each attribute; nothing is allocated for a file without.
pub(super) type Table = Mutex<Option<Box<BTreeMap<Vec<u8>, Vec<u8>>>>>;

/// Most bytes of names and values of one inode.
const LIMIT: usize = 128 * 1024;

fn check(name: &[u8]) -> Result<()> {
    if name.starts_with(XATTR_SYSTEM_PREFIX.as_bytes()) { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

pub(super) fn get(table: &Table, name: &[u8]) -> Result<Vec<u8>> {
    check(name)?;
    table.lock().as_ref().and_then(|xattrs| xattrs.get(name).cloned()).ok_or(Errno::ENODATA)
}

pub(super) fn set(table: &Table, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
    check(name)?;
    let mut table = table.lock();
    let xattrs = table.get_or_insert_default();
    let exists = xattrs.contains_key(name);
    if exists && flags & XATTR_CREATE != 0 {
        return Err(Errno::EEXIST);
    }
    if !exists && flags & XATTR_REPLACE != 0 {
        return Err(Errno::ENODATA);
    }
    let used: usize = xattrs
        .iter()
        .filter(|(known, _)| known.as_slice() != name)
        .map(|(known, value)| known.len() + value.len())
        .sum();
    if used + name.len() + value.len() > LIMIT {
        return Err(Errno::ENOSPC);
    }
    xattrs.insert(name.to_vec(), value.to_vec());
    Ok(())
}

pub(super) fn remove(table: &Table, name: &[u8]) -> Result<()> {
    check(name)?;
    let removed = table.lock().as_mut().and_then(|xattrs| xattrs.remove(name));
    removed.map(|_| ()).ok_or(Errno::ENODATA)
}
