//! Extended attributes in memory, bounded per inode.

use std::collections::BTreeMap;

use chitin_abi::fs::{XATTR_CREATE, XATTR_REPLACE, XATTR_SYSTEM_PREFIX};
use chitin_abi::{Errno, PAGE_SIZE, Result};
use parking_lot::Mutex;

use super::space::Space;
use crate::acl::AclKind;

/// Name and value of each attribute; nothing is allocated for a file without.
pub(super) type Table = Mutex<Option<Box<BTreeMap<Vec<u8>, Vec<u8>>>>>;

/// Most bytes of names and values of one inode.
const LIMIT: usize = 128 * 1024;

fn check(name: &[u8]) -> Result<()> {
    let known = !name.starts_with(XATTR_SYSTEM_PREFIX.as_bytes()) || AclKind::of(name).is_some();
    if known { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

pub(super) fn get(table: &Table, name: &[u8]) -> Result<Vec<u8>> {
    check(name)?;
    table.lock().as_ref().and_then(|xattrs| xattrs.get(name).cloned()).ok_or(Errno::ENODATA)
}

fn bytes(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> usize {
    xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Pages that so many bytes are charged for: a few short attributes are free.
fn charge(bytes: usize) -> u64 {
    (bytes + 3 * 1024) as u64 / PAGE_SIZE
}

/// Pages that the attributes are charged for.
pub(super) fn pages(table: &Table) -> u64 {
    table.lock().as_ref().map_or(0, |xattrs| charge(bytes(xattrs)))
}

pub(super) fn set(
    table: &Table,
    name: &[u8],
    value: &[u8],
    flags: u32,
    space: &Space,
) -> Result<()> {
    check(name)?;
    let mut table = table.lock();
    let xattrs = table.get_or_insert_default();
    let old = xattrs.get(name);
    if old.is_some() && flags & XATTR_CREATE != 0 {
        return Err(Errno::EEXIST);
    }
    if old.is_none() && flags & XATTR_REPLACE != 0 {
        return Err(Errno::ENODATA);
    }
    let before = bytes(xattrs);
    let after = before - old.map_or(0, |old| name.len() + old.len()) + name.len() + value.len();
    if after > LIMIT {
        return Err(Errno::ENOSPC);
    }
    space.charge(charge(after).saturating_sub(charge(before)))?;
    space.release(charge(before).saturating_sub(charge(after)));
    xattrs.insert(name.to_vec(), value.to_vec());
    Ok(())
}

pub(super) fn remove(table: &Table, name: &[u8], space: &Space) -> Result<()> {
    check(name)?;
    let mut table = table.lock();
    let xattrs = table.as_mut().ok_or(Errno::ENODATA)?;
    let before = bytes(xattrs);
    xattrs.remove(name).ok_or(Errno::ENODATA)?;
    space.release(charge(before).saturating_sub(charge(bytes(xattrs))));
    Ok(())
}
