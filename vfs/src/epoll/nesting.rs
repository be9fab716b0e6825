//! Epoll sets that watch epoll sets: no cycles, and no chains so long that polling one would take long.
//!
//! The limits are those of Linux: at most four edges in a chain of sets (ELOOP), and four above the set that watches a
//! file (EINVAL).

use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use parking_lot::{Mutex, MutexGuard};

use super::Epoll;

/// Most edges below a set that is to be watched, and above a set that is to watch something.
const MAX_NESTS: usize = 4;

/// Held while an edge between epoll sets is checked and made; it protects no data of its own.
static EDGES: Mutex<()> = Mutex::new(());

/// Keeps other edges from being made.
pub(super) fn lock() -> MutexGuard<'static, ()> {
    EDGES.lock()
}

/// Checks that `outer` may watch `inner`.
pub(super) fn check_cycle(outer: &Epoll, inner: &Epoll) -> Result<()> {
    let below = depth_below(inner, outer, 0)?;
    let above = depth_above(outer, 0)?;
    if below + 1 + above > MAX_NESTS { Err(Errno::ELOOP) } else { Ok(()) }
}

/// Checks that events that `outer` passes on do not have too far to go, and notes who watches `inner`.
pub(super) fn check_path(outer: &Epoll, inner: Option<&Epoll>) -> Result<()> {
    depth_above(outer, 0)?;
    if let Some(inner) = inner {
        let mut parents = inner.parents.lock();
        parents.retain(|parent| parent.strong_count() > 0);
        parents.push(outer.this.clone());
    }
    Ok(())
}

/// The longest chain downwards from `epoll`, which must not reach `forbidden`.
fn depth_below(epoll: &Epoll, forbidden: &Epoll, level: usize) -> Result<usize> {
    if core::ptr::eq(epoll, forbidden) || level > MAX_NESTS {
        return Err(Errno::ELOOP);
    }
    let files: Vec<_> = epoll.items.lock().values().filter_map(|item| item.file()).collect();
    let mut depth = 0;
    for inner in files.iter().filter_map(|file| Epoll::of(file).ok()) {
        depth = depth.max(depth_below(inner, forbidden, level + 1)? + 1);
    }
    Ok(depth)
}

/// The longest chain upwards.
fn depth_above(epoll: &Epoll, level: usize) -> Result<usize> {
    if level > MAX_NESTS {
        return Err(Errno::EINVAL);
    }
    let parents: Vec<Arc<Epoll>> = epoll.parents.lock().iter().filter_map(Weak::upgrade).collect();
    let mut depth = 0;
    for parent in parents.iter().filter(|parent| watches(parent, epoll)) {
        depth = depth.max(depth_above(parent, level + 1)? + 1);
    }
    Ok(depth)
}

/// Whether the edge still exists: edges are not unmade when an item is removed.
fn watches(outer: &Epoll, inner: &Epoll) -> bool {
    let files: Vec<_> = outer.items.lock().values().filter_map(|item| item.file()).collect();
    files.iter().any(|file| Epoll::of(file).is_ok_and(|epoll| core::ptr::eq(epoll, inner)))
}
