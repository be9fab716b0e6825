//! Moving data inside the kernel: `splice(2)`, `tee(2)`, `vmsplice(2)`, `sendfile(2)`, `copy_file_range(2)`.
//!
//! Between pipes whole pages change hands; between a pipe and another file the data is copied once inside the
//! kernel and never through the guest. `sendfile` goes through a buffer of the kernel.

use std::sync::Arc;

use chitin_abi::fs::{
    O_APPEND, S_IFBLK, S_IFCHR, S_IFREG, SPLICE_F_GIFT, SPLICE_F_MORE, SPLICE_F_MOVE,
    SPLICE_F_NONBLOCK,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::signal::SIGPIPE;
use chitin_abi::uio::MAX_RW_COUNT;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::file::{File, OpenFile, WriteAt};
use chitin_vfs::io::{SliceSource, Source, VecSink};
use chitin_vfs::pipe::{PipeEnd, transfer};
use chitin_vfs::wait::WaitQueue;

use super::args::{Fd, Flags};
use super::scatter::Scatter;
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::readiness::retry;
use crate::scheduler::wait::Waiter;

const FLAGS: u32 = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
/// Bytes that sendfile moves at a time.
const CHUNK: usize = 1 << 16;
/// What a splice waits for.
const EITHER: PollEvents = PollEvents::POLLIN.union(PollEvents::POLLOUT);

fn pipe(file: &OpenFile) -> Option<&PipeEnd> {
    file.file().as_any().downcast_ref()
}

fn check_flags(flags: Flags) -> Result<bool> {
    if flags.0 & !FLAGS != 0 { Err(Errno::EINVAL) } else { Ok(flags.0 & SPLICE_F_NONBLOCK != 0) }
}

/// The two descriptors of a call, open for reading and writing.
fn ends(cx: &Ctx<'_>, input: Fd, output: Fd) -> Result<(Arc<OpenFile>, Arc<OpenFile>)> {
    let (input, output) = (cx.file(input.0)?, cx.file(output.0)?);
    if input.readable() && output.writable() { Ok((input, output)) } else { Err(Errno::EBADF) }
}

/// Tries until it does not fail with `EAGAIN`, waiting on both queues.
async fn waiting<T>(
    cx: &Ctx<'_>,
    queues: [Option<&Arc<WaitQueue>>; 2],
    nonblocking: bool,
    mut attempt: impl FnMut() -> Result<T>,
) -> SysResult<T> {
    match attempt() {
        Err(Errno::EAGAIN) if !nonblocking => {}
        result => return Ok(result?),
    }
    let waiter = Waiter::new();
    let _registrations = queues.map(|queue| queue.map(|queue| waiter.register(queue, EITHER)));
    let result = retry(cx, &waiter, None, Restart::Sys, attempt).await?;
    Ok(result.ok_or(Errno::EAGAIN)?)
}

/// Which side an attempt has failed at with `EAGAIN`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocked {
    Pipe,
    Other,
}

/// The same between a pipe and something else, waiting only on the side that could not: an attempt in vain gives back what
/// it took of the pipe, which tells all who wait there, and would so go on for ever.
async fn waiting_for_side<T>(
    cx: &Ctx<'_>,
    (pipe, other): (Option<&Arc<WaitQueue>>, Option<&Arc<WaitQueue>>),
    nonblocking: bool,
    mut attempt: impl FnMut(&mut Blocked) -> Result<T>,
) -> SysResult<T> {
    let mut waits_for = Blocked::Pipe;
    loop {
        let queue = if waits_for == Blocked::Pipe { pipe } else { other };
        let step = || {
            let mut failed_at = Blocked::Pipe;
            match attempt(&mut failed_at) {
                Err(Errno::EAGAIN) if !nonblocking && failed_at != waits_for => Ok(None),
                result => result.map(Some),
            }
        };
        match waiting(cx, [queue, None], nonblocking, step).await? {
            Some(value) => return Ok(value),
            None if waits_for == Blocked::Pipe => waits_for = Blocked::Other,
            None => waits_for = Blocked::Pipe,
        }
    }
}

/// Sends SIGPIPE where the result says so.
fn signalled<T>(cx: &Ctx<'_>, result: SysResult<T>) -> SysResult<T> {
    if matches!(result, Err(SysError::Errno(Errno::EPIPE))) {
        cx.signal_self(SIGPIPE);
    }
    result
}

/// `splice(2)`.
pub async fn splice(
    cx: &mut Ctx<'_>,
    fd_in: Fd,
    off_in: GuestAddr,
    fd_out: Fd,
    off_out: GuestAddr,
    count: usize,
    flags: Flags,
) -> SysResult {
    if count == 0 {
        return Ok(0);
    }
    let nonblocking = check_flags(flags)?;
    let (input, output) = ends(cx, fd_in, fd_out)?;
    let count = count.min(MAX_RW_COUNT);
    let result = match (pipe(&input), pipe(&output)) {
        (Some(_), _) if !off_in.is_null() => Err(Errno::ESPIPE.into()),
        (_, Some(_)) if !off_out.is_null() => Err(Errno::ESPIPE.into()),
        (Some(from), Some(to)) => {
            let nonblocking = nonblocking || input.nonblocking() || output.nonblocking();
            let queues = [from.wait_queue(), to.wait_queue()];
            let moved = waiting(cx, queues, nonblocking, || transfer(from, to, count, false)).await;
            moved.map(|count| count as u64)
        }
        (Some(from), None) => from_pipe(cx, from, &output, off_out, count, nonblocking).await,
        (None, Some(to)) => {
            let nonblocking = nonblocking || output.nonblocking();
            to_pipe(cx, &input, off_in, to, count, nonblocking).await
        }
        (None, None) => Err(Errno::EINVAL.into()),
    };
    signalled(cx, result)
}

/// The offset that a pointer leads to; `None` for a null pointer.
fn offset(cx: &Ctx<'_>, file: &OpenFile, addr: GuestAddr, seekable: Errno) -> Result<Option<u64>> {
    if addr.is_null() {
        return Ok(None);
    }
    if file.file().is_stream() {
        return Err(seekable);
    }
    let offset: i64 = cx.read(addr)?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// Writes back an offset that a call has moved.
fn moved(cx: &Ctx<'_>, addr: GuestAddr, start: Option<u64>, count: u64) -> Result<()> {
    match start {
        Some(start) => cx.write(addr, &start.saturating_add(count)),
        None => Ok(()),
    }
}

async fn from_pipe(
    cx: &Ctx<'_>,
    from: &PipeEnd,
    output: &OpenFile,
    off_out: GuestAddr,
    count: usize,
    nonblocking: bool,
) -> SysResult {
    let start = offset(cx, output, off_out, Errno::EINVAL)?;
    if output.flags().bits() & O_APPEND != 0 {
        return Err(Errno::EINVAL.into());
    }
    let env = cx.rw_env();
    let queues = (from.wait_queue(), output.file().wait_queue());
    let done = waiting_for_side(cx, queues, nonblocking, |failed_at| {
        let mut batch = from.take(count)?;
        *failed_at = Blocked::Other;
        let mut done = 0_usize;
        while !batch.is_empty() {
            let at = start.map(|start| start.saturating_add(done as u64));
            match output.write(&mut batch, at, &env) {
                Ok(0) => break,
                Ok(count) => done = done.saturating_add(count),
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done as u64)
    })
    .await?;
    moved(cx, off_out, start, done)?;
    Ok(done)
}

async fn to_pipe(
    cx: &Ctx<'_>,
    input: &OpenFile,
    off_in: GuestAddr,
    to: &PipeEnd,
    count: usize,
    nonblocking: bool,
) -> SysResult {
    let start = offset(cx, input, off_in, Errno::EINVAL)?;
    if input.attr().is_ok_and(|attr| attr.is_dir()) {
        return Err(Errno::EINVAL.into());
    }
    let env = cx.rw_env();
    let queues = (to.wait_queue(), input.file().wait_queue());
    let attempt = |failed_at: &mut Blocked| {
        let mut room = to.reserve(count)?;
        *failed_at = Blocked::Other;
        input.read(&mut room, start, &env)
    };
    let done = waiting_for_side(cx, queues, nonblocking, attempt).await? as u64;
    moved(cx, off_in, start, done)?;
    Ok(done)
}

/// `tee(2)`.
pub async fn tee(cx: &mut Ctx<'_>, fd_in: Fd, fd_out: Fd, count: usize, flags: Flags) -> SysResult {
    let nonblocking = check_flags(flags)?;
    if count == 0 {
        return Ok(0);
    }
    let (input, output) = ends(cx, fd_in, fd_out)?;
    let (Some(from), Some(to)) = (pipe(&input), pipe(&output)) else {
        return Err(Errno::EINVAL.into());
    };
    let nonblocking = nonblocking || input.nonblocking() || output.nonblocking();
    let queues = [from.wait_queue(), to.wait_queue()];
    let result = waiting(cx, queues, nonblocking, || transfer(from, to, count, true)).await;
    signalled(cx, result).map(|count| count as u64)
}

/// `vmsplice(2)`: into a pipe it copies, so gifts are accepted and stay the guest's; out of one it reads.
pub async fn vmsplice(
    cx: &mut Ctx<'_>,
    fd: Fd,
    iov: GuestAddr,
    count: usize,
    flags: Flags,
) -> SysResult {
    let nonblocking = check_flags(flags)?;
    let file = cx.file(fd.0)?;
    let mut list = Scatter::vector(cx.memory(), iov, count)?;
    if Source::remaining(&list) == 0 {
        return Ok(0);
    }
    let end = pipe(&file).ok_or(Errno::EBADF)?;
    let queues = [end.wait_queue(), None];
    if file.writable() {
        let mut done = 0_usize;
        loop {
            let attempt = || end.write_at(&mut list, WriteAt::End);
            match waiting(cx, queues, nonblocking, attempt).await {
                Ok((count, _)) => done = done.saturating_add(count),
                Err(_) if done > 0 => return Ok(done as u64),
                Err(error) => return signalled(cx, Err(error)),
            }
            if Source::remaining(&list) == 0 {
                return Ok(done as u64);
            }
        }
    }
    let count = waiting(cx, queues, nonblocking, || end.read_at(&mut list, 0)).await?;
    Ok(count as u64)
}

/// `sendfile(2)`.
pub async fn sendfile(
    cx: &mut Ctx<'_>,
    fd_out: Fd,
    fd_in: Fd,
    off_in: GuestAddr,
    count: usize,
) -> SysResult {
    let start = if off_in.is_null() {
        None
    } else {
        let offset: i64 = cx.read(off_in)?;
        Some(offset)
    };
    let (input, output) = (cx.file(fd_in.0)?, cx.file(fd_out.0)?);
    if !input.readable() || !output.writable() {
        return Err(Errno::EBADF.into());
    }
    if count > isize::MAX.unsigned_abs() {
        return Err(Errno::EINVAL.into());
    }
    if input.file().is_stream() {
        return Err(if start.is_some() { Errno::ESPIPE } else { Errno::EINVAL }.into());
    }
    let kind = input.attr()?.file_type();
    let into_pipe = output.file().as_any().is::<PipeEnd>();
    let has_pages = matches!(kind, S_IFREG | S_IFBLK) || (into_pipe && kind == S_IFCHR);
    if output.flags().bits() & O_APPEND != 0 || !has_pages {
        return Err(Errno::EINVAL.into());
    }
    let position = match start {
        Some(offset) => u64::try_from(offset).map_err(|_| Errno::EINVAL)?,
        None => *input.position.lock(),
    };
    let result = send_range(cx, &input, position, &output, count.min(MAX_RW_COUNT)).await;
    let done = signalled(cx, result)?;
    let end = position.saturating_add(done);
    if start.is_some() {
        cx.write(off_in, &end)?;
    } else {
        *input.position.lock() = end;
    }
    Ok(done)
}

async fn send_range(
    cx: &Ctx<'_>,
    input: &OpenFile,
    start: u64,
    output: &OpenFile,
    count: usize,
) -> SysResult {
    let env = cx.rw_env();
    let mut done = 0_u64;
    while done < count as u64 {
        let left = usize::try_from(count as u64 - done).unwrap_or(CHUNK);
        let mut sink = VecSink::new(left.min(CHUNK));
        match input.read(&mut sink, Some(start.saturating_add(done)), &env) {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
        let (sent, error) = send_all(cx, output, &sink.bytes, &env).await;
        done = done.saturating_add(sent);
        if let Some(error) = error {
            return if done > 0 { Ok(done) } else { Err(error) };
        }
        if cx.task.must_leave_wait() {
            break;
        }
    }
    Ok(done)
}

/// Writes a buffer as far as possible: how far, and why no further.
async fn send_all(
    cx: &Ctx<'_>,
    output: &OpenFile,
    bytes: &[u8],
    env: &VfsEnv,
) -> (u64, Option<SysError>) {
    let mut from = SliceSource::new(bytes);
    let mut done = 0_u64;
    while from.remaining() > 0 {
        let queues = [output.file().wait_queue(), None];
        let attempt = || output.write(&mut from, None, env);
        match waiting(cx, queues, output.nonblocking(), attempt).await {
            Ok(0) => return (done, None),
            Ok(count) => done = done.saturating_add(count as u64),
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// A side of a copy: where it begins, and whether that is the description's position.
struct Side {
    file: Arc<OpenFile>,
    addr: GuestAddr,
    start: u64,
}

impl Side {
    fn new(cx: &Ctx<'_>, file: Arc<OpenFile>, addr: GuestAddr) -> Result<Self> {
        let start = if addr.is_null() {
            *file.position.lock()
        } else {
            let offset: i64 = cx.read(addr)?;
            u64::try_from(offset).map_err(|_| Errno::EINVAL)?
        };
        Ok(Self { file, addr, start })
    }

    /// Notes that the copy has moved on.
    fn moved(&self, cx: &Ctx<'_>, count: u64) -> Result<()> {
        let end = self.start.saturating_add(count);
        if self.addr.is_null() {
            *self.file.position.lock() = end;
            return Ok(());
        }
        cx.write(self.addr, &end)
    }
}

/// `copy_file_range(2)`: through a buffer of the kernel.
pub async fn copy_file_range(
    cx: &mut Ctx<'_>,
    fd_in: Fd,
    off_in: GuestAddr,
    fd_out: Fd,
    off_out: GuestAddr,
    count: usize,
    flags: Flags,
) -> SysResult {
    let (input, output) = (cx.file(fd_in.0)?, cx.file(fd_out.0)?);
    let input = Side::new(cx, input, off_in)?;
    let output = Side::new(cx, output, off_out)?;
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (from, to) = (input.file.attr()?, output.file.attr()?);
    if from.is_dir() || to.is_dir() {
        return Err(Errno::EISDIR.into());
    }
    if !from.is_regular() || !to.is_regular() {
        return Err(Errno::EINVAL.into());
    }
    let append = output.file.flags().bits() & O_APPEND != 0;
    if !input.file.readable() || !output.file.writable() || append {
        return Err(Errno::EBADF.into());
    }
    let wanted = count as u64;
    let end = |start: u64| {
        start.checked_add(wanted).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EOVERFLOW)
    };
    let (input_end, output_end) = (end(input.start)?, end(output.start)?);
    let wanted = wanted.min(from.size.saturating_sub(input.start)).min(MAX_RW_COUNT as u64);
    let same = (from.dev, from.ino) == (to.dev, to.ino);
    if same && input.start < output_end && output.start < input_end && wanted > 0 {
        return Err(Errno::EINVAL.into());
    }
    let done = copy_range(&input, &output, wanted, &cx.rw_env())?;
    if done > 0 {
        input.moved(cx, done)?;
        output.moved(cx, done)?;
    }
    Ok(done)
}

fn copy_range(input: &Side, output: &Side, count: u64, env: &VfsEnv) -> Result<u64> {
    let mut done = 0_u64;
    while done < count {
        let left = usize::try_from(count.saturating_sub(done)).unwrap_or(CHUNK);
        let mut sink = VecSink::new(left.min(CHUNK));
        let read = input.file.read(&mut sink, Some(input.start.saturating_add(done)), env);
        let mut from = SliceSource::new(&sink.bytes);
        let written = match read {
            Ok(0) => break,
            Ok(_) => output.file.write(&mut from, Some(output.start.saturating_add(done)), env),
            Err(errno) => Err(errno),
        };
        match written {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count as u64),
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}
