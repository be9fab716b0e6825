//! `mremap(2)`.

use chitin_abi::addr::page_ceil;
use chitin_abi::mm::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, MapFlags};
use chitin_abi::{Errno, PAGE_SIZE, Result};

use super::plan::{Plan, Planned, Undo};
use super::vma::{Vma, VmaFlags};
use super::{MAX_MAP_COUNT, Space};
use crate::host_op::HostOp;

/// A move that was checked.
#[derive(Clone, Copy)]
struct Move {
    addr: u64,
    old_len: u64,
    new_addr: u64,
    new_len: u64,
    keep_old: bool,
}

impl Space {
    /// `mremap(2)`: where the mapping is afterwards.
    pub fn remap(
        &mut self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        flags: u32,
        new_addr: u64,
    ) -> Planned<u64> {
        let mut plan = Plan::default();
        let result = self.remap_planned(addr, (old_len, new_len), flags, new_addr, &mut plan);
        (result, plan)
    }

    fn remap_planned(
        &mut self,
        addr: u64,
        lens: (u64, u64),
        flags: u32,
        new_addr: u64,
        plan: &mut Plan,
    ) -> Result<u64> {
        let may_move = flags & MREMAP_MAYMOVE != 0;
        let keep_old = flags & MREMAP_DONTUNMAP != 0;
        let fixed = flags & MREMAP_FIXED != 0;
        let known = MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
        if flags & !known != 0
            || ((fixed || keep_old) && !may_move)
            || (keep_old && lens.0 != lens.1)
            || !addr.is_multiple_of(PAGE_SIZE)
        {
            return Err(Errno::EINVAL);
        }
        let old_len = page_ceil(lens.0).unwrap_or(0);
        let new_len = page_ceil(lens.1).filter(|len| *len != 0).ok_or(Errno::EINVAL)?;
        let to = Move { addr, old_len, new_addr, new_len, keep_old };
        if fixed || keep_old {
            self.check_target(to)?;
        }
        self.tree.find(addr).ok_or(Errno::EFAULT)?;
        if fixed || keep_old {
            return self.remap_to(to, fixed, plan);
        }
        if old_len >= new_len {
            if old_len > new_len {
                self.unmap_planned(
                    addr.saturating_add(new_len),
                    old_len.saturating_sub(new_len),
                    plan,
                )?;
            }
            return Ok(addr);
        }
        let end = self.check_resize(addr, old_len, new_len, keep_old)?;
        if addr.checked_add(old_len) == Some(end) && self.grow_in_place(addr, end, new_len, plan) {
            return Ok(addr);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let new_addr = self.find_place(0, new_len, MapFlags::empty())?;
        self.move_vma(Move { addr, old_len, new_addr, new_len, keep_old }, plan)
    }

    /// Whether the mapping at `addr` may get another length; returns its end.
    fn check_resize(&self, addr: u64, old_len: u64, new_len: u64, keep_old: bool) -> Result<u64> {
        let (start, vma) = self.tree.find(addr).ok_or(Errno::EFAULT)?;
        let special = vma.flags.contains(VmaFlags::SPECIAL);
        if (old_len == 0 && !vma.shared()) || (keep_old && special) {
            return Err(Errno::EINVAL);
        }
        if old_len > vma.end.saturating_sub(addr) {
            return Err(Errno::EFAULT);
        }
        self.check_sealed(start, vma.end)?;
        if new_len == old_len {
            return Ok(vma.end);
        }
        if special {
            return Err(Errno::EFAULT);
        }
        let extra = new_len.saturating_sub(old_len);
        if vma.flags.contains(VmaFlags::LOCKED) && !self.may_lock_more(extra) {
            return Err(Errno::EAGAIN);
        }
        if !self.may_expand(extra, vma.is_data()) {
            return Err(Errno::ENOMEM);
        }
        Ok(vma.end)
    }

    /// Makes the mapping that ends at `end` longer where it is, if there is room.
    fn grow_in_place(&mut self, addr: u64, end: u64, new_len: u64, plan: &mut Plan) -> bool {
        let Some(new_end) = addr.checked_add(new_len).filter(|end| *end <= self.config.max_address)
        else {
            return false;
        };
        if self.tree.intersects(end, new_end) {
            return false;
        }
        let Some((start, vma)) = self.tree.find(addr) else { return false };
        // The host must do it as one, or it would have two mappings where the guest sees one.
        let old_len = end.saturating_sub(addr);
        plan.ops.push(HostOp::Remap {
            old_addr: addr,
            old_len,
            new_addr: addr,
            new_len,
            keep_old: false,
        });
        if vma.flags.contains(VmaFlags::LOCKED) && !vma.flags.contains(VmaFlags::LOCK_ON_FAULT) {
            super::lock::populate(end, new_end, vma.prot, plan);
        }
        let tail = Vma {
            end: new_end,
            backing: vma.backing.advanced(end.wrapping_sub(start)),
            ..vma.clone()
        };
        self.insert(end, tail, plan);
        plan.undo = Undo::forget(end, new_end);
        true
    }

    /// What is wrong with a given new place, whatever is at the old one.
    fn check_target(&self, to: Move) -> Result<()> {
        let (_, max) = self.bounds();
        if !to.new_addr.is_multiple_of(PAGE_SIZE)
            || to.new_addr.checked_add(to.new_len).is_none_or(|end| end > max)
            || overlap(to.addr, to.old_len, to.new_addr, to.new_len)
        {
            return Err(Errno::EINVAL);
        }
        if self.tree.len() + 2 >= MAX_MAP_COUNT - 3 {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// `MREMAP_FIXED` and `MREMAP_DONTUNMAP`.
    fn remap_to(&mut self, mut to: Move, fixed: bool, plan: &mut Plan) -> Result<u64> {
        let (min, _) = self.bounds();
        self.check_resize(to.addr, to.old_len, to.new_len, to.keep_old)?;
        if fixed {
            if to.new_addr < min {
                return Err(Errno::EPERM);
            }
            self.unmap_planned(to.new_addr, to.new_len, plan)?;
        }
        if to.old_len > to.new_len {
            let tail = to.addr.saturating_add(to.new_len);
            self.unmap_planned(tail, to.old_len.saturating_sub(to.new_len), plan)?;
            to.old_len = to.new_len;
        }
        if to.keep_old {
            let is_data = self.tree.find(to.addr).is_some_and(|(_, vma)| vma.is_data());
            if !self.may_expand(to.old_len, is_data) {
                return Err(Errno::ENOMEM);
            }
        }
        if !fixed {
            to.new_addr = self.find_place(to.new_addr, to.new_len, MapFlags::empty())?;
        }
        self.move_vma(to, plan)
    }

    fn move_vma(&mut self, to: Move, plan: &mut Plan) -> Result<u64> {
        if self.tree.len() >= MAX_MAP_COUNT - 3 {
            return Err(Errno::ENOMEM);
        }
        let (start, vma) = self.tree.find(to.addr).ok_or(Errno::EFAULT)?;
        let mut moved = vma.clone();
        moved.backing = vma.backing.advanced(to.addr.wrapping_sub(start));
        moved.end = to.new_addr.saturating_add(to.new_len);
        let old_end = to.addr.saturating_add(to.old_len);
        plan.ops.push(HostOp::Remap {
            old_addr: to.addr,
            old_len: to.old_len,
            new_addr: to.new_addr,
            new_len: to.new_len,
            keep_old: to.keep_old,
        });
        let restore = if to.old_len == 0 {
            Vec::new()
        } else if to.keep_old {
            let unlocked = VmaFlags::LOCKED | VmaFlags::LOCK_ON_FAULT;
            self.change(to.addr, old_end, plan, |vma| vma.flags.remove(unlocked))
        } else {
            let pieces = self.tree.remove(to.addr, old_end);
            plan.released.extend(pieces.iter().map(|(_, vma)| vma.clone()));
            pieces
        };
        if moved.flags.contains(VmaFlags::LOCKED) && !moved.flags.contains(VmaFlags::LOCK_ON_FAULT)
        {
            super::lock::populate(to.new_addr, moved.end, moved.prot, plan);
        }
        plan.undo = Some(Undo { forget: Some((to.new_addr, moved.end)), restore, brk: None });
        self.insert(to.new_addr, moved, plan);
        Ok(to.new_addr)
    }
}

fn overlap(a: u64, a_len: u64, b: u64, b_len: u64) -> bool {
    a.saturating_add(a_len) > b && b.saturating_add(b_len) > a
}
