//! Access to a guest's bytes.
//!
//! Guest memory is only ever copied. Validation is late, as on Linux: a bad pointer is found when it is
//! used, so a call that consumes nothing does not fail for it.

use chitin_abi::{Errno, GuestAddr, Result};

/// The bytes of one guest address space.
pub trait GuestMemory: Send + Sync {
    /// Copies bytes out of the guest until `buffer` is full or a byte is not readable.
    ///
    /// # Errors
    /// EFAULT when the first byte is not readable; ESRCH when the address space is gone. Otherwise the
    /// number of bytes copied, which is smaller than the buffer where a later byte was not readable.
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize>;

    /// Copies bytes into the guest until all are copied or a byte is not writable.
    ///
    /// # Errors
    /// As [`GuestMemory::read_partial`].
    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize>;

    /// Fills `buffer` from the guest.
    ///
    /// # Errors
    /// EFAULT unless every byte is readable.
    fn read(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<()> {
        match self.read_partial(addr, buffer)? {
            done if done == buffer.len() => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Copies all of `bytes` into the guest.
    ///
    /// # Errors
    /// EFAULT unless every byte is writable; some may have been written then.
    fn write(&self, addr: GuestAddr, bytes: &[u8]) -> Result<()> {
        match self.write_partial(addr, bytes)? {
            done if done == bytes.len() => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Puts `new` where `old` stands and returns what stood there, as one step where the platform can.
    ///
    /// The default reads, compares and writes: guest threads that write the word at the same time are not
    /// kept out.
    ///
    /// # Errors
    /// EFAULT unless the word can be read and, where it is changed, written.
    fn compare_exchange_u32(&self, addr: GuestAddr, old: u32, new: u32) -> Result<u32> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)?;
        let found = u32::from_ne_bytes(bytes);
        if found == old {
            self.write(addr, &new.to_ne_bytes())?;
        }
        Ok(found)
    }
}

/// Reads a NUL-terminated string, without the NUL. Costs one read per page that the string touches.
///
/// # Errors
/// ENAMETOOLONG when none of the first `limit` bytes is NUL; EFAULT when a byte before that is not readable.
pub fn read_cstring(memory: &dyn GuestMemory, addr: GuestAddr, limit: usize) -> Result<Vec<u8>> {
    let page = chitin_abi::PAGE_SIZE as usize;
    let mut text = Vec::new();
    let mut at = addr;
    while text.len() < limit {
        let in_page = page - (at.0 % chitin_abi::PAGE_SIZE) as usize;
        // Most strings are short: the first look takes no more than a cache line or four.
        let first = if text.is_empty() { 256 } else { page };
        let count = in_page.min(first).min(limit - text.len());
        let before = text.len();
        text.resize(before + count, 0);
        let chunk = text.get_mut(before..).ok_or(Errno::EFAULT)?;
        let done = memory.read_partial(at, chunk)?;
        let found = chunk.get(..done).and_then(|bytes| bytes.iter().position(|byte| *byte == 0));
        if let Some(end) = found {
            text.truncate(before + end);
            return Ok(text);
        }
        if done < count {
            return Err(Errno::EFAULT);
        }
        at = at.checked_add(count as u64).ok_or(Errno::EFAULT)?;
    }
    Err(Errno::ENAMETOOLONG)
}
