//! Vectored input and output and event counters: `preadv2(2)`, `eventfd(2)`, `getrandom(2)`, kernel AIO.
//!
//! The names and values are those of the kernel headers.

pub const EFD_CLOEXEC: u32 = 0x80000;
pub const EFD_NONBLOCK: u32 = 0x800;
pub const EFD_SEMAPHORE: u32 = 1;
pub const GRND_INSECURE: u32 = 4;
pub const GRND_NONBLOCK: u32 = 1;
pub const GRND_RANDOM: u32 = 2;
pub const IOCB_CMD_FDSYNC: u32 = 3;
pub const IOCB_CMD_FSYNC: u32 = 2;
pub const IOCB_CMD_NOOP: u32 = 6;
pub const IOCB_CMD_POLL: u32 = 5;
pub const IOCB_CMD_PREAD: u32 = 0;
pub const IOCB_CMD_PREADV: u32 = 7;
pub const IOCB_CMD_PWRITE: u32 = 1;
pub const IOCB_CMD_PWRITEV: u32 = 8;
pub const IOCB_FLAG_IOPRIO: u32 = 2;
pub const IOCB_FLAG_RESFD: u32 = 1;
pub const RNDADDENTROPY: u32 = 0x4008_5203;
pub const RNDADDTOENTCNT: u32 = 0x4004_5201;
pub const RNDCLEARPOOL: u32 = 0x5206;
pub const RNDGETENTCNT: u32 = 0x8004_5200;
pub const RNDGETPOOL: u32 = 0x8008_5202;
pub const RNDRESEEDCRNG: u32 = 0x5207;
pub const RNDZAPENTCNT: u32 = 0x5204;
pub const RWF_APPEND: u32 = 16;
pub const RWF_ATOMIC: u32 = 0x40;
pub const RWF_DONTCACHE: u32 = 0x80;
pub const RWF_DSYNC: u32 = 2;
pub const RWF_HIPRI: u32 = 1;
pub const RWF_NOAPPEND: u32 = 32;
pub const RWF_NOSIGNAL: u32 = 0x100;
pub const RWF_NOWAIT: u32 = 8;
pub const RWF_SUPPORTED: u32 = 511;
pub const RWF_SYNC: u32 = 4;
