//! Keys and keyrings (`keyrings(7)`): what a process, a session or a user keeps by serial number.
//!
//! Model: a [`Key`] lives as long as a keyring, a task or a user holds it; the [`Keys`] table finds it by its number.
//! There are the types `user`, `logon` and `keyring`. Nothing is asked of user space: a key that is not there is not
//! made by `request_key(2)`.
//!
//! - [`rings`]: the keyrings that tasks have, and what `KEY_SPEC_…` means.
//! - [`search`]: finding a key by its description, and who possesses it.
//!
//! - [`usage`]: what a user's keys take, and how much they may.
//!
//! Locks: `nesting` (held while a keyring is linked into another, so that no two links close a circle), then a key's
//! state; no two keys are locked at once. The table's lock is taken before none.
//!
//! Keyrings are nested as deep as a guest likes, from the top down, as on Linux. So nothing recurses by that depth: a walk goes
//! [`MAX_DEPTH`] levels and looks at a keyring once for each of them, and a drop takes keyrings apart one after the other.

pub mod rings;
pub mod search;
mod usage;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use self::usage::Usage;
use crate::cred::Credentials;

/// How deep keyrings may lie in each other.
pub const MAX_DEPTH: usize = 6;
/// Most links of one keyring.
const MAX_LINKS: usize = 4096;
/// Bytes that a link counts for (`KEYQUOTA_LINK_BYTES`).
const LINK_BYTES: u64 = 4;
/// Keys or users that the table holds before it is looked through for those that are gone.
const FIRST_SWEEP: usize = 1024;

/// Rights to a key, as `KEYCTL_SETPERM` packs them for other users; those of the possessor stand 24 bits above.
pub mod right {
    /// Its attributes may be seen.
    pub const VIEW: u32 = 0x01;
    /// Its payload or links may be read.
    pub const READ: u32 = 0x02;
    /// Its payload or links may be changed.
    pub const WRITE: u32 = 0x04;
    /// It may be found and searched.
    pub const SEARCH: u32 = 0x08;
    /// Links to it may be made.
    pub const LINK: u32 = 0x10;
    /// Its owner, rights and time limit may be changed.
    pub const SETATTR: u32 = 0x20;
    /// All of these.
    pub const ALL: u32 = 0x3f;
    /// The possessor's rights.
    pub const fn possessor(rights: u32) -> u32 {
        rights << 24
    }
    /// The owner's rights.
    pub const fn owner(rights: u32) -> u32 {
        rights << 16
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that can be read.
    User,
    /// Bytes that cannot.
    Logon,
    /// Other keys.
    Keyring,
}

impl Kind {
    /// The type of this name.
    ///
    /// # Errors
    /// ENODEV for one that does not exist.
    pub fn from_name(name: &[u8]) -> Result<Self> {
        match name {
            b"user" => Ok(Self::User),
            b"logon" => Ok(Self::Logon),
            b"keyring" => Ok(Self::Keyring),
            _ => Err(Errno::ENODEV),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Logon => "logon",
            Self::Keyring => "keyring",
        }
    }

    /// The rights of a new key of `add_key(2)`.
    const fn rights(self) -> u32 {
        let own = right::VIEW | right::SEARCH | right::LINK | right::SETATTR | right::WRITE;
        let read = if matches!(self, Self::Logon) { 0 } else { right::READ };
        right::possessor(own | read) | right::owner(right::VIEW)
    }
}

/// Why a key is of no use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Valid,
    Revoked,
    Invalid,
}

#[derive(Default)]
struct State {
    uid: u32,
    gid: u32,
    rights: u32,
    life: Life,
    /// Wall-clock nanoseconds.
    expires: Option<u64>,
    payload: Vec<u8>,
    links: Vec<Arc<Key>>,
    /// `KEYCTL_RESTRICT_KEYRING`: nothing more may be linked.
    restricted: bool,
}

/// A key or keyring.
pub struct Key {
    serial: i32,
    kind: Kind,
    description: Vec<u8>,
    state: Mutex<State>,
    charged: Option<Arc<Usage>>,
    nesting: Arc<Mutex<()>>,
}

impl State {
    /// What it counts for beside the description.
    fn bytes(&self) -> u64 {
        self.payload.len() as u64 + LINK_BYTES * self.links.len() as u64
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Some(usage) = &self.charged {
            usage.give_back(description_bytes(&self.description) + self.state.get_mut().bytes());
        }
        // One after the other: a chain of keyrings may be longer than a stack.
        let mut rest = core::mem::take(&mut self.state.get_mut().links);
        while let Some(link) = rest.pop() {
            if let Some(mut key) = Arc::into_inner(link) {
                let state = key.state.get_mut();
                if let Some(usage) = &key.charged {
                    usage.shrink(LINK_BYTES * state.links.len() as u64);
                }
                rest.append(&mut state.links);
            }
        }
    }
}

fn description_bytes(description: &[u8]) -> u64 {
    description.len() as u64 + 1
}

impl Key {
    /// Its number.
    pub fn serial(&self) -> i32 {
        self.serial
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its description.
    pub fn description(&self) -> &[u8] {
        &self.description
    }

    /// Owner, group and rights.
    pub fn attributes(&self) -> (u32, u32, u32) {
        let state = self.state.lock();
        (state.uid, state.gid, state.rights)
    }

    /// Whether it may be used at this wall-clock time.
    ///
    /// # Errors
    /// ENOKEY, EKEYREVOKED, EKEYEXPIRED.
    pub fn validate(&self, now: u64) -> Result<()> {
        let state = self.state.lock();
        match state.life {
            Life::Invalid => Err(Errno::ENOKEY),
            Life::Revoked => Err(Errno::EKEYREVOKED),
            Life::Valid if state.expires.is_some_and(|at| at <= now) => Err(Errno::EKEYEXPIRED),
            Life::Valid => Ok(()),
        }
    }

    /// Whether these credentials grant all of `wanted`.
    ///
    /// # Errors
    /// EACCES.
    pub fn check(&self, cred: &Credentials, possessed: bool, wanted: u32) -> Result<()> {
        let (uid, gid, rights) = self.attributes();
        let group = rights >> 8 & right::ALL;
        let own = if uid == cred.fsuid {
            rights >> 16
        } else if group != 0 && (gid == cred.fsgid || cred.in_group(gid)) {
            group
        } else {
            rights
        };
        let held = if possessed { own | rights >> 24 } else { own };
        if held & wanted == wanted { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// When it expires, in wall-clock nanoseconds.
    pub fn expires(&self) -> Option<u64> {
        self.state.lock().expires
    }

    /// The keys of a keyring.
    pub fn links(&self) -> Vec<Arc<Self>> {
        self.state.lock().links.clone()
    }

    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        self.state.lock().payload.clone()
    }

    /// Replaces the payload.
    ///
    /// # Errors
    /// EOPNOTSUPP for a keyring, EINVAL for a payload that the type does not take, EDQUOT.
    pub fn update(&self, payload: Vec<u8>) -> Result<()> {
        if self.kind == Kind::Keyring {
            return Err(Errno::EOPNOTSUPP);
        }
        check_payload(self.kind, &payload)?;
        let old = {
            let mut state = self.state.lock();
            self.resize(state.payload.len() as u64, payload.len() as u64)?;
            state.expires = None;
            core::mem::replace(&mut state.payload, payload)
        };
        drop(old);
        Ok(())
    }

    /// A part of it takes `new` bytes of its owner's quota, no longer `old`.
    fn resize(&self, old: u64, new: u64) -> Result<()> {
        let Some(usage) = &self.charged else { return Ok(()) };
        usage.shrink(old.saturating_sub(new));
        usage.grow(new.saturating_sub(old))
    }

    /// Takes all links, to be dropped when no key is locked.
    fn take_links(&self, state: &mut State) -> Vec<Arc<Self>> {
        if let Some(usage) = &self.charged {
            usage.shrink(LINK_BYTES * state.links.len() as u64);
        }
        core::mem::take(&mut state.links)
    }

    /// Makes it useless (`KEYCTL_REVOKE`), or as if it were not there (`KEYCTL_INVALIDATE`).
    pub fn revoke(&self, invalidate: bool) {
        let links = {
            let mut state = self.state.lock();
            state.life = if invalidate { Life::Invalid } else { Life::Revoked };
            self.take_links(&mut state)
        };
        drop(links);
    }

    /// Sets the time limit, seconds from `now`; 0 takes it away.
    pub fn set_timeout(&self, seconds: u32, now: u64) {
        let limit = u64::from(seconds).saturating_mul(1_000_000_000);
        self.state.lock().expires = (seconds != 0).then(|| now.saturating_add(limit));
    }

    /// Changes owner and group.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) {
        let mut state = self.state.lock();
        state.uid = uid.unwrap_or(state.uid);
        state.gid = gid.unwrap_or(state.gid);
    }

    /// Changes the rights.
    pub fn set_rights(&self, rights: u32) {
        self.state.lock().rights = rights;
    }

    /// Lets no more keys in.
    pub fn restrict(&self) {
        self.state.lock().restricted = true;
    }

    /// Whether a keyring may lie in `into`: it must not be or contain that, nor be nested too deep itself.
    ///
    /// # Errors
    /// EDEADLK, ELOOP.
    fn may_lie_in(self: &Arc<Self>, into: &Self) -> Result<()> {
        let mut level = vec![Arc::clone(self)];
        for _ in 0..MAX_DEPTH {
            let mut seen = HashSet::new();
            let mut below = Vec::new();
            for ring in level {
                if core::ptr::eq(&*ring, into) {
                    return Err(Errno::EDEADLK);
                }
                let inner = ring.links().into_iter().filter(|link| link.kind == Kind::Keyring);
                below.extend(inner.filter(|link| seen.insert(link.serial)));
            }
            if below.is_empty() {
                return Ok(());
            }
            level = below;
        }
        let is_circle = level.iter().any(|ring| core::ptr::eq(&**ring, into));
        Err(if is_circle { Errno::EDEADLK } else { Errno::ELOOP })
    }

    /// Links a key into this keyring, in the place of one of the same type and description.
    ///
    /// # Errors
    /// ENOTDIR, EPERM, EDEADLK, ELOOP, ENFILE, EDQUOT.
    pub fn link(&self, key: &Arc<Self>) -> Result<()> {
        if self.kind != Kind::Keyring {
            return Err(Errno::ENOTDIR);
        }
        let _nesting = self.nesting.lock();
        if key.kind == Kind::Keyring {
            key.may_lie_in(self)?;
        }
        let old = {
            let mut state = self.state.lock();
            if state.restricted {
                return Err(Errno::EPERM);
            }
            let same =
                |link: &Arc<Self>| link.kind == key.kind && link.description == key.description;
            match state.links.iter().position(same) {
                Some(at) => {
                    state.links.push(Arc::clone(key));
                    Some(state.links.swap_remove(at))
                }
                None if state.links.len() >= MAX_LINKS => return Err(Errno::ENFILE),
                None => {
                    self.resize(0, LINK_BYTES)?;
                    state.links.push(Arc::clone(key));
                    None
                }
            }
        };
        drop(old);
        Ok(())
    }

    /// Takes a key out of this keyring.
    ///
    /// # Errors
    /// ENOTDIR, ENOENT.
    pub fn unlink(&self, key: &Self) -> Result<()> {
        if self.kind != Kind::Keyring {
            return Err(Errno::ENOTDIR);
        }
        let old = {
            let mut state = self.state.lock();
            let at = state.links.iter().position(|link| core::ptr::eq(&**link, key));
            let old = state.links.swap_remove(at.ok_or(Errno::ENOENT)?);
            self.resize(LINK_BYTES, 0)?;
            old
        };
        drop(old);
        Ok(())
    }

    /// Empties a keyring.
    ///
    /// # Errors
    /// ENOTDIR.
    pub fn clear(&self) -> Result<()> {
        if self.kind != Kind::Keyring {
            return Err(Errno::ENOTDIR);
        }
        let old = {
            let mut state = self.state.lock();
            self.take_links(&mut state)
        };
        drop(old);
        Ok(())
    }
}

fn check_payload(kind: Kind, payload: &[u8]) -> Result<()> {
    let right = match kind {
        Kind::Keyring => payload.is_empty(),
        Kind::User | Kind::Logon => (1..=32_767).contains(&payload.len()),
    };
    if right { Ok(()) } else { Err(Errno::EINVAL) }
}

#[derive(Default)]
struct Table {
    last: i32,
    by_serial: HashMap<i32, Weak<Key>>,
    /// How large the table is to be when those that are gone are looked for.
    sweep_at: usize,
    usage: HashMap<u32, Arc<Usage>>,
    /// The user keyring and the user session keyring of each user.
    users: HashMap<u32, (Arc<Key>, Arc<Key>)>,
}

/// All keys of the sandbox.
#[derive(Default)]
pub struct Keys {
    table: Mutex<Table>,
    nesting: Arc<Mutex<()>>,
}

/// What a new key is made of.
pub struct NewKey {
    /// Its type.
    pub kind: Kind,
    /// Its description.
    pub description: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its rights; `None` for those of `add_key(2)`.
    pub rights: Option<u32>,
    /// Whether it counts against its owner's quota.
    pub charged: bool,
    /// Whose it is; `None` for the caller's.
    pub owner: Option<u32>,
}

impl Keys {
    /// Makes a key that nothing holds yet.
    ///
    /// # Errors
    /// EINVAL for a payload or description that the type does not take, EDQUOT.
    pub fn create(&self, cred: &Credentials, new: NewKey) -> Result<Arc<Key>> {
        check_payload(new.kind, &new.payload)?;
        let prefix = new.description.iter().position(|byte| *byte == b':');
        if new.kind == Kind::Logon && matches!(prefix, None | Some(0)) {
            return Err(Errno::EINVAL);
        }
        let mut table = self.table.lock();
        table.sweep();
        let uid = new.owner.unwrap_or(cred.fsuid);
        let bytes = description_bytes(&new.description) + new.payload.len() as u64;
        let charged = match new.charged {
            true => {
                let usage = table.usage.entry(uid).or_insert_with(|| Usage::of(uid));
                usage.take(bytes)?;
                Some(Arc::clone(usage))
            }
            false => None,
        };
        let serial = free_serial(&mut table);
        let state = State {
            uid,
            gid: cred.fsgid,
            rights: new.rights.unwrap_or(new.kind.rights()),
            payload: new.payload,
            ..State::default()
        };
        let key = Arc::new(Key {
            serial,
            kind: new.kind,
            description: new.description,
            state: Mutex::new(state),
            charged,
            nesting: Arc::clone(&self.nesting),
        });
        table.by_serial.insert(serial, Arc::downgrade(&key));
        Ok(key)
    }

    /// The key of a number.
    ///
    /// # Errors
    /// ENOKEY.
    pub fn get(&self, serial: i32) -> Result<Arc<Key>> {
        self.table.lock().by_serial.get(&serial).and_then(Weak::upgrade).ok_or(Errno::ENOKEY)
    }

    /// All living keys, by number.
    pub fn all(&self) -> Vec<Arc<Key>> {
        let mut keys: Vec<_> =
            self.table.lock().by_serial.values().filter_map(Weak::upgrade).collect();
        keys.sort_unstable_by_key(|key| key.serial);
        keys
    }

    /// What a user's keys take: their number and bytes, and the most they may.
    pub fn quota(&self, uid: u32) -> ((u64, u64), (u64, u64)) {
        let used = self.table.lock().usage.get(&uid).map_or((0, 0), |usage| usage.used());
        (used, usage::quota(uid))
    }

    /// The user keyring and the user session keyring of the caller's user, which are made when first asked for.
    ///
    /// # Errors
    /// Those of [`Keys::create`].
    pub fn of_user(&self, cred: &Credentials) -> Result<(Arc<Key>, Arc<Key>)> {
        if let Some(found) = self.table.lock().users.get(&cred.ruid) {
            return Ok(found.clone());
        }
        let rights = right::possessor(right::ALL & !right::SETATTR) | right::owner(right::ALL);
        let make = |description: String| {
            let description = description.into_bytes();
            let (kind, payload) = (Kind::Keyring, Vec::new());
            self.create(
                cred,
                NewKey {
                    kind,
                    description,
                    payload,
                    rights: Some(rights),
                    charged: true,
                    owner: Some(cred.ruid),
                },
            )
        };
        let own = make(format!("_uid.{}", cred.ruid))?;
        let session = make(format!("_uid_ses.{}", cred.ruid))?;
        session.link(&own)?;
        Ok(self.table.lock().users.entry(cred.ruid).or_insert((own, session)).clone())
    }
}

fn free_serial(table: &mut Table) -> i32 {
    loop {
        // A generator whose period is all numbers, so that a free one is found.
        table.last = table.last.wrapping_mul(1_103_515_245).wrapping_add(12_345) & i32::MAX;
        if table.last > 2 && !table.by_serial.contains_key(&table.last) {
            return table.last;
        }
    }
}

impl Table {
    /// Forgets keys that are gone, and users whose keyrings nobody holds, whenever there are twice as many as then.
    fn sweep(&mut self) {
        if self.by_serial.len() < self.sweep_at.max(FIRST_SWEEP) {
            return;
        }
        // The user session keyring holds the user keyring.
        let is_used = |(own, session): &(Arc<Key>, Arc<Key>)| {
            Arc::strong_count(session) > 1 || Arc::strong_count(own) > 2 || !own.links().is_empty()
        };
        self.users.retain(|_, rings| is_used(rings));
        self.by_serial.retain(|_, key| key.strong_count() > 0);
        self.usage.retain(|_, usage| Arc::strong_count(usage) > 1);
        self.sweep_at = self.by_serial.len().saturating_mul(2);
    }
}

#[cfg(test)]
mod tests;
