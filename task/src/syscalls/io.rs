//! Reading and writing: `read(2)`, `pread(2)`, `readv(2)`, `preadv2(2)`, their writing counterparts, `lseek(2)`.
//!
//! Data goes straight between the file and the guest ([`Scatter`]); nothing is buffered here. A read returns
//! what the first successful attempt brought. A write to a pipe, stream socket or terminal goes on until all
//! is written unless the description is non-blocking.
//!
//! Cost beyond the file's: one reference of the descriptor table and one of the open file per call, one lock of
//! the limits for a write; a wait adds one registration on the file's queue.

use std::sync::Arc;

use chitin_abi::fs::{SEEK_DATA, SEEK_HOLE, SEEK_MAX};
use chitin_abi::net::{MSG_DONTWAIT, MSG_NOSIGNAL};
use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{SIGPIPE, SIGXFSZ};
use chitin_abi::uio::{
    RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_HIPRI, RWF_NOAPPEND, RWF_NOSIGNAL, RWF_NOWAIT,
    RWF_SUPPORTED, RWF_SYNC,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::file::{OpenFile, TerminalAccess};
use chitin_vfs::io::{Sink, Source};
use chitin_vfs::notify::fanotify::Fanotify;

use super::args::{BytesIn, BytesOut, Fd, Flags, Whence};
use super::fanotify::EventReader;
use super::ioctl::IoctlCaller;
use super::scatter::Scatter;
use crate::context::Ctx;
use crate::error::{SysError, SysResult};
use crate::proc::process::mem::{self, MemFile};
use crate::signal::signalfd::SignalFd;

const READABLE: PollEvents =
    PollEvents::POLLIN.union(PollEvents::POLLRDNORM).union(PollEvents::POLLPRI);
const WRITABLE: PollEvents = PollEvents::POLLOUT.union(PollEvents::POLLWRNORM);

/// A file that is open for reading.
fn readable(cx: &Ctx<'_>, fd: Fd) -> Result<Arc<OpenFile>> {
    cx.file(fd.0).and_then(|file| if file.readable() { Ok(file) } else { Err(Errno::EBADF) })
}

/// A file that is open for writing.
fn writable(cx: &Ctx<'_>, fd: Fd) -> Result<Arc<OpenFile>> {
    cx.file(fd.0).and_then(|file| if file.writable() { Ok(file) } else { Err(Errno::EBADF) })
}

/// Fails where a transfer would go past the largest offset (`rw_verify_area`).
fn verify(file: &OpenFile, at: Option<u64>, count: usize) -> Result<()> {
    if file.file().is_stream() {
        return Ok(());
    }
    let start = at.unwrap_or_else(|| *file.position.lock());
    match start.checked_add(count as u64) {
        Some(end) if end <= chitin_vfs::rw::MAX_OFFSET => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

async fn do_read(
    cx: &Ctx<'_>,
    file: &OpenFile,
    to: Scatter<'_>,
    at: Option<u64>,
    nowait: bool,
) -> SysResult {
    verify(file, at, Sink::remaining(&to))?;
    let result = read_into(cx, file, to, at, nowait).await;
    cx.task.group.io.read(result.as_ref().copied().unwrap_or(0));
    result
}

async fn read_into(
    cx: &Ctx<'_>,
    file: &OpenFile,
    mut to: Scatter<'_>,
    at: Option<u64>,
    nowait: bool,
) -> SysResult {
    let env = cx.rw_env();
    if file.file().is_job_controlled() {
        crate::terminal::check(file, TerminalAccess::Read, &IoctlCaller::new(cx))?;
        if !nowait && !file.nonblocking() && at.is_none() {
            return Ok(crate::terminal::read(cx, file, &mut to, &env).await? as u64);
        }
    }
    if let (Ok(socket), None) = (crate::socket::of(file), at) {
        return Box::pin(super::socket::read(cx, file, socket, to, nowait)).await;
    }
    let queue = file.file().wait_queue();
    let signals = file.file().as_any().downcast_ref::<SignalFd>();
    let events = file.file().as_any().downcast_ref::<Fanotify>();
    let attempt = || match (signals, events) {
        // Who reads, not who made it.
        (Some(signals), _) => signals.read_for(cx.task, &mut to),
        (_, Some(group)) => group.read_for(&mut to, &EventReader::new(cx, group)),
        _ => file.read(&mut to, at, &env),
    };
    let count = cx.blocking(queue, READABLE, nowait || file.nonblocking(), attempt).await?;
    Ok(count as u64)
}

/// How a write is to be done.
#[derive(Clone, Copy, Default)]
struct WriteMode {
    at: Option<u64>,
    append: Option<bool>,
    nowait: bool,
    no_signal: bool,
}

async fn do_write(cx: &Ctx<'_>, file: &OpenFile, from: Scatter<'_>, mode: WriteMode) -> SysResult {
    verify(file, mode.at, Source::remaining(&from))?;
    let result = write_from(cx, file, from, mode).await;
    cx.task.group.io.wrote(result.as_ref().copied().unwrap_or(0));
    result
}

async fn write_from(
    cx: &Ctx<'_>,
    file: &OpenFile,
    mut from: Scatter<'_>,
    mode: WriteMode,
) -> SysResult {
    let env = cx.rw_env();
    if file.file().is_job_controlled() {
        crate::terminal::check(file, TerminalAccess::Write, &IoctlCaller::new(cx))?;
    }
    if file.file().as_any().is::<MemFile>() {
        return Ok(Box::pin(mem::write(file, &mut from, mode.at)).await?);
    }
    if let (Ok(socket), None) = (crate::socket::of(file), mode.at) {
        let wait = if mode.nowait { MSG_DONTWAIT } else { 0 };
        let signal = if mode.no_signal { MSG_NOSIGNAL } else { 0 };
        return Box::pin(super::socket::write(cx, file, socket, from, wait | signal)).await;
    }
    let queue = file.file().wait_queue();
    let nonblocking = mode.nowait || file.nonblocking();
    let whole = file.file().writes_whole();
    let mut done = 0_usize;
    loop {
        let attempt = || write_once(file, &mut from, mode, &env);
        let result = cx.blocking(queue, WRITABLE, nonblocking, attempt).await;
        match result {
            Ok(count) => done = done.saturating_add(count),
            Err(error) => {
                signal_failure(cx, error, &env, mode.no_signal);
                return if done > 0 { Ok(done as u64) } else { Err(error) };
            }
        }
        if !whole || Source::remaining(&from) == 0 {
            return Ok(done as u64);
        }
    }
}

fn write_once(
    file: &OpenFile,
    from: &mut Scatter<'_>,
    mode: WriteMode,
    env: &VfsEnv,
) -> Result<usize> {
    match mode.append {
        None => file.write(from, mode.at, env),
        Some(append) => file.write_appending(from, mode.at, append, env),
    }
}

/// The signals that failing writes send.
fn signal_failure(cx: &Ctx<'_>, error: SysError, env: &VfsEnv, no_signal: bool) {
    match error {
        SysError::Errno(Errno::EPIPE) if !no_signal => cx.signal_self(SIGPIPE),
        SysError::Errno(Errno::EFBIG) if env.file_size_limit <= chitin_vfs::rw::MAX_OFFSET => {
            cx.signal_self(SIGXFSZ);
        }
        _ => {}
    }
}

/// `read(2)`.
pub async fn read(cx: &mut Ctx<'_>, fd: Fd, buf: BytesOut, count: usize) -> SysResult {
    let file = readable(cx, fd)?;
    let to = Scatter::single(cx.memory(), buf.0, count)?;
    do_read(cx, &file, to, None, false).await
}

/// `write(2)`.
pub async fn write(cx: &mut Ctx<'_>, fd: Fd, buf: BytesIn, count: usize) -> SysResult {
    let file = writable(cx, fd)?;
    let from = Scatter::single(cx.memory(), buf.0, count)?;
    do_write(cx, &file, from, WriteMode::default()).await
}

/// The offset of a positioned call.
fn offset(position: i64) -> Result<u64> {
    u64::try_from(position).map_err(|_| Errno::EINVAL)
}

fn positioned(file: &OpenFile) -> Result<()> {
    if file.file().is_stream() { Err(Errno::ESPIPE) } else { Ok(()) }
}

/// `pread(2)`.
pub async fn pread64(
    cx: &mut Ctx<'_>,
    fd: Fd,
    buf: BytesOut,
    count: usize,
    position: i64,
) -> SysResult {
    let at = offset(position)?;
    positioned(&*cx.file(fd.0)?)?;
    let file = readable(cx, fd)?;
    let to = Scatter::single(cx.memory(), buf.0, count)?;
    do_read(cx, &file, to, Some(at), false).await
}

/// `pwrite(2)`.
pub async fn pwrite64(
    cx: &mut Ctx<'_>,
    fd: Fd,
    buf: BytesIn,
    count: usize,
    position: i64,
) -> SysResult {
    let at = offset(position)?;
    positioned(&*cx.file(fd.0)?)?;
    let file = writable(cx, fd)?;
    let from = Scatter::single(cx.memory(), buf.0, count)?;
    do_write(cx, &file, from, WriteMode { at: Some(at), ..WriteMode::default() }).await
}

/// `readv(2)`.
pub async fn readv(cx: &mut Ctx<'_>, fd: Fd, iov: GuestAddr, count: usize) -> SysResult {
    read_vector(cx, fd, iov, count, None, 0).await
}

/// `writev(2)`.
pub async fn writev(cx: &mut Ctx<'_>, fd: Fd, iov: GuestAddr, count: usize) -> SysResult {
    write_vector(cx, fd, iov, count, None, 0).await
}

/// `preadv(2)`.
pub async fn preadv(
    cx: &mut Ctx<'_>,
    fd: Fd,
    iov: GuestAddr,
    count: usize,
    low: i64,
    _high: u64,
) -> SysResult {
    read_vector(cx, fd, iov, count, Some(offset(low)?), 0).await
}

/// `pwritev(2)`.
pub async fn pwritev(
    cx: &mut Ctx<'_>,
    fd: Fd,
    iov: GuestAddr,
    count: usize,
    low: i64,
    _high: u64,
) -> SysResult {
    write_vector(cx, fd, iov, count, Some(offset(low)?), 0).await
}

/// The place of `preadv2` and `pwritev2`: -1 is the position of the description.
fn place(low: i64) -> Result<Option<u64>> {
    if low == -1 { Ok(None) } else { offset(low).map(Some) }
}

/// `preadv2(2)`.
pub async fn preadv2(
    cx: &mut Ctx<'_>,
    fd: Fd,
    iov: GuestAddr,
    count: usize,
    low: i64,
    _high: u64,
    flags: Flags,
) -> SysResult {
    read_vector(cx, fd, iov, count, place(low)?, flags.0).await
}

/// `pwritev2(2)`.
pub async fn pwritev2(
    cx: &mut Ctx<'_>,
    fd: Fd,
    iov: GuestAddr,
    count: usize,
    low: i64,
    _high: u64,
    flags: Flags,
) -> SysResult {
    write_vector(cx, fd, iov, count, place(low)?, flags.0).await
}

/// What `RWF_…` flags no file does.
fn check_flags(flags: u32, write: bool) -> Result<()> {
    let only_writes = RWF_APPEND | RWF_NOAPPEND | RWF_NOSIGNAL;
    if flags & !RWF_SUPPORTED != 0
        || flags & RWF_ATOMIC != 0
        || (!write && flags & only_writes & !RWF_APPEND != 0)
    {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & RWF_APPEND != 0 && flags & RWF_NOAPPEND != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

async fn read_vector(
    cx: &Ctx<'_>,
    fd: Fd,
    iov: GuestAddr,
    count: usize,
    at: Option<u64>,
    flags: u32,
) -> SysResult {
    if at.is_some() {
        positioned(&*cx.file(fd.0)?)?;
    }
    let file = readable(cx, fd)?;
    let to = Scatter::vector(cx.memory(), iov, count)?;
    if Sink::remaining(&to) == 0 {
        return Ok(0);
    }
    check_flags(flags, false)?;
    if flags & !RWF_HIPRI != 0 && file.attr()?.is_dir() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    do_read(cx, &file, to, at, flags & RWF_NOWAIT != 0).await
}

async fn write_vector(
    cx: &Ctx<'_>,
    fd: Fd,
    iov: GuestAddr,
    count: usize,
    at: Option<u64>,
    flags: u32,
) -> SysResult {
    if at.is_some() {
        positioned(&*cx.file(fd.0)?)?;
    }
    let file = writable(cx, fd)?;
    let from = Scatter::vector(cx.memory(), iov, count)?;
    if Source::remaining(&from) == 0 {
        return Ok(0);
    }
    check_flags(flags, true)?;
    let append = match flags & (RWF_APPEND | RWF_NOAPPEND) {
        0 => None,
        flag => Some(flag == RWF_APPEND),
    };
    let mode = WriteMode {
        at,
        append,
        nowait: flags & RWF_NOWAIT != 0,
        no_signal: flags & RWF_NOSIGNAL != 0,
    };
    let done = do_write(cx, &file, from, mode).await?;
    if flags & (RWF_DSYNC | RWF_SYNC) != 0 && done > 0 {
        super::sync::sync_file(cx, &file, flags & RWF_SYNC == 0).await?;
    }
    Ok(done)
}

/// `lseek(2)`.
pub fn lseek(cx: &mut Ctx<'_>, fd: Fd, offset: i64, whence: Whence) -> SysResult {
    let file = cx.file(fd.0)?;
    if whence.0 > SEEK_MAX {
        return Err(Errno::EINVAL.into());
    }
    if file.file().is_stream() {
        return if file.file().ignores_seek() { Ok(0) } else { Err(Errno::ESPIPE.into()) };
    }
    if matches!(whence.0, SEEK_DATA | SEEK_HOLE) && file.attr()?.is_dir() {
        return Err(Errno::EINVAL.into());
    }
    let mut position = file.position.lock();
    *position = file.file().seek(*position, offset, whence.0)?;
    Ok(*position)
}
