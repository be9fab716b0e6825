//! POSIX message queues: `mq_overview(7)`.

use chitin_abi::poll::{POLLIN, POLLOUT};
use chitin_abi::signal::SIGUSR1;
use chitin_abi::{Errno as E, Result};

use super::super::support::{
    MS, as_user, asleep, fd, gettid, now, ok, text, timespec, u64_at, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, fails, fails_with_one_of, tests};

const RDWR: u32 = 2;
const CREAT: u32 = 0o100;
const EXCL: u32 = 0o200;
const NONBLOCK: u32 = 0o4000;

/// A name that no other test has.
fn name(k: &dyn Kernel) -> std::ffi::CString {
    std::ffi::CString::new(format!("q{}-{}", now(k, 1), gettid(k))).unwrap()
}

fn attributes(most: u64, size: u64) -> Vec<u8> {
    words([0, most, size, 0, 0, 0, 0, 0])
}

/// A queue of three messages of eight bytes, without a name.
fn queue(k: &dyn Kernel, flags: u32) -> Fd {
    let name = name(k);
    let queue = fd(call!(
        k,
        MQ_OPEN,
        name.as_c_str(),
        RDWR | CREAT | EXCL | flags,
        0o600,
        attributes(3, 8).as_slice()
    ));
    ok(call!(k, MQ_UNLINK, name.as_c_str()));
    queue
}

fn send(k: &dyn Kernel, queue: Fd, text: &[u8], priority: u32) -> Result<u64> {
    call!(k, MQ_TIMEDSEND, queue, text, text.len(), priority, Arg::Null)
}

/// Text and priority.
fn receive(k: &dyn Kernel, queue: Fd) -> Result<(Vec<u8>, u32)> {
    let (mut text, mut priority) = ([0; 8], [0; 4]);
    let count = call!(k, MQ_TIMEDRECEIVE, queue, &mut text, 8, &mut priority, Arg::Null)?;
    Ok((text[..count as usize].to_vec(), u32::from_ne_bytes(priority)))
}

fn event(kind: u32, signal: u32, value: u64) -> Vec<u8> {
    let mut event = vec![0; 64];
    event[..8].copy_from_slice(&value.to_ne_bytes());
    event[8..12].copy_from_slice(&signal.to_ne_bytes());
    event[12..16].copy_from_slice(&kind.to_ne_bytes());
    event
}

tests! { "mq", "mq_overview(7)";
    [mq_open] missing_queue(k) needs Native { fails(call!(k, MQ_OPEN, name(k).as_c_str(), RDWR, 0, Arg::Null), E::ENOENT); }
    [mq_open] names_without_a_slash(k) needs Native { for bad in [c"a/b", c"/x", c""] { fails_with_one_of(call!(k, MQ_OPEN, bad, RDWR | CREAT, 0o600, Arg::Null), &[E::EACCES, E::ENOENT, E::EINVAL]); } let long = std::ffi::CString::new("n".repeat(256)).unwrap(); fails(call!(k, MQ_OPEN, long.as_c_str(), RDWR | CREAT, 0o600, Arg::Null), E::ENAMETOOLONG); }
    [mq_open] exclusive(k) needs Native { let name = name(k); ok(call!(k, MQ_OPEN, name.as_c_str(), RDWR | CREAT | EXCL, 0o600, Arg::Null)); fails(call!(k, MQ_OPEN, name.as_c_str(), RDWR | CREAT | EXCL, 0o600, Arg::Null), E::EEXIST); ok(call!(k, MQ_OPEN, name.as_c_str(), RDWR | CREAT, 0o600, Arg::Null)); ok(call!(k, MQ_UNLINK, name.as_c_str())); }
    [mq_open] attributes_out_of_range(k) needs Native { for bad in [attributes(0, 8), attributes(3, 0), attributes(u64::MAX, 8), attributes(3, u64::MAX), attributes(1 << 40, 1 << 40)] { fails_with_one_of(call!(k, MQ_OPEN, name(k).as_c_str(), RDWR | CREAT, 0o600, bad.as_slice()), &[E::EINVAL, E::EOVERFLOW]); } }
    [mq_open] pointers_of_open(k) needs Native { fails(call!(k, MQ_OPEN, Arg::Bad, RDWR | CREAT, 0o600, Arg::Null), E::EFAULT); fails(call!(k, MQ_OPEN, name(k).as_c_str(), RDWR | CREAT, 0o600, Arg::Bad), E::EFAULT); }
    [mq_open] default_attributes(k) needs Native { let name = name(k); let queue = fd(call!(k, MQ_OPEN, name.as_c_str(), RDWR | CREAT, 0o600, Arg::Null)); let mut found = [0; 64]; ok(call!(k, MQ_GETSETATTR, queue, Arg::Null, &mut found)); assert_eq!((u64_at(&found, 8), u64_at(&found, 16), u64_at(&found, 24)), (10, 8192, 0)); ok(call!(k, MQ_UNLINK, name.as_c_str())); }
    [mq_open] permission_of_the_queue(k) needs Root, Native { let name = name(k); ok(call!(k, MQ_OPEN, name.as_c_str(), RDWR | CREAT, 0o600, Arg::Null)); as_user(k, || { fails(call!(k, MQ_OPEN, name.as_c_str(), 0, 0, Arg::Null), E::EACCES); fails_with_one_of(call!(k, MQ_UNLINK, name.as_c_str()), &[E::EPERM, E::EACCES]); }); ok(call!(k, MQ_UNLINK, name.as_c_str())); }
    [mq_open] close_on_exec_is_set(k) needs Native { assert_eq!(k.fcntl(queue(k, 0), 1, 0), Ok(1)); }
    [mq_unlink] unlinked_queue_lives_while_open(k) needs Native { let queue = queue(k, 0); ok(send(k, queue, b"x", 0)); assert_eq!(receive(k, queue), Ok((b"x".to_vec(), 0))); }
    [mq_unlink] missing_name(k) needs Native { fails(call!(k, MQ_UNLINK, name(k).as_c_str()), E::ENOENT); fails(call!(k, MQ_UNLINK, Arg::Bad), E::EFAULT); }
    [mq_timedsend] order_by_priority(k) needs Native { let queue = queue(k, 0); for (text, priority) in [(b"a", 1), (b"b", 3), (b"c", 3)] { ok(send(k, queue, text, priority)); } assert_eq!((receive(k, queue), receive(k, queue), receive(k, queue)), (Ok((b"b".to_vec(), 3)), Ok((b"c".to_vec(), 3)), Ok((b"a".to_vec(), 1)))); }
    [mq_timedsend] priorities_end_at_32767(k) needs Native { let queue = queue(k, 0); fails(send(k, queue, b"x", 32768), E::EINVAL); ok(send(k, queue, b"x", 32767)); }
    [mq_timedsend] message_too_long(k) needs Native { fails(send(k, queue(k, 0), b"123456789", 0), E::EMSGSIZE); }
    [mq_timedsend] full_nonblocking(k) needs Native { let queue = queue(k, NONBLOCK); for _ in 0..3 { ok(send(k, queue, b"x", 0)); } fails(send(k, queue, b"x", 0), E::EAGAIN); }
    [mq_timedsend] full_until_a_time(k) needs Native { let queue = queue(k, 0); for _ in 0..3 { ok(send(k, queue, b"x", 0)); } let due = now(k, 0) + 30 * MS; fails(call!(k, MQ_TIMEDSEND, queue, b"x", 1, 0, timespec(due).as_slice()), E::ETIMEDOUT); assert!(now(k, 0) >= due); }
    [mq_timedsend] descriptors_of_other_kinds(k) needs Native { let file = k.file("f", b""); fails(send(k, file, b"x", 0), E::EBADF); fails(send(k, 999, b"x", 0), E::EBADF); fails(receive(k, file), E::EBADF); }
    [mq_timedsend] wrong_direction(k) needs Native { let name = name(k); ok(call!(k, MQ_OPEN, name.as_c_str(), RDWR | CREAT, 0o600, attributes(3, 8).as_slice())); let (reader, writer) = (fd(call!(k, MQ_OPEN, name.as_c_str(), 0, 0, Arg::Null)), fd(call!(k, MQ_OPEN, name.as_c_str(), 1, 0, Arg::Null))); fails(send(k, reader, b"x", 0), E::EBADF); fails(receive(k, writer), E::EBADF); ok(call!(k, MQ_UNLINK, name.as_c_str())); }
    [mq_timedsend] pointers_of_send(k) needs Native { let queue = queue(k, 0); fails(call!(k, MQ_TIMEDSEND, queue, Arg::Bad, 1, 0, Arg::Null), E::EFAULT); fails(call!(k, MQ_TIMEDSEND, queue, b"x", 1, 0, Arg::Bad), E::EFAULT); }
    [mq_timedreceive] buffer_must_hold_the_largest(k) needs Native { let queue = queue(k, 0); ok(send(k, queue, b"x", 0)); fails(call!(k, MQ_TIMEDRECEIVE, queue, &mut [0_u8; 7], 7, Arg::Null, Arg::Null), E::EMSGSIZE); }
    [mq_timedreceive] empty_nonblocking(k) needs Native { fails(receive(k, queue(k, NONBLOCK)), E::EAGAIN); }
    [mq_timedreceive] times_out_of_range(k) needs Native { let queue = queue(k, 0); for time in [words([0, 1_000_000_000]), words([u64::MAX, 0]), words([0, u64::MAX])] { fails(call!(k, MQ_TIMEDRECEIVE, queue, &mut [0_u8; 8], 8, Arg::Null, time.as_slice()), E::EINVAL); } }
    [mq_timedreceive] past_time_times_out_at_once(k) needs Native { let queue = queue(k, 0); fails(call!(k, MQ_TIMEDRECEIVE, queue, &mut [0_u8; 8], 8, Arg::Null, timespec(1).as_slice()), E::ETIMEDOUT); ok(send(k, queue, b"x", 0)); assert_eq!(call!(k, MQ_TIMEDRECEIVE, queue, &mut [0_u8; 8], 8, Arg::Null, timespec(1).as_slice()), Ok(1)); }
    [mq_timedreceive] sender_wakes_the_receiver(k) needs Native { let queue = queue(k, 0); let child = k.child(|| i32::from(receive(k, queue) != Ok((b"hi".to_vec(), 4)))); asleep(k, child); ok(send(k, queue, b"hi", 4)); assert_eq!(k.status(child), 0); }
    [mq_getsetattr] nonblock_is_all_that_can_be_set(k) needs Native { let queue = queue(k, 0); let mut old = [0; 64]; ok(call!(k, MQ_GETSETATTR, queue, words([u64::from(NONBLOCK), 99, 99, 99, 0, 0, 0, 0]).as_slice(), &mut old)); assert_eq!(u64_at(&old, 0), 0); ok(call!(k, MQ_GETSETATTR, queue, Arg::Null, &mut old)); assert_eq!((u64_at(&old, 0), u64_at(&old, 8), u64_at(&old, 16)), (u64::from(NONBLOCK), 3, 8)); fails(call!(k, MQ_GETSETATTR, queue, words([1, 0, 0, 0, 0, 0, 0, 0]).as_slice(), Arg::Null), E::EINVAL); }
    [mq_getsetattr] count_of_messages(k) needs Native { let queue = queue(k, 0); ok(send(k, queue, b"x", 0)); let mut found = [0; 64]; ok(call!(k, MQ_GETSETATTR, queue, Arg::Null, &mut found)); assert_eq!(u64_at(&found, 24), 1); fails(call!(k, MQ_GETSETATTR, queue, Arg::Null, Arg::Bad), E::EFAULT); fails(call!(k, MQ_GETSETATTR, 0, Arg::Null, &mut found), E::EBADF); }
    [mq_notify] signals_when_it_is_no_longer_empty(k) needs Native { ok(k.catch(SIGUSR1, 0)); let queue = queue(k, 0); ok(call!(k, MQ_NOTIFY, queue, event(0, SIGUSR1, 7).as_slice())); ok(send(k, queue, b"x", 0)); assert_eq!(k.caught(SIGUSR1), (1, -3, 7)); ok(send(k, queue, b"x", 0)); assert_eq!(k.caught(SIGUSR1).0, 1); }
    [mq_notify] only_one_process(k) needs Native { let queue = queue(k, 0); ok(call!(k, MQ_NOTIFY, queue, event(1, 0, 0).as_slice())); fails(call!(k, MQ_NOTIFY, queue, event(1, 0, 0).as_slice()), E::EBUSY); k.apart(|| fails(call!(k, MQ_NOTIFY, queue, event(1, 0, 0).as_slice()), E::EBUSY)); ok(call!(k, MQ_NOTIFY, queue, Arg::Null)); ok(call!(k, MQ_NOTIFY, queue, event(1, 0, 0).as_slice())); }
    [mq_notify] bad_events(k) needs Native { let queue = queue(k, 0); fails(call!(k, MQ_NOTIFY, queue, event(0, 65, 0).as_slice()), E::EINVAL); fails(call!(k, MQ_NOTIFY, queue, event(9, 10, 0).as_slice()), E::EINVAL); fails(call!(k, MQ_NOTIFY, queue, Arg::Bad), E::EFAULT); fails(call!(k, MQ_NOTIFY, 0, event(1, 0, 0).as_slice()), E::EBADF); }
    [mq_notify] waiting_receiver_comes_first(k) needs Native { ok(k.catch(SIGUSR1, 0)); let queue = queue(k, 0); ok(call!(k, MQ_NOTIFY, queue, event(0, SIGUSR1, 7).as_slice())); let child = k.child(|| i32::from(receive(k, queue).is_err())); asleep(k, child); ok(send(k, queue, b"x", 0)); assert_eq!((k.status(child), k.caught(SIGUSR1).0), (0, 0)); }
    [poll] readiness(k) needs Native { let queue = queue(k, 0); assert_eq!(k.ready(queue, POLLIN | POLLOUT), POLLOUT); ok(send(k, queue, b"x", 0)); assert_eq!(k.ready(queue, POLLIN | POLLOUT), POLLIN | POLLOUT); for _ in 0..2 { ok(send(k, queue, b"x", 0)); } assert_eq!(k.ready(queue, POLLIN | POLLOUT), POLLIN); }
    [read] descriptor_reads_its_state(k) needs Native { let queue = queue(k, 0); ok(send(k, queue, b"abc", 0)); let shown = k.read_some(queue, 200).unwrap(); assert!(String::from_utf8_lossy(&shown).starts_with("QSIZE:3 "), "{shown:?}"); }
    [mq_open] limits_in_proc(k) needs Native { assert_eq!((text(k, "/proc/sys/fs/mqueue/msg_max").as_str(), text(k, "/proc/sys/fs/mqueue/msgsize_max").as_str()), ("10\n", "8192\n")); }
    [mq_open, unshare] namespaces_have_names_of_their_own(k) needs Root, Native { let name = name(k); ok(call!(k, MQ_OPEN, name.as_c_str(), RDWR | CREAT, 0o600, Arg::Null)); k.apart(|| { ok(call!(k, UNSHARE, 0x0800_0000)); fails(call!(k, MQ_OPEN, name.as_c_str(), RDWR, 0, Arg::Null), E::ENOENT); }); ok(call!(k, MQ_UNLINK, name.as_c_str())); }
}
