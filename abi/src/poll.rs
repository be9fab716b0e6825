//! Readiness: `poll(2)`, `select(2)`, `epoll(7)`.

pub use crate::arch::stat::EpollEvent;
pub use crate::consts::poll::*;

/// Events of `poll(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollEvents(u16);

bitflags::bitflags! {
    impl PollEvents: u16 {
        /// `POLLIN`
        const POLLIN = POLLIN;
        /// `POLLPRI`
        const POLLPRI = POLLPRI;
        /// `POLLOUT`
        const POLLOUT = POLLOUT;
        /// `POLLERR`
        const POLLERR = POLLERR;
        /// `POLLHUP`
        const POLLHUP = POLLHUP;
        /// `POLLNVAL`
        const POLLNVAL = POLLNVAL;
        /// `POLLRDNORM`
        const POLLRDNORM = POLLRDNORM;
        /// `POLLRDBAND`
        const POLLRDBAND = POLLRDBAND;
        /// `POLLWRNORM`
        const POLLWRNORM = POLLWRNORM;
        /// `POLLWRBAND`
        const POLLWRBAND = POLLWRBAND;
        /// `POLLRDHUP`
        const POLLRDHUP = POLLRDHUP;
        const _ = !0;
    }
}

c_struct! {
    /// `struct pollfd`.
    pub struct PollFd {
        pub fd: i32,
        pub events: u16,
        pub revents: u16,
    }
}

c_struct! {
    /// `struct epoll_params` of `EPIOCSPARAMS`.
    pub struct EpollParams {
        pub busy_poll_usecs: u32,
        pub busy_poll_budget: u16,
        pub prefer_busy_poll: u8,
        pub pad: u8,
    }
}

/// Descriptors that an `fd_set` of the C library holds; the kernel takes sets of any size.
pub const FD_SETSIZE: usize = 1024;
/// What makes a descriptor ready for reading in `select(2)`.
pub const POLLIN_SET: u16 = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR;
/// What makes a descriptor ready for writing in `select(2)`.
pub const POLLOUT_SET: u16 = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR;
/// What makes a descriptor exceptional in `select(2)`.
pub const POLLEX_SET: u16 = POLLPRI;
