//! Moving entries.

use std::sync::Arc;

use chitin_abi::fs::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
use chitin_abi::{Errno, Result};
use parking_lot::MutexGuard;

use super::dir::Entries;
use super::inode::{TmpfsInode, whiteout};

/// The entries of one or two directories, locked.
enum Locked<'a> {
    One(MutexGuard<'a, Entries>),
    Two(MutexGuard<'a, Entries>, MutexGuard<'a, Entries>),
}

impl<'a> Locked<'a> {
    fn new(from: &'a TmpfsInode, to: &'a TmpfsInode) -> Result<Self> {
        let (first, second) = (from.entries()?, to.entries()?);
        if core::ptr::eq(first, second) {
            return Ok(Self::One(first.lock()));
        }
        if core::ptr::from_ref(first).addr() < core::ptr::from_ref(second).addr() {
            let first = first.lock();
            Ok(Self::Two(first, second.lock()))
        } else {
            let second = second.lock();
            Ok(Self::Two(first.lock(), second))
        }
    }

    fn from(&mut self) -> &mut Entries {
        match self {
            Self::One(entries) | Self::Two(entries, _) => entries,
        }
    }

    fn to(&mut self) -> &mut Entries {
        match self {
            Self::One(entries) | Self::Two(_, entries) => entries,
        }
    }
}

pub(super) fn rename(
    from: &TmpfsInode,
    old_name: &[u8],
    to: &TmpfsInode,
    new_name: &[u8],
    flags: u32,
) -> Result<()> {
    if flags & RENAME_EXCHANGE != 0 {
        return exchange(from, old_name, to, new_name);
    }
    // Made before the locks are taken: it may fail.
    let mark = if flags & RENAME_WHITEOUT != 0 { Some(whiteout(from)?) } else { None };
    let (moved, replaced) = {
        let mut locked = Locked::new(from, to)?;
        let moved = Arc::clone(locked.from().get(old_name)?);
        if locked.to().is_dead() {
            return Err(Errno::ENOENT);
        }
        if let Ok(victim) = locked.to().get(new_name) {
            if flags & RENAME_NOREPLACE != 0 {
                return Err(Errno::EEXIST);
            }
            if Arc::ptr_eq(victim, &moved) {
                return Ok(());
            }
            if victim.is_dir() {
                victim.entries()?.lock().kill()?;
            }
        }
        locked.from().remove(old_name);
        let replaced = locked.to().insert(new_name, Arc::clone(&moved));
        if let Some(mark) = mark {
            locked.from().insert(old_name, mark);
        }
        (moved, replaced)
    };
    from.moved_names(to, &moved, replaced.as_deref());
    from.modified();
    to.modified();
    Ok(())
}

fn exchange(from: &TmpfsInode, old_name: &[u8], to: &TmpfsInode, new_name: &[u8]) -> Result<()> {
    let (one, other) = {
        let mut locked = Locked::new(from, to)?;
        let one = Arc::clone(locked.from().get(old_name)?);
        let other = Arc::clone(locked.to().get(new_name)?);
        locked.from().insert(old_name, Arc::clone(&other));
        locked.to().insert(new_name, Arc::clone(&one));
        (one, other)
    };
    from.moved_names(to, &one, None);
    to.moved_names(from, &other, None);
    from.modified();
    to.modified();
    Ok(())
}
