//! Moving pages between nodes, on a machine with one: `move_pages(2)`, `migrate_pages(2)`. Every page is on node 0, so
//! a move there has been made already.

use std::sync::Arc;

use chitin_abi::mm::{MPOL_MF_MOVE, MPOL_MF_MOVE_ALL};
use chitin_abi::process::CAP_SYS_NICE;
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};

use super::policy::read_nodes;
use super::process::{find, may_access};
use crate::context::Ctx;
use crate::error::SysResult;
use crate::memory::Mm;
use crate::syscalls::args::Flags;
use crate::task::Task;

/// Pages of one call.
const MAX_PAGES: u64 = 1 << 20;
/// Pages looked at between two accesses to the caller's arrays.
const CHUNK: u64 = 512;

/// The target of a call, 0 for the caller.
fn target(cx: &Ctx<'_>, pid: i32) -> Result<Arc<Task>> {
    let target = if pid == 0 { Arc::clone(cx.task) } else { find(cx, pid)? };
    if may_access(cx.task, &target) { Ok(target) } else { Err(Errno::EPERM) }
}

/// `move_pages(2)`.
///
/// # Errors
/// EINVAL, EPERM, ESRCH, EFAULT, ENODEV for a node that is not there, E2BIG.
pub fn move_pages(
    cx: &mut Ctx<'_>,
    pid: i32,
    count: u64,
    pages: GuestAddr,
    nodes: GuestAddr,
    status: GuestAddr,
    flags: Flags,
) -> SysResult {
    if flags.0 & !(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags.0 & MPOL_MF_MOVE_ALL != 0 && !cx.task.cred().has(CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    let mm = target(cx, pid)?.mm().ok_or(Errno::ESRCH)?;
    if count > MAX_PAGES {
        return Err(Errno::E2BIG.into());
    }
    let mut done = 0;
    while done < count {
        let length = CHUNK.min(count - done);
        let at = |array: GuestAddr, size: u64| {
            array.checked_add(done.saturating_mul(size)).ok_or(Errno::EFAULT)
        };
        let wanted: Vec<u64> = cx.read_array(at(pages, 8)?, length as usize)?;
        if !nodes.is_null() {
            let nodes: Vec<i32> = cx.read_array(at(nodes, 4)?, length as usize)?;
            if nodes.iter().any(|node| *node != 0) {
                return Err(Errno::ENODEV.into());
            }
        }
        cx.write(at(status, 4)?, places(&mm, &wanted).as_slice())?;
        done += length;
    }
    Ok(0)
}

/// The node of each page, or the negative error of one that is not mapped.
fn places(mm: &Mm, pages: &[u64]) -> Vec<i32> {
    let space = mm.space.lock();
    let place = |page: &u64| match space.lookup(page & !(PAGE_SIZE - 1)) {
        Some(_) => 0,
        None => -Errno::EFAULT.raw(),
    };
    pages.iter().map(place).collect()
}

/// `migrate_pages(2)`.
///
/// # Errors
/// EINVAL, EPERM, ESRCH, EFAULT.
pub fn migrate_pages(
    cx: &mut Ctx<'_>,
    pid: i32,
    maxnode: u64,
    old_nodes: GuestAddr,
    new_nodes: GuestAddr,
) -> SysResult {
    read_nodes(cx, old_nodes, maxnode)?;
    let new = read_nodes(cx, new_nodes, maxnode)?;
    target(cx, pid)?;
    if new & !1 != 0 && !cx.task.cred().has(CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    if new & 1 == 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}
