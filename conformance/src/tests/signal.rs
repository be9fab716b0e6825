//! Signals: `signal(7)`.

use chitin_abi::Errno;
use chitin_abi::signal::{
    SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_DFL, SIG_IGN, SIGALRM, SIGKILL, SIGSTOP, SIGTERM,
    SIGUSR1, SIGUSR2,
};

use super::support::{signal_when_asleep, when_asleep};
use crate::call;
use crate::suite::{Arg, Calls, Processes, fails, tests};

const BLOCK: u32 = 0;
const UNBLOCK: u32 = 1;
const SETMASK: u32 = 2;

const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

tests! { "signal", "signal(7)";
    [kill, rt_sigaction] handler_runs_before_kill_returns(k) {
        k.catch(SIGUSR1, 0).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        assert_eq!((k.caught(SIGUSR1).0, k.caught(SIGUSR1).1), (1, 0));
    }
    [kill] errors_of_kill(k) {
        fails(k.kill(k.getpid(), 65), Errno::EINVAL);
        fails(k.kill(99_999_999, SIGUSR1), Errno::ESRCH);
        assert_eq!(k.kill(k.getpid(), 0), Ok(()));
    }
    [kill] other_users_processes(k) needs Root {
        let parent = k.getpid();
        let child = k.child(|| { call!(k, SETUID, 1000).unwrap(); fails(k.kill(parent, SIGTERM), Errno::EPERM); 0 });
        assert_eq!(k.status(child), 0);
    }
    [rt_sigaction] kill_and_stop_cannot_be_changed(k) {
        for signal in [SIGKILL, SIGSTOP] {
            fails(k.set_action(signal, SIG_IGN), Errno::EINVAL);
            fails(k.catch(signal, 0), Errno::EINVAL);
        }
        fails(k.set_action(0, SIG_IGN), Errno::EINVAL);
        fails(k.set_action(65, SIG_IGN), Errno::EINVAL);
        fails(call!(k, RT_SIGACTION, SIGUSR1, Arg::Null, Arg::Null, 4), Errno::EINVAL);
        fails(call!(k, RT_SIGACTION, SIGUSR1, Arg::Bad, Arg::Null, 8), Errno::EFAULT);
    }
    [rt_sigprocmask, rt_sigpending] blocked_signal_waits(k) {
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(BLOCK, bit(SIGUSR1)).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        assert_eq!(k.caught(SIGUSR1).0, 0);
        let mut pending = [0; 8];
        call!(k, RT_SIGPENDING, &mut pending, 8).unwrap();
        assert_eq!(u64::from_ne_bytes(pending), bit(SIGUSR1));
        k.set_mask(UNBLOCK, bit(SIGUSR1)).unwrap();
        assert_eq!(k.caught(SIGUSR1).0, 1);
    }
    [rt_sigprocmask] kill_is_never_blocked(k) {
        k.set_mask(SETMASK, u64::MAX).unwrap();
        assert_eq!(k.set_mask(SETMASK, 0).unwrap(), !(bit(SIGKILL) | bit(SIGSTOP)));
        fails(call!(k, RT_SIGPROCMASK, 9, &[0_u8; 8], Arg::Null, 8), Errno::EINVAL);
        fails(call!(k, RT_SIGPROCMASK, 0, Arg::Bad, Arg::Null, 8), Errno::EFAULT);
    }
    [rt_sigqueueinfo] realtime_signals_queue_in_order(k) {
        k.catch(40, 0).unwrap();
        k.set_mask(BLOCK, bit(40)).unwrap();
        for value in 1_u64..=3 {
            let mut info = [0_u8; 128];
            info[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
            info[24..32].copy_from_slice(&value.to_ne_bytes());
            call!(k, RT_SIGQUEUEINFO, k.getpid(), 40, &info).unwrap();
        }
        k.set_mask(UNBLOCK, bit(40)).unwrap();
        assert_eq!(k.caught(40), (3, -1, 3));
    }
    [rt_sigtimedwait] takes_a_pending_signal(k) {
        k.set_mask(BLOCK, bit(SIGUSR1)).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        let mut info = [0_u8; 128];
        assert_eq!(call!(k, RT_SIGTIMEDWAIT, &bit(SIGUSR1).to_ne_bytes(), &mut info, Arg::Null, 8), Ok(10));
        assert_eq!(i32::from_ne_bytes(info[16..20].try_into().unwrap()), k.getpid());
        let zero = [0_u8; 16];
        fails(call!(k, RT_SIGTIMEDWAIT, &bit(SIGUSR1).to_ne_bytes(), Arg::Null, &zero, 8), Errno::EAGAIN);
    }
    [rt_sigsuspend] waits_with_another_mask(k) {
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(BLOCK, bit(SIGUSR1)).unwrap();
        let child = signal_when_asleep(k, SIGUSR1);
        fails(call!(k, RT_SIGSUSPEND, &[0_u8; 8], 8), Errno::EINTR);
        assert_eq!(k.caught(SIGUSR1).0, 1);
        assert_eq!(k.set_mask(BLOCK, 0).unwrap(), bit(SIGUSR1));
        assert_eq!(k.status(child), 0);
    }
    [read] interrupted_read_fails_without_restart(k) {
        k.catch(SIGALRM, 0).unwrap();
        let (reader, _writer) = k.pipe2(0).unwrap();
        let child = signal_when_asleep(k, SIGALRM);
        fails(k.read(reader, &mut [0]), Errno::EINTR);
        assert_eq!(k.status(child), 0);
    }
    [read] interrupted_read_restarts_with_the_flag(k) {
        k.catch(SIGALRM, SA_RESTART).unwrap();
        let (reader, writer) = k.pipe2(0).unwrap();
        let parent = k.getpid();
        let child = when_asleep(k, || { k.kill(parent, SIGALRM).unwrap(); k.sleep_ms(30); k.write(writer, b"x").unwrap(); 0 });
        assert_eq!(k.read_some(reader, 1).unwrap(), b"x");
        assert_eq!(k.caught(SIGALRM).0, 1);
        assert_eq!(k.status(child), 0);
    }
    [poll, epoll_wait] poll_is_never_restarted(k) {
        k.catch(SIGALRM, SA_RESTART).unwrap();
        let child = signal_when_asleep(k, SIGALRM);
        fails(k.poll(&mut [], -1), Errno::EINTR);
        assert_eq!(k.status(child), 0);
    }
    [nanosleep] interrupted_sleep_tells_the_rest(k) {
        k.catch(SIGALRM, SA_RESTART).unwrap();
        let child = signal_when_asleep(k, SIGALRM);
        let mut rest = [0_u8; 16];
        let mut time = [0_u8; 16];
        time[0] = 100;
        fails(call!(k, NANOSLEEP, &time, &mut rest), Errno::EINTR);
        assert!((50..100).contains(&rest[0]), "{rest:?}");
        assert_eq!(k.status(child), 0);
    }
    [nanosleep] ignored_signal_does_not_interrupt(k) {
        k.set_action(SIGALRM, SIG_IGN).unwrap();
        let child = signal_when_asleep(k, SIGALRM);
        let mut time = [0_u8; 16];
        time[8..12].copy_from_slice(&100_000_000_u32.to_ne_bytes());
        call!(k, NANOSLEEP, &time, Arg::Null).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [nanosleep] stop_and_continue_do_not_shorten_it(k) {
        let child = k.child(|| {
            let mut time = [0_u8; 16];
            time[8..12].copy_from_slice(&150_000_000_u32.to_ne_bytes());
            i32::from(call!(k, NANOSLEEP, &time, Arg::Null).is_err())
        });
        k.sleep_ms(20);
        k.kill(child.pid, SIGSTOP).unwrap();
        k.sleep_ms(20);
        k.kill(child.pid, 18).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [rt_sigaction] reset_hand(k) {
        k.catch(SIGUSR1, SA_RESETHAND).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        let mut old = [0_u8; 32];
        call!(k, RT_SIGACTION, SIGUSR1, Arg::Null, &mut old, 8).unwrap();
        assert_eq!(u64::from_ne_bytes(old[..8].try_into().unwrap()), SIG_DFL);
    }
    [rt_sigaction] nodefer_flag_is_kept(k) {
        k.catch(SIGUSR2, SA_NODEFER).unwrap();
        k.kill(k.getpid(), SIGUSR2).unwrap();
        assert_eq!(k.caught(SIGUSR2).0, 1);
        assert_eq!(k.set_mask(BLOCK, 0).unwrap() & bit(SIGUSR2), 0);
    }
    [fork, rt_sigpending] child_has_no_pending_signals(k) {
        k.set_mask(BLOCK, bit(SIGUSR1)).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        let child = k.child(|| {
            let mut pending = [0; 8];
            call!(k, RT_SIGPENDING, &mut pending, 8).unwrap();
            i32::from(pending != [0; 8])
        });
        assert_eq!(k.status(child), 0);
    }
    [tgkill] thread_must_belong_to_the_process(k) {
        let child = k.child(|| { k.sleep_ms(1000); 0 });
        fails(call!(k, TGKILL, k.getpid(), child.pid, 0), Errno::ESRCH);
        fails(call!(k, TGKILL, 0, child.pid, 0), Errno::EINVAL);
        fails(call!(k, TGKILL, k.getpid(), -1, 0), Errno::EINVAL);
        k.kill(child.pid, SIGKILL).unwrap();
        assert_eq!(k.status(child), 9);
    }
    [sigaltstack] errors_of_sigaltstack(k) {
        let mut stack = [0_u8; 24];
        call!(k, SIGALTSTACK, Arg::Null, &mut stack).unwrap();
        stack[8] = 9;
        fails(call!(k, SIGALTSTACK, &stack, Arg::Null), Errno::EINVAL);
        let small = [0_u8; 24];
        fails(call!(k, SIGALTSTACK, &small, Arg::Null), Errno::ENOMEM);
        fails(call!(k, SIGALTSTACK, Arg::Bad, Arg::Null), Errno::EFAULT);
    }
    [kill] default_actions_end_the_process(k) {
        for signal in [1, 2, 13, 14, 15, SIGUSR1, 34, 64] {
            let child = k.child(|| { k.set_action(signal, SIG_DFL).unwrap(); k.kill(k.getpid(), signal).unwrap(); 0 });
            assert_eq!(k.status(child), signal as i32);
        }
        for signal in [17, 18, 23, 28] {
            let child = k.child(|| { k.kill(k.getpid(), signal).unwrap(); 3 });
            assert_eq!(k.status(child), 3 << 8);
        }
    }
    [kill] whole_process_group(k) {
        let child = k.child(|| {
            call!(k, SETPGID, 0, 0).unwrap();
            let other = k.child(|| { k.sleep_ms(10_000); 0 });
            k.catch(SIGTERM, 0).unwrap();
            k.kill(0, SIGTERM).unwrap();
            let status = k.status(other);
            i32::from((status, k.caught(SIGTERM).0) != (15, 1))
        });
        assert_eq!(k.status(child), 0);
    }
    [setitimer, alarm] timer_signals(k) {
        k.catch(SIGALRM, 0).unwrap();
        let mut timer = [0_u8; 32];
        timer[24..28].copy_from_slice(&20_000_u32.to_ne_bytes());
        call!(k, SETITIMER, 0, &timer, Arg::Null).unwrap();
        fails(call!(k, PAUSE), Errno::EINTR);
        assert_eq!((k.caught(SIGALRM).0, k.caught(SIGALRM).1), (1, 128));
        assert_eq!(call!(k, ALARM, 100), Ok(0));
        assert!((50..=100).contains(&call!(k, ALARM, 0).unwrap()));
    }
}
