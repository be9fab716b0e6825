//! Time: `clock_gettime(2)`, `timerfd_create(2)`, `timer_create(2)`, `signalfd(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::O_NONBLOCK;
use chitin_abi::poll::POLLIN;

use super::support::until;
use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};

/// `struct itimerspec` in nanoseconds.
fn spec(interval: i64, value: i64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let parts = [
        interval / 1_000_000_000,
        interval % 1_000_000_000,
        value / 1_000_000_000,
        value % 1_000_000_000,
    ];
    for (chunk, part) in bytes.chunks_mut(8).zip(parts) {
        chunk.copy_from_slice(&part.to_ne_bytes());
    }
    bytes
}

fn now(k: &dyn Kernel, clock: u32) -> i64 {
    let mut time = [0; 16];
    call!(k, CLOCK_GETTIME, clock, &mut time).unwrap();
    let word = |at: usize| i64::from_ne_bytes(time[at..at + 8].try_into().unwrap());
    word(0) * 1_000_000_000 + word(8)
}

fn timerfd(k: &dyn Kernel, flags: u32) -> Fd {
    call!(k, TIMERFD_CREATE, 1, flags).unwrap() as Fd
}

fn expirations(k: &dyn Kernel, fd: Fd) -> chitin_abi::Result<u64> {
    let mut count = [0; 8];
    k.read(fd, &mut count)?;
    Ok(u64::from_ne_bytes(count))
}

const MS: i64 = 1_000_000;

tests! { "timer", "time(7)";
    [clock_gettime] clocks(k) {
        for clock in [0, 1, 2, 3, 4, 5, 6, 7, 11] { assert!(now(k, clock) > 0, "clock {clock}"); }
        fails(call!(k, CLOCK_GETTIME, 99, &mut [0_u8; 16]), Errno::EINVAL);
        fails(call!(k, CLOCK_GETTIME, 1, Arg::Bad), Errno::EFAULT);
    }
    [clock_getres] resolution(k) {
        let mut time = [0; 16];
        call!(k, CLOCK_GETRES, 1, &mut time).unwrap();
        assert_eq!(i64::from_ne_bytes(time[8..].try_into().unwrap()), 1);
        fails(call!(k, CLOCK_GETRES, 99, &mut time), Errno::EINVAL);
    }
    [clock_nanosleep, nanosleep] sleeps_at_least_that_long(k) {
        let start = now(k, 1);
        k.sleep_ms(20);
        assert!(now(k, 1) - start >= 20 * MS);
        let until = now(k, 1) + 20 * MS;
        call!(k, CLOCK_NANOSLEEP, 1, 1, &spec(until, 0)[..16], Arg::Null).unwrap();
        assert!(now(k, 1) >= until);
        fails(call!(k, NANOSLEEP, &spec(-1, 0)[..16], Arg::Null), Errno::EINVAL);
        fails(call!(k, NANOSLEEP, Arg::Bad, Arg::Null), Errno::EFAULT);
        fails(call!(k, CLOCK_NANOSLEEP, 99, 0, &spec(1, 0)[..16], Arg::Null), Errno::EINVAL);
    }
    [timerfd_create] errors_of_create(k) {
        fails(call!(k, TIMERFD_CREATE, 99, 0), Errno::EINVAL);
        fails(call!(k, TIMERFD_CREATE, 1, 1), Errno::EINVAL);
    }
    [timerfd_settime, read] one_shot(k) {
        let fd = timerfd(k, O_NONBLOCK);
        fails(expirations(k, fd), Errno::EAGAIN);
        let start = now(k, 1);
        call!(k, TIMERFD_SETTIME, fd, 0, &spec(0, 20 * MS), Arg::Null).unwrap();
        assert!(k.ready(fd, POLLIN) == 0 || now(k, 1) - start >= 20 * MS);
        k.sleep_ms(40);
        assert_eq!((k.ready(fd, POLLIN), expirations(k, fd)), (POLLIN, Ok(1)));
        fails(expirations(k, fd), Errno::EAGAIN);
    }
    [timerfd_settime, timerfd_gettime] interval_counts(k) {
        let fd = timerfd(k, 0);
        call!(k, TIMERFD_SETTIME, fd, 0, &spec(5 * MS, 5 * MS), Arg::Null).unwrap();
        k.sleep_ms(60);
        assert!(expirations(k, fd).unwrap() >= 8);
        let mut left = [0; 32];
        call!(k, TIMERFD_GETTIME, fd, &mut left).unwrap();
        assert_eq!(left[..16], spec(5 * MS, 0)[..16]);
        let mut old = [0; 32];
        call!(k, TIMERFD_SETTIME, fd, 0, &spec(0, 0), &mut old).unwrap();
        assert_eq!(old[..16], spec(5 * MS, 0)[..16]);
        assert_eq!(k.ready(fd, POLLIN), 0);
    }
    [timerfd_settime] errors_of_settime(k) {
        let fd = timerfd(k, 0);
        fails(call!(k, TIMERFD_SETTIME, fd, 8, &spec(0, 1), Arg::Null), Errno::EINVAL);
        fails(call!(k, TIMERFD_SETTIME, 0, 0, &spec(0, 1), Arg::Null), Errno::EINVAL);
        fails(call!(k, TIMERFD_SETTIME, 999, 0, &spec(0, 1), Arg::Null), Errno::EBADF);
        fails(call!(k, TIMERFD_SETTIME, fd, 0, Arg::Bad, Arg::Null), Errno::EFAULT);
        let mut bad = spec(0, 1);
        bad[24..].copy_from_slice(&1_000_000_000_i64.to_ne_bytes());
        fails(call!(k, TIMERFD_SETTIME, fd, 0, &bad, Arg::Null), Errno::EINVAL);
    }
    [timerfd_settime] absolute_time_in_the_past_fires_at_once(k) {
        let fd = timerfd(k, 0);
        call!(k, TIMERFD_SETTIME, fd, 1, &spec(0, 1), Arg::Null).unwrap();
        assert_eq!(expirations(k, fd), Ok(1));
    }
    [timer_create, timer_settime, timer_delete] signals_with_a_value(k) {
        k.catch(34, 0).unwrap();
        let mut event = [0_u8; 64];
        event[..8].copy_from_slice(&77_u64.to_ne_bytes());
        event[8..12].copy_from_slice(&34_u32.to_ne_bytes());
        let mut id = [0; 4];
        call!(k, TIMER_CREATE, 1, &event, &mut id).unwrap();
        let id = u32::from_ne_bytes(id);
        call!(k, TIMER_SETTIME, id, 0, &spec(0, 10 * MS), Arg::Null).unwrap();
        until(k, || k.caught(34).0 > 0);
        assert_eq!(k.caught(34), (1, -2, 77));
        call!(k, TIMER_DELETE, id).unwrap();
        fails(call!(k, TIMER_DELETE, id), Errno::EINVAL);
        fails(call!(k, TIMER_SETTIME, id, 0, &spec(0, 1), Arg::Null), Errno::EINVAL);
    }
    [timer_getoverrun] missed_expirations_are_counted(k) {
        k.catch(35, 0).unwrap();
        k.set_mask(0, 1 << 34).unwrap();
        let mut event = [0_u8; 64];
        event[8..12].copy_from_slice(&35_u32.to_ne_bytes());
        let mut id = [0; 4];
        call!(k, TIMER_CREATE, 1, &event, &mut id).unwrap();
        let id = u32::from_ne_bytes(id);
        let start = now(k, 1);
        call!(k, TIMER_SETTIME, id, 0, &spec(5 * MS, 5 * MS), Arg::Null).unwrap();
        k.sleep_ms(60);
        k.set_mask(1, 1 << 34).unwrap();
        let overrun = call!(k, TIMER_GETOVERRUN, id).unwrap();
        assert!(k.caught(35).0 >= 1 && (5..=(now(k, 1) - start) as u64 / (5 * MS as u64)).contains(&overrun), "{overrun}");
    }
    [timer_create] errors_of_timers(k) {
        let mut id = [0; 4];
        fails(call!(k, TIMER_CREATE, 99, Arg::Null, &mut id), Errno::EINVAL);
        let mut event = [0_u8; 64];
        event[8..12].copy_from_slice(&99_u32.to_ne_bytes());
        fails(call!(k, TIMER_CREATE, 1, &event, &mut id), Errno::EINVAL);
        fails(call!(k, TIMER_CREATE, 1, Arg::Bad, &mut id), Errno::EFAULT);
    }
    [signalfd4, read] takes_blocked_signals(k) {
        k.set_mask(0, 1 << 9).unwrap();
        let fd = call!(k, SIGNALFD4, -1, &(1_u64 << 9).to_ne_bytes(), 8, O_NONBLOCK).unwrap() as Fd;
        fails(k.read(fd, &mut [0; 128]), Errno::EAGAIN);
        k.kill(k.getpid(), 10).unwrap();
        assert_eq!(k.ready(fd, POLLIN), POLLIN);
        let mut info = [0; 128];
        assert_eq!(k.read(fd, &mut info), Ok(128));
        assert_eq!((info[0], i32::from_ne_bytes(info[12..16].try_into().unwrap())), (10, k.getpid()));
        fails(k.read(fd, &mut [0; 127]), Errno::EINVAL);
    }
    [signalfd4] errors_of_signalfd(k) {
        fails(call!(k, SIGNALFD4, -1, &[0_u8; 8], 4, 0), Errno::EINVAL);
        fails(call!(k, SIGNALFD4, -1, &[0_u8; 8], 8, 1), Errno::EINVAL);
        fails(call!(k, SIGNALFD4, 0, &[0_u8; 8], 8, 0), Errno::EINVAL);
        fails(call!(k, SIGNALFD4, 999, &[0_u8; 8], 8, 0), Errno::EBADF);
    }
    [gettimeofday, time] agree(k) {
        let mut time = [0; 16];
        call!(k, GETTIMEOFDAY, &mut time, Arg::Null).unwrap();
        let seconds = i64::from_ne_bytes(time[..8].try_into().unwrap());
        assert!((-1..10).contains(&(call!(k, TIME, Arg::Null).unwrap() as i64 - seconds)));
        fails(call!(k, GETTIMEOFDAY, Arg::Bad, Arg::Null), Errno::EFAULT);
    }
}
