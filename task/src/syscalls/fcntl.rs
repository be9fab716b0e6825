//! `fcntl(2)`.

use std::sync::Arc;

use chitin_abi::fs::{
    F_ADD_SEALS, F_CREATED_QUERY, F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GET_FILE_RW_HINT,
    F_GET_RW_HINT, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLEASE, F_GETLK, F_GETOWN, F_GETOWN_EX,
    F_GETPIPE_SZ, F_GETSIG, F_NOTIFY, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_OWNER_PGRP,
    F_OWNER_PID, F_OWNER_TID, F_SET_FILE_RW_HINT, F_SET_RW_HINT, F_SETFD, F_SETFL, F_SETLEASE,
    F_SETLK, F_SETLKW, F_SETOWN, F_SETOWN_EX, F_SETPIPE_SZ, F_SETSIG, FD_CLOEXEC, FOwnerEx,
    OpenFlags,
};
use chitin_abi::process::{CAP_FOWNER, CAP_SYS_RESOURCE};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::{FileOwner, OpenFile};
use chitin_vfs::fs::tmpfs;
use chitin_vfs::inode::Inode;
use chitin_vfs::pipe::PipeEnd;

use super::args::Fd;
use super::locks::{self, Kind};
use super::sigio;
use crate::context::Ctx;
use crate::error::{Restart, SysResult};

/// Status flags that `F_SETFL` changes.
const CHANGEABLE: OpenFlags = OpenFlags::O_APPEND
    .union(OpenFlags::O_NONBLOCK)
    .union(OpenFlags::O_ASYNC)
    .union(OpenFlags::O_DIRECT)
    .union(OpenFlags::O_NOATIME);
/// The highest `RWH_WRITE_LIFE_…`.
const MAX_RW_HINT: u8 = 5;

/// `fcntl(2)`.
pub async fn fcntl(cx: &mut Ctx<'_>, fd: Fd, op: u32, arg: u64) -> SysResult {
    let (file, close_on_exec) = cx.task.files().get_with_flags(fd.0)?;
    match op {
        F_DUPFD => return duplicate(cx, file, arg, false),
        F_DUPFD_CLOEXEC => return duplicate(cx, file, arg, true),
        F_DUPFD_QUERY => {
            let other = cx.any_file(arg as i32)?;
            return Ok(u64::from(Arc::ptr_eq(&file, &other)));
        }
        F_GETFD => return Ok(u64::from(close_on_exec)),
        F_SETFD => {
            cx.task.files().set_close_on_exec_flag(fd.0, arg as u32 & FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        F_GETFL => return Ok(u64::from(file.flags().bits())),
        _ if file.is_path_only() => return Err(Errno::EBADF.into()),
        _ => {}
    }
    let addr = GuestAddr(arg);
    match op {
        F_GETLK => locks::get(cx, &file, addr, Kind::Posix),
        F_OFD_GETLK => locks::get(cx, &file, addr, Kind::Description),
        F_SETLK | F_SETLKW => locks::set(cx, &file, addr, Kind::Posix, op == F_SETLKW).await,
        F_OFD_SETLK | F_OFD_SETLKW => {
            locks::set(cx, &file, addr, Kind::Description, op == F_OFD_SETLKW).await
        }
        F_ADD_SEALS => add_seals(cx, &file, arg as u32).await,
        _ => simple(cx, fd, &file, op, arg),
    }
}

/// How often, and after how many nanoseconds, the host is asked again for a seal.
const SEAL_ATTEMPTS: (u32, u64) = (50, 2_000_000);

/// Adds seals; waits a little for mappings that are about to go.
async fn add_seals(cx: &Ctx<'_>, file: &OpenFile, seals: u32) -> SysResult {
    if !file.writable() {
        return Err(Errno::EPERM.into());
    }
    let inode = sealable(file)?;
    for _ in 0..SEAL_ATTEMPTS.0 {
        match tmpfs::add_seals(&inode, seals) {
            Err(Errno::EAGAIN) => {}
            result => return Ok(result.map(|()| 0)?),
        }
        let deadline = cx.kernel().clock.monotonic().saturating_add(SEAL_ATTEMPTS.1);
        let never = core::future::pending::<()>();
        cx.wait_until(Restart::Always, deadline, never).await?;
    }
    Err(Errno::EBUSY.into())
}

fn simple(cx: &Ctx<'_>, fd: Fd, file: &Arc<OpenFile>, op: u32, arg: u64) -> SysResult {
    match op {
        F_SETFL => set_status_flags(cx, fd, file, OpenFlags::from_bits_retain(arg as u32))?,
        F_GETOWN => return Ok(get_owner(cx, file)),
        F_SETOWN => set_owner(cx, file, arg as i32)?,
        F_GETOWN_EX => get_owner_ex(cx, file, GuestAddr(arg))?,
        F_SETOWN_EX => set_owner_ex(cx, file, GuestAddr(arg))?,
        F_GETSIG => return Ok(file.owner.lock().signal.into()),
        F_SETSIG if arg > 64 => return Err(Errno::EINVAL.into()),
        F_SETSIG => file.owner.lock().signal = arg as u32,
        F_GETPIPE_SZ => return Ok(pipe(file)?.pipe().capacity() as u64),
        F_SETPIPE_SZ => {
            let privileged = cx.task.cred().has(CAP_SYS_RESOURCE);
            return Ok(pipe(file)?.pipe().set_capacity(u64::from(arg as u32), privileged)? as u64);
        }
        F_GET_SEALS => return Ok(tmpfs::seals(&sealable(file)?)?.into()),
        F_GETLEASE => return Ok(locks::lease(cx, file)),
        F_SETLEASE => locks::set_lease(cx, fd, file, arg as u32)?,
        F_NOTIFY => sigio::notify(cx, file, fd.0, arg as u32)?,
        F_GET_RW_HINT | F_GET_FILE_RW_HINT => {
            let hint = file.state().map_or(0, |state| state.write_hint());
            cx.write(GuestAddr(arg), &u64::from(hint))?;
        }
        F_SET_RW_HINT | F_SET_FILE_RW_HINT => {
            check_owner(cx, file)?;
            let hint: u64 = cx.read(GuestAddr(arg))?;
            let hint = u8::try_from(hint).ok().filter(|hint| *hint <= MAX_RW_HINT);
            file.lockable_state().set_write_hint(hint.ok_or(Errno::EINVAL)?);
        }
        F_CREATED_QUERY => return Ok(u64::from(file.was_created())),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

fn duplicate(cx: &Ctx<'_>, file: Arc<OpenFile>, min: u64, close_on_exec: bool) -> SysResult {
    let limit = cx.fd_limit();
    let min = i32::try_from(min as u32)
        .ok()
        .filter(|min| u64::from(min.unsigned_abs()) < limit)
        .ok_or(Errno::EINVAL)?;
    let fd = cx.task.files().install(file, close_on_exec, min, limit)?;
    Ok(u64::from(fd.unsigned_abs()))
}

/// Fails for whoever does not own the file.
fn check_owner(cx: &Ctx<'_>, file: &OpenFile) -> Result<()> {
    let cred = cx.task.cred().fs_cred();
    let owns = file.attr()?.uid == cred.uid || cred.caps.has(CAP_FOWNER);
    if owns { Ok(()) } else { Err(Errno::EPERM) }
}

fn set_status_flags(cx: &Ctx<'_>, fd: Fd, file: &Arc<OpenFile>, wanted: OpenFlags) -> Result<()> {
    let old = file.flags();
    if wanted.contains(OpenFlags::O_NOATIME) && !old.contains(OpenFlags::O_NOATIME) {
        check_owner(cx, file)?;
    }
    let mut new = (old - CHANGEABLE) | (wanted & CHANGEABLE);
    if (old ^ new).contains(OpenFlags::O_ASYNC) {
        let possible = sigio::set_async(cx, file, fd.0, new.contains(OpenFlags::O_ASYNC));
        new.set(OpenFlags::O_ASYNC, possible && new.contains(OpenFlags::O_ASYNC));
    }
    file.set_flags(new);
    Ok(())
}

/// The inode that seals are on.
fn sealable(file: &OpenFile) -> Result<Arc<dyn Inode>> {
    file.path().map(chitin_vfs::path::Path::inode).ok_or(Errno::EINVAL)
}

fn pipe(file: &OpenFile) -> Result<&PipeEnd> {
    file.file().as_any().downcast_ref::<PipeEnd>().ok_or(Errno::EBADF)
}

/// The global number of a process, group or thread in the caller's namespace; 0 for nobody.
fn owner_to_global(cx: &Ctx<'_>, kind: u32, number: u32) -> Result<i32> {
    if number == 0 {
        return Ok(0);
    }
    let global = cx.task.pid_ns().global(number).ok_or(Errno::ESRCH)?;
    let tree = cx.kernel().tree.lock();
    let exists = match kind {
        F_OWNER_TID => tree.task(global).is_some(),
        F_OWNER_PID => tree.process(global).is_some(),
        _ => !tree.pgrp_members(global).is_empty(),
    };
    if exists { Ok(global.cast_signed()) } else { Err(Errno::ESRCH) }
}

fn owner_to_local(cx: &Ctx<'_>, owner: FileOwner) -> u32 {
    let ns = cx.task.pid_ns();
    let id = owner.id.unsigned_abs();
    let tree = cx.kernel().tree.lock();
    let pid = match owner.kind.cast_unsigned() {
        F_OWNER_TID => tree.task(id).map(|task| task.pid()),
        F_OWNER_PID => tree.process(id).map(|entry| Arc::clone(&entry.group.pid)),
        _ => {
            let member = tree.pgrp_members(id).first().copied();
            member.and_then(|member| tree.process(member)).map(|entry| Arc::clone(&entry.pgrp))
        }
    };
    pid.map_or(0, |pid| pid.in_ns(&ns))
}

fn get_owner(cx: &Ctx<'_>, file: &OpenFile) -> u64 {
    let owner = *file.owner.lock();
    let id = u64::from(owner_to_local(cx, owner));
    if owner.kind.cast_unsigned() == F_OWNER_PGRP { id.wrapping_neg() } else { id }
}

fn set_owner(cx: &Ctx<'_>, file: &Arc<OpenFile>, who: i32) -> Result<()> {
    if who == i32::MIN {
        return Err(Errno::EINVAL);
    }
    let kind = if who < 0 { F_OWNER_PGRP } else { F_OWNER_PID };
    replace_owner(cx, file, kind, who.unsigned_abs())
}

fn replace_owner(cx: &Ctx<'_>, file: &Arc<OpenFile>, kind: u32, number: u32) -> Result<()> {
    let id = owner_to_global(cx, kind, number)?;
    sigio::watch_urgent(cx, file);
    let mut owner = file.owner.lock();
    owner.kind = kind.cast_signed();
    owner.id = id;
    Ok(())
}

fn get_owner_ex(cx: &Ctx<'_>, file: &OpenFile, addr: GuestAddr) -> Result<()> {
    let owner = *file.owner.lock();
    cx.write(addr, &FOwnerEx { kind: owner.kind, pid: owner_to_local(cx, owner).cast_signed() })
}

fn set_owner_ex(cx: &Ctx<'_>, file: &Arc<OpenFile>, addr: GuestAddr) -> Result<()> {
    let owner: FOwnerEx = cx.read(addr)?;
    let kind = owner.kind.cast_unsigned();
    if !matches!(kind, F_OWNER_TID | F_OWNER_PID | F_OWNER_PGRP) {
        return Err(Errno::EINVAL);
    }
    replace_owner(cx, file, kind, u32::try_from(owner.pid).map_err(|_| Errno::ESRCH)?)
}
