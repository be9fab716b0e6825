//! A guest's address space: the bookkeeping of `mm`, the platform's side of it, and what `execve` left there.
//!
//! Lock order: `ops` (held across the host's operation, so that plans reach the host in the order in which
//! they were made) before `space` (never held across a wait).

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use async_lock::Mutex as AsyncMutex;
use chitin_abi::{GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_mm::platform::{AddressSpace, host_failure};
use chitin_mm::space::{Plan, Planned, Space};
use chitin_vfs::path::Path;
use parking_lot::{Mutex, RwLock};

/// Facts about the running program, for /proc.
#[derive(Clone, Default)]
pub struct Image {
    /// The executable.
    pub exe: Option<Path>,
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

/// An address space that tasks share.
pub struct Mm {
    /// The bookkeeping.
    pub space: Mutex<Space>,
    /// Held from planning to the host's answer.
    pub ops: AsyncMutex<()>,
    /// What runs in it.
    pub image: RwLock<Image>,
    host: Arc<dyn AddressSpace>,
    users: AtomicUsize,
}

impl Mm {
    /// An address space of which `host` is the platform's side.
    pub fn new(space: Space, host: Arc<dyn AddressSpace>, image: Image) -> Arc<Self> {
        Arc::new(Self {
            space: Mutex::new(space),
            ops: AsyncMutex::new(()),
            image: RwLock::new(image),
            host,
            users: AtomicUsize::new(0),
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

    /// A task begins to use it.
    pub fn attach(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
    }

    /// A task is done with it; the last one ends the platform's side. True for the last.
    pub fn detach(&self) -> bool {
        let last = self.users.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.host.kill();
        }
        last
    }

    /// How many tasks use it.
    pub fn users(&self) -> usize {
        self.users.load(Ordering::SeqCst)
    }

    /// Plans under the locks and has the host carry it out. What the plan released is dropped without a lock.
    ///
    /// # Errors
    /// What `plan` returns; ENOMEM and the like when the host cannot.
    pub async fn update<T>(&self, plan: impl FnOnce(&mut Space) -> Planned<T>) -> Result<T> {
        let _ordered = self.ops.lock().await;
        let (result, plan) = plan(&mut self.space.lock());
        self.carry_out(plan).await.and(result)
    }

    async fn carry_out(&self, plan: Plan) -> Result<()> {
        let Plan { ops, optional, released, undo, exact_errors } = plan;
        let result = if ops.is_empty() { Ok(()) } else { self.host.apply(ops).await };
        let result = result.map_err(|errno| if exact_errors { errno } else { host_failure(errno) });
        let mut clean_up = optional;
        if result.is_err()
            && let Some(undo) = undo
        {
            let undone = self.space.lock().undo(undo);
            clean_up.extend(undone.optional);
            drop(undone.released);
        }
        for op in clean_up {
            // What failed here costs nothing but memory.
            let _ = self.host.apply(vec![op]).await;
        }
        drop(released);
        result
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
}
