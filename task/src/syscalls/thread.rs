//! Threads: their ids, segment bases, restartable sequences.

use core::sync::atomic::Ordering;

use chitin_abi::process::{
    ARCH_GET_CPUID, ARCH_GET_FS, ARCH_GET_GS, ARCH_GET_XCOMP_PERM, ARCH_GET_XCOMP_SUPP,
    ARCH_SET_CPUID, ARCH_SET_FS, ARCH_SET_GS,
};
use chitin_abi::system::TASK_SIZE;
use chitin_abi::{Errno, GuestAddr};

use super::args::Flags;
use crate::context::Ctx;
use crate::error::SysResult;

/// x87, SSE, AVX: the features that need no permission.
const XFEATURES: u64 = 0x7;

/// `set_tid_address(2)`.
pub fn set_tid_address(cx: &mut Ctx<'_>, tidptr: GuestAddr) -> SysResult {
    cx.task.clear_child_tid.store(tidptr.0, Ordering::Relaxed);
    Ok(u64::from(cx.task.local_tid()))
}

/// `arch_prctl(2)`.
pub fn arch_prctl(cx: &mut Ctx<'_>, op: Flags, addr: GuestAddr) -> SysResult {
    match op.0 {
        ARCH_SET_FS | ARCH_SET_GS if addr.0 >= TASK_SIZE => return Err(Errno::EPERM.into()),
        ARCH_SET_FS => cx.regs.fs_base = addr.0,
        ARCH_SET_GS => cx.regs.gs_base = addr.0,
        ARCH_GET_FS => cx.write(addr, &cx.regs.fs_base)?,
        ARCH_GET_GS => cx.write(addr, &cx.regs.gs_base)?,
        // CPUID does not fault, and cannot be made to.
        ARCH_GET_CPUID => return Ok(1),
        ARCH_SET_CPUID => return Err(Errno::ENODEV.into()),
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM => cx.write(addr, &XFEATURES)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
