//! Timers as files: `timerfd_create(2)`.

use chitin_abi::time::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME,
};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::{apart, fdinfo, interrupted, text};

fn timer(k: &dyn Kernel, clock: u32, flags: u32) -> Fd {
    call!(k, TIMERFD_CREATE, clock, flags).unwrap() as Fd
}

fn set(k: &dyn Kernel, fd: Fd, flags: u32, interval: (i64, i64), value: (i64, i64)) -> Result<u64> {
    call!(
        k,
        TIMERFD_SETTIME,
        fd,
        flags,
        [interval.0, interval.1, value.0, value.1].as_bytes(),
        Arg::Null
    )
}

fn get(k: &dyn Kernel, fd: Fd) -> [i64; 4] {
    let mut time = [0_i64; 4];
    call!(k, TIMERFD_GETTIME, fd, time.as_mut_bytes()).unwrap();
    time
}

fn take(k: &dyn Kernel, fd: Fd) -> Result<u64> {
    let mut value = [0; 8];
    k.read(fd, &mut value).map(|_| u64::from_ne_bytes(value))
}

const MS: i64 = 1_000_000;

tests! { "timerfile", "timerfd_create(2)";
    [timerfd_create] creation(k) {
        for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME] { timer(k, clock, 0); }
        let fd = timer(k, CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        assert_eq!((k.fcntl(fd, 1, 0), k.fcntl(fd, 3, 0).unwrap() & 0o4000), (Ok(1), 0o4000));
        fails(call!(k, TIMERFD_CREATE, CLOCK_MONOTONIC, 1), Errno::EINVAL);
        fails(call!(k, TIMERFD_CREATE, 2, 0), Errno::EINVAL);
        fails(call!(k, TIMERFD_CREATE, 99, 0), Errno::EINVAL);
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"anon_inode:[timerfd]");
    }
    [timerfd_settime, read] once(k) {
        let fd = timer(k, CLOCK_MONOTONIC, 0);
        set(k, fd, 0, (0, 0), (0, 10 * MS)).unwrap();
        assert_eq!(take(k, fd), Ok(1));
        assert_eq!(get(k, fd), [0; 4]);
    }
    [read] intervals_add_up(k) {
        let fd = timer(k, CLOCK_MONOTONIC, 0);
        set(k, fd, 0, (0, 5 * MS), (0, 5 * MS)).unwrap();
        k.sleep_ms(40);
        assert!(take(k, fd).unwrap() >= 7);
    }
    [timerfd_settime] absolute_times(k) {
        let fd = timer(k, CLOCK_REALTIME, TFD_NONBLOCK);
        set(k, fd, TFD_TIMER_ABSTIME, (0, 0), (1, 0)).unwrap();
        assert_eq!(take(k, fd), Ok(1), "long ago");
        set(k, fd, TFD_TIMER_ABSTIME, (0, 0), (1 << 33, 0)).unwrap();
        fails(take(k, fd), Errno::EAGAIN);
        assert!(get(k, fd)[2] > 1 << 30);
    }
    [timerfd_settime] old_value(k) {
        let fd = timer(k, CLOCK_MONOTONIC, 0);
        set(k, fd, 0, (7, 0), (100, 0)).unwrap();
        let mut old = [0_i64; 4];
        call!(k, TIMERFD_SETTIME, fd, 0, &[0_u8; 32], old.as_mut_bytes()).unwrap();
        assert!(old[0] == 7 && (90..=100).contains(&old[2]), "{old:?}");
        assert_eq!(get(k, fd), [0; 4]);
    }
    [timerfd_settime] disarming_forgets(k) {
        let fd = timer(k, CLOCK_MONOTONIC, TFD_NONBLOCK);
        set(k, fd, 0, (0, 0), (0, MS)).unwrap();
        k.sleep_ms(10);
        set(k, fd, 0, (0, 0), (0, 0)).unwrap();
        fails(take(k, fd), Errno::EAGAIN);
    }
    [timerfd_settime, timerfd_gettime] errors(k) {
        let fd = timer(k, CLOCK_MONOTONIC, 0);
        fails(set(k, fd, 4, (0, 0), (0, 0)), Errno::EINVAL);
        for time in [(0, -1), (0, 1_000_000_000), (-1, 0)] { fails(set(k, fd, 0, (0, 0), time), Errno::EINVAL); }
        fails(call!(k, TIMERFD_SETTIME, fd, 0, Arg::Bad, Arg::Null), Errno::EFAULT);
        fails(call!(k, TIMERFD_SETTIME, fd, 0, &[0_u8; 32], Arg::Bad), Errno::EFAULT);
        fails(call!(k, TIMERFD_GETTIME, fd, Arg::Bad), Errno::EFAULT);
        fails(set(k, 0, 0, (0, 0), (0, 0)), Errno::EINVAL);
        fails(set(k, 999, 0, (0, 0), (0, 0)), Errno::EBADF);
    }
    [read] buffers(k) {
        let fd = timer(k, CLOCK_MONOTONIC, TFD_NONBLOCK);
        fails(k.read(fd, &mut [0; 7]), Errno::EINVAL);
        fails(k.read(fd, &mut [0; 8]), Errno::EAGAIN);
        fails(k.write(fd, &[0; 8]), Errno::EINVAL);
    }
    [read] waiting_is_interrupted(k) { interrupted(k, || take(k, timer(k, CLOCK_MONOTONIC, 0))); }
    [poll] readiness(k) {
        let fd = timer(k, CLOCK_MONOTONIC, 0);
        assert_eq!(k.ready(fd, 5), 0);
        set(k, fd, 0, (0, 0), (0, MS)).unwrap();
        k.sleep_ms(10);
        assert_eq!(k.ready(fd, 5), 1);
        take(k, fd).unwrap();
        assert_eq!(k.ready(fd, 5), 0);
    }
    [fork] children_share_it(k) {
        let fd = timer(k, CLOCK_MONOTONIC, TFD_NONBLOCK);
        apart(k, || { set(k, fd, 0, (0, 0), (0, MS)).unwrap(); });
        k.sleep_ms(10);
        assert_eq!(take(k, fd), Ok(1));
    }
    [openat] proc_shows_it(k) {
        let fd = timer(k, CLOCK_MONOTONIC, 0);
        set(k, fd, 0, (3, 0), (100, 0)).unwrap();
        assert_eq!(fdinfo(k, fd, "clockid").unwrap(), "1");
        assert!(text(k, &format!("/proc/self/fdinfo/{fd}")).contains("it_interval: (3, 0)"));
    }
}
