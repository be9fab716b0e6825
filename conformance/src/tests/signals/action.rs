//! What signals do: `sigaction(2)`, `sigaltstack(2)`, default actions, faults.

use chitin_abi::Errno as E;
use chitin_abi::signal::{
    SA_NODEFER, SA_RESETHAND, SA_SIGINFO, SIG_DFL, SIG_IGN, SIGCONT, SIGKILL, SIGSTOP, SIGTSTP,
    SIGUSR1, SIGUSR2,
};

use super::super::support::{
    BLOCK, MS, WUNTRACED, apart, bit, end, i32_at, memory, now, ok, status_of, timespec, u64_at,
    until, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Mapping, Processes, Threads, fails, tests};

/// Handler, flags and mask of a signal.
fn action(k: &dyn Kernel, signal: u32) -> (u64, u64, u64) {
    let mut old = [0_u8; 32];
    ok(call!(k, RT_SIGACTION, signal, Arg::Null, &mut old, 8));
    (u64_at(&old, 0), u64_at(&old, 8), u64_at(&old, 24))
}

/// What a child that does this dies of; it is the first of no namespace and of no orphaned group.
fn fate(k: &dyn Kernel, body: impl Fn()) -> i32 {
    let child = k.child(|| {
        ok(call!(k, SETRLIMIT, 4, words([0, 0]).as_slice()));
        body();
        0
    });
    k.status(child)
}

fn touch(map: &dyn Mapping, at: usize) {
    std::hint::black_box(map.get(at));
}

/// Signal, code and address of the fault that a traced child meets in `body`.
fn fault(k: &dyn Kernel, body: impl Fn()) -> (i32, i32, u64) {
    let child = k.child(|| {
        ok(call!(k, PTRACE, 0, 0, 0, 0));
        body();
        0
    });
    let status = k.wait4(child.pid, 0).unwrap().1;
    assert_eq!(status & 0xff, 0x7f, "it stopped");
    let mut info = [0_u8; 128];
    ok(call!(k, PTRACE, 0x4202, child.pid, 0, &mut info));
    end(k, child);
    (i32_at(&info, 0), i32_at(&info, 8), u64_at(&info, 16))
}

fn stack(k: &dyn Kernel, at: u64, flags: u64, size: u64) -> chitin_abi::Result<u64> {
    call!(k, SIGALTSTACK, words([at, flags, size]).as_slice(), Arg::Null)
}

fn current(k: &dyn Kernel) -> (u64, u32, u64) {
    let mut old = [0_u8; 24];
    ok(call!(k, SIGALTSTACK, Arg::Null, &mut old));
    (u64_at(&old, 0), i32_at(&old, 8).cast_unsigned(), u64_at(&old, 16))
}

const DISABLED: u32 = 2;

/// Computes until it is ended: a second of it may take longer than a test may on a busy machine, unless it goes first.
fn burn(k: &dyn Kernel) -> ! {
    let _ = call!(k, SETPRIORITY, 0, 0, -20);
    loop {
        std::hint::black_box(());
    }
}

tests! { "action", "sigaction(2)";
    [rt_sigaction] default_at_first(k) needs Native { for signal in [14, 15, SIGUSR1, 34, 64] { assert_eq!(action(k, signal), (0, 0, 0), "{signal}"); } }
    [rt_sigaction] what_was_set_is_told(k) needs Native { let new = words([1, SA_NODEFER | SA_RESETHAND | 0x1000_0000, 0, bit(12)]); ok(call!(k, RT_SIGACTION, 10, new.as_slice(), Arg::Null, 8)); assert_eq!(action(k, 10), (1, SA_NODEFER | SA_RESETHAND | 0x1000_0000, bit(12))); }
    [rt_sigaction] unknown_flags_are_cleared(k) needs Native { let new = words([1, 0x0f00_0400 | 0x1000, 0, 0]); ok(call!(k, RT_SIGACTION, 10, new.as_slice(), Arg::Null, 8)); assert_eq!(action(k, 10).1 & (0x400 | 0x1000), 0); }
    [rt_sigaction] kill_and_stop_in_the_mask_are_dropped(k) needs Native { let new = words([1, 0, 0, u64::MAX]); ok(call!(k, RT_SIGACTION, 10, new.as_slice(), Arg::Null, 8)); assert_eq!(action(k, 10).2, !(bit(SIGKILL) | bit(SIGSTOP))); }
    [rt_sigaction] signals_out_of_range(k) needs Native { for signal in [0_i32, 65, -1, 1 << 20] { fails(call!(k, RT_SIGACTION, signal, Arg::Null, &mut [0_u8; 32], 8), E::EINVAL); } }
    [rt_sigaction] kill_and_stop_may_be_asked_for(k) needs Native { for signal in [SIGKILL, SIGSTOP] { assert_eq!(action(k, signal).0, SIG_DFL); } }
    [rt_sigaction] kill_and_stop_cannot_even_be_default(k) needs Native { for signal in [SIGKILL, SIGSTOP] { fails(k.set_action(signal, SIG_DFL), E::EINVAL); } }
    [rt_sigaction] size_of_the_mask(k) needs Native { for size in [0, 4, 16] { fails(call!(k, RT_SIGACTION, 10, Arg::Null, Arg::Null, size), E::EINVAL); } }
    [rt_sigaction] bad_pointers(k) needs Native { fails(call!(k, RT_SIGACTION, 10, Arg::Bad, Arg::Null, 8), E::EFAULT); fails(call!(k, RT_SIGACTION, 10, Arg::Edge(16), Arg::Null, 8), E::EFAULT); fails(call!(k, RT_SIGACTION, 10, Arg::Null, Arg::Bad, 8), E::EFAULT); }
    [rt_sigaction] bad_old_pointer_comes_after_the_change(k) needs Native { fails(call!(k, RT_SIGACTION, 10, words([1, 0, 0, 0]).as_slice(), Arg::Bad, 8), E::EFAULT); assert_eq!(action(k, 10).0, 1); }
    [rt_sigaction] threads_share_actions(k) needs Native { k.on_thread(|| ok(k.set_action(SIGUSR1, SIG_IGN))); assert_eq!(action(k, SIGUSR1).0, SIG_IGN); }
    [rt_sigaction] resethand_resets_before_the_handler(k) needs Native { ok(k.catch(SIGUSR1, SA_RESETHAND | SA_SIGINFO)); ok(k.kill(k.getpid(), SIGUSR1)); assert_eq!((k.caught(SIGUSR1).0, action(k, SIGUSR1).0), (1, SIG_DFL)); assert_eq!(fate(k, || ok(k.kill(k.getpid(), SIGUSR1))), 10); }
    [rt_sigaction] shown_by_status(k) needs Native { ok(k.set_action(SIGUSR1, SIG_IGN)); ok(k.catch(SIGUSR2, 0)); let mask = |key: &str| u64::from_str_radix(&status_of(k, "self", key), 16).unwrap(); assert_eq!((mask("SigIgn") & bit(SIGUSR1), mask("SigCgt") & bit(SIGUSR2)), (bit(SIGUSR1), bit(SIGUSR2))); }
    [kill] terminating_defaults(k) needs Native { for signal in [1, 2, 9, 10, 12, 13, 14, 15, 16, 26, 27, 29, 30, 34, 50, 64] { assert_eq!(fate(k, || { if signal < 32 && signal != 9 { ok(k.set_action(signal, SIG_DFL)); } ok(k.kill(k.getpid(), signal)); }) & 0x7f, signal as i32, "{signal}"); } }
    [kill] dumping_defaults_end_it_too(k) needs Native { for signal in [3, 4, 5, 6, 7, 8, 11, 24, 25, 31] { assert_eq!(fate(k, || { ok(k.set_action(signal, SIG_DFL)); ok(k.kill(k.getpid(), signal)); }) & 0x7f, signal as i32, "{signal}"); } }
    [kill] ignoring_defaults(k) needs Native { for signal in [17, 18, 23, 28] { assert_eq!(fate(k, || ok(k.kill(k.getpid(), signal))), 0, "{signal}"); } }
    [kill] stopping_default_of_an_orphaned_group_is_ignored(k) needs Native {
        let child = k.child(|| { ok(call!(k, SETSID)); for signal in [SIGTSTP, 21, 22] { ok(k.kill(k.getpid(), signal)); } 3 });
        assert_eq!(k.status(child), 3 << 8);
    }
    [kill] continue_runs_its_handler_too(k) needs Native {
        let child = k.child(|| { ok(k.catch(SIGCONT, 0)); until(k, || k.caught(SIGCONT).0 > 0); 4 });
        until(k, || u64::from_str_radix(&status_of(k, &child.pid.to_string(), "SigCgt"), 16).unwrap() & bit(SIGCONT) != 0);
        ok(k.kill(child.pid, SIGSTOP));
        ok(k.wait4(child.pid, WUNTRACED));
        ok(k.kill(child.pid, SIGCONT));
        assert_eq!(k.status(child), 4 << 8);
    }
    [kill] continue_discards_pending_stops(k) needs Native { ok(k.set_mask(BLOCK, bit(SIGTSTP))); ok(k.kill(k.getpid(), SIGTSTP)); ok(k.kill(k.getpid(), SIGCONT)); let mut set = [0; 8]; ok(call!(k, RT_SIGPENDING, &mut set, 8)); assert_eq!(set, [0; 8]); }
    [kill] stop_discards_a_pending_continue(k) needs Native { ok(k.set_mask(BLOCK, bit(SIGTSTP) | bit(SIGCONT))); ok(k.catch(SIGCONT, 0)); ok(k.kill(k.getpid(), SIGCONT)); ok(k.kill(k.getpid(), SIGTSTP)); let mut set = [0; 8]; ok(call!(k, RT_SIGPENDING, &mut set, 8)); assert_eq!(u64::from_ne_bytes(set), bit(SIGTSTP)); }
    [write] broken_pipe_kills(k) needs Native { assert_eq!(fate(k, || { let (reader, writer) = k.pipe2(0).unwrap(); ok(k.close(reader)); let _ = k.write(writer, b"x"); }), 13); }
    [write] broken_pipe_ignored_is_an_error(k) needs Native { ok(k.set_action(13, SIG_IGN)); let (reader, writer) = k.pipe2(0).unwrap(); ok(k.close(reader)); fails(k.write(writer, b"x"), E::EPIPE); }
    [setrlimit, write] file_size_limit_signals(k) needs Native { assert_eq!(fate(k, || { let file = k.file("f", b""); ok(call!(k, SETRLIMIT, 1, words([10, 10]).as_slice())); let _ = k.pwrite(file, b"x", 10); }), 25); }
    [setrlimit, write] file_size_limit_ignored_is_an_error(k) needs Native { ok(k.set_action(25, SIG_IGN)); let file = k.file("f", b""); ok(call!(k, SETRLIMIT, 1, words([10, 10]).as_slice())); fails(k.pwrite(file, b"x", 10), E::EFBIG); assert_eq!(k.pwrite(file, b"abcd", 8), Ok(2)); }
    [setrlimit] cpu_limit_signals_and_then_kills(k) needs Native { let child = k.child(|| { ok(k.set_action(24, SIG_IGN)); ok(call!(k, SETRLIMIT, 0, words([0, 1]).as_slice())); burn(k) }); assert_eq!(k.status(child), 9); }
    [setrlimit] cpu_limit_ends_by_default(k) needs Native { let child = k.child(|| { ok(call!(k, SETRLIMIT, 0, words([1, 10]).as_slice())); burn(k) }); assert_eq!(k.status(child) & 0x7f, 24); }
    [mmap] fault_of_an_unmapped_page(k) needs Native { let map = memory(k, 2); ok(call!(k, MUNMAP, map.address() + 4096, 4096)); assert_eq!(fault(k, || touch(&*map, 4096 + 8)), (11, 1, map.address() + 4104)); }
    [mmap] fault_of_a_read_only_page(k) needs Native { let map = k.map(4096, 1, 0x22, -1, 0).unwrap(); assert_eq!(fault(k, || map.set(5, 1)), (11, 2, map.address() + 5)); }
    [mmap] fault_of_a_page_without_rights(k) needs Native { let map = k.map(4096, 0, 0x22, -1, 0).unwrap(); assert_eq!(fault(k, || touch(&*map, 0)), (11, 2, map.address())); }
    [mmap] fault_behind_the_end_of_a_file(k) needs Native { let file = k.file("f", b"x"); let map = k.map(8192, 3, 1, file, 0).unwrap(); assert_eq!(fault(k, || touch(&*map, 4096)), (7, 2, map.address() + 4096)); }
    [mprotect] fault_after_protection(k) needs Native { let map = memory(k, 1); map.set(0, 1); ok(call!(k, MPROTECT, map.address(), 4096, 1)); assert_eq!(fault(k, || map.set(0, 2)), (11, 2, map.address())); }
    [rt_sigprocmask] blocked_fault_kills(k) needs Native { let map = k.map(4096, 0, 0x22, -1, 0).unwrap(); assert_eq!(fate(k, || { ok(k.catch(11, 0)); ok(k.set_mask(BLOCK, bit(11))); map.set(0, 1); }) & 0x7f, 11); }
    [rt_sigaction] ignored_fault_kills(k) needs Native { let map = k.map(4096, 0, 0x22, -1, 0).unwrap(); assert_eq!(fate(k, || { ok(k.set_action(11, SIG_IGN)); map.set(0, 1); }) & 0x7f, 11); }
    [prctl] killed_by_a_dumping_signal_without_a_limit_sets_no_core_bit(k) needs Native { assert_eq!(fate(k, || { ok(k.set_action(6, SIG_DFL)); ok(k.kill(k.getpid(), 6)); }) & 0x80, 0); }
    [sigaltstack] none_at_first_in_a_thread(k) needs Native { apart(k, || { ok(stack(k, 0, 2, 0)); assert_eq!(current(k).1, DISABLED); }); }
    [sigaltstack] what_was_set_is_told_and_inherited(k) needs Native { let map = memory(k, 8); ok(stack(k, map.address(), 0, 16384)); assert_eq!(current(k), (map.address(), 0, 16384)); apart(k, || assert_eq!(current(k), (map.address(), 0, 16384))); }
    [sigaltstack] disabling(k) needs Native { let map = memory(k, 8); ok(stack(k, map.address(), 0, 16384)); ok(stack(k, 77, 2, 88)); assert_eq!(current(k), (0, DISABLED, 0)); }
    [sigaltstack] unknown_flags(k) needs Native { for flags in [4, 8, 3, 1 << 30] { fails(stack(k, 0, flags, 16384), E::EINVAL); } }
    [sigaltstack] onstack_flag_is_accepted_when_set(k) needs Native { let map = memory(k, 8); ok(stack(k, map.address(), 1, 16384)); assert_eq!(current(k).1, 0); }
    [sigaltstack] too_small(k) needs Native { let map = memory(k, 8); fails(stack(k, map.address(), 0, 2047), E::ENOMEM); }
    [sigaltstack] autodisarm_flag_is_told(k) needs Native { let map = memory(k, 8); ok(stack(k, map.address(), 1 << 31, 16384)); assert_eq!(current(k).1, 1 << 31); }
    [sigaltstack] pointers(k) needs Native { fails(call!(k, SIGALTSTACK, Arg::Bad, Arg::Null), E::EFAULT); fails(call!(k, SIGALTSTACK, Arg::Edge(12), Arg::Null), E::EFAULT); fails(call!(k, SIGALTSTACK, Arg::Null, Arg::Bad), E::EFAULT); assert_eq!(call!(k, SIGALTSTACK, Arg::Null, Arg::Null), Ok(0)); }
    [sigaltstack] new_thread_has_none_of_its_creators(k) needs Native { let map = memory(k, 8); ok(stack(k, map.address(), 0, 16384)); let there = k.on_thread(|| current(k).0); assert_ne!(there, map.address()); }
    [rt_sigreturn, sigaltstack] handler_may_run_on_it(k) needs Native { let map = memory(k, 16); ok(stack(k, map.address(), 0, 65536)); ok(k.catch(SIGUSR1, 0x0800_0000)); ok(k.kill(k.getpid(), SIGUSR1)); assert_eq!(k.caught(SIGUSR1).0, 1); assert!((0..65536).any(|at| map.get(at) != 0)); }
    [setitimer] elapsed_real_timer_ends_by_default(k) needs Native { assert_eq!(fate(k, || { ok(call!(k, SETITIMER, 0, words([0, 0, 0, 10_000]).as_slice(), Arg::Null)); k.sleep_ms(5000); }), 14); }
    [clock_nanosleep] handler_time_does_not_lengthen_an_absolute_sleep(k) needs Native { let until = now(k, 1) + 60 * MS; ok(call!(k, CLOCK_NANOSLEEP, 1, 1, timespec(until).as_slice(), Arg::Null)); assert!(now(k, 1) < until + 10_000 * MS); }
}
