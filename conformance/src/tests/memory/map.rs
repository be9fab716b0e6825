//! Mapping memory: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `brk(2)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{as_user, huge_pages, memory, ok, shared, text, words};
use crate::call;
use crate::suite::{Calls, Fd, Files, Kernel, Mapping, Processes, fails, skip, tests};

const READ: u32 = 1;
const WRITE: u32 = 2;
const SHARED: u32 = 1;
const PRIVATE: u32 = 2;
const VALIDATE: u32 = 3;
const FIXED: u32 = 0x10;
const ANON: u32 = 0x20;
const LOW: u32 = 0x40;
const GROWSDOWN: u32 = 0x100;
const POPULATE: u32 = 0x8000;
const HUGETLB: u32 = 0x4_0000;
const SYNC: u32 = 0x8_0000;
const NOREPLACE: u32 = 0x10_0000;

fn map(
    k: &dyn Kernel,
    at: u64,
    length: u64,
    rights: u32,
    flags: u32,
    file: Fd,
    offset: u64,
) -> Result<u64> {
    call!(k, MMAP, at, length, rights, flags, file, offset)
}

fn anon(k: &dyn Kernel, at: u64, length: u64, flags: u32) -> Result<u64> {
    map(k, at, length, READ | WRITE, PRIVATE | ANON | flags, -1, 0)
}

/// A range of free addresses.
fn free(k: &dyn Kernel, pages: u64) -> u64 {
    let at = anon(k, 0, pages * 4096, 0).unwrap();
    ok(call!(k, MUNMAP, at, pages * 4096));
    at
}

/// Whether a child that does this is killed by this signal.
fn dies(k: &dyn Kernel, signal: i32, body: impl Fn()) -> bool {
    k.status(k.child(|| {
        ok(call!(k, SETRLIMIT, 4, words([0, 0]).as_slice()));
        body();
        0
    })) & 0x7f
        == signal
}

/// The line of a mapping in `/proc/self/maps`.
fn line(k: &dyn Kernel, at: u64) -> String {
    text(k, "/proc/self/maps")
        .lines()
        .find(|line| line.starts_with(&format!("{at:08x}-")))
        .unwrap_or_default()
        .to_owned()
}

fn touch(map: &dyn Mapping, at: usize) {
    std::hint::black_box(map.get(at));
}

tests! { "map", "mmap(2)";
    [mmap] fresh_memory_is_zero(k) needs Native { let map = memory(k, 4); assert!((0..16384).all(|at| map.get(at) == 0)); }
    [mmap] length_zero(k) needs Native { fails(anon(k, 0, 0, 0), E::EINVAL); }
    [mmap] length_too_large(k) needs Native { for length in [u64::MAX, 1 << 62, 1 << 47] { fails(anon(k, 0, length, 0), E::ENOMEM); } }
    [mmap] neither_shared_nor_private(k) needs Native { fails(map(k, 0, 4096, READ, ANON, -1, 0), E::EINVAL); }
    [mmap] unaligned_offset(k) needs Native { let file = k.file("f", b"x"); fails(map(k, 0, 4096, READ, PRIVATE, file, 1), E::EINVAL); fails(map(k, 0, 4096, READ, PRIVATE, file, 2048), E::EINVAL); }
    [mmap] offset_that_wraps(k) needs Native { let file = k.file("f", b"x"); fails(map(k, 0, 8192, READ, PRIVATE, file, 0xffff_ffff_ffff_f000), E::EOVERFLOW); }
    [mmap] bad_descriptor(k) needs Native { fails(map(k, 0, 4096, READ, PRIVATE, 999, 0), E::EBADF); fails(map(k, 0, 4096, READ, PRIVATE, -1, 0), E::EBADF); }
    [mmap] descriptor_of_anonymous_memory_is_ignored(k) needs Native { ok(map(k, 0, 4096, READ, PRIVATE | ANON, 999, 0)); }
    [mmap] file_not_open_for_reading(k) needs Native { ok(k.close(k.file("f", b"x"))); let file = k.open("f", 1, 0).unwrap(); fails(map(k, 0, 4096, READ, PRIVATE, file, 0), E::EACCES); fails(map(k, 0, 4096, WRITE, SHARED, file, 0), E::EACCES); }
    [mmap] shared_writable_needs_a_writable_file(k) needs Native { ok(k.close(k.file("f", b"x"))); let file = k.open("f", 0, 0).unwrap(); fails(map(k, 0, 4096, READ | WRITE, SHARED, file, 0), E::EACCES); ok(map(k, 0, 4096, READ | WRITE, PRIVATE, file, 0)); ok(map(k, 0, 4096, READ, SHARED, file, 0)); }
    [mmap] append_only_is_not_writable(k) needs Native { ok(k.close(k.file("f", b"x"))); let file = k.open("f", 0o2002, 0).unwrap(); ok(map(k, 0, 4096, READ | WRITE, SHARED, file, 0)); }
    [mmap] directory_and_pipe_cannot_be_mapped(k) needs Native { let dir = k.open(".", 0, 0).unwrap(); fails(map(k, 0, 4096, READ, PRIVATE, dir, 0), E::ENODEV); let (reader, _) = k.pipe2(0).unwrap(); fails(map(k, 0, 4096, READ, PRIVATE, reader, 0), E::ENODEV); }
    [mmap] descriptor_by_path_cannot_be_mapped(k) needs Native { ok(k.close(k.file("f", b"x"))); let file = k.open("f", 0o1000_0000, 0).unwrap(); fails(map(k, 0, 4096, READ, PRIVATE, file, 0), E::EBADF); }
    [mmap] mapping_outlives_its_descriptor(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(4096, READ, PRIVATE, file, 0).unwrap(); ok(k.close(file)); ok(k.unlink("f")); assert_eq!(map.get(1), b'b'); }
    [mmap] rest_of_the_last_page_is_zero(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(4096, READ, PRIVATE, file, 0).unwrap(); assert!((3..4096).all(|at| map.get(at) == 0)); }
    [mmap] page_behind_the_file_is_a_bus_error(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(8192, READ, PRIVATE, file, 0).unwrap(); assert!(dies(k, 7, || touch(&*map, 4096))); }
    [mmap] file_that_grows_is_seen(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(8192, READ, SHARED, file, 0).unwrap(); ok(k.pwrite(file, b"Z", 5000)); assert_eq!(map.get(5000), b'Z'); }
    [mmap, ftruncate] file_that_shrinks_is_cut(k) needs Native { let file = k.file("f", &[7; 8192]); let map = k.map(8192, READ, SHARED, file, 0).unwrap(); assert_eq!(map.get(5000), 7); ok(k.ftruncate(file, 100)); assert_eq!((map.get(50), map.get(101)), (7, 0)); assert!(dies(k, 7, || touch(&*map, 5000))); }
    [mmap] shared_writes_reach_the_file(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(4096, READ | WRITE, SHARED, file, 0).unwrap(); map.set(1, b'X'); assert_eq!(k.content("f"), b"aXc"); }
    [mmap] shared_writes_behind_the_end_do_not(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(4096, READ | WRITE, SHARED, file, 0).unwrap(); map.set(100, b'X'); ok(call!(k, MSYNC, map.address(), 4096, 4)); assert_eq!(k.content("f"), b"abc"); }
    [mmap] private_writes_do_not(k) needs Native { let file = k.file("f", b"abc"); let map = k.map(4096, READ | WRITE, PRIVATE, file, 0).unwrap(); map.set(1, b'X'); assert_eq!((k.content("f"), map.get(1)), (b"abc".to_vec(), b'X')); }
    [mmap, write] writes_are_seen_by_mappings(k) needs Native { let file = k.file("f", b"abc"); let (shared, private) = (k.map(4096, READ, SHARED, file, 0).unwrap(), k.map(4096, READ, PRIVATE, file, 0).unwrap()); ok(k.pwrite(file, b"Q", 0)); assert_eq!((shared.get(0), private.get(0)), (b'Q', b'Q')); }
    [mmap] second_page_of_a_file(k) needs Native { let mut content = vec![1; 4096]; content.push(9); let file = k.file("f", &content); let map = k.map(4096, READ, PRIVATE, file, 4096).unwrap(); assert_eq!((map.get(0), map.get(1)), (9, 0)); }
    [mmap] file_is_marked_as_accessed_and_named(k) needs Native { let file = k.file("named", b"abc"); let map = k.map(4096, READ, SHARED, file, 0).unwrap(); assert!(line(k, map.address()).ends_with("/named") && line(k, map.address()).contains(" r--s "), "{}", line(k, map.address())); ok(k.unlink("named")); assert!(line(k, map.address()).ends_with("/named (deleted)")); }
    [mmap] shared_anonymous_memory_is_shared_with_children(k) needs Native { let map = shared(k, 1); k.apart(|| map.set(0, 5)); assert_eq!(map.get(0), 5); assert!(line(k, map.address()).contains("/dev/zero (deleted)")); }
    [mmap] zero_device_is_anonymous(k) needs Native { let file = k.open("/dev/zero", 2, 0).unwrap(); let map = k.map(4096, READ | WRITE, PRIVATE, file, 0).unwrap(); map.set(0, 3); assert_eq!((map.get(0), map.get(1)), (3, 0)); }
    [mmap] fixed_replaces(k) needs Native { let map = memory(k, 3); map.set(4096, 7); assert_eq!(anon(k, map.address() + 4096, 4096, FIXED), Ok(map.address() + 4096)); assert_eq!(map.get(4096), 0); }
    [mmap] fixed_must_be_aligned(k) needs Native { fails(anon(k, free(k, 2) + 1, 4096, FIXED), E::EINVAL); }
    [mmap] fixed_outside_the_address_space(k) needs Native { fails(anon(k, 1 << 47, 4096, FIXED), E::ENOMEM); fails(anon(k, (1 << 47) - 4096, 8192, FIXED), E::ENOMEM); }
    [mmap] fixed_at_zero_needs_privilege(k) needs Root, Native { as_user(k, || fails(anon(k, 0, 4096, FIXED), E::EPERM)); }
    [mmap] noreplace_refuses_what_is_mapped(k) needs Native { let map = memory(k, 2); fails(anon(k, map.address() + 4096, 8192, NOREPLACE), E::EEXIST); let at = free(k, 1); assert_eq!(anon(k, at, 4096, NOREPLACE), Ok(at)); }
    [mmap] hint_is_rounded_and_taken(k) needs Native { let at = free(k, 4); assert_eq!(anon(k, at + 123, 4096, 0), Ok(at)); assert_ne!(anon(k, at, 4096, 0), Ok(at)); }
    [mmap] low_addresses_on_request(k) needs Native { assert!(anon(k, 0, 4096, LOW).unwrap() < 1 << 32); }
    [mmap] validate_knows_its_flags(k) needs Native { let file = k.file("f", b"x"); ok(map(k, 0, 4096, READ, VALIDATE, file, 0)); fails(map(k, 0, 4096, READ, VALIDATE | 1 << 21, file, 0), E::EOPNOTSUPP); fails(map(k, 0, 4096, READ, VALIDATE | SYNC, file, 0), E::EOPNOTSUPP); }
    [mmap] unknown_flags_are_ignored_without_it(k) needs Native { ok(map(k, 0, 4096, READ, PRIVATE | ANON | 1 << 30, -1, 0)); }
    [mmap] validate_of_anonymous_memory(k) needs Native { fails(map(k, 0, 4096, READ, VALIDATE | ANON, -1, 0), E::EINVAL); }
    [mmap] huge_pages_are_not_there(k) needs Native { if huge_pages(k) { skip("this machine keeps huge pages"); } fails(anon(k, 0, 2 << 20, HUGETLB), E::ENOMEM); }
    [mmap] odd_huge_page_size(k) needs Native { fails(anon(k, 0, 2 << 20, HUGETLB | 13 << 26), E::EINVAL); }
    [mmap] populated_memory_is_there(k) needs Native { let map = k.map(65536, READ | WRITE, PRIVATE | ANON | POPULATE, -1, 0).unwrap(); let mut there = [0_u8; 16]; ok(call!(k, MINCORE, map.address(), 65536, &mut there)); assert_eq!(there, [1; 16]); }
    [mmap, setrlimit] address_space_limit(k) needs Native { k.apart(|| { ok(call!(k, SETRLIMIT, 9, words([256 << 20, 256 << 20]).as_slice())); fails(anon(k, 0, 300 << 20, 0), E::ENOMEM); }); }
    [mmap, setrlimit] data_limit(k) needs Native { k.apart(|| { ok(call!(k, SETRLIMIT, 2, words([64 << 20, 64 << 20]).as_slice())); fails(anon(k, 0, 100 << 20, 0), E::ENOMEM); ok(map(k, 0, 100 << 20, READ, PRIVATE | ANON, -1, 0)); }); }
    [mmap] grows_down_by_a_fault(k) needs Native {
        let pages = memory(k, 512);
        let last = pages.address() + 511 * 4096;
        ok(call!(k, MUNMAP, pages.address(), 512 * 4096));
        assert_eq!(anon(k, last, 4096, FIXED | GROWSDOWN), Ok(last));
        k.apart(|| { pages.set(511 * 4096 - 1, 7); assert_eq!((pages.get(511 * 4096 - 1), line(k, last - 4096).contains("rw-p")), (7, true)); });
        assert!(line(k, last).contains("rw-p"));
    }
    [munmap] unaligned_address(k) needs Native { fails(call!(k, MUNMAP, memory(k, 1).address() + 1, 4096), E::EINVAL); }
    [munmap] length_of_zero(k) needs Native { fails(call!(k, MUNMAP, memory(k, 1).address(), 0), E::EINVAL); }
    [munmap] outside_the_address_space(k) needs Native { fails(call!(k, MUNMAP, 1_u64 << 47, 4096), E::EINVAL); fails(call!(k, MUNMAP, 4096, u64::MAX - 8192), E::EINVAL); }
    [munmap] nothing_there_is_no_error(k) needs Native { assert_eq!(call!(k, MUNMAP, free(k, 1), 4096), Ok(0)); }
    [munmap] partial_page_counts_whole(k) needs Native { let map = memory(k, 2); ok(call!(k, MUNMAP, map.address(), 1)); assert!(dies(k, 11, || touch(&*map, 4095))); assert_eq!(map.get(4096), 0); }
    [munmap] hole_in_the_middle(k) needs Native { let map = memory(k, 3); ok(call!(k, MUNMAP, map.address() + 4096, 4096)); map.set(0, 1); map.set(8192, 1); assert!(dies(k, 11, || touch(&*map, 4096))); }
    [munmap, mmap] hole_is_found_again(k) needs Native { let map = memory(k, 3); let hole = map.address() + 4096; ok(call!(k, MUNMAP, hole, 4096)); assert_eq!(anon(k, hole, 4096, 0), Ok(hole)); }
    [mprotect] unaligned_address_of_mprotect(k) needs Native { fails(call!(k, MPROTECT, memory(k, 1).address() + 1, 4096, READ), E::EINVAL); }
    [mprotect] zero_length_is_nothing(k) needs Native { assert_eq!(call!(k, MPROTECT, 4096, 0, READ), Ok(0)); }
    [mprotect] unknown_rights(k) needs Native { fails(call!(k, MPROTECT, memory(k, 1).address(), 4096, 0x40), E::EINVAL); }
    [mprotect] nothing_mapped_there(k) needs Native { fails(call!(k, MPROTECT, free(k, 1), 4096, READ), E::ENOMEM); }
    [mprotect] stops_at_a_hole(k) needs Native { let map = memory(k, 3); ok(call!(k, MUNMAP, map.address() + 4096, 4096)); fails(call!(k, MPROTECT, map.address(), 12288, READ), E::ENOMEM); assert!(dies(k, 11, || map.set(0, 1))); map.set(8192, 1); }
    [mprotect] length_that_wraps(k) needs Native { fails(call!(k, MPROTECT, memory(k, 1).address(), u64::MAX - 4095, READ), E::ENOMEM); }
    [mprotect] both_growing_directions(k) needs Native { fails(call!(k, MPROTECT, memory(k, 1).address(), 4096, READ | 0x0300_0000), E::EINVAL); }
    [mprotect] growing_down_without_such_a_mapping(k) needs Native { fails(call!(k, MPROTECT, memory(k, 1).address(), 4096, READ | 0x0100_0000), E::EINVAL); }
    [mprotect] write_to_a_read_only_shared_file(k) needs Native { ok(k.close(k.file("f", b"x"))); let file = k.open("f", 0, 0).unwrap(); let map = k.map(4096, READ, SHARED, file, 0).unwrap(); fails(call!(k, MPROTECT, map.address(), 4096, READ | WRITE), E::EACCES); }
    [mprotect] write_to_a_read_only_private_file(k) needs Native { ok(k.close(k.file("f", b"x"))); let file = k.open("f", 0, 0).unwrap(); let map = k.map(4096, READ, PRIVATE, file, 0).unwrap(); ok(call!(k, MPROTECT, map.address(), 4096, READ | WRITE)); map.set(0, 5); assert_eq!(k.content("f"), b"x"); }
    [mprotect] splits_and_joins(k) needs Native { let map = memory(k, 3); let at = map.address() + 4096; ok(call!(k, MPROTECT, at, 4096, READ)); assert!(line(k, at).contains("r--p")); ok(call!(k, MPROTECT, at, 4096, READ | WRITE)); assert_eq!(line(k, at), ""); }
    [mprotect] write_implies_read_on_this_machine(k) needs Native { let map = memory(k, 1); map.set(0, 9); ok(call!(k, MPROTECT, map.address(), 4096, WRITE)); assert_eq!(map.get(0), 9); }
    [mprotect] none_takes_everything(k) needs Native { let map = memory(k, 1); ok(call!(k, MPROTECT, map.address(), 4096, 0)); assert!(dies(k, 11, || touch(&*map, 0))); fails(call!(k, WRITE, k.pipe2(0).unwrap().1, map.address(), 1), E::EFAULT); }
    [brk] asking_tells_the_end(k) needs Native { let end = call!(k, BRK, 0).unwrap(); assert_eq!((call!(k, BRK, 0), call!(k, BRK, 1)), (Ok(end), Ok(end))); }
    [brk] grows_and_shrinks(k) needs Native { k.apart(|| { let end = call!(k, BRK, 0).unwrap(); assert_eq!(call!(k, BRK, end + 8192), Ok(end + 8192)); assert!(text(k, "/proc/self/maps").contains("[heap]")); assert_eq!(call!(k, BRK, end), Ok(end)); }); }
    [brk] too_far_changes_nothing(k) needs Native { let end = call!(k, BRK, 0).unwrap(); assert_eq!(call!(k, BRK, end + (1 << 46)), Ok(end)); }
    [brk, setrlimit] limited_by_the_data_limit(k) needs Native { k.apart(|| { let end = call!(k, BRK, 0).unwrap(); ok(call!(k, SETRLIMIT, 2, words([0, 0]).as_slice())); assert_eq!(call!(k, BRK, end + (1 << 20)), Ok(end)); }); }
    [brk, mmap] stops_at_a_mapping(k) needs Native { k.apart(|| { let end = call!(k, BRK, 0).unwrap().next_multiple_of(4096); let _ = anon(k, end + 8192, 4096, NOREPLACE); let now = call!(k, BRK, 0).unwrap(); assert_eq!(call!(k, BRK, end + 65536), Ok(now)); }); }
}
