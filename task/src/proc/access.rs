//! Who may look into a process (`ptrace_may_access` of the kernel, `ptrace(2)`).

use core::sync::atomic::Ordering;

use chitin_abi::process::CAP_SYS_PTRACE;
use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;

use super::reader;
use crate::task::Task;

/// `PR_GET_DUMPABLE` of a process that its user may look into.
pub const DUMPABLE: u32 = 1;

/// Whether `reader` may look into `target` (its memory, descriptors, mappings).
pub fn may_trace(reader: &Task, target: &Task) -> bool {
    if reader.tgid() == target.tgid() {
        return true;
    }
    let (cred, other) = (reader.cred(), target.cred());
    if cred.capable(&other.user_ns, CAP_SYS_PTRACE) {
        return true;
    }
    let same_user = [other.euid, other.suid, other.ruid].iter().all(|uid| *uid == cred.fsuid);
    let same_group = [other.egid, other.sgid, other.rgid].iter().all(|gid| *gid == cred.fsgid);
    same_user && same_group && target.group.dumpable.load(Ordering::Relaxed) == DUMPABLE
}

/// The same for whoever opens a file; the kernel itself may everything.
pub fn may_open(env: &VfsEnv, target: &Task) -> bool {
    reader(env).is_none_or(|reader| may_trace(reader, target))
}

/// Fails where the opener may not look into the target.
///
/// # Errors
/// EACCES.
pub fn check(env: &VfsEnv, target: &Task) -> Result<()> {
    if may_open(env, target) { Ok(()) } else { Err(Errno::EACCES) }
}
