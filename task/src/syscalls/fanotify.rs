//! `fanotify(7)`: `fanotify_init(2)`, `fanotify_mark(2)`.

use core::cell::RefCell;
use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::fs::{
    AT_FDCWD, FAN_ALL_CLASS_BITS, FAN_CLASS_NOTIF, FAN_CLOEXEC, FAN_EVENT_ON_CHILD, FAN_MARK_ADD,
    FAN_MARK_DONT_FOLLOW, FAN_MARK_EVICTABLE, FAN_MARK_FILESYSTEM, FAN_MARK_FLUSH, FAN_MARK_IGNORE,
    FAN_MARK_IGNORED_MASK, FAN_MARK_IGNORED_SURV_MODIFY, FAN_MARK_INODE, FAN_MARK_MOUNT,
    FAN_MARK_ONLYDIR, FAN_MARK_REMOVE, FAN_NONBLOCK, FAN_NOPIDFD, FAN_RENAME, FAN_REPORT_DIR_FID,
    FAN_REPORT_FID, FAN_REPORT_NAME, FAN_REPORT_PIDFD, FAN_REPORT_TARGET_FID, FAN_REPORT_TID,
    FAN_UNLIMITED_MARKS, FAN_UNLIMITED_QUEUE, O_ACCMODE, O_APPEND, O_CLOEXEC, O_DSYNC, O_LARGEFILE,
    O_NOATIME, O_NONBLOCK, O_SYNC, OpenFlags, R_OK,
};
use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::{Errno, Result};
use chitin_vfs::file::{File, OpenFile};
use chitin_vfs::notify::fanotify::{
    EVENT_FLAGS, EVENTS, FID_MODES, Fanotify, MarkOn, Masks, NAME_EVENTS, PATH_EVENTS, Reader,
};
use chitin_vfs::path::Path;

use super::args::{Fd, Flags, LongFlags, OpenMode, PathPtr};
use super::at::uninstall;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::process::pidfd;

/// Classes of groups.
const CLASSES: u32 = FAN_ALL_CLASS_BITS as u32;
/// What anybody may ask for.
const USER_FLAGS: u32 = FAN_CLOEXEC | FAN_NONBLOCK | FID_MODES;
/// What needs a capability.
const ADMIN_FLAGS: u32 =
    CLASSES | FAN_REPORT_TID | FAN_REPORT_PIDFD | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS;
const EVENT_OPEN_FLAGS: u32 =
    O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_CLOEXEC | O_LARGEFILE | O_NOATIME;
const MARK_KINDS: u32 = FAN_MARK_INODE | FAN_MARK_MOUNT | FAN_MARK_FILESYSTEM;
const MARK_FLAGS: u32 = FAN_MARK_ADD
    | FAN_MARK_REMOVE
    | FAN_MARK_FLUSH
    | MARK_KINDS
    | FAN_MARK_DONT_FOLLOW
    | FAN_MARK_ONLYDIR
    | FAN_MARK_IGNORED_MASK
    | FAN_MARK_IGNORED_SURV_MODIFY
    | FAN_MARK_EVICTABLE
    | FAN_MARK_IGNORE;
/// Marks of one group, unless it has no limit.
const MARK_LIMIT: u32 = 8192;

fn check_modes(flags: u32) -> Result<()> {
    let mode = flags & FID_MODES;
    let has = |flag: u32| mode & flag != 0;
    let classes = flags & CLASSES;
    let good = classes != CLASSES
        && (mode == 0 || classes == FAN_CLASS_NOTIF)
        && (!has(FAN_REPORT_NAME) || has(FAN_REPORT_DIR_FID))
        && (!has(FAN_REPORT_TARGET_FID) || (has(FAN_REPORT_NAME) && has(FAN_REPORT_FID)))
        && flags & (FAN_REPORT_PIDFD | FAN_REPORT_TID) != FAN_REPORT_PIDFD | FAN_REPORT_TID;
    if good { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `fanotify_init(2)`.
pub fn fanotify_init(cx: &mut Ctx<'_>, flags: Flags, event_f_flags: OpenMode) -> SysResult {
    let (flags, event_flags) = (flags.0, event_f_flags.0);
    let privileged = cx.task.cred().capable_initial(CAP_SYS_ADMIN);
    if !privileged && (flags & ADMIN_FLAGS != 0 || flags & FID_MODES == 0) {
        return Err(Errno::EPERM.into());
    }
    if flags & !(USER_FLAGS | ADMIN_FLAGS) != 0
        || event_flags & !EVENT_OPEN_FLAGS != 0
        || event_flags & O_ACCMODE == O_ACCMODE
    {
        return Err(Errno::EINVAL.into());
    }
    check_modes(flags)?;
    let unless = |unlimited: u32, limit: u32| (flags & unlimited == 0).then_some(limit);
    let events = cx.kernel().vfs.sysctls.inotify_max_queued_events.load(Ordering::Relaxed);
    let charge = cx.kernel().users.fanotify_groups.charge(cx.task.cred().euid)?;
    let group: Arc<dyn File> = Fanotify::new(
        flags,
        event_flags,
        privileged,
        unless(FAN_UNLIMITED_QUEUE, events),
        unless(FAN_UNLIMITED_MARKS, MARK_LIMIT),
        Box::new(charge),
    );
    let nonblocking = if flags & FAN_NONBLOCK != 0 { O_NONBLOCK } else { 0 };
    let status = OpenFlags::O_RDWR | OpenFlags::from_bits_retain(nonblocking);
    let file = OpenFile::new(group, None, status, cx.task.cred().fs_cred());
    Ok(cx.install_file(file, flags & FAN_CLOEXEC != 0)?)
}

/// The group of a descriptor.
fn group(cx: &Ctx<'_>, fd: Fd) -> Result<Arc<Fanotify>> {
    let file = cx.file(fd.0)?;
    let file: Arc<dyn core::any::Any + Send + Sync> = Arc::clone(file.file()) as _;
    file.downcast::<Fanotify>().map_err(|_| Errno::EINVAL)
}

/// What a call wants marked: the kinds of marks, what is done, and the events.
fn check_mark(flags: u32, mask: u64) -> Result<u32> {
    let mask = u32::try_from(mask).map_err(|_| Errno::EINVAL)?;
    let command = flags & (FAN_MARK_ADD | FAN_MARK_REMOVE | FAN_MARK_FLUSH);
    let ignores = FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORE;
    let good = flags & !MARK_FLAGS == 0
        && flags & MARK_KINDS != FAN_MARK_MOUNT | FAN_MARK_FILESYSTEM
        && match command {
            FAN_MARK_ADD | FAN_MARK_REMOVE => mask != 0,
            FAN_MARK_FLUSH => flags & !(MARK_KINDS | FAN_MARK_FLUSH) == 0,
            _ => false,
        }
        && (command == FAN_MARK_FLUSH || mask & !(EVENTS | EVENT_FLAGS) == 0)
        && flags & ignores != ignores;
    if good { Ok(mask) } else { Err(Errno::EINVAL) }
}

/// What a group must be for these events.
fn check_group(group: &Fanotify, flags: u32, mask: u32) -> Result<()> {
    let kind = flags & MARK_KINDS;
    if !group.privileged && kind != FAN_MARK_INODE {
        return Err(Errno::EPERM);
    }
    let by_handle_only = mask & !(PATH_EVENTS | EVENT_FLAGS) != 0;
    let bad = (flags & FAN_MARK_EVICTABLE != 0 && kind != FAN_MARK_INODE)
        || (by_handle_only && (group.fid_mode() == 0 || kind == FAN_MARK_MOUNT))
        || (mask & FAN_RENAME as u32 != 0 && group.fid_mode() & FAN_REPORT_NAME == 0);
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}

fn find(cx: &Ctx<'_>, dirfd: Fd, pathname: PathPtr, flags: u32) -> Result<Path> {
    let caller = cx.path_caller();
    let path = if pathname.0.is_null() {
        if dirfd.0 == AT_FDCWD {
            caller.walk().base
        } else {
            cx.any_file(dirfd.0)?.path().cloned().ok_or(Errno::EINVAL)?
        }
    } else {
        let path = cx.read_path(pathname.0)?;
        let walk = cx.walk_at(&caller, dirfd.0, &path)?;
        walk.lookup(&path, flags & FAN_MARK_DONT_FOLLOW == 0)?
    };
    if flags & FAN_MARK_ONLYDIR != 0 && !path.dentry().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    caller.walk().access(&path, R_OK)?;
    Ok(path)
}

/// Whether events that only a directory has can be asked for.
fn check_directory(group: &Fanotify, flags: u32, mask: u32, path: &Path) -> Result<()> {
    let strict = group.fid_mode() & FAN_REPORT_TARGET_FID != 0
        || mask & FAN_RENAME as u32 != 0
        || flags & FAN_MARK_IGNORE != 0;
    let on_file = flags & MARK_KINDS == FAN_MARK_INODE && !path.dentry().is_dir();
    let only_directories = mask & (NAME_EVENTS | EVENT_FLAGS) != 0;
    if strict && on_file && only_directories { Err(Errno::ENOTDIR) } else { Ok(()) }
}

/// `fanotify_mark(2)`.
pub fn fanotify_mark(
    cx: &mut Ctx<'_>,
    fanotify_fd: Fd,
    flags: Flags,
    mask: LongFlags,
    dirfd: Fd,
    pathname: PathPtr,
) -> SysResult {
    let flags = flags.0;
    let mut mask = check_mark(flags, mask.0)?;
    let group = group(cx, fanotify_fd)?;
    let on = |path: Path| match flags & MARK_KINDS {
        FAN_MARK_MOUNT => MarkOn::Mount(Arc::clone(path.mount())),
        FAN_MARK_FILESYSTEM => MarkOn::Tree(path),
        _ => MarkOn::File(path),
    };
    if flags & FAN_MARK_FLUSH != 0 {
        if !group.privileged && flags & MARK_KINDS != FAN_MARK_INODE {
            return Err(Errno::EPERM.into());
        }
        group.flush(&on(cx.path_caller().walk().base));
        return Ok(0);
    }
    check_group(&group, flags, mask)?;
    let path = find(cx, dirfd, pathname, flags)?;
    let adds = flags & FAN_MARK_ADD != 0;
    if adds {
        check_directory(&group, flags, mask, &path)?;
    }
    if flags & MARK_KINDS != FAN_MARK_INODE || !path.dentry().is_dir() {
        mask &= !(FAN_EVENT_ON_CHILD as u32);
    }
    let masks = Masks {
        mask,
        ignores: flags & (FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORE) != 0,
        survives: flags & FAN_MARK_IGNORED_SURV_MODIFY != 0,
        with_flags: flags & FAN_MARK_IGNORE != 0,
    };
    let on = on(path);
    if adds {
        group.mark(&on, masks)?;
    } else {
        group.unmark(&on, masks)?;
    }
    Ok(0)
}

/// A task that reads events.
pub struct EventReader<'a> {
    cx: &'a Ctx<'a>,
    event_flags: u32,
    /// What it has been given, while it may have to be taken back.
    given: RefCell<Vec<(i32, Arc<OpenFile>)>>,
}

impl<'a> EventReader<'a> {
    /// The caller of a read of a group.
    pub fn new(cx: &'a Ctx<'a>, group: &Fanotify) -> Self {
        Self { cx, event_flags: group.event_flags, given: RefCell::default() }
    }

    fn give(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<i32> {
        let fd = self.cx.install_file(Arc::clone(&file), close_on_exec)?;
        let fd = i32::try_from(fd).map_err(|_| Errno::EMFILE)?;
        self.given.borrow_mut().push((fd, file));
        Ok(fd)
    }
}

impl Reader for EventReader<'_> {
    fn open(&self, path: &Path) -> Result<i32> {
        let mut flags = (self.event_flags & !O_CLOEXEC) | chitin_vfs::walk::UNNOTICED;
        if path.dentry().is_dir() {
            flags &= !O_ACCMODE;
        }
        let caller = self.cx.path_caller();
        let opened = caller.walk().open_path(path, OpenFlags::from_bits_retain(flags))?;
        self.give(opened.file, self.event_flags & O_CLOEXEC != 0)
    }

    fn pid(&self, pid: u32) -> i32 {
        let ns = self.cx.task.pid_ns();
        let tree = self.cx.kernel().tree.lock();
        tree.process(pid).map_or(0, |entry| entry.group.pid.in_ns(&ns).cast_signed())
    }

    fn pidfd(&self, pid: u32) -> i32 {
        let group = {
            let tree = self.cx.kernel().tree.lock();
            tree.process(pid).map(|entry| Arc::clone(&entry.group))
        };
        let Some(group) = group else { return FAN_NOPIDFD };
        let file = pidfd::open_group(self.cx.kernel(), &group, OpenFlags::empty());
        self.give(file, true).unwrap_or(chitin_abi::fs::FAN_EPIDFD)
    }

    fn undo(&self, fd: i32) {
        let given = self.given.borrow();
        if let Some((_, file)) = given.iter().rfind(|(known, _)| *known == fd) {
            uninstall(&self.cx.task.files(), fd, file);
        }
    }
}
