//! File attributes, as `stat(2)` and `statx(2)` show them and `chmod(2)`, `chown(2)`, `utimensat(2)` and
//! `truncate(2)` change them.

use chitin_abi::fs;
use chitin_abi::time::Timespec;

/// What a file is and who may use it. Times are nanosecond `CLOCK_REALTIME` values.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    /// Device number of the file system (`st_dev`).
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits (`st_mode`).
    pub mode: u32,
    /// Hard links.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Preferred block size.
    pub blksize: u32,
    /// 512-byte units in use.
    pub blocks: u64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of the contents.
    pub mtime: Timespec,
    /// Last change of the attributes.
    pub ctime: Timespec,
    /// Birth.
    pub btime: Timespec,
}

impl Attr {
    /// A file of this mode with one link, owned by root, with nothing in it.
    pub const fn empty(mode: u32) -> Self {
        let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
        Self {
            dev: 0,
            ino: 1,
            mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blksize: 4096,
            blocks: 0,
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            btime: epoch,
        }
    }

    /// The type bits (`S_IFMT`).
    pub const fn file_type(&self) -> u32 {
        self.mode & fs::S_IFMT
    }

    /// Whether it is a directory.
    pub const fn is_dir(&self) -> bool {
        self.file_type() == fs::S_IFDIR
    }

    /// Whether it is a regular file.
    pub const fn is_regular(&self) -> bool {
        self.file_type() == fs::S_IFREG
    }

    /// Whether it is a symbolic link.
    pub const fn is_symlink(&self) -> bool {
        self.file_type() == fs::S_IFLNK
    }
}

/// Attributes to change; `None` stays as it is. The inode applies them without permission checks, which are
/// made above it, and sets `ctime` to `now`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// New length: truncates or extends with zeros.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<Timespec>,
    /// Last change of the contents.
    pub mtime: Option<Timespec>,
}

/// The owner and permission bits that a new file gets; the umask and the directory's set-group-id bit have been
/// looked at by the walk.
#[derive(Clone, Copy, Debug)]
pub struct NewFile {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
}
