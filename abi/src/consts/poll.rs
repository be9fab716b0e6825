//! Constants of the `poll` family, with the names and values of the kernel headers (x86_64).

pub const POLLERR: u32 = 8;
pub const POLLFREE: u32 = 0x4000;
pub const POLLHUP: u32 = 16;
pub const POLLIN: u32 = 1;
pub const POLLMSG: u32 = 0x400;
pub const POLLNVAL: u32 = 32;
pub const POLLOUT: u32 = 4;
pub const POLLPRI: u32 = 2;
pub const POLLRDBAND: u32 = 128;
pub const POLLRDHUP: u32 = 0x2000;
pub const POLLRDNORM: u32 = 64;
pub const POLLREMOVE: u32 = 0x1000;
pub const POLLWRBAND: u32 = 0x200;
pub const POLLWRNORM: u32 = 0x100;
