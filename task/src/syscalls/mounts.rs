//! Mounting by path: `mount(2)`, `umount2(2)`, `pivot_root(2)`, `sysfs(2)`.

use std::sync::Arc;

use chitin_abi::fs::{
    MNT_DETACH, MNT_EXPIRE, MNT_FORCE, MS_BIND, MS_MGC_MSK, MS_MGC_VAL, MS_MOVE, MS_NOATIME,
    MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_NOUSER, MS_PRIVATE,
    MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SILENT, MS_SLAVE, MS_STRICTATIME,
    MS_UNBINDABLE, PATH_MAX, UMOUNT_NOFOLLOW,
};
use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use chitin_vfs::fs_type::FsType;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::{MountNamespace, Propagation};
use chitin_vfs::path::Path;

use super::args::{Flags, LongFlags, PathPtr};
use super::at::PathCaller;
use crate::context::Ctx;
use crate::error::SysResult;

const PROPAGATION: u32 = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
const ATIME: MountFlags =
    MountFlags::NO_ATIME.union(MountFlags::REL_ATIME).union(MountFlags::NO_DIR_ATIME);

/// The caller's mounts, if it may change them.
///
/// # Errors
/// EPERM.
pub fn own_mounts(cx: &Ctx<'_>) -> Result<Arc<MountNamespace>> {
    let namespaces = cx.task.namespaces();
    if cx.task.cred().capable(&namespaces.mount_owner.1, CAP_SYS_ADMIN) {
        Ok(Arc::clone(&namespaces.mount))
    } else {
        Err(Errno::EPERM)
    }
}

/// The file-system type of a name, if the caller may mount it.
///
/// # Errors
/// ENODEV, EPERM.
pub fn fs_type(cx: &Ctx<'_>, name: &[u8]) -> Result<Arc<dyn FsType>> {
    let found = cx.kernel().vfs.fs_types.find(name)?;
    let initial = cx.task.namespaces().mount_owner.1.is_initial();
    if initial || found.user_mountable() { Ok(found) } else { Err(Errno::EPERM) }
}

/// Flags of a mount from `MS_…`.
fn mount_flags(flags: u32) -> MountFlags {
    let pairs = [
        (MS_RDONLY, MountFlags::READ_ONLY),
        (MS_NOSUID, MountFlags::NO_SUID),
        (MS_NODEV, MountFlags::NO_DEV),
        (MS_NOEXEC, MountFlags::NO_EXEC),
        (MS_NOATIME, MountFlags::NO_ATIME),
        (MS_NODIRATIME, MountFlags::NO_DIR_ATIME),
        (MS_NOSYMFOLLOW, MountFlags::NO_SYM_FOLLOW),
    ];
    let mut result = MountFlags::empty();
    for (bit, flag) in pairs {
        result.set(flag, flags & bit != 0);
    }
    if flags & MS_STRICTATIME != 0 {
        result.remove(MountFlags::NO_ATIME);
    } else if flags & MS_NOATIME == 0 {
        result.insert(MountFlags::REL_ATIME);
    }
    result
}

/// The same for a remount, which keeps how access times are kept unless it says something about them.
fn remount_flags(flags: u32, current: MountFlags) -> MountFlags {
    let says = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
    let wanted = mount_flags(flags);
    if flags & says == 0 { (wanted - ATIME) | (current & ATIME) } else { wanted }
}

/// The option string: at most a page, cut at its NUL; what is not readable behind its start does not matter.
fn read_options(cx: &Ctx<'_>, data: GuestAddr) -> Result<Vec<u8>> {
    if data.is_null() {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; PAGE_SIZE as usize];
    let done = cx.memory().read_partial(data, &mut bytes)?;
    let end = bytes.iter().take(done).position(|byte| *byte == 0).unwrap_or(done);
    bytes.truncate(end);
    Ok(bytes)
}

fn read_string(cx: &Ctx<'_>, addr: GuestAddr) -> Result<Option<Vec<u8>>> {
    if addr.is_null() {
        return Ok(None);
    }
    match chitin_mm::guest_memory::read_cstring(cx.memory(), addr, PATH_MAX) {
        Err(Errno::ENAMETOOLONG) => Err(Errno::EINVAL),
        other => other.map(Some),
    }
}

/// What `mount(2)` is asked for.
struct Request {
    source: Option<Vec<u8>>,
    kind: Option<Vec<u8>>,
    flags: u32,
    options: Vec<u8>,
}

/// `mount(2)`.
pub fn mount(
    cx: &mut Ctx<'_>,
    source: PathPtr,
    target: PathPtr,
    kind: PathPtr,
    flags: LongFlags,
    data: GuestAddr,
) -> SysResult {
    let kind = read_string(cx, kind.0)?;
    let source = read_string(cx, source.0)?;
    let options = read_options(cx, data)?;
    let mut flags = flags.0 as u32;
    if flags & MS_MGC_MSK == MS_MGC_VAL {
        flags &= !MS_MGC_MSK;
    }
    let caller = cx.path_caller();
    let at = cx.lookup(&caller, target.0, true)?;
    if flags & MS_NOUSER != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mounts = own_mounts(cx)?;
    let request = Request { source, kind, flags, options };
    carry_out(cx, &caller, &mounts, &at, &request)?;
    Ok(0)
}

fn carry_out(
    cx: &Ctx<'_>,
    caller: &PathCaller,
    mounts: &MountNamespace,
    at: &Path,
    request: &Request,
) -> Result<()> {
    let flags = request.flags;
    if flags & (MS_REMOUNT | MS_BIND) == MS_REMOUNT | MS_BIND {
        let wanted = remount_flags(flags, at.mount().flags());
        return mounts.set_flags(at, MountFlags::all(), wanted, false);
    }
    if flags & MS_REMOUNT != 0 {
        let wanted = remount_flags(flags, at.mount().flags());
        return mounts.remount(at, wanted, flags & MS_RDONLY != 0, &request.options);
    }
    if flags & MS_BIND != 0 {
        return mounts.bind(&old_path(caller, request)?, at, flags & MS_REC != 0).map(drop);
    }
    if flags & PROPAGATION != 0 {
        return mounts.set_propagation(at, propagation(flags)?, flags & MS_REC != 0);
    }
    if flags & MS_MOVE != 0 {
        return mounts.move_mount(&old_path(caller, request)?, at);
    }
    new_mount(cx, caller, mounts, at, request)
}

fn old_path(caller: &PathCaller, request: &Request) -> Result<Path> {
    match &request.source {
        Some(source) if !source.is_empty() => caller.walk().lookup(source, true),
        _ => Err(Errno::EINVAL),
    }
}

/// The one kind of propagation that `MS_…` flags name.
///
/// # Errors
/// EINVAL for none, several, or anything else besides `MS_REC` and `MS_SILENT`.
pub fn propagation(flags: u32) -> Result<Propagation> {
    match flags & !(MS_REC | MS_SILENT) {
        MS_SHARED => Ok(Propagation::Shared),
        MS_PRIVATE => Ok(Propagation::Private),
        MS_SLAVE => Ok(Propagation::Slave),
        MS_UNBINDABLE => Ok(Propagation::Unbindable),
        _ => Err(Errno::EINVAL),
    }
}

fn new_mount(
    cx: &Ctx<'_>,
    caller: &PathCaller,
    mounts: &MountNamespace,
    at: &Path,
    request: &Request,
) -> Result<()> {
    let kind = request.kind.as_deref().ok_or(Errno::EINVAL)?;
    let source = request.source.clone().unwrap_or_default();
    let (super_block, root) =
        fs_type(cx, kind)?.mount(&source, &request.options, &caller.walk())?;
    if request.flags & MS_RDONLY != 0 {
        super_block.set_read_only(true);
    }
    mounts
        .mount(at, NewMount { super_block, root, flags: mount_flags(request.flags), source })
        .map(drop)
}

/// `umount2(2)`.
pub fn umount2(cx: &mut Ctx<'_>, target: PathPtr, flags: Flags) -> SysResult {
    if flags.0 & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = {
        let caller = cx.path_caller();
        cx.lookup(&caller, target.0, flags.0 & UMOUNT_NOFOLLOW == 0)?
    };
    let mounts = own_mounts(cx)?;
    if flags.0 & MNT_EXPIRE != 0 && flags.0 & (MNT_FORCE | MNT_DETACH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    mounts.unmount(&path, flags.0)?;
    Ok(0)
}

/// `pivot_root(2)`.
pub fn pivot_root(cx: &mut Ctx<'_>, new_root: PathPtr, put_old: PathPtr) -> SysResult {
    let mounts = own_mounts(cx)?;
    let caller = cx.path_caller();
    let directory = |pointer: PathPtr| {
        let path = cx.lookup(&caller, pointer.0, true)?;
        if path.inode().attr()?.is_dir() { Ok(path) } else { Err(Errno::ENOTDIR) }
    };
    let new_root = directory(new_root)?;
    let put_old = directory(put_old)?;
    let old_root = caller.root().clone();
    mounts.pivot_root(&new_root, &put_old, &old_root)?;
    // Whoever was at the old root is at the new one now.
    let tasks: Vec<_> = cx.kernel().tree.lock().tasks().cloned().collect();
    for task in tasks.iter().filter(|task| Arc::ptr_eq(&task.namespaces().mount, &mounts)) {
        let fs = task.fs();
        if fs.root() == old_root {
            fs.set_root(new_root.clone());
        }
        if fs.cwd() == old_root {
            fs.set_cwd(new_root.clone());
        }
    }
    Ok(0)
}

/// `sysfs(2)`: file-system types by number.
pub fn sysfs(cx: &mut Ctx<'_>, option: i32, first: u64, second: GuestAddr) -> SysResult {
    let types = cx.kernel().vfs.fs_types.list();
    match option {
        1 => {
            let name = cx.read_path(GuestAddr(first))?;
            let index = types
                .iter()
                .position(|(known, _)| known.as_bytes() == name)
                .ok_or(Errno::EINVAL)?;
            Ok(index as u64)
        }
        2 => {
            let index = usize::try_from(first as u32).map_err(|_| Errno::EINVAL)?;
            let (name, _) = types.get(index).ok_or(Errno::EINVAL)?;
            let mut bytes = name.clone().into_bytes();
            bytes.push(0);
            cx.memory().write(second, &bytes)?;
            Ok(0)
        }
        3 => Ok(types.len() as u64),
        _ => Err(Errno::EINVAL.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_times_are_relative_unless_said_otherwise() {
        assert_eq!(mount_flags(0), MountFlags::REL_ATIME);
        assert_eq!(mount_flags(MS_NOATIME), MountFlags::NO_ATIME);
        assert_eq!(mount_flags(MS_STRICTATIME), MountFlags::empty());
        assert_eq!(
            mount_flags(MS_RDONLY | MS_NOEXEC),
            MountFlags::READ_ONLY | MountFlags::NO_EXEC | MountFlags::REL_ATIME
        );
        let current = MountFlags::NO_ATIME | MountFlags::NO_SUID;
        assert_eq!(remount_flags(MS_RDONLY, current), MountFlags::READ_ONLY | MountFlags::NO_ATIME);
        assert_eq!(remount_flags(MS_RELATIME, current), MountFlags::REL_ATIME);
    }

    #[test]
    fn one_kind_of_propagation() {
        assert_eq!(propagation(MS_SLAVE | MS_REC | MS_SILENT), Ok(Propagation::Slave));
        assert_eq!(propagation(MS_SLAVE | MS_SHARED), Err(Errno::EINVAL));
        assert_eq!(propagation(MS_PRIVATE | MS_RDONLY), Err(Errno::EINVAL));
    }
}
