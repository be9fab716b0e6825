//! Signal frames: `struct rt_sigframe` on the guest's stack, and its way back by `rt_sigreturn(2)`.
//!
//! Layout as in [`chitin_abi::signal`]. The frame is guest memory: on the way back every field is hostile, and
//! the platform checks what it loads. Cost: a copy of the extended state and one write to guest memory; one read on the
//! way back, as long as the frame is where it was made.

use std::sync::Arc;

use chitin_abi::signal::{
    FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FPX_SW_BYTES_OFFSET, FXSAVE_SIZE, FpxSwBytes, RED_ZONE,
    RtSigframe, SA_ONSTACK, SA_RESTORER, SIGKILL, SIGSTOP, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK,
    SigAction, SigContext, SigInfo, SigSet, StackT, UC_FP_XSTATE, UC_SIGCONTEXT_SS,
    UC_STRICT_RESTORE_SS, UContext, XSAVE_ALIGNMENT,
};
use chitin_abi::{Errno, GuestAddr, Regs, Result};
use chitin_mm::platform::{Fault, GuestThread};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::context::Ctx;
use crate::task::Task;

const MAGIC2_SIZE: usize = 4;
/// Legacy area and XSAVE header.
const XSAVE_MIN: usize = FXSAVE_SIZE + 64;
/// `XSTATE_BV` of a state that has only x87 and SSE.
const LEGACY_FEATURES: u64 = 3;
/// Direction, resume and trap flags are clear in a handler.
const CLEARED_FLAGS: u64 = 0x1_0500;

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
    let extended = frame_state(thread.extended_state());
    let (top, on_alt) = stack_top(regs.rsp, delivery.action, &alt)?;
    let below = |at: u64, size: usize, align: u64| {
        at.checked_sub(size as u64).map(|at| at & !(align - 1)).ok_or(Errno::EFAULT)
    };
    let xsave = below(top, extended.len(), XSAVE_ALIGNMENT)?;
    // The handler starts as if it had been called: 8 bytes off a multiple of 16.
    let frame = below(xsave, size_of::<RtSigframe>(), 16)?.checked_sub(8).ok_or(Errno::EFAULT)?;
    if on_alt && (frame < alt.sp || frame >= alt.sp.saturating_add(alt.size)) {
        return Err(Errno::EFAULT);
    }
    let fp_pointer = if extended.is_empty() { 0 } else { xsave };
    let body = RtSigframe {
        pretcode: delivery.action.restorer,
        uc: ucontext(regs, delivery, &alt, fp_pointer),
        info: *delivery.info,
    };
    let mut bytes = body.as_bytes().to_vec();
    if fp_pointer != 0 {
        // What lies between the two is below the stack pointer, too.
        bytes.resize(usize::try_from(xsave - frame).map_err(|_| Errno::EFAULT)?, 0);
        bytes.extend(&extended);
    }
    mm.memory().write(GuestAddr(frame), &bytes)?;
    if alt.flags & SS_AUTODISARM != 0 {
        task.signals.lock().alt_stack = StackT { flags: SS_DISABLE, ..StackT::default() };
    }
    regs.rdi = u64::from(delivery.info.signo());
    regs.rsi = frame + core::mem::offset_of!(RtSigframe, info) as u64;
    regs.rdx = frame + core::mem::offset_of!(RtSigframe, uc) as u64;
    regs.rax = 0;
    regs.rip = delivery.action.handler;
    regs.rsp = frame;
    regs.eflags &= !CLEARED_FLAGS;
    thread.set_extended_state(&[])
}

/// The state as a frame holds it: with the kernel's words in the legacy area, and the magic word behind it.
fn frame_state(mut state: Vec<u8>) -> Vec<u8> {
    if state.len() < XSAVE_MIN {
        return state;
    }
    let size = state.len();
    let known =
        read_sw_bytes(&state).filter(|sw| sw.magic1 == FP_XSTATE_MAGIC1 && sw.xfeatures != 0);
    let xfeatures = known.map_or_else(|| features(&state) | LEGACY_FEATURES, |sw| sw.xfeatures);
    let words = FpxSwBytes {
        magic1: FP_XSTATE_MAGIC1,
        extended_size: (size + MAGIC2_SIZE) as u32,
        xfeatures,
        xstate_size: size as u32,
        padding: [0; 7],
    };
    if let Some(slot) = state.get_mut(FPX_SW_BYTES_OFFSET..FXSAVE_SIZE) {
        slot.copy_from_slice(words.as_bytes());
    }
    state.extend_from_slice(&FP_XSTATE_MAGIC2.to_ne_bytes());
    state
}

fn read_sw_bytes(state: &[u8]) -> Option<FpxSwBytes> {
    FpxSwBytes::read_from_bytes(state.get(FPX_SW_BYTES_OFFSET..FXSAVE_SIZE)?).ok()
}

/// `XSTATE_BV` of a state.
fn features(state: &[u8]) -> u64 {
    let bytes = state.get(FXSAVE_SIZE..FXSAVE_SIZE + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

/// Where the frame ends, and whether that is on the alternate stack: on it if it is asked for, below the red
/// zone of what runs now otherwise.
fn stack_top(rsp: u64, action: &SigAction, alt: &StackT) -> Result<(u64, bool)> {
    let below_red_zone = rsp.checked_sub(RED_ZONE).ok_or(Errno::EFAULT);
    if on_alt_stack(rsp, alt) {
        return Ok((below_red_zone?, true));
    }
    if action.flags & SA_ONSTACK != 0 && alt.size != 0 {
        return Ok((alt.sp.checked_add(alt.size).ok_or(Errno::EFAULT)?, true));
    }
    Ok((below_red_zone?, false))
}

/// Whether a stack pointer is on the alternate stack (always not for one that disarms itself).
pub fn on_alt_stack(rsp: u64, alt: &StackT) -> bool {
    alt.flags & SS_AUTODISARM == 0 && rsp > alt.sp && rsp.wrapping_sub(alt.sp) <= alt.size
}

/// `ss_flags` as `sigaltstack(2)` reports them.
pub fn alt_stack_flags(rsp: u64, alt: &StackT) -> i32 {
    let state = match alt.size {
        0 => SS_DISABLE,
        _ if on_alt_stack(rsp, alt) => SS_ONSTACK,
        _ => 0,
    };
    state | (alt.flags & SS_AUTODISARM)
}

fn ucontext(regs: &Regs, delivery: &Delivery<'_>, alt: &StackT, fp_pointer: u64) -> UContext {
    let mut mcontext = SigContext::from_regs(regs);
    mcontext.oldmask = delivery.mask.bits();
    mcontext.fpstate = fp_pointer;
    if let Some(fault) = &delivery.fault {
        mcontext.err = fault.error;
        mcontext.trapno = fault.trap;
        mcontext.cr2 = fault.address.0;
    }
    let flags = if fp_pointer == 0 { 0 } else { UC_FP_XSTATE };
    UContext {
        flags: flags | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        link: 0,
        stack: StackT {
            sp: alt.sp,
            flags: if alt.size == 0 { SS_DISABLE } else { alt.flags },
            pad: 0,
            size: alt.size,
        },
        mcontext,
        sigmask: delivery.mask,
    }
}

/// `rt_sigreturn(2)`: loads the registers, mask and alternate stack of the frame that the stack pointer is at.
///
/// # Errors
/// EFAULT, EINVAL for a frame that cannot be read or loaded; the caller forces SIGSEGV.
pub fn restore(cx: &mut Ctx<'_>) -> Result<()> {
    // The handler's `ret` has taken the return address.
    let stack = Ahead::new(cx, GuestAddr(cx.regs.rsp));
    let mut ucontext = UContext::new_zeroed();
    stack.read(GuestAddr(cx.regs.rsp), ucontext.as_mut_bytes())?;
    let mut regs = *cx.regs;
    ucontext.mcontext.restore(&mut regs);
    let state = read_extended(&stack, ucontext.mcontext.fpstate)?;
    cx.thread.set_extended_state(&state)?;
    // It is no system call any more that could be made again.
    regs.orig_rax = u64::MAX;
    *cx.regs = regs;
    let mut mask = ucontext.sigmask;
    mask.remove(SIGKILL);
    mask.remove(SIGSTOP);
    {
        let mut signals = cx.task.signals.lock();
        signals.mask = mask;
        signals.restart = None;
        if !on_alt_stack(regs.rsp, &signals.alt_stack) {
            let flags = ucontext.stack.flags & (SS_AUTODISARM | SS_DISABLE);
            signals.alt_stack = if flags & SS_DISABLE != 0 {
                StackT { flags: SS_DISABLE, ..StackT::default() }
            } else {
                StackT { flags, pad: 0, ..ucontext.stack }
            };
        }
    }
    cx.task.interrupt.raise();
    Ok(())
}

/// The extended state at `pointer`, as long as the platform's; empty for none.
fn read_extended(stack: &Ahead<'_, '_>, pointer: u64) -> Result<Vec<u8>> {
    if pointer == 0 {
        return Ok(Vec::new());
    }
    let full = stack.cx.kernel().platform.capabilities().xsave_size;
    let mut state = vec![0; full.max(FXSAVE_SIZE)];
    let (legacy, extended) = state.split_at_mut(FXSAVE_SIZE);
    stack.read(GuestAddr(pointer), legacy)?;
    let words = FpxSwBytes::read_from_bytes(legacy.get(FPX_SW_BYTES_OFFSET..).unwrap_or_default())
        .unwrap_or_default();
    let size = words.xstate_size as usize;
    let plausible = words.magic1 == FP_XSTATE_MAGIC1 && (XSAVE_MIN..=full).contains(&size);
    if plausible && has_second_mark(stack, pointer, size)? {
        let part = extended.get_mut(..size - FXSAVE_SIZE).ok_or(Errno::EINVAL)?;
        stack.read(GuestAddr(pointer.wrapping_add(FXSAVE_SIZE as u64)), part)?;
    } else if let Some(header) = extended.get_mut(..8) {
        // A frame with the legacy state only.
        header.copy_from_slice(&LEGACY_FEATURES.to_ne_bytes());
    }
    Ok(state)
}

fn has_second_mark(stack: &Ahead<'_, '_>, pointer: u64, size: usize) -> Result<bool> {
    let at = pointer.checked_add(size as u64).ok_or(Errno::EFAULT)?;
    let mut mark = [0; MAGIC2_SIZE];
    stack.read(GuestAddr(at), &mut mark)?;
    Ok(u32::from_ne_bytes(mark) == FP_XSTATE_MAGIC2)
}

/// Guest memory of which a piece was read ahead, in one go.
struct Ahead<'a, 'c> {
    cx: &'a Ctx<'c>,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a, 'c> Ahead<'a, 'c> {
    /// As much as a frame takes, or less where memory ends.
    fn new(cx: &'a Ctx<'c>, start: GuestAddr) -> Self {
        let extended = cx.kernel().platform.capabilities().xsave_size;
        let most = size_of::<RtSigframe>() + XSAVE_ALIGNMENT as usize + extended + MAGIC2_SIZE;
        let mut bytes = vec![0; most];
        let count = cx.memory().read_partial(start, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        Self { cx, start: start.0, bytes }
    }

    fn read(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<()> {
        let inside = usize::try_from(addr.0.wrapping_sub(self.start)).unwrap_or(usize::MAX);
        let end = inside.saturating_add(buffer.len());
        match self.bytes.get(inside..end) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => self.cx.memory().read(addr, buffer)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, StackT, frame_state, on_alt_stack, read_sw_bytes,
    };

    #[test]
    fn the_state_of_a_frame_says_its_size() {
        let mut state = vec![0; 832];
        state[512] = 7;
        let framed = frame_state(state);
        let words = read_sw_bytes(&framed).expect("long enough");
        assert_eq!(
            (words.magic1, words.extended_size, words.xstate_size),
            (FP_XSTATE_MAGIC1, 836, 832)
        );
        assert_eq!(words.xfeatures, 7);
        assert_eq!(framed[832..], FP_XSTATE_MAGIC2.to_ne_bytes());
    }

    #[test]
    fn the_alternate_stack_is_half_open() {
        let alt = StackT { sp: 0x1000, flags: 0, pad: 0, size: 0x1000 };
        assert!(!on_alt_stack(0x1000, &alt));
        assert!(on_alt_stack(0x1001, &alt));
        assert!(on_alt_stack(0x2000, &alt));
        assert!(!on_alt_stack(0x2001, &alt));
    }
}
