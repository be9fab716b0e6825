//! A tracee's memory: words that the tracer reads and writes, where the tracee itself may not, too.
//!
//! As on Linux, a tracer reads what is not readable, and writes private mappings that are not writable (it puts
//! breakpoints into code). Cost: one copy where the tracee has the right; else two changes of protection around it,
//! during which other threads of the tracee may do what it may not.

use chitin_abi::mm::ProtFlags;
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use chitin_mm::HostOp;
use chitin_mm::host_op::HostProt;

use crate::memory::Mm;

fn host_prot(prot: ProtFlags) -> HostProt {
    HostProt {
        read: prot.contains(ProtFlags::PROT_READ),
        write: prot.contains(ProtFlags::PROT_WRITE),
        exec: prot.contains(ProtFlags::PROT_EXEC),
    }
}

/// A page that is being opened: where, and its rights before and meanwhile.
fn opened(mm: &Mm, addr: u64, write: bool) -> Result<(u64, HostProt, HostProt)> {
    let vma = mm.space.lock().lookup(addr).ok_or(Errno::EIO)?;
    let needed = if write { ProtFlags::PROT_WRITE } else { ProtFlags::PROT_READ };
    let allowed = vma.max_prot.contains(needed) && (!write || !vma.shared());
    if !allowed || vma.prot.contains(needed) {
        return Err(Errno::EIO);
    }
    let before = host_prot(vma.prot);
    let meanwhile = HostProt { read: true, write: write || before.write, exec: before.exec };
    Ok((addr & !(PAGE_SIZE - 1), before, meanwhile))
}

async fn forced(
    mm: &Mm,
    addr: u64,
    write: bool,
    work: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    let (page, before, meanwhile) = opened(mm, addr, write)?;
    let protect = |prot| vec![HostOp::Protect { addr: page, len: PAGE_SIZE, prot }];
    mm.host().apply(protect(meanwhile)).await.map_err(|_| Errno::EIO)?;
    let result = work();
    mm.host().apply(protect(before)).await.map_err(|_| Errno::EIO)?;
    result
}

/// The pieces of a range that lie in one page each: offset in the range, and length.
fn pieces(addr: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = addr.checked_add(done as u64)?;
        let room = (PAGE_SIZE - at % PAGE_SIZE) as usize;
        let count = room.min(len.checked_sub(done)?);
        let piece = (count > 0).then_some((at, done, count));
        done = done.saturating_add(count);
        piece
    })
}

/// Reads from a tracee.
///
/// # Errors
/// EIO.
pub async fn read(mm: &Mm, addr: GuestAddr, bytes: &mut [u8]) -> Result<()> {
    if mm.memory().read(addr, bytes).is_ok() {
        return Ok(());
    }
    let _ordered = mm.ops.lock().await;
    for (at, offset, count) in pieces(addr.0, bytes.len()) {
        let piece = bytes.get_mut(offset..offset.saturating_add(count)).ok_or(Errno::EIO)?;
        if mm.memory().read(GuestAddr(at), piece).is_err() {
            forced(mm, at, false, || mm.memory().read(GuestAddr(at), piece)).await?;
        }
    }
    Ok(())
}

/// Writes to a tracee.
///
/// # Errors
/// EIO.
pub async fn write(mm: &Mm, addr: GuestAddr, bytes: &[u8]) -> Result<()> {
    if mm.memory().write(addr, bytes).is_ok() {
        return Ok(());
    }
    let _ordered = mm.ops.lock().await;
    for (at, offset, count) in pieces(addr.0, bytes.len()) {
        let piece = bytes.get(offset..offset.saturating_add(count)).ok_or(Errno::EIO)?;
        if mm.memory().write(GuestAddr(at), piece).is_err() {
            forced(mm, at, true, || mm.memory().write(GuestAddr(at), piece)).await?;
        }
    }
    Ok(())
}
