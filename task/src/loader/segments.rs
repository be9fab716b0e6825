//! Mapping the segments of an ELF file into a new address space.

use std::sync::Arc;

use chitin_abi::addr::{page_ceil, page_floor};
use chitin_abi::mm::{MapFlags, ProtFlags};
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use chitin_mm::platform::Platform;
use chitin_mm::space::{MapRequest, MapSource, Space};
use chitin_mm::{GuestMemory, HostOp};
use chitin_vfs::file::OpenFile;
use chitin_vfs::path::Path;

use super::LoadContext;
use super::elf::{Layout, Segment};
use super::resolve::{ElfFile, read_up_to};
use crate::memory::named::{self, known_code};

/// Bytes copied at a time from files that cannot be mapped.
const COPY_CHUNK: u64 = 256 << 10;

/// What has to be done after the mappings exist.
#[derive(Default)]
pub(super) struct Fill {
    /// Ranges to clear: address and length.
    zero: Vec<(u64, u64)>,
    /// Contents to copy: index of the file, offset in it, address, length.
    copy: Vec<(usize, u64, u64, u64)>,
    /// Rights to set afterwards.
    protect: Vec<(u64, u64, ProtFlags)>,
}

/// A new address space and what is to be done to its host side.
pub(super) struct Builder {
    pub(super) space: Space,
    pub(super) ops: Vec<HostOp>,
    pub(super) fill: Fill,
    root: Path,
    platform: Arc<dyn Platform>,
}

impl Builder {
    pub(super) fn new(space: Space, context: &LoadContext<'_>) -> Self {
        let (root, platform) = (context.root.clone(), Arc::clone(context.platform));
        Self { space, ops: Vec::new(), fill: Fill::default(), root, platform }
    }

    /// Maps, with the plan added to ours.
    pub(super) fn map(&mut self, request: MapRequest) -> Result<u64> {
        let (result, plan) = self.space.map(request);
        self.ops.extend(plan.ops);
        result
    }

    /// Maps anonymous memory at a fixed place.
    pub(super) fn map_anonymous(
        &mut self,
        addr: u64,
        len: u64,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> Result<u64> {
        let flags = flags | MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS | MapFlags::MAP_FIXED;
        self.map(MapRequest { addr, len, prot, flags, source: MapSource::Anonymous })
    }

    /// Maps all segments of file number `index`, moved by `bias`.
    pub(super) fn map_elf_at(&mut self, elf: &ElfFile, index: usize, bias: u64) -> Result<()> {
        let (start, end) = elf.layout.range;
        let base = start.checked_add(bias).ok_or(Errno::ENOMEM)?;
        if !self.space.is_free(base, end.saturating_sub(start)) {
            return Err(Errno::ENOMEM);
        }
        for segment in &elf.layout.segments {
            self.map_segment(&elf.file, index, segment, bias)?;
        }
        Ok(())
    }

    fn map_segment(
        &mut self,
        file: &OpenFile,
        index: usize,
        segment: &Segment,
        bias: u64,
    ) -> Result<()> {
        let address = segment.address.checked_add(bias).ok_or(Errno::ENOMEM)?;
        let start = page_floor(address);
        let file_end = address.checked_add(segment.file_size).ok_or(Errno::ENOMEM)?;
        let memory_end = address.checked_add(segment.memory_size).ok_or(Errno::ENOMEM)?;
        let file_pages = page_ceil(file_end).ok_or(Errno::ENOMEM)?;
        let memory_pages = page_ceil(memory_end).ok_or(Errno::ENOMEM)?;
        if segment.file_size > 0 {
            let offset = segment.offset.saturating_sub(address % PAGE_SIZE);
            self.map_file(file, index, (start, file_pages), offset, segment.prot)?;
            if memory_end > file_end && segment.prot.contains(ProtFlags::PROT_WRITE) {
                self.fill.zero.push((file_end, file_pages.saturating_sub(file_end)));
            }
        }
        let bss_start = if segment.file_size > 0 { file_pages } else { start };
        if memory_pages > bss_start {
            self.map_anonymous(
                bss_start,
                memory_pages - bss_start,
                segment.prot,
                MapFlags::empty(),
            )?;
        }
        Ok(())
    }

    fn map_file(
        &mut self,
        file: &OpenFile,
        index: usize,
        range: (u64, u64),
        offset: u64,
        prot: ProtFlags,
    ) -> Result<()> {
        let (addr, len) = (range.0, range.1.saturating_sub(range.0));
        let mapped = match named::map(file, &self.root) {
            Ok(mapped) => mapped,
            Err(Errno::ENODEV) => {
                let writable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
                self.map_anonymous(addr, len, writable, MapFlags::empty())?;
                self.fill.copy.push((index, offset, addr, len));
                if prot != writable {
                    self.fill.protect.push((addr, len, prot));
                }
                return Ok(());
            }
            Err(errno) => return Err(errno),
        };
        let host = mapped.host_file(offset, len, false)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        let code = known_code(&*self.platform, prot, flags, &host, len);
        let source = MapSource::File {
            file: mapped,
            offset,
            host,
            readable: true,
            writable: false,
            noexec: false,
            code,
        };
        self.map(MapRequest { addr, len, prot, flags, source }).map(drop)
    }

    /// Rights to set once everything is filled.
    pub(super) fn take_protections(&mut self) -> Result<Vec<HostOp>> {
        let mut ops = Vec::new();
        for (addr, len, prot) in core::mem::take(&mut self.fill.protect) {
            let (result, plan) = self.space.protect(addr, len, prot);
            ops.extend(plan.ops);
            result?;
        }
        Ok(ops)
    }
}

/// Copies what could not be mapped, and clears what lies behind the files' data.
pub(super) fn fill(fill: &Fill, files: &[&OpenFile], memory: &dyn GuestMemory) -> Result<()> {
    for (index, offset, addr, len) in &fill.copy {
        let file = files.get(*index).ok_or(Errno::ENOEXEC)?;
        copy_in(file, *offset, *addr, *len, memory)?;
    }
    let zeros = [0; PAGE_SIZE as usize];
    for (addr, len) in &fill.zero {
        let zeros = zeros.get(..(*len).min(PAGE_SIZE) as usize).unwrap_or_default();
        if !zeros.is_empty() {
            memory.write(GuestAddr(*addr), zeros)?;
        }
    }
    Ok(())
}

fn copy_in(
    file: &OpenFile,
    offset: u64,
    addr: u64,
    len: u64,
    memory: &dyn GuestMemory,
) -> Result<()> {
    let mut done = 0;
    while done < len {
        let count = (len - done).min(COPY_CHUNK) as usize;
        let bytes = read_up_to(&**file.file(), offset.saturating_add(done), count)?;
        if bytes.is_empty() {
            break;
        }
        memory.write(GuestAddr(addr.saturating_add(done)), &bytes)?;
        done = done.saturating_add(bytes.len() as u64);
    }
    Ok(())
}

/// The ranges of code and data that /proc shows, moved by `bias`: (start, end) of each.
pub(super) fn code_and_data(layout: &Layout, bias: u64) -> ((u64, u64), (u64, u64)) {
    let mut code = (u64::MAX, 0);
    let mut data = (0, 0);
    for segment in &layout.segments {
        let start = segment.address.wrapping_add(bias);
        let end = start.wrapping_add(segment.file_size);
        if segment.prot.contains(ProtFlags::PROT_EXEC) {
            code = (code.0.min(start), code.1.max(end));
        }
        data = (data.0.max(start), data.1.max(end));
    }
    if code.0 > code.1 {
        code = (0, 0);
    }
    (code, data)
}
