//! Finding keys: breadth is a keyring's links in their order, depth is bounded.

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
        && roots(task).iter().any(|root| Arc::ptr_eq(root, key) || leads_to(root, key, &cred, 0))
}

fn leads_to(ring: &Key, key: &Arc<Key>, cred: &Credentials, depth: usize) -> bool {
    if depth > MAX_DEPTH || ring.check(cred, true, right::SEARCH).is_err() {
        return false;
    }
    ring.links().iter().any(|link| {
        Arc::ptr_eq(link, key)
            || link.kind() == Kind::Keyring && leads_to(link, key, cred, depth.saturating_add(1))
    })
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
    search.below(ring, 0)
}

struct Search<'a> {
    cred: &'a Credentials,
    now: u64,
    possessed: bool,
    wanted: Wanted<'a>,
}

impl Search<'_> {
    fn below(&self, ring: &Key, depth: usize) -> Result<Arc<Key>> {
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
            match self.below(inner, depth.saturating_add(1)) {
                Ok(key) => return Ok(key),
                Err(Errno::ENOKEY) => {}
                Err(errno) => worst = errno,
            }
        }
        Err(worst)
    }
}
