//! `prctl(2)`.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::process::{
    CAP_LAST_CAP, CAP_SETPCAP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_IS_SET,
    PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP, PR_CAPBSET_READ, PR_GET_AUXV,
    PR_GET_CHILD_SUBREAPER, PR_GET_DUMPABLE, PR_GET_IO_FLUSHER, PR_GET_KEEPCAPS, PR_GET_MDWE,
    PR_GET_NAME, PR_GET_NO_NEW_PRIVS, PR_GET_PDEATHSIG, PR_GET_SECCOMP, PR_GET_SECUREBITS,
    PR_GET_SPECULATION_CTRL, PR_GET_THP_DISABLE, PR_GET_TID_ADDRESS, PR_GET_TIMERSLACK,
    PR_GET_TIMING, PR_GET_TSC, PR_MCE_KILL_GET, PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS, PR_SET_MM, PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, PR_SET_PTRACER,
    PR_SET_SECCOMP, PR_SET_SECUREBITS, PR_SET_THP_DISABLE, PR_SET_TIMERSLACK, PR_SET_TIMING,
    PR_SET_TSC, PR_SET_VMA, PR_SET_VMA_ANON_NAME, PR_TASK_PERF_EVENTS_DISABLE,
    PR_TASK_PERF_EVENTS_ENABLE, PR_TIMING_STATISTICAL, PR_TSC_ENABLE, SECBIT_KEEP_CAPS,
    SECBIT_KEEP_CAPS_LOCKED, SECBIT_NO_CAP_AMBIENT_RAISE, SECURE_ALL_BITS, SECURE_ALL_LOCKS,
    TASK_COMM_LEN,
};
use chitin_abi::{Errno, GuestAddr, Result};

use super::seccomp;
use crate::context::Ctx;
use crate::cred::{CapSet, Credentials};
use crate::error::SysResult;

/// Longest name of an anonymous mapping, with its NUL.
const ANON_NAME_MAX: usize = 80;

/// `prctl(2)`.
pub async fn prctl(
    cx: &mut Ctx<'_>,
    op: i32,
    arg2: u64,
    arg3: u64,
    arg4: u64,
    arg5: u64,
) -> SysResult {
    let op = op.cast_unsigned();
    if op == PR_SET_VMA {
        return set_vma_name(cx, arg2, arg3, arg4, GuestAddr(arg5)).await;
    }
    let rest_is_zero =
        |args: &[u64]| if args.iter().all(|arg| *arg == 0) { Ok(()) } else { Err(Errno::EINVAL) };
    match op {
        PR_SET_NO_NEW_PRIVS => {
            rest_is_zero(&[arg3, arg4, arg5])?;
            if arg2 != 1 {
                return Err(Errno::EINVAL.into());
            }
            cx.task.no_new_privs.store(true, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS => {
            rest_is_zero(&[arg2, arg3, arg4, arg5])?;
            Ok(u64::from(cx.task.no_new_privs.load(Ordering::Relaxed)))
        }
        PR_GET_THP_DISABLE => {
            rest_is_zero(&[arg2, arg3, arg4, arg5])?;
            Ok(u64::from(cx.task.group.thp_disabled.load(Ordering::Relaxed)))
        }
        PR_SET_THP_DISABLE => {
            rest_is_zero(&[arg3, arg4, arg5])?;
            cx.task.group.thp_disabled.store(arg2 != 0, Ordering::Relaxed);
            Ok(0)
        }
        PR_CAP_AMBIENT => {
            rest_is_zero(&[arg4, arg5])?;
            ambient(cx, arg2, arg3)
        }
        PR_SET_PDEATHSIG
        | PR_GET_PDEATHSIG
        | PR_GET_DUMPABLE
        | PR_SET_DUMPABLE
        | PR_SET_CHILD_SUBREAPER
        | PR_GET_CHILD_SUBREAPER => process_attribute(cx, op, arg2),
        PR_GET_KEEPCAPS | PR_SET_KEEPCAPS | PR_CAPBSET_READ | PR_CAPBSET_DROP
        | PR_GET_SECUREBITS | PR_SET_SECUREBITS => capability_attribute(cx, op, arg2),
        PR_GET_SECCOMP => Ok(u64::from(cx.task.seccomp.read().mode())),
        PR_SET_SECCOMP => seccomp::set_mode(cx, arg2, GuestAddr(arg3)),
        PR_GET_AUXV => {
            rest_is_zero(&[arg4, arg5])?;
            get_auxv(cx, GuestAddr(arg2), arg3)
        }
        PR_GET_MDWE => {
            rest_is_zero(&[arg2, arg3, arg4, arg5])?;
            Ok(0)
        }
        _ => thread_attribute(cx, op, arg2),
    }
}

fn process_attribute(cx: &mut Ctx<'_>, op: u32, arg: u64) -> SysResult {
    let (task, group) = (cx.task, &cx.task.group);
    match op {
        PR_SET_PDEATHSIG if arg > 64 => return Err(Errno::EINVAL.into()),
        PR_SET_PDEATHSIG => task.parent_death_signal.store(arg as u32, Ordering::Relaxed),
        PR_GET_PDEATHSIG => {
            cx.write(GuestAddr(arg), &task.parent_death_signal.load(Ordering::Relaxed))?;
        }
        PR_GET_DUMPABLE => return Ok(u64::from(group.dumpable.load(Ordering::Relaxed))),
        PR_SET_DUMPABLE if arg > 1 => return Err(Errno::EINVAL.into()),
        PR_SET_DUMPABLE => group.dumpable.store(arg as u32, Ordering::Relaxed),
        PR_SET_CHILD_SUBREAPER => set_subreaper(cx, arg != 0),
        _ => cx.write(GuestAddr(arg), &u32::from(group.child_subreaper.load(Ordering::Relaxed)))?,
    }
    Ok(0)
}

/// All that are or will be descendants look for it when they lose their parent.
fn set_subreaper(cx: &Ctx<'_>, subreaper: bool) {
    let group = &cx.task.group;
    group.child_subreaper.store(subreaper, Ordering::Relaxed);
    if !subreaper {
        return;
    }
    let tree = cx.kernel().tree.lock();
    let mut pending =
        tree.process(group.tgid).map(|entry| entry.children.clone()).unwrap_or_default();
    while let Some(entry) = pending.pop().and_then(|id| tree.process(id)) {
        entry.group.has_subreaper.store(true, Ordering::Relaxed);
        pending.extend_from_slice(&entry.children);
    }
}

fn capability_attribute(cx: &mut Ctx<'_>, op: u32, arg: u64) -> SysResult {
    let cred = cx.task.cred();
    let number = u32::try_from(arg).unwrap_or(u32::MAX);
    match op {
        PR_GET_KEEPCAPS => return Ok(u64::from(cred.securebits & SECBIT_KEEP_CAPS != 0)),
        PR_GET_SECUREBITS => return Ok(u64::from(cred.securebits)),
        PR_SET_KEEPCAPS => {
            if arg > 1 {
                return Err(Errno::EINVAL.into());
            }
            if cred.securebits & SECBIT_KEEP_CAPS_LOCKED != 0 {
                return Err(Errno::EPERM.into());
            }
            let bit = if arg == 1 { SECBIT_KEEP_CAPS } else { 0 };
            let securebits = cred.securebits & !SECBIT_KEEP_CAPS | bit;
            cx.task.set_cred(Credentials { securebits, ..(*cred).clone() });
        }
        PR_SET_SECUREBITS => set_securebits(cx, &cred, number)?,
        _ if number > CAP_LAST_CAP => return Err(Errno::EINVAL.into()),
        PR_CAPBSET_READ => return Ok(u64::from(cred.bounding.has(number))),
        _ => {
            if !cred.has(CAP_SETPCAP) {
                return Err(Errno::EPERM.into());
            }
            let bounding = cred.bounding.without(CapSet::of(number));
            cx.task.set_cred(Credentials { bounding, ..(*cred).clone() });
        }
    }
    Ok(0)
}

fn set_securebits(cx: &Ctx<'_>, cred: &Arc<Credentials>, bits: u32) -> Result<()> {
    // Each bit is followed by the one that locks it.
    let locks = cred.securebits & SECURE_ALL_LOCKS;
    let changed = cred.securebits ^ bits;
    let refused = bits & !(SECURE_ALL_BITS | SECURE_ALL_LOCKS) != 0
        || changed & (locks >> 1) != 0
        || locks & !bits != 0
        || !cred.has(CAP_SETPCAP);
    if refused {
        return Err(Errno::EPERM);
    }
    cx.task.set_cred(Credentials { securebits: bits, ..(**cred).clone() });
    Ok(())
}

fn ambient(cx: &Ctx<'_>, op: u64, capability: u64) -> SysResult {
    let cred = cx.task.cred();
    let op = u32::try_from(op).unwrap_or(u32::MAX);
    if op == PR_CAP_AMBIENT_CLEAR_ALL {
        if capability != 0 {
            return Err(Errno::EINVAL.into());
        }
        cx.task.set_cred(Credentials { ambient: CapSet::EMPTY, ..(*cred).clone() });
        return Ok(0);
    }
    let number = u32::try_from(capability)
        .ok()
        .filter(|number| *number <= CAP_LAST_CAP)
        .ok_or(Errno::EINVAL)?;
    let one = CapSet::of(number);
    let ambient = match op {
        PR_CAP_AMBIENT_IS_SET => return Ok(u64::from(cred.ambient.has(number))),
        PR_CAP_AMBIENT_RAISE => {
            let allowed = cred.permitted.has(number)
                && cred.inheritable.has(number)
                && cred.securebits & SECBIT_NO_CAP_AMBIENT_RAISE == 0;
            if !allowed {
                return Err(Errno::EPERM.into());
            }
            cred.ambient.union(one)
        }
        PR_CAP_AMBIENT_LOWER => cred.ambient.without(one),
        _ => return Err(Errno::EINVAL.into()),
    };
    cx.task.set_cred(Credentials { ambient, ..(*cred).clone() });
    Ok(0)
}

fn thread_attribute(cx: &mut Ctx<'_>, op: u32, arg: u64) -> SysResult {
    let task = cx.task;
    match op {
        PR_SET_NAME => {
            let mut bytes = [0; TASK_COMM_LEN - 1];
            let name = read_name(cx, GuestAddr(arg), &mut bytes)?;
            *task.name.lock() = name.to_vec();
        }
        PR_GET_NAME => {
            let mut bytes = [0; TASK_COMM_LEN];
            for (to, from) in bytes.iter_mut().take(TASK_COMM_LEN - 1).zip(task.name.lock().iter())
            {
                *to = *from;
            }
            cx.write(GuestAddr(arg), &bytes)?;
        }
        PR_GET_TIMERSLACK => return Ok(task.sched.lock().timer_slack.0),
        PR_SET_TIMERSLACK => {
            let mut sched = task.sched.lock();
            sched.timer_slack.0 = if arg == 0 { sched.timer_slack.1 } else { arg };
        }
        PR_GET_TSC => cx.write(GuestAddr(arg), &PR_TSC_ENABLE)?,
        PR_SET_TSC if arg == u64::from(PR_TSC_ENABLE) => {}
        PR_GET_TIMING => return Ok(u64::from(PR_TIMING_STATISTICAL)),
        PR_SET_TIMING if arg == u64::from(PR_TIMING_STATISTICAL) => {}
        PR_GET_TID_ADDRESS => {
            cx.write(GuestAddr(arg), &task.clear_child_tid.load(Ordering::Relaxed))?;
        }
        PR_MCE_KILL_GET => return Ok(2),
        // There are no events that could be stopped.
        PR_TASK_PERF_EVENTS_DISABLE | PR_TASK_PERF_EVENTS_ENABLE => {}
        // Nobody traces, so whoever is allowed to makes no difference.
        PR_SET_PTRACER => {}
        PR_GET_IO_FLUSHER | PR_SET_MM => return Err(Errno::EPERM.into()),
        PR_GET_SPECULATION_CTRL => return Err(Errno::ENODEV.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// Reads a name up to its NUL or the end of the buffer, whichever comes first.
fn read_name<'b>(cx: &Ctx<'_>, addr: GuestAddr, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    let count = cx.memory().read_partial(addr, buffer)?;
    let full = buffer.len();
    let bytes = buffer.get(..count).unwrap_or_default();
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => Ok(bytes.get(..end).unwrap_or_default()),
        None if count == full => Ok(bytes),
        None => Err(Errno::EFAULT),
    }
}

async fn set_vma_name(
    cx: &mut Ctx<'_>,
    op: u64,
    addr: u64,
    len: u64,
    name: GuestAddr,
) -> SysResult {
    if op != u64::from(PR_SET_VMA_ANON_NAME) {
        return Err(Errno::EINVAL.into());
    }
    let name = if name.is_null() {
        None
    } else {
        let text = chitin_mm::guest_memory::read_cstring(cx.memory(), name, ANON_NAME_MAX);
        let text =
            text.map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::EINVAL } else { errno })?;
        let printable = |byte: &u8| (0x20..0x7f).contains(byte) && !b"\\`$[]".contains(byte);
        if !text.iter().all(printable) {
            return Err(Errno::EINVAL.into());
        }
        Some(Arc::from(text))
    };
    cx.mm.update(|space| space.set_name(addr, len, name)).await?;
    Ok(0)
}

fn get_auxv(cx: &Ctx<'_>, buffer: GuestAddr, size: u64) -> SysResult {
    let auxv = cx.mm.image.read().auxv.clone();
    let count = usize::try_from(size).unwrap_or(usize::MAX).min(auxv.len());
    cx.memory().write(buffer, auxv.get(..count).unwrap_or_default())?;
    Ok(auxv.len() as u64)
}
