//! Changing what files are: `chmod(2)`, `chown(2)`, `utimensat(2)`, `truncate(2)`, `fallocate(2)`.

use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_UNSHARE_RANGE, FALLOC_FL_ZERO_RANGE,
    S_IFBLK, S_IFDIR, S_IFIFO, S_IFREG, UTIME_NOW, UTIME_OMIT, Utimbuf,
};
use chitin_abi::signal::SIGXFSZ;
use chitin_abi::time::{Timespec, Timeval};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::attr::SetAttr;
use chitin_vfs::walk::SetTime;

use super::args::{AtFlags, Fd, Flags, Mode, PathPtr, Time};
use super::at::Target;
use crate::context::Ctx;
use crate::error::SysResult;

const CWD: Fd = Fd(AT_FDCWD);

/// Changes attributes of a file without path (pipes, sockets, anonymous files), whose owner alone may.
fn change_unnamed(cx: &Ctx<'_>, target: &Target, change: &SetAttr) -> Result<()> {
    let Target::File(file) = target else { return Err(Errno::EINVAL) };
    let cred = cx.task.cred().fs_cred();
    let attr = file.attr()?;
    if attr.file_type() == 0 {
        // The one inode of all such files belongs to nobody.
        return Err(Errno::EOPNOTSUPP);
    }
    if attr.uid != cred.uid && !cred.caps.has(chitin_abi::process::CAP_FOWNER) {
        return Err(Errno::EPERM);
    }
    match file.file().set_attr(change) {
        Err(Errno::EINVAL) => Err(Errno::EOPNOTSUPP),
        result => result,
    }
}

fn do_chmod(cx: &Ctx<'_>, target: &Target, mode: u32) -> SysResult {
    let mode = mode & 0o7777;
    match target.path() {
        Some(path) => cx.path_caller().walk().chmod(path, mode)?,
        None => change_unnamed(cx, target, &SetAttr { mode: Some(mode), ..SetAttr::default() })?,
    }
    Ok(0)
}

/// `chmod(2)`.
pub fn chmod(cx: &mut Ctx<'_>, path: PathPtr, mode: Mode) -> SysResult {
    fchmodat2(cx, CWD, path, mode, AtFlags(0))
}

/// `fchmod(2)`.
pub fn fchmod(cx: &mut Ctx<'_>, fd: Fd, mode: Mode) -> SysResult {
    do_chmod(cx, &Target::File(cx.file(fd.0)?), mode.0)
}

/// `fchmodat(2)`.
pub fn fchmodat(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, mode: Mode) -> SysResult {
    fchmodat2(cx, dirfd, path, mode, AtFlags(0))
}

/// `fchmodat2(2)`.
pub fn fchmodat2(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    mode: Mode,
    flags: AtFlags,
) -> SysResult {
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = cx.target_at(&cx.path_caller(), dirfd.0, path.0, flags.0)?;
    if target.attr()?.is_symlink() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    do_chmod(cx, &target, mode.0)
}

/// The kernel id of an id argument; -1 leaves it as it is.
fn id(argument: i32, translate: impl FnOnce(u32) -> Option<u32>) -> Result<Option<u32>> {
    match argument.cast_unsigned() {
        u32::MAX => Ok(None),
        id => translate(id).map(Some).ok_or(Errno::EINVAL),
    }
}

fn do_chown(cx: &Ctx<'_>, target: &Target, owner: i32, group: i32) -> SysResult {
    let cred = cx.task.cred();
    let uid = id(owner, |uid| cred.user_ns.uid(uid))?;
    let gid = id(group, |gid| cred.user_ns.gid(gid))?;
    match target.path() {
        Some(path) => cx.path_caller().walk().chown(path, uid, gid)?,
        None => change_unnamed(cx, target, &SetAttr { uid, gid, ..SetAttr::default() })?,
    }
    Ok(0)
}

/// `chown(2)`.
pub fn chown(cx: &mut Ctx<'_>, path: PathPtr, owner: i32, group: i32) -> SysResult {
    fchownat(cx, CWD, path, owner, group, AtFlags(0))
}

/// `lchown(2)`.
pub fn lchown(cx: &mut Ctx<'_>, path: PathPtr, owner: i32, group: i32) -> SysResult {
    fchownat(cx, CWD, path, owner, group, AtFlags(AT_SYMLINK_NOFOLLOW))
}

/// `fchown(2)`.
pub fn fchown(cx: &mut Ctx<'_>, fd: Fd, owner: i32, group: i32) -> SysResult {
    do_chown(cx, &Target::File(cx.file(fd.0)?), owner, group)
}

/// `fchownat(2)`.
pub fn fchownat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    owner: i32,
    group: i32,
    flags: AtFlags,
) -> SysResult {
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = cx.target_at(&cx.path_caller(), dirfd.0, path.0, flags.0)?;
    do_chown(cx, &target, owner, group)
}

/// A `timespec` with the special values of `utimensat(2)`.
fn set_time(time: Timespec) -> Result<SetTime> {
    match time.tv_nsec {
        UTIME_NOW => Ok(SetTime::Now),
        UTIME_OMIT => Ok(SetTime::Omit),
        0..=999_999_999 => Ok(SetTime::To(time)),
        _ => Err(Errno::EINVAL),
    }
}

fn set_timeval(time: Timeval) -> Result<SetTime> {
    match time.tv_usec {
        0..=999_999 => Ok(SetTime::To(Timespec {
            tv_sec: time.tv_sec,
            tv_nsec: time.tv_usec.wrapping_mul(1000),
        })),
        _ => Err(Errno::EINVAL),
    }
}

type Times = (SetTime, SetTime);

fn do_utimens(cx: &Ctx<'_>, dirfd: Fd, path: PathPtr, times: Times, flags: u32) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let caller = cx.path_caller();
    let target = if path.0.is_null() && dirfd != CWD {
        if flags != 0 {
            return Err(Errno::EINVAL.into());
        }
        Target::File(cx.file(dirfd.0)?)
    } else {
        cx.target_at(&caller, dirfd.0, path.0, flags)?
    };
    match target.path() {
        Some(path) => caller.walk().utimens(path, times.0, times.1)?,
        None => {
            let now = cx.kernel().clock.realtime();
            let pick = |time| match time {
                SetTime::Omit => None,
                SetTime::Now => Some(now),
                SetTime::To(time) => Some(time),
            };
            let change =
                SetAttr { atime: pick(times.0), mtime: pick(times.1), ..SetAttr::default() };
            let both_now = (SetTime::Now, SetTime::Now);
            match change_unnamed(cx, &target, &change) {
                Err(Errno::EPERM) if times == both_now => return Err(Errno::EACCES.into()),
                result => result?,
            }
        }
    }
    Ok(0)
}

/// `utimensat(2)`.
pub fn utimensat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    times: GuestAddr,
    flags: AtFlags,
) -> SysResult {
    if times.is_null() {
        return do_utimens(cx, dirfd, path, (SetTime::Now, SetTime::Now), flags.0);
    }
    let [atime, mtime]: [Timespec; 2] =
        [cx.read(times)?, cx.read(GuestAddr(times.0.wrapping_add(16)))?];
    if atime.tv_nsec == UTIME_OMIT && mtime.tv_nsec == UTIME_OMIT {
        return Ok(0);
    }
    do_utimens(cx, dirfd, path, (set_time(atime)?, set_time(mtime)?), flags.0)
}

/// `futimesat(2)`.
pub fn futimesat(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, times: GuestAddr) -> SysResult {
    let times = if times.is_null() {
        (SetTime::Now, SetTime::Now)
    } else {
        let [atime, mtime]: [Timeval; 2] =
            [cx.read(times)?, cx.read(GuestAddr(times.0.wrapping_add(16)))?];
        (set_timeval(atime)?, set_timeval(mtime)?)
    };
    do_utimens(cx, dirfd, path, times, 0)
}

/// `utimes(2)`.
pub fn utimes(cx: &mut Ctx<'_>, path: PathPtr, times: GuestAddr) -> SysResult {
    futimesat(cx, CWD, path, times)
}

/// `utime(2)`.
pub fn utime(cx: &mut Ctx<'_>, path: PathPtr, times: Time) -> SysResult {
    let times = if times.0.is_null() {
        (SetTime::Now, SetTime::Now)
    } else {
        let buf: Utimbuf = cx.read(times.0)?;
        let at = |seconds| SetTime::To(Timespec { tv_sec: seconds, tv_nsec: 0 });
        (at(buf.actime), at(buf.modtime))
    };
    do_utimens(cx, CWD, path, times, 0)
}

/// Tells the caller about its file size limit.
fn limited<T>(cx: &Ctx<'_>, result: Result<T>) -> Result<T> {
    if matches!(result, Err(Errno::EFBIG)) && cx.rw_env().file_size_limit < u64::MAX {
        cx.signal_self(SIGXFSZ);
    }
    result
}

/// `truncate(2)`.
pub async fn truncate(cx: &mut Ctx<'_>, path: PathPtr, length: i64) -> SysResult {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let path = cx.lookup(&cx.path_caller(), path.0, true)?;
    let lease = cx.path_caller().walk().before_change(&path);
    if let Some(lease) = lease {
        super::open::wait_for_lease(cx, &lease).await?;
    }
    let caller = cx.path_caller();
    limited(cx, caller.walk().truncate(&path, length))?;
    Ok(0)
}

/// `ftruncate(2)`.
pub fn ftruncate(cx: &mut Ctx<'_>, fd: Fd, length: i64) -> SysResult {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = cx.file(fd.0)?;
    if !file.writable() || !file.attr()?.is_regular() {
        return Err(Errno::EINVAL.into());
    }
    limited(cx, file.truncate(length, &cx.rw_env()))?;
    Ok(0)
}

/// Which combinations of `FALLOC_FL_…` there are.
fn check_mode(mode: u32) -> Result<()> {
    let kinds = FALLOC_FL_PUNCH_HOLE
        | FALLOC_FL_ZERO_RANGE
        | FALLOC_FL_COLLAPSE_RANGE
        | FALLOC_FL_INSERT_RANGE
        | FALLOC_FL_UNSHARE_RANGE;
    match mode & kinds {
        _ if mode & !(kinds | FALLOC_FL_KEEP_SIZE) != 0 => Err(Errno::EOPNOTSUPP),
        0 | FALLOC_FL_ZERO_RANGE | FALLOC_FL_UNSHARE_RANGE => Ok(()),
        FALLOC_FL_PUNCH_HOLE if mode & FALLOC_FL_KEEP_SIZE != 0 => Ok(()),
        FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE if mode & FALLOC_FL_KEEP_SIZE == 0 => {
            Ok(())
        }
        FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE => Err(Errno::EINVAL),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// `fallocate(2)`.
pub fn fallocate(cx: &mut Ctx<'_>, fd: Fd, mode: Flags, offset: i64, length: i64) -> SysResult {
    let file = cx.file(fd.0)?;
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let length = u64::try_from(length).ok().filter(|length| *length > 0).ok_or(Errno::EINVAL)?;
    check_mode(mode.0)?;
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    let attr = file.attr()?;
    match attr.file_type() {
        S_IFREG | S_IFBLK => {}
        S_IFIFO => return Err(Errno::ESPIPE.into()),
        S_IFDIR => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    let end = offset
        .checked_add(length)
        .filter(|end| *end <= chitin_vfs::rw::MAX_OFFSET)
        .ok_or(Errno::EFBIG)?;
    let env = cx.rw_env();
    if mode.0 & FALLOC_FL_KEEP_SIZE == 0 && end > attr.size && end > env.file_size_limit {
        cx.signal_self(SIGXFSZ);
        return Err(Errno::EFBIG.into());
    }
    file.clear_set_id(&env)?;
    file.file().allocate(mode.0, offset, length)?;
    chitin_vfs::notify::modify(&file, env.pid);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_fallocate() {
        assert_eq!(check_mode(0), Ok(()));
        assert_eq!(check_mode(FALLOC_FL_KEEP_SIZE), Ok(()));
        assert_eq!(check_mode(FALLOC_FL_PUNCH_HOLE), Err(Errno::EOPNOTSUPP));
        assert_eq!(check_mode(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE), Ok(()));
        assert_eq!(
            check_mode(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE),
            Err(Errno::EOPNOTSUPP)
        );
        assert_eq!(check_mode(FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE), Err(Errno::EINVAL));
        assert_eq!(check_mode(0x1000), Err(Errno::EOPNOTSUPP));
    }

    #[test]
    fn times_are_checked() {
        let time = |tv_nsec| set_time(Timespec { tv_sec: -1, tv_nsec });
        assert_eq!(time(UTIME_NOW), Ok(SetTime::Now));
        assert_eq!(time(UTIME_OMIT), Ok(SetTime::Omit));
        assert_eq!(time(1_000_000_000), Err(Errno::EINVAL));
        assert_eq!(time(-1), Err(Errno::EINVAL));
        assert_eq!(set_timeval(Timeval { tv_sec: 1, tv_usec: 1_000_000 }), Err(Errno::EINVAL));
    }

    #[test]
    fn minus_one_leaves_an_id() {
        assert_eq!(id(-1, |_| None), Ok(None));
        assert_eq!(id(5, Some), Ok(Some(5)));
        assert_eq!(id(5, |_| None), Err(Errno::EINVAL));
    }
}
