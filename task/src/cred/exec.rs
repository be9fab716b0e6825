//! What `execve(2)` makes of a task's credentials (`capabilities(7)`, "Transformation of capabilities during
//! execve()").

use chitin_abi::process::{
    SECBIT_KEEP_CAPS, SECBIT_NOROOT, VFS_CAP_FLAGS_EFFECTIVE, VFS_CAP_REVISION_2,
    VFS_CAP_REVISION_3, VFS_CAP_REVISION_MASK,
};
use chitin_abi::{Errno, Result};

use super::{CapSet, Credentials};

/// What a program file says about the identity that it runs with.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileIdentity {
    /// The owner, if the file has the set-user-id bit (and the mount honours it).
    pub uid: Option<u32>,
    /// The group, if the file has the set-group-id bit.
    pub gid: Option<u32>,
    /// File capabilities.
    pub caps: Option<FileCaps>,
}

/// The value of `security.capability`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCaps {
    /// Permitted.
    pub permitted: CapSet,
    /// Inheritable.
    pub inheritable: CapSet,
    /// Whether what is permitted becomes effective.
    pub effective: bool,
    /// The user id that is root in the namespace that set it.
    pub root_uid: u32,
}

impl FileCaps {
    /// Reads the attribute's value.
    ///
    /// # Errors
    /// EINVAL for a value that is not one.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let word = |index: usize| -> Option<u32> {
            let bytes = value.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let magic = word(0).ok_or(Errno::EINVAL)?;
        let root_uid = match (magic & VFS_CAP_REVISION_MASK, value.len()) {
            (VFS_CAP_REVISION_2, 20) => 0,
            (VFS_CAP_REVISION_3, 24) => word(5).ok_or(Errno::EINVAL)?,
            _ => return Err(Errno::EINVAL),
        };
        let pair = |low: usize| -> Result<CapSet> {
            let (low, high) =
                (word(low).ok_or(Errno::EINVAL)?, word(low + 2).ok_or(Errno::EINVAL)?);
            Ok(CapSet::from_bits(u64::from(low) | (u64::from(high) << 32)))
        };
        Ok(Self {
            permitted: pair(1)?,
            inheritable: pair(2)?,
            effective: magic & VFS_CAP_FLAGS_EFFECTIVE != 0,
            root_uid,
        })
    }
}

/// What an `execve` results in.
pub struct ExecIdentity {
    /// The new credentials.
    pub cred: Credentials,
    /// `AT_SECURE`: the program must not trust its environment.
    pub secure: bool,
    /// Whether the program runs with ids other than before: it is then not dumpable.
    pub changed: bool,
}

/// The credentials of the new program. With `no_new_privs`, set-id bits and file capabilities do not count.
///
/// # Errors
/// EPERM when the file's capabilities cannot all be given and it relies on having them.
pub fn after_exec(
    old: &Credentials,
    file: &FileIdentity,
    no_new_privs: bool,
) -> Result<ExecIdentity> {
    let mut new = old.clone();
    let mut file_caps = file.caps;
    if no_new_privs {
        file_caps = None;
    } else {
        new.euid = file.uid.filter(|uid| old.user_ns.knows_uid(*uid)).unwrap_or(old.euid);
        new.egid = file.gid.filter(|gid| old.user_ns.knows_gid(*gid)).unwrap_or(old.egid);
    }
    let root = old.user_ns.root_uid();
    if file_caps.is_some_and(|caps| Some(caps.root_uid) != root) {
        file_caps = None;
    }
    let (mut permitted, mut effective) = (CapSet::EMPTY, false);
    if let Some(caps) = file_caps {
        permitted = caps
            .permitted
            .intersection(old.bounding)
            .union(caps.inheritable.intersection(old.inheritable));
        effective = caps.effective;
        if effective && !caps.permitted.is_subset(permitted) {
            return Err(Errno::EPERM);
        }
    }
    let is_root = |uid: u32| Some(uid) == root;
    let honours_root = old.securebits & SECBIT_NOROOT == 0;
    // A set-user-id-root file with capabilities of its own gives a user only those.
    let by_file_caps = file_caps.is_some() && !is_root(new.ruid) && is_root(new.euid);
    if honours_root && !by_file_caps && (is_root(new.ruid) || is_root(new.euid)) {
        permitted = old.bounding.union(old.inheritable);
        effective = is_root(new.euid);
    }
    let changed = new.euid != old.euid || new.egid != old.egid;
    let privileged = changed || file_caps.is_some();
    new.ambient = if privileged { CapSet::EMPTY } else { old.ambient };
    new.permitted = permitted.union(new.ambient);
    new.effective = if effective { new.permitted } else { new.ambient };
    new.suid = new.euid;
    new.fsuid = new.euid;
    new.sgid = new.egid;
    new.fsgid = new.egid;
    new.securebits &= !SECBIT_KEEP_CAPS;
    let gains = !is_root(new.ruid) && (effective || !new.permitted.is_subset(new.ambient));
    let secure = new.euid != new.ruid || new.egid != new.rgid || gains;
    let changed = changed || !new.permitted.is_subset(old.permitted);
    Ok(ExecIdentity { cred: new, secure, changed })
}

#[cfg(test)]
mod tests {
    use chitin_abi::process::{CAP_NET_RAW, CAP_SETUID};

    use super::{CapSet, Credentials, FileCaps, FileIdentity, after_exec};
    use crate::cred::ids::set_uid;
    use crate::namespace::UserNamespace;

    fn user() -> Credentials {
        set_uid(&Credentials::root(UserNamespace::initial()), 1000).expect("root may")
    }

    #[test]
    fn set_user_id_root_gains_everything() {
        let file = FileIdentity { uid: Some(0), ..FileIdentity::default() };
        let exec = after_exec(&user(), &file, false).expect("allowed");
        assert_eq!((exec.cred.euid, exec.cred.ruid, exec.cred.suid), (0, 1000, 0));
        assert_eq!(exec.cred.effective, CapSet::ALL);
        assert!(exec.secure);
        let denied = after_exec(&user(), &file, true).expect("allowed");
        assert_eq!(denied.cred.euid, 1000);
        assert!(denied.cred.permitted.is_empty() && !denied.secure);
    }

    #[test]
    fn file_capabilities_are_bounded() {
        let caps =
            FileCaps { permitted: CapSet::of(CAP_NET_RAW), effective: true, ..FileCaps::default() };
        let file = FileIdentity { caps: Some(caps), ..FileIdentity::default() };
        let exec = after_exec(&user(), &file, false).expect("allowed");
        assert_eq!(exec.cred.effective, CapSet::of(CAP_NET_RAW));
        assert!(exec.secure);
        let mut bounded = user();
        bounded.bounding = CapSet::of(CAP_SETUID);
        assert!(after_exec(&bounded, &file, false).is_err());
    }
}
