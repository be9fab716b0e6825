//! Keys and keyrings (`keyrings(7)`): what a process, a session or a user keeps by serial number.
//!
//! Model: a [`Key`] lives as long as a keyring, a task or a user holds it; the [`Keys`] table finds it by its number.
//! There are the types `user`, `logon` and `keyring`. Nothing is asked of user space: a key that is not there is not
//! made by `request_key(2)`.
//!
//! - [`rings`]: the keyrings that tasks have, and what `KEY_SPEC_…` means.
//! - [`search`]: finding a key by its description, and who possesses it.
//!
//! Locks: a key's state is a leaf, and no two keys are locked at once; the table's lock is taken before none.
//! Nesting is bounded ([`MAX_DEPTH`]), so that a walk and a drop recurse a few levels at most.

pub mod rings;
pub mod search;

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use crate::cred::Credentials;

/// How deep keyrings may lie in each other.
pub const MAX_DEPTH: usize = 6;
/// Most links of one keyring.
const MAX_LINKS: usize = 4096;
/// Keys and bytes that an ordinary user may have (`/proc/sys/kernel/keys`).
const USER_QUOTA: (u64, u64) = (200, 20_000);
/// The same for the superuser.
const ROOT_QUOTA: (u64, u64) = (1_000_000, 25_000_000);

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

/// What a user's keys take.
#[derive(Default)]
struct Usage {
    keys: AtomicU64,
    bytes: AtomicU64,
}

/// A key or keyring.
pub struct Key {
    serial: i32,
    kind: Kind,
    description: Vec<u8>,
    state: Mutex<State>,
    charged: Option<Arc<Usage>>,
    bytes: AtomicU64,
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Some(usage) = &self.charged {
            usage.keys.fetch_sub(1, Ordering::Relaxed);
            usage.bytes.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
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
    /// EOPNOTSUPP for a keyring, EINVAL for a payload that the type does not take.
    pub fn update(&self, payload: Vec<u8>) -> Result<()> {
        if self.kind == Kind::Keyring {
            return Err(Errno::EOPNOTSUPP);
        }
        check_payload(self.kind, &payload)?;
        let old = core::mem::replace(&mut self.state.lock().payload, payload);
        drop(old);
        self.state.lock().expires = None;
        Ok(())
    }

    /// Makes it useless (`KEYCTL_REVOKE`), or as if it were not there (`KEYCTL_INVALIDATE`).
    pub fn revoke(&self, invalidate: bool) {
        let links = {
            let mut state = self.state.lock();
            state.life = if invalidate { Life::Invalid } else { Life::Revoked };
            core::mem::take(&mut state.links)
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

    /// The number of levels of keyrings below and with it; `None` when `sought` is among them.
    fn depth(&self, sought: &Self) -> Option<usize> {
        if core::ptr::eq(self, sought) {
            return None;
        }
        let mut most = 0;
        for link in self.links().iter().filter(|link| link.kind == Kind::Keyring) {
            most = most.max(link.depth(sought)?);
        }
        Some(most.saturating_add(1))
    }

    /// Links a key into this keyring, in the place of one of the same type and description.
    ///
    /// # Errors
    /// ENOTDIR, EPERM, EDEADLK, ELOOP, ENFILE.
    pub fn link(&self, key: &Arc<Self>) -> Result<()> {
        if self.kind != Kind::Keyring {
            return Err(Errno::ENOTDIR);
        }
        if key.kind == Kind::Keyring && key.depth(self).ok_or(Errno::EDEADLK)? > MAX_DEPTH {
            return Err(Errno::ELOOP);
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
            state.links.swap_remove(at.ok_or(Errno::ENOENT)?)
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
        let old = core::mem::take(&mut self.state.lock().links);
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
    usage: HashMap<u32, Arc<Usage>>,
    /// The user keyring and the user session keyring of each user.
    users: HashMap<u32, (Arc<Key>, Arc<Key>)>,
}

/// All keys of the sandbox.
#[derive(Default)]
pub struct Keys {
    table: Mutex<Table>,
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
        table.by_serial.retain(|_, key| key.strong_count() > 0);
        let bytes =
            new.description.len().saturating_add(1).saturating_add(new.payload.len()) as u64;
        let charged = match new.charged {
            true => Some(charge(&mut table, cred.fsuid, bytes)?),
            false => None,
        };
        let serial = free_serial(&mut table);
        let state = State {
            uid: cred.fsuid,
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
            bytes: AtomicU64::new(bytes),
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
        let used = self.table.lock().usage.get(&uid).map_or((0, 0), |usage| {
            (usage.keys.load(Ordering::Relaxed), usage.bytes.load(Ordering::Relaxed))
        });
        (used, if uid == 0 { ROOT_QUOTA } else { USER_QUOTA })
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
                NewKey { kind, description, payload, rights: Some(rights), charged: true },
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

fn charge(table: &mut Table, uid: u32, bytes: u64) -> Result<Arc<Usage>> {
    let (most_keys, most_bytes) = if uid == 0 { ROOT_QUOTA } else { USER_QUOTA };
    let usage = table.usage.entry(uid).or_default();
    let keys = usage.keys.load(Ordering::Relaxed).saturating_add(1);
    let total = usage.bytes.load(Ordering::Relaxed).saturating_add(bytes);
    if keys > most_keys || total > most_bytes {
        return Err(Errno::EDQUOT);
    }
    usage.keys.store(keys, Ordering::Relaxed);
    usage.bytes.store(total, Ordering::Relaxed);
    Ok(Arc::clone(usage))
}
