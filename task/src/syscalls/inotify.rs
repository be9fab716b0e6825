//! `inotify(7)`.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::fs::{
    IN_ALL_EVENTS, IN_CLOEXEC, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD,
    IN_MASK_CREATE, IN_NONBLOCK, IN_ONESHOT, IN_ONLYDIR, IN_Q_OVERFLOW, IN_UNMOUNT, OpenFlags,
    R_OK,
};
use chitin_abi::{Errno, Result};
use chitin_vfs::file::{File, OpenFile};
use chitin_vfs::notify::Inotify;

use super::args::{Fd, Flags, PathPtr};
use crate::context::Ctx;
use crate::error::SysResult;

/// What a mask must have some of.
const KNOWN: u32 = IN_ALL_EVENTS
    | IN_UNMOUNT
    | IN_Q_OVERFLOW
    | IN_IGNORED
    | IN_ONLYDIR
    | IN_DONT_FOLLOW
    | IN_EXCL_UNLINK
    | IN_MASK_ADD
    | IN_MASK_CREATE
    | IN_ISDIR
    | IN_ONESHOT;

/// `inotify_init(2)`.
pub fn inotify_init(cx: &mut Ctx<'_>) -> SysResult {
    inotify_init1(cx, Flags(0))
}

/// `inotify_init1(2)`.
pub fn inotify_init1(cx: &mut Ctx<'_>, flags: Flags) -> SysResult {
    if flags.0 & !(IN_CLOEXEC | IN_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let events = cx.kernel().vfs.sysctls.inotify_max_queued_events.load(Ordering::Relaxed);
    let instance: Arc<dyn File> = Inotify::new(events);
    let status = OpenFlags::from_bits_retain(flags.0 & IN_NONBLOCK);
    let file = OpenFile::new(instance, None, status, cx.task.cred().fs_cred());
    Ok(cx.install_file(file, flags.0 & IN_CLOEXEC != 0)?)
}

/// The instance of a descriptor.
fn with_instance<T>(
    cx: &Ctx<'_>,
    fd: Fd,
    action: impl FnOnce(Arc<Inotify>) -> Result<T>,
) -> Result<T> {
    let file = cx.file(fd.0)?;
    let file: Arc<dyn core::any::Any + Send + Sync> = Arc::clone(file.file()) as _;
    action(file.downcast::<Inotify>().map_err(|_| Errno::EINVAL)?)
}

/// `inotify_add_watch(2)`.
pub fn inotify_add_watch(cx: &mut Ctx<'_>, fd: Fd, path: PathPtr, mask: Flags) -> SysResult {
    if mask.0 & KNOWN == 0 {
        return Err(Errno::EINVAL.into());
    }
    if mask.0 & IN_MASK_ADD != 0 && mask.0 & IN_MASK_CREATE != 0 {
        // A descriptor that is none comes first.
        cx.file(fd.0)?;
        return Err(Errno::EINVAL.into());
    }
    let most = cx.kernel().vfs.sysctls.inotify_max_user_watches.load(Ordering::Relaxed);
    let wd = with_instance(cx, fd, |instance| {
        let caller = cx.path_caller();
        let target = cx.lookup(&caller, path.0, mask.0 & IN_DONT_FOLLOW == 0)?;
        caller.walk().access(&target, R_OK)?;
        instance.add_watch(&target, mask.0, most)
    })?;
    Ok(u64::from(wd.unsigned_abs()))
}

/// `inotify_rm_watch(2)`.
pub fn inotify_rm_watch(cx: &mut Ctx<'_>, fd: Fd, wd: i32) -> SysResult {
    with_instance(cx, fd, |instance| instance.remove_watch(wd))?;
    Ok(0)
}
