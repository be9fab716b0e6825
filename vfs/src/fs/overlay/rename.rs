//! Moving names.

use std::sync::Arc;

use chitin_abi::fs::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use chitin_abi::{Errno, Result};

use super::copy_up::Data;
use super::inode::{OverlayInode, Place};
use super::marker;

/// Runs `change` with both directories' `changes` held: by address, because the walk above has ordered them.
fn with_locks<T>(
    from: &OverlayInode,
    to: &OverlayInode,
    change: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if core::ptr::eq(from, to) {
        let removed = from.changes.lock();
        return if *removed { Err(Errno::ENOENT) } else { change() };
    }
    let first_is_from = core::ptr::from_ref(from).addr() < core::ptr::from_ref(to).addr();
    let (first, second) = if first_is_from { (from, to) } else { (to, from) };
    let (first, second) = (first.changes.lock(), second.changes.lock());
    if *first || *second { Err(Errno::ENOENT) } else { change() }
}

/// What makes a directory's lower part (or its absence) follow it to another place.
fn mark_moved(inode: &OverlayInode) -> Result<()> {
    let Some(upper) = inode.upper().filter(|_| inode.is_dir()) else { return Ok(()) };
    match &inode.lower_path {
        Some(path) if inode.has_lower() => marker::set_redirect(upper.as_ref(), path),
        _ => marker::set_opaque(upper.as_ref()),
    }
}

fn named(dir: &OverlayInode, name: &[u8]) -> Result<Arc<OverlayInode>> {
    let _changes = dir.changes.lock();
    dir.find(name)
}

pub(super) fn rename(
    from: &Arc<OverlayInode>,
    old_name: &[u8],
    to: &Arc<OverlayInode>,
    new_name: &[u8],
    flags: u32,
) -> Result<()> {
    if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE) != 0 {
        return Err(Errno::EINVAL);
    }
    let (upper_from, upper_to) = (from.upper_dir()?, to.upper_dir()?);
    let moved = named(from, old_name)?;
    moved.copy_up(Data::All)?;
    let exchanged = flags & RENAME_EXCHANGE != 0;
    if exchanged {
        named(to, new_name)?.copy_up(Data::All)?;
    }
    with_locks(from, to, || {
        let now = from.find(old_name)?;
        if !Arc::ptr_eq(&now, &moved) {
            return Err(Errno::ENOENT);
        }
        if upper_from.lookup(old_name).is_err() {
            // Copied up under another of its names: this one comes to be now.
            let upper = moved.upper().ok_or(Errno::ESTALE)?;
            upper_from.link(old_name, &upper)?;
        }
        mark_moved(&moved)?;
        if exchanged {
            let other = to.find(new_name)?;
            if upper_to.lookup(new_name).is_err() {
                upper_to.link(new_name, &other.upper().ok_or(Errno::ESTALE)?)?;
            }
            mark_moved(&other)?;
            upper_from.rename(old_name, &upper_to, new_name, RENAME_EXCHANGE)?;
            other.set_place(Some(Place { parent: Some(Arc::clone(from)), name: old_name.into() }));
        } else {
            let replaced = match to.find(new_name) {
                Ok(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
                Ok(victim) if Arc::ptr_eq(&victim, &moved) => return Ok(()),
                Ok(victim) => Some(victim),
                Err(Errno::ENOENT) => None,
                Err(error) => return Err(error),
            };
            if let Some(victim) = &replaced
                && victim.is_dir()
            {
                victim.clear()?;
            }
            marker::clear_whiteout(&upper_to, new_name)?;
            upper_from.rename(old_name, &upper_to, new_name, 0)?;
            if let Some(victim) = &replaced {
                if victim.is_dir() {
                    victim.set_links(Some(0));
                }
                to.name_removed(new_name, victim)?;
            }
            if from.lower_has(old_name)? {
                marker::whiteout(upper_from.as_ref(), old_name)?;
            }
        }
        moved.set_place(Some(Place { parent: Some(Arc::clone(to)), name: new_name.into() }));
        Ok(())
    })
}
