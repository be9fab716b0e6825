//! System V semaphores: `semget(2)`, `semop(2)`, `semctl(2)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{
    MS, as_user, asleep, gettid, holder, i32_at, now, ok, text, timespec, u64_at, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, fails, tests};

const CREAT: u32 = 0o1000;
const EXCL: u32 = 0o2000;
const NOWAIT: i16 = 0o4000;
const UNDO: i16 = 0x1000;
const RMID: u32 = 0;
const SET: u32 = 1;
const STAT: u32 = 2;
const GETPID: u32 = 11;
const GETVAL: u32 = 12;
const GETALL: u32 = 13;
const GETNCNT: u32 = 14;
const GETZCNT: u32 = 15;
const SETVAL: u32 = 16;
const SETALL: u32 = 17;

fn set(k: &dyn Kernel, count: u32) -> u64 {
    call!(k, SEMGET, 0, count, 0o600).unwrap()
}

fn remove(k: &dyn Kernel, id: u64) {
    ok(call!(k, SEMCTL, id, 0, RMID, 0));
}

fn value(k: &dyn Kernel, id: u64, index: u32) -> u64 {
    call!(k, SEMCTL, id, index, GETVAL, 0).unwrap()
}

/// `struct sembuf`s of (number, change, flags).
fn buffers(operations: &[(u16, i16, i16)]) -> Vec<u8> {
    operations
        .iter()
        .flat_map(|(number, change, flags)| {
            [number.to_ne_bytes(), change.to_ne_bytes(), flags.to_ne_bytes()].concat()
        })
        .collect()
}

fn operate(k: &dyn Kernel, id: u64, operations: &[(u16, i16, i16)]) -> Result<u64> {
    call!(k, SEMOP, id, buffers(operations).as_slice(), operations.len())
}

fn stat(k: &dyn Kernel, id: u64) -> Vec<u8> {
    let mut stat = vec![0; 104];
    ok(call!(k, SEMCTL, id, 0, STAT, stat.as_mut_slice()));
    stat
}

fn key(k: &dyn Kernel) -> u32 {
    (now(k, 1) as u32 ^ gettid(k).cast_unsigned() << 16) | 1
}

tests! { "sem", "semop(2)";
    [semget] size_of_a_set(k) needs Native { fails(call!(k, SEMGET, 0, 0, 0o600), E::EINVAL); fails(call!(k, SEMGET, 0, -1, 0o600), E::EINVAL); fails(call!(k, SEMGET, 0, 32001, 0o600), E::EINVAL); let id = set(k, 250); remove(k, id); }
    [semget] key_finds_the_set(k) needs Native { let key = key(k); let id = call!(k, SEMGET, key, 2, CREAT | 0o600).unwrap(); assert_eq!((call!(k, SEMGET, key, 0, 0), call!(k, SEMGET, key, 2, 0)), (Ok(id), Ok(id))); fails(call!(k, SEMGET, key, 3, 0), E::EINVAL); fails(call!(k, SEMGET, key, 2, CREAT | EXCL), E::EEXIST); remove(k, id); fails(call!(k, SEMGET, key, 0, 0), E::ENOENT); }
    [semctl] values_start_at_zero(k) needs Native { let id = set(k, 3); assert_eq!([0, 1, 2].map(|index| value(k, id, index)), [0; 3]); remove(k, id); }
    [semctl] one_and_all_values(k) needs Native { let id = set(k, 3); ok(call!(k, SEMCTL, id, 1, SETVAL, 7)); let mut all = [0; 6]; ok(call!(k, SEMCTL, id, 0, GETALL, &mut all)); assert_eq!(all, [0, 0, 7, 0, 0, 0]); ok(call!(k, SEMCTL, id, 0, SETALL, &[1_u8, 0, 2, 0, 3, 0])); assert_eq!([0, 1, 2].map(|index| value(k, id, index)), [1, 2, 3]); remove(k, id); }
    [semctl] values_out_of_range(k) needs Native { let id = set(k, 1); for bad in [-1, 32768] { fails(call!(k, SEMCTL, id, 0, SETVAL, bad), E::ERANGE); } fails(call!(k, SEMCTL, id, 0, SETALL, &[0xff_u8, 0xff]), E::ERANGE); ok(call!(k, SEMCTL, id, 0, SETVAL, 32767)); fails(operate(k, id, &[(0, 1, 0)]), E::ERANGE); remove(k, id); }
    [semctl] numbers_out_of_range(k) needs Native { let id = set(k, 1); for command in [GETVAL, SETVAL, GETPID, GETNCNT, GETZCNT] { fails(call!(k, SEMCTL, id, 1, command, 0), E::EINVAL); fails(call!(k, SEMCTL, id, -1, command, 0), E::EINVAL); } remove(k, id); }
    [semctl] unknown_commands_and_sets(k) needs Native { let id = set(k, 1); fails(call!(k, SEMCTL, id, 0, 99, 0), E::EINVAL); remove(k, id); fails(call!(k, SEMCTL, id, 0, GETVAL, 0), E::EINVAL); fails(call!(k, SEMCTL, -1, 0, RMID, 0), E::EINVAL); fails(operate(k, id, &[(0, 1, 0)]), E::EINVAL); }
    [semctl] pointers_of_control(k) needs Native { let id = set(k, 2); for command in [STAT, SET, GETALL, SETALL] { fails(call!(k, SEMCTL, id, 0, command, Arg::Bad), E::EFAULT); } remove(k, id); }
    [semctl] permission_of_the_set(k) needs Root, Native { let id = set(k, 1); as_user(k, || { fails(call!(k, SEMCTL, id, 0, GETVAL, 0), E::EACCES); fails(call!(k, SEMCTL, id, 0, SETVAL, 1), E::EACCES); fails(call!(k, SEMCTL, id, 0, RMID, 0), E::EPERM); fails(operate(k, id, &[(0, 1, 0)]), E::EACCES); fails(operate(k, id, &[(0, 0, NOWAIT)]), E::EACCES); }); remove(k, id); }
    [semctl] reading_needs_read_and_waiting_for_zero_too(k) needs Root, Native { let id = call!(k, SEMGET, 0, 1, 0o604).unwrap(); as_user(k, || { assert_eq!(call!(k, SEMCTL, id, 0, GETVAL, 0), Ok(0)); assert_eq!(operate(k, id, &[(0, 0, 0)]), Ok(0)); fails(operate(k, id, &[(0, 1, 0)]), E::EACCES); }); remove(k, id); }
    [semctl] settings_of_the_set(k) needs Root, Native { let id = set(k, 1); let mut new = stat(k, id); new[20..22].copy_from_slice(&0o640_u16.to_ne_bytes()); new[4..8].copy_from_slice(&1000_u32.to_ne_bytes()); ok(call!(k, SEMCTL, id, 0, SET, new.as_slice())); let now = stat(k, id); assert_eq!((i32_at(&now, 20) & 0o777, i32_at(&now, 4)), (0o640, 1000)); remove(k, id); }
    [semctl] statistics_of_the_set(k) needs Native { let id = set(k, 5); let fresh = stat(k, id); assert_eq!((u64_at(&fresh, 48), u64_at(&fresh, 80)), (0, 5)); assert!(u64_at(&fresh, 64) > 1_000_000_000); ok(operate(k, id, &[(0, 1, 0)])); assert!(u64_at(&stat(k, id), 48) > 0); remove(k, id); }
    [semctl] last_process(k) needs Native { let id = set(k, 1); assert_eq!(call!(k, SEMCTL, id, 0, GETPID, 0), Ok(0)); ok(operate(k, id, &[(0, 1, 0)])); assert_eq!(call!(k, SEMCTL, id, 0, GETPID, 0), Ok(k.getpid() as u64)); remove(k, id); }
    [semop] taking_and_giving(k) needs Native { let id = set(k, 1); ok(operate(k, id, &[(0, 5, 0)])); ok(operate(k, id, &[(0, -3, 0)])); assert_eq!(value(k, id, 0), 2); fails(operate(k, id, &[(0, -3, NOWAIT)]), E::EAGAIN); remove(k, id); }
    [semop] waiting_for_zero(k) needs Native { let id = set(k, 1); ok(operate(k, id, &[(0, 0, NOWAIT)])); ok(operate(k, id, &[(0, 1, 0)])); fails(operate(k, id, &[(0, 0, NOWAIT)]), E::EAGAIN); remove(k, id); }
    [semop] all_or_nothing(k) needs Native { let id = set(k, 2); fails(operate(k, id, &[(0, 1, 0), (1, -1, NOWAIT)]), E::EAGAIN); assert_eq!((value(k, id, 0), value(k, id, 1)), (0, 0)); ok(operate(k, id, &[(0, 1, 0), (1, 2, 0), (0, -1, 0)])); assert_eq!((value(k, id, 0), value(k, id, 1)), (0, 2)); remove(k, id); }
    [semop] count_of_operations(k) needs Native { let id = set(k, 1); fails(call!(k, SEMOP, id, Arg::Null, 0), E::EINVAL); fails(call!(k, SEMOP, id, buffers(&[(0, 0, 0); 501]).as_slice(), 501), E::E2BIG); remove(k, id); }
    [semop] number_beyond_the_set(k) needs Native { let id = set(k, 1); fails(operate(k, id, &[(1, 1, 0)]), E::EFBIG); remove(k, id); }
    [semop] pointers_of_operate(k) needs Native { let id = set(k, 1); fails(call!(k, SEMOP, id, Arg::Bad, 1), E::EFAULT); fails(call!(k, SEMOP, id, Arg::Edge(4), 1), E::EFAULT); remove(k, id); }
    [semop] giver_wakes_the_taker(k) needs Native { let id = set(k, 1); let child = k.child(|| i32::from(operate(k, id, &[(0, -2, 0)]).is_err())); asleep(k, child); assert_eq!(call!(k, SEMCTL, id, 0, GETNCNT, 0), Ok(1)); ok(operate(k, id, &[(0, 1, 0)])); k.sleep_ms(10); ok(operate(k, id, &[(0, 1, 0)])); assert_eq!((k.status(child), value(k, id, 0)), (0, 0)); remove(k, id); }
    [semop] zero_wakes_its_waiters(k) needs Native { let id = set(k, 1); ok(operate(k, id, &[(0, 1, 0)])); let child = k.child(|| i32::from(operate(k, id, &[(0, 0, 0)]).is_err())); asleep(k, child); assert_eq!(call!(k, SEMCTL, id, 0, GETZCNT, 0), Ok(1)); ok(operate(k, id, &[(0, -1, 0)])); assert_eq!(k.status(child), 0); remove(k, id); }
    [semop] setting_the_value_wakes(k) needs Native { let id = set(k, 1); let child = k.child(|| i32::from(operate(k, id, &[(0, -1, 0)]).is_err())); asleep(k, child); ok(call!(k, SEMCTL, id, 0, SETVAL, 1)); assert_eq!(k.status(child), 0); remove(k, id); }
    [semop] removal_wakes(k) needs Native { let id = set(k, 1); let child = k.child(|| i32::from(operate(k, id, &[(0, -1, 0)]) != Err(E::EIDRM))); asleep(k, child); remove(k, id); assert_eq!(k.status(child), 0); }
    [semop] undone_when_the_process_ends(k) needs Native { let id = set(k, 2); ok(call!(k, SEMCTL, id, 0, SETVAL, 5)); k.apart(|| { ok(operate(k, id, &[(0, -2, UNDO), (1, 3, UNDO)])); assert_eq!(value(k, id, 0), 3); }); assert_eq!((value(k, id, 0), value(k, id, 1)), (5, 0)); remove(k, id); }
    [semop] undo_wakes_waiters(k) needs Native { let id = set(k, 1); ok(call!(k, SEMCTL, id, 0, SETVAL, 1)); let holder = holder(k, || ok(operate(k, id, &[(0, -1, UNDO)]))); assert_eq!(value(k, id, 0), 0); ok(operate(k, id, &[(0, -1, 0)])); assert_eq!(k.status(holder), 0); remove(k, id); }
    [semop] setting_the_value_clears_undo(k) needs Native { let id = set(k, 1); k.apart(|| { ok(operate(k, id, &[(0, 2, UNDO)])); ok(call!(k, SEMCTL, id, 0, SETVAL, 9)); }); assert_eq!(value(k, id, 0), 9); remove(k, id); }
    [semtimedop] timeout_of_a_wait(k) needs Native { let id = set(k, 1); let start = now(k, 1); fails(call!(k, SEMTIMEDOP, id, buffers(&[(0, -1, 0)]).as_slice(), 1, timespec(30 * MS).as_slice()), E::EAGAIN); assert!(now(k, 1) - start >= 30 * MS); remove(k, id); }
    [semtimedop] bad_times(k) needs Native { let id = set(k, 1); for time in [words([0, 1_000_000_000]), words([u64::MAX, 0])] { fails(call!(k, SEMTIMEDOP, id, buffers(&[(0, -1, 0)]).as_slice(), 1, time.as_slice()), E::EINVAL); } fails(call!(k, SEMTIMEDOP, id, buffers(&[(0, -1, 0)]).as_slice(), 1, Arg::Bad), E::EFAULT); remove(k, id); }
    [semctl] limits_of_the_system(k) needs Native { let mut info = [0; 40]; ok(call!(k, SEMCTL, 0, 0, 3, &mut info)); assert_eq!((i32_at(&info, 4), i32_at(&info, 16), i32_at(&info, 20), i32_at(&info, 32)), (32000, 32000, 500, 32767)); ok(call!(k, SEMCTL, 0, 0, 19, &mut info)); }
    [semget] shown_in_proc(k) needs Native { let id = set(k, 4); let table = text(k, "/proc/sysvipc/sem"); let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&id.to_string())).unwrap(); let fields: Vec<_> = line.split_whitespace().collect(); assert_eq!((fields[2], fields[3]), ("600", "4")); assert!(text(k, "/proc/sys/kernel/sem").starts_with("32000\t")); remove(k, id); }
    [unshare, clone] undo_lists_can_be_left(k) needs Native { let id = set(k, 1); k.apart(|| { ok(operate(k, id, &[(0, 1, UNDO)])); ok(call!(k, UNSHARE, 0x4_0000)); assert_eq!(value(k, id, 0), 0); }); remove(k, id); }
}
