//! Opening, closing and duplicating descriptors: `open(2)`, `openat2(2)`, `close(2)`, `close_range(2)`, `dup(2)`.

use chitin_abi::fs::{
    AT_FDCWD, CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE, O_ACCMODE, O_APPEND, O_ASYNC, O_CLOEXEC,
    O_CREAT, O_DIRECT, O_DIRECTORY, O_DSYNC, O_EXCL, O_LARGEFILE, O_NOATIME, O_NOCTTY, O_NOFOLLOW,
    O_NONBLOCK, O_PATH, O_SYNC, O_TMPFILE, O_TRUNC, O_WRONLY, OpenFlags, OpenHow, RESOLVE_BENEATH,
    RESOLVE_CACHED, RESOLVE_IN_ROOT,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use chitin_vfs::locks::LeaseWait;
use chitin_vfs::walk::{OpenWait, ResolveFlags};
use zerocopy::{FromZeros, IntoBytes};

use super::args::{Fd, Flags, Mode, OpenMode, PathPtr};
use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::readiness::retry;
use crate::scheduler::wait::Waiter;

const VALID: u32 = O_ACCMODE
    | O_APPEND
    | O_ASYNC
    | O_CLOEXEC
    | O_CREAT
    | O_DIRECT
    | O_DIRECTORY
    | O_DSYNC
    | O_EXCL
    | O_LARGEFILE
    | O_NOATIME
    | O_NOCTTY
    | O_NOFOLLOW
    | O_NONBLOCK
    | O_PATH
    | O_SYNC
    | O_TMPFILE
    | O_TRUNC;
const WITH_O_PATH: u32 = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
const RESOLVE_ALL: u64 = 0x3f;
/// The bit that `O_TMPFILE` adds to `O_DIRECTORY`.
const TMPFILE: u32 = O_TMPFILE & !O_DIRECTORY;
/// Smallest `struct open_how`.
const OPEN_HOW_SIZE: usize = 24;

/// What to open and how, checked.
struct How {
    flags: u32,
    mode: u32,
    resolve: ResolveFlags,
}

impl How {
    /// As `open(2)` takes it: what it does not know is ignored.
    fn lenient(flags: u32, mode: u32) -> Self {
        let mut flags = flags & VALID | O_LARGEFILE;
        if flags & O_PATH != 0 {
            flags &= WITH_O_PATH;
        }
        let mode = if flags & (O_CREAT | TMPFILE) == 0 { 0 } else { mode & 0o7777 };
        Self { flags, mode, resolve: ResolveFlags::empty() }
    }

    /// As `openat2(2)` takes it: what it does not know is refused.
    fn strict(how: &OpenHow) -> Result<Self> {
        let flags = u32::try_from(how.flags).map_err(|_| Errno::EINVAL)?;
        if flags & !VALID != 0 || how.resolve & !RESOLVE_ALL != 0 {
            return Err(Errno::EINVAL);
        }
        if how.resolve & RESOLVE_BENEATH != 0 && how.resolve & RESOLVE_IN_ROOT != 0 {
            return Err(Errno::EINVAL);
        }
        let creates = flags & (O_CREAT | TMPFILE) != 0;
        if (creates && how.mode & !0o7777 != 0) || (!creates && how.mode != 0) {
            return Err(Errno::EINVAL);
        }
        if flags & O_PATH != 0 && flags & !WITH_O_PATH != 0 {
            return Err(Errno::EINVAL);
        }
        if how.resolve & RESOLVE_CACHED != 0 && flags & (O_TRUNC | O_CREAT | TMPFILE) != 0 {
            return Err(Errno::EAGAIN);
        }
        let large = if flags & O_PATH == 0 { O_LARGEFILE } else { 0 };
        Ok(Self {
            flags: flags | large,
            mode: how.mode as u32,
            resolve: ResolveFlags::from_bits_truncate(how.resolve),
        })
    }

    /// What no combination may be.
    fn check(&self) -> Result<()> {
        if self.flags & TMPFILE != 0 {
            let writable = !matches!(self.flags & O_ACCMODE, 0);
            if self.flags & (O_TMPFILE | O_CREAT) != O_TMPFILE || !writable {
                return Err(Errno::EINVAL);
            }
        } else if self.flags & (O_DIRECTORY | O_CREAT) == O_DIRECTORY | O_CREAT {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

async fn do_open(cx: &mut Ctx<'_>, dirfd: i32, path: GuestAddr, how: How) -> SysResult {
    how.check()?;
    let path = cx.read_path(path)?;
    if !cx.task.files().has_room(cx.fd_limit()) {
        return Err(Errno::EMFILE.into());
    }
    let opened = {
        let caller = cx.path_caller();
        let scoped = how.resolve.intersects(ResolveFlags::IN_ROOT | ResolveFlags::BENEATH);
        // Where the directory bounds the walk, an absolute path does not make it irrelevant.
        let mut walk = match path.as_slice() {
            [b'/', ..] if scoped => cx.walk_at(&caller, dirfd, b".")?,
            path => cx.walk_at(&caller, dirfd, path)?,
        };
        walk.resolve = how.resolve;
        walk.open(&path, OpenFlags::from_bits_retain(how.flags & !O_CLOEXEC), how.mode)?
    };
    if let Some(wait) = &opened.wait {
        complete_open(cx, wait).await?;
    }
    if opened.truncates {
        cx.path_caller().walk().truncate_opened(&opened.file)?;
    }
    Ok(cx.install_file(opened.file, how.flags & O_CLOEXEC != 0)?)
}

/// Waits until an open can be completed.
async fn complete_open(cx: &Ctx<'_>, wait: &OpenWait) -> SysResult<()> {
    let fifo = match wait {
        OpenWait::Fifo(fifo) => fifo,
        OpenWait::Lease(lease) => return wait_for_lease(cx, lease).await,
    };
    let over = || if fifo.is_over() { Ok(()) } else { Err(Errno::EAGAIN) };
    let events = PollEvents::POLLIN | PollEvents::POLLOUT;
    cx.blocking(Some(fifo.wait_queue()), events, false, over).await
}

/// Waits until the holders of leases have given way or their time is over.
///
/// # Errors
/// A restart when a signal arrives.
pub async fn wait_for_lease(cx: &Ctx<'_>, lease: &LeaseWait) -> SysResult<()> {
    let clock = &cx.kernel().clock;
    let now = || {
        let now = clock.realtime();
        let seconds = now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000);
        seconds.saturating_add(now.tv_nsec.unsigned_abs())
    };
    let deadline = clock.monotonic().saturating_add(lease.deadline.saturating_sub(now()));
    let waiter = Waiter::new();
    let _registration = waiter.register(lease.wait_queue(), PollEvents::all());
    let over = || if lease.is_over(now()) { Ok(()) } else { Err(Errno::EAGAIN) };
    retry(cx, &waiter, Some(deadline), Restart::Sys, over).await.map(|_| ())
}

/// `open(2)`.
pub async fn open(cx: &mut Ctx<'_>, path: PathPtr, flags: OpenMode, mode: Mode) -> SysResult {
    do_open(cx, AT_FDCWD, path.0, How::lenient(flags.0, mode.0)).await
}

/// `openat(2)`.
pub async fn openat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: OpenMode,
    mode: Mode,
) -> SysResult {
    do_open(cx, dirfd.0, path.0, How::lenient(flags.0, mode.0)).await
}

/// `creat(2)`.
pub async fn creat(cx: &mut Ctx<'_>, path: PathPtr, mode: Mode) -> SysResult {
    do_open(cx, AT_FDCWD, path.0, How::lenient(O_CREAT | O_WRONLY | O_TRUNC, mode.0)).await
}

/// `openat2(2)`.
pub async fn openat2(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    how: GuestAddr,
    size: usize,
) -> SysResult {
    let how = read_extensible::<OpenHow>(cx, how, size, OPEN_HOW_SIZE)?;
    do_open(cx, dirfd.0, path.0, How::strict(&how)?).await
}

/// Reads a structure that may be longer or shorter than the one we know (`copy_struct_from_user`).
///
/// # Errors
/// EINVAL when shorter than `least`; E2BIG when longer than a page, or with something in what we do not know;
/// EFAULT.
pub fn read_extensible<T: FromZeros + IntoBytes + zerocopy::FromBytes>(
    cx: &Ctx<'_>,
    addr: GuestAddr,
    size: usize,
    least: usize,
) -> Result<T> {
    if size < least {
        return Err(Errno::EINVAL);
    }
    if size as u64 > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    cx.memory().read(addr, &mut bytes)?;
    let (known, rest) = bytes.split_at(size.min(size_of::<T>()));
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let mut value = T::new_zeroed();
    if let Some(to) = value.as_mut_bytes().get_mut(..known.len()) {
        to.copy_from_slice(known);
    }
    Ok(value)
}

/// `close(2)`.
pub fn close(cx: &mut Ctx<'_>, fd: Fd) -> SysResult {
    cx.task.files().close(fd.0)?;
    Ok(0)
}

/// `close_range(2)`.
pub fn close_range(cx: &mut Ctx<'_>, first: u32, last: u32, flags: Flags) -> SysResult {
    if flags.0 & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL.into());
    }
    let on_exec = flags.0 & CLOSE_RANGE_CLOEXEC != 0;
    if flags.0 & CLOSE_RANGE_UNSHARE != 0 {
        let old = cx.task.files();
        let table = if on_exec { old.copy() } else { old.copy_without(first, last) };
        if on_exec {
            table.close_range_on_exec(first, last);
        }
        drop(cx.task.replace_files(table));
    } else if on_exec {
        cx.task.files().close_range_on_exec(first, last);
    } else {
        cx.task.files().close_range(first, last);
    }
    Ok(0)
}

/// `dup(2)`.
pub fn dup(cx: &mut Ctx<'_>, fd: Fd) -> SysResult {
    let file = cx.any_file(fd.0)?;
    Ok(cx.install_file(file, false)?)
}

/// `dup2(2)`.
pub fn dup2(cx: &mut Ctx<'_>, old: Fd, new: Fd) -> SysResult {
    if old == new {
        cx.any_file(old.0)?;
        return Ok(u64::from(new.0.unsigned_abs()));
    }
    duplicate_at(cx, old, new, false)
}

/// `dup3(2)`.
pub fn dup3(cx: &mut Ctx<'_>, old: Fd, new: Fd, flags: OpenMode) -> SysResult {
    if flags.0 & !O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL.into());
    }
    duplicate_at(cx, old, new, flags.0 & O_CLOEXEC != 0)
}

fn duplicate_at(cx: &Ctx<'_>, old: Fd, new: Fd, close_on_exec: bool) -> SysResult {
    let file = cx.any_file(old.0)?;
    let replaced = cx.task.files().install_at(new.0, file, close_on_exec, cx.fd_limit())?;
    if let Some(replaced) = replaced {
        // What its flush reports is lost, as on Linux.
        let _ = replaced.file().flush();
    }
    Ok(u64::from(new.0.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use chitin_abi::fs::{O_RDWR, RESOLVE_NO_XDEV};

    use super::*;

    fn strict(flags: u32, mode: u64, resolve: u64) -> Option<Errno> {
        How::strict(&OpenHow { flags: flags.into(), mode, resolve })
            .and_then(|how| how.check())
            .err()
    }

    #[test]
    fn open_ignores_what_openat2_refuses() {
        assert_eq!(How::lenient(O_PATH | O_RDWR | O_TRUNC, 0o644).flags, O_PATH);
        assert_eq!(How::lenient(0x8000_0000, 0o644).mode, 0);
        assert_eq!(strict(0x8000_0000, 0, 0), Some(Errno::EINVAL));
        assert_eq!(strict(O_PATH | O_TRUNC, 0, 0), Some(Errno::EINVAL));
        assert_eq!(strict(0, 0o644, 0), Some(Errno::EINVAL));
        assert_eq!(strict(O_CREAT, 0o10000, 0), Some(Errno::EINVAL));
        assert_eq!(strict(O_CREAT, 0o644, RESOLVE_CACHED), Some(Errno::EAGAIN));
        assert_eq!(strict(0, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT), Some(Errno::EINVAL));
        assert_eq!(strict(0, 0, 64), Some(Errno::EINVAL));
        assert_eq!(strict(O_CREAT | O_RDWR, 0o644, RESOLVE_NO_XDEV), None);
    }

    #[test]
    fn temporary_files_are_written() {
        let check = |flags| How::lenient(flags, 0o600).check();
        assert_eq!(check(O_TMPFILE), Err(Errno::EINVAL));
        assert_eq!(check(O_TMPFILE & !O_DIRECTORY | O_RDWR), Err(Errno::EINVAL));
        assert_eq!(check(O_TMPFILE | O_RDWR | O_CREAT), Err(Errno::EINVAL));
        assert_eq!(check(O_TMPFILE | O_RDWR), Ok(()));
        assert_eq!(check(O_DIRECTORY | O_CREAT), Err(Errno::EINVAL));
    }
}
