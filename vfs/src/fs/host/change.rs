//! Changes of a host tree: making, naming, renaming and removing files, and their attributes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use chitin_abi::fs::{S_IFLNK, S_IFMT, S_IFREG, S_ISGID};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Statx, Timestamps, Uid};

use super::attr::{self, statx_at, statx_fd};
use super::fd_cache::CachedFd;
use super::inode::{HostInode, Place};
use super::open::{Access, COMMON, open_at};
use crate::attr::{NewFile, SetAttr};
use crate::host_errno::from_host;
use crate::inode::Inode;

fn permissions(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & 0o7777)
}

/// The owner and mode that a new entry of `dir` is to have: the directory's set-group-id bit is honoured.
fn wanted(dir: &HostInode, new: &NewFile, is_dir: bool) -> Result<(u32, u32, u32)> {
    let parent = dir.attr()?;
    let inherits = parent.mode & S_ISGID != 0;
    let gid = if inherits { parent.gid } else { new.gid };
    let sticky_group = if inherits && is_dir { S_ISGID } else { 0 };
    Ok(((new.mode & 0o7777) | sticky_group, new.uid, gid))
}

/// Gives a file that was just made its owner and mode, where the host gave it others.
fn adopt(
    dir: &HostInode,
    name: &[u8],
    stat: Statx,
    wanted: (u32, u32, u32),
) -> Result<Arc<HostInode>> {
    let (mode, uid, gid) = wanted;
    let inode = dir.child(name, &stat)?;
    let owner_differs = (stat.stx_uid, stat.stx_gid) != (uid, gid);
    let mode_differs = inode.kind != S_IFLNK && attr::mode(&stat) & 0o7777 != mode;
    if owner_differs {
        change_owner(&inode, Some(uid), Some(gid))?;
    }
    if mode_differs || (owner_differs && mode & 0o6000 != 0 && inode.kind != S_IFLNK) {
        change_mode(&inode, mode)?;
    }
    if owner_differs || mode_differs {
        inode.changed();
    }
    Ok(inode)
}

/// Finishes the making of an entry; takes it away again where it cannot be given its owner.
fn finish(
    dir: &HostInode,
    name: &[u8],
    wanted: (u32, u32, u32),
    removal: AtFlags,
) -> Result<Arc<HostInode>> {
    dir.changed();
    let fd = dir.dir_fd()?;
    let stat = statx_at(fd.as_fd(), name, AtFlags::empty())?;
    adopt(dir, name, stat, wanted).inspect_err(|_| {
        // Nothing more can be done if this fails too; the first error is the one to report.
        let _ = rustix::fs::unlinkat(&*fd, name, removal);
    })
}

pub(super) fn create(dir: &HostInode, name: &[u8], new: &NewFile) -> Result<Arc<HostInode>> {
    let wanted = wanted(dir, new, false)?;
    let fd = dir.dir_fd()?;
    if new.mode & S_IFMT == S_IFREG || new.mode & S_IFMT == 0 {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | COMMON;
        let file = open_at(&dir.fs, fd.as_fd(), name, flags, permissions(wanted.0))?;
        let inode = finish(dir, name, wanted, AtFlags::empty())?;
        inode.check_same(&statx_fd(file.as_fd())?)?;
        inode.remember(Access::Write, &CachedFd::new(file));
        return Ok(inode);
    }
    let kind = FileType::from_raw_mode(new.mode & S_IFMT);
    rustix::fs::mknodat(&*fd, name, kind, permissions(wanted.0), new.rdev).map_err(from_host)?;
    finish(dir, name, wanted, AtFlags::empty())
}

pub(super) fn mkdir(dir: &HostInode, name: &[u8], new: &NewFile) -> Result<Arc<HostInode>> {
    let wanted = wanted(dir, new, true)?;
    let fd = dir.dir_fd()?;
    rustix::fs::mkdirat(&*fd, name, permissions(wanted.0)).map_err(from_host)?;
    finish(dir, name, wanted, AtFlags::REMOVEDIR)
}

pub(super) fn symlink(
    dir: &HostInode,
    name: &[u8],
    target: &[u8],
    new: &NewFile,
) -> Result<Arc<HostInode>> {
    let wanted = wanted(dir, new, false)?;
    let fd = dir.dir_fd()?;
    rustix::fs::symlinkat(target, &*fd, name).map_err(from_host)?;
    finish(dir, name, wanted, AtFlags::empty())
}

pub(super) fn tmpfile(dir: &HostInode, new: &NewFile) -> Result<Arc<HostInode>> {
    let wanted = wanted(dir, new, false)?;
    let fd = dir.dir_fd()?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file: OwnedFd =
        rustix::fs::openat(&*fd, c".", flags, permissions(wanted.0)).map_err(from_host)?;
    let stat = statx_fd(file.as_fd())?;
    let inode = dir.child(b"", &stat)?;
    let file = CachedFd::new(file);
    inode.fds.lock().write = Arc::downgrade(&file);
    inode.fds.lock().read = Arc::downgrade(&file);
    inode.pin(file);
    adopt(dir, b"", stat, wanted)
}

pub(super) fn link(dir: &HostInode, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
    let target = target.as_any().downcast_ref::<HostInode>().ok_or(Errno::EXDEV)?;
    let to = dir.dir_fd()?;
    let place = target.place.lock().clone();
    let result = match &place.parent {
        Some(parent) if !place.name.is_empty() => {
            let from = parent.dir_fd()?;
            target.check_same(&statx_at(from.as_fd(), &place.name, AtFlags::empty())?)?;
            rustix::fs::linkat(&*from, &*place.name, &*to, name, AtFlags::empty())
        }
        _ => {
            let file = target.live_fd().ok_or(Errno::ENOENT)?;
            rustix::fs::linkat(&*file, c"", &*to, name, AtFlags::EMPTY_PATH)
        }
    };
    result.map_err(from_host)?;
    if place.name.is_empty() {
        target.moved_to(Place { parent: dir.this(), name: name.into() });
    }
    target.changed();
    dir.changed();
    Ok(())
}

/// The inode of an entry if it is in use.
fn known(dir: &HostInode, name: &[u8]) -> Result<Option<Arc<HostInode>>> {
    let fd = dir.dir_fd()?;
    match statx_at(fd.as_fd(), name, AtFlags::empty()) {
        Ok(stat) => {
            let inode = dir.fs.table.inodes.get(attr::id(&stat));
            if let Some(inode) = &inode {
                inode.moved_to(Place { parent: dir.this(), name: name.into() });
            }
            Ok(inode)
        }
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn remove(dir: &HostInode, name: &[u8], flags: AtFlags) -> Result<()> {
    let victim = known(dir, name)?;
    if let Some(victim) = &victim {
        victim.keep_without_name();
    }
    let fd = dir.dir_fd()?;
    rustix::fs::unlinkat(&*fd, name, flags).map_err(from_host)?;
    if let Some(victim) = victim {
        victim.changed();
    }
    dir.changed();
    Ok(())
}

pub(super) fn rename(
    dir: &HostInode,
    old_name: &[u8],
    new_dir: &Arc<dyn Inode>,
    new_name: &[u8],
    flags: u32,
) -> Result<()> {
    let to = new_dir.as_any().downcast_ref::<HostInode>().ok_or(Errno::EXDEV)?;
    let flags = RenameFlags::from_bits_retain(flags);
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    let moved = known(dir, old_name)?;
    let replaced = known(to, new_name)?;
    if let (Some(replaced), false) = (&replaced, exchange) {
        replaced.keep_without_name();
    }
    let (from_fd, to_fd) = (dir.dir_fd()?, to.dir_fd()?);
    rustix::fs::renameat_with(&*from_fd, old_name, &*to_fd, new_name, flags).map_err(from_host)?;
    if let Some(moved) = &moved {
        moved.moved_to(Place { parent: to.this(), name: new_name.into() });
        moved.changed();
    }
    if let Some(replaced) = &replaced {
        if exchange {
            replaced.moved_to(Place { parent: dir.this(), name: old_name.into() });
        }
        replaced.changed();
    }
    dir.changed();
    to.changed();
    Ok(())
}

fn change_owner(inode: &HostInode, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    // -1 would mean "leave it" to the host.
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Err(Errno::EINVAL);
    }
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    inode.with_handle(|fd, name, flags| rustix::fs::chownat(fd, name, uid, gid, flags))
}

fn change_mode(inode: &HostInode, mode: u32) -> Result<()> {
    let mode = permissions(mode);
    match inode.real_fd() {
        Ok(fd) => rustix::fs::fchmod(&*fd, mode).map_err(from_host),
        // No descriptor can be had that the host would change the mode of, and by name a link would be followed.
        Err(error) => match inode.kind {
            S_IFLNK => Err(Errno::EOPNOTSUPP),
            _ => change_mode_by_place(inode, mode).map_err(|_| error),
        },
    }
}

/// Changes the mode of what cannot be opened, through a name in a directory, without following a link
/// (`fchmodat2(2)`).
fn change_mode_by_place(inode: &HostInode, mode: Mode) -> Result<()> {
    let place = inode.place.lock().clone();
    let dir = place.parent.ok_or(Errno::ENOENT)?.dir_fd()?;
    let mode = nix::sys::stat::Mode::from_bits_truncate(mode.bits());
    let flags = nix::sys::stat::FchmodatFlags::NoFollowSymlink;
    nix::sys::stat::fchmodat(dir.as_fd(), &*place.name, mode, flags)
        .map_err(|error| Errno::from_raw(error as i32))
}

fn change_size(inode: &HostInode, size: u64) -> Result<()> {
    if inode.is_dir() {
        return Err(Errno::EISDIR);
    }
    let fd = inode.data_fd(Access::Write)?;
    rustix::fs::ftruncate(&*fd, size).map_err(from_host)
}

fn host_time(time: Option<Timespec>) -> rustix::fs::Timespec {
    match time {
        Some(time) => rustix::fs::Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec },
        None => rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
    }
}

pub(super) fn set_attr(inode: &HostInode, change: &SetAttr) -> Result<()> {
    if let Some(size) = change.size {
        change_size(inode, size)?;
    }
    if change.uid.is_some() || change.gid.is_some() {
        change_owner(inode, change.uid, change.gid)?;
    }
    if let Some(mode) = change.mode {
        change_mode(inode, mode)?;
    }
    if change.atime.is_some() || change.mtime.is_some() {
        let times = Timestamps {
            last_access: host_time(change.atime),
            last_modification: host_time(change.mtime),
        };
        inode.with_handle(|fd, name, flags| rustix::fs::utimensat(fd, name, &times, flags))?;
    }
    Ok(())
}
