//! Signals: sets, actions, `siginfo_t`, alternate stacks, `signalfd(2)`.

mod info;
mod set;

pub use crate::arch::sigframe::*;
pub use crate::consts::signal::*;
pub use info::{SigInfo, SigInfoLayout};
pub use set::SigSet;

/// The first real-time signal as the kernel counts (the C library keeps two for itself).
pub const SIGRTMIN: u32 = 32;
/// The last signal.
pub const SIGRTMAX: u32 = 64;
/// The default action.
pub const SIG_DFL: u64 = 0;
/// Ignore the signal.
pub const SIG_IGN: u64 = 1;

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

/// The names of the signals 1 to 31, in order.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The name of a standard signal, such as `"SIGHUP"`; `None` for real-time signals.
pub fn signal_name(signal: u32) -> Option<&'static str> {
    let index = usize::try_from(signal.checked_sub(1)?).ok()?;
    NAMES.get(index).copied()
}

/// The signal of a name with or without `SIG`, or of a decimal number up to [`SIGRTMAX`]; letters may be of
/// either case.
pub fn signal_by_name(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse::<u32>() {
        return (1..=SIGRTMAX).contains(&number).then_some(number);
    }
    let bare = match name.get(..3) {
        Some(prefix) if prefix.eq_ignore_ascii_case("SIG") => name.get(3..)?,
        _ => name,
    };
    let found = NAMES
        .iter()
        .position(|known| known.get(3..).is_some_and(|known| known.eq_ignore_ascii_case(bare)));
    found.and_then(|index| u32::try_from(index + 1).ok())
}
