//! `brk(2)`.

use chitin_abi::PAGE_SIZE;
use chitin_abi::addr::page_ceil;
use chitin_abi::mm::ProtFlags;

use super::plan::{Plan, Planned, Undo};
use super::vma::{Backing, RIGHTS, Vma, VmaFlags, host_prot};
use super::{MAX_MAP_COUNT, Space};
use crate::host_op::HostOp;

impl Space {
    /// `brk(2)`: moves the break if that is possible, and says where it is.
    pub fn set_brk(&mut self, wanted: u64) -> Planned<u64> {
        let mut plan = Plan::default();
        if self.try_brk(wanted, &mut plan).is_some() {
            plan.undo.get_or_insert_default().brk = Some(self.brk.1);
            self.brk.1 = wanted;
        }
        (Ok(self.brk.1), plan)
    }

    fn try_brk(&mut self, wanted: u64, plan: &mut Plan) -> Option<()> {
        let (start, current) = self.brk;
        if wanted < start {
            return None;
        }
        let data = self.data.1.saturating_sub(self.data.0);
        if wanted.saturating_sub(start).saturating_add(data) > self.limits.data {
            return None;
        }
        let (old, new) = (page_ceil(current)?, page_ceil(wanted)?);
        if new == old {
            return Some(());
        }
        if new < old {
            return self.unmap_planned(new, old.saturating_sub(new), plan).ok();
        }
        self.grow_heap(old, new, plan)
    }

    fn grow_heap(&mut self, old: u64, new: u64, plan: &mut Plan) -> Option<()> {
        let len = new.saturating_sub(old);
        let fits = new.checked_add(PAGE_SIZE)? <= self.config.max_address
            && self.tree.is_free(old, new.checked_add(PAGE_SIZE)?)
            && self.may_expand(len, true)
            && self.tree.len() < MAX_MAP_COUNT;
        let locked = self.lock_future.contains(VmaFlags::LOCKED);
        if !fits || (locked && !self.may_lock_more(len)) {
            return None;
        }
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let populate = locked && !self.lock_future.contains(VmaFlags::LOCK_ON_FAULT);
        plan.ops.push(HostOp::MapAnonymous {
            addr: old,
            len,
            prot: host_prot(prot),
            shared: false,
            populate,
            noreserve: false,
            grows_down: false,
        });
        let vma = Vma {
            end: new,
            prot,
            max_prot: RIGHTS,
            flags: self.lock_future | VmaFlags::ACCOUNTED,
            backing: Backing::Anonymous { offset: old },
            name: None,
        };
        self.insert(old, vma, plan);
        plan.undo = Undo::forget(old, new);
        Some(())
    }
}
