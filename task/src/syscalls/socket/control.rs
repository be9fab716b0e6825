//! Control messages in the guest's memory.

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::net::{
    AF_UNIX, CMSG_HDR_LEN, CmsgHdr, MSG_CMSG_CLOEXEC, MSG_CTRUNC, SCM_CREDENTIALS, SCM_MAX_FD,
    SCM_PIDFD, SCM_RIGHTS, SOL_SOCKET, Ucred, cmsg_align, cmsg_len, cmsg_space,
};
use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::OpenFile;
use zerocopy::{FromBytes, IntoBytes};

use crate::context::Ctx;
use crate::socket::control::{RawControl, Rights};
use crate::socket::unix::UnixSocket;
use crate::socket::{Caller, Control, Identity, Socket};

/// Most bytes of control messages in one send (`net.core.optmem_max`).
const MAX_CONTROL: u64 = 131_072;

/// Reads the control messages of a send.
///
/// # Errors
/// ENOBUFS for too many bytes, EINVAL for malformed ones, EBADF, EPERM, ESRCH, ETOOMANYREFS, EFAULT.
pub(super) fn read(
    cx: &Ctx<'_>,
    addr: GuestAddr,
    length: u64,
    socket: &dyn Socket,
    caller: &Caller<'_>,
) -> Result<Control> {
    if length > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let mut bytes = vec![0; length as usize];
    if !bytes.is_empty() {
        cx.memory().read(addr, &mut bytes)?;
    }
    let mut control = Control::default();
    let mut files = Vec::new();
    for message in messages(&bytes) {
        let (level, kind, data) = message?;
        match (level, kind) {
            (SOL_SOCKET, SCM_RIGHTS) if socket.info().domain == AF_UNIX => {
                take_files(cx, data, &mut files)?;
            }
            (SOL_SOCKET, SCM_CREDENTIALS) => control.identity = Some(claimed(cx, data)?),
            (SOL_SOCKET, _) => return Err(Errno::EINVAL),
            _ => control.other.push(RawControl { level, kind, data: data.into() }),
        }
    }
    if !files.is_empty() {
        let flight = &caller.net().unix.flight;
        control.rights = Some(flight.launch(files, cx.task.cred().ruid, caller.flight_limit())?);
    }
    Ok(control)
}

/// The control messages in a buffer: level, kind, data. A malformed one is the last.
#[doc(hidden)]
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, u32, &[u8])>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (header, after) = CmsgHdr::read_from_prefix(rest).ok()?;
        let length = usize::try_from(header.len).unwrap_or(usize::MAX);
        let end = cmsg_align(length).filter(|_| length >= CMSG_HDR_LEN && length <= rest.len());
        let Some(end) = end else {
            rest = &[];
            return Some(Err(Errno::EINVAL));
        };
        let data = after.get(..length - CMSG_HDR_LEN).unwrap_or_default();
        rest = rest.get(end..).unwrap_or_default();
        Some(Ok((header.level.cast_unsigned(), header.kind.cast_unsigned(), data)))
    })
}

fn take_files(cx: &Ctx<'_>, data: &[u8], files: &mut Vec<Arc<OpenFile>>) -> Result<()> {
    let count = data.len() / size_of::<i32>();
    if files.len() + count > SCM_MAX_FD {
        return Err(Errno::EINVAL);
    }
    let table = cx.task.files();
    for fd in data.chunks_exact(size_of::<i32>()) {
        let fd = i32::read_from_bytes(fd).map_err(|_| Errno::EINVAL)?;
        files.push(table.get(fd)?);
    }
    Ok(())
}

/// The identity that a sender claims, if it may.
fn claimed(cx: &Ctx<'_>, data: &[u8]) -> Result<Identity> {
    let claim = Ucred::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
    let task = cx.task;
    let cred = task.cred();
    let uid = cred.user_ns.uid(claim.uid).ok_or(Errno::EINVAL)?;
    let gid = cred.user_ns.gid(claim.gid).ok_or(Errno::EINVAL)?;
    let own_pid = claim.pid == task.local_tgid();
    if !own_pid && !cred.has(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    if !cred.may_claim_uid(uid) || !cred.may_claim_gid(gid) {
        return Err(Errno::EPERM);
    }
    let pid = if own_pid {
        Arc::clone(&task.group.pid)
    } else {
        let global = task.pid_ns().global(claim.pid).ok_or(Errno::ESRCH)?;
        let tree = task.kernel.tree.lock();
        let entry = tree.process(global).ok_or(Errno::ESRCH)?;
        Arc::clone(&entry.group.pid)
    };
    Ok(Identity { pid: Some(pid), uid, gid, groups: Arc::clone(&cred.groups) })
}

/// Control messages on their way to the guest.
struct Writer {
    bytes: Vec<u8>,
    room: usize,
    flags: u32,
}

/// Writes the control messages of a receive; returns the bytes used and `MSG_CTRUNC` if not all fit.
///
/// # Errors
/// EFAULT.
pub(super) fn write(
    cx: &Ctx<'_>,
    control: Control,
    addr: GuestAddr,
    room: u64,
    flags: u32,
) -> Result<(u64, u32)> {
    if control.is_empty() {
        return Ok((0, 0));
    }
    let room = if addr.is_null() { 0 } else { usize::try_from(room).unwrap_or(usize::MAX) };
    if room == 0 {
        return Ok((0, MSG_CTRUNC));
    }
    let mut writer = Writer { bytes: Vec::new(), room, flags: 0 };
    if let Some(identity) = &control.identity {
        writer.put(SOL_SOCKET, SCM_CREDENTIALS, identity.show(cx.task).as_bytes());
    }
    let close_on_exec = flags & MSG_CMSG_CLOEXEC != 0;
    if let Some(rights) = &control.rights {
        writer.put_files(cx, rights, close_on_exec);
    }
    if let Some(identity) = &control.pidfd {
        writer.put_pidfd(cx, identity);
    }
    for other in &control.other {
        writer.put(other.level, other.kind, &other.data);
    }
    if !writer.bytes.is_empty() {
        cx.memory().write(addr, &writer.bytes)?;
    }
    Ok((writer.bytes.len() as u64, writer.flags))
}

impl Writer {
    fn left(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    fn put(&mut self, level: u32, kind: u32, data: &[u8]) {
        let (Some(mut length), Some(space)) = (cmsg_len(data.len()), cmsg_space(data.len())) else {
            return;
        };
        let left = self.left();
        if left < CMSG_HDR_LEN {
            self.flags |= MSG_CTRUNC;
            return;
        }
        if left < length {
            self.flags |= MSG_CTRUNC;
            length = left;
        }
        let end = self.bytes.len() + space.min(left);
        let header =
            CmsgHdr { len: length as u64, level: level.cast_signed(), kind: kind.cast_signed() };
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(data.get(..length - CMSG_HDR_LEN).unwrap_or_default());
        self.bytes.resize(end, 0);
    }

    /// Installs as many files as there is room for.
    fn put_files(&mut self, cx: &Ctx<'_>, rights: &Rights, close_on_exec: bool) {
        let most = self.left().saturating_sub(CMSG_HDR_LEN) / size_of::<i32>();
        let limit = cx.task.group.limits().open_files();
        let table = cx.task.files();
        let mut numbers = Vec::new();
        for file in rights.files().iter().take(most) {
            match table.install(Arc::clone(file), close_on_exec, 0, limit) {
                Ok(fd) => numbers.push(fd),
                Err(_) => break,
            }
        }
        if numbers.len() < rights.files().len() {
            self.flags |= MSG_CTRUNC;
        }
        if !numbers.is_empty() {
            self.put(SOL_SOCKET, SCM_RIGHTS, numbers.as_bytes());
        }
    }

    fn put_pidfd(&mut self, cx: &Ctx<'_>, identity: &Identity) {
        let fd = pidfd(cx, identity).unwrap_or_else(|errno| -errno.raw());
        self.put(SOL_SOCKET, SCM_PIDFD, &fd.to_ne_bytes());
    }
}

/// The descriptor that `SO_PEERPIDFD` gives.
pub(super) fn peer_pidfd(cx: &Ctx<'_>, socket: &dyn Socket) -> Result<i32> {
    let unix: &UnixSocket = socket.as_any().downcast_ref().ok_or(Errno::ENODATA)?;
    pidfd(cx, &unix.peer_identity().ok_or(Errno::ENODATA)?)
}

fn pidfd(cx: &Ctx<'_>, identity: &Identity) -> Result<i32> {
    let pid = identity.pid.as_ref().ok_or(Errno::ESRCH)?;
    let group = {
        let tree = cx.kernel().tree.lock();
        Arc::clone(&tree.process(pid.global()).ok_or(Errno::ESRCH)?.group)
    };
    let file = crate::process::pidfd::open_group(cx.kernel(), &group, OpenFlags::empty());
    let limit = cx.task.group.limits().open_files();
    cx.task.files().install(file, true, 0, limit)
}
