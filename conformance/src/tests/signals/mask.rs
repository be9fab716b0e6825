//! Blocking, looking at and waiting for signals: `sigprocmask(2)`, `sigpending(2)`, `sigsuspend(2)`, `sigtimedwait(2)`.

use chitin_abi::signal::{SIG_IGN, SIGCHLD, SIGKILL, SIGSTOP, SIGUSR1, SIGUSR2};
use chitin_abi::{Errno as E, Result};

use super::super::support::{
    BLOCK, MS, SETMASK, UNBLOCK, bit, gettid, i32_at, now, ok, signal_when_asleep, status_of,
    timespec, when_asleep, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, Threads, fails, tests};

fn pending(k: &dyn Kernel) -> u64 {
    let mut set = [0; 8];
    call!(k, RT_SIGPENDING, &mut set, 8).unwrap();
    u64::from_ne_bytes(set)
}

fn take(k: &dyn Kernel, set: u64, ns: i64) -> Result<u64> {
    call!(k, RT_SIGTIMEDWAIT, &set.to_ne_bytes(), Arg::Null, timespec(ns).as_slice(), 8)
}

tests! { "mask", "sigprocmask(2)";
    [rt_sigprocmask] block_adds(k) needs Native { ok(k.set_mask(BLOCK, bit(10))); assert_eq!((k.set_mask(BLOCK, bit(12)), k.set_mask(BLOCK, 0)), (Ok(bit(10)), Ok(bit(10) | bit(12)))); }
    [rt_sigprocmask] unblock_removes(k) needs Native { ok(k.set_mask(SETMASK, bit(10) | bit(12))); ok(k.set_mask(UNBLOCK, bit(10))); assert_eq!(k.set_mask(BLOCK, 0), Ok(bit(12))); }
    [rt_sigprocmask] set_replaces(k) needs Native { ok(k.set_mask(SETMASK, bit(10))); ok(k.set_mask(SETMASK, bit(12))); assert_eq!(k.set_mask(BLOCK, 0), Ok(bit(12))); }
    [rt_sigprocmask] null_set_only_asks(k) needs Native { ok(k.set_mask(SETMASK, bit(10))); let mut old = [0; 8]; assert_eq!(call!(k, RT_SIGPROCMASK, 77, Arg::Null, &mut old, 8), Ok(0)); assert_eq!(u64::from_ne_bytes(old), bit(10)); }
    [rt_sigprocmask] both_null(k) needs Native { assert_eq!(call!(k, RT_SIGPROCMASK, 0, Arg::Null, Arg::Null, 8), Ok(0)); }
    [rt_sigprocmask] unknown_how(k) needs Native { for how in [3, -1] { fails(call!(k, RT_SIGPROCMASK, how, &[0_u8; 8], Arg::Null, 8), E::EINVAL); } }
    [rt_sigprocmask] size_must_be_eight(k) needs Native { for size in [0, 4, 7, 9, 128] { fails(call!(k, RT_SIGPROCMASK, 0, &[0_u8; 128], Arg::Null, size), E::EINVAL); } }
    [rt_sigprocmask] bad_set_pointer(k) needs Native { fails(call!(k, RT_SIGPROCMASK, 0, Arg::Bad, Arg::Null, 8), E::EFAULT); fails(call!(k, RT_SIGPROCMASK, 0, Arg::Edge(4), Arg::Null, 8), E::EFAULT); }
    [rt_sigprocmask] bad_old_pointer_comes_after_the_change(k) needs Native { fails(call!(k, RT_SIGPROCMASK, SETMASK, &bit(10).to_ne_bytes(), Arg::Bad, 8), E::EFAULT); assert_eq!(k.set_mask(BLOCK, 0), Ok(bit(10))); }
    [rt_sigprocmask] kill_and_stop_are_dropped_silently(k) needs Native { ok(k.set_mask(SETMASK, bit(SIGKILL) | bit(SIGSTOP) | bit(10))); assert_eq!(k.set_mask(BLOCK, 0), Ok(bit(10))); }
    [rt_sigprocmask] old_and_new_may_be_the_same_memory(k) needs Native { let mut set = bit(10).to_ne_bytes(); ok(k.set_mask(SETMASK, bit(12))); let at = set.as_mut_ptr() as u64; ok(call!(k, RT_SIGPROCMASK, SETMASK, at, at, 8)); assert_eq!((u64::from_ne_bytes(std::hint::black_box(set)), k.set_mask(BLOCK, 0)), (bit(12), Ok(bit(10)))); }
    [rt_sigprocmask] threads_have_masks_of_their_own(k) needs Native { ok(k.set_mask(SETMASK, bit(10))); k.on_thread(|| { assert_eq!(k.set_mask(SETMASK, bit(12)), Ok(bit(10))); }); assert_eq!(k.set_mask(BLOCK, 0), Ok(bit(10))); }
    [rt_sigprocmask] unblocking_delivers_before_the_call_returns(k) needs Native { ok(k.catch(SIGUSR1, 0)); ok(k.set_mask(BLOCK, bit(SIGUSR1))); ok(k.kill(k.getpid(), SIGUSR1)); ok(k.set_mask(UNBLOCK, bit(SIGUSR1))); assert_eq!(k.caught(SIGUSR1).0, 1); }
    [rt_sigprocmask] shown_by_status(k) needs Native { ok(k.set_mask(SETMASK, bit(10) | bit(64))); assert_eq!(status_of(k, "self", "SigBlk"), "8000000000000200"); }
    [rt_sigpending] nothing_pending(k) needs Native { assert_eq!(pending(k), 0); }
    [rt_sigpending] unblocked_signals_are_never_pending(k) needs Native { ok(k.catch(SIGUSR1, 0)); ok(k.kill(k.getpid(), SIGUSR1)); assert_eq!(pending(k), 0); }
    [rt_sigpending] process_and_thread_signals_together(k) needs Native { ok(k.set_mask(SETMASK, bit(10) | bit(12))); ok(k.kill(k.getpid(), 10)); ok(call!(k, TKILL, gettid(k), 12)); assert_eq!(pending(k), bit(10) | bit(12)); }
    [rt_sigpending] smaller_sizes_are_served(k) needs Native { ok(k.set_mask(SETMASK, bit(10))); ok(k.kill(k.getpid(), 10)); let mut set = [0xff_u8; 8]; ok(call!(k, RT_SIGPENDING, &mut set, 2)); assert_eq!(set, [0, 2, 255, 255, 255, 255, 255, 255]); }
    [rt_sigpending] larger_sizes_are_not(k) needs Native { fails(call!(k, RT_SIGPENDING, &mut [0_u8; 16], 9), E::EINVAL); }
    [rt_sigpending] bad_pointer(k) needs Native { fails(call!(k, RT_SIGPENDING, Arg::Bad, 8), E::EFAULT); fails(call!(k, RT_SIGPENDING, Arg::Edge(4), 8), E::EFAULT); }
    [rt_sigpending] ignored_while_blocked_is_kept(k) needs Native { ok(k.set_action(SIGUSR1, SIG_IGN)); ok(k.set_mask(BLOCK, bit(SIGUSR1))); ok(k.kill(k.getpid(), SIGUSR1)); assert_eq!(pending(k), bit(SIGUSR1)); }
    [rt_sigaction, rt_sigpending] ignoring_discards_what_is_pending(k) needs Native { ok(k.set_mask(BLOCK, bit(SIGUSR1))); ok(k.kill(k.getpid(), SIGUSR1)); ok(k.set_action(SIGUSR1, SIG_IGN)); assert_eq!(pending(k), 0); }
    [rt_sigaction, rt_sigpending] default_of_an_ignorable_signal_discards_too(k) needs Native { ok(k.catch(SIGCHLD, 0)); ok(k.set_mask(BLOCK, bit(SIGCHLD))); ok(k.kill(k.getpid(), SIGCHLD)); assert_eq!(pending(k), bit(SIGCHLD)); ok(k.set_action(SIGCHLD, 0)); assert_eq!(pending(k), 0); }
    [rt_sigsuspend] size_of_the_set(k) needs Native { fails(call!(k, RT_SIGSUSPEND, &[0_u8; 8], 4), E::EINVAL); }
    [rt_sigsuspend] bad_set(k) needs Native { fails(call!(k, RT_SIGSUSPEND, Arg::Bad, 8), E::EFAULT); }
    [rt_sigsuspend] pending_signal_returns_at_once(k) needs Native { ok(k.catch(SIGUSR1, 0)); ok(k.set_mask(BLOCK, bit(SIGUSR1))); ok(k.kill(k.getpid(), SIGUSR1)); fails(call!(k, RT_SIGSUSPEND, &[0_u8; 8], 8), E::EINTR); assert_eq!((k.caught(SIGUSR1).0, k.set_mask(BLOCK, 0)), (1, Ok(bit(SIGUSR1)))); }
    [rt_sigsuspend] signals_of_the_new_mask_do_not_wake(k) needs Native {
        ok(k.catch(SIGUSR1, 0));
        ok(k.catch(SIGUSR2, 0));
        ok(k.set_mask(BLOCK, bit(SIGUSR2)));
        let (parent, start) = (k.getpid(), now(k, 1));
        let child = when_asleep(k, || { ok(k.kill(parent, SIGUSR1)); k.sleep_ms(60); i32::from(k.kill(parent, SIGUSR2).is_err()) });
        fails(call!(k, RT_SIGSUSPEND, &bit(SIGUSR1).to_ne_bytes(), 8), E::EINTR);
        assert!(now(k, 1) - start >= 60 * MS);
        assert_eq!((k.caught(SIGUSR1).0, k.caught(SIGUSR2).0), (1, 1));
        assert_eq!(k.status(child), 0);
    }
    [rt_sigsuspend] ignored_signals_do_not_wake(k) needs Native { ok(k.set_action(SIGUSR1, SIG_IGN)); ok(k.catch(SIGUSR2, 0)); ok(k.set_mask(BLOCK, bit(SIGUSR2))); let (parent, start) = (k.getpid(), now(k, 1)); let child = when_asleep(k, || { ok(k.kill(parent, SIGUSR1)); k.sleep_ms(60); i32::from(k.kill(parent, SIGUSR2).is_err()) }); fails(call!(k, RT_SIGSUSPEND, &[0_u8; 8], 8), E::EINTR); assert!(now(k, 1) - start >= 60 * MS); assert_eq!(k.status(child), 0); }
    [rt_sigtimedwait] timeout_of_zero_polls(k) needs Native { fails(take(k, bit(10), 0), E::EAGAIN); }
    [rt_sigtimedwait] timeout_passes(k) needs Native { let start = now(k, 1); fails(take(k, bit(10), 50 * MS), E::EAGAIN); assert!(now(k, 1) - start >= 50 * MS); }
    [rt_sigtimedwait] bad_times(k) needs Native { for time in [words([0, 1_000_000_000]), words([u64::MAX, 0]), words([0, u64::MAX])] { fails(call!(k, RT_SIGTIMEDWAIT, &bit(10).to_ne_bytes(), Arg::Null, time.as_slice(), 8), E::EINVAL); } }
    [rt_sigtimedwait] bad_pointers(k) needs Native { fails(call!(k, RT_SIGTIMEDWAIT, Arg::Bad, Arg::Null, Arg::Null, 8), E::EFAULT); fails(call!(k, RT_SIGTIMEDWAIT, &[0_u8; 8], Arg::Null, Arg::Bad, 8), E::EFAULT); }
    [rt_sigtimedwait] bad_info_pointer_consumes_the_signal(k) needs Native { ok(k.set_mask(BLOCK, bit(10))); ok(k.kill(k.getpid(), 10)); fails(call!(k, RT_SIGTIMEDWAIT, &bit(10).to_ne_bytes(), Arg::Bad, Arg::Null, 8), E::EFAULT); assert_eq!(pending(k), 0); }
    [rt_sigtimedwait] size_of_its_set(k) needs Native { fails(call!(k, RT_SIGTIMEDWAIT, &[0_u8; 8], Arg::Null, Arg::Null, 4), E::EINVAL); }
    [rt_sigtimedwait] arriving_signal_is_taken(k) needs Native { ok(k.set_mask(BLOCK, bit(10))); let child = signal_when_asleep(k, 10); assert_eq!(take(k, bit(10), 5000 * MS), Ok(10)); assert_eq!(k.status(child), 0); }
    [rt_sigtimedwait] unblocked_signal_is_taken_without_its_handler(k) needs Native { ok(k.catch(SIGUSR1, 0)); let child = signal_when_asleep(k, SIGUSR1); assert_eq!(take(k, bit(SIGUSR1), 5000 * MS), Ok(10)); assert_eq!((k.caught(SIGUSR1).0, k.status(child)), (0, 0)); }
    [rt_sigtimedwait] other_signal_interrupts(k) needs Native { ok(k.catch(SIGUSR2, 0)); let child = signal_when_asleep(k, SIGUSR2); fails(take(k, bit(SIGUSR1), 5000 * MS), E::EINTR); assert_eq!((k.caught(SIGUSR2).0, k.status(child)), (1, 0)); }
    [rt_sigtimedwait] pending_signal_of_another_thread_is_not_taken(k) needs Native { ok(k.set_mask(BLOCK, bit(10))); let tid = gettid(k); ok(call!(k, TKILL, tid, 10)); k.on_thread(|| fails(take(k, bit(10), 20 * MS), E::EAGAIN)); assert_eq!(take(k, bit(10), 0), Ok(10)); }
    [rt_sigtimedwait] process_signal_goes_to_a_waiting_thread(k) needs Native { ok(k.set_mask(BLOCK, bit(10))); let (taken, ()) = k.beside(|| take(k, bit(10), 5000 * MS), || { k.sleep_ms(30); ok(k.kill(k.getpid(), 10)); }); assert_eq!(taken, Ok(10)); }
    [rt_sigtimedwait] ignored_blocked_signal_can_be_waited_for(k) needs Native { ok(k.set_action(SIGUSR1, SIG_IGN)); ok(k.set_mask(BLOCK, bit(SIGUSR1))); let child = signal_when_asleep(k, SIGUSR1); assert_eq!(take(k, bit(SIGUSR1), 5000 * MS), Ok(10)); assert_eq!(k.status(child), 0); }
    [rt_sigtimedwait] kill_and_stop_in_the_set_mean_nothing(k) needs Native { fails(take(k, bit(SIGKILL) | bit(SIGSTOP), 10 * MS), E::EAGAIN); }
    [rt_sigtimedwait] child_signal_carries_its_end(k) needs Native {
        ok(k.set_mask(BLOCK, bit(SIGCHLD)));
        let child = k.child(|| 6);
        let mut info = [0_u8; 128];
        ok(call!(k, RT_SIGTIMEDWAIT, &bit(SIGCHLD).to_ne_bytes(), &mut info, Arg::Null, 8));
        assert_eq!([0, 8, 16, 20, 24].map(|at| i32_at(&info, at)), [17, 1, child.pid, 0, 6]);
        assert_eq!(k.status(child), 6 << 8);
    }
}
