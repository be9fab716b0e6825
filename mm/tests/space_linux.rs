//! Single calls against what Linux does.

mod common;

use std::sync::Arc;

use chitin_abi::mm::{
    MADV_COLD, MADV_DONTFORK, MADV_DONTNEED, MADV_FREE, MADV_HWPOISON, MADV_REMOVE,
    MADV_WIPEONFORK, MAP_TYPE, MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MREMAP_DONTUNMAP,
    MREMAP_FIXED, MREMAP_MAYMOVE, MS_ASYNC, MS_INVALIDATE, MS_SYNC, MapFlags, ProtFlags,
};
use chitin_abi::{Errno, PAGE_SIZE};
use chitin_mm::space::{AdviseContext, MapRequest, MapSource, ObjectId, SpaceLimits};
use chitin_mm::{HostOp, Space};

use crate::common::space;

const P: u64 = PAGE_SIZE;
const RW: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
const PRIVATE: MapFlags = MapFlags::MAP_PRIVATE.union(MapFlags::MAP_ANONYMOUS);
const FIXED: MapFlags = PRIVATE.union(MapFlags::MAP_FIXED);
/// A fixed place in the middle.
const A: u64 = 0x1000_0000;

fn request(addr: u64, len: u64, prot: ProtFlags, flags: MapFlags) -> MapRequest {
    MapRequest { addr, len, prot, flags, source: MapSource::Anonymous }
}

fn map(space: &mut Space, addr: u64, pages: u64, prot: ProtFlags) -> u64 {
    space.map(request(addr, pages * P, prot, FIXED)).0.expect("mapped")
}

/// Starts, ends and rights, as /proc/pid/maps shows them.
fn maps(space: &Space) -> Vec<String> {
    let lines = space.maps().map(|vma| {
        let mut text = Vec::new();
        vma.write_maps_line(&mut text);
        String::from_utf8(text).expect("text")
    });
    lines.collect()
}

#[test]
fn mappings_are_placed_from_the_top_down_and_merge() {
    let mut space = space();
    let first = space.map(request(0, 3 * P, RW, PRIVATE)).0.expect("mapped");
    assert_eq!(first + 3 * P, space.mmap_base());
    let second = space.map(request(0, P, RW, PRIVATE)).0.expect("mapped");
    assert_eq!(second + P, first);
    assert_eq!(space.map_count(), 1);
    let third = space.map(request(0, P, ProtFlags::PROT_READ, PRIVATE)).0.expect("mapped");
    assert_eq!(third + P, second);
    assert_eq!(space.map_count(), 2);
    // A hole is used by what fits into it.
    assert_eq!(space.unmap(first, P).0, Ok(()));
    assert_eq!(space.map(request(0, 2 * P, RW, PRIVATE)).0, Ok(third - 2 * P));
    assert_eq!(space.map(request(0, P, RW, PRIVATE)).0, Ok(first));
    // A free hint is taken, rounded down.
    assert_eq!(space.map(request(A + 5, P, RW, PRIVATE)).0, Ok(A));
    let elsewhere = space.map(request(A, P, RW, PRIVATE)).0.expect("mapped");
    assert_ne!(elsewhere, A);
    let low = space.map(request(0, P, RW, PRIVATE | MapFlags::MAP_32BIT)).0;
    assert_eq!(low, Ok(0x4000_0000));
}

#[test]
fn mmap_errors() {
    let mut space = space();
    let mut fails =
        |addr: u64, len: u64, flags: MapFlags| space.map(request(addr, len, RW, flags)).0.err();
    assert_eq!(fails(0, 0, PRIVATE), Some(Errno::EINVAL));
    assert_eq!(fails(0, u64::MAX, PRIVATE), Some(Errno::ENOMEM));
    assert_eq!(fails(0, 1 << 50, PRIVATE), Some(Errno::ENOMEM));
    assert_eq!(fails(A + 1, P, FIXED), Some(Errno::EINVAL));
    assert_eq!(fails(0, P, FIXED), Some(Errno::EPERM));
    assert_eq!(fails(0x7fff_0000_0000, P, FIXED), Some(Errno::ENOMEM));
    assert_eq!(fails(0, P, MapFlags::MAP_ANONYMOUS), Some(Errno::EINVAL));
    let both = MapFlags::from_bits_retain(MAP_TYPE & 3) | MapFlags::MAP_ANONYMOUS;
    assert_eq!(fails(0, P, both), Some(Errno::EINVAL));
    let shared = MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS;
    assert_eq!(fails(0, P, shared | MapFlags::MAP_GROWSDOWN), Some(Errno::EINVAL));
    map(&mut space, A, 1, RW);
    let again = request(A, P, RW, PRIVATE | MapFlags::MAP_FIXED_NOREPLACE);
    assert_eq!(space.map(again).0, Err(Errno::EEXIST));
}

#[test]
fn limits_on_what_is_mapped() {
    let mut space = space();
    space.set_limits(SpaceLimits { address_space: 10 * P, data: 5 * P, ..SpaceLimits::default() });
    let mut try_map = |pages: u64, prot| space.map(request(0, pages * P, prot, PRIVATE)).0.is_ok();
    assert!(try_map(5, RW) && !try_map(1, RW));
    assert!(try_map(5, ProtFlags::PROT_READ) && !try_map(1, ProtFlags::PROT_READ));
    // Replacing does not count twice.
    let start = space.maps().last().expect("mapped").start;
    assert!(space.map(request(start, 5 * P, RW, FIXED)).0.is_ok());
    let read_only = space.maps().next().expect("mapped").start;
    assert_eq!(space.protect(read_only, P, RW).0, Err(Errno::ENOMEM));
}

#[test]
fn the_text_of_maps() {
    let mut space = space();
    space.set_brk_start(A);
    assert_eq!(space.set_brk(A + 10).0, Ok(A + 10));
    map(&mut space, A + 16 * P, 1, ProtFlags::PROT_EXEC | ProtFlags::PROT_READ);
    let stack = request(A + 64 * P, 2 * P, RW, FIXED | MapFlags::MAP_GROWSDOWN);
    assert!(space.map(stack).0.is_ok());
    space.set_stack_start(A + 65 * P);
    let name = Some(Arc::from(&b"mine"[..]));
    assert_eq!(space.set_name(A + 16 * P, P, name).0, Ok(()));
    let shared = MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS | MapFlags::MAP_FIXED;
    assert!(space.map(request(A + 80 * P, P, RW, shared)).0.is_ok());
    let pad = |text: &str, name: &str| format!("{text:<73}{name}\n");
    assert_eq!(
        maps(&space),
        [
            pad("10000000-10001000 rw-p 00000000 00:00 0 ", "[heap]"),
            pad("10010000-10011000 r-xp 00000000 00:00 0 ", "[anon:mine]"),
            pad("10040000-10042000 rw-p 00000000 00:00 0 ", "[stack]"),
            pad("10050000-10051000 rw-s 00000000 00:01 2 ", "/dev/zero (deleted)"),
        ]
    );
}

#[test]
fn munmap_splits_and_checks() {
    let mut space = space();
    map(&mut space, A, 5, RW);
    assert_eq!(space.unmap(A + 1, P).0, Err(Errno::EINVAL));
    assert_eq!(space.unmap(A, 0).0, Err(Errno::EINVAL));
    assert_eq!(space.unmap(A, u64::MAX).0, Err(Errno::EINVAL));
    let (result, plan) = space.unmap(A + 2 * P, 1);
    assert_eq!(result, Ok(()));
    assert!(
        matches!(plan.ops.as_slice(), [HostOp::Unmap { addr, len }] if *addr == A + 2 * P && *len == P)
    );
    assert_eq!(space.map_count(), 2);
    let (result, plan) = space.unmap(A + 32 * P, P);
    assert!(result.is_ok() && plan.ops.is_empty());
}

#[test]
fn mprotect_stops_at_holes() {
    let mut space = space();
    map(&mut space, A, 2, RW);
    map(&mut space, A + 3 * P, 1, RW);
    let read = ProtFlags::PROT_READ;
    assert_eq!(space.protect(A, 4 * P, read).0, Err(Errno::ENOMEM));
    let prots: Vec<_> = space.maps().map(|vma| vma.prot).collect();
    assert_eq!(prots, [read, RW]);
    assert_eq!(space.protect(A + 1, P, read).0, Err(Errno::EINVAL));
    assert_eq!(space.protect(A, 0, read).0, Ok(()));
    assert_eq!(space.protect(A, P, ProtFlags::from_bits_retain(0x40)).0, Err(Errno::EINVAL));
    let grows = read | ProtFlags::PROT_GROWSDOWN;
    assert_eq!(space.protect(A, P, grows).0, Err(Errno::EINVAL));
    assert_eq!(space.protect(A, P, grows | ProtFlags::PROT_GROWSUP).0, Err(Errno::EINVAL));
    assert_eq!(space.protect(A, P, read | ProtFlags::PROT_GROWSUP).0, Err(Errno::EINVAL));
}

#[test]
fn mremap_as_documented() {
    let mut space = space();
    map(&mut space, A, 2, RW);
    assert_eq!(space.remap(A, 2 * P, 4 * P, 0, 0).0, Ok(A));
    map(&mut space, A + 4 * P, 1, ProtFlags::PROT_READ);
    assert_eq!(space.remap(A, 4 * P, 6 * P, 0, 0).0, Err(Errno::ENOMEM));
    let moved = space.remap(A, 4 * P, 6 * P, MREMAP_MAYMOVE, 0).0.expect("moved");
    assert_eq!(moved + 6 * P, space.mmap_base());
    assert_eq!(space.remap(A, P, P, MREMAP_MAYMOVE, 0).0, Err(Errno::EFAULT));
    assert_eq!(space.remap(moved, 7 * P, 9 * P, MREMAP_MAYMOVE, 0).0, Err(Errno::EFAULT));
    assert_eq!(space.remap(moved, 6 * P, 0, 0, 0).0, Err(Errno::EINVAL));
    assert_eq!(space.remap(moved, 0, P, MREMAP_MAYMOVE, 0).0, Err(Errno::EINVAL));
    assert_eq!(space.remap(moved, P, P, MREMAP_FIXED, A).0, Err(Errno::EINVAL));
    assert_eq!(
        space.remap(moved, P, 2 * P, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0).0,
        Err(Errno::EINVAL)
    );
    let fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_eq!(space.remap(moved, 6 * P, 6 * P, fixed, moved + P).0, Err(Errno::EINVAL));
    assert_eq!(space.remap(moved, 6 * P, 2 * P, fixed, A).0, Ok(A));
    assert!(space.lookup(moved).is_none());
    let kept = space.remap(A, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0).0.expect("moved");
    assert!(space.lookup(A).is_some() && space.lookup(kept).is_some());
    // An old length of zero makes a second view of shared memory.
    let shared = MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS;
    let first = space.map(request(0, 2 * P, RW, shared)).0.expect("mapped");
    let second = space.remap(first, 0, 2 * P, MREMAP_MAYMOVE, 0).0.expect("duplicated");
    assert_eq!(space.shared_object(first + 9), space.shared_object(second + 9));
    assert!(matches!(space.shared_object(first + 9), Ok(Some((ObjectId::Anonymous(_), 9)))));
}

#[test]
fn a_failed_move_is_taken_back() {
    let mut space = space();
    map(&mut space, A, 2, RW);
    let before = maps(&space);
    let (result, plan) = space.remap(A, 2 * P, 3 * P, MREMAP_MAYMOVE, 0);
    assert_eq!(result, Ok(A));
    drop(space.undo(plan.undo.expect("can be undone")));
    assert_eq!(maps(&space), before);
    map(&mut space, A + 2 * P, 1, ProtFlags::PROT_READ);
    let before = maps(&space);
    let (result, plan) = space.remap(A, 2 * P, 3 * P, MREMAP_MAYMOVE, 0);
    assert_ne!(result, Ok(A));
    drop(space.undo(plan.undo.expect("can be undone")));
    assert_eq!(maps(&space), before);
}

#[test]
fn advice_and_its_errors() {
    let mut space = space();
    map(&mut space, A, 2, RW);
    let shared = MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS | MapFlags::MAP_FIXED;
    space.map(request(A + 2 * P, P, RW, shared)).0.expect("mapped");
    let mut advise = |addr, pages: u64, advice| {
        space.advise(addr, pages * P, advice, AdviseContext::default()).0
    };
    assert_eq!(advise(A + 1, 1, MADV_DONTNEED), Err(Errno::EINVAL));
    assert_eq!(advise(A, 1, 77), Err(Errno::EINVAL));
    assert_eq!(advise(A, 0, MADV_DONTNEED), Ok(()));
    assert_eq!(advise(A, 3, MADV_DONTNEED), Ok(()));
    assert_eq!(advise(A, 4, MADV_DONTNEED), Err(Errno::ENOMEM));
    assert_eq!(advise(A, 1, MADV_REMOVE), Err(Errno::EINVAL));
    assert_eq!(advise(A + 2 * P, 1, MADV_REMOVE), Ok(()));
    assert_eq!(advise(A + 2 * P, 1, MADV_FREE), Err(Errno::EINVAL));
    assert_eq!(advise(A + 2 * P, 1, MADV_WIPEONFORK), Err(Errno::EINVAL));
    assert_eq!(advise(A, 1, MADV_HWPOISON), Err(Errno::EPERM));
    assert_eq!(advise(A, 1, MADV_DONTFORK), Ok(()));
    assert_eq!(space.fork().maps().map(|vma| vma.start).collect::<Vec<_>>(), [A + P, A + 2 * P]);
    space.lock(A, P, 0).0.expect("locked");
    assert_eq!(space.advise(A, P, MADV_COLD, AdviseContext::default()).0, Err(Errno::EINVAL));
    assert_eq!(space.advise(A, P, MADV_DONTNEED, AdviseContext::default()).0, Err(Errno::EINVAL));
}

#[test]
fn locking_is_limited() {
    let mut space = space();
    map(&mut space, A, 10, RW);
    let limits = SpaceLimits { locked: 4 * P, ..SpaceLimits::default() };
    space.set_limits(limits);
    assert_eq!(space.lock(A + 100, 3 * P, 0).0, Ok(()));
    assert_eq!(space.usage().locked, 4 * P);
    assert_eq!(space.lock(A, 4 * P, 0).0, Ok(()));
    assert_eq!(space.lock(A + 8 * P, P, 0).0, Err(Errno::ENOMEM));
    assert_eq!(space.lock_all(MCL_CURRENT).0, Err(Errno::ENOMEM));
    assert_eq!(space.lock_all(0).0, Err(Errno::EINVAL));
    assert_eq!(space.lock_all(MCL_ONFAULT).0, Err(Errno::EINVAL));
    assert_eq!(space.lock_all(MCL_FUTURE).0, Ok(()));
    assert_eq!(space.map(request(0, P, RW, PRIVATE)).0, Err(Errno::EAGAIN));
    space.set_limits(SpaceLimits { locked: 0, ..limits });
    assert_eq!(space.lock(A, P, 0).0, Err(Errno::EPERM));
    assert_eq!(space.map(request(0, P, RW, PRIVATE | MapFlags::MAP_LOCKED)).0, Err(Errno::EPERM));
    assert_eq!(space.unlock_all().0, Ok(()));
    assert_eq!(space.usage().locked, 0);
    space.set_limits(SpaceLimits { may_lock: true, ..limits });
    assert_eq!(space.lock(A, 10 * P, 0).0, Ok(()));
    assert_eq!(space.lock(A + 9 * P, 2 * P, 0).0, Err(Errno::ENOMEM));
    assert_eq!(space.unlock(A, 10 * P).0, Ok(()));
}

#[test]
fn msync_and_mincore() {
    let mut space = space();
    map(&mut space, A, 2, RW);
    map(&mut space, A + 3 * P, 1, RW);
    assert_eq!(space.sync(A, 2 * P, MS_SYNC).0, Ok(()));
    assert_eq!(space.sync(A, 4 * P, MS_SYNC).0, Err(Errno::ENOMEM));
    assert_eq!(space.sync(A, P, MS_SYNC | MS_ASYNC).0, Err(Errno::EINVAL));
    assert_eq!(space.sync(A + 1, P, MS_SYNC).0, Err(Errno::EINVAL));
    assert_eq!(space.sync(A, P, 64).0, Err(Errno::EINVAL));
    assert_eq!(space.mincore(A, 2 * P - 1), Ok(2));
    assert_eq!(space.mincore(A, 3 * P), Err(Errno::ENOMEM));
    assert_eq!(space.mincore(A + 1, P), Err(Errno::EINVAL));
    space.lock(A, P, 0).0.expect("locked");
    assert_eq!(space.sync(A, P, MS_INVALIDATE).0, Err(Errno::EBUSY));
}

#[test]
fn the_break_moves_within_limits() {
    let mut space = space();
    space.set_brk_start(A);
    assert_eq!(space.set_brk(0).0, Ok(A));
    assert_eq!(space.set_brk(A + 5 * P + 1).0, Ok(A + 5 * P + 1));
    assert_eq!(space.usage().total, 6 * P);
    assert_eq!(space.set_brk(A + P).0, Ok(A + P));
    assert_eq!(space.usage().total, P);
    map(&mut space, A + 3 * P, 1, RW);
    // The page before the next mapping stays free.
    assert_eq!(space.set_brk(A + 3 * P).0, Ok(A + P));
    assert_eq!(space.set_brk(A + 2 * P).0, Ok(A + 2 * P));
    space.set_limits(SpaceLimits { data: P, ..SpaceLimits::default() });
    assert_eq!(space.set_brk(A + 2 * P + 1).0, Ok(A + 2 * P));
}

#[test]
fn stacks_grow_to_their_limit_and_keep_a_guard() {
    let mut space = space();
    let stack = request(A + 600 * P, 2 * P, RW, FIXED | MapFlags::MAP_GROWSDOWN);
    assert!(space.map(stack).0.is_ok());
    assert_eq!(space.grow_stack(A + 590 * P + 3).0, Ok(()));
    assert_eq!(space.maps().next().map(|vma| vma.start), Some(A + 590 * P));
    // Something below keeps 256 pages clear.
    map(&mut space, A + 300 * P, 1, RW);
    assert_eq!(space.grow_stack(A + 500 * P).0, Err(Errno::EFAULT));
    assert_eq!(space.grow_stack(A + 557 * P).0, Ok(()));
    assert_eq!(space.unmap(A + 300 * P, P).0, Ok(()));
    space.set_limits(SpaceLimits { stack: 50 * P, ..SpaceLimits::default() });
    assert_eq!(space.grow_stack(A + 551 * P).0, Err(Errno::EFAULT));
    assert_eq!(space.grow_stack(A + 552 * P).0, Ok(()));
    assert_eq!(space.grow_stack(A + 700 * P).0, Err(Errno::EFAULT));
    // Nothing is placed right below it.
    let near = space.map(request(A + 551 * P, P, RW, PRIVATE)).0.expect("mapped");
    assert_ne!(near, A + 551 * P);
}

#[test]
fn sealed_memory_stays() {
    let mut space = space();
    map(&mut space, A, 3, RW);
    assert_eq!(space.seal(A, 4 * P, 0).0, Err(Errno::ENOMEM));
    assert_eq!(space.seal(A + P, P, 0).0, Ok(()));
    assert_eq!(space.unmap(A, 3 * P).0, Err(Errno::EPERM));
    assert_eq!(space.protect(A + P, P, ProtFlags::PROT_READ).0, Err(Errno::EPERM));
    assert_eq!(space.map(request(A + P, P, RW, FIXED)).0, Err(Errno::EPERM));
    assert_eq!(space.unmap(A, P).0, Ok(()));
}

#[test]
fn many_mappings_and_the_most_there_may_be() {
    let mut space = space();
    // Different rights, so that neighbours don't merge.
    for index in 0..65_530_u64 {
        let prot = if index % 2 == 0 { RW } else { ProtFlags::PROT_READ };
        space.map(request(0, P, prot, PRIVATE)).0.expect("there is room");
    }
    assert_eq!(space.map(request(0, P, RW, PRIVATE)).0, Err(Errno::ENOMEM));
    let low = space.maps().next().expect("mapped");
    assert_eq!(space.unmap(low.start, P).0, Ok(()));
    assert!(space.map(request(0, 3 * P, ProtFlags::PROT_EXEC, PRIVATE)).0.is_ok());
    let low = space.maps().next().expect("mapped").start;
    // A hole in the middle would make one more.
    assert_eq!(space.unmap(low + P, P).0, Err(Errno::ENOMEM));
    assert_eq!(space.unmap(low, P).0, Ok(()));
}
