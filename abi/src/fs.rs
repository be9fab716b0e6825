//! Files: open flags, modes, `stat(2)`, `fcntl(2)`, mounts, inotify.

pub use crate::arch::open::*;
pub use crate::arch::stat::Stat;
pub use crate::consts::file::*;
pub use crate::consts::fs_ioctl::*;
pub use crate::consts::magic::*;
pub use crate::consts::mount::*;
pub use crate::consts::notify::*;

/// Flags of `open(2)`: access mode and status flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(u32);

bitflags::bitflags! {
    impl OpenFlags: u32 {
        /// `O_ACCMODE`
        const O_ACCMODE = O_ACCMODE;
        /// `O_WRONLY`
        const O_WRONLY = O_WRONLY;
        /// `O_RDWR`
        const O_RDWR = O_RDWR;
        /// `O_CREAT`
        const O_CREAT = O_CREAT;
        /// `O_EXCL`
        const O_EXCL = O_EXCL;
        /// `O_NOCTTY`
        const O_NOCTTY = O_NOCTTY;
        /// `O_TRUNC`
        const O_TRUNC = O_TRUNC;
        /// `O_APPEND`
        const O_APPEND = O_APPEND;
        /// `O_NONBLOCK`
        const O_NONBLOCK = O_NONBLOCK;
        /// `O_DSYNC`
        const O_DSYNC = O_DSYNC;
        /// `O_ASYNC`
        const O_ASYNC = O_ASYNC;
        /// `O_DIRECT`
        const O_DIRECT = O_DIRECT;
        /// `O_LARGEFILE`
        const O_LARGEFILE = O_LARGEFILE;
        /// `O_DIRECTORY`
        const O_DIRECTORY = O_DIRECTORY;
        /// `O_NOFOLLOW`
        const O_NOFOLLOW = O_NOFOLLOW;
        /// `O_NOATIME`
        const O_NOATIME = O_NOATIME;
        /// `O_CLOEXEC`
        const O_CLOEXEC = O_CLOEXEC;
        /// `O_SYNC`
        const O_SYNC = O_SYNC;
        /// `O_PATH`
        const O_PATH = O_PATH;
        /// `O_TMPFILE`
        const O_TMPFILE = O_TMPFILE;
        const _ = !0;
    }
}

/// Longest path with its NUL.
pub const PATH_MAX: usize = 4096;
/// Longest name.
pub const NAME_MAX: usize = 255;

c_struct! {
    /// `struct statx_timestamp`.
    pub struct StatxTimestamp {
        pub tv_sec: i64,
        pub tv_nsec: u32,
        pub reserved: i32,
    }
}

c_struct! {
    /// `struct statx`.
    pub struct Statx {
        pub stx_mask: u32,
        pub stx_blksize: u32,
        pub stx_attributes: u64,
        pub stx_nlink: u32,
        pub stx_uid: u32,
        pub stx_gid: u32,
        pub stx_mode: u16,
        pub pad0: u16,
        pub stx_ino: u64,
        pub stx_size: u64,
        pub stx_blocks: u64,
        pub stx_attributes_mask: u64,
        pub stx_atime: StatxTimestamp,
        pub stx_btime: StatxTimestamp,
        pub stx_ctime: StatxTimestamp,
        pub stx_mtime: StatxTimestamp,
        pub stx_rdev_major: u32,
        pub stx_rdev_minor: u32,
        pub stx_dev_major: u32,
        pub stx_dev_minor: u32,
        pub stx_mnt_id: u64,
        pub stx_dio_mem_align: u32,
        pub stx_dio_offset_align: u32,
        pub stx_subvol: u64,
        pub stx_atomic_write_unit_min: u32,
        pub stx_atomic_write_unit_max: u32,
        pub stx_atomic_write_segments_max: u32,
        pub stx_dio_read_offset_align: u32,
        pub stx_atomic_write_unit_max_opt: u32,
        pub spare0: u32,
        pub spare: [u64; 8],
    }
}

c_struct! {
    /// `struct statfs`.
    pub struct Statfs {
        pub f_type: i64,
        pub f_bsize: i64,
        pub f_blocks: u64,
        pub f_bfree: u64,
        pub f_bavail: u64,
        pub f_files: u64,
        pub f_ffree: u64,
        pub f_fsid: [i32; 2],
        pub f_namelen: i64,
        pub f_frsize: i64,
        pub f_flags: i64,
        pub f_spare: [i64; 4],
    }
}

c_struct! {
    /// `struct flock`.
    pub struct Flock {
        pub l_type: i16,
        pub l_whence: i16,
        pub pad0: u32,
        pub l_start: i64,
        pub l_len: i64,
        pub l_pid: i32,
        pub pad1: u32,
    }
}

c_struct! {
    /// `struct open_how`.
    pub struct OpenHow {
        pub flags: u64,
        pub mode: u64,
        pub resolve: u64,
    }
}

c_struct! {
    /// `struct f_owner_ex`.
    pub struct FOwnerEx {
        pub kind: i32,
        pub pid: i32,
    }
}

c_struct! {
    /// `struct inotify_event` without the name.
    pub struct InotifyEvent {
        pub wd: i32,
        pub mask: u32,
        pub cookie: u32,
        pub len: u32,
    }
}

c_struct! {
    /// `struct mount_attr` of `mount_setattr(2)`.
    pub struct MountAttr {
        pub attr_set: u64,
        pub attr_clr: u64,
        pub propagation: u64,
        pub userns_fd: u64,
    }
}

c_struct! {
    /// `struct mnt_id_req` of `statmount(2)` and `listmount(2)`.
    pub struct MntIdReq {
        pub size: u32,
        pub mnt_ns_fd: u32,
        pub mnt_id: u64,
        pub param: u64,
        pub mnt_ns_id: u64,
    }
}

c_struct! {
    /// `struct statmount` without the strings that follow; a `u32` at a string's name is its offset there.
    pub struct Statmount {
        pub size: u32,
        pub mnt_opts: u32,
        pub mask: u64,
        pub sb_dev_major: u32,
        pub sb_dev_minor: u32,
        pub sb_magic: u64,
        pub sb_flags: u32,
        pub fs_type: u32,
        pub mnt_id: u64,
        pub mnt_parent_id: u64,
        pub mnt_id_old: u32,
        pub mnt_parent_id_old: u32,
        pub mnt_attr: u64,
        pub mnt_propagation: u64,
        pub mnt_peer_group: u64,
        pub mnt_master: u64,
        pub propagate_from: u64,
        pub mnt_root: u32,
        pub mnt_point: u32,
        pub mnt_ns_id: u64,
        pub fs_subtype: u32,
        pub sb_source: u32,
        pub opt_num: u32,
        pub opt_array: u32,
        pub opt_sec_num: u32,
        pub opt_sec_array: u32,
        pub supported_mask: u64,
        pub mnt_uidmap_num: u32,
        pub mnt_uidmap: u32,
        pub mnt_gidmap_num: u32,
        pub mnt_gidmap: u32,
        pub spare0: [u64; 32],
        pub spare1: [u64; 11],
    }
}

c_struct! {
    /// `struct file_handle` without the handle itself.
    pub struct FileHandle {
        pub handle_bytes: u32,
        pub handle_type: i32,
    }
}

c_struct! {
    /// `struct fsxattr`: what `FS_IOC_FSGETXATTR` reports.
    pub struct FsXattr {
        pub fsx_xflags: u32,
        pub fsx_extsize: u32,
        pub fsx_nextents: u32,
        pub fsx_projid: u32,
        pub fsx_cowextsize: u32,
        pub fsx_pad: [u8; 8],
    }
}

c_struct! {
    /// `struct file_attr` of `file_getattr(2)`.
    pub struct FileAttr {
        pub fa_xflags: u64,
        pub fa_extsize: u32,
        pub fa_nextents: u32,
        pub fa_projid: u32,
        pub fa_cowextsize: u32,
    }
}

c_struct! {
    /// `struct xattr_args` of `setxattrat(2)` and `getxattrat(2)`.
    pub struct XattrArgs {
        pub value: u64,
        pub size: u32,
        pub flags: u32,
    }
}

c_struct! {
    /// `struct file_clone_range` of `FICLONERANGE`.
    pub struct FileCloneRange {
        pub src_fd: i64,
        pub src_offset: u64,
        pub src_length: u64,
        pub dest_offset: u64,
    }
}

c_struct! {
    /// `struct utimbuf`.
    pub struct Utimbuf {
        pub actime: i64,
        pub modtime: i64,
    }
}

c_struct! {
    /// `struct fanotify_event_metadata`.
    pub struct FanotifyEventMetadata {
        pub event_len: u32,
        pub vers: u8,
        pub reserved: u8,
        pub metadata_len: u16,
        pub mask: u64,
        pub fd: i32,
        pub pid: i32,
    }
}

c_struct! {
    /// `struct cachestat_range`.
    pub struct CachestatRange {
        pub off: u64,
        pub len: u64,
    }
}

c_struct! {
    /// `struct cachestat`.
    pub struct Cachestat {
        pub nr_cache: u64,
        pub nr_dirty: u64,
        pub nr_writeback: u64,
        pub nr_evicted: u64,
        pub nr_recently_evicted: u64,
    }
}

c_struct! {
    /// `struct vfs_ns_cap_data`: the value of `security.capability`; version 2 ends before `rootid`.
    pub struct VfsCapData {
        pub magic_etc: u32,
        pub permitted_low: u32,
        pub inheritable_low: u32,
        pub permitted_high: u32,
        pub inheritable_high: u32,
        pub rootid: u32,
    }
}

/// Bytes of `struct linux_dirent64` before the name: inode, offset, record length, type.
pub const DIRENT64_NAME_OFFSET: usize = 19;
/// Bytes of `struct linux_dirent` before the name; the type is the record's last byte.
pub const DIRENT_NAME_OFFSET: usize = 18;
/// Prefix of the attributes that users set.
pub const XATTR_USER_PREFIX: &str = "user.";
/// Prefix of the attributes that need `CAP_SYS_ADMIN`.
pub const XATTR_TRUSTED_PREFIX: &str = "trusted.";
/// Prefix of the attributes of security modules.
pub const XATTR_SECURITY_PREFIX: &str = "security.";
/// Prefix of the attributes that the file system defines.
pub const XATTR_SYSTEM_PREFIX: &str = "system.";
/// The attribute that holds file capabilities ([`VfsCapData`]).
pub const XATTR_NAME_CAPS: &str = "security.capability";
/// The attribute that holds the access control list.
pub const XATTR_NAME_POSIX_ACL_ACCESS: &str = "system.posix_acl_access";
/// The attribute that holds the default access control list of a directory.
pub const XATTR_NAME_POSIX_ACL_DEFAULT: &str = "system.posix_acl_default";
/// Most symbolic links that a path walk follows.
pub const MAXSYMLINKS: u32 = 40;

impl OpenFlags {
    /// `O_RDONLY`, `O_WRONLY`, `O_RDWR` or the fourth value, which grants neither reading nor writing.
    pub const fn access_mode(self) -> u32 {
        self.bits() & O_ACCMODE
    }

    /// Whether the descriptor may be read from.
    pub const fn is_readable(self) -> bool {
        matches!(self.access_mode(), O_RDONLY | O_RDWR) && !self.contains(Self::O_PATH)
    }

    /// Whether the descriptor may be written to.
    pub const fn is_writable(self) -> bool {
        matches!(self.access_mode(), O_WRONLY | O_RDWR) && !self.contains(Self::O_PATH)
    }
}

/// A device number of its parts, as `st_rdev` holds it.
pub const fn makedev(major: u32, minor: u32) -> u64 {
    ((major as u64 & 0xfff) << 8)
        | (minor as u64 & 0xff)
        | ((minor as u64 & !0xff) << 12)
        | ((major as u64 & !0xfff) << 32)
}

/// The major part of a device number.
pub const fn major(dev: u64) -> u32 {
    (((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)) as u32
}

/// The minor part of a device number.
pub const fn minor(dev: u64) -> u32 {
    ((dev & 0xff) | ((dev >> 12) & !0xff)) as u32
}

/// The `DT_…` of a mode.
pub const fn dirent_type(mode: u32) -> u8 {
    ((mode & S_IFMT) >> 12) as u8
}
