//! Kernel asynchronous I/O: `io_setup(2)`, `io_submit(2)`, `io_getevents(2)`, `io_destroy(2)`, `io_cancel(2)`.
//!
//! A request is tried at once; one that would block goes on as a future of its own, with the address space that its
//! buffers are in. A context belongs to an address space and is named by the address of a page that it maps there,
//! as on Linux; the page holds no ring, so that libraries make the call instead of looking.
//!
//! Costs: one event of 32 bytes in the queue per request; one allocation more for one that waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chitin_abi::mm::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use chitin_abi::poll::PollEvents;
use chitin_abi::time::Timespec;
use chitin_abi::uio::{
    IOCB_CMD_FDSYNC, IOCB_CMD_FSYNC, IOCB_CMD_POLL, IOCB_CMD_PREAD, IOCB_CMD_PREADV,
    IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV, IOCB_FLAG_RESFD, IoEvent, Iocb, SigsetArgument,
};
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::eventfd::EventFd;
use chitin_vfs::file::OpenFile;
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;

use super::args::{Fd, MapFlags, Protection, Time};
use super::poll::mask::MaskGuard;
use super::scatter::Scatter;
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::memory::Mm;
use crate::readiness;
use crate::scheduler::wait::Waiter;

/// Most events of one context (`/proc/sys/fs/aio-max-nr`).
const MOST_EVENTS: u32 = 65536;
/// Events whose ring Linux would not even try to make.
const LARGEST_RING: u32 = 0x1000_0000 / 64;
/// Most contexts of one address space.
const MOST_CONTEXTS: usize = 1024;

#[derive(Default)]
struct Queue {
    done: VecDeque<IoEvent>,
    running: usize,
    closed: bool,
}

/// A context.
pub struct Context {
    capacity: usize,
    queue: Mutex<Queue>,
    changed: Arc<WaitQueue>,
}

/// The contexts of an address space, by their addresses.
pub type Contexts = Mutex<BTreeMap<u64, Arc<Context>>>;

fn find(cx: &Ctx<'_>, id: u64) -> Result<Arc<Context>> {
    cx.mm.aio.lock().get(&id).cloned().ok_or(Errno::EINVAL)
}

/// Ends all contexts: nothing uses the address space any more.
pub fn close_all(contexts: &Contexts) {
    let all = core::mem::take(&mut *contexts.lock());
    for context in all.values() {
        context.queue.lock().closed = true;
        context.changed.notify(PollEvents::POLLHUP);
    }
}

/// `io_setup(2)`.
pub async fn io_setup(cx: &mut Ctx<'_>, count: u32, id_at: GuestAddr) -> SysResult {
    let old: u64 = cx.read(id_at)?;
    if old != 0 || count == 0 || count > LARGEST_RING {
        return Err(Errno::EINVAL.into());
    }
    if count > MOST_EVENTS || cx.mm.aio.lock().len() >= MOST_CONTEXTS {
        return Err(Errno::EAGAIN.into());
    }
    let (prot, flags) = (Protection(PROT_READ | PROT_WRITE), MapFlags(MAP_PRIVATE | MAP_ANONYMOUS));
    let id = super::memory::mmap(cx, GuestAddr::NULL, PAGE_SIZE, prot, flags, Fd(-1), 0).await?;
    if let Err(error) = cx.write(id_at, &id) {
        let _ = super::memory::munmap(cx, GuestAddr(id), PAGE_SIZE).await;
        return Err(error.into());
    }
    let context =
        Context { capacity: count as usize, queue: Mutex::default(), changed: Arc::default() };
    cx.mm.aio.lock().insert(id, Arc::new(context));
    Ok(0)
}

/// `io_destroy(2)`: waits for what runs.
pub async fn io_destroy(cx: &mut Ctx<'_>, id: u64) -> SysResult {
    let context = cx.mm.aio.lock().remove(&id).ok_or(Errno::EINVAL)?;
    context.queue.lock().closed = true;
    context.changed.notify(PollEvents::POLLHUP);
    let waiter = Waiter::new();
    let registration = waiter.register(&context.changed, PollEvents::POLLIN);
    let idle = || if context.queue.lock().running == 0 { Ok(()) } else { Err(Errno::EAGAIN) };
    let result = readiness::retry(cx, &waiter, None, Restart::Sys, idle).await;
    drop(registration);
    super::memory::munmap(cx, GuestAddr(id), PAGE_SIZE).await?;
    result?;
    Ok(0)
}

/// What a request does.
#[derive(Clone, Copy)]
enum Kind {
    Read { vector: bool },
    Write { vector: bool },
    Sync { data_only: bool },
    Poll,
}

/// A request that has been checked.
struct Request {
    kind: Kind,
    file: Arc<OpenFile>,
    iocb: Iocb,
    at: u64,
    notify: Option<Arc<OpenFile>>,
    env: VfsEnv,
}

fn prepare(cx: &Ctx<'_>, at: u64) -> Result<Request> {
    let iocb: Iocb = cx.read(GuestAddr(at))?;
    if iocb.reserved2 != 0 || iocb.nbytes.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.file(iocb.fildes.cast_signed())?;
    let notify = if iocb.flags & IOCB_FLAG_RESFD != 0 {
        let file = cx.file(iocb.resfd.cast_signed())?;
        Some(file)
            .filter(|file| file.file().as_any().is::<EventFd>())
            .ok_or(Errno::EINVAL)
            .map(Some)?
    } else {
        None
    };
    let kind = match u32::from(iocb.lio_opcode) {
        IOCB_CMD_PREAD => Kind::Read { vector: false },
        IOCB_CMD_PREADV => Kind::Read { vector: true },
        IOCB_CMD_PWRITE => Kind::Write { vector: false },
        IOCB_CMD_PWRITEV => Kind::Write { vector: true },
        IOCB_CMD_FSYNC => Kind::Sync { data_only: false },
        IOCB_CMD_FDSYNC => Kind::Sync { data_only: true },
        IOCB_CMD_POLL => Kind::Poll,
        _ => return Err(Errno::EINVAL),
    };
    match kind {
        Kind::Read { .. } if !file.readable() => return Err(Errno::EBADF),
        Kind::Write { .. } if !file.writable() => return Err(Errno::EBADF),
        Kind::Read { .. } | Kind::Write { .. } if iocb.offset < 0 => return Err(Errno::EINVAL),
        _ => {}
    }
    let request = Request { kind, file, iocb, at, notify, env: cx.rw_env() };
    // Bad buffers and lists are told at once.
    request.list(&cx.mm)?;
    Ok(request)
}

impl Request {
    fn list<'a>(&self, mm: &'a Mm) -> Result<Option<Scatter<'a>>> {
        let (addr, count) =
            (GuestAddr(self.iocb.buf), usize::try_from(self.iocb.nbytes).unwrap_or(usize::MAX));
        match self.kind {
            Kind::Read { vector: false } | Kind::Write { vector: false } => {
                Scatter::single(mm.memory(), addr, count).map(Some)
            }
            Kind::Read { vector: true } | Kind::Write { vector: true } => {
                Scatter::vector(mm.memory(), addr, count).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Tries it; EAGAIN where it would block.
    fn attempt(&self, mm: &Mm) -> Result<u64> {
        let place = (!self.file.file().is_stream()).then_some(self.iocb.offset.cast_unsigned());
        match (self.kind, self.list(mm)?) {
            (Kind::Read { .. }, Some(mut list)) => {
                self.file.read(&mut list, place, &self.env).map(|count| count as u64)
            }
            (Kind::Write { .. }, Some(mut list)) => {
                self.file.write(&mut list, place, &self.env).map(|count| count as u64)
            }
            (Kind::Sync { data_only }, _) => self.file.file().sync(data_only).map(|()| 0),
            (Kind::Poll, _) => self.poll(),
            _ => Ok(0),
        }
    }

    fn poll(&self) -> Result<u64> {
        let wanted = PollEvents::from_bits_retain(self.iocb.buf as u16);
        let ready = self.file.file().poll() & (wanted | PollEvents::POLLERR | PollEvents::POLLHUP);
        if ready.is_empty() { Err(Errno::EAGAIN) } else { Ok(ready.bits().into()) }
    }

    /// Goes on until it is done or its context goes.
    async fn finish(&self, mm: &Mm, context: &Context) -> Result<u64> {
        let Some(queue) = self.file.file().wait_queue() else { return Err(Errno::EAGAIN) };
        let waiter = Waiter::new();
        let _registration = waiter.register(queue, PollEvents::all());
        let _end = waiter.register(&context.changed, PollEvents::POLLHUP);
        loop {
            let seen = waiter.generation();
            if context.queue.lock().closed {
                return Err(Errno::ECANCELED);
            }
            match self.attempt(mm) {
                Err(Errno::EAGAIN) => waiter.changed(seen).await,
                result => return result,
            }
        }
    }

    fn complete(&self, context: &Context, result: Result<u64>) {
        let res = match result {
            Ok(value) => value.cast_signed(),
            Err(errno) => -i64::from(errno.raw()),
        };
        let event = IoEvent { data: self.iocb.data, obj: self.at, res, res2: 0 };
        {
            let mut queue = context.queue.lock();
            queue.running = queue.running.saturating_sub(1);
            queue.done.push_back(event);
        }
        context.changed.notify(PollEvents::POLLIN);
        if let Some(notify) =
            self.notify.as_ref().and_then(|file| file.file().as_any().downcast_ref::<EventFd>())
        {
            notify.signal(1);
        }
    }
}

/// Takes a place in the context for one more request.
fn reserve(context: &Context) -> Result<()> {
    let mut queue = context.queue.lock();
    if queue.running.saturating_add(queue.done.len()) >= context.capacity {
        return Err(Errno::EAGAIN);
    }
    queue.running = queue.running.saturating_add(1);
    Ok(())
}

fn submit(cx: &Ctx<'_>, context: &Arc<Context>, at: u64) -> Result<()> {
    let request = prepare(cx, at)?;
    reserve(context)?;
    match request.attempt(&cx.mm) {
        Err(Errno::EAGAIN) if !request.file.nonblocking() || matches!(request.kind, Kind::Poll) => {
            let (mm, context) = (Arc::clone(&cx.mm), Arc::clone(context));
            cx.kernel().scheduler.spawn(async move {
                let result = request.finish(&mm, &context).await;
                request.complete(&context, result);
            });
        }
        result => request.complete(context, result),
    }
    Ok(())
}

/// `io_submit(2)`: how many requests were taken, or what the first failed with.
pub fn io_submit(cx: &mut Ctx<'_>, id: u64, count: i64, list: GuestAddr) -> SysResult {
    let context = find(cx, id)?;
    let count = u64::try_from(count).map_err(|_| Errno::EINVAL)?.min(context.capacity as u64);
    for index in 0..count {
        let pointer: Result<u64> = list
            .checked_add(index.wrapping_mul(8))
            .ok_or(Errno::EFAULT)
            .and_then(|addr| cx.read(addr));
        match pointer.and_then(|pointer| submit(cx, &context, pointer)) {
            Ok(()) => {}
            Err(error) if index == 0 => return Err(error.into()),
            Err(_) => return Ok(index),
        }
    }
    Ok(count)
}

/// Hands out events that are done.
fn take(cx: &Ctx<'_>, context: &Context, to: GuestAddr, already: u64, most: u64) -> Result<u64> {
    let mut taken = already;
    while taken < most {
        let Some(event) = context.queue.lock().done.pop_front() else { break };
        let size = size_of::<IoEvent>() as u64;
        let result = to
            .checked_add(taken.wrapping_mul(size))
            .ok_or(Errno::EFAULT)
            .and_then(|at| cx.write(at, &event));
        if let Err(error) = result {
            context.queue.lock().done.push_front(event);
            return if taken > 0 { Ok(taken) } else { Err(error) };
        }
        taken = taken.saturating_add(1);
    }
    Ok(taken)
}

/// `io_getevents(2)`.
pub async fn io_getevents(
    cx: &mut Ctx<'_>,
    id: u64,
    least: i64,
    most: i64,
    events: GuestAddr,
    timeout: Time,
) -> SysResult {
    let timeout: Option<Timespec> =
        if timeout.0.is_null() { None } else { Some(cx.read(timeout.0)?) };
    let deadline = match timeout {
        None => None,
        Some(time) => {
            let nanos = time.to_nanos().ok_or(Errno::EINVAL)?;
            Some(cx.kernel().clock.monotonic().saturating_add(nanos))
        }
    };
    let context = find(cx, id)?;
    let (least, most) = match (u64::try_from(least), u64::try_from(most)) {
        (Ok(least), Ok(most)) if least <= most => (least, most),
        _ => return Err(Errno::EINVAL.into()),
    };
    let waiter = Waiter::new();
    let _registration = waiter.register(&context.changed, PollEvents::POLLIN);
    let mut taken = 0;
    let attempt = || {
        taken = take(cx, &context, events, taken, most)?;
        if taken >= least || context.queue.lock().closed { Ok(taken) } else { Err(Errno::EAGAIN) }
    };
    match readiness::retry(cx, &waiter, deadline, Restart::NoHandler, attempt).await {
        Ok(Some(count)) => Ok(count),
        Ok(None) => Ok(taken),
        Err(SysError::Restart(_)) if taken > 0 => Ok(taken),
        Err(SysError::Restart(_)) => Err(Errno::EINTR.into()),
        Err(error) => Err(error),
    }
}

/// `io_pgetevents(2)`.
pub async fn io_pgetevents(
    cx: &mut Ctx<'_>,
    id: u64,
    least: i64,
    most: i64,
    events: GuestAddr,
    timeout: Time,
    signals: GuestAddr,
) -> SysResult {
    let mask = if signals.is_null() {
        SigsetArgument::default()
    } else {
        cx.read::<SigsetArgument>(signals)?
    };
    let size = usize::try_from(mask.sigsetsize).map_err(|_| Errno::EINVAL)?;
    let guard = MaskGuard::install(cx, GuestAddr(mask.sigmask), size)?;
    let result = io_getevents(cx, id, least, most, events, timeout).await;
    guard.finish(cx.task, result)
}

/// `io_cancel(2)`: what runs cannot be taken back.
pub fn io_cancel(cx: &mut Ctx<'_>, id: u64, iocb: GuestAddr, _result: GuestAddr) -> SysResult {
    let _: u32 = cx.read(GuestAddr(iocb.0.wrapping_add(8)))?;
    find(cx, id)?;
    Err(Errno::EINVAL.into())
}
