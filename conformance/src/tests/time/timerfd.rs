//! Timers as files: `timerfd_create(2)`.

use chitin_abi::poll::POLLIN;
use chitin_abi::{Errno as E, Result};

use super::super::support::{MS, as_user, fd, now, ok, text, timespec, u64_at, words};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, fails, half_faults, out, tests};

const NONBLOCK: u32 = 0o4000;

fn open(k: &dyn Kernel, clock: i32) -> Fd {
    fd(call!(k, TIMERFD_CREATE, clock, NONBLOCK))
}

fn spec(interval: i64, value: i64) -> Vec<u8> {
    [timespec(interval), timespec(value)].concat()
}

fn set(k: &dyn Kernel, timer: Fd, flags: u32, interval: i64, value: i64) -> Result<u64> {
    call!(k, TIMERFD_SETTIME, timer, flags, spec(interval, value).as_slice(), Arg::Null)
}

fn count(k: &dyn Kernel, timer: Fd) -> Result<u64> {
    let mut count = [0; 8];
    k.read(timer, &mut count)?;
    Ok(u64::from_ne_bytes(count))
}

tests! { "timerfd", "timerfd_create(2)";
    [timerfd_create] clocks_of_files(k) needs Native { for clock in [0, 1, 7, 8, 9] { ok(k.close(open(k, clock))); } for clock in [2, 3, 4, 5, 6, 99, -1] { fails(call!(k, TIMERFD_CREATE, clock, 0), E::EINVAL); } }
    [timerfd_create] flags_are_kept(k) needs Native { let timer = fd(call!(k, TIMERFD_CREATE, 1, NONBLOCK | 0o2_000_000)); assert_eq!((k.fcntl(timer, 1, 0), k.fcntl(timer, 3, 0)), (Ok(1), Ok(u64::from(NONBLOCK | 2)))); }
    [timerfd_create] unknown_flags(k) needs Native { for flags in [1, 2, 0o200] { fails(call!(k, TIMERFD_CREATE, 1, flags), E::EINVAL); } }
    [timerfd_create] alarm_clocks_need_privilege(k) needs Root, Native { as_user(k, || fails(call!(k, TIMERFD_CREATE, 8, 0), E::EPERM)); }
    [read] unarmed_timer_is_empty(k) needs Native { let timer = open(k, 1); fails(count(k, timer), E::EAGAIN); assert_eq!(k.ready(timer, POLLIN), 0); }
    [read] small_buffer(k) needs Native { let timer = open(k, 1); fails(k.read(timer, &mut [0; 7]), E::EINVAL); }
    [read] larger_buffer_gets_eight(k) needs Native { let timer = open(k, 1); ok(set(k, timer, 0, 0, 1)); k.sleep_ms(5); assert_eq!(k.read(timer, &mut [0; 64]), Ok(8)); }
    [read] bad_buffer(k) needs Native { let timer = open(k, 1); ok(set(k, timer, 0, 0, 1)); k.sleep_ms(5); fails(call!(k, READ, timer, Arg::Bad, 8), E::EFAULT); }
    [write] cannot_be_written(k) needs Native { fails(k.write(open(k, 1), &[0; 8]), E::EINVAL); }
    [read] blocking_read_waits(k) needs Native { let timer = fd(call!(k, TIMERFD_CREATE, 1, 0)); let start = now(k, 1); ok(set(k, timer, 0, 0, 40 * MS)); assert_eq!(count(k, timer), Ok(1)); assert!(now(k, 1) - start >= 40 * MS); }
    [timerfd_settime] repeats_and_counts(k) needs Native { let (timer, start) = (open(k, 1), now(k, 1)); ok(set(k, timer, 0, 10 * MS, 10 * MS)); k.sleep_ms(55); let seen = count(k, timer).unwrap(); let most = (now(k, 1) - start) / (10 * MS); assert!((5..=most as u64).contains(&seen), "{seen}"); }
    [timerfd_settime] zero_disarms(k) needs Native { let timer = open(k, 1); ok(set(k, timer, 0, 0, 10 * MS)); ok(set(k, timer, 0, 5 * MS, 0)); k.sleep_ms(30); fails(count(k, timer), E::EAGAIN); }
    [timerfd_settime] arming_again_forgets_expirations(k) needs Native { let timer = open(k, 1); ok(set(k, timer, 0, 0, 1)); k.sleep_ms(5); ok(set(k, timer, 0, 0, 10_000 * MS)); assert_eq!(k.ready(timer, POLLIN), 0); }
    [timerfd_settime] absolute_times(k) needs Native { for clock in [0, 1, 7] { let timer = fd(call!(k, TIMERFD_CREATE, clock, 0)); let due = now(k, clock) + 20 * MS; ok(set(k, timer, 1, 0, due)); assert_eq!(count(k, timer), Ok(1)); assert!(now(k, clock) >= due); } }
    [timerfd_settime] absolute_past_with_an_interval_counts_what_was_missed(k) needs Native { let timer = open(k, 1); let past = now(k, 1) - 100 * MS; ok(set(k, timer, 1, 10 * MS, past)); k.sleep_ms(2); assert!(count(k, timer).unwrap() >= 10); }
    [timerfd_settime] unknown_flags_of_settime(k) needs Native { fails(set(k, open(k, 1), 4, 0, MS), E::EINVAL); }
    [timerfd_settime] cancel_flag_is_accepted(k) needs Native { let timer = open(k, 0); ok(set(k, timer, 3, 0, now(k, 0) + 20 * MS)); k.sleep_ms(40); assert_eq!(count(k, timer), Ok(1)); }
    [timerfd_settime] times_out_of_range(k) needs Native { let timer = open(k, 1); for value in [words([0, 0, 0, 1_000_000_000]), words([0, 1_000_000_000, 0, 1]), words([0, 0, u64::MAX, 0])] { fails(call!(k, TIMERFD_SETTIME, timer, 0, value.as_slice(), Arg::Null), E::EINVAL); } }
    [timerfd_settime] pointers(k) needs Native { let timer = open(k, 1); fails(call!(k, TIMERFD_SETTIME, timer, 0, Arg::Bad, Arg::Null), E::EFAULT); fails(call!(k, TIMERFD_SETTIME, timer, 0, spec(0, MS).as_slice(), Arg::Bad), E::EFAULT); fails(call!(k, TIMERFD_GETTIME, timer, Arg::Bad), E::EFAULT); half_faults!(k, TIMERFD_GETTIME, timer, out(32)); }
    [timerfd_settime] descriptors_of_other_kinds(k) needs Native { let file = k.file("f", b""); fails(set(k, file, 0, 0, MS), E::EINVAL); fails(set(k, 999, 0, 0, MS), E::EBADF); fails(call!(k, TIMERFD_GETTIME, file, &mut [0_u8; 32]), E::EINVAL); fails(call!(k, TIMERFD_GETTIME, 999, &mut [0_u8; 32]), E::EBADF); }
    [timerfd_gettime] rest_and_interval(k) needs Native { let timer = open(k, 1); ok(set(k, timer, 0, 3 * MS, 100_000 * MS)); let mut now = [0; 32]; ok(call!(k, TIMERFD_GETTIME, timer, &mut now)); assert!(u64_at(&now, 8) == 3_000_000 && (90..100).contains(&u64_at(&now, 16))); }
    [timerfd_gettime] disarmed_is_zero(k) needs Native { let mut now = [9; 32]; ok(call!(k, TIMERFD_GETTIME, open(k, 1), &mut now)); assert_eq!(now, [0; 32]); }
    [timerfd_gettime] one_shot_that_fired_is_zero(k) needs Native { let timer = open(k, 1); ok(set(k, timer, 0, 0, 1)); k.sleep_ms(5); let mut now = [9; 32]; ok(call!(k, TIMERFD_GETTIME, timer, &mut now)); assert_eq!(now, [0; 32]); }
    [timerfd_settime, fork] children_share_the_timer(k) needs Native { let timer = open(k, 1); k.apart(|| ok(set(k, timer, 0, 0, MS))); k.sleep_ms(10); assert_eq!(count(k, timer), Ok(1)); }
    [timerfd_create, dup] descriptors_share_the_count(k) needs Native { let timer = open(k, 1); let copy = k.dup(timer).unwrap(); ok(set(k, timer, 0, 0, 1)); k.sleep_ms(5); assert_eq!(count(k, copy), Ok(1)); fails(count(k, timer), E::EAGAIN); }
    [poll, epoll_wait] readiness(k) needs Native { let timer = open(k, 1); let mut fds = [chitin_abi::poll::PollFd { fd: timer, events: POLLIN, revents: 0 }]; ok(set(k, timer, 0, 0, 20 * MS)); assert_eq!((k.poll(&mut fds, 5000), fds[0].revents), (Ok(1), POLLIN)); }
    [timerfd_create] fdinfo_shows_the_timer(k) needs Native { let timer = open(k, 1); ok(set(k, timer, 0, 2 * MS, 100_000 * MS)); let shown = text(k, &format!("/proc/self/fdinfo/{timer}")); assert!(shown.contains("clockid: 1\nticks: 0\nsettime flags: 00\nit_value: (9") && shown.contains("it_interval: (0, 2000000)"), "{shown}"); }
    [readlink] link_names_the_kind(k) needs Native { let timer = open(k, 1); assert_eq!(k.readlink(&format!("/proc/self/fd/{timer}")), Ok(b"anon_inode:[timerfd]".to_vec())); }
    [lseek] has_no_position(k) needs Native { let timer = open(k, 1); let found = k.lseek(timer, 0, 0); assert!(matches!(found, Ok(0) | Err(E::ESPIPE)), "{found:?}"); }
}
