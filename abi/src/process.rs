//! Processes: `clone(2)`, `wait(2)`, limits, `prctl(2)`, capabilities, seccomp, tracing, rseq.

use crate::time::Timeval;

pub use crate::arch::AUDIT_ARCH;
pub use crate::arch::prctl::*;
pub use crate::consts::clone::*;
pub use crate::consts::cred::*;
pub use crate::consts::prctl::*;
pub use crate::consts::ptrace::*;
pub use crate::consts::sched::*;
pub use crate::consts::seccomp::*;

c_struct! {
    /// `struct clone_args`.
    pub struct CloneArgs {
        pub flags: u64,
        pub pidfd: u64,
        pub child_tid: u64,
        pub parent_tid: u64,
        pub exit_signal: u64,
        pub stack: u64,
        pub stack_size: u64,
        pub tls: u64,
        pub set_tid: u64,
        pub set_tid_size: u64,
        pub cgroup: u64,
    }
}

c_struct! {
    /// `struct rusage`.
    pub struct Rusage {
        pub ru_utime: Timeval,
        pub ru_stime: Timeval,
        pub ru_maxrss: i64,
        pub ru_ixrss: i64,
        pub ru_idrss: i64,
        pub ru_isrss: i64,
        pub ru_minflt: i64,
        pub ru_majflt: i64,
        pub ru_nswap: i64,
        pub ru_inblock: i64,
        pub ru_oublock: i64,
        pub ru_msgsnd: i64,
        pub ru_msgrcv: i64,
        pub ru_nsignals: i64,
        pub ru_nvcsw: i64,
        pub ru_nivcsw: i64,
    }
}

c_struct! {
    /// `struct rlimit64`.
    pub struct Rlimit {
        pub cur: u64,
        pub max: u64,
    }
}

/// No limit.
pub const RLIM64_INFINITY: u64 = u64::MAX;

c_struct! {
    /// `struct __user_cap_header_struct`.
    pub struct CapHeader {
        pub version: u32,
        pub pid: i32,
    }
}

c_struct! {
    /// `struct __user_cap_data_struct`.
    pub struct CapData {
        pub effective: u32,
        pub permitted: u32,
        pub inheritable: u32,
    }
}

c_struct! {
    /// `struct sock_filter`.
    pub struct SockFilter {
        pub code: u16,
        pub jt: u8,
        pub jf: u8,
        pub k: u32,
    }
}

c_struct! {
    /// `struct sock_fprog`.
    pub struct SockFprog {
        pub len: u16,
        pub pad0: u16,
        pub pad1: u32,
        pub filter: u64,
    }
}

c_struct! {
    /// `struct sched_attr`.
    pub struct SchedAttr {
        pub size: u32,
        pub sched_policy: u32,
        pub sched_flags: u64,
        pub sched_nice: i32,
        pub sched_priority: u32,
        pub sched_runtime: u64,
        pub sched_deadline: u64,
        pub sched_period: u64,
        pub sched_util_min: u32,
        pub sched_util_max: u32,
    }
}

/// The same as [`RLIM64_INFINITY`].
pub const RLIM_INFINITY: u64 = u64::MAX;
/// Bytes of a task's name with its NUL (`PR_SET_NAME`).
pub const TASK_COMM_LEN: usize = 16;
/// Groups that a task may have (`setgroups(2)`).
pub const NGROUPS_MAX: usize = 65536;
/// The highest process id that the kernel can be configured for.
pub const PID_MAX_LIMIT: u32 = 4_194_304;
/// Most processes of a user when nothing else is said (`RLIMIT_NPROC` of the first process).
pub const NOFILE_MAX: u64 = 1_048_576;
/// Longest argument or environment string of `execve(2)`.
pub const MAX_ARG_STRLEN: usize = 131_072;

c_struct! {
    /// `struct seccomp_data`: what a filter sees.
    pub struct SeccompData {
        pub nr: i32,
        pub arch: u32,
        pub instruction_pointer: u64,
        pub args: [u64; 6],
    }
}

c_struct! {
    /// `struct seccomp_notif`.
    pub struct SeccompNotif {
        pub id: u64,
        pub pid: u32,
        pub flags: u32,
        pub data: SeccompData,
    }
}

c_struct! {
    /// `struct seccomp_notif_resp`.
    pub struct SeccompNotifResp {
        pub id: u64,
        pub val: i64,
        pub error: i32,
        pub flags: u32,
    }
}

c_struct! {
    /// `struct seccomp_notif_addfd`.
    pub struct SeccompNotifAddfd {
        pub id: u64,
        pub flags: u32,
        pub srcfd: u32,
        pub newfd: u32,
        pub newfd_flags: u32,
    }
}

c_struct! {
    /// `struct seccomp_notif_sizes`.
    pub struct SeccompNotifSizes {
        pub seccomp_notif: u16,
        pub seccomp_notif_resp: u16,
        pub seccomp_data: u16,
    }
}

c_struct! {
    /// `struct rseq`: the part that every kernel since the call's first version knows.
    pub struct Rseq {
        pub cpu_id_start: u32,
        pub cpu_id: u32,
        pub rseq_cs: u64,
        pub flags: u32,
        pub node_id: u32,
        pub mm_cid: u32,
        pub pad: u32,
    }
}

c_struct! {
    /// `struct rseq_cs`: a restartable sequence.
    pub struct RseqCs {
        pub version: u32,
        pub flags: u32,
        pub start_ip: u64,
        pub post_commit_offset: u64,
        pub abort_ip: u64,
    }
}

c_struct! {
    /// `struct ptrace_syscall_info`; what `data` holds depends on `op`.
    pub struct PtraceSyscallInfo {
        pub op: u8,
        pub reserved: u8,
        pub flags: u16,
        pub arch: u32,
        pub instruction_pointer: u64,
        pub stack_pointer: u64,
        pub data: [u64; 8],
    }
}

c_struct! {
    /// `struct ptrace_peeksiginfo_args`.
    pub struct PtracePeeksiginfoArgs {
        pub off: u64,
        pub flags: u32,
        pub nr: i32,
    }
}

c_struct! {
    /// `struct ptrace_rseq_configuration`.
    pub struct PtraceRseqConfiguration {
        pub rseq_abi_pointer: u64,
        pub rseq_abi_size: u32,
        pub signature: u32,
        pub flags: u32,
        pub pad: u32,
    }
}

c_struct! {
    /// `struct prctl_mm_map` of `PR_SET_MM_MAP`.
    pub struct PrctlMmMap {
        pub start_code: u64,
        pub end_code: u64,
        pub start_data: u64,
        pub end_data: u64,
        pub start_brk: u64,
        pub brk: u64,
        pub start_stack: u64,
        pub arg_start: u64,
        pub arg_end: u64,
        pub env_start: u64,
        pub env_end: u64,
        pub auxv: u64,
        pub auxv_size: u32,
        pub exe_fd: u32,
    }
}

c_struct! {
    /// `struct kcmp_epoll_slot`.
    pub struct KcmpEpollSlot {
        pub efd: u32,
        pub tfd: u32,
        pub toff: u32,
    }
}

c_struct! {
    /// `struct sched_param`.
    pub struct SchedParam {
        pub sched_priority: i32,
    }
}

/// Sizes of `struct sched_attr`: the first version and the one with utilisation hints.
pub const SCHED_ATTR_SIZE_VER0: u32 = 48;
/// The second version.
pub const SCHED_ATTR_SIZE_VER1: u32 = 56;

/// The status that `wait4(2)` reports for a process that exited.
pub const fn w_exitcode(code: u8) -> i32 {
    (code as i32) << 8
}

/// The status of a process that a signal killed.
pub const fn w_termsig(signal: u32, core_dumped: bool) -> i32 {
    (signal & 0x7f) as i32 | if core_dumped { 0x80 } else { 0 }
}

/// The status of a process that a signal stopped; `event` is a tracer's (`PTRACE_EVENT_…`) or zero.
pub const fn w_stopcode(signal: u32, event: u32) -> i32 {
    (((event & 0xff) << 16) | ((signal & 0xff) << 8) | 0x7f) as i32
}

/// The status of a process that continued.
pub const W_CONTINUED: i32 = 0xffff;
