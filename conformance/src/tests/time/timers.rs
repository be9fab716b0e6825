//! Timers that signal: `setitimer(2)`, `alarm(2)`, `timer_create(2)`.

use chitin_abi::signal::{SIGALRM, SIGPROF, SIGUSR1, SIGVTALRM};
use chitin_abi::{Errno as E, Result};

use super::super::support::{
    BLOCK, MS, UNBLOCK, as_user, bit, end, gettid, i32_at, now, ok, sleeper, text, timespec,
    u64_at, until, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, Threads, fails, skip, tests};

/// `struct itimerval` of microseconds.
fn val(interval: u64, value: u64) -> Vec<u8> {
    words([interval / 1_000_000, interval % 1_000_000, value / 1_000_000, value % 1_000_000])
}

/// `struct itimerspec` of nanoseconds.
fn spec(interval: i64, value: i64) -> Vec<u8> {
    [timespec(interval), timespec(value)].concat()
}

/// `struct sigevent`: value, signal, kind, thread.
fn event(value: u64, signal: u32, kind: u32, tid: i32) -> Vec<u8> {
    let mut event = vec![0; 64];
    event[..8].copy_from_slice(&value.to_ne_bytes());
    event[8..12].copy_from_slice(&signal.to_ne_bytes());
    event[12..16].copy_from_slice(&kind.to_ne_bytes());
    event[16..20].copy_from_slice(&tid.to_ne_bytes());
    event
}

fn create(k: &dyn Kernel, clock: i32, event: &[u8]) -> Result<i32> {
    let mut id = [0xff; 4];
    call!(k, TIMER_CREATE, clock, event, &mut id)?;
    Ok(i32_at(&id, 0))
}

fn silent(k: &dyn Kernel) -> i32 {
    create(k, 1, &event(0, 0, 1, 0)).unwrap()
}

fn set(k: &dyn Kernel, id: i32, flags: u32, interval: i64, value: i64) -> Result<u64> {
    call!(k, TIMER_SETTIME, id, flags, spec(interval, value).as_slice(), Arg::Null)
}

/// Interval and rest.
fn get(k: &dyn Kernel, id: i32) -> (i64, i64) {
    let mut spec = [0; 32];
    ok(call!(k, TIMER_GETTIME, id, &mut spec));
    let ns = |at: usize| {
        u64_at(&spec, at).cast_signed() * 1000 * MS + u64_at(&spec, at + 8).cast_signed()
    };
    (ns(0), ns(16))
}

fn burn_until(k: &dyn Kernel, so: impl Fn() -> bool) {
    let start = now(k, 1);
    while !so() {
        assert!(now(k, 1) - start < 20_000 * MS, "it did not happen");
    }
}

/// The version of the kernel: its first two numbers.
fn release(k: &dyn Kernel) -> (u32, u32) {
    let text = text(k, "/proc/sys/kernel/osrelease");
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

tests! { "timers", "timer_create(2)";
    [setitimer] kinds_signal_differently(k) needs Native { for (kind, signal) in [(0, SIGALRM), (1, SIGVTALRM), (2, SIGPROF)] { ok(k.catch(signal, 0)); ok(call!(k, SETITIMER, kind, val(0, 20_000).as_slice(), Arg::Null)); burn_until(k, || k.caught(signal).0 == 1); assert_eq!(k.caught(signal).1, 128); } }
    [setitimer] unknown_kind(k) needs Native { for kind in [3, -1, 99] { fails(call!(k, SETITIMER, kind, val(0, 0).as_slice(), Arg::Null), E::EINVAL); fails(call!(k, GETITIMER, kind, &mut [0_u8; 32]), E::EINVAL); } }
    [setitimer] bad_values(k) needs Native { for value in [words([0, 0, 0, 1_000_000]), words([0, 1_000_000, 0, 0]), words([0, 0, u64::MAX, 0]), words([0, 0, 0, u64::MAX])] { fails(call!(k, SETITIMER, 0, value.as_slice(), Arg::Null), E::EINVAL); } }
    [setitimer] bad_pointers(k) needs Native { fails(call!(k, SETITIMER, 0, Arg::Bad, Arg::Null), E::EFAULT); fails(call!(k, SETITIMER, 0, val(0, 0).as_slice(), Arg::Bad), E::EFAULT); fails(call!(k, GETITIMER, 0, Arg::Bad), E::EFAULT); }
    [setitimer] null_disarms(k) needs Native { ok(call!(k, SETITIMER, 0, val(0, 100_000_000).as_slice(), Arg::Null)); ok(call!(k, SETITIMER, 0, Arg::Null, Arg::Null)); let mut now = [9; 32]; ok(call!(k, GETITIMER, 0, &mut now)); assert_eq!(now, [0; 32]); }
    [setitimer, getitimer] rest_and_interval_are_told(k) needs Native { ok(call!(k, SETITIMER, 0, val(7_000_000, 100_000_000).as_slice(), Arg::Null)); let mut now = [0; 32]; ok(call!(k, GETITIMER, 0, &mut now)); assert_eq!(u64_at(&now, 0), 7); assert!((90..=100).contains(&u64_at(&now, 16))); let mut old = [0; 32]; ok(call!(k, SETITIMER, 0, val(0, 0).as_slice(), &mut old)); assert_eq!(u64_at(&old, 0), 7); }
    [setitimer] repeats(k) needs Native { ok(k.catch(SIGALRM, 0)); ok(call!(k, SETITIMER, 0, val(5_000, 5_000).as_slice(), Arg::Null)); until(k, || k.caught(SIGALRM).0 >= 5); ok(call!(k, SETITIMER, 0, val(0, 0).as_slice(), Arg::Null)); let seen = k.caught(SIGALRM).0; k.sleep_ms(30); assert_eq!(k.caught(SIGALRM).0, seen); }
    [setitimer] virtual_time_stands_still_in_sleep(k) needs Native { ok(k.catch(SIGVTALRM, 0)); ok(call!(k, SETITIMER, 1, val(0, 10_000).as_slice(), Arg::Null)); k.sleep_ms(60); assert_eq!(k.caught(SIGVTALRM).0, 0); burn_until(k, || k.caught(SIGVTALRM).0 == 1); }
    [setitimer, alarm] share_one_timer(k) needs Native { ok(call!(k, ALARM, 100)); let mut now = [0; 32]; ok(call!(k, GETITIMER, 0, &mut now)); assert!((90..=100).contains(&u64_at(&now, 16))); ok(call!(k, SETITIMER, 0, val(0, 50_000_000).as_slice(), Arg::Null)); assert!((40..=50).contains(&call!(k, ALARM, 0).unwrap())); }
    [alarm] rest_is_rounded_and_never_zero(k) needs Native { ok(k.catch(SIGALRM, 0)); let start = now(k, 1); ok(call!(k, SETITIMER, 0, val(0, 400_000).as_slice(), Arg::Null)); let rest = call!(k, ALARM, 0); assert!(rest == Ok(1) || now(k, 1) - start >= 400 * MS, "{rest:?}"); }
    [alarm] very_long(k) needs Native { ok(call!(k, ALARM, u32::MAX)); let rest = call!(k, ALARM, 0).unwrap(); assert!(rest >= 2_000_000_000, "{rest}"); }
    [timer_create] clocks_for_timers(k) needs Native { for clock in [0, 1, 2, 3, 7, 11] { ok(create(k, clock, &event(0, 0, 1, 0))); } for clock in [4, 5, 6] { let found = create(k, clock, &event(0, 0, 1, 0)); assert!(matches!(found, Err(E::EOPNOTSUPP | E::EINVAL)), "{clock}: {found:?}"); } fails(create(k, 99, &event(0, 0, 1, 0)), E::EINVAL); }
    [timer_create] ids_start_at_zero(k) needs Native { assert_eq!((silent(k), silent(k)), (0, 1)); }
    [timer_create] unknown_notification(k) needs Native { for kind in [3, 5, 8] { fails(create(k, 1, &event(0, 10, kind, 0)), E::EINVAL); } }
    [timer_create] unknown_signal(k) needs Native { for signal in [0, 65] { fails(create(k, 1, &event(0, signal, 0, 0)), E::EINVAL); } }
    [timer_create] thread_of_another_process(k) needs Native { let child = sleeper(k); fails(create(k, 1, &event(0, 10, 4, child.pid)), E::EINVAL); end(k, child); fails(create(k, 1, &event(0, 10, 4, 0)), E::EINVAL); }
    [timer_create] pointers_of_create(k) needs Native { fails(call!(k, TIMER_CREATE, 1, Arg::Bad, &mut [0_u8; 4]), E::EFAULT); fails(call!(k, TIMER_CREATE, 1, Arg::Null, Arg::Bad), E::EFAULT); }
    [timer_create] default_is_sigalrm_with_the_id(k) needs Native { ok(k.catch(SIGALRM, 0)); let mut id = [0; 4]; ok(call!(k, TIMER_CREATE, 1, Arg::Null, &mut id)); ok(set(k, i32_at(&id, 0), 0, 0, MS)); until(k, || k.caught(SIGALRM).0 == 1); assert_eq!(k.caught(SIGALRM), (1, -2, i32_at(&id, 0) as u64)); }
    [timer_create] signal_to_one_thread(k) needs Native {
        ok(k.set_mask(BLOCK, bit(SIGUSR1)));
        k.on_thread(|| {
            let id = create(k, 1, &event(5, SIGUSR1, 4, gettid(k))).unwrap();
            ok(set(k, id, 0, 0, MS));
            let mut info = [0; 128];
            ok(call!(k, RT_SIGTIMEDWAIT, &bit(SIGUSR1).to_ne_bytes(), &mut info, timespec(5000 * MS).as_slice(), 8));
            assert_eq!([8, 16, 20, 24].map(|at| i32_at(&info, at)), [-2, id, 0, 5]);
        });
    }
    [timer_create] silent_timer_counts(k) needs Native { let id = silent(k); let start = now(k, 1); ok(set(k, id, 0, 0, 20 * MS)); assert!(get(k, id).1 > 0 || now(k, 1) - start >= 20 * MS); k.sleep_ms(40); assert_eq!(get(k, id), (0, 0)); }
    [timer_settime] unknown_id(k) needs Native { fails(set(k, 77, 0, 0, MS), E::EINVAL); fails(call!(k, TIMER_GETTIME, 77, &mut [0_u8; 32]), E::EINVAL); fails(call!(k, TIMER_GETOVERRUN, 77), E::EINVAL); fails(call!(k, TIMER_DELETE, 77), E::EINVAL); fails(call!(k, TIMER_DELETE, -1), E::EINVAL); }
    [timer_settime] times_out_of_range(k) needs Native { let id = silent(k); for value in [words([0, 0, 0, 1_000_000_000]), words([0, 1_000_000_000, 0, 1]), words([0, 0, u64::MAX, 0])] { fails(call!(k, TIMER_SETTIME, id, 0, value.as_slice(), Arg::Null), E::EINVAL); } }
    [timer_settime] interval_of_a_disarmed_timer_is_not_looked_at(k) needs Native { let id = silent(k); assert_eq!(call!(k, TIMER_SETTIME, id, 0, words([5, 0, 0, 0]).as_slice(), Arg::Null), Ok(0)); assert_eq!(get(k, id), (0, 0)); }
    [timer_settime] pointers_of_settime(k) needs Native { let id = silent(k); fails(call!(k, TIMER_SETTIME, id, 0, Arg::Bad, Arg::Null), E::EFAULT); fails(call!(k, TIMER_SETTIME, id, 0, Arg::Null, Arg::Null), E::EINVAL); fails(call!(k, TIMER_SETTIME, id, 0, spec(0, MS).as_slice(), Arg::Bad), E::EFAULT); fails(call!(k, TIMER_GETTIME, id, Arg::Bad), E::EFAULT); }
    [timer_settime] old_value_is_told(k) needs Native { let id = silent(k); ok(set(k, id, 0, 7 * MS, 100_000 * MS)); let mut old = [0; 32]; ok(call!(k, TIMER_SETTIME, id, 0, spec(0, 0).as_slice(), &mut old)); assert!(u64_at(&old, 8) == 7_000_000 && (90..100).contains(&u64_at(&old, 16))); }
    [timer_settime] absolute_time(k) needs Native { ok(k.catch(SIGUSR1, 0)); let id = create(k, 1, &event(0, SIGUSR1, 0, 0)).unwrap(); let due = now(k, 1) + 30 * MS; ok(set(k, id, 1, 0, due)); until(k, || k.caught(SIGUSR1).0 == 1); assert!(now(k, 1) >= due); }
    [timer_settime] absolute_past_fires_at_once(k) needs Native { ok(k.catch(SIGUSR1, 0)); let id = create(k, 0, &event(0, SIGUSR1, 0, 0)).unwrap(); ok(set(k, id, 1, 0, 1)); until(k, || k.caught(SIGUSR1).0 == 1); }
    [timer_settime] arming_again_takes_the_pending_signal_back(k) needs Native {
        ok(k.set_mask(BLOCK, bit(SIGUSR1)));
        let id = create(k, 1, &event(0, SIGUSR1, 0, 0)).unwrap();
        ok(set(k, id, 0, 0, 1));
        until(k, || get(k, id) == (0, 0));
        ok(k.catch(SIGUSR1, 0));
        ok(set(k, id, 0, 0, 0));
        ok(k.set_mask(UNBLOCK, bit(SIGUSR1)));
        if k.caught(SIGUSR1).0 == 1 && release(k) < (6, 13) { skip("Linux takes it back since 6.13"); }
        assert_eq!(k.caught(SIGUSR1).0, 0);
        ok(set(k, id, 0, 0, 1));
        until(k, || k.caught(SIGUSR1).0 == 1);
    }
    [timer_delete] deleted_timer_is_gone(k) needs Native { ok(k.catch(SIGUSR1, 0)); let id = create(k, 1, &event(0, SIGUSR1, 0, 0)).unwrap(); let start = now(k, 1); ok(set(k, id, 0, 0, 30 * MS)); ok(call!(k, TIMER_DELETE, id)); let in_time = now(k, 1) - start < 30 * MS; fails(call!(k, TIMER_DELETE, id), E::EINVAL); k.sleep_ms(50); assert!(k.caught(SIGUSR1).0 == 0 || !in_time); }
    [timer_getoverrun] expirations_while_blocked(k) needs Native { ok(k.set_mask(BLOCK, bit(SIGUSR1))); let id = create(k, 1, &event(0, SIGUSR1, 0, 0)).unwrap(); ok(set(k, id, 0, 2 * MS, 2 * MS)); k.sleep_ms(60); let mut info = [0; 128]; ok(call!(k, RT_SIGTIMEDWAIT, &bit(SIGUSR1).to_ne_bytes(), &mut info, Arg::Null, 8)); let overrun = call!(k, TIMER_GETOVERRUN, id).unwrap(); assert!(overrun >= 10 && i32_at(&info, 20) as u64 >= 10, "{overrun}"); }
    [timer_getoverrun] none_at_first(k) needs Native { assert_eq!(call!(k, TIMER_GETOVERRUN, silent(k)), Ok(0)); }
    [timer_create] cpu_timers(k) needs Native { for clock in [2, 3] { ok(k.catch(SIGUSR1, 0)); let before = k.caught(SIGUSR1).0; let id = create(k, clock, &event(0, SIGUSR1, 0, 0)).unwrap(); ok(set(k, id, 0, 0, 20 * MS)); burn_until(k, || k.caught(SIGUSR1).0 > before); } }
    [timer_create] exec_deletes_timers_and_fork_does_not_copy(k) needs Native { let id = silent(k); k.apart(|| fails(call!(k, TIMER_GETOVERRUN, id), E::EINVAL)); assert_eq!(call!(k, TIMER_GETOVERRUN, id), Ok(0)); }
    [timer_create, setrlimit] limited_by_pending_signals(k) needs Native { k.apart(|| { ok(call!(k, SETRLIMIT, 11, words([2, 2]).as_slice())); let mut made = 0; while create(k, 1, &event(0, SIGUSR1, 0, 0)).is_ok() { made += 1; assert!(made <= 2); } fails(create(k, 1, &event(0, SIGUSR1, 0, 0)), E::EAGAIN); }); }
    [timer_create] shown_in_proc(k) needs Native { let id = create(k, 1, &event(0, SIGUSR1, 0, 0)).unwrap(); let shown = text(k, "/proc/self/timers"); assert!(shown.starts_with(&format!("ID: {id}\nsignal: 10/")) && shown.contains("notify: signal/pid.") && shown.contains("ClockID: 1"), "{shown}"); }
    [timer_create, prctl] alarm_clock_timers_need_privilege(k) needs Root, Native { as_user(k, || { let found = create(k, 8, &event(0, 0, 1, 0)); assert!(matches!(found, Err(E::EPERM | E::EOPNOTSUPP)), "{found:?}"); }); }
}
