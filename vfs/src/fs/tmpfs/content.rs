//! The bytes of a regular file.
//!
//! In the heap ([`Chunk`]s) until the file is mapped or grows past [`LARGE`], then in a host memfd, which can be
//! mapped into stubs. Costs: a read from the heap is one copy; a read from the memfd one host call and two
//! copies per 64 KiB; a write to the heap one copy and rarely an allocation.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, PAGE_SIZE, Result};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, SeekFrom};

use super::chunk::{CHUNK, Chunk, ZEROS};
use super::space::Space;
use crate::host_errno::from_host;
use crate::io::{Sink, Source};

/// Files larger than this live in a memfd.
pub(super) const LARGE: u64 = 8 << 20;
/// Most bytes that are allocated for good by one `fallocate` in a memfd.
const MAX_PREALLOCATED: u64 = 256 << 20;

enum Store {
    Heap(BTreeMap<u64, Chunk>),
    Host(Arc<OwnedFd>),
}

/// The bytes, and the pages that they are charged for.
pub(super) struct Content {
    size: u64,
    charged: u64,
    store: Store,
}

impl Default for Content {
    fn default() -> Self {
        Self { size: 0, charged: 0, store: Store::Heap(BTreeMap::new()) }
    }
}

/// Cuts a range into pieces of chunks: index, start and end in it.
fn pieces(start: u64, end: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let chunk = CHUNK as u64;
    let mut at = start;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let index = at / chunk;
        let stop = end.min((index + 1).saturating_mul(chunk));
        let piece = (index, (at % chunk) as usize, (stop - index * chunk) as usize);
        at = stop;
        Some(piece)
    })
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Pages that hold data.
    pub(super) fn pages(&self) -> u64 {
        match &self.store {
            Store::Heap(chunks) => chunks.values().map(Chunk::pages).sum(),
            Store::Host(fd) => host_pages(fd),
        }
    }

    /// Pages that the file is charged for.
    pub(super) fn charged(&self) -> u64 {
        self.charged
    }

    pub(super) fn read(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        let end = self.size.min(offset.saturating_add(to.remaining() as u64));
        match &self.store {
            Store::Heap(chunks) => read_heap(chunks, to, offset, end),
            Store::Host(fd) => read_host(fd, to, offset, end),
        }
    }

    pub(super) fn write(
        &mut self,
        from: &mut dyn Source,
        offset: u64,
        space: &Space,
    ) -> Result<usize> {
        let end = offset.saturating_add(from.remaining() as u64).min(i64::MAX as u64);
        if end <= offset {
            return if from.remaining() == 0 { Ok(0) } else { Err(Errno::EFBIG) };
        }
        if end > LARGE && matches!(self.store, Store::Heap(_)) {
            self.move_to_host(space)?;
        }
        let mut done = 0;
        for (index, start, stop) in pieces(offset, end) {
            let wanted = stop - start;
            match self.write_piece(from, index, start, stop, space) {
                Ok(count) => {
                    done += count;
                    self.size = self.size.max(offset + done as u64);
                    if count < wanted {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn write_piece(
        &mut self,
        from: &mut dyn Source,
        index: u64,
        start: usize,
        stop: usize,
        space: &Space,
    ) -> Result<usize> {
        match &mut self.store {
            Store::Heap(chunks) => {
                let chunk = chunks.entry(index).or_default();
                match charge_fitting(chunk, start, stop, space) {
                    Ok((more, stop)) => {
                        self.charged += more;
                        // The charge follows the chunk exactly.
                        from.take(chunk.writable(start, stop))
                    }
                    Err(error) => {
                        if chunk.is_empty() {
                            chunks.remove(&index);
                        }
                        Err(error)
                    }
                }
            }
            Store::Host(fd) => {
                let fd = Arc::clone(fd);
                let mut buffer = vec![0; stop - start];
                let count = from.take(&mut buffer)?;
                let at = index.saturating_mul(CHUNK as u64) + start as u64;
                self.host_room(&fd, at, count as u64, space)?;
                let written = rustix::io::pwrite(&*fd, buffer.get(..count).unwrap_or_default(), at)
                    .map_err(from_host);
                self.settle(&fd, space);
                written
            }
        }
    }

    /// Fails where a write to the memfd would need more pages than there are.
    fn host_room(&self, fd: &OwnedFd, at: u64, count: u64, space: &Space) -> Result<()> {
        let pages = (at % PAGE_SIZE + count).div_ceil(PAGE_SIZE);
        if space.charge(pages).is_ok() {
            space.release(pages);
            return Ok(());
        }
        let first = at / PAGE_SIZE;
        let missing =
            (first..first + pages).filter(|page| is_hole(fd, page * PAGE_SIZE)).count() as u64;
        space.charge(missing)?;
        space.release(missing);
        Ok(())
    }

    /// Charges what the memfd really holds.
    fn settle(&mut self, fd: &OwnedFd, space: &Space) {
        let pages = host_pages(fd);
        if pages > self.charged {
            space.force(pages - self.charged);
        } else {
            space.release(self.charged - pages);
        }
        self.charged = pages;
    }

    /// Makes the file this long.
    pub(super) fn truncate(&mut self, size: u64, space: &Space) -> Result<()> {
        if size > LARGE
            && size > self.size
            && matches!(self.store, Store::Heap(_))
            && self.charged * PAGE_SIZE > LARGE
        {
            self.move_to_host(space)?;
        }
        match &mut self.store {
            Store::Heap(chunks) => {
                if size < self.size {
                    let boundary = size.div_ceil(CHUNK as u64);
                    let gone = chunks.split_off(&boundary);
                    let mut released: u64 = gone.values().map(Chunk::charge).sum();
                    if let Some(last) = chunks.get_mut(&(size / CHUNK as u64)) {
                        let before = last.charge();
                        last.punch((size % CHUNK as u64) as usize, CHUNK);
                        released += before.saturating_sub(last.charge());
                    }
                    chunks.retain(|_, chunk| !chunk.is_empty());
                    self.charged = self.charged.saturating_sub(released);
                    space.release(released);
                }
                self.size = size;
            }
            Store::Host(fd) => {
                let fd = Arc::clone(fd);
                rustix::fs::ftruncate(&*fd, size).map_err(from_host)?;
                self.size = size;
                self.settle(&fd, space);
            }
        }
        Ok(())
    }

    /// Zeros a range and gives its whole pages back.
    pub(super) fn punch(&mut self, start: u64, end: u64, space: &Space) -> Result<()> {
        match &mut self.store {
            Store::Heap(chunks) => {
                let mut released = 0;
                let indices: Vec<u64> = chunks
                    .range(start / CHUNK as u64..end.div_ceil(CHUNK as u64))
                    .map(|(index, _)| *index)
                    .collect();
                for index in indices {
                    let base = index * CHUNK as u64;
                    let Some(chunk) = chunks.get_mut(&index) else { continue };
                    let before = chunk.charge();
                    let from = start.saturating_sub(base).min(CHUNK as u64) as usize;
                    let to = end.saturating_sub(base).min(CHUNK as u64) as usize;
                    chunk.punch(from, to);
                    let after = if chunk.is_empty() { 0 } else { chunk.charge() };
                    released += before.saturating_sub(after);
                    if chunk.is_empty() {
                        chunks.remove(&index);
                    }
                }
                self.charged = self.charged.saturating_sub(released);
                space.release(released);
            }
            Store::Host(fd) => {
                let fd = Arc::clone(fd);
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&*fd, flags, start, end - start).map_err(from_host)?;
                self.settle(&fd, space);
            }
        }
        Ok(())
    }

    /// Makes the pages of a range data; the size grows to its end unless `keep_size`.
    pub(super) fn allocate(
        &mut self,
        start: u64,
        end: u64,
        keep_size: bool,
        space: &Space,
    ) -> Result<()> {
        let pages = end.div_ceil(PAGE_SIZE) - start / PAGE_SIZE;
        if end > LARGE && matches!(self.store, Store::Heap(_)) {
            space.charge(pages.saturating_sub(self.charged))?;
            space.release(pages.saturating_sub(self.charged));
            self.move_to_host(space)?;
        }
        match &mut self.store {
            Store::Heap(chunks) => {
                let mut more = 0;
                for (index, from, to) in pieces(start, end) {
                    let (before, after) = match chunks.get(&index) {
                        Some(chunk) => (chunk.charge(), chunk.charge_allocated(from, to)),
                        None => (0, Chunk::default().charge_allocated(from, to)),
                    };
                    more += after.saturating_sub(before);
                }
                space.charge(more)?;
                self.charged += more;
                for (index, from, to) in pieces(start, end) {
                    chunks.entry(index).or_default().allocate(from, to);
                }
            }
            Store::Host(fd) => {
                let fd = Arc::clone(fd);
                space.charge(pages.saturating_sub(self.charged))?;
                space.release(pages.saturating_sub(self.charged));
                if end - start <= MAX_PREALLOCATED {
                    let flags =
                        if keep_size { FallocateFlags::KEEP_SIZE } else { FallocateFlags::empty() };
                    rustix::fs::fallocate(&*fd, flags, start, end - start).map_err(from_host)?;
                } else if !keep_size && end > self.size {
                    rustix::fs::ftruncate(&*fd, end).map_err(from_host)?;
                }
                self.settle(&fd, space);
            }
        }
        if !keep_size {
            self.size = self.size.max(end);
        }
        Ok(())
    }

    /// The next data (or hole) from `offset` on, which is inside the file.
    pub(super) fn seek(&self, offset: u64, hole: bool) -> Result<u64> {
        let found = match &self.store {
            Store::Heap(chunks) => seek_heap(chunks, offset, self.size, hole),
            Store::Host(fd) => {
                let from = if hole { SeekFrom::Hole(offset) } else { SeekFrom::Data(offset) };
                match rustix::fs::seek(&**fd, from) {
                    Ok(found) => Some(found),
                    Err(rustix::io::Errno::NXIO) => None,
                    Err(error) => return Err(from_host(error)),
                }
            }
        };
        match found {
            Some(found) if found < self.size => Ok(found.max(offset)),
            _ if hole => Ok(self.size),
            _ => Err(Errno::ENXIO),
        }
    }

    /// Has the host refuse writes for good, as it refuses to while anybody has a mapping that can be written to: also
    /// one that its owner only said to have unmapped.
    ///
    /// # Errors
    /// EAGAIN where there is one.
    pub(super) fn seal_writes(&self) -> Result<()> {
        let Store::Host(fd) = &self.store else { return Ok(()) };
        match rustix::fs::fcntl_add_seals(fd, SealFlags::WRITE) {
            Err(rustix::io::Errno::BUSY) => Err(Errno::EAGAIN),
            result => result.map_err(from_host),
        }
    }

    /// The memfd that holds the file from now on.
    pub(super) fn move_to_host(&mut self, space: &Space) -> Result<Arc<OwnedFd>> {
        let chunks = match &self.store {
            Store::Host(fd) => return Ok(Arc::clone(fd)),
            Store::Heap(chunks) => chunks,
        };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"chitin", flags).map_err(from_host)?;
        rustix::fs::ftruncate(&fd, self.size).map_err(from_host)?;
        for (index, chunk) in chunks {
            write_chunk(&fd, index.saturating_mul(CHUNK as u64), chunk)?;
        }
        let fd = Arc::new(fd);
        self.store = Store::Host(Arc::clone(&fd));
        self.settle(&fd, space);
        Ok(fd)
    }
}

/// Charges what a write to a part of a chunk needs more, or as much of it as there is room for: the pages, and where
/// the part ends then.
fn charge_fitting(chunk: &Chunk, start: usize, end: usize, space: &Space) -> Result<(u64, usize)> {
    let mut stop = end;
    loop {
        let more = chunk.charge_with(start, stop).saturating_sub(chunk.charge());
        let Err(error) = space.charge(more) else { return Ok((more, stop)) };
        stop = stop.saturating_sub(1) / PAGE_SIZE as usize * PAGE_SIZE as usize;
        if stop <= start {
            return Err(error);
        }
    }
}

fn write_chunk(fd: &OwnedFd, base: u64, chunk: &Chunk) -> Result<()> {
    let mut page = 0;
    while let Some(first) = chunk.next(page, false) {
        let end = chunk.next(first, true).unwrap_or(CHUNK / PAGE_SIZE as usize);
        let (mut at, stop) = (first * PAGE_SIZE as usize, end * PAGE_SIZE as usize);
        while at < stop {
            let piece = chunk.piece(at, stop);
            let count = rustix::io::pwrite(fd, piece, base + at as u64).map_err(from_host)?;
            if count == 0 {
                return Err(Errno::ENOSPC);
            }
            at += count;
        }
        page = end;
    }
    Ok(())
}

fn host_pages(fd: &OwnedFd) -> u64 {
    rustix::fs::fstat(fd)
        .map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512 / PAGE_SIZE)
}

fn is_hole(fd: &OwnedFd, offset: u64) -> bool {
    !matches!(rustix::fs::seek(fd, SeekFrom::Data(offset)), Ok(found) if found == offset)
}

fn read_heap(
    chunks: &BTreeMap<u64, Chunk>,
    to: &mut dyn Sink,
    offset: u64,
    end: u64,
) -> Result<usize> {
    let mut done = 0;
    for (index, start, stop) in pieces(offset, end) {
        let chunk = chunks.get(&index);
        let mut at = start;
        while at < stop {
            let bytes = match chunk {
                Some(chunk) => chunk.piece(at, stop),
                None => ZEROS.get(..stop - at).unwrap_or_default(),
            };
            match to.put(bytes) {
                Ok(count) => {
                    done += count;
                    at += count;
                    if count < bytes.len() {
                        return Ok(done);
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
    }
    Ok(done)
}

fn read_host(fd: &OwnedFd, to: &mut dyn Sink, offset: u64, end: u64) -> Result<usize> {
    let mut done = 0;
    let length = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; length.min(CHUNK)];
    while done < length {
        let wanted = (length - done).min(CHUNK);
        let into = buffer.get_mut(..wanted).unwrap_or_default();
        let count = rustix::io::pread(fd, into, offset + done as u64).map_err(from_host)?;
        if count == 0 {
            break;
        }
        match to.put(buffer.get(..count).unwrap_or_default()) {
            Ok(put) => {
                done += put;
                if put < count {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn seek_heap(chunks: &BTreeMap<u64, Chunk>, offset: u64, size: u64, hole: bool) -> Option<u64> {
    let chunk_size = CHUNK as u64;
    let mut index = offset / chunk_size;
    let mut page = (offset % chunk_size / PAGE_SIZE) as usize;
    while index.saturating_mul(chunk_size) < size {
        match chunks.get(&index) {
            Some(chunk) => {
                if let Some(found) = chunk.next(page, hole) {
                    return Some(index * chunk_size + found as u64 * PAGE_SIZE);
                }
                index += 1;
            }
            None if hole => return Some(index * chunk_size + page as u64 * PAGE_SIZE),
            None => index = *chunks.range(index..).next()?.0,
        }
        page = 0;
    }
    None
}
