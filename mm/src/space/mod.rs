//! One guest address space as bookkeeping: `mmap(2)` and its relatives, sans-IO.
//!
//! A [`Space`] knows every mapping of a guest. Each call checks and updates the bookkeeping as Linux would, and
//! returns what the host's side has to do as a [`Plan`]; the caller carries it out in the order in which plans
//! were made, and reports failure with [`Space::undo`]. Nothing here touches memory, blocks, or calls the host.
//!
//! Invariants: mappings don't overlap, are whole pages, and lie inside `min_address..max_address`; so does
//! every address of every planned [`crate::HostOp`]. Adjacent mappings of the same kind are one, as on Linux,
//! because /proc/pid/maps shows it.
//!
//! Costs: an `mmap` or `munmap` is O(log n) in the number of mappings, with one allocation for the plan's
//! list; forks copy the tree.
//!
//! References: `mmap(2)`, `mprotect(2)`, `mremap(2)`, `madvise(2)`, `mlock(2)`, `brk(2)`, `proc_pid_maps(5)`.

mod advise;
mod brk;
mod fault;
mod info;
mod lock;
mod map;
mod place;
mod plan;
mod protect;
mod remap;
mod sync;
mod tree;
mod unmap;
mod vma;

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::mm::ProtFlags;
use chitin_abi::{Errno, PAGE_SIZE, Result};

pub use self::advise::AdviseContext;
pub use self::info::{ObjectId, Usage, VmaInfo};
pub use self::map::{MapRequest, MapSource};
pub use self::plan::{Plan, Planned, Released, Undo};
use self::tree::VmaTree;
pub use self::vma::VmaFlags;
use self::vma::{Backing, Vma};
use crate::platform::VdsoRange;

/// Most mappings of one address space (`vm.max_map_count`).
pub const MAX_MAP_COUNT: usize = 65530;

/// What an address space is made with.
#[derive(Clone, Debug)]
pub struct SpaceConfig {
    /// The lowest address that the guest may map.
    pub min_address: u64,
    /// The first address above what it may map.
    pub max_address: u64,
    /// The vDSO that the platform has mapped.
    pub vdso: Option<VdsoRange>,
    /// `RLIMIT_STACK` when the program started: how far below the top mappings begin.
    pub stack_limit: u64,
    /// What addresses are randomised by; 0 for none.
    pub seed: u64,
    /// Numbers for shared anonymous objects, unique among all address spaces that share the counter.
    pub object_ids: Arc<AtomicU64>,
}

/// The limits that calls are held to, in bytes (`u64::MAX`: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceLimits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`.
    pub locked: u64,
    /// Whether `RLIMIT_MEMLOCK` does not hold (`CAP_IPC_LOCK`).
    pub may_lock: bool,
}

impl Default for SpaceLimits {
    fn default() -> Self {
        Self {
            address_space: u64::MAX,
            data: u64::MAX,
            stack: 8 << 20,
            locked: 8 << 20,
            may_lock: false,
        }
    }
}

/// The bookkeeping of one address space.
pub struct Space {
    tree: VmaTree,
    config: SpaceConfig,
    limits: SpaceLimits,
    mmap_base: u64,
    /// Where the program break started and where it is.
    brk: (u64, u64),
    /// The program's own data: start and end (`RLIMIT_DATA` counts it with the heap).
    data: (u64, u64),
    /// An address in the initial stack.
    stack: u64,
    /// `mlockall(MCL_FUTURE)`: flags of new mappings.
    lock_future: VmaFlags,
    /// Most bytes ever mapped, for `VmPeak`.
    peak: u64,
    random: u64,
}

impl Space {
    /// An address space with nothing but the vDSO.
    pub fn new(config: SpaceConfig) -> Self {
        let mut space = Self {
            tree: VmaTree::new(),
            limits: SpaceLimits::default(),
            mmap_base: 0,
            brk: (0, 0),
            data: (0, 0),
            stack: 0,
            lock_future: VmaFlags::empty(),
            peak: 0,
            random: config.seed,
            config,
        };
        space.mmap_base = space.choose_mmap_base();
        space.map_vdso();
        space
    }

    fn map_vdso(&mut self) {
        let Some(vdso) = self.config.vdso else { return };
        let read = ProtFlags::PROT_READ;
        let mut add = |start: u64, end: u64, prot: ProtFlags, name: &'static str| {
            let inside = start >= self.config.min_address && end <= self.config.max_address;
            if start < end && inside {
                let vma = Vma {
                    end,
                    prot,
                    max_prot: vma::RIGHTS,
                    flags: VmaFlags::SPECIAL | VmaFlags::DONT_DUMP,
                    backing: Backing::Special { name },
                    name: None,
                };
                drop(self.tree.insert(start, vma));
            }
        };
        add(vdso.start, vdso.ehdr, read, "[vvar]");
        add(vdso.ehdr, vdso.end, read | ProtFlags::PROT_EXEC, "[vdso]");
    }

    /// The child's bookkeeping after a fork: the same, without what `MADV_DONTFORK` keeps from it. The host's
    /// fork does the same to the memory (`MADV_WIPEONFORK` included), because the advice was passed on to it.
    pub fn fork(&self) -> Self {
        let mut tree = VmaTree::new();
        for (start, vma) in self.tree.iter() {
            if vma.flags.contains(VmaFlags::DONT_FORK) {
                continue;
            }
            let mut copy = vma.clone();
            copy.flags.remove(VmaFlags::LOCKED | VmaFlags::LOCK_ON_FAULT);
            drop(tree.insert(start, copy));
        }
        let peak = tree.counters().total;
        Self {
            tree,
            config: self.config.clone(),
            limits: self.limits,
            mmap_base: self.mmap_base,
            brk: self.brk,
            data: self.data,
            stack: self.stack,
            lock_future: VmaFlags::empty(),
            peak,
            random: self.random,
        }
    }

    /// Sets what the following calls are held to.
    pub fn set_limits(&mut self, limits: SpaceLimits) {
        self.limits = limits;
    }

    /// What calls are held to.
    pub fn limits(&self) -> &SpaceLimits {
        &self.limits
    }

    /// The range that the guest may map.
    pub fn bounds(&self) -> (u64, u64) {
        (self.config.min_address, self.config.max_address)
    }

    /// Where the program break starts and is.
    pub fn brk_range(&self) -> (u64, u64) {
        self.brk
    }

    /// Says where the heap begins: called once, when a program is loaded.
    pub fn set_brk_start(&mut self, start: u64) {
        self.brk = (start, start);
    }

    /// Says where the program's data lies, which `RLIMIT_DATA` counts with the heap.
    pub fn set_data_range(&mut self, start: u64, end: u64) {
        self.data = (start, end);
    }

    /// Says which address is in the initial stack: what /proc/pid/maps calls `[stack]`.
    pub fn set_stack_start(&mut self, address: u64) {
        self.stack = address;
    }

    /// A number that no other shared anonymous object has.
    fn next_object(&self) -> u64 {
        self.config.object_ids.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Checks a range that a call names: whole pages, inside what the guest may map.
    fn page_range(&self, addr: u64, len: u64) -> Option<(u64, u64)> {
        let len = chitin_abi::addr::page_ceil(len)?;
        let end = addr.checked_add(len)?;
        (addr.is_multiple_of(PAGE_SIZE) && end <= self.config.max_address).then_some((addr, end))
    }

    /// Whether `extra` more bytes with these properties are within `RLIMIT_AS` and `RLIMIT_DATA`.
    fn may_expand(&self, extra: u64, is_data: bool) -> bool {
        let counters = self.tree.counters();
        if counters.total.saturating_add(extra) > self.limits.address_space {
            return false;
        }
        !is_data || counters.data.saturating_add(extra) <= self.limits.data
    }

    /// Whether `extra` more locked bytes are within `RLIMIT_MEMLOCK`.
    fn may_lock_more(&self, extra: u64) -> bool {
        let wanted = self.tree.counters().locked.saturating_add(extra);
        self.limits.may_lock || wanted <= self.limits.locked / PAGE_SIZE * PAGE_SIZE
    }

    /// Puts a mapping into the tree; what became superfluous goes to the plan.
    fn insert(&mut self, start: u64, vma: Vma, plan: &mut Plan) {
        let superfluous = self.tree.insert(start, vma);
        plan.released.extend(superfluous);
        self.peak = self.peak.max(self.tree.counters().total);
    }

    /// Whether taking a range out makes one more mapping than there may be.
    fn check_hole(&self, start: u64, end: u64) -> Result<()> {
        let around =
            self.tree.find(start).is_some_and(|(first, vma)| first < start && vma.end > end);
        if around && self.tree.len() >= MAX_MAP_COUNT { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Whether cutting at these places needs more mappings than one may have.
    fn check_splits(&self, start: u64, end: u64) -> Result<()> {
        let splits =
            usize::from(self.tree.splits_at(start)) + usize::from(self.tree.splits_at(end));
        if splits > 0 && self.tree.len() + splits > MAX_MAP_COUNT {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }
}
