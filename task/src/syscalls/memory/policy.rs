//! Memory policies, on a machine with one node.

use chitin_abi::mm::{
    MPOL_BIND, MPOL_DEFAULT, MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED, MPOL_F_NODE, MPOL_F_NUMA_BALANCING,
    MPOL_F_RELATIVE_NODES, MPOL_F_STATIC_NODES, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_MF_MOVE,
    MPOL_MF_MOVE_ALL, MPOL_MF_STRICT, MPOL_PREFERRED, MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
};
use chitin_abi::process::CAP_SYS_NICE;
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};

use crate::context::Ctx;
use crate::error::SysResult;
use crate::syscalls::args::{Flags, LongFlags};

/// Nodes that the kernel could have.
const MAX_NODES: u64 = 1024;

/// A task's policy: its mode with flags, and its nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryPolicy {
    mode: u32,
    nodes: u64,
}

/// Reads a set of nodes: only node 0 can be in it.
pub(super) fn read_nodes(cx: &Ctx<'_>, mask: GuestAddr, maxnode: u64) -> Result<u64> {
    let bits = maxnode.wrapping_sub(1);
    if bits == 0 || maxnode == 0 || mask.is_null() {
        return Ok(0);
    }
    if bits > PAGE_SIZE * 8 {
        return Err(Errno::EINVAL);
    }
    let mut nodes = 0;
    for index in 0..bits.div_ceil(64) {
        let at = mask.checked_add(index.saturating_mul(8)).ok_or(Errno::EFAULT)?;
        let mut word: u64 = cx.read(at)?;
        let left = bits.saturating_sub(index.saturating_mul(64));
        if left < 64 {
            word &= (1 << left) - 1;
        }
        if index == 0 {
            nodes = word;
        } else if word != 0 && index.saturating_mul(64) >= MAX_NODES {
            return Err(Errno::EINVAL);
        }
    }
    Ok(nodes)
}

/// Checks a mode with its flags and nodes.
fn check_policy(mode: u32, nodes: u64, had_nodes: bool) -> Result<MemoryPolicy> {
    let kinds = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES;
    let flags = mode & (kinds | MPOL_F_NUMA_BALANCING);
    let kind = mode & !flags;
    let balancing = flags & MPOL_F_NUMA_BALANCING != 0;
    if flags & kinds == kinds || (balancing && !matches!(kind, MPOL_BIND | MPOL_PREFERRED_MANY)) {
        return Err(Errno::EINVAL);
    }
    match kind {
        MPOL_DEFAULT | MPOL_LOCAL if nodes != 0 => Err(Errno::EINVAL),
        MPOL_DEFAULT => Ok(MemoryPolicy::default()),
        MPOL_LOCAL if flags != 0 => Err(Errno::EINVAL),
        MPOL_LOCAL => Ok(MemoryPolicy { mode: kind, nodes: 0 }),
        MPOL_PREFERRED if nodes == 0 && !had_nodes => {
            if flags & kinds != 0 {
                Err(Errno::EINVAL)
            } else {
                Ok(MemoryPolicy { mode: MPOL_LOCAL, nodes: 0 })
            }
        }
        MPOL_PREFERRED if nodes == 0 => Ok(MemoryPolicy { mode: MPOL_LOCAL, nodes: 0 }),
        MPOL_PREFERRED
        | MPOL_BIND
        | MPOL_INTERLEAVE
        | MPOL_PREFERRED_MANY
        | MPOL_WEIGHTED_INTERLEAVE => {
            if nodes & 1 == 0 {
                Err(Errno::EINVAL)
            } else {
                Ok(MemoryPolicy { mode: mode & !MPOL_F_NUMA_BALANCING, nodes: 1 })
            }
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `set_mempolicy(2)`.
///
/// # Errors
/// EINVAL, EFAULT.
pub fn set_mempolicy(cx: &mut Ctx<'_>, mode: i32, nodemask: GuestAddr, maxnode: u64) -> SysResult {
    let nodes = read_nodes(cx, nodemask, maxnode)?;
    let policy = check_policy(mode.cast_unsigned(), nodes, nodes != 0)?;
    *cx.task.memory_policy.lock() = policy;
    Ok(0)
}

/// `get_mempolicy(2)`.
///
/// # Errors
/// EINVAL, EFAULT.
pub fn get_mempolicy(
    cx: &mut Ctx<'_>,
    mode: GuestAddr,
    nodemask: GuestAddr,
    maxnode: u64,
    addr: GuestAddr,
    flags: Flags,
) -> SysResult {
    if flags.0 & !(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if !nodemask.is_null() && maxnode < 1 {
        return Err(Errno::EINVAL.into());
    }
    let policy = *cx.task.memory_policy.lock();
    let (shown_mode, nodes) = if flags.0 & MPOL_F_MEMS_ALLOWED != 0 {
        if flags.0 & (MPOL_F_NODE | MPOL_F_ADDR) != 0 {
            return Err(Errno::EINVAL.into());
        }
        (0, 1)
    } else if flags.0 & MPOL_F_ADDR != 0 {
        if cx.mm.space.lock().lookup(addr.0).is_none() {
            return Err(Errno::EFAULT.into());
        }
        (if flags.0 & MPOL_F_NODE != 0 { 0 } else { policy.mode }, policy.nodes)
    } else if !addr.is_null() {
        return Err(Errno::EINVAL.into());
    } else if flags.0 & MPOL_F_NODE != 0 {
        if !matches!(policy.mode & 0xfff, MPOL_INTERLEAVE | MPOL_WEIGHTED_INTERLEAVE) {
            return Err(Errno::EINVAL.into());
        }
        (0, policy.nodes)
    } else {
        (policy.mode, policy.nodes)
    };
    cx.write_opt(mode, &shown_mode)?;
    if !nodemask.is_null() {
        write_nodes(cx, nodemask, maxnode, nodes)?;
    }
    Ok(0)
}

fn write_nodes(cx: &Ctx<'_>, mask: GuestAddr, maxnode: u64, nodes: u64) -> Result<()> {
    let bytes = maxnode.saturating_sub(1).div_ceil(64).saturating_mul(8);
    if bytes > PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    let mut words = vec![0_u8; bytes as usize];
    if let Some(first) = words.first_chunk_mut::<8>() {
        *first = nodes.to_ne_bytes();
    }
    cx.memory().write(mask, &words)
}

/// `mbind(2)`: checked, without effect.
///
/// # Errors
/// EINVAL, EFAULT, EPERM.
pub fn mbind(
    cx: &mut Ctx<'_>,
    addr: GuestAddr,
    len: u64,
    mode: i32,
    nodemask: GuestAddr,
    maxnode: u64,
    flags: Flags,
) -> SysResult {
    let nodes = read_nodes(cx, nodemask, maxnode)?;
    if flags.0 & !(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags.0 & MPOL_MF_MOVE_ALL != 0 && !cx.task.cred().capable_initial(CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    if !addr.0.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let len = chitin_abi::addr::page_ceil(len).ok_or(Errno::EINVAL)?;
    let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
    if len == 0 {
        return Ok(0);
    }
    check_policy(mode.cast_unsigned(), nodes, nodes != 0)?;
    if !cx.mm.space.lock().is_mapped(addr.0, end.0.saturating_sub(addr.0)) {
        return Err(Errno::EFAULT.into());
    }
    Ok(0)
}

/// `set_mempolicy_home_node(2)`: checked, without effect.
///
/// # Errors
/// EINVAL, ENOENT where no policy was bound.
pub fn set_mempolicy_home_node(
    _cx: &mut Ctx<'_>,
    start: GuestAddr,
    len: u64,
    home_node: u64,
    flags: LongFlags,
) -> SysResult {
    let _ = len;
    if flags.0 != 0 || !start.0.is_multiple_of(PAGE_SIZE) || home_node != 0 {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::ENOENT.into())
}
