//! Types that are `tmpfs` under another name: `ramfs`, `devtmpfs`.

use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::{S_IFCHR, S_IFDIR, makedev};
use chitin_vfs::attr::NewFile;
use chitin_vfs::fs_type::FsType;
use chitin_vfs::inode::Inode;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::Walk;

/// `ramfs`: options other than `mode` are ignored, as on Linux.
pub struct RamType;

impl FsType for RamType {
    fn name(&self) -> &str {
        "ramfs"
    }

    fn mount(
        &self,
        source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let mode = options.split(|byte| *byte == b',').find(|option| option.starts_with(b"mode="));
        let options = [mode.unwrap_or(b"mode=755"), b",size=0"].concat();
        walk.env.shared.fs_types.find(b"tmpfs")?.mount(source, &options, walk)
    }
}

/// The nodes of `/dev`: name, number, permission bits.
pub const NODES: [(&str, (u32, u32), u32); 9] = [
    ("null", (1, 3), 0o666),
    ("zero", (1, 5), 0o666),
    ("full", (1, 7), 0o666),
    ("random", (1, 8), 0o666),
    ("urandom", (1, 9), 0o666),
    ("kmsg", (1, 11), 0o644),
    ("tty", (5, 0), 0o666),
    ("console", (5, 1), 0o600),
    ("ptmx", (5, 2), 0o666),
];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// `devtmpfs`: a tmpfs with the kernel's devices in it.
pub struct DevType;

impl FsType for DevType {
    fn name(&self) -> &str {
        "devtmpfs"
    }

    fn mount(
        &self,
        source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let options = if options.is_empty() { b"mode=755" } else { options };
        let (super_block, root) =
            walk.env.shared.fs_types.find(b"tmpfs")?.mount(source, options, walk)?;
        for (name, (major, minor), permissions) in NODES {
            let new = NewFile {
                mode: S_IFCHR | permissions,
                uid: 0,
                gid: 0,
                rdev: makedev(major, minor),
            };
            root.create(name.as_bytes(), &new)?;
        }
        for (name, target) in LINKS {
            let new = NewFile { mode: 0o777, uid: 0, gid: 0, rdev: 0 };
            root.symlink(name.as_bytes(), target.as_bytes(), &new)?;
        }
        for name in ["pts", "shm", "mqueue"] {
            root.mkdir(
                name.as_bytes(),
                &NewFile { mode: S_IFDIR | 0o755, uid: 0, gid: 0, rdev: 0 },
            )?;
        }
        Ok((super_block, root))
    }
}
