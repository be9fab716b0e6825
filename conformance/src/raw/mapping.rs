//! Mapped memory whose bytes are read and written one by one.

use chitin_abi::Result;

use super::host::last_error;
use crate::suite::Mapping;

/// A mapping of this process.
#[derive(Debug)]
pub(super) struct Mapped {
    start: *mut u8,
    length: usize,
}

impl Mapped {
    /// Maps at an address that the kernel chooses.
    pub(super) fn new(
        length: usize,
        rights: u32,
        flags: u32,
        fd: i32,
        offset: u64,
    ) -> Result<Self> {
        let (rights, flags) = (rights.cast_signed(), flags.cast_signed() & !libc::MAP_FIXED);
        // SAFETY: without MAP_FIXED and a hint nothing that exists is replaced.
        let start = unsafe {
            libc::mmap(core::ptr::null_mut(), length, rights, flags, fd, offset.cast_signed())
        };
        if start == libc::MAP_FAILED {
            Err(last_error())
        } else {
            Ok(Self { start: start.cast(), length })
        }
    }
}

impl Mapping for Mapped {
    fn address(&self) -> u64 {
        self.start as u64
    }

    fn get(&self, offset: usize) -> u8 {
        assert!(offset < self.length, "inside the mapping");
        let byte = self.start.wrapping_add(offset);
        // SAFETY: the address is inside the mapping; where the rights are missing the process gets a signal.
        unsafe { byte.read_volatile() }
    }

    fn set(&self, offset: usize, value: u8) {
        assert!(offset < self.length, "inside the mapping");
        let byte = self.start.wrapping_add(offset);
        // SAFETY: as for `get`; nothing else refers to these bytes.
        unsafe { byte.write_volatile(value) };
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range is what `new` mapped, and `self` was the only way to reach it.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}
