//! The system-call table.
//!
//! One line per call, sorted by number: number, name, typed arguments in register order, and then one of
//! - `=> sync path, Support`: a handler that never waits,
//! - `=> async path, Support`: a handler that may wait,
//! - `=> boxed path, Support`: an async handler with a large future, which is allocated when it is called,
//! - `=> fails ERRNO`: a call that only fails, and is counted.
//!
//! A number that is not here does not exist: `ENOSYS`, counted.
//!
//! Cost of dispatch: two jump tables for a handler that waits, one for another; no allocation but for
//! `boxed` ones.

use chitin_abi::{Errno, GuestAddr};

use super::aio;
use super::args::{
    AtFlags, BytesIn, BytesOut, Clock, Fd, FdPair, Flags, FromReg, LongFlags, MapFlags, Mode,
    OpenMode, PathPtr, Print, Protection, Resource, Signal, SignalSet, Strings, Time, Whence,
};
use super::attr;
use super::cred;
use super::dirs;
use super::fanotify;
use super::fcntl;
use super::futex;
use super::handle;
use super::inotify;
use super::io;
use super::ioctl;
use super::ipc;
use super::keys;
use super::limits;
use super::locks;
use super::memory;
use super::misc;
use super::mount_fd;
use super::mount_info;
use super::mounts;
use super::open;
use super::poll;
use super::prctl;
use super::process;
use super::ptrace;
use super::quota;
use super::sched;
use super::seccomp;
use super::signal;
use super::socket;
use super::splice;
use super::stat;
use super::streams;
use super::sync;
use super::thread;
use super::time;
use super::tree;
use super::xattr;
use super::{Support, SyscallInfo};
use crate::context::Ctx;
use crate::error::SysResult;

macro_rules! support {
    (fails $errno:ident) => {
        Support::Fails(stringify!($errno))
    };
    ($kind:ident $path:path, $support:expr) => {
        $support
    };
}

/// The arm of a handler that never waits; `None` leaves the call to [`waiting_arm`].
macro_rules! plain_arm {
    ($cx:ident, $number:literal, ($($arg:ident: $type:ty),*) => sync $path:path, $support:expr) => {{
        #[allow(unused_mut, unused_variables, clippy::allow_attributes, reason = "calls without arguments")]
        let mut registers = $cx.regs.syscall_args().into_iter();
        $(let $arg = <$type as FromReg>::from_reg(registers.next().unwrap_or_default());)*
        Some($path($cx, $($arg),*))
    }};
    ($cx:ident, $number:literal, ($($arg:ident: $type:ty),*) => fails $errno:ident) => {{
        $cx.kernel().unsupported.count($number);
        Some(Err(Errno::$errno.into()))
    }};
    ($cx:ident, $number:literal, ($($arg:ident: $type:ty),*) => $kind:ident $path:path, $support:expr) => { None };
}

/// The arm of a handler that may wait.
macro_rules! waiting_arm {
    ($cx:ident, ($($arg:ident: $type:ty),*) => async $path:path, $support:expr) => {{
        #[allow(unused_mut, unused_variables, clippy::allow_attributes, reason = "calls without arguments")]
        let mut registers = $cx.regs.syscall_args().into_iter();
        $(let $arg = <$type as FromReg>::from_reg(registers.next().unwrap_or_default());)*
        $path($cx, $($arg),*).await
    }};
    ($cx:ident, ($($arg:ident: $type:ty),*) => boxed $path:path, $support:expr) => {{
        #[allow(unused_mut, unused_variables, clippy::allow_attributes, reason = "calls without arguments")]
        let mut registers = $cx.regs.syscall_args().into_iter();
        $(let $arg = <$type as FromReg>::from_reg(registers.next().unwrap_or_default());)*
        Box::pin($path($cx, $($arg),*)).await
    }};
    ($cx:ident, ($($arg:ident: $type:ty),*) => $($plain:tt)*) => { Err(Errno::ENOSYS.into()) };
}

macro_rules! syscalls {
    ($($number:literal $name:ident($($arg:ident: $type:ty),*) => $kind:ident $($path:ident)::+ $(, $support:expr)?;)*) => {
        /// All calls, by number.
        pub const SYSCALLS: &[SyscallInfo] = &[$(SyscallInfo {
            number: $number,
            name: stringify!($name),
            names: &[$(stringify!($arg)),*],
            args: &[$(<$type as FromReg>::PRINT),*] as &[Print],
            support: support!($kind $($path)::+ $(, $support)?),
        }),*];

        /// Carries out a call that never waits; `None` for one that may.
        #[inline]
        fn plain(cx: &mut Ctx<'_>, number: u64) -> Option<SysResult> {
            match number {
                $($number => plain_arm!(cx, $number, ($($arg: $type),*) => $kind $($path)::+ $(, $support)?),)*
                _ => {
                    cx.kernel().unsupported.count(number);
                    Some(Err(Errno::ENOSYS.into()))
                }
            }
        }

        /// Carries out a call that may wait.
        async fn waiting(cx: &mut Ctx<'_>, number: u64) -> SysResult {
            match number {
                $($number => waiting_arm!(cx, ($($arg: $type),*) => $kind $($path)::+ $(, $support)?),)*
                _ => Err(Errno::ENOSYS.into()),
            }
        }
    };
}

/// Decodes and carries out the call of this number.
///
/// # Errors
/// Those of the handler; ENOSYS for a number that is not in the table.
pub async fn dispatch(cx: &mut Ctx<'_>, number: u64) -> SysResult {
    match plain(cx, number) {
        Some(result) => result,
        None => waiting(cx, number).await,
    }
}

/// Carries out a call, printing it if the kernel traces.
///
/// # Errors
/// As [`dispatch`].
pub async fn call(cx: &mut Ctx<'_>, number: u64) -> SysResult {
    if cx.kernel().strace.is_none() {
        return dispatch(cx, number).await;
    }
    Box::pin(super::strace::traced(cx, number)).await
}

#[allow(
    unused_imports,
    clippy::allow_attributes,
    reason = "which levels occur changes with the table"
)]
use Support::{Full, Partial};

syscalls! {
    0 read(fd: Fd, buf: BytesOut, count: usize) => async io::read, Full;
    1 write(fd: Fd, buf: BytesIn, count: usize) => async io::write, Full;
    2 open(pathname: PathPtr, flags: OpenMode, mode: Mode) => async open::open, Full;
    3 close(fd: Fd) => sync open::close, Full;
    4 stat(pathname: PathPtr, statbuf: GuestAddr) => sync stat::stat, Full;
    5 fstat(fd: Fd, statbuf: GuestAddr) => sync stat::fstat, Full;
    6 lstat(pathname: PathPtr, statbuf: GuestAddr) => sync stat::lstat, Full;
    7 poll(fds: GuestAddr, nfds: u32, timeout: i32) => async poll::poll, Full;
    8 lseek(fd: Fd, offset: i64, whence: Whence) => sync io::lseek, Full;
    9 mmap(addr: GuestAddr, length: u64, prot: Protection, flags: MapFlags, fd: Fd, offset: u64) => async memory::mmap, Full;
    10 mprotect(addr: GuestAddr, length: u64, prot: Protection) => async memory::mprotect, Full;
    11 munmap(addr: GuestAddr, length: u64) => async memory::munmap, Full;
    12 brk(addr: GuestAddr) => async memory::brk, Full;
    13 rt_sigaction(signum: Signal, act: GuestAddr, oldact: GuestAddr, sigsetsize: usize) => sync signal::rt_sigaction, Full;
    14 rt_sigprocmask(how: i32, set: SignalSet, oldset: SignalSet, sigsetsize: usize) => sync signal::rt_sigprocmask, Full;
    15 rt_sigreturn() => sync signal::rt_sigreturn, Full;
    16 ioctl(fd: Fd, request: Flags, argp: GuestAddr) => async ioctl::ioctl, Full;
    17 pread64(fd: Fd, buf: BytesOut, count: usize, offset: i64) => async io::pread64, Full;
    18 pwrite64(fd: Fd, buf: BytesIn, count: usize, offset: i64) => async io::pwrite64, Full;
    19 readv(fd: Fd, iov: GuestAddr, iovcnt: usize) => async io::readv, Full;
    20 writev(fd: Fd, iov: GuestAddr, iovcnt: usize) => async io::writev, Full;
    21 access(pathname: PathPtr, mode: u32) => sync stat::access, Full;
    22 pipe(pipefd: FdPair) => sync streams::pipe, Full;
    23 select(nfds: i32, readfds: GuestAddr, writefds: GuestAddr, exceptfds: GuestAddr, timeout: Time) => async poll::select, Full;
    24 sched_yield() => sync sched::sched_yield, Full;
    25 mremap(addr: GuestAddr, old_size: u64, new_size: u64, flags: Flags, new_addr: GuestAddr) => async memory::mremap, Full;
    26 msync(addr: GuestAddr, length: u64, flags: Flags) => async memory::msync, Full;
    27 mincore(addr: GuestAddr, length: u64, vec: GuestAddr) => sync memory::mincore, Full;
    28 madvise(addr: GuestAddr, length: u64, advice: i32) => async memory::madvise, Full;
    29 shmget(key: i32, size: u64, shmflg: Flags) => sync ipc::shmget, Full;
    30 shmat(shmid: i32, shmaddr: GuestAddr, shmflg: Flags) => boxed ipc::shmat, Full;
    31 shmctl(shmid: i32, op: i32, buf: GuestAddr) => sync ipc::shmctl, Full;
    32 dup(oldfd: Fd) => sync open::dup, Full;
    33 dup2(oldfd: Fd, newfd: Fd) => sync open::dup2, Full;
    34 pause() => async signal::pause, Full;
    35 nanosleep(duration: Time, rem: Time) => async time::nanosleep, Full;
    36 getitimer(which: i32, curr_value: GuestAddr) => sync time::getitimer, Full;
    37 alarm(seconds: u32) => sync time::alarm, Full;
    38 setitimer(which: i32, new_value: GuestAddr, old_value: GuestAddr) => sync time::setitimer, Full;
    39 getpid() => sync process::getpid, Full;
    40 sendfile(out_fd: Fd, in_fd: Fd, offset: GuestAddr, count: usize) => async splice::sendfile, Full;
    41 socket(domain: i32, kind: i32, protocol: i32) => sync socket::socket, Full;
    42 connect(sockfd: Fd, addr: GuestAddr, addrlen: u32) => async socket::connect, Full;
    43 accept(sockfd: Fd, addr: GuestAddr, addrlen: GuestAddr) => async socket::accept, Full;
    44 sendto(sockfd: Fd, buf: BytesIn, len: usize, flags: Flags, dest_addr: GuestAddr, addrlen: u32) => boxed socket::sendto, Full;
    45 recvfrom(sockfd: Fd, buf: BytesOut, size: usize, flags: Flags, src_addr: GuestAddr, addrlen: GuestAddr) => boxed socket::recvfrom, Full;
    46 sendmsg(sockfd: Fd, msg: GuestAddr, flags: Flags) => boxed socket::sendmsg, Full;
    47 recvmsg(sockfd: Fd, msg: GuestAddr, flags: Flags) => boxed socket::recvmsg, Full;
    48 shutdown(sockfd: Fd, how: i32) => sync socket::shutdown, Full;
    49 bind(sockfd: Fd, addr: GuestAddr, addrlen: u32) => sync socket::bind, Full;
    50 listen(sockfd: Fd, backlog: i32) => sync socket::listen, Full;
    51 getsockname(sockfd: Fd, addr: GuestAddr, addrlen: GuestAddr) => sync socket::getsockname, Full;
    52 getpeername(sockfd: Fd, addr: GuestAddr, addrlen: GuestAddr) => sync socket::getpeername, Full;
    53 socketpair(domain: i32, kind: i32, protocol: i32, sv: FdPair) => sync socket::socketpair, Full;
    54 setsockopt(sockfd: Fd, level: i32, optname: i32, optval: GuestAddr, optlen: u32) => sync socket::setsockopt, Full;
    55 getsockopt(sockfd: Fd, level: i32, optname: i32, optval: GuestAddr, optlen: GuestAddr) => sync socket::getsockopt, Full;
    56 clone(flags: LongFlags, stack: GuestAddr, parent_tid: GuestAddr, child_tid: GuestAddr, tls: GuestAddr) => boxed process::clone, Full;
    57 fork() => boxed process::fork, Full;
    58 vfork() => boxed process::vfork, Full;
    59 execve(pathname: PathPtr, argv: Strings, envp: GuestAddr) => boxed process::execve, Full;
    60 exit(status: i32) => sync process::exit, Full;
    61 wait4(pid: i32, wstatus: GuestAddr, options: Flags, rusage: GuestAddr) => async process::wait4, Full;
    62 kill(pid: i32, sig: Signal) => sync signal::kill, Full;
    63 uname(buf: GuestAddr) => sync misc::uname, Full;
    64 semget(key: i32, nsems: i32, semflg: Flags) => sync ipc::semget, Full;
    65 semop(semid: i32, sops: GuestAddr, nsops: usize) => boxed ipc::semop, Full;
    66 semctl(semid: i32, semnum: i32, op: i32, arg: GuestAddr) => sync ipc::semctl, Full;
    67 shmdt(shmaddr: GuestAddr) => boxed ipc::shmdt, Full;
    68 msgget(key: i32, msgflg: Flags) => sync ipc::msgget, Full;
    69 msgsnd(msqid: i32, msgp: GuestAddr, msgsz: usize, msgflg: Flags) => boxed ipc::msgsnd, Full;
    70 msgrcv(msqid: i32, msgp: GuestAddr, msgsz: usize, msgtyp: i64, msgflg: Flags) => boxed ipc::msgrcv, Full;
    71 msgctl(msqid: i32, op: i32, buf: GuestAddr) => sync ipc::msgctl, Full;
    72 fcntl(fd: Fd, op: u32, arg: u64) => async fcntl::fcntl, Full;
    73 flock(fd: Fd, op: u32) => async locks::flock, Full;
    74 fsync(fd: Fd) => async sync::fsync, Full;
    75 fdatasync(fd: Fd) => async sync::fdatasync, Full;
    76 truncate(path: PathPtr, length: i64) => async attr::truncate, Full;
    77 ftruncate(fd: Fd, length: i64) => sync attr::ftruncate, Full;
    78 getdents(fd: Fd, dirp: GuestAddr, count: u32) => sync dirs::getdents, Full;
    79 getcwd(buf: BytesOut, size: usize) => sync dirs::getcwd, Full;
    80 chdir(path: PathPtr) => sync dirs::chdir, Full;
    81 fchdir(fd: Fd) => sync dirs::fchdir, Full;
    82 rename(oldpath: PathPtr, newpath: PathPtr) => sync tree::rename, Full;
    83 mkdir(pathname: PathPtr, mode: Mode) => sync tree::mkdir, Full;
    84 rmdir(pathname: PathPtr) => sync tree::rmdir, Full;
    85 creat(pathname: PathPtr, mode: Mode) => async open::creat, Full;
    86 link(oldpath: PathPtr, newpath: PathPtr) => sync tree::link, Full;
    87 unlink(pathname: PathPtr) => sync tree::unlink, Full;
    88 symlink(target: PathPtr, linkpath: PathPtr) => sync tree::symlink, Full;
    89 readlink(pathname: PathPtr, buf: BytesOut, bufsiz: i32) => sync stat::readlink, Full;
    90 chmod(pathname: PathPtr, mode: Mode) => sync attr::chmod, Full;
    91 fchmod(fd: Fd, mode: Mode) => sync attr::fchmod, Full;
    92 chown(pathname: PathPtr, owner: i32, group: i32) => sync attr::chown, Full;
    93 fchown(fd: Fd, owner: i32, group: i32) => sync attr::fchown, Full;
    94 lchown(pathname: PathPtr, owner: i32, group: i32) => sync attr::lchown, Full;
    95 umask(mask: Mode) => sync misc::umask, Full;
    96 gettimeofday(tv: GuestAddr, tz: GuestAddr) => sync time::gettimeofday, Full;
    97 getrlimit(resource: Resource, rlim: GuestAddr) => sync limits::getrlimit, Full;
    98 getrusage(who: i32, usage: GuestAddr) => sync limits::getrusage, Full;
    99 sysinfo(info: GuestAddr) => sync misc::sysinfo, Partial("loads are zero");
    100 times(buf: GuestAddr) => sync time::times, Full;
    101 ptrace(op: u64, pid: i32, addr: GuestAddr, data: GuestAddr) => boxed ptrace::ptrace, Partial("watchpoints see changes only, no PTRACE_SECCOMP_GET_FILTER and the like");
    102 getuid() => sync cred::getuid, Full;
    103 syslog(kind: i32, bufp: GuestAddr, len: i32) => sync misc::syslog, Full;
    104 getgid() => sync cred::getgid, Full;
    105 setuid(uid: u32) => sync cred::setuid, Full;
    106 setgid(gid: u32) => sync cred::setgid, Full;
    107 geteuid() => sync cred::geteuid, Full;
    108 getegid() => sync cred::getegid, Full;
    109 setpgid(pid: i32, pgid: i32) => sync process::setpgid, Full;
    110 getppid() => sync process::getppid, Full;
    111 getpgrp() => sync process::getpgrp, Full;
    112 setsid() => sync process::setsid, Full;
    113 setreuid(ruid: i32, euid: i32) => sync cred::setreuid, Full;
    114 setregid(rgid: i32, egid: i32) => sync cred::setregid, Full;
    115 getgroups(size: i32, list: GuestAddr) => sync cred::getgroups, Full;
    116 setgroups(size: usize, list: GuestAddr) => sync cred::setgroups, Full;
    117 setresuid(ruid: i32, euid: i32, suid: i32) => sync cred::setresuid, Full;
    118 getresuid(ruid: GuestAddr, euid: GuestAddr, suid: GuestAddr) => sync cred::getresuid, Full;
    119 setresgid(rgid: i32, egid: i32, sgid: i32) => sync cred::setresgid, Full;
    120 getresgid(rgid: GuestAddr, egid: GuestAddr, sgid: GuestAddr) => sync cred::getresgid, Full;
    121 getpgid(pid: i32) => sync process::getpgid, Full;
    122 setfsuid(fsuid: u32) => sync cred::setfsuid, Full;
    123 setfsgid(fsgid: u32) => sync cred::setfsgid, Full;
    124 getsid(pid: i32) => sync process::getsid, Full;
    125 capget(hdrp: GuestAddr, datap: GuestAddr) => sync cred::capget, Full;
    126 capset(hdrp: GuestAddr, datap: GuestAddr) => sync cred::capset, Full;
    127 rt_sigpending(set: GuestAddr, sigsetsize: usize) => sync signal::rt_sigpending, Full;
    128 rt_sigtimedwait(set: SignalSet, info: GuestAddr, timeout: Time, sigsetsize: usize) => async signal::rt_sigtimedwait, Full;
    129 rt_sigqueueinfo(tgid: i32, sig: Signal, info: GuestAddr) => sync signal::rt_sigqueueinfo, Full;
    130 rt_sigsuspend(mask: SignalSet, sigsetsize: usize) => async signal::rt_sigsuspend, Full;
    131 sigaltstack(ss: GuestAddr, old_ss: GuestAddr) => sync signal::sigaltstack, Full;
    132 utime(filename: PathPtr, times: Time) => sync attr::utime, Full;
    133 mknod(pathname: PathPtr, mode: Mode, dev: u32) => sync tree::mknod, Full;
    134 uselib(library: PathPtr) => fails ENOSYS;
    135 personality(persona: Flags) => sync process::personality, Full;
    136 ustat(dev: u32, ubuf: GuestAddr) => sync stat::ustat, Full;
    137 statfs(path: PathPtr, buf: GuestAddr) => sync stat::statfs, Full;
    138 fstatfs(fd: Fd, buf: GuestAddr) => sync stat::fstatfs, Full;
    139 sysfs(option: i32, arg1: u64, arg2: GuestAddr) => sync mounts::sysfs, Full;
    140 getpriority(which: i32, who: i32) => sync sched::getpriority, Full;
    141 setpriority(which: i32, who: i32, prio: i32) => sync sched::setpriority, Full;
    142 sched_setparam(pid: i32, param: GuestAddr) => sync sched::sched_setparam, Full;
    143 sched_getparam(pid: i32, param: GuestAddr) => sync sched::sched_getparam, Full;
    144 sched_setscheduler(pid: i32, policy: i32, param: GuestAddr) => sync sched::sched_setscheduler, Full;
    145 sched_getscheduler(pid: i32) => sync sched::sched_getscheduler, Full;
    146 sched_get_priority_max(policy: i32) => sync sched::sched_get_priority_max, Full;
    147 sched_get_priority_min(policy: i32) => sync sched::sched_get_priority_min, Full;
    148 sched_rr_get_interval(pid: i32, tp: GuestAddr) => sync sched::sched_rr_get_interval, Full;
    149 mlock(addr: GuestAddr, len: u64) => async memory::mlock, Full;
    150 munlock(addr: GuestAddr, len: u64) => async memory::munlock, Full;
    151 mlockall(flags: Flags) => async memory::mlockall, Full;
    152 munlockall() => async memory::munlockall, Full;
    153 vhangup() => fails EPERM;
    154 modify_ldt(func: i32, ptr: GuestAddr, bytecount: u64) => fails ENOSYS;
    155 pivot_root(new_root: PathPtr, put_old: PathPtr) => sync mounts::pivot_root, Full;
    156 _sysctl(args: GuestAddr) => fails ENOSYS;
    157 prctl(op: i32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) => async prctl::prctl, Partial("PR_SET_MM, PR_SET_MDWE, PR_SCHED_CORE");
    158 arch_prctl(op: Flags, addr: GuestAddr) => sync thread::arch_prctl, Full;
    159 adjtimex(buf: GuestAddr) => sync time::adjtimex, Partial("nothing can be set");
    160 setrlimit(resource: Resource, rlim: GuestAddr) => sync limits::setrlimit, Full;
    161 chroot(path: PathPtr) => sync dirs::chroot, Full;
    162 sync() => async sync::sync, Full;
    163 acct(filename: PathPtr) => fails EPERM;
    164 settimeofday(tv: GuestAddr, tz: GuestAddr) => sync time::settimeofday, Partial("always EPERM");
    165 mount(source: PathPtr, target: PathPtr, fstype: PathPtr, flags: LongFlags, data: GuestAddr) => sync mounts::mount, Full;
    166 umount2(target: PathPtr, flags: Flags) => sync mounts::umount2, Full;
    167 swapon(path: PathPtr, flags: Flags) => fails EPERM;
    168 swapoff(path: PathPtr) => fails EPERM;
    169 reboot(magic: Flags, magic2: Flags, op: Flags, arg: GuestAddr) => sync misc::reboot, Full;
    170 sethostname(name: BytesIn, len: usize) => sync misc::sethostname, Full;
    171 setdomainname(name: BytesIn, len: usize) => sync misc::setdomainname, Full;
    172 iopl(level: i32) => fails EPERM;
    173 ioperm(from: u64, num: u64, turn_on: i32) => fails EPERM;
    174 create_module(name: PathPtr, size: usize) => fails ENOSYS;
    175 init_module(image: GuestAddr, size: u64, params: PathPtr) => fails EPERM;
    176 delete_module(name: PathPtr, flags: Flags) => fails EPERM;
    177 get_kernel_syms(table: GuestAddr) => fails ENOSYS;
    178 query_module(name: PathPtr, which: i32, buf: GuestAddr, bufsize: usize, ret: GuestAddr) => fails ENOSYS;
    179 quotactl(op: Flags, special: PathPtr, id: i32, addr: GuestAddr) => sync quota::quotactl, Partial("no quotas are kept");
    180 nfsservctl(cmd: i32, argp: GuestAddr, resp: GuestAddr) => fails ENOSYS;
    181 getpmsg() => fails ENOSYS;
    182 putpmsg() => fails ENOSYS;
    183 afs_syscall() => fails ENOSYS;
    184 tuxcall() => fails ENOSYS;
    185 security() => fails ENOSYS;
    186 gettid() => sync process::gettid, Full;
    187 readahead(fd: Fd, offset: i64, count: usize) => sync sync::readahead, Full;
    188 setxattr(path: PathPtr, name: PathPtr, value: BytesIn, size: usize, flags: Flags) => sync xattr::setxattr, Full;
    189 lsetxattr(path: PathPtr, name: PathPtr, value: BytesIn, size: usize, flags: Flags) => sync xattr::lsetxattr, Full;
    190 fsetxattr(fd: Fd, name: PathPtr, value: BytesIn, size: usize, flags: Flags) => sync xattr::fsetxattr, Full;
    191 getxattr(path: PathPtr, name: PathPtr, value: BytesOut, size: usize) => sync xattr::getxattr, Full;
    192 lgetxattr(path: PathPtr, name: PathPtr, value: BytesOut, size: usize) => sync xattr::lgetxattr, Full;
    193 fgetxattr(fd: Fd, name: PathPtr, value: BytesOut, size: usize) => sync xattr::fgetxattr, Full;
    194 listxattr(path: PathPtr, list: BytesOut, size: usize) => sync xattr::listxattr, Full;
    195 llistxattr(path: PathPtr, list: BytesOut, size: usize) => sync xattr::llistxattr, Full;
    196 flistxattr(fd: Fd, list: BytesOut, size: usize) => sync xattr::flistxattr, Full;
    197 removexattr(path: PathPtr, name: PathPtr) => sync xattr::removexattr, Full;
    198 lremovexattr(path: PathPtr, name: PathPtr) => sync xattr::lremovexattr, Full;
    199 fremovexattr(fd: Fd, name: PathPtr) => sync xattr::fremovexattr, Full;
    200 tkill(tid: i32, sig: Signal) => sync signal::tkill, Full;
    201 time(tloc: GuestAddr) => sync time::time, Full;
    202 futex(uaddr: GuestAddr, op: Flags, val: u32, timeout: GuestAddr, uaddr2: GuestAddr, val3: u32) => async futex::futex, Full;
    203 sched_setaffinity(pid: i32, cpusetsize: usize, mask: GuestAddr) => sync sched::sched_setaffinity, Partial("kept, but the host schedules");
    204 sched_getaffinity(pid: i32, cpusetsize: usize, mask: GuestAddr) => sync sched::sched_getaffinity, Full;
    205 set_thread_area(u_info: GuestAddr) => fails ENOSYS;
    206 io_setup(nr_events: u32, ctx_idp: GuestAddr) => async aio::io_setup, Full;
    207 io_destroy(ctx_id: u64) => async aio::io_destroy, Full;
    208 io_getevents(ctx_id: u64, min_nr: i64, nr: i64, events: GuestAddr, timeout: Time) => async aio::io_getevents, Full;
    209 io_submit(ctx_id: u64, nr: i64, iocbpp: GuestAddr) => sync aio::io_submit, Full;
    210 io_cancel(ctx_id: u64, iocb: GuestAddr, result: GuestAddr) => sync aio::io_cancel, Partial("nothing can be cancelled");
    211 get_thread_area(u_info: GuestAddr) => fails ENOSYS;
    212 lookup_dcookie(cookie: u64, buffer: GuestAddr, len: usize) => fails ENOSYS;
    213 epoll_create(size: i32) => sync poll::epoll_create, Full;
    214 epoll_ctl_old() => fails ENOSYS;
    215 epoll_wait_old() => fails ENOSYS;
    216 remap_file_pages(addr: GuestAddr, size: u64, prot: Protection, pgoff: u64, flags: Flags) => async memory::remap_file_pages, Full;
    217 getdents64(fd: Fd, dirp: GuestAddr, count: u32) => sync dirs::getdents64, Full;
    218 set_tid_address(tidptr: GuestAddr) => sync thread::set_tid_address, Full;
    219 restart_syscall() => async misc::restart_syscall, Full;
    220 semtimedop(semid: i32, sops: GuestAddr, nsops: usize, timeout: Time) => boxed ipc::semtimedop, Full;
    221 fadvise64(fd: Fd, offset: i64, len: i64, advice: u32) => sync sync::fadvise64, Full;
    222 timer_create(clockid: Clock, sevp: GuestAddr, timerid: GuestAddr) => sync time::timer_create, Full;
    223 timer_settime(timerid: i32, flags: Flags, new_value: GuestAddr, old_value: GuestAddr) => sync time::timer_settime, Full;
    224 timer_gettime(timerid: i32, curr_value: GuestAddr) => sync time::timer_gettime, Full;
    225 timer_getoverrun(timerid: i32) => sync time::timer_getoverrun, Full;
    226 timer_delete(timerid: i32) => sync time::timer_delete, Full;
    227 clock_settime(clockid: Clock, tp: Time) => sync time::clock_settime, Partial("always EPERM");
    228 clock_gettime(clockid: Clock, tp: Time) => sync time::clock_gettime, Full;
    229 clock_getres(clockid: Clock, res: Time) => sync time::clock_getres, Full;
    230 clock_nanosleep(clockid: Clock, flags: Flags, request: Time, remain: Time) => async time::clock_nanosleep, Full;
    231 exit_group(status: i32) => sync process::exit_group, Full;
    232 epoll_wait(epfd: Fd, events: GuestAddr, maxevents: i32, timeout: i32) => async poll::epoll_wait, Full;
    233 epoll_ctl(epfd: Fd, op: i32, fd: Fd, event: GuestAddr) => sync poll::epoll_ctl, Full;
    234 tgkill(tgid: i32, tid: i32, sig: Signal) => sync signal::tgkill, Full;
    235 utimes(filename: PathPtr, times: GuestAddr) => sync attr::utimes, Full;
    236 vserver() => fails ENOSYS;
    237 mbind(addr: GuestAddr, len: u64, mode: i32, nodemask: GuestAddr, maxnode: u64, flags: Flags) => sync memory::mbind, Full;
    238 set_mempolicy(mode: i32, nodemask: GuestAddr, maxnode: u64) => sync memory::set_mempolicy, Full;
    239 get_mempolicy(mode: GuestAddr, nodemask: GuestAddr, maxnode: u64, addr: GuestAddr, flags: Flags) => sync memory::get_mempolicy, Full;
    240 mq_open(name: PathPtr, oflag: OpenMode, mode: Mode, attr: GuestAddr) => sync ipc::mq_open, Full;
    241 mq_unlink(name: PathPtr) => sync ipc::mq_unlink, Full;
    242 mq_timedsend(mqdes: Fd, msg_ptr: BytesIn, msg_len: usize, msg_prio: u32, abs_timeout: Time) => boxed ipc::mq_timedsend, Full;
    243 mq_timedreceive(mqdes: Fd, msg_ptr: BytesOut, msg_len: usize, msg_prio: GuestAddr, abs_timeout: Time) => boxed ipc::mq_timedreceive, Full;
    244 mq_notify(mqdes: Fd, sevp: GuestAddr) => sync ipc::mq_notify, Partial("no notification by thread");
    245 mq_getsetattr(mqdes: Fd, newattr: GuestAddr, oldattr: GuestAddr) => sync ipc::mq_getsetattr, Full;
    246 kexec_load(entry: u64, nr_segments: u64, segments: GuestAddr, flags: LongFlags) => fails EPERM;
    247 waitid(idtype: i32, id: i32, infop: GuestAddr, options: Flags, rusage: GuestAddr) => async process::waitid, Full;
    248 add_key(kind: PathPtr, description: PathPtr, payload: GuestAddr, plen: usize, keyring: i32) => sync keys::add_key, Full;
    249 request_key(kind: PathPtr, description: PathPtr, callout_info: PathPtr, dest_keyring: i32) => sync keys::request_key, Partial("nobody is asked to make a key");
    250 keyctl(operation: i32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) => sync keys::keyctl, Partial("no persistent keyrings, no public-key operations, no notifications");
    251 ioprio_set(which: i32, who: i32, ioprio: i32) => sync sched::ioprio_set, Full;
    252 ioprio_get(which: i32, who: i32) => sync sched::ioprio_get, Full;
    253 inotify_init() => sync inotify::inotify_init, Full;
    254 inotify_add_watch(fd: Fd, pathname: PathPtr, mask: Flags) => sync inotify::inotify_add_watch, Full;
    255 inotify_rm_watch(fd: Fd, wd: i32) => sync inotify::inotify_rm_watch, Full;
    256 migrate_pages(pid: i32, maxnode: u64, old_nodes: GuestAddr, new_nodes: GuestAddr) => sync memory::migrate_pages, Full;
    257 openat(dirfd: Fd, pathname: PathPtr, flags: OpenMode, mode: Mode) => async open::openat, Full;
    258 mkdirat(dirfd: Fd, pathname: PathPtr, mode: Mode) => sync tree::mkdirat, Full;
    259 mknodat(dirfd: Fd, pathname: PathPtr, mode: Mode, dev: u32) => sync tree::mknodat, Full;
    260 fchownat(dirfd: Fd, pathname: PathPtr, owner: i32, group: i32, flags: AtFlags) => sync attr::fchownat, Full;
    261 futimesat(dirfd: Fd, pathname: PathPtr, times: GuestAddr) => sync attr::futimesat, Full;
    262 newfstatat(dirfd: Fd, pathname: PathPtr, statbuf: GuestAddr, flags: AtFlags) => sync stat::newfstatat, Full;
    263 unlinkat(dirfd: Fd, pathname: PathPtr, flags: Flags) => sync tree::unlinkat, Full;
    264 renameat(olddirfd: Fd, oldpath: PathPtr, newdirfd: Fd, newpath: PathPtr) => sync tree::renameat, Full;
    265 linkat(olddirfd: Fd, oldpath: PathPtr, newdirfd: Fd, newpath: PathPtr, flags: AtFlags) => sync tree::linkat, Full;
    266 symlinkat(target: PathPtr, newdirfd: Fd, linkpath: PathPtr) => sync tree::symlinkat, Full;
    267 readlinkat(dirfd: Fd, pathname: PathPtr, buf: BytesOut, bufsiz: i32) => sync stat::readlinkat, Full;
    268 fchmodat(dirfd: Fd, pathname: PathPtr, mode: Mode) => sync attr::fchmodat, Full;
    269 faccessat(dirfd: Fd, pathname: PathPtr, mode: u32) => sync stat::faccessat, Full;
    270 pselect6(nfds: i32, readfds: GuestAddr, writefds: GuestAddr, exceptfds: GuestAddr, timeout: Time, sigmask: GuestAddr) => async poll::pselect6, Full;
    271 ppoll(fds: GuestAddr, nfds: u32, timeout: Time, sigmask: SignalSet, sigsetsize: usize) => async poll::ppoll, Full;
    272 unshare(flags: LongFlags) => sync process::unshare, Partial("time namespaces do not shift clocks");
    273 set_robust_list(head: GuestAddr, len: usize) => sync futex::set_robust_list, Full;
    274 get_robust_list(pid: i32, head_ptr: GuestAddr, len_ptr: GuestAddr) => sync futex::get_robust_list, Full;
    275 splice(fd_in: Fd, off_in: GuestAddr, fd_out: Fd, off_out: GuestAddr, size: usize, flags: Flags) => async splice::splice, Full;
    276 tee(fd_in: Fd, fd_out: Fd, size: usize, flags: Flags) => async splice::tee, Full;
    277 sync_file_range(fd: Fd, offset: i64, nbytes: i64, flags: Flags) => async sync::sync_file_range, Full;
    278 vmsplice(fd: Fd, iov: GuestAddr, nr_segs: usize, flags: Flags) => async splice::vmsplice, Full;
    279 move_pages(pid: i32, count: u64, pages: GuestAddr, nodes: GuestAddr, status: GuestAddr, flags: Flags) => sync memory::move_pages, Full;
    280 utimensat(dirfd: Fd, pathname: PathPtr, times: GuestAddr, flags: AtFlags) => sync attr::utimensat, Full;
    281 epoll_pwait(epfd: Fd, events: GuestAddr, maxevents: i32, timeout: i32, sigmask: SignalSet, sigsetsize: usize) => async poll::epoll_pwait, Full;
    282 signalfd(fd: Fd, mask: SignalSet, sizemask: usize) => sync signal::signalfd, Full;
    283 timerfd_create(clockid: Clock, flags: Flags) => sync streams::timerfd_create, Full;
    284 eventfd(initval: u32) => sync streams::eventfd, Full;
    285 fallocate(fd: Fd, mode: Flags, offset: i64, size: i64) => sync attr::fallocate, Full;
    286 timerfd_settime(fd: Fd, flags: Flags, new_value: GuestAddr, old_value: GuestAddr) => sync streams::timerfd_settime, Full;
    287 timerfd_gettime(fd: Fd, curr_value: GuestAddr) => sync streams::timerfd_gettime, Full;
    288 accept4(sockfd: Fd, addr: GuestAddr, addrlen: GuestAddr, flags: Flags) => async socket::accept4, Full;
    289 signalfd4(fd: Fd, mask: SignalSet, sizemask: usize, flags: Flags) => sync signal::signalfd4, Full;
    290 eventfd2(initval: u32, flags: Flags) => sync streams::eventfd2, Full;
    291 epoll_create1(flags: Flags) => sync poll::epoll_create1, Full;
    292 dup3(oldfd: Fd, newfd: Fd, flags: OpenMode) => sync open::dup3, Full;
    293 pipe2(pipefd: FdPair, flags: OpenMode) => sync streams::pipe2, Full;
    294 inotify_init1(flags: Flags) => sync inotify::inotify_init1, Full;
    295 preadv(fd: Fd, iov: GuestAddr, iovcnt: usize, pos_l: i64, pos_h: u64) => async io::preadv, Full;
    296 pwritev(fd: Fd, iov: GuestAddr, iovcnt: usize, pos_l: i64, pos_h: u64) => async io::pwritev, Full;
    297 rt_tgsigqueueinfo(tgid: i32, tid: i32, sig: Signal, info: GuestAddr) => sync signal::rt_tgsigqueueinfo, Full;
    298 perf_event_open(attr: GuestAddr, pid: i32, cpu: i32, group_fd: Fd, flags: LongFlags) => fails EACCES;
    299 recvmmsg(sockfd: Fd, msgvec: GuestAddr, vlen: u32, flags: Flags, timeout: Time) => boxed socket::recvmmsg, Full;
    300 fanotify_init(flags: Flags, event_f_flags: OpenMode) => sync fanotify::fanotify_init, Partial("no permission events");
    301 fanotify_mark(fanotify_fd: Fd, flags: Flags, mask: LongFlags, dirfd: Fd, pathname: PathPtr) => sync fanotify::fanotify_mark, Partial("no permission events");
    302 prlimit64(pid: i32, resource: Resource, new_limit: GuestAddr, old_limit: GuestAddr) => sync limits::prlimit64, Full;
    303 name_to_handle_at(dirfd: Fd, pathname: PathPtr, handle: GuestAddr, mount_id: GuestAddr, flags: AtFlags) => sync handle::name_to_handle_at, Full;
    304 open_by_handle_at(mount_fd: Fd, handle: GuestAddr, flags: OpenMode) => sync handle::open_by_handle_at, Full;
    305 clock_adjtime(clockid: Clock, buf: GuestAddr) => sync time::clock_adjtime, Partial("nothing can be set");
    306 syncfs(fd: Fd) => async sync::syncfs, Full;
    307 sendmmsg(sockfd: Fd, msgvec: GuestAddr, vlen: u32, flags: Flags) => boxed socket::sendmmsg, Full;
    308 setns(fd: Fd, nstype: Flags) => sync process::setns, Partial("time namespaces do not shift clocks");
    309 getcpu(cpu: GuestAddr, node: GuestAddr, tcache: GuestAddr) => sync misc::getcpu, Full;
    310 process_vm_readv(pid: i32, local_iov: GuestAddr, liovcnt: u64, remote_iov: GuestAddr, riovcnt: u64, flags: LongFlags) => sync memory::process_vm_readv, Full;
    311 process_vm_writev(pid: i32, local_iov: GuestAddr, liovcnt: u64, remote_iov: GuestAddr, riovcnt: u64, flags: LongFlags) => sync memory::process_vm_writev, Full;
    312 kcmp(pid1: i32, pid2: i32, kind: i32, idx1: u64, idx2: u64) => sync misc::kcmp, Partial("KCMP_EPOLL_TFD");
    313 finit_module(fd: Fd, param_values: PathPtr, flags: Flags) => fails EPERM;
    314 sched_setattr(pid: i32, attr: GuestAddr, flags: Flags) => sync sched::sched_setattr, Full;
    315 sched_getattr(pid: i32, attr: GuestAddr, size: u32, flags: Flags) => sync sched::sched_getattr, Full;
    316 renameat2(olddirfd: Fd, oldpath: PathPtr, newdirfd: Fd, newpath: PathPtr, flags: Flags) => sync tree::renameat2, Full;
    317 seccomp(operation: u32, flags: Flags, args: GuestAddr) => sync seccomp::seccomp, Full;
    318 getrandom(buf: BytesOut, buflen: usize, flags: Flags) => sync misc::getrandom, Full;
    319 memfd_create(name: PathPtr, flags: Flags) => sync streams::memfd_create, Partial("no huge pages");
    320 kexec_file_load(kernel_fd: Fd, initrd_fd: Fd, cmdline_len: u64, cmdline: PathPtr, flags: LongFlags) => fails EPERM;
    321 bpf(cmd: i32, attr: GuestAddr, size: u32) => fails EPERM;
    322 execveat(dirfd: Fd, pathname: PathPtr, argv: Strings, envp: GuestAddr, flags: AtFlags) => boxed process::execveat, Full;
    323 userfaultfd(flags: Flags) => fails ENOSYS;
    324 membarrier(cmd: i32, flags: Flags, cpu_id: i32) => async memory::membarrier, Full;
    325 mlock2(addr: GuestAddr, len: u64, flags: Flags) => async memory::mlock2, Full;
    326 copy_file_range(fd_in: Fd, off_in: GuestAddr, fd_out: Fd, off_out: GuestAddr, size: usize, flags: Flags) => async splice::copy_file_range, Full;
    327 preadv2(fd: Fd, iov: GuestAddr, iovcnt: usize, pos_l: i64, pos_h: u64, flags: Flags) => async io::preadv2, Partial("no RWF_ATOMIC");
    328 pwritev2(fd: Fd, iov: GuestAddr, iovcnt: usize, pos_l: i64, pos_h: u64, flags: Flags) => async io::pwritev2, Partial("no RWF_ATOMIC");
    329 pkey_mprotect(addr: GuestAddr, len: u64, prot: Protection, pkey: i32) => async memory::pkey_mprotect, Full;
    330 pkey_alloc(flags: Flags, access_rights: Flags) => sync memory::pkey_alloc, Full;
    331 pkey_free(pkey: i32) => sync memory::pkey_free, Full;
    332 statx(dirfd: Fd, pathname: PathPtr, flags: AtFlags, mask: Flags, statxbuf: GuestAddr) => sync stat::statx, Full;
    333 io_pgetevents(ctx_id: u64, min_nr: i64, nr: i64, events: GuestAddr, timeout: Time, usig: GuestAddr) => async aio::io_pgetevents, Full;
    334 rseq(area: GuestAddr, rseq_len: u32, flags: Flags, sig: Flags) => fails ENOSYS;
    424 pidfd_send_signal(pidfd: Fd, sig: Signal, info: GuestAddr, flags: Flags) => sync process::pidfd_send_signal, Full;
    425 io_uring_setup(entries: u32, params: GuestAddr) => fails ENOSYS;
    426 io_uring_enter(fd: Fd, to_submit: u32, min_complete: u32, flags: Flags, sig: GuestAddr, sigsz: usize) => fails ENOSYS;
    427 io_uring_register(fd: Fd, opcode: u32, arg: GuestAddr, nr_args: u32) => fails ENOSYS;
    428 open_tree(dirfd: Fd, pathname: PathPtr, flags: Flags) => sync mount_fd::open_tree, Full;
    429 move_mount(from_dirfd: Fd, from_pathname: PathPtr, to_dirfd: Fd, to_pathname: PathPtr, flags: Flags) => sync mount_fd::move_mount, Partial("no MOVE_MOUNT_SET_GROUP and BENEATH");
    430 fsopen(fsname: PathPtr, flags: Flags) => sync mount_fd::fsopen, Full;
    431 fsconfig(fs_fd: Fd, cmd: u32, key: PathPtr, value: GuestAddr, aux: i32) => sync mount_fd::fsconfig, Partial("no messages, no FSCONFIG_SET_FD and SET_BINARY");
    432 fsmount(fs_fd: Fd, flags: Flags, attr_flags: Flags) => sync mount_fd::fsmount, Full;
    433 fspick(dirfd: Fd, pathname: PathPtr, flags: Flags) => sync mount_fd::fspick, Full;
    434 pidfd_open(pid: i32, flags: Flags) => sync process::pidfd_open, Full;
    435 clone3(cl_args: GuestAddr, size: usize) => boxed process::clone3, Partial("CLONE_INTO_CGROUP");
    436 close_range(first: u32, last: u32, flags: Flags) => sync open::close_range, Full;
    437 openat2(dirfd: Fd, pathname: PathPtr, how: GuestAddr, size: usize) => async open::openat2, Full;
    438 pidfd_getfd(pidfd: Fd, targetfd: Fd, flags: Flags) => sync process::pidfd_getfd, Full;
    439 faccessat2(dirfd: Fd, pathname: PathPtr, mode: u32, flags: AtFlags) => sync stat::faccessat2, Full;
    440 process_madvise(pidfd: Fd, iovec: GuestAddr, vlen: usize, advice: i32, flags: Flags) => boxed memory::process_madvise, Full;
    441 epoll_pwait2(epfd: Fd, events: GuestAddr, maxevents: i32, timeout: Time, sigmask: SignalSet, sigsetsize: usize) => async poll::epoll_pwait2, Full;
    442 mount_setattr(dirfd: Fd, pathname: PathPtr, flags: AtFlags, attr: GuestAddr, size: usize) => sync mount_fd::mount_setattr, Partial("no idmapped mounts");
    443 quotactl_fd(fd: Fd, cmd: Flags, id: i32, addr: GuestAddr) => sync quota::quotactl_fd, Partial("no quotas are kept");
    444 landlock_create_ruleset(attr: GuestAddr, size: usize, flags: Flags) => fails ENOSYS;
    445 landlock_add_rule(ruleset_fd: Fd, rule_type: i32, rule_attr: GuestAddr, flags: Flags) => fails ENOSYS;
    446 landlock_restrict_self(ruleset_fd: Fd, flags: Flags) => fails ENOSYS;
    447 memfd_secret(flags: Flags) => sync streams::memfd_secret, Partial("calls on other processes reach it");
    448 process_mrelease(pidfd: Fd, flags: Flags) => fails ENOSYS;
    449 futex_waitv(waiters: GuestAddr, nr_futexes: u32, flags: Flags, timeout: Time, clockid: Clock) => async futex::futex_waitv, Full;
    450 set_mempolicy_home_node(start: GuestAddr, len: u64, home_node: u64, flags: LongFlags) => sync memory::set_mempolicy_home_node, Full;
    451 cachestat(fd: Fd, range: GuestAddr, cstat: GuestAddr, flags: Flags) => sync sync::cachestat, Partial("everything counts as cached");
    452 fchmodat2(dirfd: Fd, pathname: PathPtr, mode: Mode, flags: AtFlags) => sync attr::fchmodat2, Full;
    453 map_shadow_stack(addr: GuestAddr, size: u64, flags: Flags) => fails EOPNOTSUPP;
    454 futex_wake(uaddr: GuestAddr, mask: LongFlags, nr: i32, flags: Flags) => sync futex::futex_wake, Full;
    455 futex_wait(uaddr: GuestAddr, val: u64, mask: LongFlags, flags: Flags, timeout: Time, clockid: Clock) => async futex::futex_wait, Full;
    456 futex_requeue(waiters: GuestAddr, flags: Flags, nr_wake: i32, nr_requeue: i32) => sync futex::futex_requeue, Full;
    457 statmount(req: GuestAddr, buf: GuestAddr, bufsize: usize, flags: Flags) => sync mount_info::statmount, Partial("only the own namespace");
    458 listmount(req: GuestAddr, mnt_ids: GuestAddr, nr_mnt_ids: usize, flags: Flags) => sync mount_info::listmount, Partial("only the own namespace");
    459 lsm_get_self_attr(attr: u32, ctx: GuestAddr, size: GuestAddr, flags: Flags) => fails EOPNOTSUPP;
    460 lsm_set_self_attr(attr: u32, ctx: GuestAddr, size: u32, flags: Flags) => fails EOPNOTSUPP;
    461 lsm_list_modules(ids: GuestAddr, size: GuestAddr, flags: Flags) => fails EOPNOTSUPP;
    462 mseal(addr: GuestAddr, len: u64, flags: LongFlags) => async memory::mseal, Full;
    463 setxattrat(dirfd: Fd, pathname: PathPtr, flags: AtFlags, name: PathPtr, args: GuestAddr, size: usize) => sync xattr::setxattrat, Full;
    464 getxattrat(dirfd: Fd, pathname: PathPtr, flags: AtFlags, name: PathPtr, args: GuestAddr, size: usize) => sync xattr::getxattrat, Full;
    465 listxattrat(dirfd: Fd, pathname: PathPtr, flags: AtFlags, list: BytesOut, size: usize) => sync xattr::listxattrat, Full;
    466 removexattrat(dirfd: Fd, pathname: PathPtr, flags: AtFlags, name: PathPtr) => sync xattr::removexattrat, Full;
    467 open_tree_attr(dirfd: Fd, pathname: PathPtr, flags: Flags, attr: GuestAddr, size: usize) => sync mount_fd::open_tree_attr, Full;
    468 file_getattr(dirfd: Fd, pathname: PathPtr, attr: GuestAddr, size: usize, flags: AtFlags) => fails ENOSYS;
    469 file_setattr(dirfd: Fd, pathname: PathPtr, attr: GuestAddr, size: usize, flags: AtFlags) => fails ENOSYS;
}
