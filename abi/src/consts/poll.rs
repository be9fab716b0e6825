//! Readiness: `poll(2)`, `epoll(7)`.
//!
//! The names and values are those of the kernel headers.

pub const EPIOCGPARAMS: u32 = 0x8008_8a02;
pub const EPIOCSPARAMS: u32 = 0x4008_8a01;
pub const EPOLLERR: u32 = 8;
pub const EPOLLET: u32 = 0x8000_0000;
pub const EPOLLEXCLUSIVE: u32 = 0x1000_0000;
pub const EPOLLHUP: u32 = 16;
pub const EPOLLIN: u32 = 1;
pub const EPOLLMSG: u32 = 0x400;
pub const EPOLLNVAL: u32 = 32;
pub const EPOLLONESHOT: u32 = 0x4000_0000;
pub const EPOLLOUT: u32 = 4;
pub const EPOLLPRI: u32 = 2;
pub const EPOLLRDBAND: u32 = 0x80;
pub const EPOLLRDHUP: u32 = 0x2000;
pub const EPOLLRDNORM: u32 = 0x40;
pub const EPOLLWAKEUP: u32 = 0x2000_0000;
pub const EPOLLWRBAND: u32 = 0x200;
pub const EPOLLWRNORM: u32 = 0x100;
pub const EPOLL_CLOEXEC: u32 = 0x80000;
pub const EPOLL_CTL_ADD: u32 = 1;
pub const EPOLL_CTL_DEL: u32 = 2;
pub const EPOLL_CTL_MOD: u32 = 3;
pub const EPOLL_URING_WAKE: u32 = 0x800_0000;
pub const POLLERR: u16 = 8;
pub const POLLHUP: u16 = 16;
pub const POLLIN: u16 = 1;
pub const POLLMSG: u16 = 0x400;
pub const POLLNVAL: u16 = 32;
pub const POLLOUT: u16 = 4;
pub const POLLPRI: u16 = 2;
pub const POLLRDBAND: u16 = 0x80;
pub const POLLRDHUP: u16 = 0x2000;
pub const POLLRDNORM: u16 = 0x40;
pub const POLLREMOVE: u16 = 0x1000;
pub const POLLWRBAND: u16 = 0x200;
pub const POLLWRNORM: u16 = 0x100;
