//! What this platform needs of the sentry's own seccomp filter.

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::layout;

/// Sets of arguments, each of which lets the call through; none lets every call through.
type Alternatives<'a> = &'a [&'a [(u8, u64)]];

/// Arguments that must have certain lower halves.
fn rule(arguments: &[(u8, u64)]) -> Option<SeccompRule> {
    let conditions = arguments.iter().map(|(index, value)| {
        SeccompCondition::new(*index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>().ok()?).ok()
}

/// The host calls that the sentry makes for this platform, beyond plain memory, futex, read, write and close,
/// threads, `ppoll`, `sendmsg`, `recvmsg`, `shutdown`, and opening files below a directory's descriptor (`/proc`).
pub fn sentry_host_calls() -> Vec<(i64, Vec<SeccompRule>)> {
    let kill = libc::SIGKILL as u64;
    let kind = (libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC) as u64;
    let unix = libc::AF_UNIX as u64;
    let (level, name) = (libc::SOL_SOCKET as u64, libc::SO_PASSCRED as u64);
    let calls: [(i64, Alternatives<'_>); 11] = [
        // A guest's bytes.
        (libc::SYS_process_vm_readv, &[]),
        (libc::SYS_process_vm_writev, &[]),
        // Interrupting a guest, ending it, and noticing its end.
        (libc::SYS_tgkill, &[&[(2, u64::from(layout::KICK))]]),
        (libc::SYS_kill, &[&[(1, kill)]]),
        (libc::SYS_waitid, &[&[(0, libc::P_PID as u64)], &[(0, libc::P_PGID as u64)]]),
        // The socket of a stub.
        (libc::SYS_socketpair, &[&[(0, unix), (1, kind)]]),
        (libc::SYS_setsockopt, &[&[(1, level), (2, name)]]),
        // CPU time, and which core a worker is on.
        (libc::SYS_clock_gettime, &[]),
        (libc::SYS_getcpu, &[]),
        (libc::SYS_sched_setaffinity, &[&[(0, 0)]]),
        (libc::SYS_madvise, &[]),
    ];
    let rules = |rules: Alternatives<'_>| rules.iter().filter_map(|one| rule(one)).collect();
    calls.iter().map(|(number, of)| (*number, rules(of))).collect()
}

#[cfg(test)]
mod tests {
    use super::sentry_host_calls;

    #[test]
    fn conditions_are_kept() {
        let calls = sentry_host_calls();
        let waits = calls.iter().find(|call| call.0 == libc::SYS_waitid).expect("it is listed");
        assert_eq!(waits.1.len(), 2);
        let kills = calls.iter().find(|call| call.0 == libc::SYS_kill).expect("it is listed");
        assert_eq!(kills.1.len(), 1);
    }
}
