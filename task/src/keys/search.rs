//! Finding keys: breadth is a keyring's links in their order, depth is bounded. Keyrings form a lattice: each is looked at once
//! for each depth that it is met at, less deep than before, or the ways through it would be too many.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chitin_abi::{Errno, Result};

use super::{Key, Kind, MAX_DEPTH, right};
use crate::cred::Credentials;
use crate::task::Task;

/// What is sought.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The type.
    pub kind: Kind,
    /// The description.
    pub description: &'a [u8],
}

/// The keyrings that a caller's search starts from, in their order.
fn roots(task: &Task) -> Vec<Arc<Key>> {
    let rings = task.keyrings.lock().clone();
    let session = match rings.session {
        Some(session) => Some(session),
        None => task.kernel.keys.of_user(&task.cred()).ok().map(|rings| rings.1),
    };
    [rings.thread, rings.process, session].into_iter().flatten().collect()
}

/// Whether the caller's keyrings lead to this key, which must let itself be found.
pub fn possesses(task: &Task, key: &Arc<Key>) -> bool {
    let cred = task.cred();
    key.check(&cred, true, right::SEARCH).is_ok()
        && walk(roots(task), &cred, |found| Arc::ptr_eq(found, key))
}

/// The numbers of all keys that the caller's keyrings lead to.
pub fn possessed(task: &Task) -> HashSet<i32> {
    let mut all = HashSet::new();
    let cred = task.cred();
    walk(roots(task), &cred, |found| {
        if found.check(&cred, true, right::SEARCH).is_ok() {
            all.insert(found.serial());
        }
        false
    });
    all
}

/// Shows the keyrings and all keys that they lead to, until `visit` says that it has seen enough.
fn walk(
    roots: Vec<Arc<Key>>,
    cred: &Credentials,
    mut visit: impl FnMut(&Arc<Key>) -> bool,
) -> bool {
    let mut seen = Seen::default();
    if roots.iter().any(&mut visit) {
        return true;
    }
    let mut rings: Vec<_> = roots.into_iter().map(|root| (root, 0)).collect();
    while let Some((ring, depth)) = rings.pop() {
        let searchable = ring.check(cred, true, right::SEARCH).is_ok();
        if depth > MAX_DEPTH || !searchable || !seen.is_new(&ring, depth) {
            continue;
        }
        for link in ring.links() {
            if visit(&link) {
                return true;
            }
            if link.kind() == Kind::Keyring {
                rings.push((link, depth.saturating_add(1)));
            }
        }
    }
    false
}

/// Keyrings that were looked at, and how deep they lay.
#[derive(Default)]
struct Seen(HashMap<i32, usize>);

impl Seen {
    /// Whether there may be more below than when it was met before.
    fn is_new(&mut self, ring: &Key, depth: usize) -> bool {
        let known = self.0.entry(ring.serial()).or_insert(usize::MAX);
        let is_new = depth < *known;
        *known = depth.min(*known);
        is_new
    }
}

/// A key of the caller's keyrings. As on Linux, one that is of no use counts as missing, because some other keyring
/// does not have it.
///
/// # Errors
/// ENOKEY.
pub fn in_own(task: &Task, wanted: Wanted<'_>) -> Result<Arc<Key>> {
    let found = roots(task).iter().find_map(|root| in_ring(task, root, true, wanted).ok());
    found.ok_or(Errno::ENOKEY)
}

/// A key of a keyring and those below it.
///
/// # Errors
/// ENOTDIR, EACCES, ENOKEY, or why the one that was found is of no use.
pub fn in_ring(
    task: &Task,
    ring: &Arc<Key>,
    possessed: bool,
    wanted: Wanted<'_>,
) -> Result<Arc<Key>> {
    if ring.kind() != Kind::Keyring {
        return Err(Errno::ENOTDIR);
    }
    let cred = task.cred();
    ring.check(&cred, possessed, right::SEARCH)?;
    let search = Search { cred: &cred, now: task.kernel.clock.realtime_nanos(), possessed, wanted };
    search.below(ring, 0, &mut Seen::default())
}

struct Search<'a> {
    cred: &'a Credentials,
    now: u64,
    possessed: bool,
    wanted: Wanted<'a>,
}

impl Search<'_> {
    fn below(&self, ring: &Key, depth: usize, seen: &mut Seen) -> Result<Arc<Key>> {
        if !seen.is_new(ring, depth) {
            return Err(Errno::ENOKEY);
        }
        let links = ring.links();
        let mut worst = Errno::ENOKEY;
        let same = |key: &&Arc<Key>| {
            key.kind() == self.wanted.kind && key.description() == self.wanted.description
        };
        for key in links.iter().filter(same) {
            match key.validate(self.now) {
                Ok(()) if key.check(self.cred, self.possessed, right::SEARCH).is_ok() => {
                    return Ok(Arc::clone(key));
                }
                Ok(()) => worst = Errno::EACCES,
                Err(errno) => worst = errno,
            }
        }
        if depth >= MAX_DEPTH {
            return Err(worst);
        }
        for inner in links.iter().filter(|key| key.kind() == Kind::Keyring) {
            if inner.check(self.cred, self.possessed, right::SEARCH).is_err() {
                continue;
            }
            match self.below(inner, depth.saturating_add(1), seen) {
                Ok(key) => return Ok(key),
                Err(Errno::ENOKEY) => {}
                Err(errno) => worst = errno,
            }
        }
        Err(worst)
    }
}
