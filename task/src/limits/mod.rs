//! What a process may use (`getrlimit(2)`), how it is to be scheduled, and what it may call (`seccomp(2)`).

pub mod bpf;
pub mod listener;
pub mod sched;
pub mod seccomp;
pub mod usage;
pub mod users;

use chitin_abi::process::{
    RLIM_NLIMITS, RLIM64_INFINITY, RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_MEMLOCK,
    RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_RTPRIO, RLIMIT_SIGPENDING,
    RLIMIT_STACK, Rlimit,
};
use chitin_abi::{Errno, Result};

pub use self::sched::SchedParams;
pub use self::seccomp::SeccompFilters;

/// The highest number that `RLIMIT_NOFILE` may be set to (`/proc/sys/fs/nr_open`).
pub const NR_OPEN: u64 = 1_048_576;

/// The resource limits of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    values: [Rlimit; RLIM_NLIMITS as usize],
}

impl Default for Limits {
    /// Those of a first process on Linux.
    fn default() -> Self {
        let unlimited = Rlimit { cur: RLIM64_INFINITY, max: RLIM64_INFINITY };
        let mut limits = Self { values: [unlimited; RLIM_NLIMITS as usize] };
        let fixed = |value| Rlimit { cur: value, max: value };
        for (resource, value) in [
            (RLIMIT_STACK, Rlimit { cur: 8 << 20, max: RLIM64_INFINITY }),
            (RLIMIT_CORE, Rlimit { cur: 0, max: RLIM64_INFINITY }),
            (RLIMIT_NPROC, fixed(32768)),
            (RLIMIT_NOFILE, Rlimit { cur: 1024, max: NR_OPEN }),
            (RLIMIT_MEMLOCK, fixed(8 << 20)),
            (RLIMIT_SIGPENDING, fixed(32768)),
            (RLIMIT_MSGQUEUE, fixed(819_200)),
            (RLIMIT_NICE, fixed(0)),
            (RLIMIT_RTPRIO, fixed(0)),
        ] {
            limits.replace(resource, value);
        }
        limits
    }
}

impl Limits {
    /// The limit of a resource.
    ///
    /// # Errors
    /// EINVAL for a number that is none.
    pub fn limit(&self, resource: u32) -> Result<Rlimit> {
        self.values.get(resource as usize).copied().ok_or(Errno::EINVAL)
    }

    /// The soft limit of a resource; none for a number that is none.
    pub fn soft(&self, resource: u32) -> u64 {
        self.limit(resource).map_or(RLIM64_INFINITY, |limit| limit.cur)
    }

    /// Replaces a limit without any check.
    pub fn replace(&mut self, resource: u32, limit: Rlimit) {
        if let Some(slot) = self.values.get_mut(resource as usize) {
            *slot = limit;
        }
    }

    /// One more than the highest descriptor.
    pub fn open_files(&self) -> u64 {
        self.soft(RLIMIT_NOFILE)
    }

    /// Whether CPU time is limited.
    pub fn has_cpu_limit(&self) -> bool {
        self.soft(RLIMIT_CPU) != RLIM64_INFINITY
    }

    /// How many signals may be queued.
    pub fn signals_pending(&self) -> u64 {
        self.soft(RLIMIT_SIGPENDING)
    }

    /// Bytes of address space.
    pub fn address_space(&self) -> u64 {
        self.soft(RLIMIT_AS)
    }

    /// Bytes of stack.
    pub fn stack(&self) -> u64 {
        self.soft(RLIMIT_STACK)
    }
}
