//! This process's own memory by address, for pointers that bodies put into structures.

use chitin_abi::{Errno, Result};

use super::host::last_error;

fn own_id() -> i32 {
    std::process::id().cast_signed()
}

/// Copies bytes from an address; how many could be read.
///
/// # Errors
/// EFAULT when not even the first can.
pub fn read(address: u64, buffer: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `local` is a buffer that is borrowed for writing; the kernel checks `remote`, and only reads there.
    let done =
        unsafe { libc::process_vm_readv(own_id(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(done).map_err(|_| last_error())
}

/// Copies bytes to an address; how many could be written.
///
/// The address is one that a body has taken of a buffer of its own and given to the kernel, which writes there as the
/// native kernel does when it is handed the same pointer.
///
/// # Errors
/// EFAULT when not even the first can.
pub fn write(address: u64, bytes: &[u8]) -> Result<usize> {
    let base = bytes.as_ptr().cast_mut().cast();
    let local = libc::iovec { iov_base: base, iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: the kernel only reads `local`. `remote` is what a body handed to the kernel for writing, as it does to
    // the native one; where nothing is mapped or it may not be written the call fails.
    let done =
        unsafe { libc::process_vm_writev(own_id(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(done).map_err(|_| Errno::EFAULT)
}
