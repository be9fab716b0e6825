//! The kernel of one sandbox: what all its tasks share.
//!
//! Lock order (outermost first):
//!
//! ```text
//! Mm::ops (asynchronous, may be held across a wait)
//!   Kernel::tree
//!     ThreadGroup::exit
//!       ThreadGroup::signals
//!         Task::signals
//!           Interrupt, WaitQueue
//!   ThreadGroup::{limits, timers}, Task::{fs, files, cred, namespaces, pid}, Kernel::users: leaves
//!   PidNamespace numbers (a Pid may be dropped under any lock): leaf
//!   Mm::space: leaf
//! ```
//!
//! Nothing but `Mm::ops` is held across a wait: the guards are not `Send`, so the compiler sees to it.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use chitin_mm::platform::Platform;
use chitin_vfs::env::VfsShared;
use parking_lot::Mutex;

use crate::boot::Exits;
use crate::futex::FutexTable;
use crate::limits::users::Users;
use crate::namespace::UserNamespace;
use crate::namespace::pid::GlobalNumbers;
use crate::process::Tree;
use crate::scheduler::Scheduler;
use crate::syscalls::Unsupported;
use crate::syscalls::strace::Strace;
use crate::time::KernelClock;

/// Everything that is one per sandbox.
pub struct Kernel {
    /// Runs guest code.
    pub platform: Arc<dyn Platform>,
    /// Runs tasks, timers and host polling.
    pub scheduler: Scheduler,
    /// Time.
    pub clock: KernelClock,
    /// Randomness.
    pub random: Arc<dyn RandomSource>,
    /// Processes.
    pub tree: Mutex<Tree>,
    /// Numbers of tasks and processes.
    pub numbers: Arc<GlobalNumbers>,
    /// The initial user namespace.
    pub user_ns: Arc<UserNamespace>,
    /// How many processes each user has.
    pub users: Users,
    /// Futex waiters.
    pub futexes: FutexTable,
    /// Keys and keyrings.
    pub keys: crate::keys::Keys,
    /// What was called and not supported, by system-call number.
    pub unsupported: Unsupported,
    /// How processes ended that only the outside waits for.
    pub exits: Exits,
    /// Whether system calls are printed, and where.
    pub strace: Option<Strace>,
    /// Whether all guest threads stand still (`runsc pause`).
    pub frozen: Freezer,
    /// Devices, file-system types, locks, clocks of files.
    pub vfs: Arc<VfsShared>,
    /// Mounts whose container has not started.
    pub unbound: crate::sys::unbound::Unbound,
    /// What was written below /proc/sys.
    pub sysctls: crate::proc::sysctl::Store,
    /// Numbers of shared anonymous memory.
    pub object_ids: Arc<AtomicU64>,
    /// What the machine has.
    pub machine: Machine,
    /// Counters that /proc shows.
    pub counters: Counters,
    /// Monotonic time when it was made, nanoseconds.
    pub start_time: u64,
    next_object: AtomicU64,
}

/// `uname -s`.
pub const SYSNAME: &str = "Linux";
/// `uname -r`.
pub const RELEASE: &str = "6.12.0-chitin";
/// `uname -v`.
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC Mon Jan 6 00:00:00 UTC 2025";

/// What the sandbox shows of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Processors, numbered from 0.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
}

impl Machine {
    /// The host's processors that this process may use, and its memory. Two host calls; to be made before the
    /// process confines itself.
    pub fn host() -> Self {
        let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        let info = rustix::system::sysinfo();
        let memory = u64::from(info.mem_unit).saturating_mul(info.totalram);
        Self { cpus: usize::try_from(allowed).unwrap_or(1).max(1), memory }
    }
}

/// Memory of the sandbox, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// All of it.
    pub total: u64,
    /// What nobody uses.
    pub free: u64,
}

/// Where random bytes come from.
pub trait RandomSource: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// The host's generator: one host call for each 256 bytes.
pub struct HostRandom;

impl RandomSource for HostRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..)
            && !rest.is_empty()
        {
            match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
                Ok(count) => done += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    // Never happens on a Linux that has the call; nothing may look random that is not.
                    tracing::error!(%error, "the host gives no random bytes");
                    std::process::abort();
                }
            }
        }
    }
}

/// Counts of events since the start.
#[derive(Default)]
pub struct Counters {
    /// Processes and threads made.
    pub forks: AtomicU64,
    /// System calls answered.
    pub syscalls: AtomicU64,
}

/// Makes all guest threads stand still.
#[derive(Default)]
pub struct Freezer {
    frozen: AtomicBool,
    /// Notified when the threads may go on.
    pub thawed: Arc<chitin_vfs::wait::WaitQueue>,
}

impl Freezer {
    /// Whether guest threads stand still.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }

    /// Says whether they do; who freezes interrupts them afterwards.
    pub fn set(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
        if !frozen {
            self.thawed.notify(chitin_abi::poll::PollEvents::POLLIN);
        }
    }
}

/// What a kernel is made of.
pub struct KernelParts {
    /// Runs guest code.
    pub platform: Arc<dyn Platform>,
    /// Runs tasks.
    pub scheduler: Scheduler,
    /// Time.
    pub clock: KernelClock,
    /// Randomness.
    pub random: Arc<dyn RandomSource>,
    /// What the machine has.
    pub machine: Machine,
    /// Whether system calls are printed.
    pub strace: Option<Strace>,
}

impl Kernel {
    /// A kernel without processes.
    pub fn new(parts: KernelParts) -> Arc<Self> {
        let kernel = Arc::new(Self {
            platform: parts.platform,
            scheduler: parts.scheduler,
            start_time: parts.clock.monotonic(),
            vfs: VfsShared::new(Arc::new(parts.clock.clone())),
            clock: parts.clock,
            random: parts.random,
            tree: Mutex::default(),
            numbers: Arc::default(),
            user_ns: UserNamespace::initial(),
            users: Users::default(),
            futexes: FutexTable::default(),
            keys: crate::keys::Keys::default(),
            unsupported: Unsupported::default(),
            exits: Exits::default(),
            strace: parts.strace,
            frozen: Freezer::default(),
            unbound: crate::sys::unbound::Unbound::default(),
            sysctls: crate::proc::sysctl::Store::default(),
            object_ids: Arc::new(AtomicU64::new(1)),
            machine: parts.machine,
            counters: Counters::default(),
            next_object: AtomicU64::new(1),
        });
        crate::sys::register(&kernel);
        kernel
    }

    /// A number that no other object of this sandbox has (shared mappings, timers).
    pub fn next_object_id(&self) -> u64 {
        self.next_object.fetch_add(1, Ordering::Relaxed)
    }

    /// How much memory there is and is free: one host call for each address space.
    pub fn memory(&self) -> MemoryInfo {
        let members: Vec<_> =
            self.tree.lock().processes().filter_map(|(_, entry)| entry.member().cloned()).collect();
        let used = members.iter().filter_map(|member| member.mm());
        let used = used.fold(0u64, |sum, mm| sum.saturating_add(mm.host().resident().0));
        let total = self.machine.memory;
        MemoryInfo { total, free: total.saturating_sub(used) }
    }

    /// `/proc/loadavg`'s three figures, in 1/65536. Nothing is sampled, because an idle sandbox must not wake:
    /// the load is always shown as zero.
    pub fn load_averages(&self) -> [u64; 3] {
        [0; 3]
    }

    /// The inode number of a new namespace.
    pub fn next_namespace_id(&self) -> u64 {
        crate::namespace::namespace_id(self.next_object_id())
    }
}
