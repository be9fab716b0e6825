//! Faults that are not the guest's fault: stacks that grow.

use chitin_abi::addr::page_floor;
use chitin_abi::mm::ProtFlags;
use chitin_abi::{Errno, Result};

use super::plan::{Plan, Planned, Undo};
use super::tree::STACK_GUARD;
use super::vma::{Vma, VmaFlags, host_prot};
use super::{MAX_MAP_COUNT, Space};
use crate::host_op::HostOp;

/// The initial stack grows by at least as much, because a fault costs a round trip.
const STACK_STEP: u64 = 128 << 10;

impl Space {
    /// Makes the stack above `addr` grow over it.
    ///
    /// # Errors
    /// EFAULT where nothing grows down to there: the guest gets its signal.
    pub fn grow_stack(&mut self, addr: u64) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.grow_planned(addr, &mut plan);
        (result, plan)
    }

    fn grow_planned(&mut self, addr: u64, plan: &mut Plan) -> Result<()> {
        let (start, vma) = self.tree.find_from(addr).ok_or(Errno::EFAULT)?;
        if start <= addr
            || !vma.flags.contains(VmaFlags::GROWS_DOWN)
            || addr < self.config.min_address
        {
            return Err(Errno::EFAULT);
        }
        let lowest = self.lowest_stack(start, vma.end)?;
        let wanted = page_floor(addr);
        if wanted < lowest {
            return Err(Errno::EFAULT);
        }
        let main = start <= self.stack && vma.end > self.stack;
        let step = if main { start.saturating_sub(STACK_STEP).max(lowest) } else { wanted };
        let new_start = page_floor(wanted.min(step));
        let len = start.saturating_sub(new_start);
        let locked = vma.flags.contains(VmaFlags::LOCKED);
        if !self.may_expand(len, false)
            || (locked && !self.may_lock_more(len))
            || self.tree.len() >= MAX_MAP_COUNT
        {
            return Err(Errno::EFAULT);
        }
        let (prot, flags) = (vma.prot, vma.flags);
        let backing = vma.backing.advanced(new_start.wrapping_sub(start));
        let grown = Vma { end: start, backing, ..vma.clone() };
        plan.ops.push(HostOp::MapAnonymous {
            addr: new_start,
            len,
            prot: host_prot(prot),
            shared: false,
            populate: locked && !flags.contains(VmaFlags::LOCK_ON_FAULT),
            noreserve: flags.contains(VmaFlags::NO_RESERVE),
            grows_down: false,
        });
        self.insert(new_start, grown, plan);
        plan.undo = Undo::forget(new_start, start);
        Ok(())
    }

    /// How far down the mapping from `start` to `end` may grow: `RLIMIT_STACK`, and a guard above what is below.
    fn lowest_stack(&self, start: u64, end: u64) -> Result<u64> {
        let by_limit = end.saturating_sub(self.limits.stack);
        let by_neighbour = match self.tree.before(start) {
            Some((_, below)) if !accessible(below) => below.end,
            Some((_, below)) => below.end.checked_add(STACK_GUARD).ok_or(Errno::EFAULT)?,
            None => 0,
        };
        Ok(by_limit.max(by_neighbour).max(self.config.min_address))
    }
}

fn accessible(vma: &Vma) -> bool {
    vma.prot.intersects(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE | ProtFlags::PROT_EXEC)
        && !vma.flags.contains(VmaFlags::GROWS_DOWN)
}
