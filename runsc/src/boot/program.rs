//! Finds the program of a container that is created but not started, so that a wrong name is reported at once.

use chitin_abi::Errno;
use chitin_vfs::cred::{Capabilities, Cred};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::path::Path;
use chitin_vfs::walk::{ResolveFlags, Walk};

use crate::error::{Failure, NOT_EXECUTABLE, NOT_FOUND, Result};
use crate::oci::process::Plan;

const EXECUTE: u32 = 1;

/// Fails as starting the program would.
pub(crate) fn check(plan: &Plan, root: &Path, env: &VfsEnv) -> Result<()> {
    let cred = Cred {
        uid: plan.uid,
        gid: plan.gid,
        groups: plan.groups.clone().into(),
        caps: Capabilities(plan.capabilities.effective),
    };
    let walk = |base: Path| Walk {
        root: root.clone(),
        base,
        cred: &cred,
        umask: 0,
        now: env.shared.clock.now(),
        resolve: ResolveFlags::empty(),
        env,
    };
    // A missing directory is made when the program starts.
    let base = walk(root.clone()).lookup(&plan.cwd, true).unwrap_or_else(|_| root.clone());
    let walk = walk(base);
    let name = plan.args.first().map_or(&b""[..], Vec::as_slice);
    let failed = |errno: Errno| {
        let code = if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            NOT_FOUND
        } else {
            NOT_EXECUTABLE
        };
        Failure::with_code(format!("{}: {}", String::from_utf8_lossy(name), errno), code)
    };
    if name.is_empty() {
        return Err(failed(Errno::ENOENT));
    }
    if name.contains(&b'/') {
        return runnable(&walk, name).map_err(failed);
    }
    let path = plan.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut failure = Errno::ENOENT;
    for directory in path.split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        match runnable(&walk, &[directory, name].join(&b'/')) {
            Ok(()) => return Ok(()),
            Err(Errno::EACCES) => failure = Errno::EACCES,
            Err(_) => {}
        }
    }
    Err(failed(failure))
}

fn runnable(walk: &Walk<'_>, name: &[u8]) -> chitin_abi::Result<()> {
    let path = walk.lookup(name, true)?;
    if !path.inode().attr()?.is_regular() {
        return Err(Errno::EACCES);
    }
    walk.access(&path, EXECUTE)
}
