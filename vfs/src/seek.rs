//! Positions: the arithmetic of `lseek(2)`.

use chitin_abi::fs::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use chitin_abi::{Errno, Result};

/// The new position of an lseek in a file of `size()` bytes without holes.
///
/// # Errors
/// EINVAL for a negative position, one past the largest offset or an unknown `whence`, ENXIO for
/// `SEEK_DATA` and `SEEK_HOLE` at or behind the end.
pub fn default_seek(
    position: u64,
    offset: i64,
    whence: u32,
    size: impl FnOnce() -> Result<u64>,
) -> Result<u64> {
    let base = match whence {
        SEEK_SET => 0,
        SEEK_CUR => position,
        SEEK_END => size()?,
        SEEK_DATA | SEEK_HOLE => return seek_data(offset, size()?, whence),
        _ => return Err(Errno::EINVAL),
    };
    let target = i128::from(base) + i128::from(offset);
    if target < 0 {
        return Err(Errno::EINVAL);
    }
    match u64::try_from(target) {
        Ok(position) if i64::try_from(position).is_ok() => Ok(position),
        _ => Err(Errno::EINVAL),
    }
}

fn seek_data(offset: i64, size: u64, whence: u32) -> Result<u64> {
    match u64::try_from(offset) {
        Ok(start) if start < size => Ok(if whence == SEEK_DATA { start } else { size }),
        _ => Err(Errno::ENXIO),
    }
}
