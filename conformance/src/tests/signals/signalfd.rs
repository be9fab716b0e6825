//! Signals as a file: `signalfd(2)`.

use chitin_abi::Errno as E;
use chitin_abi::poll::POLLIN;
use chitin_abi::signal::{SIGCHLD, SIGKILL, SIGSTOP, SIGUSR1, SIGUSR2};

use super::super::support::{
    BLOCK, MS, apart, bit, fd, gettid, i32_at, now, ok, text, u64_at, until, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, Processes, Threads, fails, tests};

fn open(k: &dyn Kernel, set: u64, flags: u32) -> Fd {
    fd(call!(k, SIGNALFD4, -1, &set.to_ne_bytes(), 8, flags))
}

/// Blocks signals and gives a non-blocking descriptor of them.
fn blocked(k: &dyn Kernel, set: u64) -> Fd {
    ok(k.set_mask(BLOCK, set));
    open(k, set, 0o4000)
}

const NONBLOCK: u32 = 0o4000;

tests! { "sigfd", "signalfd(2)";
    [signalfd4] flags_are_kept(k) needs Native { let file = open(k, bit(10), NONBLOCK | 0o2_000_000); assert_eq!((k.fcntl(file, 1, 0), k.fcntl(file, 3, 0).unwrap() & u64::from(NONBLOCK)), (Ok(1), u64::from(NONBLOCK))); }
    [signalfd4] unknown_flags(k) needs Native { for flags in [1, 2, 0o200] { fails(call!(k, SIGNALFD4, -1, &[0_u8; 8], 8, flags), E::EINVAL); } }
    [signalfd4] size_of_the_set(k) needs Native { for size in [0, 4, 16] { fails(call!(k, SIGNALFD4, -1, &[0_u8; 16], size, 0), E::EINVAL); } }
    [signalfd4] bad_set(k) needs Native { fails(call!(k, SIGNALFD4, -1, Arg::Bad, 8, 0), E::EFAULT); }
    [signalfd4] descriptor_that_is_none(k) needs Native { fails(call!(k, SIGNALFD4, 999, &[0_u8; 8], 8, 0), E::EBADF); }
    [signalfd4] descriptor_of_another_kind(k) needs Native { fails(call!(k, SIGNALFD4, 0, &[0_u8; 8], 8, 0), E::EINVAL); }
    [signalfd] older_call_has_no_flags(k) needs Native { let file = fd(call!(k, SIGNALFD, -1, &bit(10).to_ne_bytes(), 8)); assert_eq!(k.fcntl(file, 1, 0), Ok(0)); }
    [signalfd4] set_can_be_changed(k) needs Native {
        let file = blocked(k, bit(10));
        ok(k.set_mask(BLOCK, bit(12)));
        ok(k.kill(k.getpid(), 12));
        assert_eq!(k.ready(file, POLLIN), 0);
        assert_eq!(call!(k, SIGNALFD4, file, &bit(12).to_ne_bytes(), 8, 0), Ok(file as u64));
        assert_eq!(k.ready(file, POLLIN), POLLIN);
    }
    [read] empty_nonblocking(k) needs Native { let file = blocked(k, bit(10)); fails(k.read(file, &mut [0; 128]), E::EAGAIN); }
    [read] buffer_too_small(k) needs Native { let file = blocked(k, bit(10)); fails(k.read(file, &mut [0; 127]), E::EINVAL); fails(k.read(file, &mut []), E::EINVAL); }
    [read] bad_buffer(k) needs Native { let file = blocked(k, bit(10)); ok(k.kill(k.getpid(), 10)); fails(call!(k, READ, file, Arg::Bad, 128), E::EFAULT); }
    [read] several_at_once_in_order(k) needs Native { let file = blocked(k, bit(10) | bit(12) | bit(40)); for signal in [40, 12, 10, 40] { ok(k.kill(k.getpid(), signal)); } let mut infos = [0; 1024]; assert_eq!(k.read(file, &mut infos), Ok(512)); assert_eq!([0, 128, 256, 384].map(|at| infos[at]), [10, 12, 40, 40]); }
    [read] partial_second_record_is_not_read(k) needs Native { let file = blocked(k, bit(40)); for _ in 0..2 { ok(k.kill(k.getpid(), 40)); } assert_eq!(k.read(file, &mut [0; 255]), Ok(128)); assert_eq!(k.ready(file, POLLIN), POLLIN); }
    [read] fields_of_kill(k) needs Native { let file = blocked(k, bit(10)); ok(k.kill(k.getpid(), 10)); let mut info = [0; 128]; ok(k.read(file, &mut info)); assert_eq!([0, 4, 8, 12, 16].map(|at| i32_at(&info, at)), [10, 0, 0, k.getpid(), 0]); }
    [read, rt_sigqueueinfo] fields_of_sigqueue(k) needs Native {
        let file = blocked(k, bit(40));
        let mut sent = [0_u8; 128];
        sent[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
        sent[24..32].copy_from_slice(&0x1122_3344_5566_7788_u64.to_ne_bytes());
        ok(call!(k, RT_SIGQUEUEINFO, k.getpid(), 40, &sent));
        let mut info = [0; 128];
        ok(k.read(file, &mut info));
        assert_eq!((i32_at(&info, 8), i32_at(&info, 44), u64_at(&info, 48)), (-1, 0x5566_7788, 0x1122_3344_5566_7788));
    }
    [read] fields_of_a_childs_end(k) needs Native { let file = blocked(k, bit(SIGCHLD)); let child = k.child(|| 9); until(k, || k.ready(file, POLLIN) == POLLIN); let mut info = [0; 128]; ok(k.read(file, &mut info)); assert_eq!([0, 8, 12, 40].map(|at| i32_at(&info, at)), [17, 1, child.pid, 9]); assert_eq!(k.status(child), 9 << 8); }
    [read, timer_create] fields_of_a_timer(k) needs Native {
        let file = blocked(k, bit(40));
        let mut event = [0_u8; 64];
        event[..8].copy_from_slice(&9_u64.to_ne_bytes());
        event[8] = 40;
        let mut id = [0; 4];
        ok(call!(k, TIMER_CREATE, 1, &event, &mut id));
        ok(call!(k, TIMER_SETTIME, i32_at(&id, 0), 0, words([0, 0, 0, 1]).as_slice(), Arg::Null));
        until(k, || k.ready(file, POLLIN) == POLLIN);
        let mut info = [0; 128];
        ok(k.read(file, &mut info));
        assert_eq!([0, 8, 24, 32, 44].map(|at| i32_at(&info, at)), [40, -2, i32_at(&id, 0), 0, 9]);
    }
    [read] blocking_read_waits(k) needs Native { ok(k.set_mask(BLOCK, bit(10))); let file = open(k, bit(10), 0); let parent = k.getpid(); let (start, child) = (now(k, 1), k.child(|| { k.sleep_ms(40); i32::from(k.kill(parent, 10).is_err()) })); assert_eq!(k.read(file, &mut [0; 128]), Ok(128)); assert!(now(k, 1) - start >= 40 * MS); assert_eq!(k.status(child), 0); }
    [read] handler_takes_unblocked_signals(k) needs Native { ok(k.catch(10, 0)); let file = open(k, bit(10), NONBLOCK); ok(k.kill(k.getpid(), 10)); assert_eq!(k.caught(10).0, 1); fails(k.read(file, &mut [0; 128]), E::EAGAIN); }
    [read] kill_and_stop_are_never_read(k) needs Native { let file = open(k, bit(SIGKILL) | bit(SIGSTOP), NONBLOCK); fails(k.read(file, &mut [0; 128]), E::EAGAIN); assert!(text(k, &format!("/proc/self/fdinfo/{file}")).contains("sigmask:\t0000000000000000")); }
    [read] reading_takes_it_from_pending(k) needs Native { let file = blocked(k, bit(10)); ok(k.kill(k.getpid(), 10)); ok(k.read(file, &mut [0; 128])); let mut set = [0; 8]; ok(call!(k, RT_SIGPENDING, &mut set, 8)); assert_eq!(set, [0; 8]); }
    [read] reader_sees_its_own_signals(k) needs Native { let file = blocked(k, bit(10)); ok(k.kill(k.getpid(), 10)); apart(k, || { fails(k.read(file, &mut [0; 128]), E::EAGAIN); ok(k.kill(k.getpid(), 10)); assert_eq!(k.read(file, &mut [0; 128]), Ok(128)); }); assert_eq!(k.read(file, &mut [0; 128]), Ok(128)); }
    [read, tgkill] thread_signals_are_the_threads(k) needs Native { let file = blocked(k, bit(10)); ok(call!(k, TKILL, gettid(k), 10)); k.on_thread(|| fails(k.read(file, &mut [0; 128]), E::EAGAIN)); assert_eq!(k.read(file, &mut [0; 128]), Ok(128)); }
    [write] writing_is_not_possible(k) needs Native { let file = blocked(k, bit(10)); fails(k.write(file, &[0; 8]), E::EINVAL); }
    [epoll_ctl, poll] readiness(k) needs Native {
        let file = blocked(k, bit(10));
        let epoll = fd(call!(k, EPOLL_CREATE1, 0));
        ok(call!(k, EPOLL_CTL, epoll, 1, file, &[1_u8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(call!(k, EPOLL_WAIT, epoll, &mut [0_u8; 12], 1, 0), Ok(0));
        ok(k.kill(k.getpid(), 10));
        assert_eq!(call!(k, EPOLL_WAIT, epoll, &mut [0_u8; 12], 1, 1000), Ok(1));
        assert_eq!(k.ready(file, POLLIN), POLLIN);
    }
    [signalfd4] fdinfo_shows_the_set(k) needs Native { let file = open(k, bit(SIGUSR1) | bit(SIGUSR2), 0); assert!(text(k, &format!("/proc/self/fdinfo/{file}")).contains("sigmask:\t0000000000000a00")); }
    [readlink] link_names_the_kind(k) needs Native { let file = open(k, bit(10), 0); assert_eq!(k.readlink(&format!("/proc/self/fd/{file}")), Ok(b"anon_inode:[signalfd]".to_vec())); }
}
