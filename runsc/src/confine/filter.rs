//! The seccomp filter of the sentry: a list of host calls, with argument checks; anything else ends it, by a
//! SIGSYS whose handler names the call to the command (and by force where that signal is blocked).
//!
//! On the list is what a runtime of threads needs, what directfs needs (only relative to a descriptor, which lies in
//! a detached mount of the container), and what the platform asks for. `clone3` fails with ENOSYS, so that the C
//! library uses `clone`, whose flags a filter can see.
//!
//! Not on the list, among others: execve, ptrace, mount, unshare, setns, socket, connect, bind, chroot, prctl except
//! for names, ioctl except for a few of terminals, any mapping that is executable, and any clone that is not a thread.

use chitin_platform_systrap::HostCall;

use super::bpf::{Check, Rule, Rules, Verdict, compile};
use crate::error::{Context as _, Result};

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
    // Open files: their data and their attributes.
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    libc::SYS_flock,
];

/// What working on directories takes besides the calls of [`AT`].
const DIRECTORIES: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_syncfs,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fgetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
];

/// What the gofer needs: one thread, one socket, files.
const GOFER: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
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

/// `O_LARGEFILE` as the kernel knows it; the C library's is 0 where it has no effect.
const LARGE_FILE: i32 = 0o100_000;

/// As if the kernel did not have the call.
const MISSING: Verdict = Verdict::Fail(libc::ENOSYS as u16);

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

/// What the sentry may do with files of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRights {
    /// Work relative to directories that it has descriptors of.
    Directories,
    /// Work on the files that it is given descriptors of.
    Descriptors,
}

/// Installs the sentry's filter in this process, which has one thread.
pub(crate) fn install(rights: FileRights, platform: &[HostCall]) -> Result<()> {
    apply(&rules(rights, platform))
}

/// Installs the gofer's filter in this process, which has one thread.
pub(crate) fn install_gofer() -> Result<()> {
    apply(&gofer_rules())
}

fn apply(rules: &Rules) -> Result<()> {
    // Makes rustix read the auxiliary vector, which takes calls that are not on the list, and remember it.
    let _ = rustix::param::page_size();
    seccompiler::apply_filter(&compile(rules)).context(|| "cannot install the seccomp filter")
}

fn allow(checks: impl IntoIterator<Item = Check>) -> Rule {
    Rule { checks: checks.into_iter().collect(), verdict: Verdict::Allow }
}

/// The allocator tries it by path (`/proc/sys/vm/overcommit_memory`) before it gives memory back.
fn missing_here() -> Rule {
    let here = Check { equal: true, ..not_current_directory(0) };
    Rule { checks: vec![here], verdict: MISSING }
}

/// What working relative to the descriptors of directories takes.
fn add_directories(rules: &mut Rules) {
    rules.extend(DIRECTORIES.iter().map(|number| (*number as u32, vec![allow([])])));
    // symlinkat has its directory in the second place.
    rules.insert(libc::SYS_symlinkat as u32, vec![allow([not_current_directory(1)])]);
    for number in AT {
        rules.insert(*number as u32, vec![allow([not_current_directory(0)])]);
    }
    rules.insert(libc::SYS_openat as u32, vec![missing_here(), allow([])]);
}

/// What is left without them.
fn add_descriptors(rules: &mut Rules) {
    // The C library's fstat; there is nothing to find in the root directory.
    rules.insert(libc::SYS_newfstatat as u32, vec![allow([not_current_directory(0)])]);
    // Only for reading, which the platform does in the one directory that it has a descriptor of: the /proc of its
    // own processes.
    let others = !(libc::O_CLOEXEC | LARGE_FILE).cast_unsigned();
    let reading = allow([Check { mask: others, ..equal(2, 0) }]);
    rules.insert(libc::SYS_openat as u32, vec![missing_here(), reading]);
}

/// Mappings that are never executable, and never grow onto others.
fn add_mappings(rules: &mut Rules) {
    let not_executable = Check { mask: libc::PROT_EXEC as u32, ..equal(2, 0) };
    rules.insert(libc::SYS_mmap as u32, vec![allow([not_executable])]);
    rules.insert(libc::SYS_mprotect as u32, vec![allow([not_executable])]);
    // No second address: a mapping may grow or move, not onto another.
    let stays = Check { mask: libc::MREMAP_FIXED as u32, ..equal(3, 0) };
    rules.insert(libc::SYS_mremap as u32, vec![allow([stays])]);
}

fn gofer_rules() -> Rules {
    let mut rules: Rules = GOFER.iter().map(|number| (*number as u32, vec![allow([])])).collect();
    add_directories(&mut rules);
    add_mappings(&mut rules);
    // What closing a descriptor asks in builds with assertions.
    let asks = allow([equal(1, libc::F_GETFD.unsigned_abs())]);
    rules.insert(libc::SYS_fcntl as u32, vec![asks]);
    rules
}

fn rules(rights: FileRights, platform: &[HostCall]) -> Rules {
    let mut rules: Rules = PLAIN.iter().map(|number| (*number as u32, vec![allow([])])).collect();
    match rights {
        FileRights::Directories => add_directories(&mut rules),
        FileRights::Descriptors => add_descriptors(&mut rules),
    }
    add_mappings(&mut rules);
    let mut add = |number: i64, of: Vec<Rule>| rules.insert(number as u32, of);
    // The C library has another way, whose flags a filter can see.
    add(libc::SYS_clone3, vec![Rule { checks: Vec::new(), verdict: MISSING }]);
    add(libc::SYS_clone, vec![allow([equal(0, THREAD as u32)])]);
    let command = |command: u32| allow([equal(1, command)]);
    add(libc::SYS_fcntl, FCNTL.iter().map(|one| command(one.unsigned_abs())).collect());
    add(libc::SYS_ioctl, IOCTL.iter().map(|one| command(*one as u32)).collect());
    let prctl = |command: i32| equal(0, command.unsigned_abs());
    // A detached sandbox is released from the command that made it.
    let release = allow([prctl(libc::PR_SET_PDEATHSIG), equal(1, 0)]);
    add(libc::SYS_prctl, vec![allow([prctl(libc::PR_SET_NAME)]), release]);
    add(libc::SYS_rt_sigaction, vec![allow([])]);
    // Asked by the runtime of threads for the size of stacks; limits of its own only, and none to set.
    add(libc::SYS_prlimit64, vec![allow([equal(0, 0), equal(2, 0)])]);
    add(libc::SYS_tgkill, vec![allow([equal(0, std::process::id())])]);
    merge(&mut rules, platform);
    rules
}

/// Adds what the platform asks for. A call without conditions stays so.
fn merge(rules: &mut Rules, platform: &[HostCall]) {
    for call in platform {
        let known = rules.entry(call.number as u32).or_default();
        let is_plain = |rules: &[Rule]| rules.iter().any(|rule| *rule == allow([]));
        let more: Vec<Rule> = match call.alternatives {
            [] => vec![allow([])],
            sets => sets
                .iter()
                .map(|set| allow(set.iter().map(|(index, value)| equal(*index, *value as u32))))
                .collect(),
        };
        if is_plain(&more) {
            *known = more;
        } else if !is_plain(known) {
            known.extend(more);
        }
    }
}

fn equal(argument: u8, value: u32) -> Check {
    Check { argument, mask: u32::MAX, value, equal: true }
}

fn not_current_directory(argument: u8) -> Check {
    Check { equal: false, ..equal(argument, libc::AT_FDCWD.cast_unsigned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: u32 = 0xc000_003e;

    fn ask(number: i64, args: [u64; 6]) -> u32 {
        let program =
            compile(&rules(FileRights::Directories, chitin_platform_systrap::sentry_host_calls()));
        assert!(program.len() < 700, "{} instructions", program.len());
        super::super::bpf::tests::run(&program, X86_64, number as u32, args)
    }

    #[test]
    fn calls_are_allowed_as_far_as_they_are_listed() {
        const ALLOW: u32 = 0x7fff_0000;
        const TRAP: u32 = 0x0003_0000;
        const MISSING: u32 = 0x0005_0026;
        let here = u64::from(libc::AT_FDCWD.cast_unsigned());
        for number in [libc::SYS_read, libc::SYS_madvise, libc::SYS_process_vm_readv] {
            assert_eq!(ask(number, [0; 6]), ALLOW, "{number}");
        }
        for number in [libc::SYS_execve, libc::SYS_socket, libc::SYS_ptrace, libc::SYS_mount] {
            assert_eq!(ask(number, [0; 6]), TRAP, "{number}");
        }
        assert_eq!(ask(libc::SYS_clone3, [0; 6]), MISSING);
        assert_eq!(ask(libc::SYS_clone, [THREAD, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(ask(libc::SYS_clone, [17, 0, 0, 0, 0, 0]), TRAP);
        assert_eq!(ask(libc::SYS_openat, [here, 0, 0, 0, 0, 0]), MISSING);
        assert_eq!(ask(libc::SYS_openat, [5, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(ask(libc::SYS_unlinkat, [here, 0, 0, 0, 0, 0]), TRAP);
        assert_eq!(ask(libc::SYS_symlinkat, [0, here, 0, 0, 0, 0]), TRAP);
        assert_eq!(ask(libc::SYS_mmap, [0, 0, 3, 0, 0, 0]), ALLOW);
        assert_eq!(ask(libc::SYS_mmap, [0, 0, 5, 0, 0, 0]), TRAP);
        assert_eq!(ask(libc::SYS_kill, [1, libc::SIGKILL as u64, 0, 0, 0, 0]), ALLOW);
        assert_eq!(ask(libc::SYS_kill, [1, libc::SIGTERM as u64, 0, 0, 0, 0]), TRAP);
        assert_eq!(ask(libc::SYS_ioctl, [1, libc::TIOCSTI, 0, 0, 0, 0]), TRAP);
    }

    /// Without a right to directories nothing is left that takes a name, but for reading.
    #[test]
    fn descriptors_open_nothing() {
        let rules = rules(FileRights::Descriptors, &[]);
        let harmless = [libc::SYS_newfstatat, libc::SYS_openat];
        let others = AT.iter().filter(|number| !harmless.contains(number));
        for number in others.chain(DIRECTORIES).chain(&[libc::SYS_symlinkat, libc::SYS_open]) {
            assert!(!rules.contains_key(&(*number as u32)), "{number}");
        }
        let program = compile(&rules);
        let open = |flags: i32| {
            let args = [5, 0, flags.unsigned_abs().into(), 0, 0, 0];
            super::super::bpf::tests::run(&program, X86_64, libc::SYS_openat as u32, args)
        };
        assert_eq!(open(libc::O_CLOEXEC), 0x7fff_0000);
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_PATH, libc::O_TMPFILE] {
            assert_eq!(open(flags), 0x0003_0000, "{flags:o}");
        }
    }

    /// The list of a kind of process in SECURITY.md is that of these rules.
    fn is_documented(process: &str, rules: &Rules) {
        let name = |number: &u32| chitin_abi::nr::name(u64::from(*number)).unwrap();
        let mark = |(number, rules): (&u32, &Vec<Rule>)| {
            let is_plain = rules.iter().any(|rule| rule.checks.is_empty());
            format!("`{}`{}", name(number), if is_plain { "" } else { "*" })
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
        let mark = |end: &str| format!("<!-- host calls of the {process}: {end} -->");
        let (_, rest) = page.split_once(&mark("begin")).unwrap();
        let (documented, _) = rest.split_once(&mark("end")).unwrap();
        assert!(documented.trim() == text, "SECURITY.md has to list for the {process}:\n{text}");
    }

    #[test]
    fn the_lists_are_documented() {
        is_documented("sentry", &rules(FileRights::Directories, &[]));
        is_documented("sentry with a gofer", &rules(FileRights::Descriptors, &[]));
        is_documented("gofer", &gofer_rules());
    }

    #[test]
    fn no_conditions_win_over_conditions() {
        let checked = vec![allow([equal(0, 1)])];
        let mut rules: Rules = [(1, checked.clone()), (2, vec![allow([])])].into();
        let alternatives: &[&[(u8, u64)]] = &[&[(0, 1)]];
        merge(
            &mut rules,
            &[HostCall { number: 1, alternatives: &[] }, HostCall { number: 2, alternatives }],
        );
        assert_eq!(rules[&1], [allow([])]);
        assert_eq!(rules[&2], [allow([])]);
    }
}
