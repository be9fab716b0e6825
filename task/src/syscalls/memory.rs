//! Memory: `mmap(2)` and its relatives.
//!
//! The rules are those of [`chitin_mm::space::Space`]; a handler here finds out what the caller may do, has the
//! space plan, and the calling guest thread or the platform carry the plan out. Costs: nothing but the host's calls where the
//! guest thread does it, else one round trip to the stub per call that changes something.

mod barrier;
mod keys;
mod map;
mod migrate;
mod policy;
mod process;

pub use self::barrier::membarrier;
pub use self::keys::{pkey_alloc, pkey_free, pkey_mprotect};
pub use self::map::{mmap, remap_file_pages};
pub use self::migrate::{migrate_pages, move_pages};
pub use self::policy::{
    MemoryPolicy, get_mempolicy, mbind, set_mempolicy, set_mempolicy_home_node,
};
pub use self::process::{may_access, process_madvise, process_vm_readv, process_vm_writev};

use chitin_abi::mm::ProtFlags;
use chitin_abi::process::{CAP_IPC_LOCK, CAP_SYS_ADMIN, RLIMIT_DATA, RLIMIT_MEMLOCK};
use chitin_abi::{Errno, GuestAddr};
use chitin_mm::space::{AdviseContext, Planned, Space, SpaceLimits};

use super::args::{Flags, LongFlags, Protection};
use super::scatter::check_range;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::task::Task;

/// What a task's memory calls are held to.
pub fn limits_of(task: &Task) -> SpaceLimits {
    let limits = task.group.limits();
    SpaceLimits {
        address_space: limits.address_space(),
        data: limits.soft(RLIMIT_DATA),
        stack: limits.stack(),
        locked: limits.soft(RLIMIT_MEMLOCK),
        may_lock: task.cred().capable_initial(CAP_IPC_LOCK),
    }
}

/// Plans with the caller's limits and has its guest thread carry it out, or the host.
async fn update<T>(cx: &mut Ctx<'_>, plan: impl FnOnce(&mut Space) -> Planned<T>) -> SysResult<T> {
    // One plan at a time.
    cx.carry_out().await?;
    let limits = limits_of(cx.task);
    let planned = cx.mm.update_by(&mut **cx.thread, |space| {
        space.set_limits(limits);
        plan(space)
    });
    let (result, carried) = planned.await;
    if let Some(carried) = carried {
        let is_light = carried.is_light();
        cx.carried = Some(carried);
        if !is_light {
            cx.carry_out().await?;
        }
    }
    Ok(result?)
}

async fn change(cx: &mut Ctx<'_>, plan: impl FnOnce(&mut Space) -> Planned<()>) -> SysResult {
    update(cx, plan).await.map(|()| 0)
}

/// `munmap(2)`.
///
/// # Errors
/// EINVAL, ENOMEM.
pub async fn munmap(cx: &mut Ctx<'_>, addr: GuestAddr, length: u64) -> SysResult {
    change(cx, |space| space.unmap(addr.0, length)).await
}

/// `mprotect(2)`.
///
/// # Errors
/// EINVAL, ENOMEM, EACCES.
pub async fn mprotect(
    cx: &mut Ctx<'_>,
    addr: GuestAddr,
    length: u64,
    prot: Protection,
) -> SysResult {
    let prot = ProtFlags::from_bits_retain(prot.0);
    change(cx, |space| space.protect(addr.0, length, prot)).await
}

/// `brk(2)`, as the kernel has it: the break, moved or not.
///
/// # Errors
/// None.
pub async fn brk(cx: &mut Ctx<'_>, addr: GuestAddr) -> SysResult {
    let limits = limits_of(cx.task);
    let mut before = 0;
    let planned = cx.mm.update_by(&mut **cx.thread, |space| {
        before = space.brk_range().1;
        space.set_limits(limits);
        space.set_brk(addr.0)
    });
    let (result, carried) = planned.await;
    cx.carried = carried.map(|carried| carried.with_brk(before));
    Ok(result.unwrap_or(before))
}

/// `mremap(2)`.
///
/// # Errors
/// EINVAL, EFAULT, ENOMEM, EAGAIN.
pub async fn mremap(
    cx: &mut Ctx<'_>,
    addr: GuestAddr,
    old_size: u64,
    new_size: u64,
    flags: Flags,
    new_addr: GuestAddr,
) -> SysResult {
    update(cx, |space| space.remap(addr.0, old_size, new_size, flags.0, new_addr.0)).await
}

/// `madvise(2)`.
///
/// # Errors
/// EINVAL, ENOMEM, EACCES, EPERM.
pub async fn madvise(cx: &mut Ctx<'_>, addr: GuestAddr, length: u64, advice: i32) -> SysResult {
    let context = AdviseContext { admin: cx.task.cred().capable_initial(CAP_SYS_ADMIN) };
    change(cx, |space| space.advise(addr.0, length, advice.cast_unsigned(), context)).await
}

/// `msync(2)`.
///
/// # Errors
/// EINVAL, ENOMEM, EBUSY.
pub async fn msync(cx: &mut Ctx<'_>, addr: GuestAddr, length: u64, flags: Flags) -> SysResult {
    change(cx, |space| space.sync(addr.0, length, flags.0)).await
}

/// `mincore(2)`: what the host says of the guest's pages. A page of a file that is not in this address space counts as
/// present, because the file's own cache is not looked at.
///
/// # Errors
/// EINVAL, ENOMEM, EFAULT.
pub fn mincore(cx: &mut Ctx<'_>, addr: GuestAddr, length: u64, vec: GuestAddr) -> SysResult {
    const BATCH: u64 = 4096;
    let pages = cx.mm.space.lock().mincore(addr.0, length);
    if pages != Err(Errno::EINVAL) {
        check_range(addr.0, length).map_err(|_| Errno::ENOMEM)?;
        check_range(vec.0, length.div_ceil(chitin_abi::PAGE_SIZE))?;
    }
    let pages = pages?;
    let mut done = 0;
    while done < pages {
        let count = (pages - done).min(BATCH);
        let offset = done.saturating_mul(chitin_abi::PAGE_SIZE);
        let start = addr.checked_add(offset).ok_or(Errno::EFAULT)?;
        let present = residency(cx, start, count as usize);
        cx.memory().write(vec.checked_add(done).ok_or(Errno::EFAULT)?, &present)?;
        done = done.saturating_add(count);
    }
    Ok(0)
}

/// One byte for each page: whether it is in memory.
fn residency(cx: &Ctx<'_>, start: GuestAddr, count: usize) -> Vec<u8> {
    let mut present = vec![1; count];
    if !cx.mm.host().residency(start, &mut present) {
        present.fill(1);
        return present;
    }
    let space = cx.mm.space.lock();
    let mut at = start.0;
    let mut index = 0;
    while index < count {
        let Some(vma) = space.lookup(at) else { break };
        let end = (vma.end.saturating_sub(at) / chitin_abi::PAGE_SIZE).max(1) as usize;
        let next = index.saturating_add(end).min(count);
        if vma.file.is_some() {
            present.get_mut(index..next).unwrap_or_default().fill(1);
        }
        at = at.saturating_add((next - index) as u64 * chitin_abi::PAGE_SIZE);
        index = next;
    }
    present
}

/// `mlock(2)`.
///
/// # Errors
/// ENOMEM, EPERM, EINVAL.
pub async fn mlock(cx: &mut Ctx<'_>, addr: GuestAddr, len: u64) -> SysResult {
    change(cx, |space| space.lock(addr.0, len, 0)).await
}

/// `mlock2(2)`.
///
/// # Errors
/// As `mlock`.
pub async fn mlock2(cx: &mut Ctx<'_>, addr: GuestAddr, len: u64, flags: Flags) -> SysResult {
    change(cx, |space| space.lock(addr.0, len, flags.0)).await
}

/// `munlock(2)`.
///
/// # Errors
/// ENOMEM, EINVAL.
pub async fn munlock(cx: &mut Ctx<'_>, addr: GuestAddr, len: u64) -> SysResult {
    change(cx, |space| space.unlock(addr.0, len)).await
}

/// `mlockall(2)`.
///
/// # Errors
/// EINVAL, EPERM, ENOMEM.
pub async fn mlockall(cx: &mut Ctx<'_>, flags: Flags) -> SysResult {
    change(cx, |space| space.lock_all(flags.0)).await
}

/// `munlockall(2)`.
///
/// # Errors
/// None.
pub async fn munlockall(cx: &mut Ctx<'_>) -> SysResult {
    change(cx, Space::unlock_all).await
}

/// `mseal(2)`.
///
/// # Errors
/// EINVAL, ENOMEM.
pub async fn mseal(cx: &mut Ctx<'_>, addr: GuestAddr, len: u64, flags: LongFlags) -> SysResult {
    change(cx, |space| space.seal(addr.0, len, flags.0)).await
}
