//! Memory: `mmap(2)` and its relatives.

pub use crate::consts::mm::*;

bitflags::bitflags! {
    /// Rights of a mapping.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ProtFlags: u32 {
        /// `PROT_READ`
        const PROT_READ = PROT_READ;
        /// `PROT_WRITE`
        const PROT_WRITE = PROT_WRITE;
        /// `PROT_EXEC`
        const PROT_EXEC = PROT_EXEC;
        /// `PROT_SEM`: accepted, without effect
        const PROT_SEM = PROT_SEM;
        /// `PROT_GROWSDOWN`
        const PROT_GROWSDOWN = PROT_GROWSDOWN;
        /// `PROT_GROWSUP`
        const PROT_GROWSUP = PROT_GROWSUP;
    }

    /// Flags of `mmap(2)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MapFlags: u32 {
        /// `MAP_SHARED`
        const MAP_SHARED = MAP_SHARED;
        /// `MAP_PRIVATE`
        const MAP_PRIVATE = MAP_PRIVATE;
        /// `MAP_FIXED`
        const MAP_FIXED = MAP_FIXED;
        /// `MAP_ANONYMOUS`
        const MAP_ANONYMOUS = MAP_ANONYMOUS;
        /// `MAP_32BIT`
        const MAP_32BIT = MAP_32BIT;
        /// `MAP_GROWSDOWN`
        const MAP_GROWSDOWN = MAP_GROWSDOWN;
        /// `MAP_DENYWRITE`
        const MAP_DENYWRITE = MAP_DENYWRITE;
        /// `MAP_EXECUTABLE`
        const MAP_EXECUTABLE = MAP_EXECUTABLE;
        /// `MAP_LOCKED`
        const MAP_LOCKED = MAP_LOCKED;
        /// `MAP_NORESERVE`
        const MAP_NORESERVE = MAP_NORESERVE;
        /// `MAP_POPULATE`
        const MAP_POPULATE = MAP_POPULATE;
        /// `MAP_NONBLOCK`
        const MAP_NONBLOCK = MAP_NONBLOCK;
        /// `MAP_STACK`
        const MAP_STACK = MAP_STACK;
        /// `MAP_HUGETLB`
        const MAP_HUGETLB = MAP_HUGETLB;
        /// `MAP_SYNC`
        const MAP_SYNC = MAP_SYNC;
        /// `MAP_FIXED_NOREPLACE`
        const MAP_FIXED_NOREPLACE = MAP_FIXED_NOREPLACE;
        /// `MAP_UNINITIALIZED`
        const MAP_UNINITIALIZED = MAP_UNINITIALIZED;
        const _ = !0;
    }
}
