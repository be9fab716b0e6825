//! Guest memory in ordinary buffers.
//!
//! Model: regions by address, as `mm` planned them, each with what it shows: private pages that exist once they are
//! written, pages of an object that several regions share, or a file of the host. Nothing else refers to the bytes:
//! all access is by copy. Addresses above all of them are this process's own: pointers that a body puts into structures
//! lead there, as they do natively.
//!
//! Cost: an access looks up its region and page, O(log n) each.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::platform::host_failure;
use chitin_mm::{GuestMemory, HostOp, HostProt};
use parking_lot::Mutex;

use super::platform::MAX_ADDRESS;
use crate::raw::own_memory;

const PAGE: u64 = 4096;

type Bytes = Box<[u8; PAGE as usize]>;
/// Pages by number.
type Pages = BTreeMap<u64, Bytes>;

fn empty() -> Bytes {
    Box::new([0; PAGE as usize])
}

/// What a region shows. Pages of private memory are numbered by address, those of an object from its start.
#[derive(Clone)]
enum Backing {
    /// Its own pages over a file's, or over zeros.
    Private { pages: Pages, file: Option<(Arc<OwnedFd>, u64)> },
    /// Pages of an object, from this page on.
    Shared { object: Arc<Mutex<Pages>>, first: u64 },
    /// A file, from this offset on.
    File { file: Arc<OwnedFd>, offset: u64 },
}

/// What becomes of a region when its process forks (`madvise(2)`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fork {
    Copy,
    Wipe,
    Drop,
}

#[derive(Clone)]
struct Region {
    end: u64,
    prot: HostProt,
    backing: Backing,
    fork: Fork,
}

/// Why an access failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing is mapped there.
    Unmapped,
    /// Its rights do not allow it.
    Rights,
    /// The file does not reach so far.
    BehindEnd,
}

/// The memory of an address space.
#[derive(Default)]
pub(super) struct Memory {
    regions: Mutex<BTreeMap<u64, Region>>,
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Memory {
    /// Copies bytes out up to the end of a page; how many.
    fn read_page(&self, at: u64, buffer: &mut [u8]) -> core::result::Result<usize, Refusal> {
        let mut regions = self.regions.lock();
        let (start, region) = find(&mut regions, at, Access::Read)?;
        let inside = (at % PAGE) as usize;
        let count = buffer.len().min(PAGE as usize - inside);
        region.with_page(start, at, Access::Read, |page| {
            buffer[..count].copy_from_slice(&page[inside..inside + count]);
        })?;
        Ok(count)
    }

    /// Copies bytes in up to the end of a page; how many.
    fn write_page(&self, at: u64, bytes: &[u8]) -> core::result::Result<usize, Refusal> {
        let mut regions = self.regions.lock();
        let (start, region) = find(&mut regions, at, Access::Write)?;
        let inside = (at % PAGE) as usize;
        let count = bytes.len().min(PAGE as usize - inside);
        region.with_page(start, at, Access::Write, |page| {
            page[inside..inside + count].copy_from_slice(&bytes[..count]);
        })?;
        Ok(count)
    }

    /// Reads one byte as guest code would.
    pub(super) fn load(&self, at: u64) -> core::result::Result<u8, Refusal> {
        let mut byte = [0];
        self.read_page(at, &mut byte).map(|_| byte[0])
    }

    /// Writes one byte as guest code would.
    pub(super) fn store(&self, at: u64, value: u8) -> core::result::Result<(), Refusal> {
        self.write_page(at, &[value]).map(drop)
    }

    /// What a child of this address space begins with.
    pub(super) fn fork(&self) -> Self {
        let mut regions = self.regions.lock().clone();
        regions.retain(|_, region| region.fork != Fork::Drop);
        for region in regions.values_mut().filter(|region| region.fork == Fork::Wipe) {
            region.backing = Backing::Private { pages: Pages::new(), file: None };
        }
        Self { regions: Mutex::new(regions) }
    }

    /// Bytes that have pages: all, and those of files and objects.
    pub(super) fn resident(&self) -> (u64, u64) {
        let regions = self.regions.lock();
        let count = |pages: &Pages| pages.len() as u64 * PAGE;
        regions.values().fold((0, 0), |(all, shared), region| match &region.backing {
            Backing::Private { pages, .. } => (all + count(pages), shared),
            Backing::Shared { object, .. } => {
                let bytes = count(&object.lock());
                (all + bytes, shared + bytes)
            }
            Backing::File { .. } => (all, shared),
        })
    }

    /// Carries out an operation of a plan.
    pub(super) fn apply(&self, op: HostOp) -> Result<()> {
        let mut regions = self.regions.lock();
        match op {
            HostOp::MapAnonymous { addr, len, prot, shared, .. } => {
                let backing = if shared {
                    Backing::Shared { object: Arc::default(), first: 0 }
                } else {
                    Backing::Private { pages: Pages::new(), file: None }
                };
                put(&mut regions, addr, len, prot, backing)
            }
            HostOp::MapFile { addr, len, prot, shared, file, offset, .. } => {
                let backing = if shared {
                    Backing::File { file, offset }
                } else {
                    Backing::Private { pages: Pages::new(), file: Some((file, offset)) }
                };
                put(&mut regions, addr, len, prot, backing)
            }
            HostOp::Unmap { addr, len } => take(&mut regions, addr, len).map(drop),
            HostOp::Protect { addr, len, prot } => {
                for (start, mut region) in take(&mut regions, addr, len)? {
                    region.prot = prot;
                    regions.insert(start, region);
                }
                Ok(())
            }
            HostOp::Remap { old_addr, old_len, new_addr, new_len, keep_old } => {
                remap(&mut regions, (old_addr, old_len), (new_addr, new_len), keep_old)
            }
            HostOp::Advise { addr, len, advice } => advise(&mut regions, addr, len, advice),
            HostOp::Sync { .. } => Ok(()),
        }
    }
}

impl GuestMemory for Memory {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        if addr.0 >= MAX_ADDRESS {
            return own_memory::read(addr.0, buffer);
        }
        let mut done = 0;
        while done < buffer.len() {
            match self.read_page(addr.0.wrapping_add(done as u64), &mut buffer[done..]) {
                Ok(count) => done += count,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::EFAULT),
            }
        }
        Ok(done)
    }

    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
        if addr.0 >= MAX_ADDRESS {
            return own_memory::write(addr.0, bytes);
        }
        let mut done = 0;
        while done < bytes.len() {
            match self.write_page(addr.0.wrapping_add(done as u64), &bytes[done..]) {
                Ok(count) => done += count,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::EFAULT),
            }
        }
        Ok(done)
    }
}

impl Region {
    /// Shows a page; what is changed there stays when the access is a write.
    fn with_page(
        &mut self,
        start: u64,
        at: u64,
        access: Access,
        body: impl FnOnce(&mut [u8; PAGE as usize]),
    ) -> core::result::Result<(), Refusal> {
        let behind = at / PAGE - start / PAGE;
        match &mut self.backing {
            Backing::Private { pages, file } => {
                if let Some(page) = pages.get_mut(&(at / PAGE)) {
                    body(page);
                    return Ok(());
                }
                let mut page = empty();
                if let Some((file, offset)) = file {
                    load(file, *offset + behind * PAGE, &mut page)?;
                }
                body(&mut page);
                if access == Access::Write {
                    pages.insert(at / PAGE, page);
                }
            }
            Backing::Shared { object, first } => {
                let mut pages = object.lock();
                body(pages.entry(*first + behind).or_insert_with(empty));
            }
            Backing::File { file, offset } => {
                let offset = *offset + behind * PAGE;
                let mut page = empty();
                let size = load(file, offset, &mut page)?;
                body(&mut page);
                if access == Access::Write {
                    // As far as the file reaches: what is written behind its end is lost, as on Linux.
                    let _ = rustix::io::pwrite(&**file, &page[..size], offset);
                }
            }
        }
        Ok(())
    }
}

/// Reads a page of a file; how much of it the file has.
fn load(
    file: &OwnedFd,
    offset: u64,
    page: &mut [u8; PAGE as usize],
) -> core::result::Result<usize, Refusal> {
    let mut done = 0;
    while done < page.len() {
        match rustix::io::pread(file, &mut page[done..], offset + done as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => done += count,
        }
    }
    if done == 0 { Err(Refusal::BehindEnd) } else { Ok(done) }
}

fn find(
    regions: &mut BTreeMap<u64, Region>,
    at: u64,
    access: Access,
) -> core::result::Result<(u64, &mut Region), Refusal> {
    let found = regions.range_mut(..=at).next_back();
    let (start, region) = found.filter(|(_, region)| at < region.end).ok_or(Refusal::Unmapped)?;
    let allowed = match access {
        // The processor has no memory that can be written or run but not read.
        Access::Read => region.prot.read || region.prot.write || region.prot.exec,
        Access::Write => region.prot.write,
    };
    if allowed { Ok((*start, region)) } else { Err(Refusal::Rights) }
}

fn end_of(addr: u64, len: u64) -> Result<u64> {
    let end = addr.checked_add(len).filter(|_| len > 0);
    end.filter(|end| addr.is_multiple_of(PAGE) && end.is_multiple_of(PAGE))
        .ok_or(host_failure(Errno::EINVAL))
}

fn put(
    regions: &mut BTreeMap<u64, Region>,
    addr: u64,
    len: u64,
    prot: HostProt,
    backing: Backing,
) -> Result<()> {
    take(regions, addr, len)?;
    let end = end_of(addr, len)?;
    regions.insert(addr, Region { end, prot, backing, fork: Fork::Copy });
    Ok(())
}

/// Takes what lies in a range out, cut where it begins and ends.
fn take(regions: &mut BTreeMap<u64, Region>, addr: u64, len: u64) -> Result<BTreeMap<u64, Region>> {
    let end = end_of(addr, len)?;
    cut(regions, addr);
    cut(regions, end);
    let mut taken = regions.split_off(&addr);
    let mut behind = taken.split_off(&end);
    regions.append(&mut behind);
    Ok(taken)
}

/// Makes a region begin at an address if one lies around it.
fn cut(regions: &mut BTreeMap<u64, Region>, at: u64) {
    let Some((start, region)) = regions.range_mut(..at).next_back() else { return };
    if region.end <= at {
        return;
    }
    let mut behind = region.clone();
    let skipped = at - start;
    match (&mut region.backing, &mut behind.backing) {
        (Backing::Private { pages, .. }, Backing::Private { pages: others, file }) => {
            *others = pages.split_off(&(at / PAGE));
            if let Some((_, offset)) = file {
                *offset += skipped;
            }
        }
        (_, Backing::Shared { first, .. }) => *first += skipped / PAGE,
        (_, Backing::File { offset, .. }) => *offset += skipped,
        (_, Backing::Private { .. }) => {}
    }
    region.end = at;
    regions.insert(at, behind);
}

fn remap(
    regions: &mut BTreeMap<u64, Region>,
    (old_addr, old_len): (u64, u64),
    (new_addr, new_len): (u64, u64),
    keep_old: bool,
) -> Result<()> {
    if old_len == 0 {
        // Nothing moves: a second mapping of what is shared.
        cut(regions, old_addr);
        let mut second = regions.get(&old_addr).cloned().ok_or(Errno::EFAULT)?;
        second.end = new_addr + new_len;
        take(regions, new_addr, new_len)?;
        regions.insert(new_addr, second);
        return Ok(());
    }
    let moved = take(regions, old_addr, old_len)?;
    let last = moved.len().saturating_sub(1);
    let mut placed = BTreeMap::new();
    for (index, (start, mut region)) in moved.into_iter().enumerate() {
        if keep_old {
            let mut rest = region.clone();
            if let Backing::Private { pages, .. } = &mut rest.backing {
                pages.clear();
            }
            regions.insert(start, rest);
        }
        let to = new_addr + (start - old_addr);
        let end = if index == last { new_addr + new_len } else { to + (region.end - start) };
        if let Backing::Private { pages, .. } = &mut region.backing {
            let old = core::mem::take(pages).into_iter();
            let kept = old.map(|(page, bytes)| (page - start / PAGE + to / PAGE, bytes));
            *pages = kept.filter(|(page, _)| page * PAGE < end).collect();
        }
        region.end = end;
        placed.insert(to, region);
    }
    if placed.is_empty() {
        return Err(Errno::EFAULT);
    }
    take(regions, new_addr, new_len)?;
    placed.retain(|start, region| *start < region.end);
    regions.append(&mut placed);
    Ok(())
}

fn advise(regions: &mut BTreeMap<u64, Region>, addr: u64, len: u64, advice: i32) -> Result<()> {
    const DONTNEED: i32 = 4;
    const REMOVE: i32 = 9;
    const DONTFORK: i32 = 10;
    const DOFORK: i32 = 11;
    const WIPEONFORK: i32 = 18;
    const KEEPONFORK: i32 = 19;
    let taken = take(regions, addr, len)?;
    for (start, mut region) in taken {
        match (advice, &mut region.backing) {
            (DONTNEED, Backing::Private { pages, .. }) => pages.clear(),
            (REMOVE, Backing::Shared { object, first }) => {
                let last = *first + (region.end - start) / PAGE;
                object.lock().retain(|page, _| *page < *first || *page >= last);
            }
            (DONTFORK, _) => region.fork = Fork::Drop,
            (WIPEONFORK, _) => region.fork = Fork::Wipe,
            (DOFORK | KEEPONFORK, _) => region.fork = Fork::Copy,
            _ => {}
        }
        regions.insert(start, region);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chitin_abi::{Errno, GuestAddr};
    use chitin_mm::{GuestMemory, HostOp, HostProt};

    use super::{Memory, PAGE, Refusal};

    const RW: HostProt = HostProt { read: true, write: true, exec: false };

    fn map(memory: &Memory, addr: u64, len: u64, shared: bool) {
        let op = HostOp::MapAnonymous {
            addr,
            len,
            prot: RW,
            shared,
            populate: false,
            noreserve: false,
            grows_down: false,
        };
        memory.apply(op).unwrap();
    }

    #[test]
    fn bytes_stay_through_cuts_and_moves() {
        let memory = Memory::default();
        map(&memory, 0x10000, 4 * PAGE, false);
        memory.write(GuestAddr(0x10ffe), b"abcd").unwrap();
        memory.apply(HostOp::Unmap { addr: 0x12000, len: PAGE }).unwrap();
        assert_eq!(memory.load(0x12000), Err(Refusal::Unmapped));
        let remap = HostOp::Remap {
            old_addr: 0x10000,
            old_len: 2 * PAGE,
            new_addr: 0x40000,
            new_len: 3 * PAGE,
            keep_old: false,
        };
        memory.apply(remap).unwrap();
        let mut back = [0; 4];
        memory.read(GuestAddr(0x40ffe), &mut back).unwrap();
        assert_eq!(&back, b"abcd");
        assert_eq!(memory.load(0x10ffe), Err(Refusal::Unmapped));
        assert_eq!(memory.load(0x42fff), Ok(0));
    }

    #[test]
    fn rights_and_ends_are_kept_to() {
        let memory = Memory::default();
        map(&memory, 0x10000, 2 * PAGE, false);
        let prot = HostProt { read: true, ..HostProt::default() };
        memory.apply(HostOp::Protect { addr: 0x11000, len: PAGE, prot }).unwrap();
        assert_eq!(memory.write_partial(GuestAddr(0x10ffe), b"abcd"), Ok(2));
        assert_eq!(memory.store(0x11000, 1), Err(Refusal::Rights));
        assert_eq!(memory.write_partial(GuestAddr(0x11000), b"a"), Err(Errno::EFAULT));
        assert_eq!(memory.read_partial(GuestAddr(0x11ffe), &mut [0; 4]), Ok(2));
    }

    #[test]
    fn fork_shares_what_is_shared() {
        let memory = Memory::default();
        map(&memory, 0x10000, PAGE, false);
        map(&memory, 0x20000, PAGE, true);
        let child = memory.fork();
        for at in [0x10000, 0x20000] {
            child.store(at, 7).unwrap();
        }
        assert_eq!((memory.load(0x10000), memory.load(0x20000)), (Ok(0), Ok(7)));
    }
}
