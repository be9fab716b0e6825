//! The kernel that this process runs on.

use std::sync::OnceLock;

use chitin_abi::{Errno, Result};

use super::{handler, mapping};
use crate::suite::{Arg, Kernel, Mapping};

/// Answers calls by making them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

const PAGE: usize = 4096;

/// The start of a page that is not mapped and whose predecessor is mapped, readable and writable.
fn edge() -> u64 {
    static EDGE: OnceLock<u64> = OnceLock::new();
    *EDGE.get_or_init(|| {
        let (flags, rights) =
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh anonymous mapping at an address that the kernel chooses replaces nothing.
        let start = unsafe { libc::mmap(core::ptr::null_mut(), 2 * PAGE, rights, flags, -1, 0) };
        let end = (start as u64).wrapping_add(PAGE as u64);
        // SAFETY: the second page belongs to the mapping above, and nothing points into it.
        unsafe { libc::mprotect(end as *mut libc::c_void, PAGE, libc::PROT_NONE) };
        end
    })
}

/// The error of the call just made.
pub(super) fn last_error() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn register(arg: &mut Arg<'_>) -> u64 {
    match arg {
        Arg::Int(value) => *value,
        Arg::In(bytes) => bytes.as_ptr() as u64,
        Arg::Out(bytes) => bytes.as_mut_ptr() as u64,
        Arg::Null => 0,
        Arg::Bad => edge(),
        Arg::Kernel => 0xffff_8000_0000_0000,
        Arg::Edge(count) => edge().wrapping_sub(*count as u64),
        Arg::EdgeIn(bytes) => put_at_edge(bytes),
        Arg::EdgeOut(bytes) => put_at_edge(bytes),
    }
}

/// Copies bytes to where they end at the unmapped page; their address.
fn put_at_edge(bytes: &[u8]) -> u64 {
    assert!(bytes.len() <= PAGE, "a page at most lies before the edge");
    let start = edge().wrapping_sub(bytes.len() as u64);
    // SAFETY: the page before the edge is mapped and writable, no reference points into it, and the bytes fit.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), start as *mut u8, bytes.len()) };
    start
}

/// Copies back what the kernel wrote right before the unmapped page.
fn take_from_edge(bytes: &mut [u8]) {
    let start = edge().wrapping_sub(bytes.len() as u64);
    // SAFETY: as in `put_at_edge`, which has checked the length.
    unsafe { core::ptr::copy_nonoverlapping(start as *const u8, bytes.as_mut_ptr(), bytes.len()) };
}

impl Kernel for Host {
    fn catch(&self, signal: u32, flags: u64) -> Result<()> {
        handler::catch(signal, flags)
    }

    fn caught(&self, signal: u32) -> (u32, i32, u64) {
        handler::caught(signal)
    }

    fn map(
        &self,
        length: usize,
        rights: u32,
        flags: u32,
        fd: i32,
        offset: u64,
    ) -> Result<Box<dyn Mapping>> {
        Ok(Box::new(mapping::Mapped::new(length, rights, flags, fd, offset)?))
    }

    fn call(&self, number: u64, args: &mut [Arg<'_>]) -> Result<u64> {
        let mut registers = [0; 6];
        for (to, arg) in registers.iter_mut().zip(args.iter_mut()) {
            *to = register(arg);
        }
        let [a, b, c, d, e, f] = registers;
        // SAFETY: pointers among the arguments are buffers that live across the call, or are not mapped; the
        // bodies pass lengths that lie in their buffers, and map or unmap only what they have mapped.
        let result = unsafe { libc::syscall(number as libc::c_long, a, b, c, d, e, f) };
        let result = if result == -1 { Err(last_error()) } else { Ok(result.cast_unsigned()) };
        for arg in args {
            if let Arg::EdgeOut(bytes) = arg {
                take_from_edge(bytes);
            }
        }
        result
    }

    fn fork(&self, body: &mut dyn FnMut() -> i32) -> Result<i32> {
        // SAFETY: a test's process has one thread, so the child may use all of its memory.
        match unsafe { libc::fork() } {
            -1 => Err(last_error()),
            0 => {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                // SAFETY: `_exit` takes a number and does not return.
                unsafe { libc::_exit(caught.unwrap_or(101)) }
            }
            child => Ok(child),
        }
    }

    fn run_beside(&self, other: &mut (dyn FnMut() + Send), own: &mut dyn FnMut()) {
        std::thread::scope(|scope| {
            let thread = scope.spawn(other);
            own();
            if let Err(payload) = thread.join() {
                std::panic::resume_unwind(payload);
            }
        });
    }
}
