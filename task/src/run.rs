//! The life of a task: run guest code, answer its calls, deliver its signals, until it exits.
//!
//! One future per guest thread. Costs per system call, besides the handler's: one resume of the guest
//! thread, one poll of this future; no allocation.

use core::future::poll_fn;
use std::sync::Arc;

use chitin_abi::signal::SigInfo;
use chitin_abi::{Errno, Regs};
use chitin_mm::platform::{Event, Fault, GuestThread};

use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::signal::{self, Next};
use crate::task::Task;
use crate::{process, syscalls};

/// Runs a task to its end. `regs` are what the guest thread starts with.
pub async fn run(task: Arc<Task>, mut thread: Box<dyn GuestThread>, mut regs: Regs) {
    task.interrupt.set_guest(Some(thread.interrupter()));
    loop {
        if task.interrupt.take() || task.must_leave_wait() {
            match signal::before_guest(&task, &mut thread, &mut regs).await {
                Next::Guest => {}
                Next::Exit(status) => {
                    process::exit::exit_task(&task, thread, status).await;
                    return;
                }
            }
        }
        task.interrupt.set_in_guest(true);
        if task.interrupt.is_raised() {
            task.interrupt.set_in_guest(false);
            continue;
        }
        if thread.resume(&regs).is_err() {
            task.interrupt.set_in_guest(false);
            signal::kill_by_host(&task);
            continue;
        }
        let event = poll_fn(|cx| thread.poll_event(cx, &mut regs)).await;
        task.interrupt.set_in_guest(false);
        match event {
            Event::Syscall => system_call(&task, &mut thread, &mut regs).await,
            Event::ForeignSyscall => signal::force(&task, foreign_call(&regs)),
            Event::Fault(fault) => fault_signal(&task, &fault),
            Event::Interrupted => {}
            Event::Dead => signal::kill_by_host(&task),
        }
    }
}

async fn system_call(task: &Arc<Task>, thread: &mut Box<dyn GuestThread>, regs: &mut Regs) {
    let Some(mm) = task.mm() else { return signal::kill_by_host(task) };
    regs.orig_rax = regs.rax;
    let number = regs.rax;
    let mut cx = Ctx { task, regs, thread, mm };
    let result = syscalls::call(&mut cx, number).await;
    finish(task, cx.regs, result);
}

/// Puts the result into the registers; a restart is settled when signals are delivered.
fn finish(task: &Task, regs: &mut Regs, result: SysResult) {
    match result {
        Ok(value) => regs.rax = value,
        Err(SysError::Errno(errno)) => regs.rax = errno.as_register(),
        Err(SysError::Restart(restart)) => {
            task.signals.lock().restart = Some(restart);
            regs.rax = Errno::EINTR.as_register();
            if restart == Restart::Always {
                task.interrupt.raise();
            }
        }
        Err(SysError::NoReturn) => {}
    }
    regs.rcx = regs.rip;
    regs.r11 = regs.eflags;
}

fn fault_signal(task: &Arc<Task>, fault: &Fault) {
    let info = SigInfo::fault(fault.signal, fault.code, fault.address.0);
    task.signals.lock().last_fault = Some(*fault);
    signal::force(task, info);
}

/// `int 0x80` and the like: a kernel without 32-bit support answers with SIGSEGV.
fn foreign_call(regs: &Regs) -> SigInfo {
    SigInfo::fault(chitin_abi::signal::SIGSEGV, chitin_abi::signal::SI_KERNEL, regs.rip)
}
