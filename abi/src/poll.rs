//! Readiness: `poll(2)`, `select(2)`, `epoll(7)`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Events of `poll(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollEvents(u16);

bitflags::bitflags! {
    impl PollEvents: u16 {
        /// `POLLIN`
        const POLLIN = 1;
        /// `POLLPRI`
        const POLLPRI = 2;
        /// `POLLOUT`
        const POLLOUT = 4;
        /// `POLLERR`
        const POLLERR = 8;
        /// `POLLHUP`
        const POLLHUP = 16;
        /// `POLLNVAL`
        const POLLNVAL = 32;
        /// `POLLRDNORM`
        const POLLRDNORM = 64;
        /// `POLLRDBAND`
        const POLLRDBAND = 128;
        /// `POLLWRNORM`
        const POLLWRNORM = 0x100;
        /// `POLLWRBAND`
        const POLLWRBAND = 0x200;
        /// `POLLRDHUP`
        const POLLRDHUP = 0x2000;
        const _ = !0;
    }
}

/// `struct pollfd`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of the C structure")]
pub struct PollFd {
    pub fd: i32,
    pub events: u16,
    pub revents: u16,
}

/// `struct epoll_event`: packed on x86_64.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of the C structure")]
pub struct EpollEvent {
    pub events: u32,
    pub data: [u32; 2],
}
