//! Open directories of a host tree: entries as the host lists them, positions as the host numbers them.

use core::any::Any;
use core::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::fs::{DT_BLK, DT_CHR, DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN};
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;
use rustix::fs::{FileType, RawDir, SeekFrom};

use super::inode::HostInode;
use crate::file::{DirEntry, File};
use crate::host_errno::from_host;
use crate::io::Sink;

/// Bytes of entries that are asked for at once: what the usual caller asks us for.
const BUFFER: usize = 32 << 10;

pub(super) fn open(inode: &Arc<HostInode>) -> Result<Arc<dyn File>> {
    let fd = inode.open_dir()?;
    Ok(Arc::new(OpenDir { inode: Arc::clone(inode), fd, at: Mutex::new(0) }))
}

struct OpenDir {
    inode: Arc<HostInode>,
    fd: OwnedFd,
    /// The host descriptor's position; held over a listing.
    at: Mutex<u64>,
}

fn kind(file_type: FileType) -> u8 {
    match file_type {
        FileType::RegularFile => DT_REG,
        FileType::Directory => DT_DIR,
        FileType::Symlink => DT_LNK,
        FileType::Fifo => DT_FIFO,
        FileType::Socket => DT_SOCK,
        FileType::CharacterDevice => DT_CHR,
        FileType::BlockDevice => DT_BLK,
        FileType::Unknown => DT_UNKNOWN,
    }
}

impl File for OpenDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let mut at = self.at.lock();
        if *at != position || position == 0 {
            match rustix::fs::seek(&self.fd, SeekFrom::Start(position)) {
                Ok(_) => {}
                // Behind all that the host's directory can have.
                Err(rustix::io::Errno::INVAL) => return Ok(()),
                Err(error) => return Err(from_host(error)),
            }
        }
        let own = self.inode.id;
        let is_root = self.inode.place.lock().parent.is_none();
        let mut buffer = Box::<[u8]>::new_uninit_slice(BUFFER);
        let buffer: &mut [MaybeUninit<u8>] = &mut buffer;
        let mut entries = RawDir::new(&self.fd, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| {
                *at = u64::MAX;
                from_host(error)
            })?;
            let name = entry.file_name().to_bytes();
            let next = entry.next_entry_cookie();
            let ino = match name {
                b".." if is_root => self.inode.ino,
                _ => self
                    .inode
                    .fs
                    .table
                    .guest_ino(super::attr::HostId { dev: own.dev, ino: entry.ino() }),
            };
            if !emit(DirEntry { name, ino, kind: kind(entry.file_type()), next }) {
                // The host has gone on to the end of the buffer: nowhere that a caller would ask for.
                *at = u64::MAX;
                return Ok(());
            }
            *at = next;
        }
        Ok(())
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        use chitin_abi::fs::{SEEK_CUR, SEEK_END, SEEK_SET};
        match whence {
            SEEK_SET | SEEK_CUR => crate::seek::default_seek(position, offset, whence, || Ok(0)),
            // The host knows where its last entry ends, in its own numbers.
            SEEK_END => {
                let mut at = self.at.lock();
                *at = u64::MAX;
                rustix::fs::seek(&self.fd, SeekFrom::End(offset)).map_err(from_host)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let result =
            if data_only { rustix::fs::fdatasync(&self.fd) } else { rustix::fs::fsync(&self.fd) };
        result.map_err(from_host)
    }
}
