//! System V shared memory: `shmget(2)`, `shmop(2)`, `shmctl(2)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{
    as_user, end, gettid, huge_pages, i32_at, memory, now, ok, sleeper, text, u64_at, until, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, fails, skip, tests};

const CREAT: u32 = 0o1000;
const EXCL: u32 = 0o2000;
const RDONLY: u32 = 0o10_000;
const RND: u32 = 0o20_000;
const REMAP: u32 = 0o40_000;
const RMID: u32 = 0;
const SET: u32 = 1;
const STAT: u32 = 2;
const LOCK: u32 = 11;
const UNLOCK: u32 = 12;

fn segment(k: &dyn Kernel, size: u64) -> u64 {
    call!(k, SHMGET, 0, size, 0o600).unwrap()
}

fn attach(k: &dyn Kernel, id: u64, at: u64, flags: u32) -> Result<u64> {
    call!(k, SHMAT, id, at, flags)
}

fn remove(k: &dyn Kernel, id: u64) {
    ok(call!(k, SHMCTL, id, RMID, Arg::Null));
}

fn stat(k: &dyn Kernel, id: u64) -> Vec<u8> {
    let mut stat = vec![0; 112];
    ok(call!(k, SHMCTL, id, STAT, stat.as_mut_slice()));
    stat
}

fn attached(k: &dyn Kernel, id: u64) -> u64 {
    u64_at(&stat(k, id), 88)
}

/// Reads and writes memory by the kernel, because the mapping is not the suite's.
fn load(k: &dyn Kernel, at: u64) -> Result<u8> {
    let (reader, writer) = k.pipe2(0)?;
    let sent = call!(k, WRITE, writer, at, 1);
    let byte = sent.and_then(|_| k.read_some(reader, 1)).map(|bytes| bytes[0]);
    k.close(reader)?;
    k.close(writer)?;
    byte
}

fn store(k: &dyn Kernel, at: u64, value: u8) -> Result<u64> {
    let (reader, writer) = k.pipe2(0)?;
    k.write(writer, &[value])?;
    let done = call!(k, READ, reader, at, 1);
    k.close(reader)?;
    k.close(writer)?;
    done
}

fn key(k: &dyn Kernel) -> u32 {
    (now(k, 1) as u32 ^ gettid(k).cast_unsigned() << 16) | 1
}

fn free(k: &dyn Kernel, pages: u64) -> u64 {
    let at = call!(k, MMAP, 0, pages * 4096, 3, 0x22, -1, 0).unwrap();
    ok(call!(k, MUNMAP, at, pages * 4096));
    at
}

tests! { "shm", "shmop(2)";
    [shmget] size_of_a_segment(k) needs Native { fails(call!(k, SHMGET, 0, 0, 0o600), E::EINVAL); fails(call!(k, SHMGET, 0, u64::MAX, 0o600), E::EINVAL); let id = segment(k, 1); assert_eq!(u64_at(&stat(k, id), 48), 1); remove(k, id); }
    [shmget] key_finds_the_segment(k) needs Native { let key = key(k); let id = call!(k, SHMGET, key, 4096, CREAT | 0o600).unwrap(); assert_eq!((call!(k, SHMGET, key, 0, 0), call!(k, SHMGET, key, 4096, 0)), (Ok(id), Ok(id))); fails(call!(k, SHMGET, key, 8192, 0), E::EINVAL); fails(call!(k, SHMGET, key, 4096, CREAT | EXCL), E::EEXIST); remove(k, id); fails(call!(k, SHMGET, key, 0, 0), E::ENOENT); }
    [shmget] huge_pages_are_not_there(k) needs Native { if huge_pages(k) { skip("this machine keeps huge pages"); } fails(call!(k, SHMGET, 0, 2 << 20, 0o4600), E::ENOMEM); }
    [shmat] memory_is_zero_and_shared(k) needs Native { let id = segment(k, 8192); let at = attach(k, id, 0, 0).unwrap(); assert_eq!(load(k, at), Ok(0)); k.apart(|| ok(store(k, at + 5000, 7))); assert_eq!(load(k, at + 5000), Ok(7)); remove(k, id); }
    [shmat] size_is_rounded_to_pages(k) needs Native { let id = segment(k, 100); let at = attach(k, id, 0, 0).unwrap(); ok(store(k, at + 4095, 1)); remove(k, id); }
    [shmat] twice_is_the_same_memory(k) needs Native { let id = segment(k, 4096); let (a, b) = (attach(k, id, 0, 0).unwrap(), attach(k, id, 0, 0).unwrap()); assert_ne!(a, b); ok(store(k, a, 9)); assert_eq!((load(k, b), attached(k, id)), (Ok(9), 2)); remove(k, id); }
    [shmat] read_only(k) needs Native { let id = segment(k, 4096); let at = attach(k, id, 0, RDONLY).unwrap(); assert_eq!(load(k, at), Ok(0)); fails(store(k, at, 1), E::EFAULT); fails(call!(k, MPROTECT, at, 4096, 3), E::EACCES); remove(k, id); }
    [shmat] at_an_address(k) needs Native { let (id, at) = (segment(k, 4096), free(k, 2)); assert_eq!(attach(k, id, at, 0), Ok(at)); fails(attach(k, id, at, 0), E::EINVAL); assert_eq!(attach(k, id, at, REMAP), Ok(at)); remove(k, id); }
    [shmat] unaligned_addresses(k) needs Native { let (id, at) = (segment(k, 4096), free(k, 2)); fails(attach(k, id, at + 123, 0), E::EINVAL); assert_eq!(attach(k, id, at + 123, RND), Ok(at)); remove(k, id); }
    [shmat] remap_needs_an_address(k) needs Native { let id = segment(k, 4096); fails(attach(k, id, 0, REMAP), E::EINVAL); remove(k, id); }
    [shmat] unknown_segments(k) needs Native { fails(attach(k, 0x7fff_fff0, 0, 0), E::EINVAL); fails(attach(k, -1_i64 as u64, 0, 0), E::EINVAL); }
    [shmat] permission_of_the_segment(k) needs Root, Native { let id = call!(k, SHMGET, 0, 4096, 0o604).unwrap(); as_user(k, || { fails(attach(k, id, 0, 0), E::EACCES); ok(attach(k, id, 0, RDONLY)); fails(call!(k, SHMCTL, id, RMID, Arg::Null), E::EPERM); fails(call!(k, SHMCTL, id, SET, &[0_u8; 112]), E::EPERM); }); remove(k, id); }
    [shmdt] detaching(k) needs Native { let id = segment(k, 4096); let at = attach(k, id, 0, 0).unwrap(); assert_eq!(call!(k, SHMDT, at), Ok(0)); fails(load(k, at), E::EFAULT); fails(call!(k, SHMDT, at), E::EINVAL); assert_eq!(attached(k, id), 0); remove(k, id); }
    [shmdt] addresses_that_are_none(k) needs Native { let id = segment(k, 8192); let at = attach(k, id, 0, 0).unwrap(); fails(call!(k, SHMDT, at + 4096), E::EINVAL); fails(call!(k, SHMDT, at + 1), E::EINVAL); fails(call!(k, SHMDT, memory(k, 1).address()), E::EINVAL); remove(k, id); }
    [shmdt, munmap] parts_are_detached_too(k) needs Native { let id = segment(k, 3 * 4096); let at = attach(k, id, 0, 0).unwrap(); ok(call!(k, MUNMAP, at + 4096, 4096)); ok(call!(k, SHMDT, at)); fails(load(k, at + 8192), E::EFAULT); remove(k, id); }
    [shmctl, fork] children_are_attached(k) needs Native { let id = segment(k, 4096); ok(attach(k, id, 0, 0)); let child = sleeper(k); assert_eq!(attached(k, id), 2); end(k, child); assert_eq!(attached(k, id), 1); remove(k, id); }
    [shmctl, execve] programs_are_not(k) needs Native { let id = segment(k, 4096); ok(attach(k, id, 0, 0)); let child = k.child(|| { let _ = call!(k, EXECVE, c"/bin/sleep", words([c"s".as_ptr() as u64, c"9".as_ptr() as u64, 0]).as_slice(), Arg::Null); 1 }); until(k, || text(k, &format!("/proc/{}/comm", child.pid)) == "sleep\n"); assert_eq!(attached(k, id), 1); end(k, child); remove(k, id); }
    [shmctl] removal_waits_for_the_last(k) needs Native { let key = key(k); let id = call!(k, SHMGET, key, 4096, CREAT | 0o600).unwrap(); let at = attach(k, id, 0, 0).unwrap(); remove(k, id); ok(store(k, at, 3)); fails(call!(k, SHMGET, key, 0, 0), E::ENOENT); assert_eq!(i32_at(&stat(k, id), 20) & 0o1000, 0o1000); ok(attach(k, id, 0, 0)); ok(call!(k, SHMDT, at)); }
    [shmctl] gone_after_the_last_detaches(k) needs Native { let id = segment(k, 4096); let at = attach(k, id, 0, 0).unwrap(); remove(k, id); ok(call!(k, SHMDT, at)); fails(attach(k, id, 0, 0), E::EINVAL); }
    [shmctl] statistics_of_the_segment(k) needs Native { let id = segment(k, 5000); let fresh = stat(k, id); assert_eq!((u64_at(&fresh, 48), u64_at(&fresh, 56), i32_at(&fresh, 80), i32_at(&fresh, 84)), (5000, 0, k.getpid(), 0)); let at = attach(k, id, 0, 0).unwrap(); let now = stat(k, id); assert_eq!(i32_at(&now, 84), k.getpid()); assert!(u64_at(&now, 56) > 0 && u64_at(&now, 64) == 0); ok(call!(k, SHMDT, at)); assert!(u64_at(&stat(k, id), 64) > 0); remove(k, id); }
    [shmctl] settings_of_the_segment(k) needs Root, Native { let id = segment(k, 4096); let mut new = stat(k, id); new[20..22].copy_from_slice(&0o640_u16.to_ne_bytes()); new[4..8].copy_from_slice(&1000_u32.to_ne_bytes()); ok(call!(k, SHMCTL, id, SET, new.as_slice())); assert_eq!((i32_at(&stat(k, id), 20) & 0o777, i32_at(&stat(k, id), 4)), (0o640, 1000)); as_user(k, || remove(k, id)); }
    [shmctl] locking_is_shown(k) needs Root, Native { let id = segment(k, 4096); ok(call!(k, SHMCTL, id, LOCK, Arg::Null)); assert_eq!(i32_at(&stat(k, id), 20) & 0o2000, 0o2000); ok(call!(k, SHMCTL, id, UNLOCK, Arg::Null)); assert_eq!(i32_at(&stat(k, id), 20) & 0o2000, 0); remove(k, id); }
    [shmctl] unknown_command_and_pointers(k) needs Native { let id = segment(k, 4096); fails(call!(k, SHMCTL, id, 99, Arg::Null), E::EINVAL); fails(call!(k, SHMCTL, id, STAT, Arg::Bad), E::EFAULT); fails(call!(k, SHMCTL, id, SET, Arg::Bad), E::EFAULT); remove(k, id); fails(call!(k, SHMCTL, id, STAT, &mut [0_u8; 112]), E::EINVAL); }
    [shmctl] limits_of_the_system(k) needs Native { let mut info = [0; 72]; ok(call!(k, SHMCTL, 0, 3, &mut info)); assert_eq!((u64_at(&info, 8), u64_at(&info, 16)), (1, 4096)); let mut used = [0; 48]; ok(call!(k, SHMCTL, 0, 14, &mut used)); fails(call!(k, SHMCTL, 0, 3, Arg::Bad), E::EFAULT); }
    [shmctl] use_of_the_system_counts(k) needs Native { let used = || { let mut used = [0; 48]; ok(call!(k, SHMCTL, 0, 14, &mut used)); (i32_at(&used, 0), u64_at(&used, 8)) }; until(k, || { let before = used(); let id = segment(k, 8192); let with = used(); remove(k, id); with == (before.0 + 1, before.1 + 2) && used() == before }); }
    [shmget] shown_in_proc_and_maps(k) needs Native { let id = segment(k, 4096); let at = attach(k, id, 0, 0).unwrap(); let table = text(k, "/proc/sysvipc/shm"); let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&id.to_string())).unwrap(); let fields: Vec<_> = line.split_whitespace().collect(); assert_eq!((fields[2], fields[3], fields[6]), ("600", "4096", "1")); assert!(text(k, "/proc/self/maps").lines().any(|line| line.starts_with(&format!("{at:08x}-")) && line.contains("/SYSV00000000"))); remove(k, id); }
    [mremap, shmat] moving_keeps_it_attached(k) needs Native { let id = segment(k, 8192); let at = attach(k, id, 0, 0).unwrap(); let to = call!(k, MREMAP, at, 8192, 4096, 1, 0).unwrap(); assert_eq!((load(k, to), attached(k, id)), (Ok(0), 1)); remove(k, id); }
}
