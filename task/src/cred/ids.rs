//! The `setuid(2)` family: which ids a task may take, and what that does to its capabilities.
//!
//! All functions take and give kernel ids and return the new credentials; the caller installs them.

use chitin_abi::process::{
    CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_LINUX_IMMUTABLE,
    CAP_MAC_OVERRIDE, CAP_MKNOD, CAP_SETGID, CAP_SETUID, SECBIT_KEEP_CAPS, SECBIT_NO_SETUID_FIXUP,
};
use chitin_abi::{Errno, Result};

use super::{CapSet, Credentials};

const FS_CAPS: [u32; 8] = [
    CAP_CHOWN,
    CAP_MKNOD,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_LINUX_IMMUTABLE,
    CAP_MAC_OVERRIDE,
];

/// What the change of user ids from `old` does to the capabilities of `new`.
fn fix_capabilities(old: &Credentials, new: &mut Credentials) {
    if old.securebits & SECBIT_NO_SETUID_FIXUP != 0 {
        return;
    }
    let root = old.user_ns.root_uid();
    let is_root = |uid: u32| Some(uid) == root;
    let was = is_root(old.ruid) || is_root(old.euid) || is_root(old.suid);
    let is = is_root(new.ruid) || is_root(new.euid) || is_root(new.suid);
    if was && !is {
        if old.securebits & SECBIT_KEEP_CAPS == 0 {
            new.permitted = CapSet::EMPTY;
            new.effective = CapSet::EMPTY;
        }
        new.ambient = CapSet::EMPTY;
    }
    if is_root(old.euid) && !is_root(new.euid) {
        new.effective = CapSet::EMPTY;
    } else if !is_root(old.euid) && is_root(new.euid) {
        new.effective = new.permitted;
    }
}

/// `setuid(2)`.
///
/// # Errors
/// EPERM.
pub fn set_uid(old: &Credentials, uid: u32) -> Result<Credentials> {
    let mut new = old.clone();
    if old.has(CAP_SETUID) {
        new.suid = uid;
        new.ruid = uid;
    } else if uid != old.ruid && uid != old.suid {
        return Err(Errno::EPERM);
    }
    new.euid = uid;
    new.fsuid = uid;
    fix_capabilities(old, &mut new);
    Ok(new)
}

/// `setgid(2)`.
///
/// # Errors
/// EPERM.
pub fn set_gid(old: &Credentials, gid: u32) -> Result<Credentials> {
    let mut new = old.clone();
    if old.has(CAP_SETGID) {
        new.sgid = gid;
        new.rgid = gid;
    } else if gid != old.rgid && gid != old.sgid {
        return Err(Errno::EPERM);
    }
    new.egid = gid;
    new.fsgid = gid;
    Ok(new)
}

/// `setreuid(2)`; `None` stays.
///
/// # Errors
/// EPERM.
pub fn set_reuid(
    old: &Credentials,
    real: Option<u32>,
    effective: Option<u32>,
) -> Result<Credentials> {
    let privileged = old.has(CAP_SETUID);
    let mut new = old.clone();
    if let Some(uid) = real {
        if uid != old.ruid && uid != old.euid && !privileged {
            return Err(Errno::EPERM);
        }
        new.ruid = uid;
    }
    if let Some(uid) = effective {
        if uid != old.ruid && uid != old.euid && uid != old.suid && !privileged {
            return Err(Errno::EPERM);
        }
        new.euid = uid;
    }
    if real.is_some() || effective.is_some_and(|uid| uid != old.ruid) {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    fix_capabilities(old, &mut new);
    Ok(new)
}

/// `setregid(2)`; `None` stays.
///
/// # Errors
/// EPERM.
pub fn set_regid(
    old: &Credentials,
    real: Option<u32>,
    effective: Option<u32>,
) -> Result<Credentials> {
    let privileged = old.has(CAP_SETGID);
    let mut new = old.clone();
    if let Some(gid) = real {
        if gid != old.rgid && gid != old.egid && !privileged {
            return Err(Errno::EPERM);
        }
        new.rgid = gid;
    }
    if let Some(gid) = effective {
        if gid != old.rgid && gid != old.egid && gid != old.sgid && !privileged {
            return Err(Errno::EPERM);
        }
        new.egid = gid;
    }
    if real.is_some() || effective.is_some_and(|gid| gid != old.rgid) {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    Ok(new)
}

/// `setresuid(2)`: real, effective, saved; `None` stays.
///
/// # Errors
/// EPERM.
pub fn set_resuid(old: &Credentials, ids: [Option<u32>; 3]) -> Result<Credentials> {
    let allowed = [old.ruid, old.euid, old.suid];
    if !old.has(CAP_SETUID) && ids.iter().flatten().any(|uid| !allowed.contains(uid)) {
        return Err(Errno::EPERM);
    }
    let [real, effective, saved] = ids;
    let mut new = old.clone();
    new.ruid = real.unwrap_or(old.ruid);
    new.euid = effective.unwrap_or(old.euid);
    new.suid = saved.unwrap_or(old.suid);
    new.fsuid = new.euid;
    fix_capabilities(old, &mut new);
    Ok(new)
}

/// `setresgid(2)`: real, effective, saved; `None` stays.
///
/// # Errors
/// EPERM.
pub fn set_resgid(old: &Credentials, ids: [Option<u32>; 3]) -> Result<Credentials> {
    let allowed = [old.rgid, old.egid, old.sgid];
    if !old.has(CAP_SETGID) && ids.iter().flatten().any(|gid| !allowed.contains(gid)) {
        return Err(Errno::EPERM);
    }
    let [real, effective, saved] = ids;
    let mut new = old.clone();
    new.rgid = real.unwrap_or(old.rgid);
    new.egid = effective.unwrap_or(old.egid);
    new.sgid = saved.unwrap_or(old.sgid);
    new.fsgid = new.egid;
    Ok(new)
}

/// `setfsuid(2)`: `None` where the change is not allowed.
pub fn set_fsuid(old: &Credentials, uid: u32) -> Option<Credentials> {
    if ![old.ruid, old.euid, old.suid, old.fsuid].contains(&uid) && !old.has(CAP_SETUID) {
        return None;
    }
    let mut new = old.clone();
    new.fsuid = uid;
    if old.securebits & SECBIT_NO_SETUID_FIXUP == 0 {
        let root = old.user_ns.root_uid();
        let fs_caps = FS_CAPS.iter().fold(CapSet::EMPTY, |set, cap| set.union(CapSet::of(*cap)));
        if Some(old.fsuid) == root && Some(uid) != root {
            new.effective = new.effective.without(fs_caps);
        } else if Some(old.fsuid) != root && Some(uid) == root {
            new.effective = new.effective.union(new.permitted.intersection(fs_caps));
        }
    }
    Some(new)
}

/// `setfsgid(2)`: `None` where the change is not allowed.
pub fn set_fsgid(old: &Credentials, gid: u32) -> Option<Credentials> {
    if ![old.rgid, old.egid, old.sgid, old.fsgid].contains(&gid) && !old.has(CAP_SETGID) {
        return None;
    }
    let mut new = old.clone();
    new.fsgid = gid;
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::{CapSet, Credentials, Errno, set_resuid, set_reuid, set_uid};
    use crate::namespace::UserNamespace;

    fn root() -> Credentials {
        Credentials::root(UserNamespace::initial())
    }

    #[test]
    fn leaving_root_drops_capabilities() {
        let user = set_uid(&root(), 1000).expect("root may");
        assert_eq!((user.ruid, user.euid, user.suid, user.fsuid), (1000, 1000, 1000, 1000));
        assert!(user.permitted.is_empty() && user.effective.is_empty());
        assert_eq!(set_uid(&user, 0).err(), Some(Errno::EPERM));
    }

    #[test]
    fn effective_id_alone_comes_back() {
        let user = set_reuid(&root(), None, Some(1000)).expect("root may");
        assert!(user.effective.is_empty());
        assert_eq!(user.permitted, CapSet::ALL);
        let back = set_resuid(&user, [None, Some(0), None]).expect("saved id");
        assert_eq!(back.effective, CapSet::ALL);
    }

    #[test]
    fn reuid_sets_the_saved_id() {
        let user = set_reuid(&root(), Some(5), Some(6)).expect("root may");
        assert_eq!((user.ruid, user.euid, user.suid), (5, 6, 6));
    }
}
