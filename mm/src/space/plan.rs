//! Plans: what a call on a [`super::Space`] leaves for its caller to do.

use chitin_abi::Result;

use super::Space;
use super::vma::Vma;
use crate::host_op::HostOp;

/// The result of a call and what has to be done, also where the call failed half way as Linux does.
pub type Planned<T> = (Result<T>, Plan);

/// What has to be done after a call.
#[derive(Default)]
pub struct Plan {
    /// What the host has to do, in this order.
    pub ops: Vec<HostOp>,
    /// What the host should try to do afterwards; failures don't matter.
    pub optional: Vec<HostOp>,
    /// What the call released: to be dropped when no lock is held.
    pub released: Released,
    /// What to hand to [`Space::undo`] when the host could not carry out `ops`.
    pub undo: Option<Undo>,
    /// Whether the host's error is the guest's as it is, instead of one that `mmap(2)` and the like know.
    pub exact_errors: bool,
}

/// Mappings that are no more. Dropping them may close files.
#[derive(Default)]
pub struct Released(Vec<Vma>);

impl Released {
    pub(crate) fn extend(&mut self, vmas: impl IntoIterator<Item = Vma>) {
        self.0.extend(vmas);
    }

    /// Adds what another plan released.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How to bring the bookkeeping back.
#[derive(Default)]
pub struct Undo {
    /// A range that is not mapped after all.
    pub(crate) forget: Option<(u64, u64)>,
    /// Mappings that are as they were.
    pub(crate) restore: Vec<(u64, Vma)>,
    /// Where the break is after all.
    pub(crate) brk: Option<u64>,
}

impl Undo {
    /// Whether it keeps no files.
    pub fn is_light(&self) -> bool {
        self.restore.iter().all(|(_, vma)| !vma.is_file())
    }

    pub(crate) fn forget(start: u64, end: u64) -> Option<Self> {
        Some(Self { forget: Some((start, end)), ..Self::default() })
    }

    pub(crate) fn restore(pieces: Vec<(u64, Vma)>) -> Option<Self> {
        Some(Self { restore: pieces, ..Self::default() })
    }
}

impl Space {
    /// Takes back what a plan assumed when the host could not carry it out. The returned plan unmaps what is
    /// half done.
    pub fn undo(&mut self, undo: Undo) -> Plan {
        let mut plan = Plan::default();
        if let Some((start, end)) = undo.forget {
            let pieces = self.tree.remove(start, end);
            plan.released.extend(pieces.into_iter().map(|(_, vma)| vma));
            plan.optional.push(HostOp::Unmap { addr: start, len: end.saturating_sub(start) });
        }
        for (start, vma) in undo.restore {
            let pieces = self.tree.take(start, vma.end);
            plan.released.extend(pieces.into_iter().map(|(_, old)| old));
            self.insert(start, vma, &mut plan);
        }
        self.brk.1 = undo.brk.unwrap_or(self.brk.1);
        plan
    }
}
