//! `mprotect(2)` and `mseal(2)`.

use chitin_abi::addr::page_ceil;
use chitin_abi::mm::ProtFlags;
use chitin_abi::{Errno, PAGE_SIZE, Result};

use super::plan::{Plan, Planned, Undo};
use super::vma::{RIGHTS, Vma, VmaFlags, accounted, counts_as_data, host_prot};
use super::{MAX_MAP_COUNT, Space};
use crate::host_op::HostOp;

impl Space {
    /// `mprotect(2)`. As on Linux, what comes before a hole or a forbidden piece has changed when it fails.
    pub fn protect(&mut self, addr: u64, len: u64, prot: ProtFlags) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.protect_planned(addr, len, prot, &mut plan);
        (result, plan)
    }

    fn protect_planned(
        &mut self,
        addr: u64,
        len: u64,
        prot: ProtFlags,
        plan: &mut Plan,
    ) -> Result<()> {
        let growth = ProtFlags::PROT_GROWSDOWN | ProtFlags::PROT_GROWSUP;
        let grows = prot.intersection(growth);
        let prot = prot.difference(growth);
        if grows == growth || !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let len = page_ceil(len).ok_or(Errno::ENOMEM)?;
        let end = addr.checked_add(len).filter(|end| *end > addr).ok_or(Errno::ENOMEM)?;
        if prot.bits() & !(RIGHTS | ProtFlags::PROT_SEM).bits() != 0 {
            return Err(Errno::EINVAL);
        }
        let (first, vma) = self.tree.find_from(addr).ok_or(Errno::ENOMEM)?;
        let start = if grows.contains(ProtFlags::PROT_GROWSDOWN) {
            if first >= end {
                return Err(Errno::ENOMEM);
            }
            if !vma.flags.contains(VmaFlags::GROWS_DOWN) {
                return Err(Errno::EINVAL);
            }
            first
        } else if first > addr {
            return Err(Errno::ENOMEM);
        } else if !grows.is_empty() {
            // Nothing grows up on this architecture.
            return Err(Errno::EINVAL);
        } else {
            addr
        };
        self.check_sealed(start, end)?;
        self.protect_pieces(start, end, prot.intersection(RIGHTS), plan)
    }

    /// Changes piece by piece; stops where something is missing or forbidden.
    fn protect_pieces(
        &mut self,
        start: u64,
        end: u64,
        prot: ProtFlags,
        plan: &mut Plan,
    ) -> Result<()> {
        let mut at = start;
        let mut result = Ok(());
        let mut extra_data = 0_u64;
        for (first, vma) in self.tree.overlapping(start, end) {
            if first > at {
                result = Err(Errno::ENOMEM);
                break;
            }
            if !vma.max_prot.contains(prot) {
                result = Err(Errno::EACCES);
                break;
            }
            let stop = vma.end.min(end);
            if vma.prot != prot {
                if counts_as_data(prot, vma.flags) && !vma.is_data() {
                    extra_data = extra_data.saturating_add(stop.saturating_sub(at));
                    if !self.may_expand(0, true) || !self.fits_data(extra_data) {
                        result = Err(Errno::ENOMEM);
                        break;
                    }
                }
                let splits = usize::from(first < at) + usize::from(vma.end > stop);
                if splits > 0 && self.tree.len() + splits > MAX_MAP_COUNT {
                    result = Err(Errno::ENOMEM);
                    break;
                }
            }
            at = stop;
        }
        if result.is_ok() && at < end {
            result = Err(Errno::ENOMEM);
        }
        if at > start {
            self.set_prot(start, at, prot, plan);
        }
        result
    }

    fn fits_data(&self, extra: u64) -> bool {
        self.tree.counters().data.saturating_add(extra) <= self.limits.data
    }

    fn set_prot(&mut self, start: u64, end: u64, prot: ProtFlags, plan: &mut Plan) {
        let needed = self.tree.overlapping(start, end).any(|(_, vma)| vma.prot != prot);
        if !needed {
            return;
        }
        let before = self.change(start, end, plan, |vma| {
            vma.prot = prot;
            vma.flags |= accounted(prot, vma.flags);
        });
        plan.undo = Undo::restore(before);
        plan.ops.push(HostOp::Protect {
            addr: start,
            len: end.saturating_sub(start),
            prot: host_prot(prot),
        });
    }

    /// Changes every mapping in the range, splitting and merging; returns how they were.
    pub(super) fn change(
        &mut self,
        start: u64,
        end: u64,
        plan: &mut Plan,
        mut change: impl FnMut(&mut Vma),
    ) -> Vec<(u64, Vma)> {
        let pieces = self.tree.take(start, end);
        let before = pieces.clone();
        for (first, mut vma) in pieces {
            change(&mut vma);
            self.insert(first, vma, plan);
        }
        before
    }

    /// `mseal(2)`.
    pub fn seal(&mut self, addr: u64, len: u64, flags: u64) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.seal_planned(addr, len, flags, &mut plan);
        (result, plan)
    }

    fn seal_planned(&mut self, addr: u64, len: u64, flags: u64, plan: &mut Plan) -> Result<()> {
        if flags != 0 || !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let len = page_ceil(len).ok_or(Errno::EINVAL)?;
        let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
        if end == addr {
            return Ok(());
        }
        if !self.tree.covers(addr, end) {
            return Err(Errno::ENOMEM);
        }
        self.check_splits(addr, end)?;
        let before = self.change(addr, end, plan, |vma| vma.flags.insert(VmaFlags::SEALED));
        plan.released.extend(before.into_iter().map(|(_, vma)| vma));
        Ok(())
    }

    /// `prctl(PR_SET_VMA_ANON_NAME)`.
    pub fn set_name(
        &mut self,
        addr: u64,
        len: u64,
        name: Option<std::sync::Arc<[u8]>>,
    ) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.set_name_planned(addr, len, name, &mut plan);
        (result, plan)
    }

    fn set_name_planned(
        &mut self,
        addr: u64,
        len: u64,
        name: Option<std::sync::Arc<[u8]>>,
        plan: &mut Plan,
    ) -> Result<()> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let len =
            page_ceil(len).filter(|rounded| len == 0 || *rounded != 0).ok_or(Errno::EINVAL)?;
        let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
        if end == addr {
            return Ok(());
        }
        if self.tree.overlapping(addr, end).any(|(_, vma)| vma.is_file()) {
            return Err(Errno::EBADF);
        }
        self.check_splits(addr, end)?;
        let covered = self.tree.covers(addr, end);
        let before = self.change(addr, end, plan, |vma| vma.name.clone_from(&name));
        plan.released.extend(before.into_iter().map(|(_, vma)| vma));
        if covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}
