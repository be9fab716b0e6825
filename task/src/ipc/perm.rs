//! Permissions of System V objects.

use chitin_abi::ipc::IpcPerm;
use chitin_abi::process::{CAP_IPC_OWNER, CAP_SYS_ADMIN};
use chitin_abi::{Errno, Result};

use crate::cred::Credentials;
use crate::task::Task;

/// Reading, as permission bits of all three classes.
pub const READ: u32 = 0o444;
/// Writing.
pub const WRITE: u32 = 0o222;
/// Executing.
pub const EXEC: u32 = 0o111;

/// Who may use an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Who made it.
    pub creator_uid: u32,
    /// The group of who made it.
    pub creator_gid: u32,
    /// Permission bits, and `SHM_DEST` and the like.
    pub mode: u32,
}

/// Who asks.
pub struct Caller<'a> {
    cred: &'a Credentials,
    trusted: bool,
    administrator: bool,
    /// Its process id, as its own pid namespace numbers it.
    pub pid: i32,
    /// Its process id in the kernel's tables.
    pub tgid: u32,
    /// Seconds since the epoch.
    pub now: i64,
}

impl<'a> Caller<'a> {
    /// The caller `task`, whose credentials are `cred`.
    pub fn new(task: &Task, cred: &'a Credentials) -> Self {
        let namespaces = task.namespaces();
        let owner = &namespaces.ipc.user_ns;
        Self {
            cred,
            trusted: cred.capable(owner, CAP_IPC_OWNER),
            administrator: cred.capable(owner, CAP_SYS_ADMIN),
            pid: task.group.pid.local().cast_signed(),
            tgid: task.tgid(),
            now: task.kernel.clock.realtime().tv_sec,
        }
    }

    /// A caller without a task.
    #[cfg(test)]
    pub(super) fn for_test(cred: &'a Credentials) -> Self {
        Self { cred, trusted: false, administrator: false, pid: 1, tgid: 1, now: 1 }
    }

    /// The permissions of an object that the caller makes.
    pub fn new_permission(&self, flags: u32) -> Permission {
        Permission {
            uid: self.cred.euid,
            gid: self.cred.egid,
            creator_uid: self.cred.euid,
            creator_gid: self.cred.egid,
            mode: flags & 0o777,
        }
    }

    /// Whether the caller may do what the permission bits `wanted` say.
    ///
    /// # Errors
    /// EACCES.
    pub fn check(&self, permission: &Permission, wanted: u32) -> Result<()> {
        let cred = self.cred;
        let wanted = (wanted >> 6) | (wanted >> 3) | wanted;
        let granted = if cred.euid == permission.creator_uid || cred.euid == permission.uid {
            permission.mode >> 6
        } else if cred.in_group(permission.creator_gid) || cred.in_group(permission.gid) {
            permission.mode >> 3
        } else {
            permission.mode
        };
        if wanted & !granted & 0o7 != 0 && !self.trusted { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// Whether the caller owns it.
    pub fn owns(&self, permission: &Permission) -> bool {
        let euid = self.cred.euid;
        euid == permission.creator_uid || euid == permission.uid
    }

    /// Whether the caller may change or remove it.
    ///
    /// # Errors
    /// EPERM.
    pub fn check_owner(&self, permission: &Permission) -> Result<()> {
        if self.owns(permission) || self.administrator { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// The caller's credentials.
    pub fn cred(&self) -> &Credentials {
        self.cred
    }

    /// The structure that `IPC_STAT` shows.
    pub fn show(&self, permission: &Permission, key: i32, id: i32) -> IpcPerm {
        IpcPerm {
            key,
            uid: self.cred.show_uid(permission.uid),
            gid: self.cred.show_gid(permission.gid),
            cuid: self.cred.show_uid(permission.creator_uid),
            cgid: self.cred.show_gid(permission.creator_gid),
            mode: permission.mode,
            seq: (id / 32768) as u16,
            ..IpcPerm::default()
        }
    }

    /// Applies `IPC_SET`.
    ///
    /// # Errors
    /// EINVAL for ids that do not exist in the caller's user namespace.
    pub fn apply(&self, permission: &mut Permission, new: &IpcPerm) -> Result<()> {
        let ns = &self.cred.user_ns;
        permission.uid = ns.uid(new.uid).ok_or(Errno::EINVAL)?;
        permission.gid = ns.gid(new.gid).ok_or(Errno::EINVAL)?;
        permission.mode = (permission.mode & !0o777) | (new.mode & 0o777);
        Ok(())
    }
}
