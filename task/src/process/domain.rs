//! Whose remains a process may use.
//!
//! A platform may give the host side of an address space that has ended to another process. What hostile code has left
//! there could take that one over, so both have to be such that this is no gain: with the same identity, the same
//! namespaces and root, and without what confines one of them further. Programs that gain rights, or that may be run but
//! not read, always get a host side that nobody has used.

use core::sync::atomic::Ordering;

use chitin_mm::platform::Domain;

use crate::cred::Credentials;
use crate::task::Task;

/// Where a task belongs that has (or will have) this identity; `None` for one that shares with nobody.
pub fn of(task: &Task, cred: &Credentials) -> Option<Domain> {
    if task.filtered.load(Ordering::Relaxed) || task.trace.is_traced() {
        return None;
    }
    let namespaces = task.namespaces();
    if task.fs().root() != namespaces.mount.root() {
        return None;
    }
    let ids =
        [cred.ruid, cred.euid, cred.suid, cred.fsuid, cred.rgid, cred.egid, cred.sgid, cred.fsgid];
    let sets = [cred.permitted, cred.effective, cred.inheritable, cred.bounding, cred.ambient];
    let mut domain: Vec<u64> = ids.map(u64::from).to_vec();
    domain.extend(sets.map(|set| set.bits()));
    domain.extend([
        u64::from(cred.securebits),
        u64::from(task.no_new_privs.load(Ordering::Relaxed)),
        cred.user_ns.id,
        namespaces.uts.id,
        namespaces.ipc.id,
        namespaces.mount.id(),
        namespaces.net.id,
        namespaces.cgroup.id,
        namespaces.time.id,
        namespaces.pid_for_children.id,
        task.pid_ns().id,
    ]);
    domain.extend(cred.groups.iter().copied().map(u64::from));
    Some(domain.into())
}
