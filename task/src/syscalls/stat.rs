//! What files are: `stat(2)`, `statx(2)`, `statfs(2)`, `access(2)`, `readlink(2)`.

use chitin_abi::fs::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW,
    ST_VALID, STATX_ATTR_MOUNT_ROOT, STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID,
    STATX_MNT_ID_UNIQUE, Stat, Statfs, Statx, StatxTimestamp, X_OK, major, minor,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::attr::Attr;
use chitin_vfs::super_block::FsStats;

use super::args::{AtFlags, BytesOut, Fd, Flags, PathPtr};
use super::at::Target;
use crate::context::Ctx;
use crate::cred::Credentials;
use crate::error::SysResult;

/// Bits of `stx_mask` that nothing may ask for.
const STATX_RESERVED: u32 = 0x8000_0000;

fn fill_stat(attr: &Attr, cred: &Credentials) -> Stat {
    Stat {
        st_dev: attr.dev,
        st_ino: attr.ino,
        st_nlink: attr.nlink,
        st_mode: attr.mode,
        st_uid: cred.show_uid(attr.uid),
        st_gid: cred.show_gid(attr.gid),
        st_rdev: attr.rdev,
        st_size: attr.size.cast_signed(),
        st_blksize: attr.blksize.into(),
        st_blocks: attr.blocks.cast_signed(),
        st_atime: attr.atime.tv_sec,
        st_atime_nsec: attr.atime.tv_nsec,
        st_mtime: attr.mtime.tv_sec,
        st_mtime_nsec: attr.mtime.tv_nsec,
        st_ctime: attr.ctime.tv_sec,
        st_ctime_nsec: attr.ctime.tv_nsec,
        ..Stat::default()
    }
}

fn write_stat(cx: &Ctx<'_>, to: GuestAddr, attr: &Attr) -> SysResult {
    cx.write(to, &fill_stat(attr, &cx.task.cred()))?;
    Ok(0)
}

/// `stat(2)`.
pub fn stat(cx: &mut Ctx<'_>, path: PathPtr, buf: GuestAddr) -> SysResult {
    let attr = cx.lookup(&cx.path_caller(), path.0, true)?.inode().attr()?;
    write_stat(cx, buf, &attr)
}

/// `lstat(2)`.
pub fn lstat(cx: &mut Ctx<'_>, path: PathPtr, buf: GuestAddr) -> SysResult {
    let attr = cx.lookup(&cx.path_caller(), path.0, false)?.inode().attr()?;
    write_stat(cx, buf, &attr)
}

/// `fstat(2)`.
pub fn fstat(cx: &mut Ctx<'_>, fd: Fd, buf: GuestAddr) -> SysResult {
    let attr = cx.any_file(fd.0)?.attr()?;
    write_stat(cx, buf, &attr)
}

/// `fstatat(2)`.
pub fn newfstatat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    buf: GuestAddr,
    flags: AtFlags,
) -> SysResult {
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if flags.0 & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    let attr = cx.target_at(&cx.path_caller(), dirfd.0, path.0, flags.0)?.attr()?;
    write_stat(cx, buf, &attr)
}

fn statx_time(time: Timespec) -> StatxTimestamp {
    StatxTimestamp { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec as u32, reserved: 0 }
}

fn fill_statx(target: &Target, attr: &Attr, mask: u32, cred: &Credentials) -> Statx {
    let mut statx = Statx {
        stx_mask: STATX_BASIC_STATS,
        stx_blksize: attr.blksize,
        stx_attributes_mask: STATX_ATTR_MOUNT_ROOT,
        stx_nlink: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
        stx_uid: cred.show_uid(attr.uid),
        stx_gid: cred.show_gid(attr.gid),
        stx_mode: attr.mode as u16,
        stx_ino: attr.ino,
        stx_size: attr.size,
        stx_blocks: attr.blocks,
        stx_atime: statx_time(attr.atime),
        stx_ctime: statx_time(attr.ctime),
        stx_mtime: statx_time(attr.mtime),
        stx_rdev_major: major(attr.rdev),
        stx_rdev_minor: minor(attr.rdev),
        stx_dev_major: major(attr.dev),
        stx_dev_minor: minor(attr.dev),
        ..Statx::default()
    };
    if attr.btime != Timespec::default() {
        statx.stx_mask |= STATX_BTIME;
        statx.stx_btime = statx_time(attr.btime);
    }
    if let Some(path) = target.path() {
        if path.is_mount_root() {
            statx.stx_attributes |= STATX_ATTR_MOUNT_ROOT;
        }
        if mask & STATX_MNT_ID_UNIQUE != 0 {
            statx.stx_mask |= STATX_MNT_ID_UNIQUE;
            statx.stx_mnt_id = path.mount().unique_id();
        } else {
            statx.stx_mask |= STATX_MNT_ID;
            statx.stx_mnt_id = path.mount().id().into();
        }
    }
    statx
}

/// `statx(2)`.
pub fn statx(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: AtFlags,
    mask: Flags,
    buf: GuestAddr,
) -> SysResult {
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    let both = flags.0 & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE;
    if flags.0 & !known != 0 || both || mask.0 & STATX_RESERVED != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = cx.target_at(&cx.path_caller(), dirfd.0, path.0, flags.0)?;
    let attr = target.attr()?;
    cx.write(buf, &fill_statx(&target, &attr, mask.0, &cx.task.cred()))?;
    Ok(0)
}

fn do_access(cx: &Ctx<'_>, dirfd: Fd, path: PathPtr, mode: u32, flags: u32) -> SysResult {
    let known = AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    if mode & !7 != 0 || flags & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut caller = cx.path_caller();
    if flags & AT_EACCESS == 0 {
        caller.cred = cx.task.cred().access_cred();
    }
    let target = cx.target_at(&caller, dirfd.0, path.0, flags)?;
    match target.path() {
        Some(path) => caller.walk().access(path, mode)?,
        // Pipes and the like: nobody but the owner has any business with them; nothing executes them.
        None if mode & X_OK != 0 => return Err(Errno::EACCES.into()),
        None => {}
    }
    Ok(0)
}

/// `access(2)`.
pub fn access(cx: &mut Ctx<'_>, path: PathPtr, mode: u32) -> SysResult {
    do_access(cx, Fd(AT_FDCWD), path, mode, 0)
}

/// `faccessat(2)` without flags.
pub fn faccessat(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, mode: u32) -> SysResult {
    do_access(cx, dirfd, path, mode, 0)
}

/// `faccessat2(2)`.
pub fn faccessat2(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    mode: u32,
    flags: AtFlags,
) -> SysResult {
    do_access(cx, dirfd, path, mode, flags.0)
}

/// `readlink(2)`.
pub fn readlink(cx: &mut Ctx<'_>, path: PathPtr, buf: BytesOut, size: i32) -> SysResult {
    readlinkat(cx, Fd(AT_FDCWD), path, buf, size)
}

/// `readlinkat(2)`.
pub fn readlinkat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    buf: BytesOut,
    size: i32,
) -> SysResult {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let caller = cx.path_caller();
    let name = cx.read_path(path.0)?;
    let text = if name.is_empty() {
        // An `O_PATH` descriptor of a link; anything else does not exist.
        let file = if dirfd.0 == AT_FDCWD { Err(Errno::ENOENT) } else { cx.any_file(dirfd.0) }?;
        let path =
            file.path().filter(|path| path.inode().attr().is_ok_and(|attr| attr.is_symlink()));
        caller.walk().readlink(path.ok_or(Errno::ENOENT)?)?
    } else {
        let walk = cx.walk_at(&caller, dirfd.0, &name)?;
        let link = walk.lookup(&name, false)?;
        walk.readlink(&link)?
    };
    let text = text.get(..text.len().min(size)).unwrap_or_default();
    cx.memory().write(buf.0, text)?;
    Ok(text.len() as u64)
}

fn fill_statfs(stats: &FsStats, flags: u32, dev: u64) -> Statfs {
    Statfs {
        f_type: stats.magic.cast_signed(),
        f_bsize: stats.block_size.cast_signed(),
        f_blocks: stats.blocks,
        f_bfree: stats.blocks_free,
        f_bavail: stats.blocks_available,
        f_files: stats.files,
        f_ffree: stats.files_free,
        f_fsid: [dev as i32, (dev >> 32) as i32],
        f_namelen: stats.name_max.cast_signed(),
        f_frsize: stats.block_size.cast_signed(),
        f_flags: (flags | ST_VALID).into(),
        ..Statfs::default()
    }
}

/// `statfs(2)`.
pub fn statfs(cx: &mut Ctx<'_>, path: PathPtr, buf: GuestAddr) -> SysResult {
    let caller = cx.path_caller();
    let path = cx.lookup(&caller, path.0, true)?;
    let (stats, flags) = caller.walk().statfs(&path)?;
    cx.write(buf, &fill_statfs(&stats, flags, path.mount().super_block().dev))?;
    Ok(0)
}

/// Magic numbers of what files without a path belong to.
const PIPEFS_MAGIC: u64 = 0x5049_5045;
const SOCKFS_MAGIC: u64 = 0x534f_434b;
const ANON_INODE_FS_MAGIC: u64 = 0x0904_1934;

/// `fstatfs(2)`.
pub fn fstatfs(cx: &mut Ctx<'_>, fd: Fd, buf: GuestAddr) -> SysResult {
    let file = cx.any_file(fd.0)?;
    let (stats, flags, dev) = match file.path() {
        Some(path) => {
            let (stats, flags) = cx.path_caller().walk().statfs(path)?;
            (stats, flags, path.mount().super_block().dev)
        }
        None => {
            let attr = file.attr()?;
            let magic = match attr.file_type() {
                chitin_abi::fs::S_IFIFO => PIPEFS_MAGIC,
                chitin_abi::fs::S_IFSOCK => SOCKFS_MAGIC,
                _ => ANON_INODE_FS_MAGIC,
            };
            (FsStats { magic, block_size: 4096, name_max: 255, ..FsStats::default() }, 0, attr.dev)
        }
    };
    cx.write(buf, &fill_statfs(&stats, flags, dev))?;
    Ok(0)
}

/// `ustat(2)`: only the free blocks and inodes of a mounted device.
pub fn ustat(cx: &mut Ctx<'_>, dev: u32, buf: GuestAddr) -> SysResult {
    let wanted = (
        u64::from(dev >> 8) & 0xfff,
        (u64::from(dev) & 0xff) | ((u64::from(dev) >> 12) & 0xf_ff00),
    );
    let mounts = cx.task.namespaces().mount.mounts(&cx.task.fs().root());
    let found = mounts
        .iter()
        .map(|info| info.mount.mount().super_block())
        .find(|block| (u64::from(major(block.dev)), u64::from(minor(block.dev))) == wanted);
    let stats: Result<FsStats> = found.ok_or(Errno::EINVAL).and_then(|block| block.fs().stats());
    let stats = stats?;
    let mut bytes = [0_u8; 32];
    let free = (stats.blocks_free.min(i32::MAX as u64) as i32).to_ne_bytes();
    for (to, from) in bytes.iter_mut().zip(free) {
        *to = from;
    }
    for (to, from) in bytes.iter_mut().skip(8).zip(stats.files_free.to_ne_bytes()) {
        *to = from;
    }
    cx.memory().write(buf, &bytes)?;
    Ok(0)
}
