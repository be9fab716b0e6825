//! Moving, advising, locking and looking at memory: `mremap(2)`, `madvise(2)`, `mincore(2)`, `msync(2)`, `mlock(2)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{as_user, memory, ok, shared, status_of, text, words};
use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Mapping, Processes, fails, tests};

const MAYMOVE: u32 = 1;
const FIXED: u32 = 2;
const DONTUNMAP: u32 = 4;
const WILLNEED: u32 = 3;
const DONTNEED: u32 = 4;
const FREE: u32 = 8;
const REMOVE: u32 = 9;
const DONTFORK: u32 = 10;
const DOFORK: u32 = 11;
const WIPEONFORK: u32 = 18;
const KEEPONFORK: u32 = 19;
const POPULATE_READ: u32 = 22;
const POPULATE_WRITE: u32 = 23;
const DONTNEED_LOCKED: u32 = 24;

fn remap(k: &dyn Kernel, at: u64, old: u64, new: u64, flags: u32, to: u64) -> Result<u64> {
    call!(k, MREMAP, at, old, new, flags, to)
}

fn advise(k: &dyn Kernel, at: u64, length: u64, advice: u32) -> Result<u64> {
    call!(k, MADVISE, at, length, advice)
}

fn there(k: &dyn Kernel, map: &dyn Mapping, pages: usize) -> Vec<u8> {
    let mut vector = vec![9; pages];
    ok(call!(k, MINCORE, map.address(), pages * 4096, vector.as_mut_slice()));
    vector.iter().map(|byte| byte & 1).collect()
}

fn free(k: &dyn Kernel, pages: u64) -> u64 {
    let at = call!(k, MMAP, 0, pages * 4096, 3, 0x22, -1, 0).unwrap();
    ok(call!(k, MUNMAP, at, pages * 4096));
    at
}

/// Whether a child that reads this byte is killed by a fault.
fn faults_at(k: &dyn Kernel, map: &dyn Mapping, at: usize) -> bool {
    k.status(k.child(|| {
        ok(call!(k, SETRLIMIT, 4, words([0, 0]).as_slice()));
        std::hint::black_box(map.get(at));
        0
    })) & 0x7f
        == 11
}

fn user_limit(k: &dyn Kernel, bytes: u64, body: impl Fn()) {
    as_user(k, || {
        ok(call!(k, SETRLIMIT, 8, words([bytes, bytes]).as_slice()));
        body();
    });
}

tests! { "advise", "madvise(2)";
    [mremap] grows_in_place_where_it_can(k) needs Native { let at = free(k, 8); let map = call!(k, MMAP, at, 4096, 3, 0x22, -1, 0).unwrap(); assert_eq!(remap(k, map, 4096, 16384, 0, 0), Ok(map)); }
    [mremap] cannot_grow_in_place(k) needs Native { let map = memory(k, 3); fails(remap(k, map.address(), 4096, 8192, 0, 0), E::ENOMEM); }
    [mremap] moves_with_its_content(k) needs Native { let map = memory(k, 3); map.set(0, 7); let to = remap(k, map.address(), 4096, 8192, MAYMOVE, 0).unwrap(); assert_ne!(to, map.address()); assert!(faults_at(k, &*map, 0)); let mut byte = [0_u8]; ok(call!(k, PROCESS_VM_READV, k.getpid(), words([byte.as_mut_ptr() as u64, 1]).as_slice(), 1, words([to, 1]).as_slice(), 1, 0)); assert_eq!(byte, [7]); }
    [mremap] shrinks(k) needs Native { let map = memory(k, 3); assert_eq!(remap(k, map.address(), 12288, 4096, 0, 0), Ok(map.address())); assert!(faults_at(k, &*map, 4096)); }
    [mremap] unaligned(k) needs Native { fails(remap(k, memory(k, 1).address() + 1, 4096, 4096, 0, 0), E::EINVAL); }
    [mremap] new_length_of_zero(k) needs Native { fails(remap(k, memory(k, 1).address(), 4096, 0, 0, 0), E::EINVAL); }
    [mremap] unknown_flags_of_mremap(k) needs Native { fails(remap(k, memory(k, 1).address(), 4096, 4096, 8, 0), E::EINVAL); }
    [mremap] fixed_needs_maymove(k) needs Native { fails(remap(k, memory(k, 1).address(), 4096, 4096, FIXED, free(k, 1)), E::EINVAL); }
    [mremap] fixed_to_a_place(k) needs Native { let (map, to) = (memory(k, 1), free(k, 1)); map.set(0, 3); assert_eq!(remap(k, map.address(), 4096, 4096, MAYMOVE | FIXED, to), Ok(to)); }
    [mremap] fixed_replaces_what_is_there(k) needs Native { let (map, target) = (memory(k, 1), memory(k, 1)); map.set(0, 3); ok(remap(k, map.address(), 4096, 4096, MAYMOVE | FIXED, target.address())); assert_eq!(target.get(0), 3); }
    [mremap] fixed_onto_itself(k) needs Native { let map = memory(k, 2); fails(remap(k, map.address(), 8192, 8192, MAYMOVE | FIXED, map.address() + 4096), E::EINVAL); }
    [mremap] fixed_unaligned(k) needs Native { fails(remap(k, memory(k, 1).address(), 4096, 4096, MAYMOVE | FIXED, free(k, 2) + 5), E::EINVAL); }
    [mremap] nothing_is_mapped(k) needs Native { fails(remap(k, free(k, 1), 4096, 8192, MAYMOVE, 0), E::EFAULT); }
    [mremap] across_two_mappings(k) needs Native { let map = memory(k, 2); ok(call!(k, MPROTECT, map.address(), 4096, 1)); fails(remap(k, map.address(), 8192, 16384, MAYMOVE, 0), E::EFAULT); }
    [mremap] old_length_of_zero_needs_a_shared_mapping(k) needs Native { fails(remap(k, memory(k, 1).address(), 0, 4096, MAYMOVE, 0), E::EINVAL); let map = shared(k, 1); map.set(0, 5); let copy = remap(k, map.address(), 0, 4096, MAYMOVE, 0).unwrap(); assert_ne!(copy, map.address()); map.set(1, 6); assert_eq!(map.get(0), 5); }
    [mremap] dontunmap_leaves_empty_memory(k) needs Native { let map = memory(k, 1); map.set(0, 7); let to = remap(k, map.address(), 4096, 4096, MAYMOVE | DONTUNMAP, 0).unwrap(); assert_ne!(to, map.address()); assert_eq!(map.get(0), 0); }
    [mremap] dontunmap_keeps_the_length(k) needs Native { fails(remap(k, memory(k, 2).address(), 4096, 8192, MAYMOVE | DONTUNMAP, 0), E::EINVAL); fails(remap(k, memory(k, 2).address(), 4096, 4096, DONTUNMAP, 0), E::EINVAL); }
    [mremap, setrlimit] beyond_the_address_space_limit(k) needs Native { let map = memory(k, 1); k.apart(|| { ok(call!(k, SETRLIMIT, 9, words([256 << 20, 256 << 20]).as_slice())); fails(remap(k, map.address(), 4096, 1 << 30, MAYMOVE, 0), E::ENOMEM); }); }
    [madvise] unaligned_address(k) needs Native { fails(advise(k, memory(k, 1).address() + 1, 4096, DONTNEED), E::EINVAL); }
    [madvise] unknown_advice(k) needs Native { for advice in [5, 6, 7, 26, 99, 105] { fails(advise(k, memory(k, 1).address(), 4096, advice), E::EINVAL); } }
    [madvise] length_that_wraps(k) needs Native { fails(advise(k, memory(k, 1).address(), u64::MAX - 4095, DONTNEED), E::EINVAL); }
    [madvise] zero_length_is_nothing(k) needs Native { assert_eq!(advise(k, memory(k, 1).address(), 0, DONTNEED), Ok(0)); }
    [madvise] hole_is_enomem_after_the_rest(k) needs Native { let map = memory(k, 3); map.set(0, 1); map.set(8192, 1); ok(call!(k, MUNMAP, map.address() + 4096, 4096)); fails(advise(k, map.address(), 12288, DONTNEED), E::ENOMEM); assert_eq!((map.get(0), map.get(8192)), (0, 0)); }
    [madvise] plain_hints_are_accepted(k) needs Native { let map = memory(k, 2); for advice in [0, 1, 2, WILLNEED, 12, 13, 14, 15, 16, 17, 20, 21] { let found = advise(k, map.address(), 8192, advice); assert!(found == Ok(0) || found == Err(E::EINVAL), "{advice}: {found:?}"); } }
    [madvise] dontneed_empties_anonymous_memory(k) needs Native { let map = memory(k, 2); map.set(0, 1); map.set(4096, 2); ok(advise(k, map.address(), 4096, DONTNEED)); assert_eq!((map.get(0), map.get(4096)), (0, 2)); }
    [madvise] dontneed_takes_a_private_file_back(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(4096, 3, 2, file, 0).unwrap(); map.set(0, b'X'); ok(advise(k, map.address(), 4096, DONTNEED)); assert_eq!(map.get(0), b'a'); }
    [madvise] dontneed_keeps_shared_memory(k) needs Native { let map = shared(k, 1); map.set(0, 5); ok(advise(k, map.address(), 4096, DONTNEED)); assert_eq!(map.get(0), 5); }
    [madvise] dontneed_of_locked_memory(k) needs Root, Native { let map = memory(k, 1); ok(call!(k, MLOCK, map.address(), 4096)); fails(advise(k, map.address(), 4096, DONTNEED), E::EINVAL); ok(advise(k, map.address(), 4096, DONTNEED_LOCKED)); }
    [madvise] free_is_for_anonymous_memory(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(4096, 3, 2, file, 0).unwrap(); fails(advise(k, map.address(), 4096, FREE), E::EINVAL); fails(advise(k, shared(k, 1).address(), 4096, FREE), E::EINVAL); }
    [madvise] free_keeps_what_is_written_later(k) needs Native { let map = memory(k, 1); map.set(0, 1); ok(advise(k, map.address(), 4096, FREE)); map.set(0, 2); assert_eq!(map.get(0), 2); }
    [madvise] remove_punches_shared_memory(k) needs Native { let map = shared(k, 2); map.set(0, 1); map.set(4096, 2); ok(advise(k, map.address(), 4096, REMOVE)); assert_eq!((map.get(0), map.get(4096)), (0, 2)); }
    [madvise] remove_of_private_memory(k) needs Native { fails(advise(k, memory(k, 1).address(), 4096, REMOVE), E::EINVAL); }
    [madvise] remove_needs_a_writable_mapping(k) needs Native { let map = k.map(4096, 1, 0x21, -1, 0).unwrap(); let found = advise(k, map.address(), 4096, REMOVE); assert!(matches!(found, Ok(0) | Err(E::EACCES)), "{found:?}"); }
    [madvise, fork] dontfork_is_not_in_the_child(k) needs Native { let map = memory(k, 1); ok(advise(k, map.address(), 4096, DONTFORK)); assert!(faults_at(k, &*map, 0)); ok(advise(k, map.address(), 4096, DOFORK)); assert!(!faults_at(k, &*map, 0)); }
    [madvise, fork] wipeonfork_is_empty_in_the_child(k) needs Native { let map = memory(k, 1); map.set(0, 7); ok(advise(k, map.address(), 4096, WIPEONFORK)); k.apart(|| assert_eq!(map.get(0), 0)); assert_eq!(map.get(0), 7); ok(advise(k, map.address(), 4096, KEEPONFORK)); k.apart(|| assert_eq!(map.get(0), 7)); }
    [madvise] wipeonfork_is_for_private_anonymous_memory(k) needs Native { fails(advise(k, shared(k, 1).address(), 4096, WIPEONFORK), E::EINVAL); let file = k.file("f", b"x"); fails(advise(k, k.map(4096, 3, 2, file, 0).unwrap().address(), 4096, WIPEONFORK), E::EINVAL); }
    [madvise] populating_makes_it_there(k) needs Native { let map = memory(k, 4); ok(advise(k, map.address(), 8192, POPULATE_WRITE)); assert_eq!(there(k, &*map, 4), [1, 1, 0, 0]); }
    [madvise] populating_what_may_not_be_written(k) needs Native { let map = k.map(4096, 1, 0x22, -1, 0).unwrap(); fails(advise(k, map.address(), 4096, POPULATE_WRITE), E::EINVAL); ok(advise(k, map.address(), 4096, POPULATE_READ)); }
    [madvise] populating_behind_the_end_of_a_file(k) needs Native { let file = k.file("f", b"x"); let map = k.map(8192, 3, 1, file, 0).unwrap(); fails(advise(k, map.address(), 8192, POPULATE_READ), E::EFAULT); }
    [madvise] willneed_of_unmapped_memory(k) needs Native { fails(advise(k, free(k, 1), 4096, WILLNEED), E::ENOMEM); }
    [madvise] poisoning_needs_privilege(k) needs Root, Native { let map = memory(k, 1); as_user(k, || for advice in [100, 101] { let found = advise(k, map.address(), 4096, advice); assert!(matches!(found, Err(E::EPERM | E::EINVAL)), "{found:?}"); }); }
    [mincore] touched_pages_are_there_and_others_not(k) needs Native { let map = memory(k, 4); map.set(4096, 1); assert_eq!(there(k, &*map, 4), [0, 1, 0, 0]); }
    [mincore, madvise] dropped_pages_are_not_there(k) needs Native { let map = memory(k, 2); map.set(0, 1); map.set(4096, 1); ok(advise(k, map.address(), 4096, DONTNEED)); assert_eq!(there(k, &*map, 2), [0, 1]); }
    [mincore, mlock] locked_pages_are_there(k) needs Root, Native { let map = memory(k, 3); ok(call!(k, MLOCK, map.address(), 12288)); assert_eq!(there(k, &*map, 3), [1; 3]); }
    [mincore] written_file_pages_are_there(k) needs Native { let file = k.file("f", &[1; 8192]); let map = k.map(8192, 1, 1, file, 0).unwrap(); assert_eq!(there(k, &*map, 2), [1, 1]); }
    [mincore] unaligned_address_of_mincore(k) needs Native { fails(call!(k, MINCORE, memory(k, 1).address() + 1, 4096, &mut [0_u8; 2]), E::EINVAL); }
    [mincore] unmapped_memory(k) needs Native { fails(call!(k, MINCORE, free(k, 1), 4096, &mut [0_u8]), E::ENOMEM); let map = memory(k, 2); ok(call!(k, MUNMAP, map.address() + 4096, 4096)); fails(call!(k, MINCORE, map.address(), 8192, &mut [0_u8; 2]), E::ENOMEM); }
    [mincore] bad_vector(k) needs Native { fails(call!(k, MINCORE, memory(k, 1).address(), 4096, Arg::Bad), E::EFAULT); }
    [mincore] outside_the_address_space(k) needs Native { fails(call!(k, MINCORE, memory(k, 1).address(), u64::MAX / 2, &mut [0_u8]), E::ENOMEM); }
    [mincore] zero_length(k) needs Native { assert_eq!(call!(k, MINCORE, memory(k, 1).address(), 0, &mut [0_u8]), Ok(0)); }
    [msync] flags_exclude_each_other(k) needs Native { fails(call!(k, MSYNC, memory(k, 1).address(), 4096, 5), E::EINVAL); }
    [msync] unknown_flags_of_msync(k) needs Native { fails(call!(k, MSYNC, memory(k, 1).address(), 4096, 8), E::EINVAL); }
    [msync] unaligned_address_of_msync(k) needs Native { fails(call!(k, MSYNC, memory(k, 1).address() + 1, 4096, 4), E::EINVAL); }
    [msync] unmapped_memory_of_msync(k) needs Native { fails(call!(k, MSYNC, free(k, 1), 4096, 4), E::ENOMEM); }
    [msync] invalidate_of_locked_memory(k) needs Root, Native { let map = shared(k, 1); ok(call!(k, MLOCK, map.address(), 4096)); fails(call!(k, MSYNC, map.address(), 4096, 2), E::EBUSY); ok(call!(k, MSYNC, map.address(), 4096, 4)); }
    [msync] no_flags_are_fine(k) needs Native { let map = shared(k, 1); for flags in [0, 1, 2, 4, 6] { assert_eq!(call!(k, MSYNC, map.address(), 4096, flags), Ok(0)); } }
    [mlock] shown_by_status(k) needs Root, Native { let map = memory(k, 3); ok(call!(k, MLOCK, map.address() + 5, 4096)); assert_eq!(status_of(k, "self", "VmLck"), "8 kB"); ok(call!(k, MUNLOCK, map.address(), 4096)); assert_eq!(status_of(k, "self", "VmLck"), "4 kB"); }
    [mlock] unmapped_memory_of_mlock(k) needs Root, Native { fails(call!(k, MLOCK, free(k, 1), 4096), E::ENOMEM); fails(call!(k, MUNLOCK, free(k, 1), 4096), E::ENOMEM); }
    [mlock] length_that_wraps_of_mlock(k) needs Root, Native { fails(call!(k, MLOCK, memory(k, 1).address(), u64::MAX - 4095), E::EINVAL); }
    [mlock, setrlimit] limit_of_a_user(k) needs Root, Native { let map = memory(k, 4); user_limit(k, 8192, || { ok(call!(k, MLOCK, map.address(), 8192)); fails(call!(k, MLOCK, map.address(), 16384), E::ENOMEM); }); }
    [mlock, setrlimit] no_limit_at_all_is_eperm(k) needs Root, Native { let map = memory(k, 1); user_limit(k, 0, || fails(call!(k, MLOCK, map.address(), 4096), E::EPERM)); }
    [mlock] locking_populates(k) needs Root, Native { let map = memory(k, 2); ok(call!(k, MLOCK, map.address(), 8192)); assert_eq!(there(k, &*map, 2), [1, 1]); }
    [mlock2] on_fault_does_not_populate(k) needs Root, Native { let map = memory(k, 2); ok(call!(k, MLOCK2, map.address(), 8192, 1)); assert_eq!((there(k, &*map, 2), status_of(k, "self", "VmLck").as_str()), (vec![0, 0], "8 kB")); }
    [mlock2] unknown_flags_of_mlock2(k) needs Native { fails(call!(k, MLOCK2, memory(k, 1).address(), 4096, 2), E::EINVAL); }
    [mlockall] flags_of_mlockall(k) needs Root, Native { for flags in [0, 8, 4] { fails(call!(k, MLOCKALL, flags), E::EINVAL); } }
    [mlockall, munlockall] current_and_future(k) needs Root, Native { k.apart(|| { ok(call!(k, MLOCKALL, 2)); let before = status_of(k, "self", "VmLck"); let map = memory(k, 4); assert_ne!(status_of(k, "self", "VmLck"), before); assert_eq!(there(k, &*map, 4), [1; 4]); ok(call!(k, MUNLOCKALL)); assert_eq!(status_of(k, "self", "VmLck"), "0 kB"); }); }
    [mlockall, setrlimit] mlockall_of_a_user(k) needs Root, Native { user_limit(k, 0, || fails(call!(k, MLOCKALL, 1), E::EPERM)); user_limit(k, 4096, || fails(call!(k, MLOCKALL, 1), E::ENOMEM)); }
    [mmap, setrlimit] locked_mapping_beyond_the_limit(k) needs Root, Native { user_limit(k, 4096, || fails(call!(k, MMAP, 0, 8192, 3, 0x2022, -1, 0), E::EAGAIN)); }
    [membarrier] queries_name_what_there_is(k) needs Native { let known = call!(k, MEMBARRIER, 0, 0, 0).unwrap(); assert_eq!(known & 1, 1); fails(call!(k, MEMBARRIER, 0, 1, 0), E::EINVAL); fails(call!(k, MEMBARRIER, 1 << 20, 0, 0), E::EINVAL); }
    [membarrier] expedited_needs_registration(k) needs Native { fails(call!(k, MEMBARRIER, 8, 0, 0), E::EPERM); ok(call!(k, MEMBARRIER, 16, 0, 0)); assert_eq!(call!(k, MEMBARRIER, 8, 0, 0), Ok(0)); }
    [mseal] sealed_memory_stays_as_it_is(k) needs Native { let map = memory(k, 1); if call!(k, MSEAL, map.address(), 4096, 0) == Err(E::ENOSYS) { return; } fails(call!(k, MPROTECT, map.address(), 4096, 1), E::EPERM); fails(call!(k, MUNMAP, map.address(), 4096), E::EPERM); fails(remap(k, map.address(), 4096, 8192, MAYMOVE, 0), E::EPERM); fails(call!(k, MSEAL, map.address(), 4096, 1), E::EINVAL); }
    [remap_file_pages] flags_and_protection(k) needs Native { let file = k.file("f", &[1; 8192]); let map = k.map(8192, 3, 1, file, 0).unwrap(); fails(call!(k, REMAP_FILE_PAGES, map.address(), 4096, 1, 1, 0), E::EINVAL); }
    [pkey_alloc, pkey_free] keys_of_memory(k) needs Native { match call!(k, PKEY_ALLOC, 0, 0) { Ok(key) => { assert!(key > 0); ok(call!(k, PKEY_MPROTECT, memory(k, 1).address(), 4096, 3, key)); ok(call!(k, PKEY_FREE, key)); fails(call!(k, PKEY_FREE, key), E::EINVAL); } Err(error) => assert!(matches!(error, E::ENOSPC | E::EINVAL)) } }
    [pkey_alloc] bad_arguments_of_keys(k) needs Native { fails(call!(k, PKEY_ALLOC, 1, 0), E::EINVAL); fails(call!(k, PKEY_ALLOC, 0, 4), E::EINVAL); fails(call!(k, PKEY_FREE, 15), E::EINVAL); fails(call!(k, PKEY_MPROTECT, memory(k, 1).address(), 4096, 3, 15), E::EINVAL); }
    [pkey_mprotect] no_key_is_mprotect(k) needs Native { let map = memory(k, 1); ok(call!(k, PKEY_MPROTECT, map.address(), 4096, 1, -1)); assert!(text(k, "/proc/self/maps").contains(&format!("{:08x}-{:08x} r--p", map.address(), map.address() + 4096))); }
}
