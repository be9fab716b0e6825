//! `madvise(2)`.

use chitin_abi::addr::page_ceil;
use chitin_abi::mm::{self, ProtFlags};
use chitin_abi::{Errno, PAGE_SIZE, Result};

use super::plan::{Plan, Planned};
use super::vma::{Backing, Vma, VmaFlags};
use super::{MAX_MAP_COUNT, Space};
use crate::host_op::HostOp;

/// What advice depends on besides the mapping.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdviseContext {
    /// Whether the caller has `CAP_SYS_ADMIN`.
    pub admin: bool,
}

/// What a kind of advice does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Sets and clears flags of the mapping; passed on to the host if it knows.
    Flags { set: VmaFlags, clear: VmaFlags, host: bool },
    /// The host must do it.
    Host,
    /// The host may do it.
    Hint,
}

impl Space {
    /// `madvise(2)`. As on Linux, holes don't keep it from what is mapped, but it fails with ENOMEM then.
    pub fn advise(
        &mut self,
        addr: u64,
        len: u64,
        advice: u32,
        context: AdviseContext,
    ) -> Planned<()> {
        let mut plan = Plan::default();
        let result = self.advise_planned(addr, len, advice, context, &mut plan);
        (result, plan)
    }

    fn advise_planned(
        &mut self,
        addr: u64,
        len: u64,
        advice: u32,
        context: AdviseContext,
        plan: &mut Plan,
    ) -> Result<()> {
        let poison = matches!(advice, mm::MADV_HWPOISON | mm::MADV_SOFT_OFFLINE);
        if poison && !context.admin {
            return Err(Errno::EPERM);
        }
        let effect = effect_of(advice).ok_or(Errno::EINVAL)?;
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let len = page_ceil(len).ok_or(Errno::EINVAL)?;
        let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
        if end == addr {
            return Ok(());
        }
        self.advise_pieces(addr, end, advice, effect, plan)
    }

    fn advise_pieces(
        &mut self,
        start: u64,
        end: u64,
        advice: u32,
        effect: Effect,
        plan: &mut Plan,
    ) -> Result<()> {
        let mut at = start;
        let mut result = Ok(());
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        for (first, vma) in self.tree.overlapping(start, end) {
            if first > at {
                result = Err(Errno::ENOMEM);
                if matches!(advice, mm::MADV_POPULATE_READ | mm::MADV_POPULATE_WRITE) {
                    break;
                }
            }
            if let Err(errno) = check(vma, advice) {
                result = Err(errno);
                break;
            }
            let (from, to) = (first.max(start), vma.end.min(end));
            match pieces.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => pieces.push((from, to)),
            }
            at = to;
        }
        if result.is_ok() && at < end {
            result = Err(Errno::ENOMEM);
        }
        for (from, to) in pieces {
            self.advise_piece(from, to, advice, effect, plan)?;
        }
        result
    }

    fn advise_piece(
        &mut self,
        start: u64,
        end: u64,
        advice: u32,
        effect: Effect,
        plan: &mut Plan,
    ) -> Result<()> {
        let op = HostOp::Advise {
            addr: start,
            len: end.saturating_sub(start),
            advice: advice.cast_signed(),
        };
        match effect {
            Effect::Host => {
                plan.exact_errors = true;
                plan.ops.push(op);
            }
            Effect::Hint => plan.optional.push(op),
            Effect::Flags { set, clear, host } => {
                let change = |flags: VmaFlags| flags.difference(clear).union(set);
                if self.tree.overlapping(start, end).all(|(_, vma)| change(vma.flags) == vma.flags)
                {
                    return Ok(());
                }
                if self.tree.len() + 2 > MAX_MAP_COUNT {
                    return Err(Errno::ENOMEM);
                }
                let before = self.change(start, end, plan, |vma| vma.flags = change(vma.flags));
                plan.released.extend(before.into_iter().map(|(_, vma)| vma));
                if host {
                    plan.ops.push(op);
                } else {
                    plan.optional.push(op);
                }
            }
        }
        Ok(())
    }
}

fn effect_of(advice: u32) -> Option<Effect> {
    let flags = |set: VmaFlags, clear: VmaFlags| Some(Effect::Flags { set, clear, host: false });
    let none = VmaFlags::empty();
    let reading = VmaFlags::RANDOM_READ | VmaFlags::SEQUENTIAL_READ;
    match advice {
        mm::MADV_NORMAL => flags(none, reading),
        mm::MADV_RANDOM => flags(VmaFlags::RANDOM_READ, reading),
        mm::MADV_SEQUENTIAL => flags(VmaFlags::SEQUENTIAL_READ, reading),
        mm::MADV_DONTFORK => {
            Some(Effect::Flags { set: VmaFlags::DONT_FORK, clear: none, host: true })
        }
        mm::MADV_DOFORK => {
            Some(Effect::Flags { set: none, clear: VmaFlags::DONT_FORK, host: true })
        }
        mm::MADV_WIPEONFORK => {
            Some(Effect::Flags { set: VmaFlags::WIPE_ON_FORK, clear: none, host: true })
        }
        mm::MADV_KEEPONFORK => {
            Some(Effect::Flags { set: none, clear: VmaFlags::WIPE_ON_FORK, host: true })
        }
        mm::MADV_DONTDUMP => flags(VmaFlags::DONT_DUMP, none),
        mm::MADV_DODUMP => flags(none, VmaFlags::DONT_DUMP),
        mm::MADV_HUGEPAGE => flags(VmaFlags::HUGE_PAGE, VmaFlags::NO_HUGE_PAGE),
        mm::MADV_NOHUGEPAGE => flags(VmaFlags::NO_HUGE_PAGE, VmaFlags::HUGE_PAGE),
        // No pages of different guests are ever made one: that would be a side channel.
        mm::MADV_MERGEABLE => flags(VmaFlags::MERGEABLE, none),
        mm::MADV_UNMERGEABLE => flags(none, VmaFlags::MERGEABLE),
        mm::MADV_WILLNEED | mm::MADV_COLD | mm::MADV_PAGEOUT | mm::MADV_COLLAPSE => {
            Some(Effect::Hint)
        }
        mm::MADV_DONTNEED
        | mm::MADV_DONTNEED_LOCKED
        | mm::MADV_FREE
        | mm::MADV_REMOVE
        | mm::MADV_POPULATE_READ
        | mm::MADV_POPULATE_WRITE => Some(Effect::Host),
        _ => None,
    }
}

/// Whether a mapping can take the advice.
fn check(vma: &Vma, advice: u32) -> Result<()> {
    let special = vma.flags.contains(VmaFlags::SPECIAL);
    let locked = vma.flags.contains(VmaFlags::LOCKED);
    let sealed = vma.flags.contains(VmaFlags::SEALED)
        && vma.is_private_anonymous()
        && !vma.prot.contains(ProtFlags::PROT_WRITE);
    let discards = matches!(
        advice,
        mm::MADV_DONTNEED
            | mm::MADV_DONTNEED_LOCKED
            | mm::MADV_FREE
            | mm::MADV_REMOVE
            | mm::MADV_WIPEONFORK
    );
    if sealed && (discards || advice == mm::MADV_DONTFORK) {
        return Err(Errno::EPERM);
    }
    let fits = match advice {
        mm::MADV_DONTNEED | mm::MADV_COLD | mm::MADV_PAGEOUT => !locked && !special,
        mm::MADV_DONTNEED_LOCKED | mm::MADV_DOFORK | mm::MADV_DODUMP | mm::MADV_HUGEPAGE => {
            !special
        }
        mm::MADV_FREE => vma.is_private_anonymous() && !locked,
        mm::MADV_WIPEONFORK => vma.is_private_anonymous(),
        mm::MADV_POPULATE_READ => !special && !(vma.prot & !ProtFlags::PROT_SEM).is_empty(),
        mm::MADV_POPULATE_WRITE => !special && vma.prot.contains(ProtFlags::PROT_WRITE),
        mm::MADV_REMOVE => return check_remove(vma, locked),
        _ => true,
    };
    if fits { Ok(()) } else { Err(Errno::EINVAL) }
}

fn check_remove(vma: &Vma, locked: bool) -> Result<()> {
    if locked || matches!(vma.backing, Backing::Anonymous { .. } | Backing::Special { .. }) {
        return Err(Errno::EINVAL);
    }
    let writes_through = vma.shared() && vma.max_prot.contains(ProtFlags::PROT_WRITE);
    if writes_through && vma.prot.contains(ProtFlags::PROT_WRITE) {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}
