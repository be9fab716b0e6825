//! What this platform needs of the sentry's own seccomp filter.

use seccompiler::SeccompRule;

/// The host calls that the sentry makes for this platform, beyond plain memory, futex, read, write and close.
pub fn sentry_host_calls() -> Vec<(i64, Vec<SeccompRule>)> {
    [
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_tgkill,
        libc::SYS_kill,
        libc::SYS_waitid,
        libc::SYS_ppoll,
        libc::SYS_socketpair,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_shutdown,
        libc::SYS_setsockopt,
        libc::SYS_openat,
        libc::SYS_clock_gettime,
        libc::SYS_getcpu,
        libc::SYS_madvise,
    ]
    .into_iter()
    .map(|number| (number, Vec::new()))
    .collect()
}
