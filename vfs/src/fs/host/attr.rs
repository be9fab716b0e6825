//! Attributes of host files, and their inode numbers as the guest sees them.

use std::os::fd::BorrowedFd;

use chitin_abi::Result;
use chitin_abi::fs::makedev;
use chitin_abi::time::Timespec;
use rustix::fs::{AtFlags, Statx, StatxFlags, StatxTimestamp};

use crate::attr::Attr;
use crate::host_errno::from_host;

/// What identifies a file on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostId {
    pub dev: u64,
    pub ino: u64,
}

const MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// The attributes of an open file.
pub(super) fn statx_fd(fd: BorrowedFd<'_>) -> Result<Statx> {
    statx_at(fd, b"", AtFlags::EMPTY_PATH)
}

/// The attributes of an entry (never of what a link points to), or of the descriptor itself for an empty name.
pub(super) fn statx_at(fd: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<Statx> {
    let flags = flags | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(fd, name, flags, MASK).map_err(from_host)
}

pub(super) fn id(stat: &Statx) -> HostId {
    HostId { dev: makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino }
}

pub(super) fn mode(stat: &Statx) -> u32 {
    u32::from(stat.stx_mode)
}

fn time(time: StatxTimestamp) -> Timespec {
    Timespec { tv_sec: time.tv_sec, tv_nsec: i64::from(time.tv_nsec) }
}

/// The guest's view of host attributes.
pub(super) fn convert(stat: &Statx, dev: u64, ino: u64) -> Attr {
    Attr {
        dev,
        ino,
        mode: mode(stat),
        nlink: u64::from(stat.stx_nlink),
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        rdev: makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        size: stat.stx_size,
        blksize: stat.stx_blksize,
        blocks: stat.stx_blocks,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        btime: time(stat.stx_btime),
    }
}

/// Bits of an inode number that are the host's where the tree spans several host devices.
const INO_BITS: u32 = 48;

/// The guest's inode number of a host file: the host's own on the root's device (index 0), else the host's
/// with the device's index above it.
pub(super) fn guest_ino(id: HostId, device_index: u64) -> u64 {
    if device_index == 0 {
        return id.ino;
    }
    if id.ino >> INO_BITS == 0 && device_index >> (63 - INO_BITS) == 0 {
        return id.ino | (device_index << INO_BITS);
    }
    let mixed = (id.ino ^ device_index.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed | (1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_other_devices_differ() {
        let id = HostId { dev: 1, ino: 42 };
        let large = HostId { dev: 1, ino: 1 << 50 };
        let all = [
            guest_ino(id, 0),
            guest_ino(id, 1),
            guest_ino(id, 2),
            guest_ino(large, 0),
            guest_ino(large, 1),
        ];
        assert_eq!(all[0], 42);
        assert_eq!(all[3], 1 << 50);
        for (index, number) in all.iter().enumerate() {
            assert!(!all[..index].contains(number));
        }
    }
}
