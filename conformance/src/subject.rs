//! What is tested: a kernel that answers system calls, and which tests apply to it.

use core::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::suite::Test;

/// A kernel, or a part of one, that the tests run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The kernel that this program runs on.
    Host,
    /// Whatever the prefix runs programs in; `runsc do` without one.
    Sandbox,
    /// The system-call table of `chitin-task` in this process, all tests.
    Task,
    /// The same, tests of calls that `chitin-vfs` serves.
    Vfs,
    /// The same, tests of calls that `chitin-mm` serves.
    Mm,
    /// The same, families whose sockets `chitin-net-stack` serves.
    Net,
}

/// The file system at `/` of a subject that runs in process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// A tmpfs.
    #[default]
    Tmpfs,
    /// An overlay of two of them.
    Overlay,
}

/// Calls that `chitin-vfs` serves.
const VFS: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fanotify_init",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "memfd_create",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mount",
    "name_to_handle_at",
    "newfstatat",
    "open",
    "open_by_handle_at",
    "open_tree",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "pread64",
    "preadv",
    "preadv2",
    "pselect6",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "select",
    "sendfile",
    "setxattr",
    "setxattrat",
    "splice",
    "stat",
    "statfs",
    "statmount",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "truncate",
    "umask",
    "umount2",
    "unlink",
    "unlinkat",
    "ustat",
    "utime",
    "utimensat",
    "utimes",
    "vmsplice",
    "write",
    "writev",
];
/// Calls that `chitin-mm` serves.
const MM: &[&str] = &[
    "brk",
    "madvise",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_madvise",
    "remap_file_pages",
];
/// Families whose sockets are those of `chitin-net-stack`.
const NET: &[&str] = &["icmp", "inet", "ip", "packet", "raw", "tcp", "udp"];

impl Subject {
    /// Whether it is a part of this program.
    pub fn is_in_process(self) -> bool {
        !matches!(self, Self::Host | Self::Sandbox)
    }

    /// Whether a test of a family applies: by the first call that it covers, or by its family.
    pub fn serves(self, family: &str, test: &Test) -> bool {
        let first = test.covers.first().copied().unwrap_or_default();
        match self {
            Self::Host | Self::Sandbox | Self::Task => true,
            Self::Vfs => VFS.contains(&first),
            Self::Mm => MM.contains(&first),
            Self::Net => NET.iter().any(|name| family.starts_with(name)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Sandbox => "sandbox",
            Self::Task => "task",
            Self::Vfs => "vfs",
            Self::Mm => "mm",
            Self::Net => "net",
        })
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tmpfs => "tmpfs",
            Self::Overlay => "overlay",
        })
    }
}
