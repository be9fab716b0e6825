//! Time: clocks, sleeping, interval timers, POSIX timers.

use std::sync::Arc;

use chitin_abi::process::CAP_WAKE_ALARM;
use chitin_abi::signal::{
    SIGALRM, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID, SIGRTMAX, SigEvent,
};
use chitin_abi::time::{
    CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID, ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, Itimerspec,
    Itimerval, STA_NANO, STA_PLL, TIME_OK, TIMER_ABSTIME, Timespec, Timeval, Timex, Timezone, Tms,
};
use chitin_abi::{Errno, GuestAddr, Result};

use super::args::{Clock, Flags, Time};
use crate::context::Ctx;
use crate::error::SysResult;
use crate::limits::usage;
use crate::process::find;
use crate::time::cpu_timers;
use crate::time::id::{self, ClockId, CpuKind};
use crate::time::posix::{self, Notify};
use crate::time::sleep::{self, Sleeping};
use crate::time::timers::{self, Countdown};

/// What coarse clocks advance by: a tick of 250 Hz.
const TICK: u64 = 4_000_000;
/// `times(2)` counts in hundredths of a second.
const USER_TICK: u64 = 10_000_000;

fn timespec(nanos: u64) -> Timespec {
    Timespec::from_nanos(nanos.min(i64::MAX as u64).cast_signed())
}

fn read_clock(cx: &Ctx<'_>, number: i32) -> Result<u64> {
    let (clock, traits) = id::resolve(cx.task, number)?;
    let now = match &clock {
        ClockId::Thread(task, kind) => kind.of(usage::thread_cpu(cx, task)),
        ClockId::Process(..) => {
            usage::own_cpu(cx);
            clock.now(&cx.kernel().clock)
        }
        _ => clock.now(&cx.kernel().clock),
    };
    Ok(if traits.coarse { now / TICK * TICK } else { now })
}

/// `clock_gettime(2)`.
pub fn clock_gettime(cx: &mut Ctx<'_>, clockid: Clock, tp: Time) -> SysResult {
    let now = read_clock(cx, clockid.0)?;
    cx.write(tp.0, &timespec(now))?;
    Ok(0)
}

/// `clock_getres(2)`.
pub fn clock_getres(cx: &mut Ctx<'_>, clockid: Clock, res: Time) -> SysResult {
    let (_, traits) = id::resolve(cx.task, clockid.0)?;
    let resolution = if traits.coarse { TICK } else { 1 };
    cx.write_opt(res.0, &timespec(resolution))?;
    Ok(0)
}

/// `clock_settime(2)`: the host's clock is not the guest's to set.
pub fn clock_settime(cx: &mut Ctx<'_>, clockid: Clock, tp: Time) -> SysResult {
    id::resolve(cx.task, clockid.0)?;
    let settable = clockid.0 == CLOCK_REALTIME.cast_signed();
    if clockid.0 >= 0 && !settable {
        return Err(Errno::EINVAL.into());
    }
    let time: Timespec = cx.read(tp.0)?;
    if !settable {
        return Err(Errno::EPERM.into());
    }
    time.to_nanos().ok_or(Errno::EINVAL)?;
    Err(Errno::EPERM.into())
}

/// `gettimeofday(2)`.
pub fn gettimeofday(cx: &mut Ctx<'_>, tv: GuestAddr, tz: GuestAddr) -> SysResult {
    if !tv.is_null() {
        cx.write(tv, &Timeval::from_nanos(cx.kernel().clock.realtime_nanos()))?;
    }
    cx.write_opt(tz, &Timezone::default())?;
    Ok(0)
}

/// `settimeofday(2)`: the host's clock is not the guest's to set.
pub fn settimeofday(cx: &mut Ctx<'_>, tv: GuestAddr, tz: GuestAddr) -> SysResult {
    if !tv.is_null() {
        cx.read::<Timeval>(tv)?.to_nanos().ok_or(Errno::EINVAL)?;
    }
    if !tz.is_null() {
        cx.read::<Timezone>(tz)?;
    }
    Err(Errno::EPERM.into())
}

/// `time(2)`.
pub fn time(cx: &mut Ctx<'_>, tloc: GuestAddr) -> SysResult {
    let seconds = cx.kernel().clock.realtime().tv_sec;
    cx.write_opt(tloc, &seconds)?;
    Ok(seconds.cast_unsigned())
}

/// `times(2)`.
pub fn times(cx: &mut Ctx<'_>, buf: GuestAddr) -> SysResult {
    let ticks = |nanos: u64| (nanos / USER_TICK).cast_signed();
    if !buf.is_null() {
        usage::own_cpu(cx);
        let own = usage::process_cpu(cx.task);
        let children = usage::children_cpu(cx.task);
        let value = Tms {
            tms_utime: ticks(own.0),
            tms_stime: ticks(own.1),
            tms_cutime: ticks(children.0),
            tms_cstime: ticks(children.1),
        };
        cx.write(buf, &value)?;
    }
    Ok(cx.kernel().clock.boottime() / USER_TICK)
}

fn adjust(cx: &Ctx<'_>, buf: GuestAddr) -> SysResult {
    let mut value: Timex = cx.read(buf)?;
    if value.modes != 0 {
        return Err(Errno::EPERM.into());
    }
    let now = cx.kernel().clock.realtime();
    value = Timex {
        maxerror: 16_000,
        esterror: 16,
        status: (STA_PLL | STA_NANO).cast_signed(),
        constant: 7,
        precision: 1,
        tolerance: 32_768_000,
        time: Timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec },
        tick: 10_000,
        ..Timex::default()
    };
    cx.write(buf, &value)?;
    Ok(u64::from(TIME_OK))
}

/// `adjtimex(2)`.
pub fn adjtimex(cx: &mut Ctx<'_>, buf: GuestAddr) -> SysResult {
    adjust(cx, buf)
}

/// `clock_adjtime(2)`.
pub fn clock_adjtime(cx: &mut Ctx<'_>, clockid: Clock, buf: GuestAddr) -> SysResult {
    id::resolve(cx.task, clockid.0)?;
    if clockid.0 != CLOCK_REALTIME.cast_signed() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    adjust(cx, buf)
}

/// `nanosleep(2)`.
pub async fn nanosleep(cx: &mut Ctx<'_>, duration: Time, rem: Time) -> SysResult {
    let duration = cx.read::<Timespec>(duration.0)?.to_nanos().ok_or(Errno::EINVAL)?;
    let deadline = cx.kernel().clock.monotonic().saturating_add(duration);
    let sleeping =
        Sleeping { clock: ClockId::Monotonic, deadline, remaining: rem.0, absolute: false };
    sleep::sleep(cx, sleeping).await
}

/// A clock that can be waited for.
fn timer_clock(cx: &Ctx<'_>, number: i32) -> Result<ClockId> {
    let (clock, traits) = id::resolve(cx.task, number)?;
    if !traits.timers {
        return Err(Errno::EOPNOTSUPP);
    }
    if traits.alarm && !cx.task.cred().capable_initial(CAP_WAKE_ALARM) {
        return Err(Errno::EPERM);
    }
    Ok(clock)
}

/// `clock_nanosleep(2)`.
pub async fn clock_nanosleep(
    cx: &mut Ctx<'_>,
    clockid: Clock,
    flags: Flags,
    request: Time,
    remain: Time,
) -> SysResult {
    let clock = timer_clock(cx, clockid.0)?;
    let request = cx.read::<Timespec>(request.0)?.to_nanos().ok_or(Errno::EINVAL)?;
    if let ClockId::Thread(task, _) = &clock
        && (clockid.0 == CLOCK_THREAD_CPUTIME_ID.cast_signed() || Arc::ptr_eq(task, cx.task))
    {
        return Err(Errno::EINVAL.into());
    }
    let absolute = flags.0 & TIMER_ABSTIME != 0;
    // A relative sleep on the real-time clock does not notice that it is set.
    let clock =
        if !absolute && matches!(clock, ClockId::Real) { ClockId::Monotonic } else { clock };
    let deadline =
        if absolute { request } else { clock.now(&cx.kernel().clock).saturating_add(request) };
    sleep::sleep(cx, Sleeping { clock, deadline, remaining: remain.0, absolute }).await
}

fn timeval(nanos: u64) -> Timeval {
    // What is left of an armed timer is never shown as nothing.
    Timeval::from_nanos(if nanos == 0 { 0 } else { nanos.max(1000) })
}

fn itimerval((left, interval): (u64, u64)) -> Itimerval {
    Itimerval { it_interval: Timeval::from_nanos(interval), it_value: timeval(left) }
}

/// Which CPU time an interval timer counts.
fn cpu_kind(which: u32) -> Option<CpuKind> {
    match which {
        ITIMER_VIRTUAL => Some(CpuKind::User),
        ITIMER_PROF => Some(CpuKind::Both),
        _ => None,
    }
}

/// `getitimer(2)`.
pub fn getitimer(cx: &mut Ctx<'_>, which: i32, curr_value: GuestAddr) -> SysResult {
    let which = which.cast_unsigned();
    let left = match cpu_kind(which) {
        Some(kind) => {
            let now = kind.of(usage::process_cpu(cx.task));
            let timers = cx.task.group.timers.lock();
            if kind == CpuKind::User { timers.virt.left(now) } else { timers.prof.left(now) }
        }
        None if which == ITIMER_REAL => {
            let now = cx.kernel().clock.monotonic();
            cx.task.group.timers.lock().real.left(now)
        }
        None => return Err(Errno::EINVAL.into()),
    };
    cx.write(curr_value, &itimerval(left))?;
    Ok(0)
}

/// `setitimer(2)`.
pub fn setitimer(
    cx: &mut Ctx<'_>,
    which: i32,
    new_value: GuestAddr,
    old_value: GuestAddr,
) -> SysResult {
    let new: Itimerval =
        if new_value.is_null() { Itimerval::default() } else { cx.read(new_value)? };
    let value = new.it_value.to_nanos().ok_or(Errno::EINVAL)?;
    let interval = new.it_interval.to_nanos().ok_or(Errno::EINVAL)?;
    let which = which.cast_unsigned();
    let old = match cpu_kind(which) {
        Some(kind) => {
            let now = kind.of(usage::process_cpu(cx.task));
            let deadline = if value == 0 { 0 } else { now.saturating_add(value).max(1) };
            let old = {
                let mut timers = cx.task.group.timers.lock();
                let slot = if kind == CpuKind::User { &mut timers.virt } else { &mut timers.prof };
                let old = slot.left(now);
                *slot = Countdown { deadline, interval };
                old
            };
            cpu_timers::watch(cx.task);
            old
        }
        None if which == ITIMER_REAL => {
            let now = cx.kernel().clock.monotonic();
            let deadline = if value == 0 { 0 } else { now.saturating_add(value) };
            timers::set_real(cx.task, Countdown { deadline, interval })
        }
        None => return Err(Errno::EINVAL.into()),
    };
    cx.write_opt(old_value, &itimerval(old))?;
    Ok(0)
}

/// `alarm(2)`: what was left, in seconds rounded to the nearest, but never to nothing.
pub fn alarm(cx: &mut Ctx<'_>, seconds: u32) -> SysResult {
    const SECOND: u64 = 1_000_000_000;
    let now = cx.kernel().clock.monotonic();
    let deadline = if seconds == 0 { 0 } else { now.saturating_add(u64::from(seconds) * SECOND) };
    let (left, _) = timers::set_real(cx.task, Countdown { deadline, interval: 0 });
    let rounded = left.saturating_add(SECOND / 2) / SECOND;
    Ok(if left != 0 && rounded == 0 { 1 } else { rounded })
}

/// `timer_create(2)`.
pub fn timer_create(
    cx: &mut Ctx<'_>,
    clockid: Clock,
    sevp: GuestAddr,
    timerid: GuestAddr,
) -> SysResult {
    let event = if sevp.is_null() { None } else { Some(cx.read::<SigEvent>(sevp)?) };
    let clock = timer_clock(cx, clockid.0)?;
    let notify = event.map(|event| checked_notify(cx, &event)).transpose()?;
    let id = posix::create(cx.task, clock, |id| {
        notify.unwrap_or(Notify {
            kind: SIGEV_SIGNAL,
            signal: SIGALRM,
            value: u64::from(id.cast_unsigned()),
            thread: None,
        })
    })?;
    if let Err(errno) = cx.write(timerid, &id) {
        // It was just made.
        let _ = posix::delete(cx.task, id);
        return Err(errno.into());
    }
    Ok(0)
}

fn checked_notify(cx: &Ctx<'_>, event: &SigEvent) -> Result<Notify> {
    let signal = event.signo.cast_unsigned();
    let good_signal = (1..=SIGRTMAX).contains(&signal);
    let kind = event.notify.cast_unsigned();
    let thread = match kind {
        SIGEV_NONE => None,
        SIGEV_SIGNAL | SIGEV_THREAD if good_signal => None,
        SIGEV_THREAD_ID if good_signal && event.tid > 0 => {
            let thread = find::task(cx.task, event.tid).map_err(|_| Errno::EINVAL)?;
            if !Arc::ptr_eq(&thread.group, &cx.task.group) {
                return Err(Errno::EINVAL);
            }
            Some(Arc::downgrade(&thread))
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok(Notify { kind, signal, value: event.value, thread })
}

fn itimerspec((left, interval): (u64, u64)) -> Itimerspec {
    Itimerspec { it_interval: timespec(interval), it_value: timespec(left) }
}

/// `timer_settime(2)`.
pub fn timer_settime(
    cx: &mut Ctx<'_>,
    timerid: i32,
    flags: Flags,
    new_value: GuestAddr,
    old_value: GuestAddr,
) -> SysResult {
    if new_value.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let new: Itimerspec = cx.read(new_value)?;
    let value = new.it_value.to_nanos().ok_or(Errno::EINVAL)?;
    let interval = new.it_interval.to_nanos().ok_or(Errno::EINVAL)?;
    let old = posix::set(cx.task, timerid, value, interval, flags.0 & TIMER_ABSTIME != 0)?;
    cx.write_opt(old_value, &itimerspec(old))?;
    Ok(0)
}

/// `timer_gettime(2)`.
pub fn timer_gettime(cx: &mut Ctx<'_>, timerid: i32, curr_value: GuestAddr) -> SysResult {
    let left = posix::get(cx.task, timerid)?;
    cx.write(curr_value, &itimerspec(left))?;
    Ok(0)
}

/// `timer_getoverrun(2)`.
pub fn timer_getoverrun(cx: &mut Ctx<'_>, timerid: i32) -> SysResult {
    Ok(u64::from(posix::overrun(cx.task, timerid)?.unsigned_abs()))
}

/// `timer_delete(2)`.
pub fn timer_delete(cx: &mut Ctx<'_>, timerid: i32) -> SysResult {
    posix::delete(cx.task, timerid)?;
    Ok(0)
}
