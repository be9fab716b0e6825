//! Where file data comes from and goes to: guest memory, kernel buffers, other files.
//!
//! A [`Sink`] takes bytes that a read produces, a [`Source`] gives bytes that a write consumes. Both are
//! positions in a scatter list; implementations over guest memory fail with `EFAULT` only when nothing at
//! all could be copied, as on Linux.

use chitin_abi::{Errno, Result};

/// Takes the bytes of a read.
pub trait Sink {
    /// Room that is left, in bytes.
    fn remaining(&self) -> usize;

    /// Takes a prefix of `bytes` and says how long it was: shorter than `bytes` only where the room ends or
    /// memory is not writable.
    ///
    /// # Errors
    /// EFAULT when not even the first byte could be stored.
    fn put(&mut self, bytes: &[u8]) -> Result<usize>;
}

/// Gives the bytes of a write.
pub trait Source {
    /// Bytes that are left.
    fn remaining(&self) -> usize;

    /// Fills a prefix of `buffer` and says how long it was: shorter than `buffer` only where the data ends or
    /// memory is not readable.
    ///
    /// # Errors
    /// EFAULT when not even the first byte could be read.
    fn take(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Passes over all bytes that are left without caring about them, and says how many they were.
    fn skip_rest(&mut self) -> usize {
        let (mut buffer, mut done) = ([0; 4096], 0_usize);
        while let Ok(count @ 1..) = self.take(&mut buffer) {
            done = done.saturating_add(count);
        }
        done
    }

    /// Goes back by bytes that were just taken, for a write that would block after it has looked at them; false
    /// where that is not possible.
    fn give_back(&mut self, count: usize) -> bool {
        let _ = count;
        false
    }
}

/// A sink into a byte slice.
pub struct SliceSink<'a> {
    buffer: &'a mut [u8],
    filled: usize,
}

impl<'a> SliceSink<'a> {
    /// A sink that fills `buffer` from its start.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, filled: 0 }
    }

    /// Bytes stored so far.
    pub fn filled(&self) -> usize {
        self.filled
    }
}

impl Sink for SliceSink<'_> {
    fn remaining(&self) -> usize {
        self.buffer.len() - self.filled
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = bytes.len().min(self.remaining());
        let (Some(from), Some(to)) =
            (bytes.get(..count), self.buffer.get_mut(self.filled..self.filled + count))
        else {
            return Err(Errno::EFAULT);
        };
        to.copy_from_slice(from);
        self.filled += count;
        Ok(count)
    }
}

/// A sink that grows a vector up to a limit.
pub struct VecSink {
    /// What has been stored.
    pub bytes: Vec<u8>,
    limit: usize,
}

impl VecSink {
    /// A sink for at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }
}

impl Sink for VecSink {
    fn remaining(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = bytes.len().min(self.remaining());
        self.bytes.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// A source that reads a byte slice.
pub struct SliceSource<'a> {
    bytes: &'a [u8],
}

impl<'a> SliceSource<'a> {
    /// A source of exactly these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = buffer.len().min(self.bytes.len());
        let (head, tail) = self.bytes.split_at(count);
        if let Some(to) = buffer.get_mut(..count) {
            to.copy_from_slice(head);
        }
        self.bytes = tail;
        Ok(count)
    }
}
