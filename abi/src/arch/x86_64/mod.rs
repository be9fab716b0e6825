//! x86_64: system-call numbers, the flags, structures and frames whose values or layout are its own.

pub mod nr;
#[expect(missing_docs, reason = "the names are those of the kernel headers")]
pub mod open;
#[expect(missing_docs, reason = "the names are those of the kernel headers")]
pub mod prctl;
pub mod sigframe;
pub mod stat;

/// The name of the machine as `uname(2)` reports it.
pub const MACHINE: &str = "x86_64";
/// The architecture as seccomp filters and the audit system know it (`AUDIT_ARCH_X86_64`).
pub const AUDIT_ARCH: u32 = 0xc000_003e;
/// One past the highest address of a user mapping with four levels of page tables.
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;
