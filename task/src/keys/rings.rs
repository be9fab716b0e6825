//! The keyrings of tasks: of a thread, a process, a session; and what `KEY_SPEC_…` means to the caller.

use std::sync::Arc;

use chitin_abi::system::{
    KEY_SPEC_GROUP_KEYRING, KEY_SPEC_PROCESS_KEYRING, KEY_SPEC_REQKEY_AUTH_KEY,
    KEY_SPEC_REQUESTOR_KEYRING, KEY_SPEC_SESSION_KEYRING, KEY_SPEC_THREAD_KEYRING,
    KEY_SPEC_USER_KEYRING, KEY_SPEC_USER_SESSION_KEYRING,
};
use chitin_abi::{Errno, Result};

use super::search::possesses;
use super::{Key, Kind, NewKey, right};
use crate::task::Task;

/// A task's own keyrings.
#[derive(Clone, Default)]
pub struct TaskRings {
    /// Of the thread.
    pub thread: Option<Arc<Key>>,
    /// Whether the thread that made this one had a keyring, so that this one has one too: it is made when it is
    /// asked for.
    pub has_thread: bool,
    /// Of the process; shared by threads that began after it was made.
    pub process: Option<Arc<Key>>,
    /// Of the session.
    pub session: Option<Arc<Key>>,
    /// `KEYCTL_SET_REQKEY_KEYRING`.
    pub default: i32,
}

impl TaskRings {
    /// What a child gets: a thread the process's, a process neither.
    pub fn for_child(&self, thread: bool) -> Self {
        let process = if thread { self.process.clone() } else { None };
        Self {
            thread: None,
            has_thread: thread && (self.has_thread || self.thread.is_some()),
            process,
            session: self.session.clone(),
            default: self.default,
        }
    }

    /// What a new program keeps.
    pub fn after_exec(&mut self) {
        (self.thread, self.process, self.has_thread) = (None, None, false);
    }
}

/// How a key is looked up by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A special keyring that is not there is made.
    Create,
    /// It is not.
    Existing,
    /// As `Existing`, and the key may be revoked or expired.
    Partial,
}

/// A key with whether the caller possesses it.
pub struct Found {
    /// The key.
    pub key: Arc<Key>,
    /// Whether the caller's keyrings lead to it.
    pub possessed: bool,
}

/// The key that a guest's number means, if the caller has these rights to it.
///
/// # Errors
/// EINVAL, ENOKEY, EKEYREVOKED, EKEYEXPIRED, EACCES.
pub fn find(task: &Task, id: i32, how: Lookup, wanted: u32) -> Result<Found> {
    let found = if id > 0 {
        let key = task.kernel.keys.get(id)?;
        let possessed = possesses(task, &key);
        Found { key, possessed }
    } else {
        Found { key: special(task, id, how == Lookup::Create)?, possessed: true }
    };
    if how != Lookup::Partial {
        found.key.validate(task.kernel.clock.realtime_nanos())?;
    }
    found.key.check(&task.cred(), found.possessed, wanted)?;
    Ok(found)
}

/// The keyring of a special number.
///
/// # Errors
/// EINVAL for no such number, ENOKEY where there is none and none is to be made.
pub fn special(task: &Task, id: i32, create: bool) -> Result<Arc<Key>> {
    let create = create || id == KEY_SPEC_THREAD_KEYRING && task.keyrings.lock().has_thread;
    let (thread, process) = {
        let rings = task.keyrings.lock();
        (rings.thread.clone(), rings.process.clone())
    };
    let missing = |found: Option<Arc<Key>>| match found {
        Some(key) => Ok(Some(key)),
        None if create => Ok(None),
        None => Err(Errno::ENOKEY),
    };
    let own = right::possessor(right::ALL) | right::owner(right::VIEW);
    match id {
        KEY_SPEC_THREAD_KEYRING => match missing(thread)? {
            Some(key) => Ok(key),
            None => install(task, b"_tid", own, |rings| &mut rings.thread),
        },
        KEY_SPEC_PROCESS_KEYRING => match missing(process)? {
            Some(key) => Ok(key),
            None => install(task, b"_pid", own, |rings| &mut rings.process),
        },
        KEY_SPEC_SESSION_KEYRING => session(task),
        KEY_SPEC_USER_KEYRING => Ok(task.kernel.keys.of_user(&task.cred())?.0),
        KEY_SPEC_USER_SESSION_KEYRING => Ok(task.kernel.keys.of_user(&task.cred())?.1),
        KEY_SPEC_GROUP_KEYRING => Err(Errno::EINVAL),
        KEY_SPEC_REQKEY_AUTH_KEY | KEY_SPEC_REQUESTOR_KEYRING => Err(Errno::ENOKEY),
        _ => Err(Errno::EINVAL),
    }
}

/// The session keyring: the user's where the session has none.
fn session(task: &Task) -> Result<Arc<Key>> {
    let known = task.keyrings.lock().session.clone();
    if let Some(key) = known {
        return Ok(key);
    }
    let key = task.kernel.keys.of_user(&task.cred())?.1;
    task.keyrings.lock().session = Some(Arc::clone(&key));
    Ok(key)
}

fn install(
    task: &Task,
    name: &[u8],
    rights: u32,
    place: impl FnOnce(&mut TaskRings) -> &mut Option<Arc<Key>>,
) -> Result<Arc<Key>> {
    let key = new_ring(task, name.to_vec(), rights)?;
    let old = place(&mut task.keyrings.lock()).replace(Arc::clone(&key));
    drop(old);
    Ok(key)
}

fn new_ring(task: &Task, description: Vec<u8>, rights: u32) -> Result<Arc<Key>> {
    let (kind, payload) = (Kind::Keyring, Vec::new());
    let new =
        NewKey { kind, description, payload, rights: Some(rights), charged: true, owner: None };
    task.kernel.keys.create(&task.cred(), new)
}

/// `KEYCTL_JOIN_SESSION_KEYRING`: a new session keyring, or the one of this name.
///
/// # Errors
/// Those of making a keyring, EACCES.
pub fn join_session(task: &Task, name: Option<Vec<u8>>) -> Result<Arc<Key>> {
    let plain = right::possessor(right::ALL) | right::owner(right::VIEW | right::READ);
    let Some(name) = name else {
        return install(task, b"_ses", plain, |rings| &mut rings.session);
    };
    let (cred, now) = (task.cred(), task.kernel.clock.realtime_nanos());
    let known = task.kernel.keys.all().into_iter().find(|key| {
        key.kind() == Kind::Keyring
            && key.description() == name
            && key.validate(now).is_ok()
            && key.check(&cred, false, right::SEARCH).is_ok()
    });
    let key = match known {
        Some(key) => key,
        None => new_ring(task, name, plain | right::owner(right::LINK))?,
    };
    let old = task.keyrings.lock().session.replace(Arc::clone(&key));
    drop(old);
    Ok(key)
}
