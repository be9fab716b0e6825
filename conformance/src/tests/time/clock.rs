//! Clocks and sleeping: `clock_gettime(2)`, `clock_nanosleep(2)`, `times(2)`, `getrusage(2)`, `adjtimex(2)`.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use chitin_abi::{Errno as E, Result};

use super::super::support::{
    MS, as_user, end, gettid, memory, now, ok, pester, sleeper, timespec, u64_at, until, words,
};
use crate::call;
use crate::suite::{
    Arg, Calls, Kernel, Processes, Threads, fails, fails_with_one_of, half_faults, out, tests,
};

/// Realtime, monotonic, process and thread CPU time, raw, coarse ones, boot time, TAI.
const CLOCKS: [i32; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 11];

fn burn(k: &dyn Kernel, ns: i64) {
    let start = now(k, 3);
    while now(k, 3) - start < ns {}
}

fn sleep(k: &dyn Kernel, clock: i32, flags: u32, ns: i64) -> Result<u64> {
    call!(k, CLOCK_NANOSLEEP, clock, flags, timespec(ns).as_slice(), Arg::Null)
}

/// The CPU clock of a process.
const fn process_clock(pid: i32) -> i32 {
    !pid << 3 | 2
}

const fn thread_clock(tid: i32) -> i32 {
    !tid << 3 | 6
}

fn usage(k: &dyn Kernel, who: i32) -> Vec<u8> {
    let mut usage = vec![0; 144];
    ok(call!(k, GETRUSAGE, who, usage.as_mut_slice()));
    usage
}

tests! { "clock", "clock_gettime(2)";
    [clock_gettime] every_clock_goes_forward(k) needs Native { for clock in CLOCKS { let first = now(k, clock); burn(k, 20 * MS); assert!(now(k, clock) > first, "clock {clock}"); } }
    [clock_gettime] alarm_clocks_can_be_read_where_there_is_such_a_device(k) needs Native { for clock in [8, 9] { let found = call!(k, CLOCK_GETTIME, clock, &mut [0_u8; 16]); assert!(matches!(found, Ok(0) | Err(E::EINVAL)), "{found:?}"); } }
    [clock_gettime] unknown_clocks(k) needs Native { for clock in [10, 12, 15, 16, 99, 1 << 30] { fails(call!(k, CLOCK_GETTIME, clock, &mut [0_u8; 16]), E::EINVAL); } }
    [clock_gettime] bad_pointers(k) needs Native { for clock in CLOCKS { fails(call!(k, CLOCK_GETTIME, clock, Arg::Kernel), E::EFAULT); } half_faults!(k, CLOCK_GETTIME, 1, out(16)); }
    [clock_gettime] nanoseconds_are_below_a_second(k) needs Native { for clock in CLOCKS { let mut time = [0; 16]; ok(call!(k, CLOCK_GETTIME, clock, &mut time)); assert!(u64_at(&time, 8) < 1_000_000_000); } }
    [clock_gettime] coarse_clocks_lag_a_little(k) needs Native { for (fine, coarse) in [(0, 5), (1, 6)] { let (first, second) = (now(k, coarse), now(k, fine)); assert!((0..10_000 * MS).contains(&(second - first)), "{first} {second}"); } }
    [clock_gettime] tai_is_near_real_time(k) needs Native { let (before, tai, after) = (now(k, 0), now(k, 11), now(k, 0)); assert!((before..after + 40_000 * MS).contains(&tai)); }
    [clock_gettime] boot_time_is_not_behind(k) needs Native { let first = now(k, 1); assert!(now(k, 7) >= first); }
    [clock_gettime] cpu_clocks_stand_still_in_sleep(k) needs Native { for clock in [2, 3] { let first = now(k, clock); k.sleep_ms(60); assert!(now(k, clock) - first < 40 * MS); } }
    [clock_gettime] process_clock_counts_all_threads(k) needs Native { let (process, thread) = (now(k, 2), now(k, 3)); k.on_thread(|| burn(k, 60 * MS)); assert!(now(k, 2) - process >= 50 * MS); assert!(now(k, 3) - thread < 50 * MS); }
    [clock_gettime] cpu_clock_of_another_process(k) needs Native { let child = k.child(|| { burn(k, 40 * MS); loop { k.sleep_ms(1000); } }); until(k, || now(k, process_clock(child.pid)) >= 40 * MS); end(k, child); }
    [clock_gettime] cpu_clock_of_nobody(k) needs Native { fails(call!(k, CLOCK_GETTIME, process_clock(0x00ff_fff0), &mut [0_u8; 16]), E::EINVAL); }
    [clock_gettime] cpu_clock_of_a_foreign_thread(k) needs Native { let child = sleeper(k); fails(call!(k, CLOCK_GETTIME, thread_clock(child.pid), &mut [0_u8; 16]), E::EINVAL); end(k, child); }
    [clock_gettime] cpu_clock_of_the_own_thread(k) needs Native { let clock = thread_clock(gettid(k)); burn(k, 5 * MS); assert!(now(k, clock) >= 5 * MS); assert!(now(k, thread_clock(0)) > 0); }
    [clock_getres] every_clock_has_one(k) needs Native { for clock in CLOCKS { let mut time = [9; 16]; ok(call!(k, CLOCK_GETRES, clock, &mut time)); let ns = u64_at(&time, 8); assert!(u64_at(&time, 0) == 0 && if matches!(clock, 5 | 6) { ns >= 1_000_000 } else { ns == 1 }, "{clock} {ns}"); } }
    [clock_getres] pointer_may_be_null(k) needs Native { assert_eq!(call!(k, CLOCK_GETRES, 1, Arg::Null), Ok(0)); fails(call!(k, CLOCK_GETRES, 99, Arg::Null), E::EINVAL); fails(call!(k, CLOCK_GETRES, 1, Arg::Bad), E::EFAULT); }
    [clock_settime] clocks_that_cannot_be_set(k) needs Native { for clock in [1, 2, 3, 4, 5, 6, 7, 11, 99] { fails(call!(k, CLOCK_SETTIME, clock, timespec(MS).as_slice()), E::EINVAL); } }
    [clock_settime] user_may_not(k) needs Root, Native { as_user(k, || { let time = timespec(now(k, 0)); fails(call!(k, CLOCK_SETTIME, 0, time.as_slice()), E::EPERM); fails(call!(k, SETTIMEOFDAY, words([1_700_000_000, 0]).as_slice(), Arg::Null), E::EPERM); }); }
    [clock_settime] bad_times(k) needs Native { for time in [words([0, 1_000_000_000]), words([u64::MAX, 0])] { fails(call!(k, CLOCK_SETTIME, 0, time.as_slice()), E::EINVAL); } fails(call!(k, CLOCK_SETTIME, 0, Arg::Bad), E::EFAULT); }
    [settimeofday] bad_values(k) needs Native { fails(call!(k, SETTIMEOFDAY, words([1, 1_000_000]).as_slice(), Arg::Null), E::EINVAL); fails(call!(k, SETTIMEOFDAY, Arg::Bad, Arg::Null), E::EFAULT); fails(call!(k, SETTIMEOFDAY, Arg::Null, Arg::Bad), E::EFAULT); }
    [gettimeofday] both_may_be_null(k) needs Native { assert_eq!(call!(k, GETTIMEOFDAY, Arg::Null, Arg::Null), Ok(0)); }
    [gettimeofday] zone_is_greenwich(k) needs Native { let mut zone = [9; 8]; ok(call!(k, GETTIMEOFDAY, Arg::Null, &mut zone)); assert_eq!(zone, [0; 8]); fails(call!(k, GETTIMEOFDAY, Arg::Null, Arg::Kernel), E::EFAULT); }
    [time] stores_and_returns(k) needs Native { let mut stored = [0; 8]; let time = call!(k, TIME, &mut stored).unwrap(); assert_eq!(time, u64::from_ne_bytes(stored)); }
    [clock_nanosleep] clocks_to_sleep_by(k) needs Native { for clock in [0, 1, 7, 11] { let start = now(k, 1); assert_eq!(sleep(k, clock, 0, 15 * MS), Ok(0)); assert!(now(k, 1) - start >= 15 * MS); } }
    [clock_nanosleep] coarse_and_raw_clocks_cannot_sleep(k) needs Native { for clock in [4, 5, 6] { fails(sleep(k, clock, 0, MS), E::EOPNOTSUPP); } }
    [clock_nanosleep] thread_cpu_clock_cannot_sleep(k) needs Native { fails_with_one_of(sleep(k, 3, 0, MS), &[E::EOPNOTSUPP, E::EINVAL]); }
    [clock_nanosleep] process_cpu_clock_of_a_busy_thread(k) needs Native { let over = AtomicBool::new(false); let ((), result) = k.beside(|| while !over.load(Relaxed) { burn(k, MS); }, || { let result = sleep(k, 2, 0, 30 * MS); over.store(true, Relaxed); result }); assert_eq!(result, Ok(0)); }
    [clock_nanosleep] unknown_clock_to_sleep_by(k) needs Native { fails(sleep(k, 99, 0, MS), E::EINVAL); }
    [clock_nanosleep] times_out_of_range(k) needs Native { for time in [words([0, 1_000_000_000]), words([u64::MAX, 0]), words([0, u64::MAX])] { fails(call!(k, CLOCK_NANOSLEEP, 1, 0, time.as_slice(), Arg::Null), E::EINVAL); fails(call!(k, NANOSLEEP, time.as_slice(), Arg::Null), E::EINVAL); } }
    [clock_nanosleep] bad_request(k) needs Native { fails(call!(k, CLOCK_NANOSLEEP, 1, 0, Arg::Bad, Arg::Null), E::EFAULT); fails(call!(k, CLOCK_NANOSLEEP, 1, 0, Arg::Null, Arg::Null), E::EFAULT); }
    [clock_nanosleep] absolute_past_returns_at_once(k) needs Native { for clock in [0, 1, 7] { assert_eq!(sleep(k, clock, 1, 1), Ok(0)); } }
    [clock_nanosleep] absolute_time_is_reached(k) needs Native { for clock in [0, 1, 7] { let until = now(k, clock) + 20 * MS; ok(sleep(k, clock, 1, until)); assert!(now(k, clock) >= until); } }
    [clock_nanosleep] zero_returns_at_once(k) needs Native { assert_eq!((sleep(k, 1, 0, 0), call!(k, NANOSLEEP, timespec(0).as_slice(), Arg::Null)), (Ok(0), Ok(0))); }
    [clock_nanosleep] bad_rest_pointer_matters_only_when_interrupted(k) needs Native { assert_eq!(call!(k, CLOCK_NANOSLEEP, 1, 0, timespec(MS).as_slice(), Arg::Bad), Ok(0)); k.catch(14, 0).unwrap(); let other = pester(k, 14); fails(call!(k, CLOCK_NANOSLEEP, 1, 0, timespec(5000 * MS).as_slice(), Arg::Bad), E::EFAULT); end(k, other); }
    [clock_nanosleep] alarm_clock_needs_privilege(k) needs Root, Native { as_user(k, || { let found = sleep(k, 8, 0, MS); assert!(matches!(found, Err(E::EPERM | E::EOPNOTSUPP)), "{found:?}"); }); }
    [times] ticks_go_forward(k) needs Native { let mut first = [0; 32]; let start = call!(k, TIMES, &mut first).unwrap(); burn(k, 60 * MS); let mut second = [0; 32]; let end = call!(k, TIMES, &mut second).unwrap(); assert!(end > start); assert!(u64_at(&second, 0) + u64_at(&second, 8) > u64_at(&first, 0) + u64_at(&first, 8)); }
    [times] children_count_once_waited_for(k) needs Native { let child = k.child(|| { burn(k, 80 * MS); 0 }); assert_eq!(k.status(child), 0); let mut times = [0; 32]; ok(call!(k, TIMES, &mut times)); assert!(u64_at(&times, 16) + u64_at(&times, 24) >= 4); }
    [times] pointer_of_times(k) needs Native { assert!(call!(k, TIMES, Arg::Null).is_ok()); fails(call!(k, TIMES, Arg::Bad), E::EFAULT); }
    [getrusage] unknown_who(k) needs Native { for who in [2, -2, 99] { fails(call!(k, GETRUSAGE, who, &mut [0_u8; 144]), E::EINVAL); } }
    [getrusage] pointer_of_getrusage(k) needs Native { fails(call!(k, GETRUSAGE, 0, Arg::Bad), E::EFAULT); fails(call!(k, GETRUSAGE, 0, Arg::Edge(100)), E::EFAULT); }
    [getrusage] times_of_process_and_thread(k) needs Native { k.on_thread(|| burn(k, 50 * MS)); let cpu = |who: i32| { let usage = usage(k, who); (u64_at(&usage, 0) + u64_at(&usage, 16)) * 1_000_000 + u64_at(&usage, 8) + u64_at(&usage, 24) }; assert!(cpu(0) >= 45_000); assert!(cpu(1) < 45_000, "{}", cpu(1)); }
    [getrusage] largest_size_grows(k) needs Native { let before = u64_at(&usage(k, 0), 32); let map = memory(k, 4096); for page in 0..4096 { map.set(page * 4096, 1); } let after = u64_at(&usage(k, 0), 32); assert!(before > 500 && after >= before + 12_000, "{before} {after}"); }
    [getrusage] largest_size_of_children(k) needs Native { k.apart(|| { let map = memory(k, 5000); for page in 0..5000 { map.set(page * 4096, 1); } std::mem::forget(map); }); assert!(u64_at(&usage(k, -1), 32) >= 18_000); }
    [getrusage] faults_are_counted(k) needs Native { let before = u64_at(&usage(k, 0), 64); let map = memory(k, 600); ok(call!(k, MADVISE, map.address(), 600 * 4096, 15)); for page in 0..600 { map.set(page * 4096, 1); } let after = u64_at(&usage(k, 0), 64); assert!(after >= before + 100, "{before} {after}"); }
    [getrusage] waiting_is_counted(k) needs Native { let before = u64_at(&usage(k, 0), 128); for _ in 0..10 { k.sleep_ms(2); } assert!(u64_at(&usage(k, 0), 128) >= before + 5); }
    [adjtimex] reading_needs_no_privilege(k) needs Root, Native { as_user(k, || { let mut state = [0_u8; 208]; let found = call!(k, ADJTIMEX, &mut state); assert!(found.is_ok_and(|state| state <= 5), "{found:?}"); assert!(u64_at(&state, 88) > 8000 && u64_at(&state, 88) < 12_000, "tick"); }); }
    [adjtimex] setting_needs_privilege(k) needs Root, Native { as_user(k, || { let mut state = [0_u8; 208]; state[0] = 1; fails(call!(k, ADJTIMEX, &mut state), E::EPERM); }); }
    [adjtimex] pointer_of_adjtimex(k) needs Native { fails(call!(k, ADJTIMEX, Arg::Bad), E::EFAULT); fails(call!(k, CLOCK_ADJTIME, 0, Arg::Bad), E::EFAULT); }
    [clock_adjtime] unknown_clock_to_adjust(k) needs Native { let mut state = [0_u8; 208]; fails(call!(k, CLOCK_ADJTIME, 99, &mut state), E::EINVAL); fails(call!(k, CLOCK_ADJTIME, 1, &mut state), E::EOPNOTSUPP); ok(call!(k, CLOCK_ADJTIME, 0, &mut state)); }
}
