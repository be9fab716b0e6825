//! POSIX message queues: `mq_open(2)` and its relatives.

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::ipc::{MQ_PRIO_MAX, MqAttr};
use chitin_abi::poll::PollEvents;
use chitin_abi::process::{CAP_FOWNER, CAP_SYS_RESOURCE, RLIMIT_MSGQUEUE};
use chitin_abi::signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SigEvent};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::OpenFile;

use super::{Patience, retry, world};
use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::ipc::mqueue::{
    ACCESS_READ, ACCESS_WRITE, HARD_MESSAGES_MAX, HARD_SIZE_MAX, MESSAGES_MAX, MqFile, NewQueue,
    Notice, Queue, SIZE_MAX,
};
use crate::syscalls::args::{BytesIn, BytesOut, Fd, Mode, OpenMode, PathPtr, Time};

/// A queue's name: one component.
fn read_name(cx: &Ctx<'_>, name: PathPtr) -> Result<Vec<u8>> {
    let name = cx.read_path(name.0)?;
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    if name.len() > 255 {
        return Err(Errno::ENAMETOOLONG);
    }
    if name.contains(&b'/') || name == b"." || name == b".." {
        Err(Errno::EACCES)
    } else {
        Ok(name)
    }
}

/// Most messages and bytes of a new queue.
fn check_attr(cx: &Ctx<'_>, attr: Option<MqAttr>) -> Result<(usize, usize)> {
    let Some(attr) = attr else { return Ok((MESSAGES_MAX as usize, SIZE_MAX as usize)) };
    let (messages, size) = if cx.task.cred().capable_initial(CAP_SYS_RESOURCE) {
        (HARD_MESSAGES_MAX, HARD_SIZE_MAX)
    } else {
        (MESSAGES_MAX, SIZE_MAX)
    };
    let fits = (1..=messages).contains(&attr.mq_maxmsg) && (1..=size).contains(&attr.mq_msgsize);
    if fits { Ok((attr.mq_maxmsg as usize, attr.mq_msgsize as usize)) } else { Err(Errno::EINVAL) }
}

/// `mq_open(3)`'s call.
///
/// # Errors
/// EACCES, EEXIST, EINVAL, EMFILE, ENAMETOOLONG, ENOENT, ENOSPC, EFAULT.
pub fn mq_open(
    cx: &mut Ctx<'_>,
    name: PathPtr,
    oflag: OpenMode,
    mode: Mode,
    attr: GuestAddr,
) -> SysResult {
    let attr: Option<MqAttr> = if attr.is_null() { None } else { Some(cx.read(attr)?) };
    let name = read_name(cx, name)?;
    let flags = OpenFlags::from_bits_retain(oflag.0);
    let access = match flags.bits() & OpenFlags::O_ACCMODE.bits() {
        0 => ACCESS_READ,
        1 => ACCESS_WRITE,
        2 => ACCESS_READ | ACCESS_WRITE,
        _ => return Err(Errno::EINVAL.into()),
    };
    let (ns, cred) = world(cx);
    let fs_cred = cred.fs_cred();
    let queue = match ns.mqueues.find(&name) {
        Some(_) if flags.contains(OpenFlags::O_CREAT | OpenFlags::O_EXCL) => {
            return Err(Errno::EEXIST.into());
        }
        Some(queue) => {
            queue.check_access(&fs_cred, access)?;
            queue
        }
        None if !flags.contains(OpenFlags::O_CREAT) => return Err(Errno::ENOENT.into()),
        None => {
            let (max_messages, max_size) = check_attr(cx, attr)?;
            let mode = mode.0 & 0o7777 & !cx.task.fs().umask();
            let new = NewQueue {
                max_messages,
                max_size,
                owner: (fs_cred.uid, fs_cred.gid, mode),
                limit: cx.task.group.limits().soft(RLIMIT_MSGQUEUE),
                trusted: cred.capable_initial(CAP_SYS_RESOURCE),
                ino: cx.kernel().next_object_id(),
                now: cx.kernel().clock.realtime(),
            };
            ns.mqueues.create(&name, &ns.budget, &new)?
        }
    };
    let kept = OpenFlags::O_ACCMODE | OpenFlags::O_NONBLOCK;
    let file = OpenFile::new(Arc::new(MqFile { queue, name }), None, flags & kept, fs_cred);
    let limit = cx.task.group.limits().open_files();
    let fd = cx.task.files().install(file, true, 0, limit)?;
    Ok(u64::from(fd.unsigned_abs()))
}

/// `mq_unlink(3)`'s call.
///
/// # Errors
/// ENOENT, EACCES, ENAMETOOLONG, EPERM where the queue is another user's.
pub fn mq_unlink(cx: &mut Ctx<'_>, name: PathPtr) -> SysResult {
    let name = read_name(cx, name)?;
    let (ns, cred) = world(cx);
    let queue = ns.mqueues.find(&name).ok_or(Errno::ENOENT)?;
    // The directory of queues has the sticky bit, and is root's.
    let fs_cred = cred.fs_cred();
    if fs_cred.uid != queue.owner() && fs_cred.uid != 0 && !fs_cred.caps.has(CAP_FOWNER) {
        return Err(Errno::EPERM.into());
    }
    drop(ns.mqueues.unlink(&name)?);
    Ok(0)
}

/// A descriptor's queue.
fn opened(cx: &Ctx<'_>, fd: Fd) -> Result<(Arc<OpenFile>, Arc<Queue>)> {
    let file = cx.file(fd.0)?;
    let queue = file.file().as_any().downcast_ref::<MqFile>().map(|file| Arc::clone(&file.queue));
    Ok((file, queue.ok_or(Errno::EBADF)?))
}

/// The monotonic time of a timeout, which is a point in real time.
fn read_deadline(cx: &Ctx<'_>, timeout: Time) -> Result<Option<u64>> {
    if timeout.0.is_null() {
        return Ok(None);
    }
    let time: Timespec = cx.read(timeout.0)?;
    let nanos = time.to_nanos().ok_or(Errno::EINVAL)?;
    let clock = &cx.kernel().clock;
    let left = nanos.saturating_sub(clock.realtime_nanos());
    Ok(Some(clock.monotonic().saturating_add(left)))
}

/// `mq_timedsend(2)`.
///
/// # Errors
/// EINVAL, EBADF, EMSGSIZE, EAGAIN, ETIMEDOUT, EFAULT.
pub async fn mq_timedsend(
    cx: &mut Ctx<'_>,
    mqdes: Fd,
    msg_ptr: BytesIn,
    msg_len: usize,
    msg_prio: u32,
    abs_timeout: Time,
) -> SysResult {
    let deadline = read_deadline(cx, abs_timeout)?;
    if msg_prio >= MQ_PRIO_MAX {
        return Err(Errno::EINVAL.into());
    }
    let (file, queue) = opened(cx, mqdes)?;
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    if msg_len > queue.max_size {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut text = vec![0; msg_len];
    if msg_len > 0 {
        cx.memory().read(msg_ptr.0, &mut text)?;
    }
    let send = || queue.send(&text, msg_prio, cx.task);
    if file.nonblocking() {
        send()?;
        return Ok(0);
    }
    let patience = Patience {
        queue: &queue.queue,
        interest: PollEvents::POLLOUT,
        deadline,
        restart: Restart::Sys,
        timeout: Errno::ETIMEDOUT,
    };
    retry(cx, patience, Errno::EAGAIN, send).await?;
    Ok(0)
}

/// `mq_timedreceive(2)`.
///
/// # Errors
/// EBADF, EMSGSIZE, EAGAIN, ETIMEDOUT, EINVAL, EFAULT.
pub async fn mq_timedreceive(
    cx: &mut Ctx<'_>,
    mqdes: Fd,
    msg_ptr: BytesOut,
    msg_len: usize,
    msg_prio: GuestAddr,
    abs_timeout: Time,
) -> SysResult {
    let deadline = read_deadline(cx, abs_timeout)?;
    let (file, queue) = opened(cx, mqdes)?;
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    if msg_len < queue.max_size {
        return Err(Errno::EMSGSIZE.into());
    }
    let receive = || queue.receive(cx.kernel().clock.realtime());
    let (text, priority) = match receive() {
        Err(Errno::EAGAIN) if !file.nonblocking() => {
            let _receiver = queue.wait();
            let patience = Patience {
                queue: &queue.queue,
                interest: PollEvents::POLLIN,
                deadline,
                restart: Restart::Sys,
                timeout: Errno::ETIMEDOUT,
            };
            retry(cx, patience, Errno::EAGAIN, receive).await?
        }
        result => result?,
    };
    cx.write_opt(msg_prio, &priority)?;
    if !text.is_empty() {
        cx.memory().write(msg_ptr.0, &text)?;
    }
    Ok(text.len() as u64)
}

/// `mq_notify(2)`. Notification by thread needs a netlink socket and is not supported.
///
/// # Errors
/// EINVAL, EBADF, EBUSY, EFAULT.
pub fn mq_notify(cx: &mut Ctx<'_>, mqdes: Fd, sevp: GuestAddr) -> SysResult {
    let event: Option<SigEvent> = if sevp.is_null() { None } else { Some(cx.read(sevp)?) };
    let signal = match &event {
        None => 0,
        Some(event) => match event.notify.cast_unsigned() {
            SIGEV_NONE => 0,
            SIGEV_SIGNAL => {
                let signal = u32::try_from(event.signo).map_err(|_| Errno::EINVAL)?;
                if signal > 64 {
                    return Err(Errno::EINVAL.into());
                }
                signal
            }
            SIGEV_THREAD => return Err(Errno::EBADF.into()),
            _ => return Err(Errno::EINVAL.into()),
        },
    };
    let (_, queue) = opened(cx, mqdes)?;
    let tgid = cx.task.tgid();
    match event {
        None => queue.unregister(tgid),
        Some(event) => {
            let task = Arc::downgrade(cx.task);
            queue.register(Notice { task, tgid, signal, value: event.value })?;
        }
    }
    Ok(0)
}

/// `mq_getsetattr(2)`.
///
/// # Errors
/// EBADF, EINVAL, EFAULT.
pub fn mq_getsetattr(
    cx: &mut Ctx<'_>,
    mqdes: Fd,
    newattr: GuestAddr,
    oldattr: GuestAddr,
) -> SysResult {
    let new: Option<MqAttr> = if newattr.is_null() { None } else { Some(cx.read(newattr)?) };
    let nonblock = i64::from(OpenFlags::O_NONBLOCK.bits());
    if new.is_some_and(|new| new.mq_flags & !nonblock != 0) {
        return Err(Errno::EINVAL.into());
    }
    let (file, queue) = opened(cx, mqdes)?;
    let old = MqAttr {
        mq_flags: if file.nonblocking() { nonblock } else { 0 },
        mq_maxmsg: queue.max_messages as i64,
        mq_msgsize: queue.max_size as i64,
        mq_curmsgs: queue.len() as i64,
        ..MqAttr::default()
    };
    if let Some(new) = new {
        let mut flags = file.flags();
        flags.set(OpenFlags::O_NONBLOCK, new.mq_flags & nonblock != 0);
        file.set_flags(flags);
    }
    cx.write_opt(oldattr, &old)?;
    Ok(0)
}
