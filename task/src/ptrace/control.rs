//! What a tracer does to a stopped tracee: let it go on, look at and change what it goes on with.

use std::sync::Arc;

use chitin_abi::process::{
    AUDIT_ARCH, PTRACE_EVENT_SECCOMP, PTRACE_EVENT_STOP, PTRACE_EVENTMSG_SYSCALL_ENTRY,
    PTRACE_EVENTMSG_SYSCALL_EXIT, PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_EXIT,
    PTRACE_SYSCALL_INFO_NONE, PTRACE_SYSCALL_INFO_SECCOMP, PtraceSyscallInfo,
};
use chitin_abi::signal::{SIGTRAP, SigInfo};
use chitin_abi::{Errno, Regs, Result};

use super::{Inner, Kind, Mode, Resumed, Stop, link};
use crate::task::Task;

/// A tracer as its tracee sees it: process id and user.
pub fn sender(tracer: &Task, tracee: &Task) -> (u32, u32) {
    let uid = tracee.cred().show_uid(tracer.cred().ruid);
    (tracer.group.pid.in_ns(&tracee.pid_ns()), uid)
}

/// Whether this thread traces the task and the task stands in a stop that can be worked with.
///
/// # Errors
/// ESRCH.
pub fn check(tracer: &Arc<Task>, tracee: &Task) -> Result<()> {
    if !link::is_tracer(tracer, tracee) {
        return Err(Errno::ESRCH);
    }
    with_stop(tracee, |_| Ok(()))
}

fn with_inner<T>(tracee: &Task, work: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
    let mut inner = tracee.trace.inner.lock();
    if inner.stop.as_ref().is_none_or(|stop| stop.listening) {
        return Err(Errno::ESRCH);
    }
    work(&mut inner)
}

fn with_stop<T>(tracee: &Task, work: impl FnOnce(&mut Stop) -> Result<T>) -> Result<T> {
    with_inner(tracee, |inner| work(inner.stop.as_mut().ok_or(Errno::ESRCH)?))
}

/// Works on the registers of a stopped tracee.
///
/// # Errors
/// ESRCH, and those of `work`.
pub fn with_regs<T>(tracee: &Task, work: impl FnOnce(&mut Regs) -> Result<T>) -> Result<T> {
    with_stop(tracee, |stop| work(&mut stop.regs))
}

/// A debug register of a stopped tracee.
///
/// # Errors
/// ESRCH.
pub fn debug_register(tracee: &Task, index: usize) -> Result<u64> {
    with_inner(tracee, |inner| Ok(inner.debug.peek(index)))
}

/// Sets a debug register of a stopped tracee.
///
/// # Errors
/// ESRCH, EIO, EINVAL.
pub fn set_debug_register(tracee: &Task, index: usize, value: u64) -> Result<()> {
    let mm = tracee.mm().ok_or(Errno::EIO)?;
    with_inner(tracee, |inner| inner.debug.poke(index, value, mm.memory()))
}

/// The extended state of a stopped tracee.
///
/// # Errors
/// ESRCH.
pub fn extended(tracee: &Task) -> Result<Vec<u8>> {
    with_stop(tracee, |stop| Ok(stop.extended.clone()))
}

/// Replaces the extended state of a stopped tracee; the caller has checked it.
///
/// # Errors
/// ESRCH.
pub fn set_extended(tracee: &Task, state: Vec<u8>) -> Result<()> {
    with_stop(tracee, |stop| {
        stop.extended = state;
        stop.extended_changed = true;
        Ok(())
    })
}

/// Lets a stopped tracee go on.
///
/// # Errors
/// ESRCH when it does not stand still any more.
pub fn resume(tracer: &Task, tracee: &Task, mode: Mode, signal: u32) -> Result<()> {
    let sender = sender(tracer, tracee);
    {
        let mut inner = tracee.trace.inner.lock();
        let stop = inner.stop.take_if(|stop| !stop.listening).ok_or(Errno::ESRCH)?;
        inner.mode = mode;
        inner.resumed = Some(Resumed {
            regs: stop.regs,
            extended: stop.extended_changed.then_some(stop.extended),
            signal,
            info: stop.info,
            sender,
        });
    }
    tracee.interrupt.raise();
    Ok(())
}

/// `PTRACE_LISTEN`: a tracee that stopped with its process stays so, but tells when that ends.
///
/// # Errors
/// EIO when it was not seized or did not stop with its process.
pub fn listen(tracee: &Task) -> Result<()> {
    let raised = with_inner(tracee, |inner| {
        let seized = inner.link.as_ref().is_some_and(|link| link.seized);
        let again = inner.trap;
        let stop = inner.stop.as_mut().filter(|stop| {
            seized && stop.kind == Kind::Group && stop.code >> 8 == PTRACE_EVENT_STOP
        });
        stop.ok_or(Errno::EIO)?.listening = true;
        if again {
            link::leave_listening(inner);
        }
        Ok(again)
    })?;
    if raised {
        tracee.interrupt.raise();
    }
    Ok(())
}

/// `PTRACE_INTERRUPT`: a tracee that was seized stops soon.
///
/// # Errors
/// EIO when it was not seized.
pub fn interrupt(tracee: &Task) -> Result<()> {
    {
        let mut inner = tracee.trace.inner.lock();
        if inner.link.as_ref().is_none_or(|link| !link.seized) {
            return Err(Errno::EIO);
        }
        inner.trap = true;
        link::leave_listening(&mut inner);
    }
    tracee.interrupt.raise();
    Ok(())
}

/// `PTRACE_SETOPTIONS`.
///
/// # Errors
/// ESRCH.
pub fn set_options(tracee: &Task, options: u32) -> Result<()> {
    with_inner(tracee, |inner| {
        if let Some(link) = &mut inner.link {
            link.options = options;
        }
        Ok(())
    })
}

/// `PTRACE_GETEVENTMSG`.
///
/// # Errors
/// ESRCH.
pub fn message(tracee: &Task) -> Result<u64> {
    with_inner(tracee, |inner| Ok(inner.message))
}

/// `PTRACE_GETSIGINFO`.
///
/// # Errors
/// EINVAL where there is none: in a stop with the process.
pub fn info(tracee: &Task) -> Result<SigInfo> {
    with_stop(tracee, |stop| stop.info.ok_or(Errno::EINVAL))
}

/// `PTRACE_SETSIGINFO`.
///
/// # Errors
/// EINVAL where there is none.
pub fn set_info(tracee: &Task, info: SigInfo) -> Result<()> {
    with_stop(tracee, |stop| {
        *stop.info.as_mut().ok_or(Errno::EINVAL)? = info;
        Ok(())
    })
}

/// `PTRACE_GET_SYSCALL_INFO`: the structure and how much of it means something.
///
/// # Errors
/// ESRCH.
pub fn call_info(tracee: &Task) -> Result<(PtraceSyscallInfo, u64)> {
    with_inner(tracee, |inner| {
        let message = inner.message;
        let stop = inner.stop.as_ref().ok_or(Errno::ESRCH)?;
        let regs = &stop.regs;
        let code = stop.info.map_or(0, |info| info.code().cast_unsigned());
        let mut info = PtraceSyscallInfo {
            op: PTRACE_SYSCALL_INFO_NONE as u8,
            reserved: 0,
            flags: 0,
            arch: AUDIT_ARCH,
            instruction_pointer: regs.rip,
            stack_pointer: regs.rsp,
            data: [0; 8],
        };
        let mut size = 24;
        let at_call = code == SIGTRAP | 0x80;
        let filtered = code == SIGTRAP | PTRACE_EVENT_SECCOMP << 8;
        let arguments = regs.syscall_args();
        if filtered || at_call && message == u64::from(PTRACE_EVENTMSG_SYSCALL_ENTRY) {
            let [a, b, c, d, e, f] = arguments;
            let data = if filtered { u64::from(stop.filter_data) } else { 0 };
            info.data = [regs.orig_rax, a, b, c, d, e, f, data];
            let op = if filtered { PTRACE_SYSCALL_INFO_SECCOMP } else { PTRACE_SYSCALL_INFO_ENTRY };
            info.op = op as u8;
            size = if filtered { 84 } else { 80 };
        } else if at_call && message == u64::from(PTRACE_EVENTMSG_SYSCALL_EXIT) {
            let fails = regs.rax >= 4095_u64.wrapping_neg();
            info.data = [regs.rax, u64::from(fails), 0, 0, 0, 0, 0, 0];
            info.op = PTRACE_SYSCALL_INFO_EXIT as u8;
            size = 33;
        }
        Ok((info, size))
    })
}
