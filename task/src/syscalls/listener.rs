//! What a supervisor does with its descriptor: `ioctl(2)` of `seccomp_unotify(2)`.

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::process::{
    SECCOMP_ADDFD_FLAG_SEND, SECCOMP_ADDFD_FLAG_SETFD, SECCOMP_IOCTL_NOTIF_ADDFD,
    SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE, SeccompNotif, SeccompNotifAddfd, SeccompNotifResp,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::fdtable::FdTable;
use chitin_vfs::file::OpenFile;
use zerocopy::IntoBytes;

use super::at::uninstall;
use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::limits::listener::{Answer, Listener};
use crate::scheduler::wait::Waiter;

/// `SECCOMP_IOCTL_NOTIF_ID_VALID` with the direction that older headers gave it.
const ID_VALID_WRONG_DIRECTION: u32 = 0x8008_2102;
const SET_FLAGS: u32 = 0x4008_2104;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: u64 = 1;

/// A request of a listener's descriptor.
///
/// # Errors
/// As documented in `seccomp_unotify(2)`.
pub async fn ioctl(
    cx: &Ctx<'_>,
    listener: &Arc<Listener>,
    request: u32,
    argp: GuestAddr,
) -> SysResult {
    match request {
        SECCOMP_IOCTL_NOTIF_RECV => receive(cx, listener, argp).await,
        SECCOMP_IOCTL_NOTIF_SEND => Ok(send(cx, listener, argp)?),
        SECCOMP_IOCTL_NOTIF_ID_VALID | ID_VALID_WRONG_DIRECTION => {
            let id: u64 = cx.read(argp)?;
            listener.waiting(id).map_err(|_| Errno::ENOENT)?;
            Ok(0)
        }
        SECCOMP_IOCTL_NOTIF_ADDFD => Ok(add_descriptor(cx, listener, argp)?),
        SET_FLAGS if argp.0 & !SYNC_WAKE_UP == 0 => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

async fn receive(cx: &Ctx<'_>, listener: &Arc<Listener>, argp: GuestAddr) -> SysResult {
    let before: SeccompNotif = cx.read(argp)?;
    if before.as_bytes().iter().any(|byte| *byte != 0) {
        return Err(Errno::EINVAL.into());
    }
    let waiter = Waiter::new();
    let _registration = waiter.register(listener.queue(), PollEvents::POLLIN);
    let request = loop {
        let seen = waiter.generation();
        match listener.receive() {
            Ok(request) => break request,
            Err(Errno::EAGAIN) => cx.wait(Restart::Sys, waiter.changed(seen)).await?,
            Err(errno) => return Err(errno.into()),
        }
    };
    let pid = request.task.upgrade().map_or(0, |task| task.pid().in_ns(&cx.task.pid_ns()));
    let notification = SeccompNotif { id: request.id, pid, flags: 0, data: request.data };
    if let Err(errno) = cx.write(argp, &notification) {
        listener.put_back(request.id);
        return Err(errno.into());
    }
    Ok(0)
}

fn send(cx: &Ctx<'_>, listener: &Listener, argp: GuestAddr) -> Result<u64> {
    let response: SeccompNotifResp = cx.read(argp)?;
    let continues = response.flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE != 0;
    if response.flags & !SECCOMP_USER_NOTIF_FLAG_CONTINUE != 0
        || continues && (response.error != 0 || response.val != 0)
    {
        return Err(Errno::EINVAL);
    }
    let answer = match (continues, response.error) {
        (true, _) => Answer::Continue,
        (false, 0) => Answer::Value(response.val),
        (false, error) => Answer::Value(i64::from(error)),
    };
    listener.answer(response.id, answer)?;
    Ok(0)
}

fn add_descriptor(cx: &Ctx<'_>, listener: &Listener, argp: GuestAddr) -> Result<u64> {
    let request: SeccompNotifAddfd = cx.read(argp)?;
    let close_on_exec = OpenFlags::O_CLOEXEC.bits();
    let at_place = request.flags & SECCOMP_ADDFD_FLAG_SETFD != 0;
    if request.newfd_flags & !close_on_exec != 0
        || request.flags & !(SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND) != 0
        || request.newfd != 0 && !at_place
    {
        return Err(Errno::EINVAL);
    }
    let file = cx.file(request.srcfd.cast_signed())?;
    let waiting = listener.waiting(request.id)?;
    let task = waiting.task.upgrade().ok_or(Errno::ENOENT)?;
    let (table, limit) = (task.files(), task.group.limits.lock().open_files());
    let place = at_place.then_some(request.newfd.cast_signed());
    let installed = Installed::new(table, file, request.newfd_flags != 0, place, limit)?;
    if request.flags & SECCOMP_ADDFD_FLAG_SEND != 0
        && let Err(errno) = listener.answer(request.id, Answer::Value(i64::from(installed.fd)))
    {
        // The call was interrupted, or somebody else has answered it: its process never learns of the descriptor.
        installed.undo(limit);
        return Err(errno);
    }
    Ok(u64::from(installed.fd.cast_unsigned()))
}

/// A descriptor of another process's.
struct Installed {
    table: Arc<FdTable>,
    fd: i32,
    file: Arc<OpenFile>,
    /// What was there, and whether it was to be closed on exec.
    old: Option<(Arc<OpenFile>, bool)>,
}

impl Installed {
    fn new(
        table: Arc<FdTable>,
        file: Arc<OpenFile>,
        close_on_exec: bool,
        place: Option<i32>,
        limit: u64,
    ) -> Result<Self> {
        let (fd, old) = match place {
            None => (table.install(Arc::clone(&file), close_on_exec, 0, limit)?, None),
            Some(fd) => {
                let flag = table.close_on_exec_flag(fd).unwrap_or(false);
                let old = table.install_at(fd, Arc::clone(&file), close_on_exec, limit)?;
                (fd, old.map(|old| (old, flag)))
            }
        };
        Ok(Self { table, fd, file, old })
    }

    /// Puts things back as they were.
    fn undo(self, limit: u64) {
        if uninstall(&self.table, self.fd, &self.file)
            && let Some((old, close_on_exec)) = self.old
        {
            // The limit may have been lowered, or the place been taken: then what was there stays closed.
            let _ = self.table.install_at(self.fd, old, close_on_exec, limit);
        }
    }
}
