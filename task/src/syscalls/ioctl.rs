//! `ioctl(2)`: what is the same for all files; the rest goes to the file.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{
    FIBMAP, FICLONE, FICLONERANGE, FIDEDUPERANGE, FIFREEZE, FIGETBSZ, FIOASYNC, FIOCLEX, FIONBIO,
    FIONCLEX, FIONREAD, FIOQSIZE, FITHAW, FS_IOC_FIEMAP, FileCloneRange, OpenFlags, S_IFDIR,
    S_IFLNK, S_IFREG,
};
use chitin_abi::process::{CAP_SYS_ADMIN, CAP_SYS_RAWIO};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_vfs::cred::Cred;
use chitin_vfs::file::{IoctlContext, OpenFile, ProcessIds, TerminalAccess};

use super::args::{Fd, Flags};
use crate::context::Ctx;
use crate::error::SysResult;
use crate::limits::listener::ListenerFile;
use crate::namespace::UserNamespace;

/// The caller as files see it.
pub struct IoctlCaller<'a> {
    cx: &'a Ctx<'a>,
    cred: Cred,
}

impl IoctlContext for IoctlCaller<'_> {
    fn memory(&self) -> &dyn GuestMemory {
        self.cx.memory()
    }

    fn cred(&self) -> &Cred {
        &self.cred
    }

    fn has_capability(&self, owner: &dyn Any, capability: u32) -> bool {
        let owner = owner.downcast_ref::<Arc<UserNamespace>>();
        owner.is_some_and(|owner| self.cx.task.cred().capable(owner, capability))
    }

    fn process(&self) -> ProcessIds {
        crate::terminal::process_ids(self.cx.task)
    }

    fn set_controlling_terminal(
        &self,
        terminal: Option<Arc<dyn Any + Send + Sync>>,
        _steal: bool,
    ) -> Result<()> {
        match terminal {
            Some(terminal) => crate::terminal::acquire(self.cx.task, terminal),
            None => {
                let old = self.cx.task.group.terminal.lock().take();
                drop(old);
                Ok(())
            }
        }
    }

    fn install_file(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<u64> {
        self.cx.install_file(file, close_on_exec)
    }

    fn to_local_id(&self, id: u32) -> u32 {
        crate::terminal::local_id(self.cx.task, id)
    }

    fn to_global_id(&self, id: u32) -> Option<u32> {
        crate::terminal::global_id(self.cx.task, id)
    }

    fn ignores_signal(&self, signal: u32) -> bool {
        crate::terminal::ignores_signal(self.cx.task, signal)
    }
}

impl<'a> IoctlCaller<'a> {
    /// The caller of this call.
    pub fn new(cx: &'a Ctx<'a>) -> Self {
        Self { cx, cred: cx.task.cred().fs_cred() }
    }
}

/// `ioctl(2)`.
pub async fn ioctl(cx: &mut Ctx<'_>, fd: Fd, request: Flags, argp: GuestAddr) -> SysResult {
    let file = cx.file(fd.0)?;
    match file.file().as_any().downcast_ref::<ListenerFile>().map(ListenerFile::listener) {
        Some(listener) if !is_general(request.0) => {
            Box::pin(super::listener::ioctl(cx, listener, request.0, argp)).await
        }
        _ => at_once(cx, fd, &file, request, argp),
    }
}

/// Whether a request means the same for all files.
fn is_general(request: u32) -> bool {
    matches!(request, FIOCLEX | FIONCLEX | FIONBIO | FIOASYNC)
}

/// What never waits.
fn at_once(
    cx: &Ctx<'_>,
    fd: Fd,
    file: &Arc<OpenFile>,
    request: Flags,
    argp: GuestAddr,
) -> SysResult {
    match request.0 {
        FIOCLEX => cx.task.files().set_close_on_exec_flag(fd.0, true)?,
        FIONCLEX => cx.task.files().set_close_on_exec_flag(fd.0, false)?,
        FIONBIO => set_flag(cx, file, OpenFlags::O_NONBLOCK, argp)?,
        FIOASYNC => set_async(cx, fd, file, argp)?,
        FIOQSIZE => return quantity(cx, file, argp),
        FIGETBSZ => cx.write(argp, &file.attr()?.blksize)?,
        FIBMAP if file.attr()?.is_regular() => {
            return Err(if cx.path_caller().cred.caps.has(CAP_SYS_RAWIO) {
                Errno::EINVAL
            } else {
                Errno::EPERM
            }
            .into());
        }
        FIFREEZE | FITHAW => {
            return Err(if cx.task.cred().has(CAP_SYS_ADMIN) {
                Errno::EOPNOTSUPP
            } else {
                Errno::EPERM
            }
            .into());
        }
        FICLONE => return Err(clone(cx, file, argp.0 as i32)?.into()),
        FICLONERANGE => {
            let range: FileCloneRange = cx.read(argp)?;
            return Err(clone(cx, file, range.src_fd as i32)?.into());
        }
        FIDEDUPERANGE => return Err(Errno::EOPNOTSUPP.into()),
        FS_IOC_FIEMAP => return Err(Errno::EOPNOTSUPP.into()),
        FIONREAD if file.attr()?.is_regular() => {
            let left = file.attr()?.size.wrapping_sub(*file.position.lock());
            cx.write(argp, &(left as i32))?;
        }
        _ => return of_file(cx, file, request.0, argp),
    }
    Ok(0)
}

fn of_file(cx: &Ctx<'_>, file: &OpenFile, request: u32, argp: GuestAddr) -> SysResult {
    let caller = IoctlCaller::new(cx);
    if file.file().is_job_controlled() {
        crate::terminal::check(file, TerminalAccess::Ioctl(request), &caller)?;
    }
    Ok(file.file().ioctl(request, argp, &caller)?)
}

/// Sets or clears a status flag by the `int` at `argp`.
fn set_flag(cx: &Ctx<'_>, file: &OpenFile, flag: OpenFlags, argp: GuestAddr) -> Result<()> {
    let on: i32 = cx.read(argp)?;
    let mut flags = file.flags();
    flags.set(flag, on != 0);
    file.set_flags(flags);
    Ok(())
}

/// Starts or stops `SIGIO` by the `int` at `argp`.
fn set_async(cx: &Ctx<'_>, fd: Fd, file: &Arc<OpenFile>, argp: GuestAddr) -> Result<()> {
    let on = cx.read::<i32>(argp)? != 0;
    let mut flags = file.flags();
    if flags.contains(OpenFlags::O_ASYNC) == on {
        return Ok(());
    }
    if !super::sigio::set_async(cx, file, fd.0, on) {
        return Err(Errno::ENOTTY);
    }
    flags.set(OpenFlags::O_ASYNC, on);
    file.set_flags(flags);
    Ok(())
}

/// Why ranges of files are not shared: no file system here can.
fn clone(cx: &Ctx<'_>, to: &OpenFile, from: i32) -> Result<Errno> {
    let from = cx.file(from)?;
    let (source, target) = (from.attr()?, to.attr()?);
    Ok(if source.dev != target.dev {
        Errno::EXDEV
    } else if source.is_dir() || target.is_dir() {
        Errno::EISDIR
    } else if !source.is_regular() || !target.is_regular() {
        Errno::EINVAL
    } else if !from.readable() || !to.writable() || to.flags().contains(OpenFlags::O_APPEND) {
        Errno::EBADF
    } else {
        Errno::EOPNOTSUPP
    })
}

fn quantity(cx: &Ctx<'_>, file: &OpenFile, argp: GuestAddr) -> SysResult {
    let attr = file.attr()?;
    if !matches!(attr.file_type(), S_IFREG | S_IFDIR | S_IFLNK) {
        return Err(Errno::ENOTTY.into());
    }
    cx.write(argp, &attr.size)?;
    Ok(0)
}
