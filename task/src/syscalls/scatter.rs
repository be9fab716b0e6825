//! Scatter lists: where the bytes of reads and writes lie in the guest.
//!
//! A [`Scatter`] is a position in a list of ranges of guest memory; it is a [`Sink`] for what a read produces
//! and a [`Source`] for what a write consumes. Nothing is buffered: each piece is one copy between the file's
//! bytes and the guest's. A range that is not mapped ends the transfer where it begins, and fails it only when
//! nothing was moved before, as on Linux.
//!
//! References: `readv(2)`, the kernel's `import_iovec`.

use chitin_abi::system::TASK_SIZE;
use chitin_abi::uio::{IOV_MAX, IoVec, MAX_RW_COUNT};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_vfs::io::{Sink, Source};
use smallvec::SmallVec;
use zerocopy::{FromZeros, IntoBytes};

/// A position in a list of guest ranges.
pub struct Scatter<'a> {
    memory: &'a dyn GuestMemory,
    ranges: SmallVec<[(u64, u64); 4]>,
    index: usize,
    offset: u64,
    remaining: usize,
    total: usize,
}

/// Whether a range lies where guest addresses can lie (`access_ok`).
///
/// # Errors
/// EFAULT.
pub fn check_range(addr: u64, len: u64) -> Result<()> {
    match addr.checked_add(len) {
        Some(end) if end <= TASK_SIZE => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

impl<'a> Scatter<'a> {
    /// One range; cut at [`MAX_RW_COUNT`].
    ///
    /// # Errors
    /// EFAULT for a range that no guest can have.
    pub fn single(memory: &'a dyn GuestMemory, addr: GuestAddr, len: usize) -> Result<Self> {
        check_range(addr.0, len as u64)?;
        let len = len.min(MAX_RW_COUNT);
        let ranges = SmallVec::from_slice(&[(addr.0, len as u64)]);
        Ok(Self { memory, ranges, index: 0, offset: 0, remaining: len, total: len })
    }

    /// The list at `iov`.
    ///
    /// # Errors
    /// EINVAL for more than 1024 ranges or one with a negative length; EFAULT.
    pub fn vector(memory: &'a dyn GuestMemory, iov: GuestAddr, count: usize) -> Result<Self> {
        Self::of_ranges(memory, read_vector(memory, iov, count)?)
    }

    /// These ranges; cut at [`MAX_RW_COUNT`] in all.
    ///
    /// # Errors
    /// EFAULT for a range that no guest can have.
    pub fn of_ranges(
        memory: &'a dyn GuestMemory,
        mut ranges: SmallVec<[(u64, u64); 4]>,
    ) -> Result<Self> {
        let mut total = 0;
        for (addr, len) in &mut ranges {
            check_range(*addr, *len)?;
            *len = (*len).min((MAX_RW_COUNT as u64).saturating_sub(total));
            total = total.saturating_add(*len);
        }
        let total = total as usize;
        Ok(Self { memory, ranges, index: 0, offset: 0, remaining: total, total })
    }

    /// Bytes moved so far.
    pub fn done(&self) -> usize {
        self.total.saturating_sub(self.remaining)
    }

    /// Makes the list end after `most` more bytes.
    pub fn limit(&mut self, most: usize) {
        if most < self.remaining {
            self.total = self.total.saturating_sub(self.remaining.saturating_sub(most));
            self.remaining = most;
        }
    }

    /// The next piece: address and length, at most `most` bytes; `None` at the end.
    fn piece(&mut self, most: usize) -> Option<(GuestAddr, usize)> {
        loop {
            let (addr, len) = *self.ranges.get(self.index)?;
            let left = len.saturating_sub(self.offset).min(self.remaining as u64);
            if left > 0 {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(most);
                return Some((GuestAddr(addr.wrapping_add(self.offset)), count));
            }
            self.index = self.index.saturating_add(1);
            self.offset = 0;
        }
    }

    fn advance(&mut self, count: usize) {
        self.offset = self.offset.saturating_add(count as u64);
        self.remaining = self.remaining.saturating_sub(count);
    }
}

/// Reads an array of `iovec`.
///
/// # Errors
/// EINVAL for more than 1024 of them or a negative length; EFAULT.
pub fn read_vector(
    memory: &dyn GuestMemory,
    iov: GuestAddr,
    count: usize,
) -> Result<SmallVec<[(u64, u64); 4]>> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let mut vectors: SmallVec<[IoVec; 4]> = SmallVec::from_elem(IoVec::new_zeroed(), count);
    if count > 0 {
        memory.read(iov, vectors.as_mut_slice().as_mut_bytes())?;
    }
    let negative = vectors.iter().any(|vector| vector.len.cast_signed() < 0);
    if negative {
        return Err(Errno::EINVAL);
    }
    Ok(vectors.iter().map(|vector| (vector.base, vector.len)).collect())
}

impl Sink for Scatter<'_> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut done = 0_usize;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let Some((addr, count)) = self.piece(rest.len()) else { break };
            match self.memory.write_partial(addr, rest.get(..count).unwrap_or_default()) {
                Ok(moved) => {
                    self.advance(moved);
                    done = done.saturating_add(moved);
                    if moved < count {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl Source for Scatter<'_> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0_usize;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some((addr, count)) = self.piece(rest.len()) else { break };
            match self.memory.read_partial(addr, rest.get_mut(..count).unwrap_or_default()) {
                Ok(moved) => {
                    self.advance(moved);
                    done = done.saturating_add(moved);
                    if moved < count {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// The guest's memory is not looked at: bad pointers do not matter.
    fn skip_rest(&mut self) -> usize {
        self.index = self.ranges.len();
        self.offset = 0;
        core::mem::take(&mut self.remaining)
    }

    fn give_back(&mut self, mut count: usize) -> bool {
        while count > 0 {
            if self.offset == 0 {
                let Some(index) = self.index.checked_sub(1) else { return false };
                self.index = index;
                self.offset = self.ranges.get(index).map_or(0, |range| range.1);
            }
            let back = (count as u64).min(self.offset);
            self.offset = self.offset.saturating_sub(back);
            self.remaining = self.remaining.saturating_add(back as usize);
            count = count.saturating_sub(back as usize);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Bytes at 0x1000, readable and writable.
    struct Memory(Mutex<Vec<u8>>);

    impl Memory {
        fn range(&self, addr: GuestAddr, len: usize) -> Result<core::ops::Range<usize>> {
            let start = usize::try_from(addr.0)
                .ok()
                .and_then(|addr| addr.checked_sub(0x1000))
                .ok_or(Errno::EFAULT)?;
            let size = self.0.lock().len();
            if start >= size { Err(Errno::EFAULT) } else { Ok(start..size.min(start + len)) }
        }
    }

    impl GuestMemory for Memory {
        fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
            let range = self.range(addr, buffer.len())?;
            let count = range.len();
            buffer[..count].copy_from_slice(&self.0.lock()[range]);
            Ok(count)
        }

        fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
            let range = self.range(addr, bytes.len())?;
            let count = range.len();
            self.0.lock()[range].copy_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    fn memory(bytes: &[u8]) -> Memory {
        Memory(Mutex::new(bytes.to_vec()))
    }

    fn with_vectors(vectors: &[(u64, u64)]) -> Memory {
        let mut bytes = Vec::new();
        for (base, len) in vectors {
            bytes.extend(base.to_ne_bytes());
            bytes.extend(len.to_ne_bytes());
        }
        bytes.resize(256, b'.');
        memory(&bytes)
    }

    #[test]
    fn a_read_fills_the_ranges_in_order() {
        let memory = with_vectors(&[(0x1080, 3), (0x10c0, 0), (0x10a0, 4)]);
        let mut scatter = Scatter::vector(&memory, GuestAddr(0x1000), 3).unwrap();
        assert_eq!(Sink::remaining(&scatter), 7);
        assert_eq!(scatter.put(b"abcde"), Ok(5));
        assert_eq!(scatter.put(b"fghij"), Ok(2));
        assert_eq!(scatter.put(b"x"), Ok(0));
        assert_eq!(scatter.done(), 7);
        let bytes = memory.0.lock();
        assert_eq!(&bytes[0x80..0x84], b"abc.");
        assert_eq!(&bytes[0xa0..0xa5], b"defg.");
    }

    #[test]
    fn a_bad_range_fails_only_the_first_byte() {
        let memory = with_vectors(&[(0x10fe, 2), (0x9000, 4)]);
        let mut scatter = Scatter::vector(&memory, GuestAddr(0x1000), 2).unwrap();
        let mut buffer = [0; 6];
        assert_eq!(scatter.take(&mut buffer), Ok(2));
        assert_eq!(scatter.take(&mut buffer), Err(Errno::EFAULT));
        let mut single = Scatter::single(&memory, GuestAddr(0x10fe), 10).unwrap();
        assert_eq!(single.put(b"0123456789"), Ok(2));
        assert_eq!(single.put(b"2"), Err(Errno::EFAULT));
    }

    #[test]
    fn lists_are_checked_as_import_iovec_does() {
        let memory = with_vectors(&[(0x1000, u64::MAX), (0x1000, 1)]);
        let error = |count| Scatter::vector(&memory, GuestAddr(0x1000), count).err();
        assert_eq!(error(1), Some(Errno::EINVAL));
        assert_eq!(error(1025), Some(Errno::EINVAL));
        assert_eq!(error(0), None);
        assert_eq!(Scatter::vector(&memory, GuestAddr(8), 1).err(), Some(Errno::EFAULT));
        let high = with_vectors(&[(1 << 47, 1)]);
        assert_eq!(Scatter::vector(&high, GuestAddr(0x1000), 1).err(), Some(Errno::EFAULT));
        assert_eq!(
            Scatter::single(&memory, GuestAddr(0x1000), usize::MAX).err(),
            Some(Errno::EFAULT)
        );
    }

    #[test]
    fn totals_are_cut_at_the_largest_transfer() {
        let memory = with_vectors(&[(0x1000, 0x7000_0000), (0x1000, 0x7000_0000)]);
        let scatter = Scatter::vector(&memory, GuestAddr(0x1000), 2).unwrap();
        assert_eq!(Source::remaining(&scatter), MAX_RW_COUNT);
        let mut scatter = Scatter::single(&memory, GuestAddr(0x1000), 100).unwrap();
        scatter.limit(10);
        scatter.limit(20);
        assert_eq!(Source::remaining(&scatter), 10);
    }

    #[test]
    fn what_was_taken_can_be_given_back() {
        let memory = with_vectors(&[(0x1010, 3), (0x10c0, 0), (0x1018, 4)]);
        let mut scatter = Scatter::vector(&memory, GuestAddr(0x1000), 3).unwrap();
        let (mut first, mut again) = ([0; 5], [0; 5]);
        assert_eq!(scatter.take(&mut first), Ok(5));
        assert!(scatter.give_back(5) && scatter.take(&mut again) == Ok(5));
        assert_eq!((first, Source::remaining(&scatter)), (again, 2));
        assert!(!scatter.give_back(6));
    }
}
