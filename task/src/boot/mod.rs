//! What runs a kernel from outside: making it, its first processes, and looking after them.
//!
//! The functions here are called by threads that are no workers of the scheduler (a control connection, `main`).
//! Those that start processes block until the program is loaded.

mod exits;
mod launch;
mod manage;
mod spec;

use std::io;
use std::sync::Arc;

use chitin_mm::platform::Platform;

pub use self::exits::{Exits, exit_code};
pub use self::launch::ExecError;
pub use self::manage::ProcessInfo;
pub use self::spec::{CapabilitySets, ContainerSpec, ProcessSpec};
use crate::kernel::{HostRandom, Kernel, KernelParts, Machine, RandomSource};
use crate::scheduler::Scheduler;
use crate::syscalls::strace::Strace;
use crate::time::KernelClock;

/// What a kernel is made with. The default has two workers, the host's clock, randomness and machine; it asks the
/// host, so it is to be made before the process confines itself.
pub struct BootConfig {
    /// Worker threads; no more than the platform was made for.
    pub workers: usize,
    /// Whether system calls are printed, and where.
    pub strace: Option<Strace>,
    /// Time.
    pub clock: KernelClock,
    /// Randomness.
    pub random: Arc<dyn RandomSource>,
    /// What the machine has.
    pub machine: Machine,
}

impl Default for BootConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            strace: None,
            clock: KernelClock::host(),
            random: Arc::new(HostRandom),
            machine: Machine::host(),
        }
    }
}

/// Makes a kernel and starts its workers.
///
/// # Errors
/// Those of making a thread.
pub fn boot(platform: Arc<dyn Platform>, config: BootConfig) -> io::Result<Arc<Kernel>> {
    let scheduler = Scheduler::new(&*platform, config.clock.clone(), config.workers);
    let kernel = Kernel::new(KernelParts {
        platform,
        scheduler: scheduler.clone(),
        clock: config.clock,
        random: config.random,
        machine: config.machine,
        strace: config.strace,
    });
    crate::terminal::install(&kernel);
    scheduler.start()?;
    Ok(kernel)
}
