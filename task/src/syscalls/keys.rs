//! Keys: `add_key(2)`, `request_key(2)`, `keyctl(2)`.

use std::sync::Arc;

use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::system::{
    KEY_REQKEY_DEFL_NO_CHANGE, KEY_REQKEY_DEFL_PROCESS_KEYRING, KEY_REQKEY_DEFL_THREAD_KEYRING,
    KEY_REQKEY_DEFL_USER_SESSION_KEYRING, KEY_SPEC_PROCESS_KEYRING, KEY_SPEC_THREAD_KEYRING,
    KEYCTL_ASSUME_AUTHORITY, KEYCTL_CAPABILITIES, KEYCTL_CHOWN, KEYCTL_CLEAR, KEYCTL_DESCRIBE,
    KEYCTL_GET_KEYRING_ID, KEYCTL_GET_SECURITY, KEYCTL_INSTANTIATE, KEYCTL_INSTANTIATE_IOV,
    KEYCTL_INVALIDATE, KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_LINK, KEYCTL_MOVE, KEYCTL_MOVE_EXCL,
    KEYCTL_NEGATE, KEYCTL_READ, KEYCTL_REJECT, KEYCTL_RESTRICT_KEYRING, KEYCTL_REVOKE,
    KEYCTL_SEARCH, KEYCTL_SET_REQKEY_KEYRING, KEYCTL_SET_TIMEOUT, KEYCTL_SETPERM, KEYCTL_UNLINK,
    KEYCTL_UPDATE,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::guest_memory::read_cstring;

use super::args::PathPtr;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::keys::rings::{self, Found, Lookup};
use crate::keys::search::{self, Wanted};
use crate::keys::{Key, Kind, NewKey, right};

/// Longest name of a type, with its NUL.
const TYPE_SIZE: usize = 32;
/// Longest description, with its NUL.
const DESCRIPTION_SIZE: usize = 4096;
/// Longest payload of `add_key`.
const MAX_PAYLOAD: usize = (1 << 20) - 1;
/// `KEYCTL_CAPS0_CAPABILITIES`, `…_INVALIDATE`, `…_RESTRICT_KEYRING`, `…_MOVE`.
const CAPABILITIES: [u8; 2] = [0x01 | 0x20 | 0x40 | 0x80, 0];

fn text(cx: &Ctx<'_>, at: GuestAddr, most: usize) -> Result<Vec<u8>> {
    match read_cstring(cx.memory(), at, most) {
        Err(Errno::ENAMETOOLONG) => Err(Errno::EINVAL),
        found => found,
    }
}

/// The name of a type: not empty and not one of the kernel's own.
fn type_name(cx: &Ctx<'_>, at: GuestAddr) -> Result<Vec<u8>> {
    let name = text(cx, at, TYPE_SIZE)?;
    match name.first() {
        None => Err(Errno::EINVAL),
        Some(b'.') => Err(Errno::EPERM),
        Some(_) => Ok(name),
    }
}

fn payload(cx: &Ctx<'_>, at: GuestAddr, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    cx.memory().read(at, &mut bytes)?;
    Ok(bytes)
}

fn number(key: &Key) -> u64 {
    u64::from(key.serial().cast_unsigned())
}

/// `add_key(2)`.
pub fn add_key(
    cx: &mut Ctx<'_>,
    kind: PathPtr,
    description: PathPtr,
    data: GuestAddr,
    plen: usize,
    keyring: i32,
) -> SysResult {
    if plen > MAX_PAYLOAD {
        return Err(Errno::EINVAL.into());
    }
    let name = type_name(cx, kind.0)?;
    if description.0.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let description = text(cx, description.0, DESCRIPTION_SIZE)?;
    if name == b"keyring" && description.first() == Some(&b'.') {
        return Err(Errno::EPERM.into());
    }
    let bytes = payload(cx, data, plen)?;
    let ring = rings::find(cx.task, keyring, Lookup::Create, right::WRITE)?.key;
    let kind = Kind::from_name(&name)?;
    if ring.kind() != Kind::Keyring {
        return Err(Errno::ENOTDIR.into());
    }
    if description.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    if kind != Kind::Keyring
        && let Some(known) = linked(&ring, kind, &description)
    {
        known.check(&cx.task.cred(), true, right::WRITE)?;
        known.update(bytes)?;
        return Ok(number(&known));
    }
    let new =
        NewKey { kind, description, payload: bytes, rights: None, charged: true, owner: None };
    let key = cx.kernel().keys.create(&cx.task.cred(), new)?;
    ring.link(&key)?;
    Ok(number(&key))
}

fn linked(ring: &Key, kind: Kind, description: &[u8]) -> Option<Arc<Key>> {
    ring.links().into_iter().find(|key| key.kind() == kind && key.description() == description)
}

/// `request_key(2)`: nobody makes keys that are not there.
pub fn request_key(
    cx: &mut Ctx<'_>,
    kind: PathPtr,
    description: PathPtr,
    callout_info: PathPtr,
    dest_keyring: i32,
) -> SysResult {
    let name = type_name(cx, kind.0)?;
    let description = text(cx, description.0, DESCRIPTION_SIZE)?;
    if !callout_info.0.is_null() {
        text(cx, callout_info.0, DESCRIPTION_SIZE)?;
    }
    let into = match dest_keyring {
        0 => None,
        id => Some(rings::find(cx.task, id, Lookup::Create, right::WRITE)?.key),
    };
    let kind = Kind::from_name(&name).map_err(|_| Errno::ENOKEY)?;
    let key = search::in_own(cx.task, Wanted { kind, description: &description })?;
    if let Some(ring) = into {
        ring.link(&key)?;
    }
    Ok(number(&key))
}

/// `keyctl(2)`.
pub fn keyctl(
    cx: &mut Ctx<'_>,
    operation: i32,
    arg2: u64,
    arg3: u64,
    arg4: u64,
    arg5: u64,
) -> SysResult {
    let cx = &*cx;
    let (id, ring) = (arg2 as i32, arg3 as i32);
    Ok(match operation.cast_unsigned() {
        KEYCTL_GET_KEYRING_ID => {
            let how = if arg3 == 0 { Lookup::Existing } else { Lookup::Create };
            number(&rings::find(cx.task, id, how, right::SEARCH)?.key)
        }
        KEYCTL_JOIN_SESSION_KEYRING => join(cx, GuestAddr(arg2))?,
        KEYCTL_UPDATE => update(cx, id, GuestAddr(arg3), arg4 as usize)?,
        KEYCTL_REVOKE => revoke(cx, id)?,
        KEYCTL_CHOWN => chown(cx, id, arg3 as u32, arg4 as u32)?,
        KEYCTL_SETPERM => set_rights(cx, id, arg3 as u32)?,
        KEYCTL_DESCRIBE => describe(cx, id, GuestAddr(arg3), arg4)?,
        KEYCTL_CLEAR => {
            rings::find(cx.task, id, Lookup::Create, right::WRITE)?.key.clear()?;
            0
        }
        KEYCTL_LINK => {
            let ring = rings::find(cx.task, ring, Lookup::Create, right::WRITE)?.key;
            ring.link(&rings::find(cx.task, id, Lookup::Create, right::LINK)?.key)?;
            0
        }
        KEYCTL_UNLINK => {
            let ring = rings::find(cx.task, ring, Lookup::Existing, right::WRITE)?.key;
            ring.unlink(&rings::find(cx.task, id, Lookup::Partial, 0)?.key)?;
            0
        }
        KEYCTL_SEARCH => search(cx, id, GuestAddr(arg3), GuestAddr(arg4), arg5 as i32)?,
        KEYCTL_READ => read(cx, id, GuestAddr(arg3), arg4)?,
        KEYCTL_SET_REQKEY_KEYRING => set_default(cx, id)?,
        KEYCTL_SET_TIMEOUT => {
            let key = rings::find(cx.task, id, Lookup::Create, right::SETATTR)?.key;
            key.set_timeout(arg3 as u32, cx.kernel().clock.realtime_nanos());
            0
        }
        KEYCTL_INVALIDATE => {
            rings::find(cx.task, id, Lookup::Existing, right::SEARCH)?.key.revoke(true);
            0
        }
        KEYCTL_GET_SECURITY => {
            rings::find(cx.task, id, Lookup::Partial, right::VIEW)?;
            give(cx, &[0], GuestAddr(arg3), arg4)?
        }
        KEYCTL_MOVE => move_key(cx, id, ring, arg4 as i32, arg5 as u32)?,
        KEYCTL_RESTRICT_KEYRING => {
            let found = rings::find(cx.task, id, Lookup::Existing, right::SETATTR)?;
            if found.key.kind() != Kind::Keyring {
                return Err(Errno::ENOTDIR.into());
            }
            if arg3 != 0 {
                return Err(Errno::ENOENT.into());
            }
            found.key.restrict();
            0
        }
        KEYCTL_CAPABILITIES => {
            let shown = CAPABILITIES.get(..CAPABILITIES.len().min(arg3 as usize));
            cx.memory().write(GuestAddr(arg2), shown.unwrap_or_default())?;
            CAPABILITIES.len() as u64
        }
        KEYCTL_ASSUME_AUTHORITY if id == 0 => 0,
        KEYCTL_ASSUME_AUTHORITY if id < 0 => return Err(Errno::EINVAL.into()),
        KEYCTL_ASSUME_AUTHORITY => return Err(Errno::ENOKEY.into()),
        // Nobody is ever asked to make a key.
        KEYCTL_INSTANTIATE | KEYCTL_INSTANTIATE_IOV | KEYCTL_NEGATE | KEYCTL_REJECT => {
            return Err(Errno::EPERM.into());
        }
        _ => return Err(Errno::EOPNOTSUPP.into()),
    })
}

/// Writes an answer if there is room for all of it; says how long it is.
fn give(cx: &Ctx<'_>, bytes: &[u8], at: GuestAddr, room: u64) -> Result<u64> {
    let length = bytes.len() as u64;
    if !at.is_null() && room >= length {
        cx.memory().write(at, bytes)?;
    }
    Ok(length)
}

fn join(cx: &Ctx<'_>, name: GuestAddr) -> Result<u64> {
    let name = if name.is_null() { None } else { Some(text(cx, name, DESCRIPTION_SIZE)?) };
    match name.as_deref().and_then(<[u8]>::first) {
        Some(b'.') => return Err(Errno::EPERM),
        None if name.is_some() => return Err(Errno::EINVAL),
        _ => {}
    }
    Ok(number(&*rings::join_session(cx.task, name)?))
}

fn update(cx: &Ctx<'_>, id: i32, at: GuestAddr, length: usize) -> Result<u64> {
    if length > chitin_abi::PAGE_SIZE as usize {
        return Err(Errno::EINVAL);
    }
    let bytes = payload(cx, at, length)?;
    rings::find(cx.task, id, Lookup::Existing, right::WRITE)?.key.update(bytes)?;
    Ok(0)
}

fn revoke(cx: &Ctx<'_>, id: i32) -> Result<u64> {
    let found = match rings::find(cx.task, id, Lookup::Existing, right::WRITE) {
        Err(Errno::EACCES) => rings::find(cx.task, id, Lookup::Existing, right::SETATTR)?,
        found => found?,
    };
    found.key.revoke(false);
    Ok(0)
}

fn chown(cx: &Ctx<'_>, id: i32, uid: u32, gid: u32) -> Result<u64> {
    let cred = cx.task.cred();
    let known = |id: u32, kernel: Option<u32>| match id {
        u32::MAX => Ok(None),
        _ => kernel.map(Some).ok_or(Errno::EINVAL),
    };
    let uid = known(uid, cred.user_ns.uid(uid))?;
    let gid = known(gid, cred.user_ns.gid(gid))?;
    let key = rings::find(cx.task, id, Lookup::Partial, right::SETATTR)?.key;
    let (owner, group, _) = key.attributes();
    if !cred.capable_initial(CAP_SYS_ADMIN) {
        let changes_owner = uid.is_some_and(|uid| uid != owner);
        let foreign =
            gid.is_some_and(|gid| gid != group && gid != cred.fsgid && !cred.in_group(gid));
        if changes_owner || foreign {
            return Err(Errno::EACCES);
        }
    }
    key.set_owner(uid, gid);
    Ok(0)
}

fn set_rights(cx: &Ctx<'_>, id: i32, rights: u32) -> Result<u64> {
    if rights & !0x3f3f_3f3f != 0 {
        return Err(Errno::EINVAL);
    }
    let cred = cx.task.cred();
    let key = rings::find(cx.task, id, Lookup::Partial, right::SETATTR)?.key;
    if key.attributes().0 != cred.fsuid && !cred.capable_initial(CAP_SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    key.set_rights(rights);
    Ok(0)
}

fn describe(cx: &Ctx<'_>, id: i32, at: GuestAddr, room: u64) -> Result<u64> {
    let key = rings::find(cx.task, id, Lookup::Partial, right::VIEW)?.key;
    let (uid, gid, rights) = key.attributes();
    let cred = cx.task.cred();
    let (name, uid, gid) = (key.kind().name(), cred.show_uid(uid), cred.show_gid(gid));
    let mut line = format!("{name};{uid};{gid};{rights:08x};").into_bytes();
    line.extend_from_slice(key.description());
    line.push(0);
    give(cx, &line, at, room)
}

fn search(
    cx: &Ctx<'_>,
    ring: i32,
    kind: GuestAddr,
    description: GuestAddr,
    into: i32,
) -> Result<u64> {
    let name = type_name(cx, kind)?;
    let description = text(cx, description, DESCRIPTION_SIZE)?;
    let ring = rings::find(cx.task, ring, Lookup::Existing, right::SEARCH)?;
    let into = match into {
        0 => None,
        id => Some(rings::find(cx.task, id, Lookup::Create, right::WRITE)?.key),
    };
    let wanted = Wanted { kind: Kind::from_name(&name)?, description: &description };
    let key = search::in_ring(cx.task, &ring.key, ring.possessed, wanted)?;
    if let Some(into) = into {
        key.check(&cx.task.cred(), ring.possessed, right::LINK)?;
        into.link(&key)?;
    }
    Ok(number(&key))
}

fn read(cx: &Ctx<'_>, id: i32, at: GuestAddr, room: u64) -> Result<u64> {
    let Found { key, possessed } = rings::find(cx.task, id, Lookup::Existing, 0)?;
    if key.check(&cx.task.cred(), possessed, right::READ).is_err() && !possessed {
        return Err(Errno::EACCES);
    }
    match key.kind() {
        Kind::User => give(cx, &key.payload(), at, room),
        Kind::Keyring => {
            let links = key.links();
            let numbers: Vec<u8> =
                links.iter().flat_map(|link| link.serial().to_ne_bytes()).collect();
            give(cx, &numbers, at, room)
        }
        Kind::Logon => Err(Errno::EOPNOTSUPP),
    }
}

fn set_default(cx: &Ctx<'_>, wanted: i32) -> Result<u64> {
    let old = cx.task.keyrings.lock().default;
    match wanted {
        KEY_REQKEY_DEFL_NO_CHANGE => return Ok(u64::from(old.cast_unsigned())),
        KEY_REQKEY_DEFL_THREAD_KEYRING => {
            rings::special(cx.task, KEY_SPEC_THREAD_KEYRING, true)?;
        }
        KEY_REQKEY_DEFL_PROCESS_KEYRING => {
            rings::special(cx.task, KEY_SPEC_PROCESS_KEYRING, true)?;
        }
        0 | 3..=KEY_REQKEY_DEFL_USER_SESSION_KEYRING => {}
        _ => return Err(Errno::EINVAL),
    }
    cx.task.keyrings.lock().default = wanted;
    Ok(u64::from(old.cast_unsigned()))
}

fn move_key(cx: &Ctx<'_>, id: i32, from: i32, to: i32, flags: u32) -> Result<u64> {
    if flags & !KEYCTL_MOVE_EXCL != 0 {
        return Err(Errno::EINVAL);
    }
    let key = rings::find(cx.task, id, Lookup::Create, right::LINK)?.key;
    let from = rings::find(cx.task, from, Lookup::Existing, right::WRITE)?.key;
    let to = rings::find(cx.task, to, Lookup::Create, right::WRITE)?.key;
    if from.kind() != Kind::Keyring || to.kind() != Kind::Keyring {
        return Err(Errno::ENOTDIR);
    }
    if Arc::ptr_eq(&from, &to) {
        return Ok(0);
    }
    if !from.links().iter().any(|link| Arc::ptr_eq(link, &key)) {
        return Err(Errno::ENOENT);
    }
    if flags & KEYCTL_MOVE_EXCL != 0 && linked(&to, key.kind(), key.description()).is_some() {
        return Err(Errno::EEXIST);
    }
    to.link(&key)?;
    from.unlink(&key)?;
    Ok(0)
}
