//! The platform: address spaces without host processes, and a doorbell without stubs.

use core::future::ready;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chitin_abi::Result;
use chitin_mm::platform::{
    AddressSpace, Capabilities, Doorbell, GuestThread, Platform, PlatformFuture, ThreadState,
};
use chitin_mm::{GuestMemory, HostOp};
use parking_lot::{Condvar, Mutex};

use super::guest::{HandOver, Handle};
use super::memory::Memory;

/// The lowest address of guest memory.
pub(super) const MIN_ADDRESS: u64 = 0x1_0000;
/// The first address above guest memory. Behind it lies this process's own, so that no address is of both.
pub(super) const MAX_ADDRESS: u64 = 0x1000_0000_0000;

/// Guest threads that nobody plays yet, the oldest first.
pub(super) type Newborn = Mutex<VecDeque<(Arc<HandOver>, Arc<Memory>)>>;

/// The platform.
#[derive(Default)]
pub(super) struct Local {
    bells: Mutex<HashMap<usize, Arc<Bell>>>,
    /// Threads that the kernel has made.
    pub(super) newborn: Arc<Newborn>,
}

impl Platform for Local {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "local",
            min_address: MIN_ADDRESS,
            max_address: MAX_ADDRESS,
            vdso: None,
            xsave_size: 576,
            hwcap: 0,
            hwcap2: 0,
            min_signal_stack: 2048,
        }
    }

    fn new_address_space(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        let space: Arc<dyn AddressSpace> = Arc::new(Space::new(&self.newborn, Memory::default()));
        Box::pin(ready(Ok(space)))
    }

    fn doorbell(&self, worker: usize) -> Arc<dyn Doorbell> {
        Arc::clone(self.bells.lock().entry(worker).or_default()) as Arc<dyn Doorbell>
    }
}

/// A worker sleeps on a condition variable; guests wake tasks themselves.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Doorbell for Bell {
    fn collect(&self) -> usize {
        0
    }

    fn wait(&self, deadline: Option<u64>) {
        let mut rung = self.rung.lock();
        if !*rung {
            let now = chitin_task::time::KernelClock::host().monotonic();
            let left = deadline.map(|deadline| Duration::from_nanos(deadline.saturating_sub(now)));
            self.changed.wait_for(&mut rung, left.unwrap_or(Duration::from_secs(3600)));
        }
        *rung = false;
    }

    fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_all();
    }
}

struct Space {
    memory: Arc<Memory>,
    newborn: Arc<Newborn>,
    dead: Arc<AtomicBool>,
    /// Nanoseconds that its threads have used.
    cpu_time: Arc<AtomicU64>,
}

impl Space {
    fn new(newborn: &Arc<Newborn>, memory: Memory) -> Self {
        Self {
            memory: Arc::new(memory),
            newborn: Arc::clone(newborn),
            dead: Arc::default(),
            cpu_time: Arc::default(),
        }
    }
}

impl AddressSpace for Space {
    fn apply(&self, ops: Vec<HostOp>) -> PlatformFuture<'_, ()> {
        let result: Result<()> = ops.into_iter().try_for_each(|op| self.memory.apply(op));
        Box::pin(ready(result))
    }

    fn fork(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        let copy: Arc<dyn AddressSpace> = Arc::new(Self::new(&self.newborn, self.memory.fork()));
        Box::pin(ready(Ok(copy)))
    }

    fn spawn(&self, _state: ThreadState) -> PlatformFuture<'_, Box<dyn GuestThread>> {
        let shared = Arc::new(HandOver::new(&self.dead, &self.cpu_time));
        self.newborn.lock().push_back((Arc::clone(&shared), Arc::clone(&self.memory)));
        let thread: Box<dyn GuestThread> = Box::new(Handle::new(shared));
        Box::pin(ready(Ok(thread)))
    }

    fn memory(&self) -> &dyn GuestMemory {
        &*self.memory
    }

    fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    fn resident(&self) -> (u64, u64) {
        self.memory.resident()
    }

    fn cpu_time(&self) -> (u64, u64) {
        (self.cpu_time.load(Ordering::Relaxed), 0)
    }
}
