//! `mlock(2)` and its relatives.
//!
//! Nothing is locked on the host: a sandbox may not pin its memory. What is locked is counted, and made
//! present once.

use chitin_abi::addr::{page_ceil, page_floor};
use chitin_abi::mm::{self, ProtFlags};
use chitin_abi::{Errno, Result};

use super::plan::{Plan, Planned};
use super::vma::VmaFlags;
use super::{MAX_MAP_COUNT, Space};
use crate::host_op::HostOp;

const LOCK_FLAGS: VmaFlags = VmaFlags::LOCKED.union(VmaFlags::LOCK_ON_FAULT);

impl Space {
    /// `mlock2(2)`; `flags` may be `MLOCK_ONFAULT`.
    pub fn lock(&mut self, addr: u64, len: u64, flags: u32) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.lock_planned(addr, len, flags, &mut plan);
        (result, plan)
    }

    fn can_lock(&self) -> Result<()> {
        if self.limits.may_lock || self.limits.locked != 0 { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn lock_planned(&mut self, addr: u64, len: u64, flags: u32, plan: &mut Plan) -> Result<()> {
        if flags & !mm::MLOCK_ONFAULT != 0 {
            return Err(Errno::EINVAL);
        }
        self.can_lock()?;
        let (start, len) = whole_pages(addr, len);
        let end = start.checked_add(len);
        let last = end.unwrap_or(u64::MAX);
        let locked =
            self.tree.mapped_bytes(start, last, |vma| vma.flags.contains(VmaFlags::LOCKED));
        if !self.may_lock_more(len.saturating_sub(locked)) {
            return Err(Errno::ENOMEM);
        }
        let end = end.ok_or(Errno::EINVAL)?;
        let on_fault = flags & mm::MLOCK_ONFAULT != 0;
        let set = if on_fault { LOCK_FLAGS } else { VmaFlags::LOCKED };
        let inaccessible = self
            .tree
            .overlapping(start, end)
            .any(|(_, vma)| vma.prot.is_empty() && !vma.flags.contains(VmaFlags::SPECIAL));
        self.set_lock(start, end, set, plan)?;
        if on_fault {
            return Ok(());
        }
        let pieces: Vec<_> = self
            .tree
            .overlapping(start, end)
            .map(|(first, vma)| (first.max(start), vma.end.min(end), vma.prot))
            .collect();
        for (from, to, prot) in pieces {
            populate(from, to, prot, plan);
        }
        if inaccessible { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// `munlock(2)`.
    pub fn unlock(&mut self, addr: u64, len: u64) -> Planned<()> {
        let mut plan = Plan::default();
        let (start, len) = whole_pages(addr, len);
        let result = match start.checked_add(len) {
            Some(end) => self.set_lock(start, end, VmaFlags::empty(), &mut plan),
            None => Err(Errno::EINVAL),
        };
        (result, plan)
    }

    /// Sets the lock flags; what comes before a hole has changed when it fails.
    fn set_lock(&mut self, start: u64, end: u64, set: VmaFlags, plan: &mut Plan) -> Result<()> {
        let mut at = start;
        for (first, vma) in self.tree.overlapping(start, end) {
            if first > at {
                break;
            }
            at = vma.end.min(end);
        }
        if at > start {
            if self.tree.len() + 2 > MAX_MAP_COUNT {
                return Err(Errno::ENOMEM);
            }
            let before = self.change(start, at, plan, |vma| {
                if !vma.flags.contains(VmaFlags::SPECIAL) {
                    vma.flags = vma.flags.difference(LOCK_FLAGS).union(set);
                }
            });
            plan.released.extend(before.into_iter().map(|(_, vma)| vma));
        }
        if at < end { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// `mlockall(2)`.
    pub fn lock_all(&mut self, flags: u32) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.lock_all_planned(flags, &mut plan);
        (result, plan)
    }

    fn lock_all_planned(&mut self, flags: u32, plan: &mut Plan) -> Result<()> {
        let known = mm::MCL_CURRENT | mm::MCL_FUTURE | mm::MCL_ONFAULT;
        if flags == 0 || flags & !known != 0 || flags == mm::MCL_ONFAULT {
            return Err(Errno::EINVAL);
        }
        self.can_lock()?;
        let current = flags & mm::MCL_CURRENT != 0;
        let total = self.tree.counters().total;
        if current && !self.limits.may_lock && total > self.limits.locked {
            return Err(Errno::ENOMEM);
        }
        let set = if flags & mm::MCL_ONFAULT != 0 { LOCK_FLAGS } else { VmaFlags::LOCKED };
        self.lock_future = if flags & mm::MCL_FUTURE != 0 { set } else { VmaFlags::empty() };
        if current {
            self.set_lock_everywhere(set, plan);
        }
        Ok(())
    }

    fn set_lock_everywhere(&mut self, set: VmaFlags, plan: &mut Plan) {
        let ranges: Vec<_> = self
            .tree
            .iter()
            .filter(|(_, vma)| !vma.flags.contains(VmaFlags::SPECIAL))
            .map(|(start, vma)| (start, vma.end, vma.prot))
            .collect();
        for (start, end, prot) in ranges {
            let before = self.change(start, end, plan, |vma| {
                vma.flags = vma.flags.difference(LOCK_FLAGS).union(set);
            });
            plan.released.extend(before.into_iter().map(|(_, vma)| vma));
            if set == VmaFlags::LOCKED {
                populate(start, end, prot, plan);
            }
        }
    }

    /// `munlockall(2)`.
    pub fn unlock_all(&mut self) -> Planned<()> {
        let mut plan = Plan::default();
        self.lock_future = VmaFlags::empty();
        self.set_lock_everywhere(VmaFlags::empty(), &mut plan);
        (Ok(()), plan)
    }
}

/// Has the host make pages present, as far as it can.
pub(super) fn populate(start: u64, end: u64, prot: ProtFlags, plan: &mut Plan) {
    let advice = if prot.contains(ProtFlags::PROT_WRITE) {
        mm::MADV_POPULATE_WRITE
    } else if prot.is_empty() {
        return;
    } else {
        mm::MADV_POPULATE_READ
    };
    let len = end.saturating_sub(start);
    plan.optional.push(HostOp::Advise { addr: start, len, advice: advice.cast_signed() });
}

/// The pages that a range of bytes touches: address and length, which wraps as it does on Linux.
fn whole_pages(addr: u64, len: u64) -> (u64, u64) {
    let start = page_floor(addr);
    let len = len.wrapping_add(addr.wrapping_sub(start));
    (start, page_ceil(len).unwrap_or(0))
}
