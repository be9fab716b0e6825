//! `struct stat` and `struct epoll_event`, whose layouts differ between processors.

c_struct! {
    /// `struct stat`.
    pub struct Stat {
        pub st_dev: u64,
        pub st_ino: u64,
        pub st_nlink: u64,
        pub st_mode: u32,
        pub st_uid: u32,
        pub st_gid: u32,
        pub pad0: u32,
        pub st_rdev: u64,
        pub st_size: i64,
        pub st_blksize: i64,
        pub st_blocks: i64,
        pub st_atime: i64,
        pub st_atime_nsec: i64,
        pub st_mtime: i64,
        pub st_mtime_nsec: i64,
        pub st_ctime: i64,
        pub st_ctime_nsec: i64,
        pub unused: [i64; 3],
    }
}

c_struct! {
    /// `struct epoll_event`: packed on x86_64, so that the 64-bit datum follows the events directly. It is in
    /// two halves, low first, to keep the structure's alignment at four; see [`EpollEvent::new`].
    pub struct EpollEvent {
        pub events: u32,
        pub data: [u32; 2],
    }
}

impl EpollEvent {
    /// An event of these `EPOLL…` bits and this datum.
    pub const fn new(events: u32, data: u64) -> Self {
        Self { events, data: [data as u32, (data >> 32) as u32] }
    }

    /// The datum as one number.
    pub const fn data(self) -> u64 {
        self.data[0] as u64 | ((self.data[1] as u64) << 32)
    }
}
