//! Attributes in the terms of the protocol and in those of the VFS.

use chitin_abi::fs::{
    DT_BLK, DT_CHR, DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN, S_IFDIR, S_IFLNK, S_IFMT,
};
use chitin_abi::time::Timespec;
use chitin_gofer_proto::message::{
    Attr as WireAttr, GETATTR_ALL, NewFile as WireNewFile, QID_DIR, QID_FILE, QID_LINK, Qid,
    SetAttr as WireSetAttr, SetAttrMask, StatFs, Time,
};

use crate::attr::{Attr, NewFile, SetAttr};
use crate::super_block::FsStats;

fn to_wire_time(time: Timespec) -> Time {
    Time { sec: time.tv_sec.cast_unsigned(), nsec: time.tv_nsec.cast_unsigned() }
}

fn from_wire_time(time: Time) -> Timespec {
    // Nothing that the rest of the kernel could stumble over, whatever a server says.
    let tv_nsec = i64::try_from(time.nsec.min(999_999_999)).unwrap_or(0);
    Timespec { tv_sec: time.sec.cast_signed(), tv_nsec }
}

/// The identity of a file of this mode.
pub(super) fn qid(mode: u32, ino: u64) -> Qid {
    let kind = match mode & S_IFMT {
        S_IFDIR => QID_DIR,
        S_IFLNK => QID_LINK,
        _ => QID_FILE,
    };
    Qid { kind, version: 0, path: ino }
}

/// A server's attributes for the wire.
pub(super) fn to_wire(attr: &Attr) -> WireAttr {
    WireAttr {
        valid: GETATTR_ALL,
        qid: qid(attr.mode, attr.ino),
        mode: attr.mode,
        uid: attr.uid,
        gid: attr.gid,
        nlink: attr.nlink,
        rdev: attr.rdev,
        size: attr.size,
        block_size: u64::from(attr.blksize),
        blocks: attr.blocks,
        atime: to_wire_time(attr.atime),
        mtime: to_wire_time(attr.mtime),
        ctime: to_wire_time(attr.ctime),
        btime: to_wire_time(attr.btime),
        gen_number: 0,
        data_version: 0,
    }
}

/// Attributes from the wire, of a file of the file system with this device number.
pub(super) fn from_wire(attr: &WireAttr, dev: u64) -> Attr {
    Attr {
        dev,
        ino: attr.qid.path,
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        size: attr.size.min(i64::MAX.cast_unsigned()),
        blksize: u32::try_from(attr.block_size.clamp(512, 1 << 30)).unwrap_or(4096),
        blocks: attr.blocks,
        atime: from_wire_time(attr.atime),
        mtime: from_wire_time(attr.mtime),
        ctime: from_wire_time(attr.ctime),
        btime: from_wire_time(attr.btime),
    }
}

/// A change of attributes for the wire.
pub(super) fn change_to_wire(change: &SetAttr) -> WireSetAttr {
    let mut valid = SetAttrMask::empty();
    valid.set(SetAttrMask::MODE, change.mode.is_some());
    valid.set(SetAttrMask::UID, change.uid.is_some());
    valid.set(SetAttrMask::GID, change.gid.is_some());
    valid.set(SetAttrMask::SIZE, change.size.is_some());
    valid.set(SetAttrMask::ATIME | SetAttrMask::ATIME_SET, change.atime.is_some());
    valid.set(SetAttrMask::MTIME | SetAttrMask::MTIME_SET, change.mtime.is_some());
    WireSetAttr {
        valid,
        mode: change.mode.unwrap_or(0),
        uid: change.uid.unwrap_or(0),
        gid: change.gid.unwrap_or(0),
        size: change.size.unwrap_or(0),
        atime: change.atime.map(to_wire_time).unwrap_or_default(),
        mtime: change.mtime.map(to_wire_time).unwrap_or_default(),
    }
}

/// A change of attributes from the wire; a time that is not given is `now`.
pub(super) fn change_from_wire(change: &WireSetAttr, now: Timespec) -> SetAttr {
    let has = |bit| change.valid.contains(bit);
    let time = |bit, set, time| match (has(bit), has(set)) {
        (true, true) => Some(from_wire_time(time)),
        (true, false) => Some(now),
        (false, _) => None,
    };
    SetAttr {
        mode: has(SetAttrMask::MODE).then_some(change.mode & 0o7777),
        uid: has(SetAttrMask::UID).then_some(change.uid),
        gid: has(SetAttrMask::GID).then_some(change.gid),
        size: has(SetAttrMask::SIZE).then_some(change.size),
        atime: time(SetAttrMask::ATIME, SetAttrMask::ATIME_SET, change.atime),
        mtime: time(SetAttrMask::MTIME, SetAttrMask::MTIME_SET, change.mtime),
    }
}

/// A new file for the wire.
pub(super) fn new_to_wire(new: &NewFile) -> WireNewFile {
    WireNewFile { mode: new.mode, uid: new.uid, gid: new.gid, rdev: new.rdev }
}

/// A new file from the wire.
pub(super) fn new_from_wire(new: &WireNewFile) -> NewFile {
    NewFile { mode: new.mode, uid: new.uid, gid: new.gid, rdev: new.rdev }
}

/// Numbers of a file system from the wire.
pub(super) fn fs_stats(stats: &StatFs) -> FsStats {
    FsStats {
        magic: u64::from(stats.kind),
        block_size: u64::from(stats.block_size),
        blocks: stats.blocks,
        blocks_free: stats.blocks_free,
        blocks_available: stats.blocks_available,
        files: stats.files,
        files_free: stats.files_free,
        name_max: u64::from(stats.name_length),
    }
}

/// Numbers of a file system for the wire.
pub(super) fn fs_stats_to_wire(stats: &FsStats) -> StatFs {
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    StatFs {
        kind: stats.magic as u32,
        block_size: narrow(stats.block_size),
        blocks: stats.blocks,
        blocks_free: stats.blocks_free,
        blocks_available: stats.blocks_available,
        files: stats.files,
        files_free: stats.files_free,
        fsid: 0,
        name_length: narrow(stats.name_max),
    }
}

/// The mode bits of a type of directory entry, as far as a qid shows it.
pub(super) fn qid_of_entry(kind: u8, ino: u64) -> Qid {
    let kind = match kind {
        DT_DIR => QID_DIR,
        DT_LNK => QID_LINK,
        _ => QID_FILE,
    };
    Qid { kind, version: 0, path: ino }
}

/// The type of a directory entry if it is one.
pub(super) fn entry_kind(kind: u8) -> u8 {
    match kind {
        DT_REG | DT_DIR | DT_LNK | DT_FIFO | DT_SOCK | DT_CHR | DT_BLK => kind,
        _ => DT_UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_the_wire() {
        let time = Timespec { tv_sec: -5, tv_nsec: 999_999_999 };
        let attr = Attr { ino: 9, size: 77, uid: 3, mtime: time, ..Attr::empty(S_IFDIR | 0o755) };
        let back = from_wire(&to_wire(&attr), 42);
        assert_eq!((back.dev, back.ino, back.size, back.uid, back.mode), (42, 9, 77, 3, attr.mode));
        assert_eq!((back.mtime.tv_sec, back.mtime.tv_nsec), (-5, 999_999_999));
        let change = SetAttr { uid: Some(5), mtime: Some(time), ..SetAttr::default() };
        let back = change_from_wire(&change_to_wire(&change), Timespec::default());
        assert_eq!((back.uid, back.gid, back.size), (Some(5), None, None));
        assert_eq!(back.mtime.map(|time| time.tv_sec), Some(-5));
        let wild = Time { sec: u64::MAX, nsec: u64::MAX };
        assert_eq!(from_wire_time(wild).tv_nsec, 999_999_999);
    }
}
