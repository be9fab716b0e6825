//! `shmget(2)`, `shmat(2)`, `shmdt(2)`, `shmctl(2)`.

use std::sync::Arc;

use chitin_abi::ipc::{
    IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, SHM_EXEC, SHM_INFO, SHM_LOCK, SHM_RDONLY, SHM_REMAP,
    SHM_RND, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, SHMMIN, ShmInfo, ShmidDs, Shminfo,
};
use chitin_abi::mm::{MapFlags, ProtFlags};
use chitin_abi::process::{CAP_IPC_LOCK, RLIMIT_MEMLOCK};
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE};
use chitin_mm::MappedFile;
use chitin_mm::space::{MapRequest, MapSource};

use super::{caller, world};
use crate::context::Ctx;
use crate::error::SysResult;
use crate::ipc::perm::{EXEC, READ, WRITE};
use crate::ipc::shm::{self, Segment};
use crate::syscalls::args::Flags;
use crate::syscalls::memory::limits_of;

/// `shmget(2)`.
///
/// # Errors
/// EINVAL, ENOENT, EEXIST, EACCES, ENOSPC, ENOMEM.
pub fn shmget(cx: &mut Ctx<'_>, key: i32, size: u64, shmflg: Flags) -> SysResult {
    let (ns, cred) = world(cx);
    let object = cx.kernel().next_object_id();
    let id = shm::get(&ns.shm, key, size, shmflg.0, &caller(cx, &cred), object)?;
    Ok(u64::from(id.unsigned_abs()))
}

/// Where a segment is attached.
struct Place {
    addr: u64,
    flags: MapFlags,
}

fn place(shmaddr: GuestAddr, flags: u32) -> Result<Place, Errno> {
    let mut addr = shmaddr.0;
    if addr == 0 {
        if flags & SHM_REMAP != 0 {
            return Err(Errno::EINVAL);
        }
        return Ok(Place { addr, flags: MapFlags::MAP_SHARED });
    }
    if !addr.is_multiple_of(PAGE_SIZE) {
        if flags & SHM_RND == 0 {
            return Err(Errno::EINVAL);
        }
        addr = chitin_abi::addr::page_floor(addr);
        if addr == 0 && flags & SHM_REMAP != 0 {
            return Err(Errno::EINVAL);
        }
    }
    let fixed =
        if flags & SHM_REMAP != 0 { MapFlags::MAP_FIXED } else { MapFlags::MAP_FIXED_NOREPLACE };
    Ok(Place { addr, flags: MapFlags::MAP_SHARED | fixed })
}

/// `shmat(2)`.
///
/// # Errors
/// EINVAL, EIDRM, EACCES, ENOMEM.
pub async fn shmat(cx: &mut Ctx<'_>, shmid: i32, shmaddr: GuestAddr, shmflg: Flags) -> SysResult {
    let (ns, cred) = world(cx);
    let flags = shmflg.0;
    if shmid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let Place { addr, flags: map_flags } = place(shmaddr, flags)?;
    let mut prot = ProtFlags::PROT_READ;
    let mut wanted = READ;
    let writable = flags & SHM_RDONLY == 0;
    if writable {
        prot |= ProtFlags::PROT_WRITE;
        wanted |= WRITE;
    }
    if flags & SHM_EXEC != 0 {
        prot |= ProtFlags::PROT_EXEC;
        wanted |= EXEC;
    }
    let segment = ns.shm.find(shmid)?;
    let who = caller(cx, &cred);
    who.check(&crate::ipc::ids::Object::permission(&*segment), wanted)?;
    let host = segment.host_file(0, segment.mapped_size(), writable)?;
    let source = MapSource::File {
        file: Arc::clone(&segment) as Arc<dyn MappedFile>,
        offset: 0,
        host,
        readable: true,
        writable,
        noexec: false,
        code: None,
    };
    let limits = limits_of(cx.task);
    let request = MapRequest { addr, len: segment.mapped_size(), prot, flags: map_flags, source };
    let mapped = cx.mm.update(|space| {
        space.set_limits(limits);
        space.map(request)
    });
    let at =
        mapped.await.map_err(|errno| if errno == Errno::EEXIST { Errno::EINVAL } else { errno })?;
    segment.note_attach(&who);
    Ok(at)
}

/// `shmdt(2)`.
///
/// # Errors
/// EINVAL.
pub async fn shmdt(cx: &mut Ctx<'_>, shmaddr: GuestAddr) -> SysResult {
    if !shmaddr.0.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let (_, cred) = world(cx);
    let Attachment { file, pieces } = attached_at(cx, shmaddr.0).ok_or(Errno::EINVAL)?;
    for (start, len) in pieces {
        cx.mm.update(|space| space.unmap(start, len)).await?;
    }
    if let Some(segment) = file.as_any().downcast_ref::<Segment>() {
        segment.note_detach(&caller(cx, &cred));
    }
    Ok(0)
}

/// An attachment: its file, and address and length of each mapping.
struct Attachment {
    file: Arc<dyn MappedFile>,
    pieces: Vec<(u64, u64)>,
}

/// What of a segment is attached at `addr`.
fn attached_at(cx: &Ctx<'_>, addr: u64) -> Option<Attachment> {
    let space = cx.mm.space.lock();
    let mut found: Option<Attachment> = None;
    let mut end = u64::MAX;
    for vma in space.maps_from(addr) {
        if vma.start >= end {
            break;
        }
        let at_offset = vma.start.checked_sub(addr) == Some(vma.offset);
        let Some(file) = vma.file.clone().filter(|_| at_offset) else { continue };
        match &mut found {
            Some(attachment) if attachment.file.key() == file.key() => {
                attachment.pieces.push((vma.start, vma.len()));
            }
            Some(_) => {}
            None => {
                let Some(segment) = file.as_any().downcast_ref::<Segment>() else { continue };
                end = addr.saturating_add(segment.mapped_size());
                found = Some(Attachment { pieces: vec![(vma.start, vma.len())], file });
            }
        }
    }
    found
}

/// `shmctl(2)`.
///
/// # Errors
/// EINVAL, EIDRM, EACCES, EPERM, EFAULT.
pub fn shmctl(cx: &mut Ctx<'_>, shmid: i32, op: i32, buf: GuestAddr) -> SysResult {
    let (ns, cred) = world(cx);
    let who = caller(cx, &cred);
    if shmid < 0 || op < 0 {
        return Err(Errno::EINVAL.into());
    }
    let op = op.cast_unsigned() & !chitin_abi::ipc::IPC_64;
    match op {
        IPC_INFO => {
            let info = Shminfo {
                shmmax: shm::SIZE_MAX,
                shmmin: u64::from(SHMMIN),
                shmmni: shm::SEGMENTS_MAX as u64,
                shmseg: shm::SEGMENTS_MAX as u64,
                shmall: shm::PAGES_MAX,
                ..Shminfo::default()
            };
            cx.write(buf, &info)?;
            Ok(ns.shm.highest())
        }
        SHM_INFO => {
            let pages: u64 =
                ns.shm.all().iter().map(|(_, _, segment)| segment.mapped_size() / PAGE_SIZE).sum();
            let info =
                ShmInfo { used_ids: ns.shm.count() as i32, shm_tot: pages, ..ShmInfo::default() };
            cx.write(buf, &info)?;
            Ok(ns.shm.highest())
        }
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let (id, segment) =
                if op == IPC_STAT { (shmid, ns.shm.find(shmid)?) } else { ns.shm.at(shmid)? };
            if op != SHM_STAT_ANY {
                who.check(&crate::ipc::ids::Object::permission(&*segment), READ)?;
            }
            cx.write(buf, &segment.stat(&who, ns.shm.key_of(id)))?;
            Ok(if op == IPC_STAT { 0 } else { u64::from(id.unsigned_abs()) })
        }
        IPC_SET => {
            let new: ShmidDs = cx.read(buf)?;
            let segment = ns.shm.find(shmid)?;
            who.check_owner(&crate::ipc::ids::Object::permission(&*segment))?;
            segment.set(&who, &new)?;
            Ok(0)
        }
        IPC_RMID => {
            let segment = ns.shm.find(shmid)?;
            who.check_owner(&crate::ipc::ids::Object::permission(&*segment))?;
            segment.remove();
            Ok(0)
        }
        SHM_LOCK | SHM_UNLOCK => {
            let segment = ns.shm.find(shmid)?;
            if !cred.capable(&ns.user_ns, CAP_IPC_LOCK) {
                let owns = who.owns(&crate::ipc::ids::Object::permission(&*segment));
                let limit = cx.task.group.limits().soft(RLIMIT_MEMLOCK);
                if !owns || (op == SHM_LOCK && limit == 0) {
                    return Err(Errno::EPERM.into());
                }
            }
            segment.set_locked(op == SHM_LOCK);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
