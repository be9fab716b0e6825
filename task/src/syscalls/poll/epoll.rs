//! `epoll_create(2)`, `epoll_ctl(2)`, `epoll_wait(2)` and their variants.

use chitin_abi::poll::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent, PollEvents,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::epoll::{Epoll, new_epoll};
use zerocopy::IntoBytes;

use super::{MaskGuard, Until};
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::readiness;
use crate::scheduler::wait::Waiter;
use crate::syscalls::args::{Fd, Flags, SignalSet, Time};
use crate::syscalls::scatter::check_range;
use crate::syscalls::streams::install;

/// Most events that one call may ask for.
const MAX_EVENTS: i32 = i32::MAX / size_of::<EpollEvent>() as i32;

/// `epoll_create(2)`: the size means nothing but must be positive.
pub fn epoll_create(cx: &mut Ctx<'_>, size: i32) -> SysResult {
    if size <= 0 {
        return Err(Errno::EINVAL.into());
    }
    epoll_create1(cx, Flags(0))
}

/// `epoll_create1(2)`.
pub fn epoll_create1(cx: &mut Ctx<'_>, flags: Flags) -> SysResult {
    if flags.0 & !EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    install(cx, new_epoll(&cx.task.cred().fs_cred()), flags.0 & EPOLL_CLOEXEC != 0)
}

/// `epoll_ctl(2)`.
pub fn epoll_ctl(cx: &mut Ctx<'_>, epfd: Fd, op: i32, fd: Fd, event: GuestAddr) -> SysResult {
    let op = op.cast_unsigned();
    let event: EpollEvent =
        if op == EPOLL_CTL_DEL { EpollEvent::default() } else { cx.read(event)? };
    let epoll = cx.file(epfd.0)?;
    let file = cx.file(fd.0)?;
    if file.file().wait_queue().is_none() {
        return Err(Errno::EPERM.into());
    }
    let epoll = Epoll::of(&epoll)?;
    match op {
        EPOLL_CTL_ADD => epoll.add(fd.0, &file, event)?,
        EPOLL_CTL_MOD => epoll.modify(fd.0, &file, event)?,
        EPOLL_CTL_DEL => epoll.remove(fd.0, &file)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// `epoll_wait(2)`.
pub async fn epoll_wait(
    cx: &mut Ctx<'_>,
    epfd: Fd,
    events: GuestAddr,
    max: i32,
    timeout: i32,
) -> SysResult {
    let until = Until::after_millis(cx, timeout);
    wait(cx, epfd, events, max, until).await
}

/// `epoll_pwait(2)`.
pub async fn epoll_pwait(
    cx: &mut Ctx<'_>,
    epfd: Fd,
    events: GuestAddr,
    max: i32,
    timeout: i32,
    mask: SignalSet,
    mask_size: usize,
) -> SysResult {
    let guard = MaskGuard::install(cx, mask.0, mask_size)?;
    let until = Until::after_millis(cx, timeout);
    let result = wait(cx, epfd, events, max, until).await;
    guard.finish(cx.task, result)
}

/// `epoll_pwait2(2)`.
pub async fn epoll_pwait2(
    cx: &mut Ctx<'_>,
    epfd: Fd,
    events: GuestAddr,
    max: i32,
    timeout: Time,
    mask: SignalSet,
    mask_size: usize,
) -> SysResult {
    let until = Until::after_timespec(cx, timeout.0)?;
    let guard = MaskGuard::install(cx, mask.0, mask_size)?;
    let result = wait(cx, epfd, events, max, until).await;
    guard.finish(cx.task, result)
}

async fn wait(cx: &Ctx<'_>, epfd: Fd, addr: GuestAddr, max: i32, until: Until) -> SysResult {
    let file = cx.file(epfd.0)?;
    if max <= 0 || max > MAX_EVENTS {
        return Err(Errno::EINVAL.into());
    }
    let max = max.unsigned_abs() as usize;
    check_range(addr.0, (max * size_of::<EpollEvent>()) as u64)?;
    let epoll = Epoll::of(&file)?;
    let take = || epoll.take(max, |events| cx.memory().write(addr, events.as_bytes()));
    let mut count = take()?;
    if count == 0 && until != Until::Now {
        count = sleep(cx, epoll, until, take).await?;
    }
    Ok(count as u64)
}

async fn sleep(
    cx: &Ctx<'_>,
    epoll: &Epoll,
    until: Until,
    take: impl Fn() -> Result<usize>,
) -> SysResult<usize> {
    let waiter = Waiter::new();
    let registration = waiter.register_exclusive(epoll.waiters(), PollEvents::POLLIN);
    let attempt = || match take()? {
        0 => Err(Errno::EAGAIN),
        count => Ok(count),
    };
    let result = readiness::retry(cx, &waiter, until.deadline(), Restart::NoHandler, attempt).await;
    drop(registration);
    match result {
        Ok(count) => Ok(count.unwrap_or(0)),
        Err(error) => {
            // A wake that was meant for this call goes to another.
            epoll.pass_on();
            // Never made again, whatever the signal does.
            Err(if matches!(error, SysError::Restart(_)) { Errno::EINTR.into() } else { error })
        }
    }
}
