//! Locks, leases and owners of files.

pub mod advisory;
pub mod description;
pub mod dnotify;
pub mod hints;
pub mod lease;
pub mod owner;
pub mod record;

use chitin_abi::Result;
use chitin_abi::fs::Flock;
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Fd, Kernel};

/// `F_RDLCK`.
pub const READ: i16 = 0;
/// `F_WRLCK`.
pub const WRITE: i16 = 1;
/// `F_UNLCK`.
pub const FREE: i16 = 2;

/// A range of a file and what it is to be.
pub fn range(kind: i16, whence: i16, start: i64, length: i64) -> Flock {
    Flock { l_type: kind, l_whence: whence, l_start: start, l_len: length, ..Flock::default() }
}

/// Sets a lock of a range that starts at an offset.
pub fn set(
    k: &dyn Kernel,
    fd: Fd,
    command: u32,
    kind: i16,
    start: i64,
    length: i64,
) -> Result<u64> {
    call!(k, FCNTL, fd, command, range(kind, 0, start, length).as_bytes())
}

/// The lock that is in the way of one.
pub fn get(
    k: &dyn Kernel,
    fd: Fd,
    command: u32,
    kind: i16,
    start: i64,
    length: i64,
) -> Result<Flock> {
    let mut flock = range(kind, 0, start, length);
    call!(k, FCNTL, fd, command, flock.as_mut_bytes())?;
    Ok(flock)
}
