//! Host operations: what a plan of this crate asks a platform to do to a stub's memory.

use core::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Code of a file that the platform knows, see [`Platform::known_code`](crate::platform::Platform::known_code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedCode {
    /// Which one.
    pub number: u64,
    /// Where it has the room that it asked for. Nothing is mapped there yet, and nothing else ever is.
    pub room: Option<u64>,
}

/// One operation on the host's side of an address space. Addresses and lengths are whole pages inside the
/// range of `Capabilities::{min_address, max_address}`; a platform refuses others with EINVAL.
#[derive(Clone)]
pub enum HostOp {
    /// `mmap(MAP_FIXED | MAP_ANONYMOUS)`: fresh zero pages, private or shared with later forks.
    MapAnonymous {
        /// First byte.
        addr: u64,
        /// Bytes.
        len: u64,
        /// What the guest may do.
        prot: HostProt,
        /// Whether a fork shares the pages instead of copying them.
        shared: bool,
        /// Whether the pages are made at once (`MAP_POPULATE`).
        populate: bool,
        /// Whether swap space is not reserved (`MAP_NORESERVE`).
        noreserve: bool,
        /// Whether the mapping grows downwards (`MAP_GROWSDOWN`).
        grows_down: bool,
    },
    /// `mmap(MAP_FIXED)` of a host file.
    MapFile {
        /// First byte.
        addr: u64,
        /// Bytes.
        len: u64,
        /// What the guest may do.
        prot: HostProt,
        /// Whether writes go to the file.
        shared: bool,
        /// Whether the guest may ever be allowed to write to it. A platform whose guests can change rights by
        /// themselves sees to it that no shared mapping without this can be made writable.
        writable: bool,
        /// The file, open with at least the rights that the mapping needs.
        file: Arc<OwnedFd>,
        /// Offset in the file: whole pages.
        offset: u64,
        /// Whether the pages are read at once (`MAP_POPULATE`).
        populate: bool,
        /// What the platform knows of the code in it: private mappings that the guest may run and not write.
        code: Option<MappedCode>,
    },
    /// `munmap`.
    Unmap {
        /// First byte.
        addr: u64,
        /// Bytes.
        len: u64,
    },
    /// `mprotect`.
    Protect {
        /// First byte.
        addr: u64,
        /// Bytes.
        len: u64,
        /// What the guest may do from now on.
        prot: HostProt,
    },
    /// `mremap(MREMAP_MAYMOVE | MREMAP_FIXED)`, or in place where both addresses are equal.
    Remap {
        /// First byte now.
        old_addr: u64,
        /// Bytes now.
        old_len: u64,
        /// First byte afterwards.
        new_addr: u64,
        /// Bytes afterwards.
        new_len: u64,
        /// Whether the old range stays mapped, empty (`MREMAP_DONTUNMAP`).
        keep_old: bool,
    },
    /// `madvise`.
    Advise {
        /// First byte.
        addr: u64,
        /// Bytes.
        len: u64,
        /// `MADV_…`.
        advice: i32,
    },
    /// `msync`.
    Sync {
        /// First byte.
        addr: u64,
        /// Bytes.
        len: u64,
        /// `MS_…`.
        flags: i32,
    },
}

/// Rights of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostProt {
    /// `PROT_READ`.
    pub read: bool,
    /// `PROT_WRITE`.
    pub write: bool,
    /// `PROT_EXEC`.
    pub exec: bool,
}

impl fmt::Debug for HostOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MapAnonymous { addr, len, prot, .. } => {
                write!(f, "map {addr:#x}+{len:#x} anonymous {prot:?}")
            }
            Self::MapFile { addr, len, prot, offset, .. } => {
                write!(f, "map {addr:#x}+{len:#x} file at {offset:#x} {prot:?}")
            }
            Self::Unmap { addr, len } => write!(f, "unmap {addr:#x}+{len:#x}"),
            Self::Protect { addr, len, prot } => write!(f, "protect {addr:#x}+{len:#x} {prot:?}"),
            Self::Remap { old_addr, old_len, new_addr, new_len, .. } => {
                write!(f, "remap {old_addr:#x}+{old_len:#x} to {new_addr:#x}+{new_len:#x}")
            }
            Self::Advise { addr, len, advice } => write!(f, "advise {addr:#x}+{len:#x} {advice}"),
            Self::Sync { addr, len, flags } => write!(f, "sync {addr:#x}+{len:#x} {flags}"),
        }
    }
}
