//! System V message queues: `msgget(2)`, `msgop(2)`, `msgctl(2)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{as_user, asleep, gettid, i32_at, now, ok, text, u64_at};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, fails, tests};

const CREAT: u32 = 0o1000;
const EXCL: u32 = 0o2000;
const NOWAIT: u32 = 0o4000;
const NOERROR: u32 = 0o10_000;
const EXCEPT: u32 = 0o20_000;
const COPY: u32 = 0o40_000;
const RMID: u32 = 0;
const SET: u32 = 1;
const STAT: u32 = 2;

/// A private queue.
fn queue(k: &dyn Kernel) -> u64 {
    call!(k, MSGGET, 0, 0o600).unwrap()
}

fn send(k: &dyn Kernel, id: u64, kind: i64, text: &[u8], flags: u32) -> Result<u64> {
    let message = [&kind.to_ne_bytes(), text].concat();
    call!(k, MSGSND, id, message.as_slice(), text.len(), flags)
}

/// Type and text.
fn receive(k: &dyn Kernel, id: u64, size: usize, kind: i64, flags: u32) -> Result<(i64, Vec<u8>)> {
    let mut message = vec![0; 8 + size];
    let count = call!(k, MSGRCV, id, message.as_mut_slice(), size, kind, flags)?;
    Ok((u64_at(&message, 0).cast_signed(), message[8..8 + count as usize].to_vec()))
}

fn stat(k: &dyn Kernel, id: u64) -> Vec<u8> {
    let mut stat = vec![0; 120];
    ok(call!(k, MSGCTL, id, STAT, stat.as_mut_slice()));
    stat
}

fn remove(k: &dyn Kernel, id: u64) {
    ok(call!(k, MSGCTL, id, RMID, Arg::Null));
}

fn key(k: &dyn Kernel) -> u32 {
    (now(k, 1) as u32 ^ gettid(k).cast_unsigned() << 16) | 1
}

tests! { "msg", "msgop(2)";
    [msgget] private_queues_are_new(k) needs Native { let (a, b) = (queue(k), queue(k)); assert_ne!(a, b); remove(k, a); remove(k, b); }
    [msgget] key_finds_the_queue(k) needs Native { let key = key(k); let id = call!(k, MSGGET, key, CREAT | 0o600).unwrap(); assert_eq!(call!(k, MSGGET, key, 0), Ok(id)); assert_eq!(call!(k, MSGGET, key, CREAT), Ok(id)); fails(call!(k, MSGGET, key, CREAT | EXCL), E::EEXIST); remove(k, id); fails(call!(k, MSGGET, key, 0), E::ENOENT); }
    [msgget] permission_of_the_queue(k) needs Root, Native { let key = key(k); let id = call!(k, MSGGET, key, CREAT | 0o600).unwrap(); as_user(k, || { fails(call!(k, MSGGET, key, 0o600), E::EACCES); assert_eq!(call!(k, MSGGET, key, 0), Ok(id)); fails(send(k, id, 1, b"x", 0), E::EACCES); fails(receive(k, id, 1, 0, NOWAIT), E::EACCES); fails(call!(k, MSGCTL, id, STAT, &mut [0_u8; 120]), E::EACCES); fails(call!(k, MSGCTL, id, RMID, Arg::Null), E::EPERM); fails(call!(k, MSGCTL, id, SET, &[0_u8; 120]), E::EPERM); }); remove(k, id); }
    [msgsnd] type_must_be_positive(k) needs Native { let id = queue(k); for kind in [0, -1] { fails(send(k, id, kind, b"x", 0), E::EINVAL); } remove(k, id); }
    [msgsnd] size_limits(k) needs Native { let id = queue(k); fails(send(k, id, 1, &[0; 8193], 0), E::EINVAL); fails(call!(k, MSGSND, id, &[1_u8; 16], u64::MAX, 0), E::EINVAL); ok(send(k, id, 1, &[0; 8192], 0)); remove(k, id); }
    [msgsnd] empty_message(k) needs Native { let id = queue(k); ok(send(k, id, 7, b"", 0)); assert_eq!(receive(k, id, 0, 0, 0), Ok((7, vec![]))); remove(k, id); }
    [msgsnd] pointers_of_send(k) needs Native { let id = queue(k); fails(call!(k, MSGSND, id, Arg::Bad, 1, 0), E::EFAULT); fails(call!(k, MSGSND, id, Arg::EdgeIn(&[1, 0, 0, 0, 0, 0, 0, 0, 5]), 2, 0), E::EFAULT); remove(k, id); }
    [msgsnd] unknown_queue(k) needs Native { for id in [-1_i64 as u64, 0x7fff_fff0] { fails(send(k, id, 1, b"x", 0), E::EINVAL); fails(receive(k, id, 1, 0, 0), E::EINVAL); fails(call!(k, MSGCTL, id, STAT, &mut [0_u8; 120]), E::EINVAL); } }
    [msgsnd] full_queue_would_block(k) needs Native { let id = queue(k); ok(send(k, id, 1, &[0; 8192], 0)); ok(send(k, id, 1, &[0; 8192], 0)); fails(send(k, id, 1, b"x", NOWAIT), E::EAGAIN); remove(k, id); }
    [msgsnd] full_queue_waits_for_room(k) needs Native { let id = queue(k); for _ in 0..2 { ok(send(k, id, 1, &[0; 8192], 0)); } let child = k.child(|| i32::from(send(k, id, 2, b"x", 0).is_err())); asleep(k, child); ok(receive(k, id, 8192, 0, 0)); assert_eq!(k.status(child), 0); remove(k, id); }
    [msgsnd] removal_wakes_the_sender(k) needs Native { let id = queue(k); for _ in 0..2 { ok(send(k, id, 1, &[0; 8192], 0)); } let child = k.child(|| i32::from(send(k, id, 2, b"x", 0) != Err(E::EIDRM))); asleep(k, child); remove(k, id); assert_eq!(k.status(child), 0); }
    [msgrcv] order_by_type(k) needs Native { let id = queue(k); for kind in [3, 1, 2, 1] { ok(send(k, id, kind, &[kind as u8], 0)); } assert_eq!(receive(k, id, 1, 2, 0), Ok((2, vec![2]))); assert_eq!(receive(k, id, 1, -2, 0), Ok((1, vec![1]))); assert_eq!(receive(k, id, 1, 0, 0), Ok((3, vec![3]))); assert_eq!(receive(k, id, 1, 1, EXCEPT | NOWAIT), Err(E::ENOMSG)); assert_eq!(receive(k, id, 1, 9, EXCEPT), Ok((1, vec![1]))); remove(k, id); }
    [msgrcv] lowest_type_for_negative(k) needs Native { let id = queue(k); for kind in [5, 3, 4] { ok(send(k, id, kind, b"", 0)); } for kind in [3, 4, 5] { assert_eq!(receive(k, id, 0, -10, 0), Ok((kind, vec![]))); } remove(k, id); }
    [msgrcv] nothing_of_that_type(k) needs Native { let id = queue(k); ok(send(k, id, 1, b"x", 0)); fails(receive(k, id, 1, 2, NOWAIT), E::ENOMSG); fails(receive(k, id, 1, i64::MIN, NOWAIT).map(|_| ()).and(Err::<(), E>(E::ENOMSG)), E::ENOMSG); remove(k, id); }
    [msgrcv] too_long_stays(k) needs Native { let id = queue(k); ok(send(k, id, 1, b"abc", 0)); fails(receive(k, id, 2, 0, 0), E::E2BIG); assert_eq!(receive(k, id, 2, 0, NOERROR), Ok((1, b"ab".to_vec()))); fails(receive(k, id, 9, 0, NOWAIT), E::ENOMSG); remove(k, id); }
    [msgrcv] negative_size(k) needs Native { let id = queue(k); fails(call!(k, MSGRCV, id, &mut [0_u8; 16], -1_i64, 0, 0), E::EINVAL); remove(k, id); }
    [msgrcv] pointer_of_receive(k) needs Native { let id = queue(k); ok(send(k, id, 1, b"abc", 0)); fails(call!(k, MSGRCV, id, Arg::Bad, 3, 0, 0), E::EFAULT); remove(k, id); }
    [msgrcv] copy_needs_nowait_and_no_except(k) needs Native { let id = queue(k); fails(receive(k, id, 1, 0, COPY), E::EINVAL); fails(receive(k, id, 1, 0, COPY | EXCEPT | NOWAIT), E::EINVAL); remove(k, id); }
    [msgrcv] copy_leaves_the_message(k) needs Native { let id = queue(k); ok(send(k, id, 1, b"a", 0)); ok(send(k, id, 2, b"b", 0)); let found = receive(k, id, 1, 1, COPY | NOWAIT); if found != Err(E::ENOSYS) { assert_eq!(found, Ok((2, b"b".to_vec()))); assert_eq!(u64_at(&stat(k, id), 80), 2); fails(receive(k, id, 1, 2, COPY | NOWAIT), E::ENOMSG); } remove(k, id); }
    [msgrcv] removal_wakes_the_receiver(k) needs Native { let id = queue(k); let child = k.child(|| i32::from(receive(k, id, 1, 0, 0) != Err(E::EIDRM))); asleep(k, child); remove(k, id); assert_eq!(k.status(child), 0); }
    [msgrcv] waiter_gets_its_type_only(k) needs Native { let id = queue(k); let child = k.child(|| i32::from(receive(k, id, 1, 5, 0) != Ok((5, b"y".to_vec())))); asleep(k, child); ok(send(k, id, 4, b"x", 0)); k.sleep_ms(10); ok(send(k, id, 5, b"y", 0)); assert_eq!(k.status(child), 0); remove(k, id); }
    [msgctl] statistics(k) needs Native { let id = queue(k); let fresh = stat(k, id); assert_eq!((i32_at(&fresh, 4), i32_at(&fresh, 20) & 0o777, u64_at(&fresh, 48), u64_at(&fresh, 80), u64_at(&fresh, 88)), (0, 0o600, 0, 0, 16384)); assert!(u64_at(&fresh, 64) > 1_000_000_000); ok(send(k, id, 1, b"abc", 0)); let sent = stat(k, id); assert_eq!((u64_at(&sent, 72), u64_at(&sent, 80), i32_at(&sent, 96)), (3, 1, k.getpid())); assert!(u64_at(&sent, 48) > 0); ok(receive(k, id, 3, 0, 0)); assert_eq!(i32_at(&stat(k, id), 100), k.getpid()); remove(k, id); }
    [msgctl] settings(k) needs Root, Native { let id = queue(k); let mut new = stat(k, id); new[20..22].copy_from_slice(&0o640_u16.to_ne_bytes()); new[4..8].copy_from_slice(&1000_u32.to_ne_bytes()); new[88..96].copy_from_slice(&100_u64.to_ne_bytes()); ok(call!(k, MSGCTL, id, SET, new.as_slice())); let now = stat(k, id); assert_eq!((i32_at(&now, 20) & 0o777, i32_at(&now, 4), u64_at(&now, 88)), (0o640, 1000, 100)); fails(send(k, id, 1, &[0; 101], NOWAIT), E::EAGAIN); as_user(k, || { new[88..96].copy_from_slice(&(1_u64 << 20).to_ne_bytes()); fails(call!(k, MSGCTL, id, SET, new.as_slice()), E::EPERM); remove(k, id); }); }
    [msgctl] unknown_command_and_pointers(k) needs Native { let id = queue(k); fails(call!(k, MSGCTL, id, 99, Arg::Null), E::EINVAL); fails(call!(k, MSGCTL, id, STAT, Arg::Bad), E::EFAULT); fails(call!(k, MSGCTL, id, SET, Arg::Bad), E::EFAULT); fails(call!(k, MSGCTL, -1, RMID, Arg::Null), E::EINVAL); remove(k, id); }
    [msgctl] limits_of_the_system(k) needs Native { let mut info = [0; 32]; ok(call!(k, MSGCTL, 0, 3, &mut info)); assert_eq!((i32_at(&info, 8), i32_at(&info, 12)), (8192, 16384)); assert!(i32_at(&info, 16) >= 32); ok(call!(k, MSGCTL, 0, 12, &mut info)); fails(call!(k, MSGCTL, 0, 3, Arg::Bad), E::EFAULT); }
    [msgctl] statistics_by_index(k) needs Native { let id = queue(k); let most = call!(k, MSGCTL, 0, 12, &mut [0_u8; 32]).unwrap(); let found = (0..=most).any(|index| call!(k, MSGCTL, index, 11, &mut [0_u8; 120]) == Ok(id)); assert!(found); fails(call!(k, MSGCTL, 9_999_999, 11, &mut [0_u8; 120]), E::EINVAL); remove(k, id); }
    [msgget] shown_in_proc(k) needs Native { let id = queue(k); ok(send(k, id, 1, b"abc", 0)); let table = text(k, "/proc/sysvipc/msg"); let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&id.to_string())).unwrap(); let fields: Vec<_> = line.split_whitespace().collect(); assert_eq!((fields[2], fields[3], fields[4]), ("600", "3", "1")); remove(k, id); }
    [msgget, unshare] namespaces_have_queues_of_their_own(k) needs Root, Native { let id = queue(k); k.apart(|| { ok(call!(k, UNSHARE, 0x0800_0000)); fails(call!(k, MSGCTL, id, STAT, &mut [0_u8; 120]), E::EINVAL); }); remove(k, id); }
}
