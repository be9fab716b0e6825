//! One mapping: what lies between two addresses.

use std::sync::Arc;

use bitflags::bitflags;
use chitin_abi::mm::ProtFlags;

use crate::host_op::HostProt;
use crate::mapped_file::FileRef;

bitflags! {
    /// Properties of a mapping beyond its rights.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct VmaFlags: u32 {
        /// `MAP_SHARED`, as /proc/pid/maps shows it (`s`).
        const SHARED = 1;
        /// `MAP_GROWSDOWN`, or the stack.
        const GROWS_DOWN = 1 << 1;
        /// `mlock(2)`.
        const LOCKED = 1 << 2;
        /// `mlock2(MLOCK_ONFAULT)`, besides `LOCKED`.
        const LOCK_ON_FAULT = 1 << 3;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 1 << 4;
        /// `MADV_DONTFORK`.
        const DONT_FORK = 1 << 5;
        /// `MADV_WIPEONFORK`.
        const WIPE_ON_FORK = 1 << 6;
        /// `MADV_DONTDUMP`.
        const DONT_DUMP = 1 << 7;
        /// `MADV_HUGEPAGE`.
        const HUGE_PAGE = 1 << 8;
        /// `MADV_NOHUGEPAGE`.
        const NO_HUGE_PAGE = 1 << 9;
        /// `MADV_MERGEABLE`.
        const MERGEABLE = 1 << 10;
        /// `MADV_RANDOM`.
        const RANDOM_READ = 1 << 11;
        /// `MADV_SEQUENTIAL`.
        const SEQUENTIAL_READ = 1 << 12;
        /// `mseal(2)`.
        const SEALED = 1 << 13;
        /// The kernel's own (vDSO): cannot grow, is not dumped.
        const SPECIAL = 1 << 14;
        /// Private memory that is or was writable: Linux does not make it one with memory that never was.
        const ACCOUNTED = 1 << 15;
    }
}

/// The rights that count: reading, writing, executing.
pub(crate) const RIGHTS: ProtFlags =
    ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE).union(ProtFlags::PROT_EXEC);

/// What a mapping's pages are.
#[derive(Clone)]
pub(crate) enum Backing {
    /// Private zero pages. The offset is the address that the mapping was first made at, so that pieces which
    /// were moved apart don't merge by accident.
    Anonymous { offset: u64 },
    /// Zero pages that forks share.
    SharedAnonymous { object: u64, offset: u64 },
    /// A file from an offset on.
    File { file: FileRef, offset: u64 },
    /// Something of the platform, shown by this name.
    Special { name: &'static str },
}

impl Backing {
    /// The backing of the bytes `distance` behind the first.
    pub(crate) fn advanced(&self, distance: u64) -> Self {
        let mut copy = self.clone();
        match &mut copy {
            Self::Anonymous { offset }
            | Self::SharedAnonymous { offset, .. }
            | Self::File { offset, .. } => {
                *offset = offset.wrapping_add(distance);
            }
            Self::Special { .. } => {}
        }
        copy
    }

    /// Whether `next` goes on where this one ends after `len` bytes.
    fn continues(&self, len: u64, next: &Self) -> bool {
        match (self, next) {
            (Self::Anonymous { offset }, Self::Anonymous { offset: other }) => {
                offset.wrapping_add(len) == *other
            }
            (
                Self::SharedAnonymous { object, offset },
                Self::SharedAnonymous { object: other_object, offset: other },
            ) => object == other_object && offset.wrapping_add(len) == *other,
            (Self::File { file, offset }, Self::File { file: other_file, offset: other }) => {
                offset.wrapping_add(len) == *other && file.same(other_file)
            }
            _ => false,
        }
    }
}

/// One mapping; its first address is its key in the tree.
#[derive(Clone)]
pub(crate) struct Vma {
    /// First byte behind it.
    pub(crate) end: u64,
    /// What the guest may do.
    pub(crate) prot: ProtFlags,
    /// What `mprotect(2)` may allow.
    pub(crate) max_prot: ProtFlags,
    pub(crate) flags: VmaFlags,
    pub(crate) backing: Backing,
    /// `PR_SET_VMA_ANON_NAME`.
    pub(crate) name: Option<Arc<[u8]>>,
}

impl Vma {
    pub(crate) fn shared(&self) -> bool {
        self.flags.contains(VmaFlags::SHARED)
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.backing, Backing::File { .. })
    }

    /// Private anonymous memory.
    pub(crate) fn is_private_anonymous(&self) -> bool {
        matches!(self.backing, Backing::Anonymous { .. })
    }

    /// Cuts off and returns everything from `at` on; `start` is where this one starts.
    pub(crate) fn split_off(&mut self, start: u64, at: u64) -> Self {
        let tail = Self {
            end: self.end,
            prot: self.prot,
            max_prot: self.max_prot,
            flags: self.flags,
            backing: self.backing.advanced(at.wrapping_sub(start)),
            name: self.name.clone(),
        };
        self.end = at;
        tail
    }

    /// Whether `next`, which starts at the end of this one, may be part of it.
    pub(crate) fn merges_with(&self, start: u64, next: &Self) -> bool {
        self.prot == next.prot
            && self.flags == next.flags
            && self.max_prot == next.max_prot
            && self.name == next.name
            && self.backing.continues(self.end.wrapping_sub(start), &next.backing)
    }

    /// Whether it counts for `RLIMIT_DATA`.
    pub(crate) fn is_data(&self) -> bool {
        counts_as_data(self.prot, self.flags)
    }
}

/// Whether memory with these properties counts for `RLIMIT_DATA`: private, writable, no stack.
pub(crate) fn counts_as_data(prot: ProtFlags, flags: VmaFlags) -> bool {
    prot.contains(ProtFlags::PROT_WRITE)
        && !flags.intersects(VmaFlags::SHARED | VmaFlags::GROWS_DOWN)
}

/// The flag of memory that becomes writable with these properties.
pub(crate) fn accounted(prot: ProtFlags, flags: VmaFlags) -> VmaFlags {
    let private = !flags.intersects(VmaFlags::SHARED | VmaFlags::NO_RESERVE);
    if private && prot.contains(ProtFlags::PROT_WRITE) {
        VmaFlags::ACCOUNTED
    } else {
        VmaFlags::empty()
    }
}

/// The host's rights for a mapping.
pub(crate) fn host_prot(prot: ProtFlags) -> HostProt {
    HostProt {
        read: prot.contains(ProtFlags::PROT_READ),
        write: prot.contains(ProtFlags::PROT_WRITE),
        exec: prot.contains(ProtFlags::PROT_EXEC),
    }
}
