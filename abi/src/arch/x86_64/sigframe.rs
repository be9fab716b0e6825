//! The frame that the kernel puts on a thread's stack before it enters a signal handler.
//!
//! From the stack pointer upwards: [`RtSigframe`] (return address, `ucontext_t`, `siginfo_t`), then, at an
//! address that is a multiple of 64, the floating-point state in the form of `XSAVE`. Bytes 464 to 511 of that
//! state hold [`FpxSwBytes`], and [`FP_XSTATE_MAGIC2`] follows its last byte.
//!
//! References: `sigreturn(2)`, `asm/sigcontext.h`, `asm/ucontext.h`, the x86_64 psABI.

use crate::regs::Regs;
use crate::signal::{SigInfo, SigSet, StackT};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `uc_flags`: the floating-point state is in the form of `XSAVE`.
pub const UC_FP_XSTATE: u64 = 1;
/// `uc_flags`: `SigContext::ss` holds the stack segment.
pub const UC_SIGCONTEXT_SS: u64 = 2;
/// `uc_flags`: `rt_sigreturn(2)` restores the stack segment strictly.
pub const UC_STRICT_RESTORE_SS: u64 = 4;
/// First mark of an extended floating-point state ([`FpxSwBytes::magic1`]).
pub const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
/// Second mark, right after the extended state.
pub const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Where [`FpxSwBytes`] lies in the floating-point state.
pub const FPX_SW_BYTES_OFFSET: usize = 464;
/// Bytes of the state that `FXSAVE` stores.
pub const FXSAVE_SIZE: usize = 512;
/// The alignment of the extended state.
pub const XSAVE_ALIGNMENT: u64 = 64;
/// Bytes below a thread's stack pointer that belong to its function (psABI).
pub const RED_ZONE: u64 = 128;
/// The bits of `eflags` that a signal frame may set.
pub const FIX_EFLAGS: u64 = 0x5_0dd5;
/// User code segment of 64-bit programs.
pub const USER_CS: u16 = 0x33;
/// User data segment of 64-bit programs.
pub const USER_DS: u16 = 0x2b;

c_struct! {
    /// `struct sigcontext`.
    pub struct SigContext {
        pub r8: u64,
        pub r9: u64,
        pub r10: u64,
        pub r11: u64,
        pub r12: u64,
        pub r13: u64,
        pub r14: u64,
        pub r15: u64,
        pub rdi: u64,
        pub rsi: u64,
        pub rbp: u64,
        pub rbx: u64,
        pub rdx: u64,
        pub rax: u64,
        pub rcx: u64,
        pub rsp: u64,
        pub rip: u64,
        pub eflags: u64,
        pub cs: u16,
        pub gs: u16,
        pub fs: u16,
        pub ss: u16,
        pub err: u64,
        pub trapno: u64,
        pub oldmask: u64,
        pub cr2: u64,
        pub fpstate: u64,
        pub reserved1: [u64; 8],
    }
}

c_struct! {
    /// The kernel's `struct ucontext`.
    pub struct UContext {
        pub flags: u64,
        pub link: u64,
        pub stack: StackT,
        pub mcontext: SigContext,
        pub sigmask: SigSet,
    }
}

c_struct! {
    /// `struct _fpx_sw_bytes`: what the kernel says about the floating-point state in a frame.
    pub struct FpxSwBytes {
        pub magic1: u32,
        pub extended_size: u32,
        pub xfeatures: u64,
        pub xstate_size: u32,
        pub padding: [u32; 7],
    }
}

/// `struct rt_sigframe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RtSigframe {
    /// The handler's return address: `sa_restorer`.
    pub pretcode: u64,
    /// What `rt_sigreturn(2)` restores.
    pub uc: UContext,
    /// Why the signal was sent.
    pub info: SigInfo,
}

impl SigContext {
    /// The registers as a frame holds them; the caller adds fault details, mask and floating-point address.
    pub const fn from_regs(regs: &Regs) -> Self {
        Self {
            r8: regs.r8,
            r9: regs.r9,
            r10: regs.r10,
            r11: regs.r11,
            r12: regs.r12,
            r13: regs.r13,
            r14: regs.r14,
            r15: regs.r15,
            rdi: regs.rdi,
            rsi: regs.rsi,
            rbp: regs.rbp,
            rbx: regs.rbx,
            rdx: regs.rdx,
            rax: regs.rax,
            rcx: regs.rcx,
            rsp: regs.rsp,
            rip: regs.rip,
            eflags: regs.eflags,
            cs: USER_CS,
            gs: 0,
            fs: 0,
            ss: USER_DS,
            err: 0,
            trapno: 0,
            oldmask: 0,
            cr2: 0,
            fpstate: 0,
            reserved1: [0; 8],
        }
    }

    /// Puts the registers of a frame back, as `rt_sigreturn(2)` does: segments and privileged flags stay.
    pub const fn restore(&self, regs: &mut Regs) {
        regs.r8 = self.r8;
        regs.r9 = self.r9;
        regs.r10 = self.r10;
        regs.r11 = self.r11;
        regs.r12 = self.r12;
        regs.r13 = self.r13;
        regs.r14 = self.r14;
        regs.r15 = self.r15;
        regs.rdi = self.rdi;
        regs.rsi = self.rsi;
        regs.rbp = self.rbp;
        regs.rbx = self.rbx;
        regs.rdx = self.rdx;
        regs.rax = self.rax;
        regs.rcx = self.rcx;
        regs.rsp = self.rsp;
        regs.rip = self.rip;
        regs.eflags = (regs.eflags & !FIX_EFLAGS) | (self.eflags & FIX_EFLAGS);
        regs.orig_rax = u64::MAX;
    }
}
