//! Attributes of files that no directory holds: pipes, sockets, `anon_inode` files.
//!
//! Pipes and sockets have an inode number each (`pipe:[17]`); all `anon_inode` files of Linux share one inode,
//! which has no type bits. Device numbers are fixed ones below those of mounted file systems.

use core::sync::atomic::{AtomicU64, Ordering};

use chitin_abi::fs::{S_IFIFO, S_IFSOCK, makedev};
use chitin_abi::time::Timespec;
use parking_lot::Mutex;

use crate::attr::{Attr, SetAttr};
use crate::cred::Cred;

/// Minor device number of the file system of sockets.
const SOCKFS_MINOR: u32 = 8;
/// Minor device number of the file system of pipes.
const PIPEFS_MINOR: u32 = 14;
/// Minor device number of the file system of other files without a name.
const ANON_MINOR: u32 = 15;
/// The one inode number of `anon_inode` files.
const ANON_INO: u64 = 1;

static NEXT_INO: AtomicU64 = AtomicU64::new(1024);

/// The inode of a file without a name.
pub struct AnonInode {
    attr: Mutex<Attr>,
}

impl AnonInode {
    /// That of a pipe.
    pub fn pipe(owner: &Cred, now: Timespec) -> Self {
        Self::new(PIPEFS_MINOR, next_ino(), S_IFIFO | 0o600, owner, now)
    }

    /// That of a socket.
    pub fn socket(owner: &Cred, now: Timespec) -> Self {
        Self::new(SOCKFS_MINOR, next_ino(), S_IFSOCK | 0o777, owner, now)
    }

    /// That of all other files without a name.
    pub fn anonymous() -> Self {
        Self::new(ANON_MINOR, ANON_INO, 0o600, &Cred::root(), Timespec::default())
    }

    fn new(minor: u32, ino: u64, mode: u32, owner: &Cred, now: Timespec) -> Self {
        Self {
            attr: Mutex::new(Attr {
                dev: makedev(0, minor),
                ino,
                mode,
                nlink: 1,
                uid: owner.uid,
                gid: owner.gid,
                rdev: 0,
                size: 0,
                blksize: 4096,
                blocks: 0,
                atime: now,
                mtime: now,
                ctime: now,
                btime: now,
            }),
        }
    }

    /// Its attributes.
    pub fn attr(&self) -> Attr {
        *self.attr.lock()
    }

    /// Its inode number.
    pub fn ino(&self) -> u64 {
        self.attr.lock().ino
    }

    /// Changes mode, owner and times; the size stays.
    pub fn set_attr(&self, change: &SetAttr) {
        let mut attr = self.attr.lock();
        if let Some(mode) = change.mode {
            attr.mode = (attr.mode & !0o7777) | (mode & 0o7777);
        }
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        attr.atime = change.atime.unwrap_or(attr.atime);
        attr.mtime = change.mtime.unwrap_or(attr.mtime);
    }
}

fn next_ino() -> u64 {
    NEXT_INO.fetch_add(1, Ordering::Relaxed)
}
