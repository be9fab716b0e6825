//! Protection keys, on a machine without them.

use chitin_abi::{Errno, GuestAddr};

use crate::context::Ctx;
use crate::error::SysResult;
use crate::syscalls::args::{Flags, Protection};

/// `pkey_mprotect(2)`: without a key it is `mprotect(2)`.
///
/// # Errors
/// EINVAL for any key; those of mprotect(2).
pub async fn pkey_mprotect(
    cx: &mut Ctx<'_>,
    addr: GuestAddr,
    len: u64,
    prot: Protection,
    pkey: i32,
) -> SysResult {
    if pkey != -1 {
        return Err(Errno::EINVAL.into());
    }
    super::mprotect(cx, addr, len, prot).await
}

/// `pkey_alloc(2)`.
///
/// # Errors
/// EINVAL always: what a processor without keys answers.
pub fn pkey_alloc(_cx: &mut Ctx<'_>, flags: Flags, access_rights: Flags) -> SysResult {
    let _ = (flags, access_rights);
    Err(Errno::EINVAL.into())
}

/// `pkey_free(2)`.
///
/// # Errors
/// EINVAL: no key is allocated.
pub fn pkey_free(_cx: &mut Ctx<'_>, pkey: i32) -> SysResult {
    let _ = pkey;
    Err(Errno::EINVAL.into())
}
