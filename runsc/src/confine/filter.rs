//! The seccomp filter of the sentry: a list of host calls, with argument checks; anything else ends it, by a
//! SIGSYS whose handler names the call to the command (and by force where that signal is blocked).
//!
//! Two programs. One answers `clone3` with ENOSYS, so that the C library uses `clone`, whose flags a filter can
//! see. The other is the list: what a runtime of threads needs, what directfs needs (only relative to a descriptor,
//! which lies in a detached mount of the container), and what the platform asks for.
//!
//! Not on the list, among others: execve, ptrace, mount, unshare, setns, socket, connect, bind, chroot, prctl except
//! for names, ioctl except for a few of terminals, any mapping that is executable, and any clone that is not a thread.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::error::{Context as _, Result};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls without conditions.
const PLAIN: &[i64] = &[
    // Memory. Mappings are below: none may be executable.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    // Threads and time.
    libc::SYS_futex,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_getcpu,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_sysinfo,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    // Descriptors.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_memfd_create,
    libc::SYS_pipe2,
    // The control socket: made before, only accepted and talked over here.
    libc::SYS_accept4,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    // Files, by descriptor.
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_flock,
    libc::SYS_fgetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
];

/// Calls whose first argument is a directory's descriptor: never the current directory, which is empty anyway.
const AT: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_utimensat,
];

/// `fcntl` commands.
const FCNTL: &[i32] = &[
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_DUPFD_CLOEXEC,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
    libc::F_GETPIPE_SZ,
    libc::F_SETPIPE_SZ,
];

/// `ioctl` commands: of terminals and pipes among the standard descriptors. Never `TIOCSTI`.
const IOCTL: &[u64] = &[
    libc::TCGETS,
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    libc::TCGETS2,
    libc::TCSETS2,
    libc::TCSETSW2,
    libc::TCSETSF2,
    libc::TIOCGWINSZ,
    libc::TIOCSWINSZ,
    libc::TIOCOUTQ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FICLONE,
    libc::FICLONERANGE,
];

/// The flags with which the C library makes a thread.
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u64;

/// Installs the filter in this process, which has one thread.
pub(crate) fn install(platform: Vec<(i64, Vec<SeccompRule>)>) -> Result<()> {
    // Makes rustix read the auxiliary vector, which takes calls that are not on the list, and remember it.
    let _ = rustix::param::page_size();
    let apply = |program: &BpfProgram| {
        seccompiler::apply_filter(program).context(|| "cannot install a seccomp filter")
    };
    apply(&missing()?)?;
    apply(&list(platform)?)
}

/// Calls that fail instead of ending the sandbox: `clone3`, for which the C library has another way, and opening
/// by path, which its allocator tries (`/proc/sys/vm/overcommit_memory`) before it gives memory back.
fn missing() -> Result<BpfProgram> {
    let here = u64::from(libc::AT_FDCWD.cast_unsigned());
    let here = condition(0, SeccompCmpOp::Eq, here, SeccompCmpArgLen::Dword)?;
    let rules: Rules =
        [(libc::SYS_clone3, Vec::new()), (libc::SYS_openat, vec![rule([here])?])].into();
    program(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))
}

fn list(platform: Vec<(i64, Vec<SeccompRule>)>) -> Result<BpfProgram> {
    program(rules(platform)?, SeccompAction::Trap, SeccompAction::Allow)
}

fn rules(platform: Vec<(i64, Vec<SeccompRule>)>) -> Result<Rules> {
    let mut rules: Rules = PLAIN.iter().map(|number| (*number, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_clone, vec![rule([equal(0, THREAD)?])?]);
    // symlinkat has its directory in the second place.
    rules.insert(libc::SYS_symlinkat, vec![rule([not_current_directory(1)?])?]);
    for number in AT {
        rules.insert(*number, vec![rule([not_current_directory(0)?])?]);
    }
    // From the current directory it fails, by the other filter.
    rules.insert(libc::SYS_openat, Vec::new());
    let not_executable = masked(2, libc::PROT_EXEC.unsigned_abs().into(), 0)?;
    rules.insert(libc::SYS_mmap, vec![rule([not_executable.clone()])?]);
    rules.insert(libc::SYS_mprotect, vec![rule([not_executable])?]);
    // No second address: a mapping may grow or move, not onto another.
    rules.insert(
        libc::SYS_mremap,
        vec![rule([masked(3, libc::MREMAP_FIXED.unsigned_abs().into(), 0)?])?],
    );
    let commands = |commands: &[u64]| -> Result<Vec<SeccompRule>> {
        commands.iter().map(|command| rule([equal(1, *command)?])).collect()
    };
    let fcntl: Vec<u64> = FCNTL.iter().map(|command| u64::from(command.unsigned_abs())).collect();
    rules.insert(libc::SYS_fcntl, commands(&fcntl)?);
    rules.insert(libc::SYS_ioctl, commands(IOCTL)?);
    let prctl = |command: i32| equal(0, command.unsigned_abs().into());
    rules.insert(
        libc::SYS_prctl,
        vec![
            rule([prctl(libc::PR_SET_NAME)?])?,
            // A detached sandbox is released from the command that made it.
            rule([prctl(libc::PR_SET_PDEATHSIG)?, equal(1, 0)?])?,
        ],
    );
    rules.insert(libc::SYS_rt_sigaction, Vec::new());
    // Asked by the runtime of threads for the size of stacks; limits of its own only, and none to set.
    rules.insert(libc::SYS_prlimit64, vec![rule([equal(0, 0)?, equal(2, 0)?])?]);
    rules.insert(libc::SYS_tgkill, vec![rule([equal(0, std::process::id().into())?])?]);
    merge(&mut rules, platform);
    Ok(rules)
}

/// Adds what the platform asks for. No rules of a call mean that any arguments go.
fn merge(rules: &mut Rules, platform: Vec<(i64, Vec<SeccompRule>)>) {
    for (number, more) in platform {
        match rules.get_mut(&number) {
            Some(known) if known.is_empty() => {}
            Some(known) if more.is_empty() => known.clear(),
            Some(known) => known.extend(more),
            None => drop(rules.insert(number, more)),
        }
    }
}

fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, otherwise, matched, TargetArch::x86_64);
    let filter = filter.context(|| "cannot make a seccomp filter")?;
    BpfProgram::try_from(filter).context(|| "cannot compile a seccomp filter")
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule> {
    SeccompRule::new(conditions.into()).context(|| "cannot make a seccomp rule")
}

fn condition(
    index: u8,
    op: SeccompCmpOp,
    value: u64,
    length: SeccompCmpArgLen,
) -> Result<SeccompCondition> {
    SeccompCondition::new(index, length, op, value).context(|| "cannot make a seccomp condition")
}

fn equal(index: u8, value: u64) -> Result<SeccompCondition> {
    condition(index, SeccompCmpOp::Eq, value, SeccompCmpArgLen::Dword)
}

fn masked(index: u8, mask: u64, value: u64) -> Result<SeccompCondition> {
    condition(index, SeccompCmpOp::MaskedEq(mask), value, SeccompCmpArgLen::Dword)
}

fn not_current_directory(index: u8) -> Result<SeccompCondition> {
    let current = u64::from(u32::from_ne_bytes(libc::AT_FDCWD.to_ne_bytes()));
    condition(index, SeccompCmpOp::Ne, current, SeccompCmpArgLen::Dword)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_compile_and_fit() {
        assert!(missing().unwrap().len() < 20);
        let length = list(Vec::new()).unwrap().len();
        assert!(length < 1000, "{length} instructions");
    }

    #[test]
    fn the_list_is_documented() {
        let name = |number: &i64| chitin_abi::nr::name(u64::try_from(*number).unwrap()).unwrap();
        let rules = rules(Vec::new()).unwrap();
        let mark = |(number, rules): (&i64, &Vec<SeccompRule>)| {
            format!("`{}`{}", name(number), if rules.is_empty() { "" } else { "*" })
        };
        let mut names: Vec<String> = rules.iter().map(mark).collect();
        names.sort();
        let mut lines = vec![String::new()];
        for name in names {
            let line = lines.last_mut().unwrap();
            if line.len() + name.len() > 110 {
                lines.push(name);
            } else {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(&name);
            }
        }
        let text = lines.join("\n");
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md"))
            .unwrap();
        let (_, rest) = page.split_once("<!-- host calls of the sentry: begin -->\n").unwrap();
        let (documented, _) = rest.split_once("<!-- host calls of the sentry: end -->").unwrap();
        assert!(documented.trim() == text, "SECURITY.md has to list:\n{text}");
    }

    #[test]
    fn no_rules_win_over_rules() {
        let mut rules: Rules =
            [(1, vec![rule([equal(0, 1).unwrap()]).unwrap()]), (2, Vec::new())].into();
        merge(&mut rules, vec![(1, Vec::new()), (2, vec![rule([equal(0, 1).unwrap()]).unwrap()])]);
        assert!(rules[&1].is_empty() && rules[&2].is_empty());
    }
}
