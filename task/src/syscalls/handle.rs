//! File handles: `name_to_handle_at(2)`, `open_by_handle_at(2)`.

use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_HANDLE_CONNECTABLE, AT_HANDLE_FID, AT_HANDLE_MNT_ID_UNIQUE,
    AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, FileHandle, MAX_HANDLE_SZ, O_CLOEXEC, OpenFlags,
};
use chitin_abi::process::CAP_DAC_READ_SEARCH;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::handle::{FID_TYPE, HANDLE_LEN, HANDLE_TYPE, find, give};
use chitin_vfs::path::Path;

use super::args::{AtFlags, Fd, OpenMode, PathPtr};
use super::at::Target;
use crate::context::Ctx;
use crate::error::SysResult;

const HEADER: u64 = size_of::<FileHandle>() as u64;

/// `name_to_handle_at(2)`.
pub fn name_to_handle_at(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    pathname: PathPtr,
    handle: GuestAddr,
    mount_id: GuestAddr,
    flags: AtFlags,
) -> SysResult {
    let handle_flags = AT_HANDLE_FID | AT_HANDLE_MNT_ID_UNIQUE | AT_HANDLE_CONNECTABLE;
    let only_identifies = flags.0 & AT_HANDLE_FID != 0;
    if flags.0 & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | handle_flags) != 0
        || (only_identifies && flags.0 & AT_HANDLE_CONNECTABLE != 0)
    {
        return Err(Errno::EINVAL.into());
    }
    let follow = if flags.0 & AT_SYMLINK_FOLLOW == 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let how = (flags.0 & AT_EMPTY_PATH) | follow;
    let target = cx.target_at(&cx.path_caller(), dirfd.0, pathname.0, how)?;
    let path = target.path().ok_or(Errno::EOPNOTSUPP)?;
    let exports = path.mount().super_block().fs().exports();
    if !exports && !only_identifies {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let mut header: FileHandle = cx.read(handle)?;
    if header.handle_bytes > MAX_HANDLE_SZ {
        return Err(Errno::EINVAL.into());
    }
    let fits = header.handle_bytes as usize >= HANDLE_LEN;
    header = FileHandle {
        handle_bytes: HANDLE_LEN as u32,
        handle_type: if exports { HANDLE_TYPE } else { FID_TYPE },
    };
    if flags.0 & AT_HANDLE_MNT_ID_UNIQUE != 0 {
        cx.write(mount_id, &path.mount().unique_id())?;
    } else {
        cx.write(mount_id, &path.mount().id())?;
    }
    cx.write(handle, &header)?;
    if !fits {
        return Err(Errno::EOVERFLOW.into());
    }
    cx.memory().write(GuestAddr(handle.0.wrapping_add(HEADER)), &give(path.dentry())?)?;
    Ok(0)
}

/// The mount that a handle's file is to be seen through.
fn mount_of(cx: &Ctx<'_>, mount_fd: i32) -> Result<Path> {
    if mount_fd == AT_FDCWD {
        return Ok(cx.path_caller().walk().base);
    }
    match Target::File(cx.any_file(mount_fd)?).path() {
        Some(path) => Ok(path.clone()),
        None => Err(Errno::ESTALE),
    }
}

/// `open_by_handle_at(2)`.
pub fn open_by_handle_at(
    cx: &mut Ctx<'_>,
    mount_fd: Fd,
    handle: GuestAddr,
    flags: OpenMode,
) -> SysResult {
    if !cx.task.cred().capable_initial(CAP_DAC_READ_SEARCH) {
        return Err(Errno::EPERM.into());
    }
    let mount = mount_of(cx, mount_fd.0)?;
    let header: FileHandle = cx.read(handle)?;
    if header.handle_bytes == 0 || header.handle_bytes > MAX_HANDLE_SZ || header.handle_type < 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes = vec![0; header.handle_bytes as usize];
    cx.memory().read(GuestAddr(handle.0.wrapping_add(HEADER)), &mut bytes)?;
    if header.handle_type != HANDLE_TYPE || bytes.len() != HANDLE_LEN {
        return Err(Errno::ESTALE.into());
    }
    let dentry = find(mount.mount().tree().root(), &bytes)?;
    let path = Path::new(mount.mount().clone(), dentry);
    let flags_to_open = OpenFlags::from_bits_retain(flags.0 & !O_CLOEXEC);
    let caller = cx.path_caller();
    let opened = caller.walk().open_path(&path, flags_to_open)?;
    Ok(cx.install_file(opened.file, flags.0 & O_CLOEXEC != 0)?)
}
