//! Signals: dispositions, masks, sending, waiting, alternate stacks, `signalfd`.

use chitin_abi::fs::OpenFlags;
use chitin_abi::signal::{
    SA_EXPOSE_TAGBITS, SA_NOCLDSTOP, SA_NOCLDWAIT, SA_NODEFER, SA_ONSTACK, SA_RESETHAND,
    SA_RESTART, SA_RESTORER, SA_SIGINFO, SFD_CLOEXEC, SFD_NONBLOCK, SI_TKILL, SIG_BLOCK,
    SIG_SETMASK, SIG_UNBLOCK, SIGKILL, SIGSEGV, SIGSTOP, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK,
    SigAction, SigInfo, SigSet, StackT,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, Result};
use zerocopy::FromZeros;

use super::args::{Fd, Flags, Signal, SignalSet, Time};
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::process::find;
use crate::signal::permission::{self, Scope};
use crate::signal::{deliver, force, frame, send, signalfd};

const SET_SIZE: usize = size_of::<SigSet>();
/// The least that `sigaltstack` takes.
const MINSIGSTKSZ: u64 = 2048;

fn check_set_size(size: usize) -> Result<()> {
    if size == SET_SIZE { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Reads a signal set; SIGKILL and SIGSTOP are never in it.
fn read_mask(cx: &Ctx<'_>, addr: GuestAddr) -> Result<SigSet> {
    let mut set: SigSet = cx.read(addr)?;
    set.remove(SIGKILL);
    set.remove(SIGSTOP);
    Ok(set)
}

/// `rt_sigaction(2)`.
pub fn rt_sigaction(
    cx: &mut Ctx<'_>,
    signum: Signal,
    act: GuestAddr,
    oldact: GuestAddr,
    sigsetsize: usize,
) -> SysResult {
    check_set_size(sigsetsize)?;
    let new = if act.is_null() { None } else { Some(cx.read::<SigAction>(act)?) };
    let signal = permission::signal_number(signum.0)?;
    if signal == 0 || new.is_some() && matches!(signal, SIGKILL | SIGSTOP) {
        return Err(Errno::EINVAL.into());
    }
    let actions = cx.task.group.actions();
    let old = match new {
        None => actions.get(signal),
        Some(mut new) => {
            // Programs find out which flags exist by setting and reading them.
            let known = SA_NOCLDSTOP
                | SA_NOCLDWAIT
                | SA_SIGINFO
                | SA_ONSTACK
                | SA_RESTART
                | SA_NODEFER
                | SA_RESETHAND;
            new.flags &= known | SA_RESTORER | SA_EXPOSE_TAGBITS;
            let old = actions.set(signal, new)?;
            if actions.ignores(signal) {
                send::discard(cx.task, SigSet::from_signals(&[signal]));
            }
            old
        }
    };
    cx.write_opt(oldact, &old)?;
    Ok(0)
}

/// `rt_sigprocmask(2)`.
pub fn rt_sigprocmask(
    cx: &mut Ctx<'_>,
    how: i32,
    set: SignalSet,
    oldset: SignalSet,
    sigsetsize: usize,
) -> SysResult {
    check_set_size(sigsetsize)?;
    let new = if set.0.is_null() { None } else { Some(read_mask(cx, set.0)?) };
    let old = {
        let mut signals = cx.task.signals.lock();
        let old = signals.mask;
        if let Some(new) = new {
            signals.mask = match how.cast_unsigned() {
                SIG_BLOCK => old.union(new),
                SIG_UNBLOCK => old.difference(new),
                SIG_SETMASK => new,
                _ => return Err(Errno::EINVAL.into()),
            };
        }
        old
    };
    if new.is_some() {
        cx.task.mask_changed(old);
    }
    cx.write_opt(oldset.0, &old)?;
    Ok(0)
}

/// `rt_sigreturn(2)`.
pub fn rt_sigreturn(cx: &mut Ctx<'_>) -> SysResult {
    if frame::restore(cx).is_err() {
        force(cx.task, SigInfo::kernel(SIGSEGV));
    }
    Err(SysError::NoReturn)
}

/// `rt_sigpending(2)`.
pub fn rt_sigpending(cx: &mut Ctx<'_>, set: GuestAddr, sigsetsize: usize) -> SysResult {
    if sigsetsize > SET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let pending = {
        let group = cx.task.group.signals.lock();
        let signals = cx.task.signals.lock();
        group.pending.set().union(signals.pending.set()).intersection(signals.mask)
    };
    let bytes = pending.bits().to_ne_bytes();
    cx.memory().write(set, bytes.get(..sigsetsize).unwrap_or_default())?;
    Ok(0)
}

/// `rt_sigsuspend(2)`.
pub async fn rt_sigsuspend(cx: &mut Ctx<'_>, mask: SignalSet, sigsetsize: usize) -> SysResult {
    check_set_size(sigsetsize)?;
    let mask = read_mask(cx, mask.0)?;
    cx.task.set_temporary_mask(mask);
    cx.wait(Restart::NoHandler, core::future::pending::<u64>()).await
}

/// `pause(2)`.
pub async fn pause(cx: &mut Ctx<'_>) -> SysResult {
    cx.wait(Restart::NoHandler, core::future::pending::<u64>()).await
}

/// `rt_sigtimedwait(2)`.
pub async fn rt_sigtimedwait(
    cx: &mut Ctx<'_>,
    set: SignalSet,
    info: GuestAddr,
    timeout: Time,
    sigsetsize: usize,
) -> SysResult {
    check_set_size(sigsetsize)?;
    let wanted = read_mask(cx, set.0)?;
    let timeout = if timeout.0.is_null() {
        None
    } else {
        Some(cx.read::<Timespec>(timeout.0)?.to_nanos().ok_or(Errno::EINVAL)?)
    };
    let mut taken = deliver::take(cx.task, wanted);
    if taken.is_none() && timeout != Some(0) {
        let deadline = timeout
            .map_or(u64::MAX, |timeout| cx.kernel().clock.monotonic().saturating_add(timeout));
        cx.task.signals.lock().waited = wanted;
        let arrived = core::future::poll_fn(|_| match deliver::take(cx.task, wanted) {
            Some(info) => core::task::Poll::Ready(info),
            None => core::task::Poll::Pending,
        });
        let result = cx.wait_until(Restart::NoHandler, deadline, arrived).await;
        cx.task.signals.lock().waited = SigSet::EMPTY;
        taken = match result {
            Ok(found) => found,
            // Not restarted: a signal that is not waited for ends it.
            Err(SysError::Restart(_)) => return Err(Errno::EINTR.into()),
            Err(error) => return Err(error),
        };
        taken = taken.or_else(|| deliver::take(cx.task, wanted));
    }
    let taken = taken.ok_or(Errno::EAGAIN)?;
    cx.write_opt(info, &taken)?;
    Ok(u64::from(taken.signo()))
}

/// `kill(2)`.
pub fn kill(cx: &mut Ctx<'_>, pid: i32, sig: Signal) -> SysResult {
    let signal = permission::signal_number(sig.0)?;
    let scope = scope(cx, pid)?;
    permission::send(cx.task, scope, signal, None)
}

fn scope(cx: &Ctx<'_>, pid: i32) -> Result<Scope> {
    let ns = cx.task.pid_ns();
    Ok(match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Scope::All,
        0 => {
            let tree = cx.kernel().tree.lock();
            Scope::Group(tree.process(cx.task.tgid()).ok_or(Errno::ESRCH)?.pgrp.global())
        }
        1.. => {
            let global = ns.global(pid.unsigned_abs()).ok_or(Errno::ESRCH)?;
            // `kill` takes any thread's number for its process.
            let tree = cx.kernel().tree.lock();
            Scope::Process(tree.task(global).map_or(global, |task| task.tgid()))
        }
        _ => Scope::Group(ns.global(pid.unsigned_abs()).ok_or(Errno::ESRCH)?),
    })
}

/// `tkill(2)`.
pub fn tkill(cx: &mut Ctx<'_>, tid: i32, sig: Signal) -> SysResult {
    to_thread(cx, None, tid, sig, None)
}

/// `tgkill(2)`.
pub fn tgkill(cx: &mut Ctx<'_>, tgid: i32, tid: i32, sig: Signal) -> SysResult {
    to_thread(cx, Some(tgid), tid, sig, None)
}

fn to_thread(
    cx: &Ctx<'_>,
    tgid: Option<i32>,
    tid: i32,
    sig: Signal,
    given: Option<SigInfo>,
) -> SysResult {
    if tid <= 0 || tgid.is_some_and(|tgid| tgid <= 0) {
        return Err(Errno::EINVAL.into());
    }
    let target = find::task(cx.task, tid)?;
    let tgid_matches =
        tgid.is_none_or(|tgid| target.group.pid.in_ns(&cx.task.pid_ns()) == tgid.unsigned_abs());
    if !tgid_matches {
        return Err(Errno::ESRCH.into());
    }
    let signal = permission::signal_number(sig.0)?;
    permission::send_one(cx.task, &target, signal, given, true)?;
    Ok(0)
}

/// Reads the siginfo that a guest sends; it must not claim to come from the kernel.
fn read_info(cx: &Ctx<'_>, info: GuestAddr, sig: Signal) -> Result<SigInfo> {
    let mut given: SigInfo = cx.read(info)?;
    given.set_signo(sig.0.cast_unsigned());
    Ok(given)
}

fn may_claim(given: &SigInfo, own: bool) -> bool {
    own || !(given.code() >= 0 || given.code() == SI_TKILL)
}

/// `rt_sigqueueinfo(2)`.
pub fn rt_sigqueueinfo(cx: &mut Ctx<'_>, tgid: i32, sig: Signal, info: GuestAddr) -> SysResult {
    let given = read_info(cx, info, sig)?;
    if !may_claim(&given, cx.task.local_tgid() == tgid.cast_unsigned()) {
        return Err(Errno::EPERM.into());
    }
    let signal = permission::signal_number(sig.0)?;
    let number = u32::try_from(tgid).ok().filter(|number| *number > 0).ok_or(Errno::ESRCH)?;
    let global = cx.task.pid_ns().global(number).ok_or(Errno::ESRCH)?;
    let process = {
        let tree = cx.kernel().tree.lock();
        tree.task(global).map_or(global, |task| task.tgid())
    };
    permission::send(cx.task, Scope::Process(process), signal, Some(given))
}

/// `rt_tgsigqueueinfo(2)`.
pub fn rt_tgsigqueueinfo(
    cx: &mut Ctx<'_>,
    tgid: i32,
    tid: i32,
    sig: Signal,
    info: GuestAddr,
) -> SysResult {
    let given = read_info(cx, info, sig)?;
    if tid <= 0 || tgid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if !may_claim(&given, cx.task.local_tid() == tid.cast_unsigned()) {
        return Err(Errno::EPERM.into());
    }
    to_thread(cx, Some(tgid), tid, sig, Some(given))
}

/// `sigaltstack(2)`.
pub fn sigaltstack(cx: &mut Ctx<'_>, ss: GuestAddr, old_ss: GuestAddr) -> SysResult {
    let new = if ss.is_null() { None } else { Some(cx.read::<StackT>(ss)?) };
    let rsp = cx.regs.rsp;
    let old = {
        let mut signals = cx.task.signals.lock();
        let alt = signals.alt_stack;
        let mut old = StackT::new_zeroed();
        (old.sp, old.size, old.flags) = (alt.sp, alt.size, frame::alt_stack_flags(rsp, &alt));
        if let Some(new) = new {
            if frame::on_alt_stack(rsp, &alt) {
                return Err(Errno::EPERM.into());
            }
            signals.alt_stack = checked_alt_stack(&new)?;
        }
        old
    };
    cx.write_opt(old_ss, &old)?;
    Ok(0)
}

fn checked_alt_stack(new: &StackT) -> Result<StackT> {
    match new.flags & !SS_AUTODISARM {
        SS_DISABLE => Ok(StackT { flags: SS_DISABLE, ..StackT::default() }),
        0 | SS_ONSTACK if new.size < MINSIGSTKSZ => Err(Errno::ENOMEM),
        0 | SS_ONSTACK => {
            Ok(StackT { sp: new.sp, flags: new.flags & SS_AUTODISARM, pad: 0, size: new.size })
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `signalfd(2)`.
pub fn signalfd(cx: &mut Ctx<'_>, fd: Fd, mask: SignalSet, sizemask: usize) -> SysResult {
    signalfd4(cx, fd, mask, sizemask, Flags(0))
}

/// `signalfd4(2)`.
pub fn signalfd4(
    cx: &mut Ctx<'_>,
    fd: Fd,
    mask: SignalSet,
    sizemask: usize,
    flags: Flags,
) -> SysResult {
    check_set_size(sizemask)?;
    let mask = read_mask(cx, mask.0)?;
    if flags.0 & !(SFD_CLOEXEC | SFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if fd.0 != -1 {
        let file = cx.task.files().get(fd.0)?;
        let signalfd =
            file.file().as_any().downcast_ref::<signalfd::SignalFd>().ok_or(Errno::EINVAL)?;
        signalfd.set_mask(mask);
        return Ok(u64::from(fd.0.unsigned_abs()));
    }
    let open = OpenFlags::from_bits_retain(flags.0 & SFD_NONBLOCK);
    let file = signalfd::open(cx.task, mask, open);
    let limit = cx.task.group.limits.lock().open_files();
    let fd = cx.task.files().install(file, flags.0 & SFD_CLOEXEC != 0, 0, limit)?;
    Ok(u64::from(fd.unsigned_abs()))
}
