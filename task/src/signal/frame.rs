//! Signal frames: `struct rt_sigframe` on the guest's stack, and its way back by `rt_sigreturn(2)`.
//!
//! Layout from the stack pointer up (`arch/x86/include/asm/sigframe.h`): return address (`sa_restorer`),
//! `struct ucontext`, `siginfo_t`; the XSAVE area above them, aligned to 64 bytes, with its magic word. The
//! frame is guest memory: on the way back every field is hostile, and the platform checks what it loads.

use std::sync::Arc;

use chitin_abi::signal::{
    SA_ONSTACK, SA_RESTORER, SIGKILL, SIGSTOP, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SigAction,
    SigInfo, SigSet, StackT,
};
use chitin_abi::{Errno, GuestAddr, Regs, Result};
use chitin_mm::platform::{Fault, GuestThread};

use crate::context::Ctx;
use crate::task::Task;

const UCONTEXT_SIZE: usize = 304;
const SIGINFO_SIZE: usize = 128;
const SIGCONTEXT_OFFSET: usize = 40;
const MASK_OFFSET: usize = SIGCONTEXT_OFFSET + 256;
const RED_ZONE: u64 = 128;
const XSTATE_MAGIC2: u32 = 0x4650_5845;
/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const UC_FLAGS: u64 = 7;
const LEGACY_FP_SIZE: usize = 512;

/// One signal that a handler is to run for.
pub struct Delivery<'a> {
    /// The signal.
    pub info: &'a SigInfo,
    /// Its disposition: a handler.
    pub action: &'a SigAction,
    /// The mask that returning from the handler puts back.
    pub mask: SigSet,
    /// The fault behind it, if it is one.
    pub fault: Option<Fault>,
}

/// Builds the frame and points the registers at the handler.
///
/// # Errors
/// EFAULT when the stack cannot hold it.
pub fn push(
    task: &Arc<Task>,
    thread: &mut Box<dyn GuestThread>,
    regs: &mut Regs,
    delivery: &Delivery<'_>,
) -> Result<()> {
    if delivery.action.flags & SA_RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    let mm = task.mm().ok_or(Errno::EFAULT)?;
    let alt = task.signals.lock().alt_stack;
    let mut extended = thread.extended_state();
    let top = stack_top(regs.rsp, delivery.action, &alt)?;
    let xsave = top.checked_sub(extended.len() as u64 + 4).ok_or(Errno::EFAULT)? & !63;
    let body = (UCONTEXT_SIZE + SIGINFO_SIZE + 8) as u64;
    let frame = (xsave.checked_sub(body).ok_or(Errno::EFAULT)? & !15)
        .checked_sub(8)
        .ok_or(Errno::EFAULT)?;
    extended.extend_from_slice(&XSTATE_MAGIC2.to_ne_bytes());
    let fp_pointer = if extended.len() > LEGACY_FP_SIZE { xsave } else { 0 };

    let mut bytes = Vec::with_capacity(8 + UCONTEXT_SIZE + SIGINFO_SIZE);
    bytes.extend_from_slice(&delivery.action.restorer.to_ne_bytes());
    write_ucontext(&mut bytes, regs, delivery, &alt, fp_pointer);
    bytes.extend_from_slice(zerocopy::IntoBytes::as_bytes(delivery.info));
    if fp_pointer != 0 {
        mm.memory().write(GuestAddr(xsave), &extended)?;
    }
    mm.memory().write(GuestAddr(frame), &bytes)?;

    if alt.flags & SS_AUTODISARM != 0 {
        task.signals.lock().alt_stack = StackT { flags: SS_DISABLE, ..StackT::default() };
    }
    regs.rdi = u64::from(delivery.info.signo());
    regs.rsi = frame + 8 + UCONTEXT_SIZE as u64;
    regs.rdx = frame + 8;
    regs.rax = 0;
    regs.rip = delivery.action.handler;
    regs.rsp = frame;
    // Direction, resume and trap flags are clear in a handler.
    regs.eflags &= !0x10500;
    thread.set_extended_state(&[])
}

/// Where the frame ends: the alternate stack if it is asked for and not in use, else below the red zone.
fn stack_top(rsp: u64, action: &SigAction, alt: &StackT) -> Result<u64> {
    let usable = action.flags & SA_ONSTACK != 0 && alt.flags & SS_DISABLE == 0 && alt.size != 0;
    if usable && !on_alt_stack(rsp, alt) {
        return alt.sp.checked_add(alt.size).ok_or(Errno::EFAULT);
    }
    rsp.checked_sub(RED_ZONE).ok_or(Errno::EFAULT)
}

/// Whether a stack pointer is on the alternate stack (always not for one that disarms itself).
pub fn on_alt_stack(rsp: u64, alt: &StackT) -> bool {
    alt.flags & SS_AUTODISARM == 0 && rsp > alt.sp && rsp.wrapping_sub(alt.sp) <= alt.size
}

fn write_ucontext(
    bytes: &mut Vec<u8>,
    regs: &Regs,
    delivery: &Delivery<'_>,
    alt: &StackT,
    fp_pointer: u64,
) {
    let fault = delivery.fault.unwrap_or(Fault {
        signal: 0,
        code: 0,
        address: GuestAddr(0),
        trap: 0,
        error: 0,
    });
    let segments = (regs.cs & 0xffff) | ((regs.ss & 0xffff) << 48);
    let alt_flags = if on_alt_stack(regs.rsp, alt) { alt.flags | SS_ONSTACK } else { alt.flags };
    let words = [
        UC_FLAGS,
        0,
        alt.sp,
        u64::from(alt_flags as u32),
        alt.size,
        regs.r8,
        regs.r9,
        regs.r10,
        regs.r11,
        regs.r12,
        regs.r13,
        regs.r14,
        regs.r15,
        regs.rdi,
        regs.rsi,
        regs.rbp,
        regs.rbx,
        regs.rdx,
        regs.rax,
        regs.rcx,
        regs.rsp,
        regs.rip,
        regs.eflags,
        segments,
        fault.error,
        fault.trap,
        delivery.mask.bits(),
        fault.address.0,
        fp_pointer,
    ];
    let start = bytes.len();
    for word in words {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.resize(start + MASK_OFFSET, 0);
    bytes.extend_from_slice(&delivery.mask.bits().to_ne_bytes());
    bytes.resize(start + UCONTEXT_SIZE, 0);
}

/// `rt_sigreturn(2)`: loads the registers, mask and alternate stack of the frame that the stack pointer is at.
///
/// # Errors
/// EFAULT for a frame that cannot be read or loaded; the caller forces SIGSEGV.
pub fn restore(cx: &mut Ctx<'_>) -> Result<()> {
    let mut bytes = [0; UCONTEXT_SIZE];
    let base = GuestAddr(cx.regs.rsp.wrapping_sub(8));
    let ucontext = base.checked_add(8).ok_or(Errno::EFAULT)?;
    cx.memory().read(ucontext, &mut bytes)?;
    let word = |index: usize| -> u64 {
        let slice = bytes.get(index * 8..index * 8 + 8).and_then(|slice| slice.try_into().ok());
        u64::from_ne_bytes(slice.unwrap_or([0; 8]))
    };
    let alt = StackT { sp: word(2), flags: word(3) as i32, size: word(4), ..StackT::default() };
    let mut regs = *cx.regs;
    regs.r8 = word(5);
    regs.r9 = word(6);
    regs.r10 = word(7);
    regs.r11 = word(8);
    regs.r12 = word(9);
    regs.r13 = word(10);
    regs.r14 = word(11);
    regs.r15 = word(12);
    regs.rdi = word(13);
    regs.rsi = word(14);
    regs.rbp = word(15);
    regs.rbx = word(16);
    regs.rdx = word(17);
    regs.rax = word(18);
    regs.rcx = word(19);
    regs.rsp = word(20);
    regs.rip = word(21);
    regs.eflags = word(22);
    restore_extended(cx, word(28))?;
    *cx.regs = regs;
    let mut mask = SigSet::from_bits(word(MASK_OFFSET / 8));
    mask.remove(SIGKILL);
    mask.remove(SIGSTOP);
    let mut signals = cx.task.signals.lock();
    signals.mask = mask;
    signals.restart = None;
    if !on_alt_stack(regs.rsp, &signals.alt_stack) || alt.flags & SS_AUTODISARM != 0 {
        signals.alt_stack = StackT { flags: alt.flags & !SS_ONSTACK, ..alt };
    }
    drop(signals);
    cx.task.interrupt.raise();
    Ok(())
}

fn restore_extended(cx: &mut Ctx<'_>, pointer: u64) -> Result<()> {
    if pointer == 0 {
        return cx.thread.set_extended_state(&[]);
    }
    let size = cx.kernel().platform.capabilities().xsave_size;
    let mut state = vec![0; size];
    cx.memory().read(GuestAddr(pointer), &mut state)?;
    cx.thread.set_extended_state(&state)
}
