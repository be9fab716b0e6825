//! Who a task is: user and group ids, capabilities, securebits (`credentials(7)`, `capabilities(7)`).
//!
//! Ids are those of the initial user namespace ("kernel ids"); [`Credentials::user_ns`] translates what the
//! guest sees. A task's credentials are replaced, never changed in place.
//!
//! - [`caps`]: sets of capabilities.
//! - [`ids`]: the `setuid(2)` family.
//! - [`exec`]: what `execve(2)` makes of them.

pub mod caps;
pub mod exec;
pub mod ids;

use std::sync::Arc;

use chitin_abi::process::{CAP_SETGID, CAP_SETUID};
use chitin_vfs::cred::{Capabilities, Cred};

pub use self::caps::CapSet;
use crate::namespace::UserNamespace;

/// A task's identity.
#[derive(Clone)]
pub struct Credentials {
    /// Real user id.
    pub ruid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// User id for files.
    pub fsuid: u32,
    /// Real group id.
    pub rgid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// Group id for files.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
    /// What may become effective.
    pub permitted: CapSet,
    /// What counts.
    pub effective: CapSet,
    /// What `execve` of a file with inheritable capabilities keeps.
    pub inheritable: CapSet,
    /// What can ever be gained.
    pub bounding: CapSet,
    /// What `execve` of an ordinary file keeps.
    pub ambient: CapSet,
    /// `SECBIT_…`.
    pub securebits: u32,
    /// The user namespace that all of these are in.
    pub user_ns: Arc<UserNamespace>,
}

impl Credentials {
    /// The superuser of a user namespace, with all capabilities.
    pub fn root(user_ns: Arc<UserNamespace>) -> Self {
        Self {
            ruid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            rgid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: Arc::from([]),
            permitted: CapSet::ALL,
            effective: CapSet::ALL,
            inheritable: CapSet::EMPTY,
            bounding: CapSet::ALL,
            ambient: CapSet::EMPTY,
            securebits: 0,
            user_ns,
        }
    }

    /// What permission checks of files look at.
    pub fn fs_cred(&self) -> Cred {
        self.file_cred(self.fsuid, self.fsgid, self.effective)
    }

    /// The same with the real ids, as `access(2)` checks: the effective capabilities count only for a real
    /// user that is root.
    pub fn access_cred(&self) -> Cred {
        let caps = if self.securebits & chitin_abi::process::SECBIT_NO_SETUID_FIXUP != 0 {
            self.effective
        } else if self.user_ns.root_uid() == Some(self.ruid) {
            self.permitted
        } else {
            CapSet::EMPTY
        };
        self.file_cred(self.ruid, self.rgid, caps)
    }

    fn file_cred(&self, uid: u32, gid: u32, caps: CapSet) -> Cred {
        // Capabilities over a namespace of its own do not reach files of the initial one.
        let caps = if self.user_ns.is_initial() { caps } else { CapSet::EMPTY };
        Cred { uid, gid, groups: Arc::clone(&self.groups), caps: Capabilities(caps.bits()) }
    }

    /// Whether a capability is effective in the task's own user namespace.
    pub fn has(&self, capability: u32) -> bool {
        self.effective.has(capability)
    }

    /// Whether a capability is effective over what belongs to `ns`: it is in the own or an ancestor namespace,
    /// or a namespace below that the user made.
    pub fn capable(&self, ns: &Arc<UserNamespace>, capability: u32) -> bool {
        let mut target = Arc::clone(ns);
        loop {
            if Arc::ptr_eq(&target, &self.user_ns) {
                return self.has(capability);
            }
            let Some(parent) = target.parent() else { return false };
            if Arc::ptr_eq(parent, &self.user_ns) && target.owner() == self.euid {
                return true;
            }
            target = Arc::clone(parent);
        }
    }

    /// Whether a capability is effective in the initial user namespace.
    pub fn capable_initial(&self, capability: u32) -> bool {
        self.user_ns.is_initial() && self.has(capability)
    }

    /// Whether the task is in a group, by effective id or supplementary.
    pub fn in_group(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.contains(&gid)
    }

    /// A user id as this task's namespace shows it.
    pub fn show_uid(&self, kuid: u32) -> u32 {
        self.user_ns.show_uid(kuid)
    }

    /// A group id as this task's namespace shows it.
    pub fn show_gid(&self, kgid: u32) -> u32 {
        self.user_ns.show_gid(kgid)
    }

    /// Whether this task may name `uid` as a sender's (`SCM_CREDENTIALS`).
    pub fn may_claim_uid(&self, kuid: u32) -> bool {
        kuid == self.ruid || kuid == self.euid || kuid == self.suid || self.has(CAP_SETUID)
    }

    /// Whether this task may name `gid` as a sender's (`SCM_CREDENTIALS`).
    pub fn may_claim_gid(&self, kgid: u32) -> bool {
        kgid == self.rgid || kgid == self.egid || kgid == self.sgid || self.has(CAP_SETGID)
    }
}
