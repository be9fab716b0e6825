//! Vectored and event I/O: `readv(2)`, `preadv2(2)`, `eventfd(2)`, `getrandom(2)`.

pub use crate::consts::uio::*;

c_struct! {
    /// `struct iovec`.
    pub struct IoVec {
        pub base: u64,
        pub len: u64,
    }
}

/// Most vectors in one call.
pub const IOV_MAX: usize = 1024;
/// Most bytes that one read or write moves.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

c_struct! {
    /// `struct iocb` of `io_submit(2)`.
    pub struct Iocb {
        pub data: u64,
        pub key: u32,
        pub rw_flags: u32,
        pub lio_opcode: u16,
        pub reqprio: i16,
        pub fildes: u32,
        pub buf: u64,
        pub nbytes: u64,
        pub offset: i64,
        pub reserved2: u64,
        pub flags: u32,
        pub resfd: u32,
    }
}

c_struct! {
    /// `struct io_event` of `io_getevents(2)`.
    pub struct IoEvent {
        pub data: u64,
        pub obj: u64,
        pub res: i64,
        pub res2: i64,
    }
}

c_struct! {
    /// `struct __aio_sigset` of `io_pgetevents(2)` and the last argument of `pselect6(2)`.
    pub struct SigsetArgument {
        pub sigmask: u64,
        pub sigsetsize: u64,
    }
}
