//! What this platform needs of the sentry's own seccomp filter.

use crate::layout;

/// A host call that the sentry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// Its number.
    pub number: i64,
    /// Sets of arguments (position, lower half), each of which is reason enough to allow it; empty: any.
    pub alternatives: &'static [&'static [(u8, u64)]],
}

const KILL: u64 = libc::SIGKILL as u64;
const KIND: u64 = (libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC) as u64;
const UNIX: u64 = libc::AF_UNIX as u64;
const PASSCRED: [(u8, u64); 2] = [(1, libc::SOL_SOCKET as u64), (2, libc::SO_PASSCRED as u64)];

const fn call(number: i64, alternatives: &'static [&'static [(u8, u64)]]) -> HostCall {
    HostCall { number, alternatives }
}

const CALLS: [HostCall; 11] = [
    // A guest's bytes.
    call(libc::SYS_process_vm_readv, &[]),
    call(libc::SYS_process_vm_writev, &[]),
    // Interrupting a guest, ending it, and noticing its end.
    call(libc::SYS_tgkill, &[&[(2, layout::KICK as u64)]]),
    call(libc::SYS_kill, &[&[(1, KILL)]]),
    call(libc::SYS_waitid, &[&[(0, libc::P_PID as u64)], &[(0, libc::P_PGID as u64)]]),
    // The socket of a stub.
    call(libc::SYS_socketpair, &[&[(0, UNIX), (1, KIND)]]),
    call(libc::SYS_setsockopt, &[&PASSCRED]),
    // CPU time, and which core a worker is on.
    call(libc::SYS_clock_gettime, &[]),
    call(libc::SYS_getcpu, &[]),
    call(libc::SYS_sched_setaffinity, &[]),
    call(libc::SYS_madvise, &[]),
];

/// The host calls that the sentry makes for this platform, beyond plain memory, futex, read, write and close,
/// threads, `ppoll`, `sendmsg`, `recvmsg`, `shutdown`, and opening files below a directory's descriptor (`/proc`).
pub const fn sentry_host_calls() -> &'static [HostCall] {
    &CALLS
}
