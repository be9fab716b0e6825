//! `munmap(2)`.

use chitin_abi::addr::page_ceil;
use chitin_abi::{Errno, PAGE_SIZE, Result};

use super::Space;
use super::plan::{Plan, Planned};
use super::vma::VmaFlags;
use crate::host_op::HostOp;

impl Space {
    /// `munmap(2)`.
    pub fn unmap(&mut self, addr: u64, len: u64) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.unmap_planned(addr, len, &mut plan);
        (result, plan)
    }

    pub(super) fn unmap_planned(&mut self, addr: u64, len: u64, plan: &mut Plan) -> Result<()> {
        let max = self.config.max_address;
        if !addr.is_multiple_of(PAGE_SIZE) || addr > max || len > max.saturating_sub(addr) {
            return Err(Errno::EINVAL);
        }
        let len = page_ceil(len).filter(|len| *len != 0).ok_or(Errno::EINVAL)?;
        let end = addr.saturating_add(len);
        if !self.tree.intersects(addr, end) {
            return Ok(());
        }
        self.check_sealed(addr, end)?;
        self.check_hole(addr, end)?;
        if let Some((start, end)) = self.remove_planned(addr, end, plan) {
            plan.ops.push(HostOp::Unmap { addr: start, len: end.saturating_sub(start) });
        }
        Ok(())
    }

    /// Takes everything out of a range and returns from where to where there was something. The host's side is
    /// the caller's to plan.
    pub(super) fn remove_planned(
        &mut self,
        start: u64,
        end: u64,
        plan: &mut Plan,
    ) -> Option<(u64, u64)> {
        let pieces = self.tree.remove(start, end);
        let first = pieces.first().map(|(start, _)| *start)?;
        let last = pieces.last().map(|(_, vma)| vma.end)?;
        plan.released.extend(pieces.into_iter().map(|(_, vma)| vma));
        Some((first, last))
    }

    /// Whether nothing in the range is sealed against changes (`mseal(2)`).
    pub(super) fn check_sealed(&self, start: u64, end: u64) -> Result<()> {
        let sealed = |flags: VmaFlags| flags.contains(VmaFlags::SEALED);
        if self.tree.overlapping(start, end).any(|(_, vma)| sealed(vma.flags)) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// Gives up everything, for the end of the address space: what is returned is to be dropped outside of
    /// locks.
    pub fn clear(&mut self) -> Plan {
        let mut plan = Plan::default();
        self.remove_planned(0, u64::MAX, &mut plan);
        plan
    }
}
