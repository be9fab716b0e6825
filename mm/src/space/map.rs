//! `mmap(2)`.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::addr::{page_ceil, page_floor};
use chitin_abi::mm::{MAP_SHARED_VALIDATE, MAP_TYPE, MapFlags, ProtFlags};
use chitin_abi::{Errno, PAGE_SIZE, Result};

use super::plan::{Plan, Planned, Undo};
use super::vma::{Backing, RIGHTS, Vma, VmaFlags, accounted, counts_as_data, host_prot};
use super::{MAX_MAP_COUNT, Space};
use crate::host_op::{HostOp, MappedCode};
use crate::mapped_file::{FileRef, MappedFile};
use crate::platform::KnownCode;

/// The flags that `MAP_SHARED_VALIDATE` knows.
const VALIDATED: u32 = chitin_abi::mm::MAP_ABOVE4G
    | 0xfc00_0000
    | MapFlags::MAP_SHARED
        .union(MapFlags::MAP_PRIVATE)
        .union(MapFlags::MAP_FIXED)
        .union(MapFlags::MAP_ANONYMOUS)
        .union(MapFlags::MAP_DENYWRITE)
        .union(MapFlags::MAP_EXECUTABLE)
        .union(MapFlags::MAP_UNINITIALIZED)
        .union(MapFlags::MAP_GROWSDOWN)
        .union(MapFlags::MAP_LOCKED)
        .union(MapFlags::MAP_NORESERVE)
        .union(MapFlags::MAP_POPULATE)
        .union(MapFlags::MAP_NONBLOCK)
        .union(MapFlags::MAP_STACK)
        .union(MapFlags::MAP_HUGETLB)
        .union(MapFlags::MAP_32BIT)
        .union(MapFlags::MAP_FIXED_NOREPLACE)
        .bits();

/// What `mmap(2)` is asked for.
pub struct MapRequest {
    /// The address: a hint, or fixed.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
    /// Rights.
    pub prot: ProtFlags,
    /// Flags.
    pub flags: MapFlags,
    /// What is mapped.
    pub source: MapSource,
}

/// What a mapping shows.
pub enum MapSource {
    /// Zero pages.
    Anonymous,
    /// A file.
    File {
        /// The file.
        file: Arc<dyn MappedFile>,
        /// Offset in it: whole pages.
        offset: u64,
        /// The host file and the offset in it, as [`MappedFile::host_file`] gave them; with write access if
        /// the mapping is shared and `writable`.
        host: (Arc<OwnedFd>, u64),
        /// Whether it is open for reading.
        readable: bool,
        /// Whether it is open for writing.
        writable: bool,
        /// Whether its mount forbids execution.
        noexec: bool,
        /// What the platform knows of the code in this part of it.
        code: Option<KnownCode>,
    },
}

/// A request that was checked.
struct Checked {
    len: u64,
    max_prot: ProtFlags,
    flags: VmaFlags,
    populate: bool,
}

impl Space {
    /// `mmap(2)`: the address of the new mapping.
    pub fn map(&mut self, request: MapRequest) -> Planned<u64> {
        let mut plan = Plan::default();
        let result = self.map_planned(request, &mut plan);
        (result, plan)
    }

    fn map_planned(&mut self, request: MapRequest, plan: &mut Plan) -> Result<u64> {
        let (addr, len) = self.choose(&request)?;
        let checked = self.check_kind(&request, len)?;
        self.reserve(addr, &request, &checked)?;
        let end = addr.saturating_add(len);
        self.remove_planned(addr, end, plan);
        self.build(addr, request, checked, plan);
        plan.undo = Undo::forget(addr, end);
        Ok(addr)
    }

    /// The place and length.
    fn choose(&mut self, request: &MapRequest) -> Result<(u64, u64)> {
        if request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_ceil(request.len).ok_or(Errno::ENOMEM)?;
        if let MapSource::File { offset, .. } = &request.source {
            if !offset.is_multiple_of(PAGE_SIZE) {
                return Err(Errno::EINVAL);
            }
            if offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
                return Err(Errno::EOVERFLOW);
            }
        }
        if self.tree.len() >= MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        let no_replace = request.flags.contains(MapFlags::MAP_FIXED_NOREPLACE);
        if !no_replace && !request.flags.contains(MapFlags::MAP_FIXED) {
            return Ok((self.find_place(page_floor(request.addr), len, request.flags)?, len));
        }
        self.check_fixed(request.addr, len)?;
        if no_replace && self.tree.intersects(request.addr, request.addr.saturating_add(len)) {
            return Err(Errno::EEXIST);
        }
        Ok((request.addr, len))
    }

    /// Whether something may be mapped at exactly this place.
    pub(super) fn check_fixed(&self, addr: u64, len: u64) -> Result<()> {
        let (min, max) = self.bounds();
        if addr.checked_add(len).is_none_or(|end| end > max) {
            return Err(Errno::ENOMEM);
        }
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if addr < min { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Type, rights, and what the mapping will be.
    fn check_kind(&self, request: &MapRequest, len: u64) -> Result<Checked> {
        let bits = request.flags.bits();
        let mut flags = self.lock_future;
        if request.flags.contains(MapFlags::MAP_LOCKED) {
            if !self.limits.may_lock && self.limits.locked == 0 {
                return Err(Errno::EPERM);
            }
            flags.remove(VmaFlags::LOCK_ON_FAULT);
            flags.insert(VmaFlags::LOCKED);
        }
        if flags.contains(VmaFlags::LOCKED) && !self.may_lock_more(len) {
            return Err(Errno::EAGAIN);
        }
        let kind = bits & MAP_TYPE;
        let shared = kind == chitin_abi::mm::MAP_SHARED || kind == MAP_SHARED_VALIDATE;
        if !shared && kind != chitin_abi::mm::MAP_PRIVATE {
            return Err(Errno::EINVAL);
        }
        flags.set(VmaFlags::SHARED, shared);
        let max_prot = match &request.source {
            MapSource::File { .. } => file_rights(request, shared)?,
            MapSource::Anonymous if kind == MAP_SHARED_VALIDATE => return Err(Errno::EINVAL),
            MapSource::Anonymous => RIGHTS,
        };
        let grows = request.flags.contains(MapFlags::MAP_GROWSDOWN);
        if grows && (shared || matches!(request.source, MapSource::File { .. })) {
            return Err(Errno::EINVAL);
        }
        flags.set(VmaFlags::GROWS_DOWN, grows);
        flags.set(VmaFlags::NO_RESERVE, request.flags.contains(MapFlags::MAP_NORESERVE));
        let locked = flags.contains(VmaFlags::LOCKED) && !flags.contains(VmaFlags::LOCK_ON_FAULT);
        let populate = request.flags.contains(MapFlags::MAP_POPULATE)
            && !request.flags.contains(MapFlags::MAP_NONBLOCK);
        Ok(Checked { len, max_prot, flags, populate: populate || locked })
    }

    /// The limits on how much may be mapped.
    fn reserve(&self, addr: u64, request: &MapRequest, checked: &Checked) -> Result<()> {
        let end = addr.saturating_add(checked.len);
        let data = counts_as_data(request.prot, checked.flags);
        let replaced = self.tree.mapped_bytes(addr, end, |_| true);
        let replaced_data = self.tree.mapped_bytes(addr, end, Vma::is_data);
        let counters = self.tree.counters();
        let total = counters.total.saturating_sub(replaced).saturating_add(checked.len);
        let data_total = counters.data.saturating_sub(replaced_data).saturating_add(checked.len);
        if total > self.limits.address_space || (data && data_total > self.limits.data) {
            return Err(Errno::ENOMEM);
        }
        self.check_hole(addr, end)?;
        self.check_sealed(addr, end)
    }

    /// Makes the mapping.
    fn build(&mut self, addr: u64, request: MapRequest, checked: Checked, plan: &mut Plan) {
        let Checked { len, max_prot, mut flags, populate } = checked;
        let prot = request.prot.intersection(RIGHTS);
        flags |= accounted(prot, flags);
        let shared = flags.contains(VmaFlags::SHARED);
        let backing = match request.source {
            MapSource::Anonymous => {
                plan.ops.push(HostOp::MapAnonymous {
                    addr,
                    len,
                    prot: host_prot(prot),
                    shared,
                    populate,
                    noreserve: flags.contains(VmaFlags::NO_RESERVE),
                    grows_down: false,
                });
                if shared {
                    Backing::SharedAnonymous { object: self.next_object(), offset: 0 }
                } else {
                    Backing::Anonymous { offset: addr }
                }
            }
            MapSource::File { file, offset, host: (host, host_offset), code, .. } => {
                let is_code = !shared && prot == ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
                let code = code.filter(|_| is_code).map(|known| MappedCode {
                    number: known.number,
                    room: self.room_for(addr, len, &known),
                });
                plan.ops.push(HostOp::MapFile {
                    addr,
                    len,
                    prot: host_prot(prot),
                    shared,
                    writable: max_prot.contains(ProtFlags::PROT_WRITE),
                    file: host,
                    offset: host_offset,
                    populate,
                    code,
                });
                let counted = shared && max_prot.contains(ProtFlags::PROT_WRITE);
                Backing::File { file: FileRef::new(file, counted), offset }
            }
        };
        let vma = Vma { end: addr.saturating_add(len), prot, max_prot, flags, backing, name: None };
        self.insert(addr, vma, plan);
    }
}

/// What may ever be allowed on a file mapping.
fn file_rights(request: &MapRequest, shared: bool) -> Result<ProtFlags> {
    let MapSource::File { file, readable, writable, noexec, .. } = &request.source else {
        return Ok(RIGHTS);
    };
    let mut max_prot = RIGHTS;
    if shared {
        if request.flags.bits() & MAP_TYPE == MAP_SHARED_VALIDATE
            && request.flags.bits() & !VALIDATED != 0
        {
            return Err(Errno::EOPNOTSUPP);
        }
        if request.prot.contains(ProtFlags::PROT_WRITE) && !writable {
            return Err(Errno::EACCES);
        }
        if !writable {
            max_prot.remove(ProtFlags::PROT_WRITE);
        }
    }
    if !readable {
        return Err(Errno::EACCES);
    }
    if *noexec {
        if request.prot.contains(ProtFlags::PROT_EXEC) {
            return Err(Errno::EPERM);
        }
        max_prot.remove(ProtFlags::PROT_EXEC);
    }
    if shared && file.write_sealed() {
        if request.prot.contains(ProtFlags::PROT_WRITE) {
            return Err(Errno::EPERM);
        }
        max_prot.remove(ProtFlags::PROT_WRITE);
    }
    Ok(max_prot)
}
