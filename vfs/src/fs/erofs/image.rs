//! The bytes of an image.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::file::OpenFile;
use crate::host_errno::from_host;
use crate::io::SliceSink;

/// Something that an image can be read from.
pub trait Bytes: Send + Sync {
    /// Reads from an offset; fewer bytes than asked for only at the end.
    ///
    /// # Errors
    /// Those of the storage.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// How many file systems of this VFS, each on top of the next, they come through.
    fn depth(&self) -> u32 {
        0
    }
}

/// A file of the host.
impl Bytes for OwnedFd {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(room) = buffer.get_mut(done..).filter(|room| !room.is_empty()) {
            let at = offset.saturating_add(done as u64);
            match rustix::io::pread(self, room, at).map_err(from_host)? {
                0 => break,
                count => done = done.saturating_add(count),
            }
        }
        Ok(done)
    }
}

/// A file of this VFS.
impl Bytes for Arc<OpenFile> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(room) = buffer.get_mut(done..).filter(|room| !room.is_empty()) {
            let at = offset.saturating_add(done as u64);
            match self.file().read_at(&mut SliceSink::new(room), at)? {
                0 => break,
                count => done = done.saturating_add(count),
            }
        }
        Ok(done)
    }

    fn depth(&self) -> u32 {
        let below = self.path().map_or(0, |path| path.mount().super_block().fs().stack_depth());
        below.saturating_add(1)
    }
}

/// Memory.
impl Bytes for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let rest = self.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

/// An image.
pub struct Image {
    bytes: Arc<dyn Bytes>,
}

impl Image {
    /// An image of these bytes.
    pub fn new(bytes: Arc<dyn Bytes>) -> Self {
        Self { bytes }
    }

    /// Fills a buffer; the end of the image is damage.
    ///
    /// # Errors
    /// EUCLEAN, those of the storage.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let count = self.bytes.read_at(buffer, offset)?;
        if count == buffer.len() { Ok(()) } else { Err(Errno::EUCLEAN) }
    }

    /// Reads a structure.
    pub(super) fn get<T: FromBytes + IntoBytes + Immutable + FromZeros>(
        &self,
        offset: u64,
    ) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read(value.as_mut_bytes(), offset)?;
        Ok(value)
    }
}
