//! Socket addresses in the guest's memory.

use chitin_abi::net::SOCKADDR_STORAGE_LEN;
use chitin_abi::{Errno, GuestAddr, Result};

use crate::context::Ctx;

/// Reads an address.
///
/// # Errors
/// EINVAL for one that is too long, EFAULT.
pub(super) fn read(cx: &Ctx<'_>, addr: GuestAddr, length: u32) -> Result<Vec<u8>> {
    let length = length as usize;
    if length > SOCKADDR_STORAGE_LEN {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; length];
    if length > 0 {
        cx.memory().read(addr, &mut bytes)?;
    }
    Ok(bytes)
}

/// Writes as much of an address as the caller has room for, and its whole length.
///
/// # Errors
/// EINVAL for negative room, EFAULT.
pub(super) fn write(
    cx: &Ctx<'_>,
    address: &[u8],
    addr: GuestAddr,
    length: GuestAddr,
) -> Result<()> {
    let room: i32 = cx.read(length)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let stored = address.get(..room.min(address.len())).unwrap_or_default();
    if !stored.is_empty() {
        cx.memory().write(addr, stored)?;
    }
    cx.write(length, &(address.len() as u32))
}
