//! System calls that the standard library has no safe way to make.

use std::io;

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `getppid(2)`.
pub fn getppid() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getppid() }
}

/// Makes a child that runs `body` and exits with what it returns; gives its id.
///
/// # Errors
/// Those of `fork(2)`.
pub fn fork(body: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the benchmarks fork while they have one thread, so the child may use all of its memory.
    match check(unsafe { libc::fork() })? {
        // SAFETY: `_exit` takes a number and does not return.
        0 => unsafe { libc::_exit(body()) },
        child => Ok(child),
    }
}

/// Waits for a child.
///
/// # Errors
/// Those of `waitpid(2)`.
pub fn wait(child: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: the pointer is valid for the call.
    check(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    Ok(status)
}

/// Maps fresh memory, touches each page, unmaps it.
///
/// # Errors
/// Those of `mmap(2)` and `munmap(2)`.
pub fn map_touch_unmap(pages: usize) -> io::Result<()> {
    let length = pages * 4096;
    let (rights, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: without an address nothing that exists is replaced.
    let start = unsafe { libc::mmap(core::ptr::null_mut(), length, rights, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for page in 0..pages {
        let byte = start.cast::<u8>().wrapping_add(page * 4096);
        // SAFETY: the byte is inside the writable mapping, which nothing else refers to.
        unsafe { byte.write_volatile(1) };
    }
    // SAFETY: the range is the mapping, to which no reference is left.
    check(unsafe { libc::munmap(start, length) }).map(drop)
}

/// Sends a signal to this process whose handler counts, and returns when it has run.
///
/// # Errors
/// Those of `sigaction(2)` and `raise(3)`.
pub fn signal_self() -> io::Result<()> {
    extern "C" fn nothing(_signal: i32) {}
    // SAFETY: all-zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, which is async-signal-safe.
    check(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, core::ptr::null_mut()) })?;
    // SAFETY: takes a number.
    check(unsafe { libc::raise(libc::SIGUSR1) }).map(drop)
}
