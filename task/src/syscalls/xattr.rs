//! Extended attributes: `setxattr(2)`, `getxattr(2)`, `listxattr(2)`, `removexattr(2)` and their kin.

use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, XATTR_CREATE, XATTR_LIST_MAX, XATTR_NAME_MAX,
    XATTR_REPLACE, XATTR_SIZE_MAX, XattrArgs,
};
use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::path::Path;
use chitin_vfs::walk::Walk;

use super::args::{AtFlags, BytesIn, BytesOut, Fd, Flags, PathPtr};
use super::at::Target;
use super::open::read_extensible;
use crate::context::Ctx;
use crate::error::SysResult;

/// The name of an attribute.
fn read_name(cx: &Ctx<'_>, addr: GuestAddr) -> Result<Vec<u8>> {
    let longest = XATTR_NAME_MAX as usize;
    let name = chitin_mm::guest_memory::read_cstring(cx.memory(), addr, longest.saturating_add(1));
    match name {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(_) | Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        Err(error) => Err(error),
    }
}

/// What a call is about, and does something with it.
fn with_target<T>(
    cx: &Ctx<'_>,
    target: &Target,
    action: impl FnOnce(&Walk<'_>, &Path) -> Result<T>,
) -> Result<T> {
    let path = target.path().ok_or(Errno::EOPNOTSUPP)?;
    action(&cx.path_caller().walk(), path)
}

fn by_path(cx: &Ctx<'_>, path: PathPtr, follow: bool) -> Result<Target> {
    cx.lookup(&cx.path_caller(), path.0, follow).map(Target::Path)
}

fn by_fd(cx: &Ctx<'_>, fd: Fd) -> Result<Target> {
    cx.file(fd.0).map(Target::File)
}

fn by_at(cx: &Ctx<'_>, dirfd: Fd, path: PathPtr, flags: AtFlags) -> Result<Target> {
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let target = cx.target_at(&cx.path_caller(), dirfd.0, path.0, flags.0)?;
    match &target {
        Target::File(file) if file.is_path_only() && dirfd.0 != AT_FDCWD => Err(Errno::EBADF),
        _ => Ok(target),
    }
}

/// What is to be set, read before the file is looked up.
struct Value {
    name: Vec<u8>,
    bytes: Vec<u8>,
    flags: u32,
}

fn read_value(
    cx: &Ctx<'_>,
    name: PathPtr,
    value: GuestAddr,
    size: usize,
    flags: u32,
) -> Result<Value> {
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = read_name(cx, name.0)?;
    if size > XATTR_SIZE_MAX as usize {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    cx.memory().read(value, &mut bytes)?;
    Ok(Value { name, bytes, flags })
}

/// What a name is answered with on a pipe, a socket and the like: users have no attributes on them, and those of
/// the system are not theirs.
fn unnamed(cx: &Ctx<'_>, target: &Target, name: &[u8], change: bool) -> Result<()> {
    if target.path().is_some() {
        return Ok(());
    }
    let trusted = cx.task.cred().capable_initial(CAP_SYS_ADMIN);
    let closed = match name {
        name if name.starts_with(b"user.") => true,
        name if name.starts_with(b"trusted.") => !trusted,
        name if name.starts_with(b"security.") => !trusted && change,
        _ => false,
    };
    match (closed, change) {
        (true, true) => Err(Errno::EPERM),
        (true, false) => Err(Errno::ENODATA),
        (false, _) => Ok(()),
    }
}

fn set(cx: &Ctx<'_>, target: &Target, value: &Value) -> SysResult {
    unnamed(cx, target, &value.name, true)?;
    with_target(cx, target, |walk, path| {
        walk.set_xattr(path, &value.name, &value.bytes, value.flags)
    })?;
    Ok(0)
}

/// Hands out bytes: only their number for a size of 0.
fn hand_out(cx: &Ctx<'_>, bytes: &[u8], to: GuestAddr, size: usize) -> SysResult {
    if size == 0 {
        return Ok(bytes.len() as u64);
    }
    if size < bytes.len() {
        return Err(Errno::ERANGE.into());
    }
    cx.memory().write(to, bytes)?;
    Ok(bytes.len() as u64)
}

fn get(cx: &Ctx<'_>, target: &Target, name: &[u8], to: GuestAddr, size: usize) -> SysResult {
    unnamed(cx, target, name, false)?;
    let value = with_target(cx, target, |walk, path| walk.get_xattr(path, name))?;
    hand_out(cx, &value, to, size)
}

fn list(cx: &Ctx<'_>, target: &Target, to: GuestAddr, size: usize) -> SysResult {
    let names = match with_target(cx, target, |walk, path| walk.list_xattr(path)) {
        Err(Errno::EOPNOTSUPP) => Vec::new(),
        names => names?,
    };
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend_from_slice(&name);
        bytes.push(0);
    }
    if bytes.len() > XATTR_LIST_MAX as usize {
        return Err(Errno::E2BIG.into());
    }
    hand_out(cx, &bytes, to, size)
}

fn remove(cx: &Ctx<'_>, target: &Target, name: &[u8]) -> SysResult {
    unnamed(cx, target, name, true)?;
    with_target(cx, target, |walk, path| walk.remove_xattr(path, name))?;
    Ok(0)
}

/// `setxattr(2)`.
pub fn setxattr(
    cx: &mut Ctx<'_>,
    path: PathPtr,
    name: PathPtr,
    value: BytesIn,
    size: usize,
    flags: Flags,
) -> SysResult {
    let value = read_value(cx, name, value.0, size, flags.0)?;
    set(cx, &by_path(cx, path, true)?, &value)
}

/// `lsetxattr(2)`.
pub fn lsetxattr(
    cx: &mut Ctx<'_>,
    path: PathPtr,
    name: PathPtr,
    value: BytesIn,
    size: usize,
    flags: Flags,
) -> SysResult {
    let value = read_value(cx, name, value.0, size, flags.0)?;
    set(cx, &by_path(cx, path, false)?, &value)
}

/// `fsetxattr(2)`.
pub fn fsetxattr(
    cx: &mut Ctx<'_>,
    fd: Fd,
    name: PathPtr,
    value: BytesIn,
    size: usize,
    flags: Flags,
) -> SysResult {
    let value = read_value(cx, name, value.0, size, flags.0)?;
    set(cx, &by_fd(cx, fd)?, &value)
}

/// `getxattr(2)`.
pub fn getxattr(
    cx: &mut Ctx<'_>,
    path: PathPtr,
    name: PathPtr,
    value: BytesOut,
    size: usize,
) -> SysResult {
    let name = read_name(cx, name.0)?;
    get(cx, &by_path(cx, path, true)?, &name, value.0, size)
}

/// `lgetxattr(2)`.
pub fn lgetxattr(
    cx: &mut Ctx<'_>,
    path: PathPtr,
    name: PathPtr,
    value: BytesOut,
    size: usize,
) -> SysResult {
    let name = read_name(cx, name.0)?;
    get(cx, &by_path(cx, path, false)?, &name, value.0, size)
}

/// `fgetxattr(2)`.
pub fn fgetxattr(
    cx: &mut Ctx<'_>,
    fd: Fd,
    name: PathPtr,
    value: BytesOut,
    size: usize,
) -> SysResult {
    let target = by_fd(cx, fd)?;
    let name = read_name(cx, name.0)?;
    get(cx, &target, &name, value.0, size)
}

/// `listxattr(2)`.
pub fn listxattr(cx: &mut Ctx<'_>, path: PathPtr, to: BytesOut, size: usize) -> SysResult {
    list(cx, &by_path(cx, path, true)?, to.0, size)
}

/// `llistxattr(2)`.
pub fn llistxattr(cx: &mut Ctx<'_>, path: PathPtr, to: BytesOut, size: usize) -> SysResult {
    list(cx, &by_path(cx, path, false)?, to.0, size)
}

/// `flistxattr(2)`.
pub fn flistxattr(cx: &mut Ctx<'_>, fd: Fd, to: BytesOut, size: usize) -> SysResult {
    list(cx, &by_fd(cx, fd)?, to.0, size)
}

/// `removexattr(2)`.
pub fn removexattr(cx: &mut Ctx<'_>, path: PathPtr, name: PathPtr) -> SysResult {
    let name = read_name(cx, name.0)?;
    remove(cx, &by_path(cx, path, true)?, &name)
}

/// `lremovexattr(2)`.
pub fn lremovexattr(cx: &mut Ctx<'_>, path: PathPtr, name: PathPtr) -> SysResult {
    let name = read_name(cx, name.0)?;
    remove(cx, &by_path(cx, path, false)?, &name)
}

/// `fremovexattr(2)`.
pub fn fremovexattr(cx: &mut Ctx<'_>, fd: Fd, name: PathPtr) -> SysResult {
    let target = by_fd(cx, fd)?;
    let name = read_name(cx, name.0)?;
    remove(cx, &target, &name)
}

/// `setxattrat(2)`.
pub fn setxattrat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: AtFlags,
    name: PathPtr,
    args: GuestAddr,
    size: usize,
) -> SysResult {
    let args: XattrArgs = read_extensible(cx, args, size, size_of::<XattrArgs>())?;
    let value = read_value(cx, name, GuestAddr(args.value), args.size as usize, args.flags)?;
    set(cx, &by_at(cx, dirfd, path, flags)?, &value)
}

/// `getxattrat(2)`.
pub fn getxattrat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: AtFlags,
    name: PathPtr,
    args: GuestAddr,
    size: usize,
) -> SysResult {
    let args: XattrArgs = read_extensible(cx, args, size, size_of::<XattrArgs>())?;
    if args.flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = read_name(cx, name.0)?;
    get(cx, &by_at(cx, dirfd, path, flags)?, &name, GuestAddr(args.value), args.size as usize)
}

/// `listxattrat(2)`.
pub fn listxattrat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: AtFlags,
    to: BytesOut,
    size: usize,
) -> SysResult {
    list(cx, &by_at(cx, dirfd, path, flags)?, to.0, size)
}

/// `removexattrat(2)`.
pub fn removexattrat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: AtFlags,
    name: PathPtr,
) -> SysResult {
    let name = read_name(cx, name.0)?;
    remove(cx, &by_at(cx, dirfd, path, flags)?, &name)
}
