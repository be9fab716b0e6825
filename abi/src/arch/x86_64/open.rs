//! Flags of `open(2)` whose values depend on the processor (x86_64).
//!
//! The names and values are those of the kernel headers.

pub const O_ACCMODE: u32 = 3;
pub const O_APPEND: u32 = 0x400;
pub const O_ASYNC: u32 = 0x2000;
pub const O_CLOEXEC: u32 = 0x80000;
pub const O_CREAT: u32 = 0x40;
pub const O_DIRECT: u32 = 0x4000;
pub const O_DIRECTORY: u32 = 0x10000;
pub const O_DSYNC: u32 = 0x1000;
pub const O_EXCL: u32 = 0x80;
pub const O_LARGEFILE: u32 = 0x8000;
pub const O_NOATIME: u32 = 0x40000;
pub const O_NOCTTY: u32 = 0x100;
pub const O_NOFOLLOW: u32 = 0x20000;
pub const O_NONBLOCK: u32 = 0x800;
pub const O_PATH: u32 = 0x200000;
pub const O_RDONLY: u32 = 0;
pub const O_RDWR: u32 = 2;
pub const O_SYNC: u32 = 0x101000;
pub const O_TMPFILE: u32 = 0x410000;
pub const O_TRUNC: u32 = 0x200;
pub const O_WRONLY: u32 = 1;
