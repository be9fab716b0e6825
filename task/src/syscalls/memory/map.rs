//! `mmap(2)` and `remap_file_pages(2)`: what is mapped, and whether the caller may.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::addr::page_floor;
use chitin_abi::mm::{
    MAP_HUGE_MASK, MAP_HUGE_SHIFT, MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_TYPE,
    MapFlags, ProtFlags,
};
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use chitin_mm::MappedFile;
use chitin_mm::space::{MapRequest, MapSource};
use chitin_vfs::file::OpenFile;
use chitin_vfs::mount::MountFlags;
use chitin_vfs::secret::SecretFile;

use super::update;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::memory::named;
use crate::syscalls::args::{Fd, Flags, MapFlags as MapFlagsArg, Protection};

/// `mmap(2)`.
///
/// # Errors
/// All of mmap(2)'s.
pub async fn mmap(
    cx: &mut Ctx<'_>,
    addr: GuestAddr,
    length: u64,
    prot: Protection,
    flags: MapFlagsArg,
    fd: Fd,
    offset: u64,
) -> SysResult {
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let prot = ProtFlags::from_bits_retain(prot.0);
    let flags = MapFlags::from_bits_retain(flags.0);
    let source = if flags.contains(MapFlags::MAP_ANONYMOUS) {
        check_huge(flags)?;
        MapSource::Anonymous
    } else {
        let file = cx.file(fd.0)?;
        if flags.contains(MapFlags::MAP_HUGETLB) {
            return Err(Errno::EINVAL.into());
        }
        file_source(cx, &file, length, prot, flags, offset)?
    };
    update(cx, |space| space.map(MapRequest { addr: addr.0, len: length, prot, flags, source }))
        .await
}

/// Huge pages are none, so a mapping of them of a size that the processor has finds no memory.
fn check_huge(flags: MapFlags) -> Result<()> {
    if !flags.contains(MapFlags::MAP_HUGETLB) {
        return Ok(());
    }
    match (flags.bits() >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK {
        0 | 21 | 30 => Err(Errno::ENOMEM),
        _ => Err(Errno::EINVAL),
    }
}

fn file_source(
    cx: &Ctx<'_>,
    file: &Arc<OpenFile>,
    length: u64,
    prot: ProtFlags,
    flags: MapFlags,
    offset: u64,
) -> Result<MapSource> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let end = chitin_abi::addr::page_ceil(length).ok_or(Errno::ENOMEM)?.checked_add(offset);
    if end.is_none_or(|end| end > i64::MAX as u64) {
        return Err(Errno::EOVERFLOW);
    }
    let shared = match flags.bits() & MAP_TYPE {
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    if !shared && file.file().as_any().is::<SecretFile>() {
        return Err(Errno::EINVAL);
    }
    let (readable, writable) = (file.readable(), file.writable());
    if !readable || (shared && prot.contains(ProtFlags::PROT_WRITE) && !writable) {
        return Err(Errno::EACCES);
    }
    let noexec = file.path().is_some_and(|path| path.mount().flags().contains(MountFlags::NO_EXEC));
    if noexec && prot.contains(ProtFlags::PROT_EXEC) {
        return Err(Errno::EPERM);
    }
    let mapped = named::map(file, &cx.task.fs().root())?;
    let host = host_file(&mapped, offset, length, shared && writable)?;
    let code = named::known_code(&*cx.kernel().platform, prot, flags, &host, length);
    Ok(MapSource::File { file: mapped, offset, host, readable, writable, noexec, code })
}

/// The host file of a mapping. A file that may not be written through mappings is had for reading only.
fn host_file(
    mapped: &Arc<dyn MappedFile>,
    offset: u64,
    length: u64,
    write: bool,
) -> Result<(Arc<OwnedFd>, u64)> {
    mapped.host_file(offset, length, write && !mapped.write_sealed())
}

/// `remap_file_pages(2)`: a new mapping of another part of the file, as Linux does it since 4.0.
///
/// # Errors
/// EINVAL, and those of mmap(2).
pub async fn remap_file_pages(
    cx: &mut Ctx<'_>,
    addr: GuestAddr,
    size: u64,
    prot: Protection,
    pgoff: u64,
    flags: Flags,
) -> SysResult {
    let start = page_floor(addr.0);
    let size = page_floor(size);
    let invalid = prot.0 != 0 || start.checked_add(size).is_none_or(|end| end <= start);
    let offset = pgoff.checked_mul(PAGE_SIZE).filter(|offset| offset.checked_add(size).is_some());
    let (false, Some(offset)) = (invalid, offset) else { return Err(Errno::EINVAL.into()) };
    let vma = cx.mm.space.lock().lookup(start).ok_or(Errno::EINVAL)?;
    let Some(file) = vma.file.as_ref().filter(|_| vma.shared()) else {
        return Err(Errno::EINVAL.into());
    };
    if start.saturating_add(size) > vma.end {
        return Err(Errno::EINVAL.into());
    }
    let writable = vma.max_prot.contains(ProtFlags::PROT_WRITE);
    let host = host_file(file, offset, size, writable)?;
    let source = MapSource::File {
        file: Arc::clone(file),
        offset,
        host,
        readable: true,
        writable,
        noexec: !vma.max_prot.contains(ProtFlags::PROT_EXEC),
        code: None,
    };
    let keep = MapFlags::from_bits_retain(flags.0) & MapFlags::MAP_NONBLOCK;
    let flags = keep | MapFlags::MAP_SHARED | MapFlags::MAP_FIXED | MapFlags::MAP_POPULATE;
    let request = MapRequest { addr: start, len: size, prot: vma.prot, flags, source };
    update(cx, |space| space.map(request)).await.map(|_| 0)
}
