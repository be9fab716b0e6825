//! A signal handler that counts.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use chitin_abi::Result;

use super::host::last_error;

const SIGNALS: usize = 65;
static COUNTS: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];
static CODES: [AtomicI32; SIGNALS] = [const { AtomicI32::new(0) }; SIGNALS];
static VALUES: [AtomicU64; SIGNALS] = [const { AtomicU64::new(0) }; SIGNALS];

extern "C" fn count(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let Ok(index) = usize::try_from(signal) else { return };
    if index >= SIGNALS {
        return;
    }
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    // SAFETY: a siginfo has 128 bytes, so its fourth word lies inside.
    let word = unsafe { info.cast::<u64>().add(3) };
    // SAFETY: reading the union's words is valid for every layout of it.
    let value = unsafe { word.read() };
    CODES[index].store(code, Ordering::SeqCst);
    VALUES[index].store(value, Ordering::SeqCst);
    COUNTS[index].fetch_add(1, Ordering::SeqCst);
}

/// Installs the handler.
pub(super) fn catch(signal: u32, flags: u64) -> Result<()> {
    // SAFETY: all-zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    action.sa_flags = (flags as u32).cast_signed() | libc::SA_SIGINFO;
    let number = i32::try_from(signal).unwrap_or(-1);
    // SAFETY: the handler only stores into atomics, which is async-signal-safe.
    match unsafe { libc::sigaction(number, &raw const action, core::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Count, code and value of a signal.
pub(super) fn caught(signal: u32) -> (u32, i32, u64) {
    let index = (signal as usize).min(SIGNALS - 1);
    let code = CODES[index].load(Ordering::SeqCst);
    (COUNTS[index].load(Ordering::SeqCst), code, VALUES[index].load(Ordering::SeqCst))
}
