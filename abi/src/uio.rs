//! Vectored and event I/O: `readv(2)`, `preadv2(2)`, `epoll_ctl(2)`, `eventfd(2)`, `getrandom(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use crate::consts::uio::*;

/// `struct iovec`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of the C structure")]
pub struct IoVec {
    pub base: u64,
    pub len: u64,
}

/// Most vectors in one call.
pub const IOV_MAX: usize = 1024;
/// Most bytes that one read or write moves.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;
