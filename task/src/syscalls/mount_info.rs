//! Facts about mounts: `statmount(2)`, `listmount(2)`.

use chitin_abi::fs::{
    LISTMOUNT_REVERSE, LSMT_ROOT, MNT_ID_REQ_SIZE_VER0, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME,
    MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, MntIdReq, STATMOUNT_FS_TYPE,
    STATMOUNT_MNT_BASIC, STATMOUNT_MNT_NS_ID, STATMOUNT_MNT_OPTS, STATMOUNT_MNT_POINT,
    STATMOUNT_MNT_ROOT, STATMOUNT_PROPAGATE_FROM, STATMOUNT_SB_BASIC, STATMOUNT_SB_SOURCE,
    Statmount, major, minor,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::mount::MountFlags;
use chitin_vfs::namespace::MountInfo;
use zerocopy::IntoBytes;

use super::args::Flags;
use super::open::read_extensible;
use crate::context::Ctx;
use crate::error::SysResult;

/// `sb_flags`: read-only.
const SB_RDONLY: u32 = 1;

fn read_request(cx: &Ctx<'_>, addr: GuestAddr) -> Result<MntIdReq> {
    let size: u32 = cx.read(addr)?;
    let request: MntIdReq =
        read_extensible(cx, addr, size as usize, MNT_ID_REQ_SIZE_VER0 as usize)?;
    // Other namespaces are not looked into.
    if request.mnt_ns_fd != 0 || request.mnt_ns_id != 0 { Err(Errno::EINVAL) } else { Ok(request) }
}

fn visible(cx: &Ctx<'_>) -> Vec<MountInfo> {
    cx.task.namespaces().mount.mounts(&cx.task.fs().root())
}

/// The fixed part and the strings behind it.
#[derive(Default)]
struct Answer {
    fixed: Statmount,
    strings: Vec<u8>,
}

impl Answer {
    fn string(&mut self, mask: u64, bytes: &[u8]) -> u32 {
        self.fixed.mask |= mask;
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(bytes);
        self.strings.push(0);
        offset
    }
}

fn attributes(flags: MountFlags) -> u64 {
    let atime = if flags.contains(MountFlags::NO_ATIME) {
        MOUNT_ATTR_NOATIME
    } else if flags.contains(MountFlags::REL_ATIME) {
        0
    } else {
        MOUNT_ATTR_STRICTATIME
    };
    u64::from((flags - MountFlags::REL_ATIME - MountFlags::NO_ATIME).bits()) | atime
}

fn propagation(info: &MountInfo) -> u64 {
    let mut kind = 0;
    if info.peer_group != 0 {
        kind |= MS_SHARED;
    }
    if info.master != 0 {
        kind |= MS_SLAVE;
    }
    if info.unbindable {
        kind |= MS_UNBINDABLE;
    }
    u64::from(if kind == 0 { MS_PRIVATE } else { kind })
}

fn answer(cx: &Ctx<'_>, info: &MountInfo, wanted: u64) -> Result<Answer> {
    let mount = info.mount.mount();
    let block = mount.super_block();
    let mut answer = Answer::default();
    let fixed = &mut answer.fixed;
    if wanted & STATMOUNT_SB_BASIC != 0 {
        fixed.mask |= STATMOUNT_SB_BASIC;
        (fixed.sb_dev_major, fixed.sb_dev_minor) = (major(block.dev), minor(block.dev));
        fixed.sb_magic = block.fs().stats()?.magic;
        fixed.sb_flags = if block.is_read_only() { SB_RDONLY } else { 0 };
    }
    if wanted & STATMOUNT_MNT_BASIC != 0 {
        fixed.mask |= STATMOUNT_MNT_BASIC;
        fixed.mnt_id = mount.unique_id();
        fixed.mnt_parent_id = info.parent_unique_id;
        (fixed.mnt_id_old, fixed.mnt_parent_id_old) = (mount.id(), info.parent_id);
        fixed.mnt_attr = attributes(mount.flags());
        fixed.mnt_propagation = propagation(info);
        (fixed.mnt_peer_group, fixed.mnt_master) = (info.peer_group, info.master);
    }
    if wanted & STATMOUNT_PROPAGATE_FROM != 0 {
        fixed.mask |= STATMOUNT_PROPAGATE_FROM;
        fixed.propagate_from = info.propagate_from;
    }
    if wanted & STATMOUNT_MNT_NS_ID != 0 {
        fixed.mask |= STATMOUNT_MNT_NS_ID;
        fixed.mnt_ns_id = cx.task.namespaces().mount.id();
    }
    if wanted & STATMOUNT_FS_TYPE != 0 {
        answer.fixed.fs_type = answer.string(STATMOUNT_FS_TYPE, block.fs().name().as_bytes());
    }
    if wanted & STATMOUNT_MNT_ROOT != 0 {
        answer.fixed.mnt_root = answer.string(STATMOUNT_MNT_ROOT, &mount.shown_root());
    }
    if wanted & STATMOUNT_MNT_POINT != 0 {
        let point = info.mount.text(&cx.task.fs().root()).bytes;
        answer.fixed.mnt_point = answer.string(STATMOUNT_MNT_POINT, &point);
    }
    if wanted & STATMOUNT_MNT_OPTS != 0 {
        let options = block.fs().options();
        answer.fixed.mnt_opts =
            answer.string(STATMOUNT_MNT_OPTS, options.trim_start_matches(',').as_bytes());
    }
    if wanted & STATMOUNT_SB_SOURCE != 0 {
        answer.fixed.sb_source = answer.string(STATMOUNT_SB_SOURCE, mount.source());
    }
    Ok(answer)
}

/// `statmount(2)`.
pub fn statmount(
    cx: &mut Ctx<'_>,
    request: GuestAddr,
    buf: GuestAddr,
    size: usize,
    flags: Flags,
) -> SysResult {
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = read_request(cx, request)?;
    let mounts = visible(cx);
    let info = mounts
        .iter()
        .find(|info| info.mount.mount().unique_id() == request.mnt_id)
        .ok_or(Errno::ENOENT)?;
    let mut answer = answer(cx, info, request.param)?;
    let fixed = size_of::<Statmount>();
    let total = fixed.saturating_add(answer.strings.len());
    if !answer.strings.is_empty() && total > size {
        return Err(Errno::EOVERFLOW.into());
    }
    answer.fixed.size = total as u32;
    let known = answer.fixed.as_bytes();
    cx.memory().write(buf, known.get(..fixed.min(size)).unwrap_or(known))?;
    if !answer.strings.is_empty() {
        cx.memory().write(buf.checked_add(fixed as u64).ok_or(Errno::EFAULT)?, &answer.strings)?;
    }
    Ok(0)
}

/// `listmount(2)`.
pub fn listmount(
    cx: &mut Ctx<'_>,
    request: GuestAddr,
    ids: GuestAddr,
    count: usize,
    flags: Flags,
) -> SysResult {
    if flags.0 & !LISTMOUNT_REVERSE != 0 {
        return Err(Errno::EINVAL.into());
    }
    if count > 1_000_000 {
        return Err(Errno::EOVERFLOW.into());
    }
    let request = read_request(cx, request)?;
    let mounts = visible(cx);
    let parent = match request.mnt_id {
        LSMT_ROOT => None,
        id if mounts.iter().any(|info| info.mount.mount().unique_id() == id) => Some(id),
        _ => return Err(Errno::ENOENT.into()),
    };
    let below = |info: &&MountInfo| parent.is_none_or(|parent| info.parent_unique_id == parent);
    let mut found: Vec<u64> =
        mounts.iter().filter(below).map(|info| info.mount.mount().unique_id()).collect();
    found.retain(|id| Some(*id) != parent);
    found.sort_unstable();
    let reverse = flags.0 & LISTMOUNT_REVERSE != 0;
    if reverse {
        found.reverse();
    }
    if request.param != 0 {
        found.retain(|id| if reverse { *id < request.param } else { *id > request.param });
    }
    found.truncate(count);
    cx.memory().write(ids, found.as_bytes())?;
    Ok(found.len() as u64)
}
