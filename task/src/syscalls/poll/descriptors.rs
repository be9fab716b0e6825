//! `poll(2)` and `ppoll(2)`.

use chitin_abi::poll::{PollEvents, PollFd};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::{MaskGuard, PollSet, Until, Watched};
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::syscalls::args::{SignalSet, Time};
use crate::time::RestartBlock;

/// `poll(2)`: interrupted, it goes on by `restart_syscall` with the time that is left.
pub async fn poll(cx: &mut Ctx<'_>, fds: GuestAddr, count: u32, timeout: i32) -> SysResult {
    let until = Until::after_millis(cx, timeout);
    poll_until(cx, fds, count, until).await
}

/// What is left of an interrupted `poll(2)`.
pub struct PollRestart {
    fds: GuestAddr,
    count: u32,
    until: Until,
}

/// Goes on with an interrupted `poll(2)`.
///
/// # Errors
/// As [`poll`].
pub async fn restart(cx: &mut Ctx<'_>, rest: PollRestart) -> SysResult {
    poll_until(cx, rest.fds, rest.count, rest.until).await
}

async fn poll_until(cx: &mut Ctx<'_>, fds: GuestAddr, count: u32, until: Until) -> SysResult {
    let result = wait(cx, fds, count, until, Restart::Block).await;
    if result == Err(SysError::Restart(Restart::Block)) {
        *cx.task.restart.lock() = Some(RestartBlock::Poll(PollRestart { fds, count, until }));
    }
    result
}

/// `ppoll(2)`: the time that is left is written back; it is made again only if no handler runs.
pub async fn ppoll(
    cx: &mut Ctx<'_>,
    fds: GuestAddr,
    count: u32,
    timeout: Time,
    mask: SignalSet,
    mask_size: usize,
) -> SysResult {
    let until = Until::after_timespec(cx, timeout.0)?;
    let guard = MaskGuard::install(cx, mask.0, mask_size)?;
    let result = wait(cx, fds, count, until, Restart::NoHandler).await;
    let result = guard.finish(cx.task, result);
    write_remaining(cx, timeout.0, until, result)
}

/// Writes back what is left of a `timespec`. Where that fails the call cannot be made again.
pub(super) fn write_remaining(
    cx: &Ctx<'_>,
    addr: GuestAddr,
    until: Until,
    result: SysResult,
) -> SysResult {
    let Some(nanos) = until.remaining(cx).filter(|_| !addr.is_null()) else { return result };
    let left = Timespec::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX));
    match (cx.write(addr, &left), result) {
        (Err(_), Err(SysError::Restart(Restart::NoHandler))) => Err(Errno::EINTR.into()),
        (_, result) => result,
    }
}

async fn wait(
    cx: &Ctx<'_>,
    addr: GuestAddr,
    count: u32,
    until: Until,
    restart: Restart,
) -> SysResult {
    let mut fds = read(cx, addr, count)?;
    let mut set = watch(cx, &fds);
    let ready = set.wait(cx, until, restart).await?;
    let mut results = set.files.iter();
    for fd in &mut fds {
        fd.revents =
            if fd.fd < 0 { 0 } else { results.next().map_or(0, |watched| watched.happened.bits()) };
    }
    if !fds.is_empty() {
        cx.memory().write(addr, fds.as_bytes())?;
    }
    Ok(ready as u64)
}

fn read(cx: &Ctx<'_>, addr: GuestAddr, count: u32) -> Result<Vec<PollFd>> {
    if u64::from(count) > cx.task.group.limits().open_files() {
        return Err(Errno::EINVAL);
    }
    let mut fds = vec![PollFd::new_zeroed(); count as usize];
    if count > 0 {
        cx.memory().read(addr, fds.as_mut_bytes())?;
    }
    Ok(fds)
}

fn watch(cx: &Ctx<'_>, fds: &[PollFd]) -> PollSet {
    let table = cx.task.files();
    let watched = |fd: &PollFd| Watched {
        file: table.get(fd.fd).ok().filter(|file| !file.is_path_only()),
        interest: PollEvents::from_bits_retain(fd.events),
        happened: PollEvents::empty(),
    };
    let always = PollEvents::POLLERR | PollEvents::POLLHUP;
    PollSet { always, files: fds.iter().filter(|fd| fd.fd >= 0).map(watched).collect() }
}
