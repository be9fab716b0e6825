//! `quotactl(2)` on file systems of which none keeps quotas.

use chitin_abi::fs::S_IFBLK;
use chitin_abi::{Errno, GuestAddr, Result};

use super::args::{Fd, Flags, PathPtr};
use crate::context::Ctx;
use crate::error::SysResult;

/// Users, groups and projects.
const KINDS: u32 = 3;
const Q_SYNC: u32 = 0x80_0001;

fn check_kind(command: u32) -> Result<()> {
    if command & 0xff < KINDS { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `quotactl(2)`.
pub fn quotactl(
    cx: &mut Ctx<'_>,
    op: Flags,
    special: PathPtr,
    _id: i32,
    _addr: GuestAddr,
) -> SysResult {
    check_kind(op.0)?;
    if special.0.is_null() {
        return if op.0 >> 8 == Q_SYNC { Ok(0) } else { Err(Errno::ENODEV.into()) };
    }
    let path = cx.lookup(&cx.path_caller(), special.0, true)?;
    let is_block_device = path.dentry().kind() == S_IFBLK;
    Err(if is_block_device { Errno::ENODEV } else { Errno::ENOTBLK }.into())
}

/// `quotactl_fd(2)`.
pub fn quotactl_fd(cx: &mut Ctx<'_>, fd: Fd, cmd: Flags, _id: i32, _addr: GuestAddr) -> SysResult {
    cx.any_file(fd.0)?;
    check_kind(cmd.0)?;
    Err(Errno::ENOSYS.into())
}
