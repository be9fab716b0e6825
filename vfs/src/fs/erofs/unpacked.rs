//! Files that are mapped: their data in memfds, the most recent of which are kept.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, SealFlags};

use super::inode::{ErofsInode, Recent};
use crate::host_errno::from_host;

/// Bytes of files that are kept though nobody maps them any more.
const KEPT: u64 = 64 << 20;
/// What a file counts at least: each holds a descriptor, however small it is.
const LEAST: u64 = 256 << 10;
/// Largest file that is unpacked.
const LARGEST: u64 = 4 << 30;
/// Bytes that are unpacked at once.
const CHUNK: usize = 1 << 20;

/// A file's memfd; locked while the file is unpacked, so that it is unpacked once.
type Slot = Mutex<Weak<OwnedFd>>;

#[derive(Default)]
struct Files {
    all: HashMap<u64, Arc<Slot>>,
    /// Those that are kept, the most recent last, with what they count.
    kept: VecDeque<(Arc<OwnedFd>, u64)>,
    size: u64,
}

/// The unpacked files of an image.
#[derive(Default)]
pub(super) struct Unpacked {
    /// A leaf below a file's slot, never held over a read of the image: who maps another file does not wait.
    files: Mutex<Files>,
}

impl Unpacked {
    /// A memfd, which nobody can change, with the data of a file.
    pub fn get(&self, inode: &ErofsInode) -> Result<Arc<OwnedFd>> {
        let slot = Arc::clone(self.files.lock().all.entry(inode.number).or_default());
        let mut known = slot.lock();
        if let Some(known) = known.upgrade() {
            return Ok(known);
        }
        let made = unpack(inode).map(Arc::new);
        if let Ok(fd) = &made {
            *known = Arc::downgrade(fd);
        }
        drop(known);
        drop(slot);
        self.keep(made.as_ref().ok(), inode.stored.size.max(LEAST));
        made
    }

    /// Keeps a memfd for the next program, in the place of the oldest ones, and no slots that are of no use any more.
    fn keep(&self, fd: Option<&Arc<OwnedFd>>, size: u64) {
        let mut files = self.files.lock();
        // Somebody who has a slot in hand is about to use it; a slot that is locked is in somebody's hands.
        let used = |slot: &Arc<Slot>| {
            Arc::strong_count(slot) > 1
                || slot.try_lock().is_none_or(|known| known.strong_count() > 0)
        };
        files.all.retain(|_, slot| used(slot));
        if let Some(fd) = fd {
            files.kept.push_back((Arc::clone(fd), size));
            files.size = files.size.saturating_add(size);
        }
        let mut dropped = Vec::new();
        while files.size > KEPT && files.kept.len() > 1 {
            let Some((oldest, size)) = files.kept.pop_front() else { break };
            files.size = files.size.saturating_sub(size);
            dropped.push(oldest);
        }
        drop(files);
        drop(dropped);
    }
}

fn unpack(inode: &ErofsInode) -> Result<OwnedFd> {
    let size = inode.stored.size;
    if size > LARGEST {
        return Err(Errno::ENOMEM);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(c"erofs", flags).map_err(from_host)?;
    rustix::fs::ftruncate(&fd, size).map_err(from_host)?;
    let recent = Recent::default();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
    let mut offset = 0;
    while offset < size {
        let left = size.saturating_sub(offset);
        if let Some((true, length)) = inode.hole(offset) {
            offset = offset.saturating_add(length.max(1));
            continue;
        }
        let count = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let piece = buffer.get_mut(..count).ok_or(Errno::EIO)?;
        inode.read(piece, offset, &recent)?;
        let mut written = 0;
        while written < count {
            let rest = piece.get(written..).unwrap_or_default();
            let at = offset.saturating_add(written as u64);
            match rustix::io::pwrite(&fd, rest, at).map_err(from_host)? {
                0 => return Err(Errno::ENOSPC),
                more => written = written.saturating_add(more),
            }
        }
        offset = offset.saturating_add(count as u64);
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(from_host)?;
    Ok(fd)
}
