//! Confinement of the sentry, in the order in which it happens (the table of SECURITY.md is a test):
//!
//! 1. [`identity`]: the ids of its own user namespace; not undumpable, so that it may read its stubs.
//! 2. [`root`]: a root directory with nothing in it, the host's mounts gone from its namespace.
//! 3. [`descriptors`]: nothing open but what it was given; room for many, made before there are threads (a
//!    descriptor table that grows later costs an RCU grace period, more than 10 ms).
//! 4. [`capabilities`]: none but five that concern files of the container.
//! 5. [`filter`]: a seccomp list of host calls, with argument checks. After the platform has made its processes,
//!    which have stricter filters of their own, and before any other thread exists.

pub(crate) mod bpf;
pub(crate) mod capabilities;
pub(crate) mod descriptors;
pub(crate) mod filter;
pub(crate) mod root;

use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid};
use rustix::thread::set_no_new_privs;

use crate::error::{Context as _, Result};
use crate::oci::identity::IdMaps;

/// Takes on the ids that the process has in its own user namespace, and a session of its own: signals of a
/// terminal are not for it.
pub(crate) fn identity(maps: &IdMaps) -> Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    if !maps.unprivileged {
        setgroups(&[]).context(|| "cannot drop the supplementary groups")?;
        let (uid, gid) = (Uid::from_raw(maps.uid), Gid::from_raw(maps.gid));
        setresgid(gid, gid, gid).context(|| format!("cannot become group {gid} of the sandbox"))?;
        let before = capabilities::keep_over_setuid();
        setresuid(uid, uid, uid).context(|| format!("cannot become user {uid} of the sandbox"))?;
        before.context(|| "cannot keep capabilities")?;
    }
    // A new process that was forked leads no session yet; only a leader of a group fails, which it cannot be.
    setsid().context(|| "cannot start a session")?;
    set_no_new_privs(true).context(|| "cannot give up privileges for good (no_new_privs)")?;
    set_dumpable_behavior(DumpableBehavior::Dumpable).context(|| "cannot stay dumpable")
}
