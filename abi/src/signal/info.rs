//! `siginfo_t`: why a signal was sent.
//!
//! The 112 bytes after the code are a C union. Which member is valid follows from the signal and the code, by
//! the rule in [`SigInfo::layout`]; the accessors read the words where the members lie and never fail.
//!
//! Reference: `sigaction(2)`, "The siginfo_t argument".

use super::{
    POLL_HUP, SI_KERNEL, SI_SIGIO, SI_TIMER, SI_USER, SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGSEGV,
    SIGSYS, SIGTRAP, SYS_SECCOMP, SignalfdSiginfo,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const WORDS: usize = 28;

/// `siginfo_t`: number, errno, code, and 112 bytes whose meaning depends on the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigInfo {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    fields: [u32; WORDS],
}

/// Which member of the union in `siginfo_t` is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigInfoLayout {
    /// Process and user.
    Kill,
    /// Timer, overruns, value.
    Timer,
    /// Band and descriptor.
    Poll,
    /// Address.
    Fault,
    /// Process, user, status, times.
    Child,
    /// Process, user, value.
    Rt,
    /// Call address, number, architecture.
    Sys,
}

const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

impl SigInfo {
    fn with(signal: u32, code: i32, words: &[u32]) -> Self {
        let mut fields = [0; WORDS];
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
        Self::with(signal, code, &[pid, uid, low(value), high(value)])
    }

    /// From a timer.
    pub fn timer(signal: u32, timer: i32, overrun: i32, value: u64) -> Self {
        Self::with(signal, SI_TIMER, &[timer as u32, overrun as u32, low(value), high(value)])
    }

    /// A child changed state; `status` is an exit code or a signal.
    pub fn child(signal: u32, code: i32, pid: u32, uid: u32, status: i32) -> Self {
        Self::with(signal, code, &[pid, uid, status as u32])
    }

    /// The same with the child's processor times, in clock ticks.
    #[must_use]
    pub fn with_times(mut self, utime: u64, stime: u64) -> Self {
        let words = [low(utime), high(utime), low(stime), high(stime)];
        for (to, from) in self.fields.iter_mut().skip(4).zip(words) {
            *to = from;
        }
        self
    }

    /// A processor fault.
    pub fn fault(signal: u32, code: i32, address: u64) -> Self {
        Self::with(signal, code, &[low(address), high(address)])
    }

    /// A filtered system call (`SYS_SECCOMP`).
    pub fn seccomp(errno: i32, address: u64, number: u32, arch: u32) -> Self {
        let mut info =
            Self::with(SIGSYS, SYS_SECCOMP, &[low(address), high(address), number, arch]);
        info.errno = errno;
        info
    }

    /// Input or output is possible (`SIGIO`).
    pub fn poll(signal: u32, code: i32, band: u64, fd: i32) -> Self {
        Self::with(signal, code, &[low(band), high(band), fd as u32])
    }

    /// The signal.
    pub fn signo(&self) -> u32 {
        self.signo as u32
    }

    /// Replaces the signal (`rt_sigqueueinfo`).
    pub fn set_signo(&mut self, signal: u32) {
        self.signo = signal as i32;
    }

    /// `si_errno`.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// Sets `si_errno` (a filter's `SECCOMP_RET_DATA`).
    pub fn set_errno(&mut self, errno: i32) {
        self.errno = errno;
    }

    /// `si_code`.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// `si_pid` of a signal that a process sent.
    pub fn pid(&self) -> u32 {
        self.word(0)
    }

    /// `si_uid` of a signal that a process sent.
    pub fn uid(&self) -> u32 {
        self.word(1)
    }

    /// Replaces sender and user, as they look from another namespace.
    pub fn set_sender(&mut self, pid: u32, uid: u32) {
        for (to, from) in self.fields.iter_mut().zip([pid, uid]) {
            *to = from;
        }
    }

    /// `si_value` of a queued signal or a timer.
    pub fn value(&self) -> u64 {
        self.double(2)
    }

    /// `si_status` of a child.
    pub fn status(&self) -> i32 {
        self.word(2) as i32
    }

    /// `si_addr` of a fault.
    pub fn address(&self) -> u64 {
        self.double(0)
    }

    /// `si_timerid` of a timer.
    pub fn timer_id(&self) -> i32 {
        self.word(0) as i32
    }

    /// `si_overrun` of a timer.
    pub fn overrun(&self) -> i32 {
        self.word(1) as i32
    }

    /// Sets `si_overrun` of a timer, known only when the signal is delivered.
    pub fn set_overrun(&mut self, overrun: i32) {
        if let Some(word) = self.fields.get_mut(1) {
            *word = overrun as u32;
        }
    }

    fn word(&self, index: usize) -> u32 {
        self.fields.get(index).copied().unwrap_or(0)
    }

    fn double(&self, index: usize) -> u64 {
        u64::from(self.word(index)) | (u64::from(self.word(index + 1)) << 32)
    }

    /// Which member of the union is valid, by the kernel's rule: codes between `SI_USER` and `SI_KERNEL` belong
    /// to the signal, negative ones say how it was sent.
    pub fn layout(&self) -> SigInfoLayout {
        if self.code > SI_USER && self.code < SI_KERNEL {
            return match self.signo() {
                SIGILL | SIGFPE | SIGSEGV | SIGBUS | SIGTRAP => SigInfoLayout::Fault,
                SIGCHLD => SigInfoLayout::Child,
                SIGSYS => SigInfoLayout::Sys,
                _ if self.code <= POLL_HUP => SigInfoLayout::Poll,
                _ => SigInfoLayout::Kill,
            };
        }
        match self.code {
            SI_TIMER => SigInfoLayout::Timer,
            SI_SIGIO => SigInfoLayout::Poll,
            code if code < 0 => SigInfoLayout::Rt,
            _ => SigInfoLayout::Kill,
        }
    }

    /// The same as `signalfd(2)` reports it.
    pub fn to_signalfd(&self) -> SignalfdSiginfo {
        let mut out = SignalfdSiginfo {
            signo: self.signo(),
            errno: self.errno,
            code: self.code,
            ..Default::default()
        };
        match self.layout() {
            SigInfoLayout::Kill => (out.pid, out.uid) = (self.pid(), self.uid()),
            SigInfoLayout::Rt => {
                (out.pid, out.uid) = (self.pid(), self.uid());
                (out.ptr, out.int) = (self.value(), self.word(2) as i32);
            }
            SigInfoLayout::Timer => {
                (out.tid, out.overrun) = (self.word(0), self.word(1));
                (out.ptr, out.int) = (self.value(), self.word(2) as i32);
            }
            SigInfoLayout::Poll => (out.band, out.fd) = (self.word(0), self.word(2) as i32),
            SigInfoLayout::Fault => out.addr = self.address(),
            SigInfoLayout::Child => {
                (out.pid, out.uid, out.status) = (self.pid(), self.uid(), self.status());
                (out.utime, out.stime) = (self.double(4), self.double(6));
            }
            SigInfoLayout::Sys => {
                out.call_addr = self.address();
                (out.syscall, out.arch) = (self.word(2) as i32, self.word(3));
            }
        }
        out
    }
}
