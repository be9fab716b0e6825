//! The files of a subject in process: a small root, `/dev`, `/proc`, `/sys`, and a directory for the test.

use std::sync::Arc;

use chitin_abi::fs::{S_IFCHR, makedev};
use chitin_abi::{Errno, Result};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::overlay::{Overlay, OverlayOptions};
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::inode::Inode;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::{ResolveFlags, Walk};

use crate::subject::Root;

/// Where a test finds itself: empty.
pub(super) const DIRECTORY: &[u8] = b"/tmp/case";

const DIRECTORIES: [(&[u8], u32); 11] = [
    (b"/dev", 0o755),
    (b"/etc", 0o755),
    (b"/home", 0o755),
    (b"/mnt", 0o755),
    (b"/proc", 0o555),
    (b"/root", 0o700),
    (b"/run", 0o755),
    (b"/sys", 0o555),
    (b"/tmp", 0o1777),
    (b"/var", 0o755),
    (DIRECTORY, 0o755),
];

/// Type, place, options.
const MOUNTS: [(&[u8], &[u8], &[u8]); 6] = [
    (b"proc", b"/proc", b""),
    (b"sysfs", b"/sys", b""),
    (b"tmpfs", b"/dev", b"mode=755"),
    (b"devpts", b"/dev/pts", b"newinstance,ptmxmode=0666,mode=620"),
    (b"tmpfs", b"/dev/shm", b"mode=1777"),
    (b"mqueue", b"/dev/mqueue", b""),
];

const DEVICES: [(&[u8], u32, u32); 6] = [
    (b"/dev/null", 1, 3),
    (b"/dev/zero", 1, 5),
    (b"/dev/full", 1, 7),
    (b"/dev/random", 1, 8),
    (b"/dev/urandom", 1, 9),
    (b"/dev/tty", 5, 0),
];

const LINKS: [(&[u8], &[u8]); 5] = [
    (b"/proc/self/fd", b"/dev/fd"),
    (b"/proc/self/fd/0", b"/dev/stdin"),
    (b"/proc/self/fd/1", b"/dev/stdout"),
    (b"/proc/self/fd/2", b"/dev/stderr"),
    (b"pts/ptmx", b"/dev/ptmx"),
];

type Instance = (Arc<SuperBlock>, Arc<dyn Inode>);

fn mount_of((super_block, root): Instance, source: &[u8]) -> NewMount {
    NewMount { super_block, root, flags: MountFlags::REL_ATIME, source: source.to_vec() }
}

fn tmpfs() -> Result<Instance> {
    Tmpfs::new(TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() })
}

fn walk<'a>(namespace: &MountNamespace, cred: &'a Cred, env: &'a VfsEnv) -> Walk<'a> {
    Walk {
        root: namespace.root(),
        base: namespace.root(),
        cred,
        umask: 0,
        now: env.shared.clock.now(),
        resolve: ResolveFlags::empty(),
        env,
    }
}

/// Makes the mounts.
pub(super) fn build(root: Root, env: &VfsEnv) -> Result<Arc<MountNamespace>> {
    let lower = tmpfs()?;
    let namespace = match root {
        Root::Tmpfs => {
            let namespace = MountNamespace::new(mount_of(lower, b"none"));
            directories(&namespace, env)?;
            namespace
        }
        Root::Overlay => {
            // The directories are the lower layer's, so that all that a test makes goes into merged ones.
            directories(&MountNamespace::new(mount_of(lower.clone(), b"none")), env)?;
            let merged = Overlay::new(Some(tmpfs()?.1), vec![lower.1], OverlayOptions::default())?;
            MountNamespace::new(mount_of(merged, b"overlay"))
        }
    };
    namespace.system().obey(&env.shared.sysctls);
    mounts(&namespace, env)?;
    Ok(namespace)
}

fn directories(namespace: &Arc<MountNamespace>, env: &VfsEnv) -> Result<()> {
    let cred = Cred::root();
    let walk = walk(namespace, &cred, env);
    DIRECTORIES.iter().try_for_each(|(path, mode)| walk.mkdir(path, *mode).map(drop))
}

fn mounts(namespace: &Arc<MountNamespace>, env: &VfsEnv) -> Result<()> {
    let cred = Cred::root();
    let walk = walk(namespace, &cred, env);
    for (name, place, options) in MOUNTS {
        match walk.mkdir(place, 0o755) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let instance = env.shared.fs_types.find(name)?.mount(name, options, &walk)?;
        namespace.mount(&walk.lookup(place, true)?, mount_of(instance, name))?;
        if place == b"/dev" {
            for (path, major, minor) in DEVICES {
                walk.mknod(path, S_IFCHR | 0o666, makedev(major, minor))?;
            }
            for (target, path) in LINKS {
                walk.symlink(target, path)?;
            }
        }
    }
    Ok(())
}
