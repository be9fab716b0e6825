//! Making, naming and removing files: `mkdir(2)`, `mknod(2)`, `link(2)`, `symlink(2)`, `unlink(2)`, `rename(2)`.

use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, RENAME_EXCHANGE,
    RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG,
    S_IFSOCK, makedev,
};
use chitin_abi::process::CAP_DAC_READ_SEARCH;
use chitin_abi::{Errno, Result};
use chitin_vfs::walk::Walk;

use super::args::{AtFlags, Fd, Flags, Mode, PathPtr};
use super::at::{PathCaller, Target};
use crate::context::Ctx;
use crate::error::SysResult;

const CWD: Fd = Fd(AT_FDCWD);

/// Reads a path and does something with the walk that it belongs to.
fn with_path<T>(
    cx: &Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    action: impl FnOnce(&Walk<'_>, &[u8]) -> Result<T>,
) -> Result<T> {
    let path = cx.read_path(path.0)?;
    let caller = cx.path_caller();
    let walk = cx.walk_at(&caller, dirfd.0, &path)?;
    action(&walk, &path)
}

/// `mkdir(2)`.
pub fn mkdir(cx: &mut Ctx<'_>, path: PathPtr, mode: Mode) -> SysResult {
    mkdirat(cx, CWD, path, mode)
}

/// `mkdirat(2)`.
pub fn mkdirat(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, mode: Mode) -> SysResult {
    with_path(cx, dirfd, path, |walk, path| walk.mkdir(path, mode.0 & 0o1777))?;
    Ok(0)
}

/// `rmdir(2)`.
pub fn rmdir(cx: &mut Ctx<'_>, path: PathPtr) -> SysResult {
    with_path(cx, CWD, path, |walk, path| walk.rmdir(path))?;
    Ok(0)
}

/// A device number as `mknod(2)` takes it.
fn decode_device(dev: u32) -> u64 {
    makedev((dev & 0xf_ff00) >> 8, (dev & 0xff) | ((dev >> 12) & 0xf_ff00))
}

/// `mknod(2)`.
pub fn mknod(cx: &mut Ctx<'_>, path: PathPtr, mode: Mode, dev: u32) -> SysResult {
    mknodat(cx, CWD, path, mode, dev)
}

/// `mknodat(2)`.
pub fn mknodat(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, mode: Mode, dev: u32) -> SysResult {
    let (kind, device) = match mode.0 & S_IFMT {
        0 => (S_IFREG, 0),
        S_IFREG | S_IFIFO | S_IFSOCK => (mode.0 & S_IFMT, 0),
        S_IFCHR | S_IFBLK => (mode.0 & S_IFMT, decode_device(dev)),
        S_IFDIR => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    with_path(cx, dirfd, path, |walk, path| walk.mknod(path, kind | (mode.0 & 0o7777), device))?;
    Ok(0)
}

/// `symlink(2)`.
pub fn symlink(cx: &mut Ctx<'_>, target: PathPtr, path: PathPtr) -> SysResult {
    symlinkat(cx, target, CWD, path)
}

/// `symlinkat(2)`.
pub fn symlinkat(cx: &mut Ctx<'_>, target: PathPtr, dirfd: Fd, path: PathPtr) -> SysResult {
    let target = cx.read_path(target.0)?;
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    with_path(cx, dirfd, path, |walk, path| walk.symlink(&target, path))?;
    Ok(0)
}

/// `link(2)`.
pub fn link(cx: &mut Ctx<'_>, old: PathPtr, new: PathPtr) -> SysResult {
    linkat(cx, CWD, old, CWD, new, AtFlags(0))
}

/// `linkat(2)`.
pub fn linkat(
    cx: &mut Ctx<'_>,
    old_dir: Fd,
    old: PathPtr,
    new_dir: Fd,
    new: PathPtr,
    flags: AtFlags,
) -> SysResult {
    if flags.0 & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let caller = cx.path_caller();
    let follow = if flags.0 & AT_SYMLINK_FOLLOW == 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let target = cx.target_at(&caller, old_dir.0, old.0, (flags.0 & AT_EMPTY_PATH) | follow)?;
    if let Target::File(file) = &target {
        let same = file.cred.uid == caller.cred.uid
            && file.cred.gid == caller.cred.gid
            && file.cred.caps == caller.cred.caps;
        if !same && !caller.cred.caps.has(CAP_DAC_READ_SEARCH) {
            return Err(Errno::ENOENT.into());
        }
    }
    let source = target.path().ok_or(Errno::EXDEV)?;
    let path = cx.read_path(new.0)?;
    cx.walk_at(&caller, new_dir.0, &path)?.link(source, &path)?;
    Ok(0)
}

/// `unlink(2)`.
pub fn unlink(cx: &mut Ctx<'_>, path: PathPtr) -> SysResult {
    unlinkat(cx, CWD, path, Flags(0))
}

/// `unlinkat(2)`.
pub fn unlinkat(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, flags: Flags) -> SysResult {
    if flags.0 & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    with_path(cx, dirfd, path, |walk, path| {
        if flags.0 & AT_REMOVEDIR == 0 { walk.unlink(path) } else { walk.rmdir(path) }
    })?;
    Ok(0)
}

/// `rename(2)`.
pub fn rename(cx: &mut Ctx<'_>, old: PathPtr, new: PathPtr) -> SysResult {
    renameat2(cx, CWD, old, CWD, new, Flags(0))
}

/// `renameat(2)`.
pub fn renameat(
    cx: &mut Ctx<'_>,
    old_dir: Fd,
    old: PathPtr,
    new_dir: Fd,
    new: PathPtr,
) -> SysResult {
    renameat2(cx, old_dir, old, new_dir, new, Flags(0))
}

/// `renameat2(2)`.
pub fn renameat2(
    cx: &mut Ctx<'_>,
    old_dir: Fd,
    old: PathPtr,
    new_dir: Fd,
    new: PathPtr,
    flags: Flags,
) -> SysResult {
    let exclusive =
        flags.0 & RENAME_EXCHANGE != 0 && flags.0 & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0;
    if flags.0 & !(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) != 0 || exclusive {
        return Err(Errno::EINVAL.into());
    }
    let caller: PathCaller = cx.path_caller();
    let old = cx.read_path(old.0)?;
    let new = cx.read_path(new.0)?;
    let from = cx.walk_at(&caller, old_dir.0, &old)?;
    let to = cx.walk_at(&caller, new_dir.0, &new)?;
    from.rename(&old, &to, &new, flags.0)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use chitin_abi::fs::{major, minor};

    use super::decode_device;

    #[test]
    fn device_numbers_are_the_32_bit_encoding() {
        let tty = decode_device(0x0501);
        assert_eq!((major(tty), minor(tty)), (5, 1));
        let large = decode_device(0x1230_0801 | 0xff00);
        assert_eq!(minor(large) & 0xff, 1);
        assert_eq!(minor(large) >> 8, 0x123);
    }
}
