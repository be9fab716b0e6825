//! Identity: the `setuid(2)` family, groups, capabilities.

use std::sync::Arc;

use chitin_abi::process::{
    _LINUX_CAPABILITY_VERSION_1, _LINUX_CAPABILITY_VERSION_2, _LINUX_CAPABILITY_VERSION_3,
    CAP_SETGID, CAP_SETPCAP, CapData, CapHeader, NGROUPS_MAX,
};
use chitin_abi::{Errno, GuestAddr, Result};
use zerocopy::IntoBytes;

use crate::context::Ctx;
use crate::cred::{CapSet, Credentials, ids};
use crate::error::SysResult;
use crate::process::find;

/// `getuid(2)`.
pub fn getuid(cx: &mut Ctx<'_>) -> SysResult {
    let cred = cx.task.cred();
    Ok(u64::from(cred.show_uid(cred.ruid)))
}

/// `geteuid(2)`.
pub fn geteuid(cx: &mut Ctx<'_>) -> SysResult {
    let cred = cx.task.cred();
    Ok(u64::from(cred.show_uid(cred.euid)))
}

/// `getgid(2)`.
pub fn getgid(cx: &mut Ctx<'_>) -> SysResult {
    let cred = cx.task.cred();
    Ok(u64::from(cred.show_gid(cred.rgid)))
}

/// `getegid(2)`.
pub fn getegid(cx: &mut Ctx<'_>) -> SysResult {
    let cred = cx.task.cred();
    Ok(u64::from(cred.show_gid(cred.egid)))
}

/// A user id that must exist in the caller's namespace.
fn uid(cred: &Credentials, uid: u32) -> Result<u32> {
    cred.user_ns.uid(uid).ok_or(Errno::EINVAL)
}

fn gid(cred: &Credentials, gid: u32) -> Result<u32> {
    cred.user_ns.gid(gid).ok_or(Errno::EINVAL)
}

/// The same where -1 stands for "stays".
fn optional_uid(cred: &Credentials, id: i32) -> Result<Option<u32>> {
    if id == -1 { Ok(None) } else { uid(cred, id.cast_unsigned()).map(Some) }
}

fn optional_gid(cred: &Credentials, id: i32) -> Result<Option<u32>> {
    if id == -1 { Ok(None) } else { gid(cred, id.cast_unsigned()).map(Some) }
}

fn install(cx: &Ctx<'_>, new: Credentials) -> SysResult {
    let old = cx.task.cred();
    if old.euid != new.euid
        || old.egid != new.egid
        || old.fsuid != new.fsuid
        || old.fsgid != new.fsgid
    {
        cx.task.group.dumpable.store(0, core::sync::atomic::Ordering::Relaxed);
        cx.task.parent_death_signal.store(0, core::sync::atomic::Ordering::Relaxed);
    }
    cx.task.set_cred(new);
    Ok(0)
}

/// `setuid(2)`.
pub fn setuid(cx: &mut Ctx<'_>, id: u32) -> SysResult {
    let cred = cx.task.cred();
    install(cx, ids::set_uid(&cred, uid(&cred, id)?)?)
}

/// `setgid(2)`.
pub fn setgid(cx: &mut Ctx<'_>, id: u32) -> SysResult {
    let cred = cx.task.cred();
    install(cx, ids::set_gid(&cred, gid(&cred, id)?)?)
}

/// `setreuid(2)`.
pub fn setreuid(cx: &mut Ctx<'_>, ruid: i32, euid: i32) -> SysResult {
    let cred = cx.task.cred();
    install(cx, ids::set_reuid(&cred, optional_uid(&cred, ruid)?, optional_uid(&cred, euid)?)?)
}

/// `setregid(2)`.
pub fn setregid(cx: &mut Ctx<'_>, rgid: i32, egid: i32) -> SysResult {
    let cred = cx.task.cred();
    install(cx, ids::set_regid(&cred, optional_gid(&cred, rgid)?, optional_gid(&cred, egid)?)?)
}

/// `setresuid(2)`.
pub fn setresuid(cx: &mut Ctx<'_>, ruid: i32, euid: i32, suid: i32) -> SysResult {
    let cred = cx.task.cred();
    let ids = [optional_uid(&cred, ruid)?, optional_uid(&cred, euid)?, optional_uid(&cred, suid)?];
    install(cx, ids::set_resuid(&cred, ids)?)
}

/// `setresgid(2)`.
pub fn setresgid(cx: &mut Ctx<'_>, rgid: i32, egid: i32, sgid: i32) -> SysResult {
    let cred = cx.task.cred();
    let ids = [optional_gid(&cred, rgid)?, optional_gid(&cred, egid)?, optional_gid(&cred, sgid)?];
    install(cx, ids::set_resgid(&cred, ids)?)
}

/// `getresuid(2)`.
pub fn getresuid(cx: &mut Ctx<'_>, ruid: GuestAddr, euid: GuestAddr, suid: GuestAddr) -> SysResult {
    let cred = cx.task.cred();
    for (addr, id) in [(ruid, cred.ruid), (euid, cred.euid), (suid, cred.suid)] {
        cx.write(addr, &cred.show_uid(id))?;
    }
    Ok(0)
}

/// `getresgid(2)`.
pub fn getresgid(cx: &mut Ctx<'_>, rgid: GuestAddr, egid: GuestAddr, sgid: GuestAddr) -> SysResult {
    let cred = cx.task.cred();
    for (addr, id) in [(rgid, cred.rgid), (egid, cred.egid), (sgid, cred.sgid)] {
        cx.write(addr, &cred.show_gid(id))?;
    }
    Ok(0)
}

/// `setfsuid(2)`: always returns the old id.
pub fn setfsuid(cx: &mut Ctx<'_>, fsuid: u32) -> SysResult {
    let cred = cx.task.cred();
    let new = cred.user_ns.uid(fsuid).and_then(|id| ids::set_fsuid(&cred, id));
    if let Some(new) = new {
        install(cx, new)?;
    }
    Ok(u64::from(cred.show_uid(cred.fsuid)))
}

/// `setfsgid(2)`: always returns the old id.
pub fn setfsgid(cx: &mut Ctx<'_>, fsgid: u32) -> SysResult {
    let cred = cx.task.cred();
    let new = cred.user_ns.gid(fsgid).and_then(|id| ids::set_fsgid(&cred, id));
    if let Some(new) = new {
        install(cx, new)?;
    }
    Ok(u64::from(cred.show_gid(cred.fsgid)))
}

/// `getgroups(2)`.
pub fn getgroups(cx: &mut Ctx<'_>, size: i32, list: GuestAddr) -> SysResult {
    let cred = cx.task.cred();
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    let count = cred.groups.len();
    if size != 0 {
        if count > size {
            return Err(Errno::EINVAL.into());
        }
        let shown: Vec<u32> = cred.groups.iter().map(|gid| cred.show_gid(*gid)).collect();
        cx.memory().write(list, shown.as_bytes())?;
    }
    Ok(count as u64)
}

/// `setgroups(2)`.
pub fn setgroups(cx: &mut Ctx<'_>, size: usize, list: GuestAddr) -> SysResult {
    let cred = cx.task.cred();
    if !cred.has(CAP_SETGID) || !cred.user_ns.allows_setgroups() {
        return Err(Errno::EPERM.into());
    }
    if size as u32 as usize > NGROUPS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let mut shown = vec![0u32; size as u32 as usize];
    cx.memory().read(list, shown.as_mut_bytes())?;
    let groups: Result<Vec<u32>> = shown.into_iter().map(|id| gid(&cred, id)).collect();
    let mut groups = groups?;
    groups.sort_unstable();
    cx.task.set_cred(Credentials { groups: Arc::from(groups), ..(*cred).clone() });
    Ok(0)
}

/// How many words the sets of this version take; tells the guest which version is the latest if it asks for one that
/// does not exist.
fn version_words(cx: &Ctx<'_>, header: &CapHeader, addr: GuestAddr) -> Result<usize> {
    match header.version {
        _LINUX_CAPABILITY_VERSION_1 => Ok(1),
        _LINUX_CAPABILITY_VERSION_2 | _LINUX_CAPABILITY_VERSION_3 => Ok(2),
        _ => {
            cx.write(addr, &_LINUX_CAPABILITY_VERSION_3)?;
            Err(Errno::EINVAL)
        }
    }
}

/// `capget(2)`.
pub fn capget(cx: &mut Ctx<'_>, hdrp: GuestAddr, datap: GuestAddr) -> SysResult {
    let header: CapHeader = cx.read(hdrp)?;
    let words = match version_words(cx, &header, hdrp) {
        Ok(words) => words,
        // Asking for the version only.
        Err(Errno::EINVAL) if datap.is_null() => return Ok(0),
        Err(errno) => return Err(errno.into()),
    };
    if header.pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let cred = find::task(cx.task, header.pid)?.cred();
    if datap.is_null() {
        return Ok(0);
    }
    let sets = [cred.effective, cred.permitted, cred.inheritable].map(CapSet::bits);
    for word in 0..words {
        let [effective, permitted, inheritable] = sets.map(|bits| (bits >> (32 * word)) as u32);
        let at = datap.checked_add((word * size_of::<CapData>()) as u64).ok_or(Errno::EFAULT)?;
        cx.write(at, &CapData { effective, permitted, inheritable })?;
    }
    Ok(0)
}

/// `capset(2)`.
pub fn capset(cx: &mut Ctx<'_>, hdrp: GuestAddr, datap: GuestAddr) -> SysResult {
    let header: CapHeader = cx.read(hdrp)?;
    let words = version_words(cx, &header, hdrp)?;
    if header.pid != 0 && header.pid.cast_unsigned() != cx.task.local_tid() {
        return Err(Errno::EPERM.into());
    }
    let data: Vec<CapData> = cx.read_array(datap, words)?;
    let join = |which: fn(&CapData) -> u32| {
        let bits = data.iter().rev().fold(0u64, |bits, word| (bits << 32) | u64::from(which(word)));
        CapSet::from_bits(bits)
    };
    let effective = join(|data| data.effective);
    let permitted = join(|data| data.permitted);
    let inheritable = join(|data| data.inheritable);
    let old = cx.task.cred();
    let may_add_any = old.has(CAP_SETPCAP);
    let allowed = (may_add_any || inheritable.is_subset(old.inheritable.union(old.permitted)))
        && inheritable.is_subset(old.inheritable.union(old.bounding))
        && permitted.is_subset(old.permitted)
        && effective.is_subset(permitted);
    if !allowed {
        return Err(Errno::EPERM.into());
    }
    let ambient = old.ambient.intersection(permitted.intersection(inheritable));
    cx.task.set_cred(Credentials { effective, permitted, inheritable, ambient, ..(*old).clone() });
    Ok(0)
}
