//! `msync(2)` and `mincore(2)`.

use chitin_abi::addr::page_ceil;
use chitin_abi::mm::{MS_ASYNC, MS_INVALIDATE, MS_SYNC};
use chitin_abi::{Errno, PAGE_SIZE, Result};

use super::Space;
use super::plan::{Plan, Planned};
use super::vma::VmaFlags;
use crate::host_op::HostOp;

impl Space {
    /// `msync(2)`. What is mapped is synchronised even where there are holes, but it fails with ENOMEM then.
    pub fn sync(&mut self, addr: u64, len: u64, flags: u32) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.sync_planned(addr, len, flags, &mut plan);
        (result, plan)
    }

    fn sync_planned(&self, addr: u64, len: u64, flags: u32, plan: &mut Plan) -> Result<()> {
        let both = MS_ASYNC | MS_SYNC;
        if flags & !(both | MS_INVALIDATE) != 0
            || flags & both == both
            || !addr.is_multiple_of(PAGE_SIZE)
        {
            return Err(Errno::EINVAL);
        }
        // As on Linux, a length that rounds up beyond the end wraps to nothing.
        let len = page_ceil(len).unwrap_or(0);
        let end = addr.checked_add(len).ok_or(Errno::ENOMEM)?;
        let mut at = addr;
        let mut result = Ok(());
        for (first, vma) in self.tree.overlapping(addr, end) {
            if first > at {
                result = Err(Errno::ENOMEM);
            }
            if flags & MS_INVALIDATE != 0 && vma.flags.contains(VmaFlags::LOCKED) {
                return Err(Errno::EBUSY);
            }
            let (from, to) = (first.max(addr), vma.end.min(end));
            if flags & MS_SYNC != 0 && vma.is_file() && vma.shared() {
                let len = to.saturating_sub(from);
                plan.exact_errors = true;
                plan.ops.push(HostOp::Sync { addr: from, len, flags: MS_SYNC.cast_signed() });
            }
            at = to;
        }
        if at < end { Err(Errno::ENOMEM) } else { result }
    }

    /// `mincore(2)`: how many pages there are. Whether they are present is the host's secret, so all are.
    ///
    /// # Errors
    /// EINVAL, ENOMEM.
    pub fn mincore(&self, addr: u64, len: u64) -> Result<u64> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let (start, end) = self.page_range(addr, len).ok_or(Errno::ENOMEM)?;
        if !self.tree.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        Ok(end.saturating_sub(start) / PAGE_SIZE)
    }
}
