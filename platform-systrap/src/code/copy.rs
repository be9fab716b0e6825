//! A copy of a file's code with its call sites rewritten.
//!
//! ```text
//! 0          what `patch` calls an area: the address of the stub's code, trampolines
//! AREA_LEN   the code
//! ```
//!
//! `cpuid` is replaced by `hlt`, see [`crate::cpuid`]. Everything in it is relative, so that it may lie anywhere as long
//! as both parts are as far apart as they were made for.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chitin_mm::{HostOp, HostProt};
use rustix::fs::{MemfdFlags, SealFlags};

use super::{Identity, functions};
use crate::cpuid::is_same_on_all_cores;
use crate::layout::{self, config, trampoline};
use crate::patch::{Shape, Site};
use crate::patches::Area;
use crate::raw::text;

/// Where the code is taken to lie while the copy is made: only distances count.
const CODE: u64 = 1 << 45;

/// See the module.
pub struct Copy {
    /// From the code to the area.
    pub distance: i64,
    memory: Arc<OwnedFd>,
    area: Area,
    /// Trampolines and their sites, as if the code lay at [`CODE`].
    sites: Vec<(u64, Site)>,
    /// Where `hlt` stands in the place of `cpuid`, in order.
    cpuids: Vec<u64>,
    len: u64,
    bytes: u64,
    copied: Arc<AtomicU64>,
}

/// What a copy is for who has mapped it somewhere.
pub struct Copied {
    /// Where its code is.
    pub code: u64,
    /// It.
    pub copy: Arc<Copy>,
    /// Its area.
    pub area: Area,
    /// Trampolines and their sites.
    pub sites: Vec<(u64, Site)>,
}

/// Bytes of a copy of this part.
pub(super) const fn size(part: &Identity) -> u64 {
    part.len.saturating_add(trampoline::AREA_LEN)
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.copied.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Copy {
    /// Copies a part of a file for this distance, with these sites by their ends. `None` where the host refuses, the file is
    /// shorter than it was, or no site has a place. The file is read only if one has.
    pub(super) fn new(
        file: &OwnedFd,
        part: &Identity,
        distance: i64,
        known: &BTreeMap<u64, Shape>,
        copied: &Arc<AtomicU64>,
    ) -> Option<Self> {
        let mut area = Area::new(CODE.checked_add_signed(distance)?);
        let mut trampolines = vec![0; trampoline::AREA_LEN as usize];
        put(&mut trampolines, trampoline::ENTRY, &text::fast().to_le_bytes())?;
        let (mut sites, mut jumps) = (Vec::new(), Vec::new());
        let mut behind = CODE;
        for (end, shape) in known {
            let site = Site::at(CODE.checked_add(*end)?, *shape)?;
            // What one takes along may be what the next begins with: that one traps as ever.
            if site.start < behind {
                continue;
            }
            let Some((address, jump)) = area.place(&site) else { continue };
            let Some(bytes) = site.trampoline(area.start, address) else { continue };
            put(&mut trampolines, address - area.start, &bytes)?;
            area.take(address);
            behind = site.end();
            sites.push((address, site));
            jumps.push(jump);
        }
        if sites.is_empty() {
            return None;
        }
        let mut code = read(file, part)?;
        let cpuids =
            if is_same_on_all_cores() { functions::cpuids(file, part, &code) } else { Vec::new() };
        for ((_, site), jump) in sites.iter().zip(jumps) {
            put(&mut code, site.start.checked_sub(CODE)?, &jump)?;
        }
        for place in &cpuids {
            put(&mut code, *place, &config::CPUID_MARK.to_le_bytes())?;
        }
        let memory = Arc::new(sealed(&[&trampolines, &code])?);
        let bytes = size(part);
        copied.fetch_add(bytes, Ordering::Relaxed);
        Some(Self {
            distance,
            memory,
            area,
            sites,
            cpuids,
            len: part.len,
            bytes,
            copied: Arc::clone(copied),
        })
    }

    /// Whether a `cpuid` is replaced so many bytes into the code.
    pub fn is_cpuid(&self, offset: u64) -> bool {
        self.cpuids.binary_search(&offset).is_ok()
    }

    /// How many sites are rewritten.
    pub fn sites(&self) -> usize {
        self.sites.len()
    }

    /// What maps it: the code at `code`, the area where it belongs.
    pub fn mappings(&self, code: u64) -> Option<[HostOp; 3]> {
        let area = code.checked_add_signed(self.distance)?;
        let map = |addr: u64, offset: u64, len: u64, write: bool| HostOp::MapFile {
            addr,
            len,
            prot: HostProt { read: true, write, exec: !write },
            shared: false,
            writable: false,
            file: Arc::clone(&self.memory),
            offset,
            populate: false,
            code: None,
        };
        let rest = trampoline::AREA_LEN - layout::PAGE;
        Some([
            map(area, 0, layout::PAGE, true),
            map(area + layout::PAGE, layout::PAGE, rest, false),
            map(code, trampoline::AREA_LEN, self.len, false),
        ])
    }

    /// What there is to be known of it where the code lies at `code`.
    pub fn at(self: &Arc<Self>, code: u64) -> Copied {
        let moved = |address: u64| address.wrapping_sub(CODE).wrapping_add(code);
        let site = |site: &Site| Site { start: moved(site.start), rip: moved(site.rip), ..*site };
        Copied {
            code,
            copy: Arc::clone(self),
            area: self.area.moved(moved(self.area.start)),
            sites: self.sites.iter().map(|(at, known)| (moved(*at), site(known))).collect(),
        }
    }
}

fn put(memory: &mut [u8], at: u64, bytes: &[u8]) -> Option<()> {
    let at = usize::try_from(at).ok()?;
    memory.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

/// The whole part; zeros behind the file's end, as in a mapping.
fn read(file: &OwnedFd, part: &Identity) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(part.len).ok()?];
    let there = u64::try_from(part.size).ok()?.checked_sub(part.offset)?.min(part.len);
    let there = usize::try_from(there).ok()?;
    let mut done = 0;
    while done < there {
        let rest = bytes.get_mut(done..there)?;
        match rustix::io::pread(file, rest, part.offset + done as u64) {
            Ok(0) => return None,
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(bytes)
}

/// A memory file with these contents, which nobody can change.
fn sealed(contents: &[&[u8]]) -> Option<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("chitin-code", flags).ok()?;
    let mut at = 0;
    for mut rest in contents.iter().copied() {
        while !rest.is_empty() {
            let count = rustix::io::pwrite(&memory, rest, at).ok().filter(|count| *count > 0)?;
            at += count as u64;
            rest = rest.get(count..)?;
        }
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals).ok()?;
    Some(memory)
}
