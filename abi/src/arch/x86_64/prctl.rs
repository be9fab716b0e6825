//! `arch_prctl(2)` operations.
//!
//! The names and values are those of the kernel headers.

pub const ARCH_ENABLE_TAGGED_ADDR: u32 = 0x4002;
pub const ARCH_FORCE_TAGGED_SVA: u32 = 0x4004;
pub const ARCH_GET_CPUID: u32 = 0x1011;
pub const ARCH_GET_FS: u32 = 0x1003;
pub const ARCH_GET_GS: u32 = 0x1004;
pub const ARCH_GET_MAX_TAG_BITS: u32 = 0x4003;
pub const ARCH_GET_UNTAG_MASK: u32 = 0x4001;
pub const ARCH_GET_XCOMP_GUEST_PERM: u32 = 0x1024;
pub const ARCH_GET_XCOMP_PERM: u32 = 0x1022;
pub const ARCH_GET_XCOMP_SUPP: u32 = 0x1021;
pub const ARCH_REQ_XCOMP_GUEST_PERM: u32 = 0x1025;
pub const ARCH_REQ_XCOMP_PERM: u32 = 0x1023;
pub const ARCH_SET_CPUID: u32 = 0x1012;
pub const ARCH_SET_FS: u32 = 0x1002;
pub const ARCH_SET_GS: u32 = 0x1001;
pub const ARCH_SHSTK_DISABLE: u32 = 0x5002;
pub const ARCH_SHSTK_ENABLE: u32 = 0x5001;
pub const ARCH_SHSTK_LOCK: u32 = 0x5003;
pub const ARCH_SHSTK_STATUS: u32 = 0x5005;
pub const ARCH_SHSTK_UNLOCK: u32 = 0x5004;
