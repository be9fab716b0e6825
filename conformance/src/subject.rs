//! What is tested: a kernel that answers system calls, and which tests apply to it.

use core::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A kernel, or a part of one, that the tests run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The kernel that this program runs on.
    Host,
    /// Whatever the prefix runs programs in; `runsc do` without one.
    Sandbox,
    /// The system-call table of `chitin-task` in this process, all families.
    Task,
    /// The same, the families that `chitin-vfs` serves.
    Vfs,
    /// The same, the families that `chitin-mm` serves.
    Mm,
    /// The same, the families that `chitin-net-stack` serves.
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

/// Families of tests that need nothing but files and what else has descriptors.
const VFS: &[&str] = &[
    "acl",
    "attr",
    "copy",
    "dir",
    "epoll",
    "eventfd",
    "fallocate",
    "fanotify",
    "fcntl",
    "fd",
    "flock",
    "fs",
    "handle",
    "inotify",
    "io",
    "lease",
    "link",
    "lock",
    "memfd",
    "mount",
    "open",
    "path",
    "pipe",
    "readdir",
    "rename",
    "seal",
    "select",
    "splice",
    "stat",
    "statfs",
    "statx",
    "tree",
    "truncate",
    "uio",
    "xattr",
];
const MM: &[&str] =
    &["brk", "madvise", "mincore", "mlock", "mmap", "mprotect", "mremap", "msync", "munmap"];
const NET: &[&str] = &["inet", "inet6", "netlink", "raw", "socket", "tcp", "udp"];

impl Subject {
    /// Whether it is a part of this program.
    pub fn is_in_process(self) -> bool {
        !matches!(self, Self::Host | Self::Sandbox)
    }

    /// Whether the tests of a family apply.
    pub fn serves(self, family: &str) -> bool {
        match self {
            Self::Host | Self::Sandbox | Self::Task => true,
            Self::Vfs => VFS.contains(&family),
            Self::Mm => MM.contains(&family),
            Self::Net => NET.contains(&family),
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
