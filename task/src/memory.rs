//! A guest's address space: the bookkeeping of `mm`, the platform's side of it, and what `execve` left there.
//!
//! Lock order: `ops` (held across the host's operation, so that plans reach the host in the order in which
//! they were made) before `space` (never held across a wait).
//!
//! A plan reaches the host in one of two ways. The guest thread that asked carries it out itself, on its way back to the
//! guest ([`Mm::update_by`]), if that is all that is left to do; else the platform does it while the task waits
//! ([`Mm::update`]).
//!
//! Costs of an update: two uncontended locks; nothing else when the guest thread carries it out, else one round trip
//! to the host; none where the plan is empty.

pub mod named;

use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::Arc;

use async_lock::Mutex as AsyncMutex;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_mm::platform::{AddressSpace, Domain, GuestThread, host_failure};
use chitin_mm::space::{Plan, Planned, Released, Space, SpaceLimits, Undo};
use chitin_vfs::file::OpenFile;
use chitin_vfs::path::Path;
use chitin_vfs::walk::ExecFile;
use parking_lot::{Mutex, RwLock};

/// Facts about the running program, for /proc.
#[derive(Clone, Default)]
pub struct Image {
    /// The executable.
    pub exe: Option<Path>,
    /// The executable, kept open so that it cannot be written (`ETXTBSY`).
    pub exe_file: Option<Arc<OpenFile>>,
    /// What keeps it from being written.
    pub held: Option<Arc<ExecFile>>,
    /// `/proc/pid/cmdline`: start and end.
    pub args: (u64, u64),
    /// `/proc/pid/environ`: start and end.
    pub env: (u64, u64),
    /// The auxiliary vector as bytes.
    pub auxv: Vec<u8>,
    /// Code: start and end.
    pub code: (u64, u64),
    /// Data: start and end.
    pub data: (u64, u64),
    /// The initial stack pointer.
    pub stack: u64,
}

/// What is to be done when a guest thread could not carry out a plan itself.
pub struct Carried {
    undo: Option<Undo>,
    exact_errors: bool,
    /// What `brk(2)` returns then: the break as it was.
    brk: Option<u64>,
}

impl Carried {
    /// Whether it keeps nothing that others may wait for until the guest's next call.
    pub fn is_light(&self) -> bool {
        self.undo.as_ref().is_none_or(Undo::is_light)
    }

    /// Of `brk(2)`.
    pub fn with_brk(mut self, before: u64) -> Self {
        self.brk = Some(before);
        self
    }
}

/// The platform's side of an address space that nobody uses any more.
pub struct Remains {
    host: Arc<dyn AddressSpace>,
    heirs: Option<Domain>,
}

impl Remains {
    /// Ends it, or leaves it to its heirs.
    pub fn end(self) {
        match self.heirs {
            Some(heirs) => self.host.retire(&heirs),
            None => self.host.kill(),
        }
    }
}

/// An address space that tasks share.
pub struct Mm {
    /// The bookkeeping.
    pub space: Mutex<Space>,
    /// Held from planning to the host's answer.
    pub ops: AsyncMutex<()>,
    /// What runs in it.
    pub image: RwLock<Image>,
    /// `membarrier(2)` commands that the process has registered for.
    pub barriers: AtomicI32,
    /// Contexts of asynchronous I/O.
    pub aio: crate::syscalls::aio::Contexts,
    host: Arc<dyn AddressSpace>,
    users: AtomicUsize,
    /// CPU time of all its threads, once the last one has left.
    last_cpu: Mutex<Option<(u64, u64)>>,
}

impl Mm {
    /// An address space of which `host` is the platform's side.
    pub fn new(space: Space, host: Arc<dyn AddressSpace>, image: Image) -> Arc<Self> {
        Arc::new(Self {
            space: Mutex::new(space),
            ops: AsyncMutex::new(()),
            image: RwLock::new(image),
            barriers: AtomicI32::new(0),
            aio: Default::default(),
            host,
            users: AtomicUsize::new(0),
            last_cpu: Mutex::new(None),
        })
    }

    /// The platform's side.
    pub fn host(&self) -> &Arc<dyn AddressSpace> {
        &self.host
    }

    /// The guest's bytes.
    pub fn memory(&self) -> &dyn GuestMemory {
        self.host.memory()
    }

    /// A number that no other living address space has: private futexes go by it.
    pub fn id(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    /// A task begins to use it.
    pub fn attach(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
    }

    /// A task is done with it; the last one gives up the mappings. What is left of it then, and who may use that
    /// (`heirs`), is for that task to end, soon; dropping it does so too.
    pub fn detach(&self, heirs: impl FnOnce() -> Option<Domain>) -> Option<Remains> {
        let last = self.users.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            crate::syscalls::aio::close_all(&self.aio);
            *self.last_cpu.lock() = Some(self.host.cpu_time());
            let released = self.space.lock().clear();
            drop(released);
        }
        last.then(|| Remains { host: Arc::clone(&self.host), heirs: heirs() })
    }

    /// CPU time of all its threads, once the last one has left; for one who asks.
    pub fn take_last_cpu(&self) -> Option<(u64, u64)> {
        self.last_cpu.lock().take()
    }

    /// How many tasks use it.
    pub fn users(&self) -> usize {
        self.users.load(Ordering::SeqCst)
    }

    /// Says what the following calls are held to.
    pub fn set_limits(&self, limits: SpaceLimits) {
        self.space.lock().set_limits(limits);
    }

    /// Plans under the locks and has the host carry it out.
    ///
    /// # Errors
    /// What `plan` returns; ENOMEM and the like when the host cannot.
    pub async fn update<T>(&self, plan: impl FnOnce(&mut Space) -> Planned<T>) -> Result<T> {
        let ordered = self.ops.lock().await;
        let (result, released) = self.update_ordered(plan).await;
        drop(ordered);
        drop(released);
        result
    }

    /// The same for a caller that holds `ops`. What is returned besides the result is to be dropped outside of
    /// locks.
    pub async fn update_ordered<T>(
        &self,
        plan: impl FnOnce(&mut Space) -> Planned<T>,
    ) -> (Result<T>, (Released, Option<Undo>)) {
        let (result, plan) = {
            let mut space = self.space.lock();
            plan(&mut space)
        };
        self.carry_out(result, plan).await
    }

    /// Plans under the locks and lets the guest thread that asked, which stands still, carry it out when it goes on. What
    /// is returned besides the result is to be kept until then, for [`Mm::take_back`]; `None`: all is done.
    pub async fn update_by<T>(
        &self,
        thread: &mut dyn GuestThread,
        plan: impl FnOnce(&mut Space) -> Planned<T>,
    ) -> (Result<T>, Option<Carried>) {
        let ordered = self.ops.lock().await;
        let (result, plan) = {
            let mut space = self.space.lock();
            plan(&mut space)
        };
        let (result, released, carried) = if thread.carry(&plan.ops, &plan.optional) {
            let Plan { released, undo, exact_errors, .. } = plan;
            (result, (released, None), Some(Carried { undo, exact_errors, brk: None }))
        } else {
            let (result, released) = self.carry_out(result, plan).await;
            (result, released, None)
        };
        drop(ordered);
        drop(released);
        (result, carried)
    }

    /// Takes back what a plan assumed that a guest thread could not carry out; what the call that asked for it returns.
    pub async fn take_back(&self, carried: Carried, errno: Errno) -> Result<u64> {
        let Carried { undo, exact_errors, brk } = carried;
        let ordered = self.ops.lock().await;
        let plan = match undo {
            Some(undo) => self.space.lock().undo(undo),
            None => Plan::default(),
        };
        self.try_each(plan.optional).await;
        drop(ordered);
        drop(plan.released);
        let errno = if exact_errors { errno } else { host_failure(errno) };
        brk.ok_or(errno)
    }

    /// Has the platform carry a plan out.
    async fn carry_out<T>(
        &self,
        mut result: Result<T>,
        plan: Plan,
    ) -> (Result<T>, (Released, Option<Undo>)) {
        let Plan { ops, optional, mut released, mut undo, exact_errors } = plan;
        if !ops.is_empty()
            && let Err(errno) = self.host.apply(ops).await
        {
            result = Err(if exact_errors { errno } else { host_failure(errno) });
            if let Some(undo) = undo.take() {
                let plan = self.space.lock().undo(undo);
                self.try_each(plan.optional).await;
                released.append(plan.released);
            }
            return (result, (released, undo));
        }
        self.try_each(optional).await;
        (result, (released, undo))
    }

    /// Operations whose failure does not matter, each for itself.
    async fn try_each(&self, ops: Vec<chitin_mm::HostOp>) {
        for op in ops {
            // Advice that the host does not take is no loss to the guest.
            let _ = self.host.apply(vec![op]).await;
        }
    }

    /// A copy for a child: the host's memory copied on write, and the bookkeeping.
    ///
    /// # Errors
    /// ENOMEM, EAGAIN.
    pub async fn fork(&self) -> Result<Arc<Self>> {
        let _ordered = self.ops.lock().await;
        let host = self.host.fork().await.map_err(host_failure)?;
        let space = self.space.lock().fork();
        Ok(Self::new(space, host, self.image.read().clone()))
    }

    /// Reads a 32-bit word.
    ///
    /// # Errors
    /// EFAULT.
    pub fn read_u32(&self, addr: GuestAddr) -> Result<u32> {
        let mut bytes = [0; 4];
        self.memory().read(addr, &mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    /// Changes a 32-bit word atomically; returns what it was.
    ///
    /// # Errors
    /// EFAULT.
    pub fn update_u32(&self, addr: GuestAddr, change: impl Fn(u32) -> u32) -> Result<u32> {
        let mut old = self.read_u32(addr)?;
        // A guest that keeps changing the word only keeps itself busy, but not for ever.
        for _ in 0..64 {
            let seen = self.memory().compare_exchange_u32(addr, old, change(old))?;
            if seen == old {
                return Ok(old);
            }
            old = seen;
        }
        Err(Errno::EAGAIN)
    }
}
