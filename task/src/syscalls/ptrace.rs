//! `ptrace(2)`: requests and their arguments. What they do is in [`crate::ptrace`].

use std::sync::Arc;

use chitin_abi::process::{
    CAP_SYS_ADMIN, PTRACE_ATTACH, PTRACE_CONT, PTRACE_DETACH, PTRACE_GET_SYSCALL_INFO,
    PTRACE_GETEVENTMSG, PTRACE_GETFPREGS, PTRACE_GETREGS, PTRACE_GETREGSET, PTRACE_GETSIGINFO,
    PTRACE_GETSIGMASK, PTRACE_INTERRUPT, PTRACE_KILL, PTRACE_LISTEN, PTRACE_O_MASK,
    PTRACE_O_SUSPEND_SECCOMP, PTRACE_OLDSETOPTIONS, PTRACE_PEEKDATA, PTRACE_PEEKSIGINFO,
    PTRACE_PEEKSIGINFO_SHARED, PTRACE_PEEKTEXT, PTRACE_PEEKUSR, PTRACE_POKEDATA, PTRACE_POKETEXT,
    PTRACE_POKEUSR, PTRACE_SEIZE, PTRACE_SETFPREGS, PTRACE_SETOPTIONS, PTRACE_SETREGS,
    PTRACE_SETREGSET, PTRACE_SETSIGINFO, PTRACE_SETSIGMASK, PTRACE_SINGLESTEP, PTRACE_SYSCALL,
    PTRACE_SYSEMU, PTRACE_SYSEMU_SINGLESTEP, PTRACE_TRACEME, PtracePeeksiginfoArgs,
};
use chitin_abi::signal::{FXSAVE_SIZE, SIGKILL, SIGRTMAX, SIGSTOP, SigInfo, SigSet};
use chitin_abi::uio::IoVec;
use chitin_abi::{Errno, GuestAddr, Regs, Result};
use zerocopy::IntoBytes;

use crate::context::Ctx;
use crate::error::SysResult;
use crate::process::find;
use crate::ptrace::{Mode, control, link, memory, user};
use crate::signal::begin_exit;
use crate::task::Task;

const NT_PRSTATUS: u64 = 1;
const NT_PRFPREG: u64 = 2;
const NT_X86_XSTATE: u64 = 0x202;

/// `ptrace(2)`.
pub async fn ptrace(
    cx: &mut Ctx<'_>,
    op: u64,
    pid: i32,
    addr: GuestAddr,
    data: GuestAddr,
) -> SysResult {
    let op = u32::try_from(op).unwrap_or(u32::MAX);
    if op == PTRACE_TRACEME {
        link::trace_me(cx.task)?;
        return Ok(0);
    }
    let tracee = find_thread(cx, pid)?;
    match op {
        PTRACE_ATTACH | PTRACE_SEIZE => attach(cx.task, &tracee, op, addr.0, data.0)?,
        PTRACE_KILL if link::is_tracer(cx.task, &tracee) => {
            begin_exit(&tracee, SIGKILL.cast_signed());
        }
        PTRACE_INTERRUPT if link::is_tracer(cx.task, &tracee) => control::interrupt(&tracee)?,
        _ => {
            control::check(cx.task, &tracee)?;
            return request(cx, &tracee, op, addr, data).await;
        }
    }
    Ok(0)
}

fn find_thread(cx: &Ctx<'_>, pid: i32) -> Result<Arc<Task>> {
    let number = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let ns = cx.task.pid_ns();
    cx.kernel().tree.lock().task_in(&ns, number).cloned().ok_or(Errno::ESRCH)
}

fn attach(task: &Arc<Task>, tracee: &Arc<Task>, op: u32, addr: u64, data: u64) -> Result<()> {
    let seize = op == PTRACE_SEIZE;
    let options = if seize { u32::try_from(data).unwrap_or(u32::MAX) } else { 0 };
    if seize && (addr != 0 || options & !PTRACE_O_MASK != 0) {
        return Err(Errno::EIO);
    }
    check_options(task, options)?;
    if Arc::ptr_eq(&task.group, &tracee.group) {
        return Err(Errno::EPERM);
    }
    find::may_inspect(task, tracee, true)?;
    link::attach(task, tracee, seize, options)
}

fn check_options(task: &Task, options: u32) -> Result<()> {
    if options & !PTRACE_O_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    if options & PTRACE_O_SUSPEND_SECCOMP != 0 && !task.cred().has(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

fn signal_of(data: GuestAddr) -> Result<u32> {
    u32::try_from(data.0).ok().filter(|signal| *signal <= SIGRTMAX).ok_or(Errno::EIO)
}

/// A request to a tracee that stands still.
async fn request(
    cx: &mut Ctx<'_>,
    tracee: &Arc<Task>,
    op: u32,
    addr: GuestAddr,
    data: GuestAddr,
) -> SysResult {
    let goes_on = match op {
        PTRACE_CONT => Some(Mode::Run),
        PTRACE_SYSCALL => Some(Mode::Calls),
        PTRACE_SINGLESTEP => Some(Mode::Step),
        PTRACE_SYSEMU => Some(Mode::Emulate),
        PTRACE_SYSEMU_SINGLESTEP => Some(Mode::EmulateStep),
        _ => None,
    };
    if let Some(mode) = goes_on {
        control::resume(cx.task, tracee, mode, signal_of(data)?)?;
        return Ok(0);
    }
    match op {
        PTRACE_DETACH => link::detach(cx.task, tracee, signal_of(data)?),
        PTRACE_LISTEN => control::listen(tracee)?,
        PTRACE_SETOPTIONS | PTRACE_OLDSETOPTIONS => {
            let options = u32::try_from(data.0).map_err(|_| Errno::EINVAL)?;
            check_options(cx.task, options)?;
            control::set_options(tracee, options)?;
        }
        PTRACE_PEEKTEXT | PTRACE_PEEKDATA => {
            let mut word = [0; 8];
            let mm = tracee.mm().ok_or(Errno::EIO)?;
            memory::read(&mm, addr, &mut word).await?;
            cx.write(data, &word)?;
        }
        PTRACE_POKETEXT | PTRACE_POKEDATA => {
            let mm = tracee.mm().ok_or(Errno::EIO)?;
            memory::write(&mm, addr, &data.0.to_ne_bytes()).await?;
        }
        PTRACE_GETEVENTMSG => cx.write(data, &control::message(tracee)?)?,
        PTRACE_GET_SYSCALL_INFO => return call_info(cx, tracee, addr.0, data),
        PTRACE_GETSIGINFO => cx.write(data, &control::info(tracee)?)?,
        PTRACE_SETSIGINFO => {
            let info: SigInfo = cx.read(data)?;
            control::set_info(tracee, info)?;
        }
        PTRACE_PEEKSIGINFO => return peek_siginfo(cx, tracee, addr, data),
        PTRACE_GETSIGMASK | PTRACE_SETSIGMASK => mask(cx, tracee, op, addr.0, data)?,
        _ => registers(cx, tracee, op, addr, data)?,
    }
    Ok(0)
}

fn registers(cx: &Ctx<'_>, tracee: &Task, op: u32, addr: GuestAddr, data: GuestAddr) -> Result<()> {
    match op {
        PTRACE_PEEKUSR => {
            let word = match user::debug_index(addr.0) {
                Some(index) => control::debug_register(tracee, index)?,
                None => control::with_regs(tracee, |regs| user::peek(regs, addr.0))?,
            };
            cx.write(data, &word)
        }
        PTRACE_POKEUSR if user::debug_index(addr.0).is_some() => {
            let index = user::debug_index(addr.0).ok_or(Errno::EIO)?;
            control::set_debug_register(tracee, index, data.0)
        }
        PTRACE_POKEUSR => control::with_regs(tracee, |regs| user::poke(regs, addr.0, data.0)),
        PTRACE_GETREGS => cx.write(data, &control::with_regs(tracee, |regs| Ok(*regs))?),
        PTRACE_SETREGS => {
            let new: Regs = cx.read(data)?;
            control::with_regs(tracee, |regs| user::load(regs, new.as_bytes()))
        }
        PTRACE_GETFPREGS => cx.write(data, user::legacy(&control::extended(tracee)?).as_slice()),
        PTRACE_SETFPREGS => {
            let mut new = vec![0; FXSAVE_SIZE];
            cx.memory().read(data, &mut new)?;
            let state = user::with_legacy(control::extended(tracee)?, &new)?;
            control::set_extended(tracee, state)
        }
        PTRACE_GETREGSET | PTRACE_SETREGSET => regset(cx, tracee, op, addr.0, data),
        _ => Err(Errno::EIO),
    }
}

/// A register set, as much of it as the tracer has room for.
fn regset(cx: &Ctx<'_>, tracee: &Task, op: u32, kind: u64, data: GuestAddr) -> Result<()> {
    let mut iovec: IoVec = cx.read(data)?;
    let current = match kind {
        NT_PRSTATUS => control::with_regs(tracee, |regs| Ok(regs.as_bytes().to_vec()))?,
        NT_PRFPREG => user::legacy(&control::extended(tracee)?),
        NT_X86_XSTATE => user::xstate(control::extended(tracee)?),
        _ => return Err(Errno::EINVAL),
    };
    if !iovec.len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let count = usize::try_from(iovec.len).unwrap_or(usize::MAX).min(current.len());
    iovec.len = count as u64;
    if op == PTRACE_GETREGSET {
        cx.write(GuestAddr(iovec.base), current.get(..count).unwrap_or_default())?;
    } else {
        let mut new = vec![0; count];
        cx.memory().read(GuestAddr(iovec.base), &mut new)?;
        match kind {
            NT_PRSTATUS => control::with_regs(tracee, |regs| user::load(regs, &new))?,
            NT_PRFPREG => {
                let state = user::with_legacy(control::extended(tracee)?, &new)?;
                control::set_extended(tracee, state)?;
            }
            _ => {
                let state = user::with_xstate(&control::extended(tracee)?, &new)?;
                control::set_extended(tracee, state)?;
            }
        }
    }
    cx.write(data, &iovec)
}

fn call_info(cx: &Ctx<'_>, tracee: &Task, room: u64, data: GuestAddr) -> SysResult {
    let (info, size) = control::call_info(tracee)?;
    let count = usize::try_from(room.min(size)).unwrap_or_default();
    cx.write(data, info.as_bytes().get(..count).unwrap_or_default())?;
    Ok(size)
}

fn mask(cx: &Ctx<'_>, tracee: &Task, op: u32, size: u64, data: GuestAddr) -> Result<()> {
    if size != size_of::<SigSet>() as u64 {
        return Err(Errno::EINVAL);
    }
    if op == PTRACE_GETSIGMASK {
        let mask = {
            let signals = tracee.signals.lock();
            signals.saved_mask.unwrap_or(signals.mask)
        };
        return cx.write(data, &mask.bits());
    }
    let mut new = SigSet::from_bits(cx.read::<u64>(data)?);
    new.remove(SIGKILL);
    new.remove(SIGSTOP);
    {
        let mut signals = tracee.signals.lock();
        signals.mask = new;
        signals.saved_mask = None;
    }
    tracee.interrupt.raise();
    Ok(())
}

/// `PTRACE_PEEKSIGINFO`: pending signals, without taking them.
fn peek_siginfo(cx: &Ctx<'_>, tracee: &Task, addr: GuestAddr, data: GuestAddr) -> SysResult {
    let args: PtracePeeksiginfoArgs = cx.read(addr)?;
    let shared = args.flags & PTRACE_PEEKSIGINFO_SHARED != 0;
    let most = usize::try_from(args.nr).map_err(|_| Errno::EINVAL)?;
    if args.flags & !PTRACE_PEEKSIGINFO_SHARED != 0 {
        return Err(Errno::EINVAL.into());
    }
    let skip = usize::try_from(args.off).unwrap_or(usize::MAX);
    let found: Vec<SigInfo> = if shared {
        tracee.group.signals.lock().pending.iter().skip(skip).take(most).copied().collect()
    } else {
        tracee.signals.lock().pending.iter().skip(skip).take(most).copied().collect()
    };
    let mut done: u64 = 0;
    for info in &found {
        let at = data.checked_add(done.saturating_mul(size_of::<SigInfo>() as u64));
        match at.ok_or(Errno::EFAULT).and_then(|at| cx.write(at, info)) {
            Ok(()) => done = done.saturating_add(1),
            Err(errno) if done == 0 => return Err(errno.into()),
            Err(_) => break,
        }
    }
    Ok(done)
}
