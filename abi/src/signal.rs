//! Signals: sets, actions, `siginfo_t`, alternate stacks, `signalfd(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use crate::arch::sigframe::*;
pub use crate::consts::signal::*;

/// The first real-time signal as the kernel counts (the C library keeps two for itself).
pub const SIGRTMIN: u32 = 32;
/// The last signal.
pub const SIGRTMAX: u32 = 64;
/// The default action.
pub const SIG_DFL: u64 = 0;
/// Ignore the signal.
pub const SIG_IGN: u64 = 1;

/// A set of signals.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SigSet(u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// All signals.
    pub const FULL: Self = Self(!0);

    /// The set of this bit mask (bit 0 is signal 1).
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bit mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    const fn bit(signal: u32) -> u64 {
        if signal >= 1 && signal <= 64 { 1 << (signal - 1) } else { 0 }
    }

    /// The set of these signals.
    pub fn from_signals(signals: &[u32]) -> Self {
        Self(signals.iter().fold(0, |bits, signal| bits | Self::bit(*signal)))
    }

    /// Whether a signal is in it.
    pub const fn contains(self, signal: u32) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// Puts a signal in.
    pub fn insert(&mut self, signal: u32) {
        self.0 |= Self::bit(signal);
    }

    /// Takes a signal out.
    pub fn remove(&mut self, signal: u32) {
        self.0 &= !Self::bit(signal);
    }

    /// Signals in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Signals in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Signals in this set and not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Signals that are not in it.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(!self.0)
    }

    /// Whether no signal is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal in it.
    pub const fn lowest(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros() + 1) }
    }
}

impl core::fmt::Debug for SigSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigSet({:#x})", self.0)
    }
}

c_struct! {
    /// The kernel's `struct sigaction`.
    pub struct SigAction {
        pub handler: u64,
        pub flags: u64,
        pub restorer: u64,
        pub mask: SigSet,
    }
}

c_struct! {
    /// `stack_t`.
    pub struct StackT {
        pub sp: u64,
        pub flags: i32,
        pub pad: u32,
        pub size: u64,
    }
}

c_struct! {
    /// `struct signalfd_siginfo`.
    pub struct SignalfdSiginfo {
        pub signo: u32,
        pub errno: i32,
        pub code: i32,
        pub pid: u32,
        pub uid: u32,
        pub fd: i32,
        pub tid: u32,
        pub band: u32,
        pub overrun: u32,
        pub trapno: u32,
        pub status: i32,
        pub int: i32,
        pub ptr: u64,
        pub utime: u64,
        pub stime: u64,
        pub addr: u64,
        pub addr_lsb: u16,
        pub pad2: u16,
        pub syscall: i32,
        pub call_addr: u64,
        pub arch: u32,
        pub pad: [u8; 28],
    }
}

c_struct! {
    /// `struct sigevent`.
    pub struct SigEvent {
        pub value: u64,
        pub signo: i32,
        pub notify: i32,
        pub tid: i32,
        pub pad: [i32; 11],
    }
}

/// `siginfo_t`: number, errno, code, and 112 bytes whose meaning depends on the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigInfo {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    fields: [u32; 28],
}

impl SigInfo {
    fn with(signal: u32, code: i32, words: &[u32]) -> Self {
        let mut fields = [0; 28];
        for (to, from) in fields.iter_mut().zip(words) {
            *to = *from;
        }
        Self { signo: signal as i32, errno: 0, code, pad: 0, fields }
    }

    /// Sent by a process: `kill(2)` (`SI_USER`), `tgkill(2)` (`SI_TKILL`).
    pub fn user(signal: u32, code: i32, pid: u32, uid: u32) -> Self {
        Self::with(signal, code, &[pid, uid])
    }

    /// Sent by the kernel (`SI_KERNEL`).
    pub fn kernel(signal: u32) -> Self {
        Self::with(signal, SI_KERNEL, &[])
    }

    /// Sent with a value (`SI_QUEUE`, `SI_MESGQ`).
    pub fn queue(signal: u32, code: i32, pid: u32, uid: u32, value: u64) -> Self {
        Self::with(signal, code, &[pid, uid, value as u32, (value >> 32) as u32])
    }

    /// From a timer.
    pub fn timer(signal: u32, timer: i32, overrun: i32, value: u64) -> Self {
        Self::with(
            signal,
            SI_TIMER,
            &[timer as u32, overrun as u32, value as u32, (value >> 32) as u32],
        )
    }

    /// A child changed state; `status` is an exit code or a signal.
    pub fn child(signal: u32, code: i32, pid: u32, uid: u32, status: i32) -> Self {
        Self::with(signal, code, &[pid, uid, status as u32])
    }

    /// A processor fault.
    pub fn fault(signal: u32, code: i32, address: u64) -> Self {
        Self::with(signal, code, &[address as u32, (address >> 32) as u32])
    }

    /// A filtered system call (`SYS_SECCOMP`).
    pub fn seccomp(errno: i32, address: u64, number: u32, arch: u32) -> Self {
        let mut info = Self::with(
            SIGSYS,
            SYS_SECCOMP,
            &[address as u32, (address >> 32) as u32, number, arch],
        );
        info.errno = errno;
        info
    }

    /// Input or output is possible (`SIGIO`).
    pub fn poll(signal: u32, code: i32, band: u64, fd: i32) -> Self {
        Self::with(signal, code, &[band as u32, (band >> 32) as u32, fd as u32])
    }

    /// The signal.
    pub fn signo(&self) -> u32 {
        self.signo as u32
    }

    /// Replaces the signal (`rt_sigqueueinfo`).
    pub fn set_signo(&mut self, signal: u32) {
        self.signo = signal as i32;
    }

    /// `si_code`.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// The first word of a signal that a process sent: its id.
    pub fn pid(&self) -> u32 {
        self.word(0)
    }

    /// `si_uid` of a signal that a process sent.
    pub fn uid(&self) -> u32 {
        self.word(1)
    }

    fn word(&self, index: usize) -> u32 {
        self.fields.get(index).copied().unwrap_or(0)
    }

    fn double(&self, index: usize) -> u64 {
        u64::from(self.word(index)) | (u64::from(self.word(index + 1)) << 32)
    }

    /// The same as signalfd reports it.
    pub fn to_signalfd(&self) -> SignalfdSiginfo {
        let mut out = SignalfdSiginfo {
            signo: self.signo(),
            errno: self.errno,
            code: self.code,
            ..Default::default()
        };
        match self.code {
            SI_TIMER => {
                out.tid = self.word(0);
                out.overrun = self.word(1);
                out.ptr = self.double(2);
                out.int = self.word(2) as i32;
            }
            _ if self.signo() == SIGCHLD => {
                out.pid = self.word(0);
                out.uid = self.word(1);
                out.status = self.word(2) as i32;
            }
            _ if matches!(self.signo(), SIGSEGV | SIGBUS | SIGFPE | SIGILL) && self.code > 0 => {
                out.addr = self.double(0);
            }
            _ => {
                out.pid = self.word(0);
                out.uid = self.word(1);
                out.ptr = self.double(2);
                out.int = self.word(2) as i32;
            }
        }
        out
    }
}
