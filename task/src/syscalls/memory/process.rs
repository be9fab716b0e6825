//! Other processes' memory: `process_vm_readv(2)`, `process_vm_writev(2)`, `process_madvise(2)`.

use std::sync::Arc;

use chitin_abi::mm::{MADV_COLD, MADV_COLLAPSE, MADV_PAGEOUT, MADV_WILLNEED};
use chitin_abi::process::{CAP_SYS_NICE, CAP_SYS_PTRACE};
use chitin_abi::uio::IOV_MAX;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_mm::space::AdviseContext;

use crate::context::Ctx;
use crate::error::SysResult;
use crate::memory::Mm;
use crate::process::pidfd::PidFd;
use crate::syscalls::args::{Fd, Flags, LongFlags};
use crate::syscalls::scatter::{check_range, read_vector};
use crate::task::Task;

/// Bytes copied at a time.
const CHUNK: usize = 64 << 10;

/// `process_vm_readv(2)`.
///
/// # Errors
/// EINVAL, EFAULT, ESRCH, EPERM.
pub fn process_vm_readv(
    cx: &mut Ctx<'_>,
    pid: i32,
    local_iov: GuestAddr,
    liovcnt: u64,
    remote_iov: GuestAddr,
    riovcnt: u64,
    flags: LongFlags,
) -> SysResult {
    transfer(cx, pid, [(local_iov, liovcnt), (remote_iov, riovcnt)], flags.0, false)
}

/// `process_vm_writev(2)`.
///
/// # Errors
/// As `process_vm_readv`.
pub fn process_vm_writev(
    cx: &mut Ctx<'_>,
    pid: i32,
    local_iov: GuestAddr,
    liovcnt: u64,
    remote_iov: GuestAddr,
    riovcnt: u64,
    flags: LongFlags,
) -> SysResult {
    transfer(cx, pid, [(local_iov, liovcnt), (remote_iov, riovcnt)], flags.0, true)
}

fn transfer(
    cx: &Ctx<'_>,
    pid: i32,
    lists: [(GuestAddr, u64); 2],
    flags: u64,
    write: bool,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let [(local_iov, local_count), (remote_iov, remote_count)] = lists;
    let count = |count: u64| {
        usize::try_from(count).ok().filter(|count| *count <= IOV_MAX).ok_or(Errno::EINVAL)
    };
    let local = read_vector(cx.memory(), local_iov, count(local_count)?)?;
    for (addr, len) in &local {
        check_range(*addr, *len)?;
    }
    let total = local.iter().fold(0_u64, |sum, (_, len)| sum.saturating_add(*len));
    if total == 0 {
        return Ok(0);
    }
    let remote = read_vector(cx.memory(), remote_iov, count(remote_count)?)?;
    let target = find(cx, pid)?;
    if !may_access(cx.task, &target) {
        return Err(Errno::EPERM.into());
    }
    let mm = target.mm().ok_or(Errno::ESRCH)?;
    Ok(copy(cx.mm.memory(), &local, mm.memory(), &remote, write)?)
}

/// The task with this number in the caller's pid namespace.
pub(super) fn find(cx: &Ctx<'_>, pid: i32) -> Result<Arc<Task>> {
    let number = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let ns = cx.task.pid().namespace().cloned().ok_or(Errno::ESRCH)?;
    cx.kernel().tree.lock().task_in(&ns, number).cloned().ok_or(Errno::ESRCH)
}

/// Whether a task may look into and change another's memory (`PTRACE_MODE_ATTACH_REALCREDS`).
pub fn may_access(task: &Arc<Task>, target: &Arc<Task>) -> bool {
    if Arc::ptr_eq(&task.group, &target.group) {
        return true;
    }
    let (own, other) = (task.cred(), target.cred());
    let trusted = own.capable(&other.user_ns, CAP_SYS_PTRACE);
    let same_user = [other.euid, other.suid, other.ruid].iter().all(|uid| *uid == own.ruid);
    let same_group = [other.egid, other.sgid, other.rgid].iter().all(|gid| *gid == own.rgid);
    let dumpable = target.group.dumpable.load(core::sync::atomic::Ordering::Relaxed) == 1;
    let no_more_caps = other.permitted.bits() & !own.permitted.bits() == 0;
    trusted || (same_user && same_group && dumpable && no_more_caps)
}

/// A walk over ranges, a piece at a time.
struct Walk<'a> {
    ranges: &'a [(u64, u64)],
    offset: u64,
}

impl Walk<'_> {
    fn piece(&mut self) -> Option<(u64, u64)> {
        loop {
            let (addr, len) = *self.ranges.first()?;
            if self.offset < len {
                return Some((addr.wrapping_add(self.offset), len - self.offset));
            }
            self.ranges = self.ranges.get(1..)?;
            self.offset = 0;
        }
    }

    fn advance(&mut self, count: u64) {
        self.offset = self.offset.saturating_add(count);
    }
}

/// Copies between two address spaces until one of the lists ends or memory cannot be accessed.
fn copy(
    local_memory: &dyn GuestMemory,
    local: &[(u64, u64)],
    remote_memory: &dyn GuestMemory,
    remote: &[(u64, u64)],
    write: bool,
) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut local = Walk { ranges: local, offset: 0 };
    let mut remote = Walk { ranges: remote, offset: 0 };
    let mut done = 0_u64;
    while let (Some((local_at, local_len)), Some((remote_at, remote_len))) =
        (local.piece(), remote.piece())
    {
        let count = local_len.min(remote_len).min(CHUNK as u64) as usize;
        let bytes = buffer.get_mut(..count).unwrap_or_default();
        let (from, to) = if write {
            ((local_memory, local_at), (remote_memory, remote_at))
        } else {
            ((remote_memory, remote_at), (local_memory, local_at))
        };
        let moved = from.0.read_partial(GuestAddr(from.1), bytes).and_then(|read| {
            let bytes = bytes.get(..read).unwrap_or_default();
            to.0.write_partial(GuestAddr(to.1), bytes)
        });
        match moved {
            Ok(moved) => {
                done = done.saturating_add(moved as u64);
                local.advance(moved as u64);
                remote.advance(moved as u64);
                if moved < count {
                    break;
                }
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    if done == 0 && remote.piece().is_some() { Err(Errno::EFAULT) } else { Ok(done) }
}

/// `process_madvise(2)`.
///
/// # Errors
/// EINVAL, EBADF, EPERM, ESRCH, and those of madvise(2) for the first range.
pub async fn process_madvise(
    cx: &mut Ctx<'_>,
    pidfd: Fd,
    iovec: GuestAddr,
    vlen: usize,
    advice: i32,
    flags: Flags,
) -> SysResult {
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let ranges = read_vector(cx.memory(), iovec, vlen)?;
    let target = {
        let file = cx.task.files().get(pidfd.0)?;
        let pidfd = file.file().as_any().downcast_ref::<PidFd>().ok_or(Errno::EBADF)?;
        pidfd.task()?
    };
    let advice = advice.cast_unsigned();
    let own = Arc::ptr_eq(&target.group, &cx.task.group);
    if !own && !matches!(advice, MADV_COLD | MADV_PAGEOUT | MADV_WILLNEED | MADV_COLLAPSE) {
        return Err(Errno::EINVAL.into());
    }
    let permitted = own || (may_access(cx.task, &target) && cx.task.cred().has(CAP_SYS_NICE));
    if !permitted {
        return Err(Errno::EPERM.into());
    }
    let mm: Arc<Mm> = target.mm().ok_or(Errno::ESRCH)?;
    let mut done = 0_u64;
    for (addr, len) in ranges {
        let result =
            mm.update(|space| space.advise(addr, len, advice, AdviseContext::default())).await;
        match result {
            Ok(()) => done = done.saturating_add(len),
            Err(errno) if done == 0 => return Err(errno.into()),
            Err(_) => break,
        }
    }
    Ok(done)
}
