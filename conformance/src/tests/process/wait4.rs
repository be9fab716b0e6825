//! Waiting for children: `wait4(2)`.

use chitin_abi::Errno as E;
use chitin_abi::signal::{
    SIG_IGN, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1,
};

use super::super::support::{
    WALL, WCLONE, WCONTINUED, WNOHANG, WUNTRACED, apart, asleep, born, end, in_state, now, pester,
    sleeper, stat_fields, u64_at, until, when_asleep,
};
use crate::call;
use crate::suite::{Arg, Calls, Processes, Threads, fails, tests};

const WNOTHREAD: u32 = 0x2000_0000;
const WSTOPPED_BY: fn(u32) -> i32 = |signal| (signal << 8 | 0x7f).cast_signed();

tests! { "wait4", "wait4(2)";
    [wait4] any_child_in_any_order(k) needs Native {
        let (a, b) = (k.child(|| 1), k.child(|| 2));
        let mut found = [k.wait4(-1, 0).unwrap(), k.wait4(-1, 0).unwrap()];
        found.sort_unstable();
        let mut wanted = [(a.pid, 1 << 8), (b.pid, 2 << 8)];
        wanted.sort_unstable();
        assert_eq!(found, wanted);
    }
    [wait4] status_pointer_may_be_null(k) needs Native {
        let child = k.child(|| 1);
        assert_eq!(call!(k, WAIT4, child.pid, Arg::Null, 0, Arg::Null), Ok(child.pid as u64));
    }
    [wait4] status_is_untouched_while_nothing_ended(k) needs Native {
        let child = sleeper(k);
        let mut status = [7_u8; 4];
        assert_eq!(call!(k, WAIT4, -1, &mut status, WNOHANG, Arg::Null), Ok(0));
        assert_eq!(status, [7; 4]);
        end(k, child);
    }
    [wait4] group_of_another(k) needs Native {
        let child = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); 3 });
        until(k, || call!(k, GETPGID, child.pid) == Ok(child.pid as u64) || call!(k, GETPGID, child.pid).is_err());
        assert_eq!(k.wait4(-child.pid, 0), Ok((child.pid, 3 << 8)));
    }
    [wait4] group_without_children(k) needs Native { let child = sleeper(k); fails(k.wait4(-child.pid, 0), E::ECHILD); end(k, child); }
    [wait4] pid_of_a_stranger(k) needs Native { fails(k.wait4(1, 0), E::ECHILD); }
    [wait4] usage_of_the_child(k) needs Native {
        let child = k.child(|| { while now(k, 2) < 60_000_000 {} 0 });
        let mut usage = [0_u8; 144];
        call!(k, WAIT4, child.pid, Arg::Null, 0, &mut usage).unwrap();
        let micros = |at: usize| u64_at(&usage, at) * 1_000_000 + u64_at(&usage, at + 8);
        assert!((40_000..5_000_000).contains(&(micros(0) + micros(16))), "{usage:?}");
    }
    [wait4] bad_usage_pointer_still_reaps(k) needs Native {
        let child = k.child(|| 0);
        fails(call!(k, WAIT4, child.pid, Arg::Null, 0, Arg::Bad), E::EFAULT);
        fails(k.wait4(child.pid, 0), E::ECHILD);
    }
    [wait4, getrusage] waited_children_count_and_others_do_not(k) needs Native {
        let child = k.child(|| { while now(k, 2) < 50_000_000 {} 0 });
        let spent = || { let mut usage = [0_u8; 144]; call!(k, GETRUSAGE, -1, &mut usage).unwrap(); u64_at(&usage, 0) * 1_000_000 + u64_at(&usage, 8) + u64_at(&usage, 16) * 1_000_000 + u64_at(&usage, 24) };
        until(k, || stat_fields(k, &child.pid.to_string())[0] == "Z");
        assert_eq!(spent(), 0);
        k.status(child);
        assert!(spent() >= 30_000, "{}", spent());
    }
    [wait4] wclone_ignores_ordinary_children(k) needs Native {
        let child = k.child(|| 0);
        fails(k.wait4(-1, WCLONE), E::ECHILD);
        assert_eq!(k.status(child), 0);
    }
    [wait4] wall_takes_both_kinds(k) needs Native {
        let child = born(k, call!(k, CLONE, 0, 0, 0, 0, 0), || 0).unwrap();
        let other = k.child(|| 0);
        let mut found = [k.wait4(-1, WALL).unwrap().0, k.wait4(-1, WALL).unwrap().0];
        found.sort_unstable();
        assert_eq!(found, [child.pid.min(other.pid), child.pid.max(other.pid)]);
    }
    [wait4] wnothread_sees_children_of_this_thread_alone(k) needs Native {
        let child = k.child(|| 0);
        k.on_thread(|| fails(k.wait4(child.pid, WNOTHREAD), E::ECHILD));
        assert_eq!(k.wait4(child.pid, WNOTHREAD), Ok((child.pid, 0)));
    }
    [wait4] threads_share_children(k) needs Native {
        let child = k.child(|| 9);
        assert_eq!(k.on_thread(|| k.wait4(child.pid, 0)), Ok((child.pid, 9 << 8)));
    }
    [wait4] every_unknown_option(k) needs Native { for option in [0x10, 0x40, 0x100, 0x0010_0000] { fails(k.wait4(-1, option), E::EINVAL); } }
    [wait4] wexited_and_wnowait_are_no_options_here(k) needs Native { for option in [4_u32, 0x0100_0000] { fails(k.wait4(-1, option), E::EINVAL); } }
    [wait4] interrupted_by_a_handler(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        let child = sleeper(k);
        let other = pester(k, SIGUSR1);
        fails(k.wait4(child.pid, 0), E::EINTR);
        end(k, other);
        end(k, child);
    }
    [wait4] restarted_with_the_flag(k) needs Native {
        k.catch(SIGUSR1, 0x1000_0000).unwrap();
        let parent = k.getpid();
        let child = when_asleep(k, || { k.kill(parent, SIGUSR1).unwrap(); k.sleep_ms(60); 4 });
        assert_eq!(k.wait4(child.pid, 0), Ok((child.pid, 4 << 8)));
        assert_eq!(k.caught(SIGUSR1).0, 1);
    }
    [wait4] sigchld_comes_before_wait_returns(k) needs Native {
        k.catch(SIGCHLD, 0x1000_0000).unwrap();
        let child = k.child(|| 0);
        assert_eq!((k.status(child), k.caught(SIGCHLD).0, k.caught(SIGCHLD).1), (0, 1, 1));
    }
    [wait4] ignored_sigchld_waits_for_the_last_child(k) needs Native {
        k.set_action(SIGCHLD, SIG_IGN).unwrap();
        let start = now(k, 1);
        k.child(|| { k.sleep_ms(60); 0 });
        k.child(|| 0);
        fails(k.wait4(-1, 0), E::ECHILD);
        assert!(now(k, 1) - start >= 50_000_000);
    }
    [wait4, rt_sigaction] flag_nocldwait_leaves_no_zombie(k) needs Native {
        k.catch(SIGCHLD, 2 | 0x1000_0000).unwrap();
        let child = k.child(|| 0);
        fails(k.wait4(child.pid, 0), E::ECHILD);
        assert_eq!(k.caught(SIGCHLD).0, 1);
    }
    [wait4] default_sigchld_keeps_the_zombie(k) needs Native {
        let child = k.child(|| 0);
        in_state(k, &child.pid.to_string(), "Z");
        assert_eq!(k.status(child), 0);
    }
    [wait4, rt_sigaction] flag_nocldstop_suppresses_the_signal_of_stops(k) needs Native {
        k.catch(SIGCHLD, 1 | 0x1000_0000).unwrap();
        let child = sleeper(k);
        k.kill(child.pid, SIGSTOP).unwrap();
        assert_eq!(k.wait4(child.pid, WUNTRACED), Ok((child.pid, WSTOPPED_BY(SIGSTOP))));
        k.kill(child.pid, SIGCONT).unwrap();
        assert_eq!(k.wait4(child.pid, WCONTINUED), Ok((child.pid, 0xffff)));
        assert_eq!(k.caught(SIGCHLD).0, 0);
        end(k, child);
        assert_eq!(k.caught(SIGCHLD).0, 1);
    }
    [wait4] stop_and_continue_signal_the_parent(k) needs Native {
        k.catch(SIGCHLD, 0x1000_0000).unwrap();
        let child = sleeper(k);
        k.kill(child.pid, SIGSTOP).unwrap();
        // A wait can tell of the change before the child has sent the signal.
        k.wait4(child.pid, WUNTRACED).unwrap();
        until(k, || k.caught(SIGCHLD).0 == 1);
        assert_eq!(k.caught(SIGCHLD).1, 5);
        k.kill(child.pid, SIGCONT).unwrap();
        k.wait4(child.pid, WCONTINUED).unwrap();
        until(k, || k.caught(SIGCHLD).0 == 2);
        assert_eq!(k.caught(SIGCHLD).1, 6);
        end(k, child);
    }
    [wait4] every_stop_signal_stops(k) needs Native {
        for signal in [SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU] {
            let child = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); loop { k.sleep_ms(1000); } });
            until(k, || call!(k, GETPGID, child.pid) == Ok(child.pid as u64));
            k.kill(child.pid, signal).unwrap();
            assert_eq!(k.wait4(child.pid, WUNTRACED), Ok((child.pid, WSTOPPED_BY(signal))));
            end(k, child);
        }
    }
    [wait4] stop_is_not_reported_without_the_option(k) needs Native {
        let child = sleeper(k);
        k.kill(child.pid, SIGSTOP).unwrap();
        until(k, || stat_fields(k, &child.pid.to_string())[0] == "T");
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)));
        end(k, child);
    }
    [wait4] continue_of_a_running_child_is_no_event(k) needs Native {
        let child = sleeper(k);
        asleep(k, child);
        k.kill(child.pid, SIGCONT).unwrap();
        assert_eq!(k.wait4(child.pid, WCONTINUED | WNOHANG), Ok((0, 0)));
        end(k, child);
    }
    [wait4] kill_ends_a_stopped_child(k) needs Native {
        let child = sleeper(k);
        k.kill(child.pid, SIGSTOP).unwrap();
        k.wait4(child.pid, WUNTRACED).unwrap();
        k.kill(child.pid, SIGKILL).unwrap();
        assert_eq!(k.status(child), 9);
    }
    [wait4] other_signals_wait_while_it_is_stopped(k) needs Native {
        let child = k.child(|| { loop { k.sleep_ms(1000); } });
        k.kill(child.pid, SIGSTOP).unwrap();
        k.wait4(child.pid, WUNTRACED).unwrap();
        k.kill(child.pid, 15).unwrap();
        k.sleep_ms(20);
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)));
        k.kill(child.pid, SIGCONT).unwrap();
        assert_eq!(k.status(child), 15);
    }
    [wait4, exit_group] exit_code_is_eight_bits(k) needs Native {
        for (code, seen) in [(-1, 255), (256, 0), (0x1234, 0x34)] {
            let child = k.child(|| { let _ = call!(k, EXIT_GROUP, code); 1 });
            assert_eq!(k.status(child), seen << 8);
        }
    }
    [exit] last_thread_ends_the_process(k) needs Native {
        let child = k.child(|| { let _ = call!(k, EXIT, 5); 1 });
        assert_eq!(k.status(child), 5 << 8);
    }
    [exit_group] other_threads_end_too(k) needs Native {
        let child = k.child(|| {
            std::thread::scope(|scope| { scope.spawn(|| loop { k.sleep_ms(1000); }); let _ = call!(k, EXIT_GROUP, 6); });
            1
        });
        assert_eq!(k.status(child), 6 << 8);
    }
    [exit_group] any_thread_may_end_the_process(k) needs Native {
        let child = k.child(|| { k.on_thread(|| { let _ = call!(k, EXIT_GROUP, 7); }); 1 });
        assert_eq!(k.status(child), 7 << 8);
    }
    [exit, wait4] first_thread_may_end_before_the_others(k) needs Native {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| { let _ = k.read(reader, &mut [0]); let _ = call!(k, EXIT_GROUP, 8); });
                let _ = call!(k, EXIT, 1);
            });
            2
        });
        in_state(k, &child.pid.to_string(), "Z");
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)));
        k.write(writer, b"x").unwrap();
        assert_eq!(k.status(child), 8 << 8);
    }
    [kill, wait4] zombie_can_be_signalled(k) needs Native {
        let child = k.child(|| 0);
        until(k, || stat_fields(k, &child.pid.to_string())[0] == "Z");
        assert_eq!((k.kill(child.pid, 9), k.kill(child.pid, 0)), (Ok(()), Ok(())));
        assert_eq!(k.status(child), 0);
        fails(k.kill(child.pid, 0), E::ESRCH);
    }
    [prctl, wait4] subreaper_inherits_orphans(k) needs Native {
        call!(k, PRCTL, 36, 1, 0, 0, 0).unwrap();
        apart(k, || { k.child(|| 3); });
        assert_eq!(k.wait4(-1, 0).unwrap().1, 3 << 8);
    }
    [prctl, fork] subreaper_is_not_inherited(k) needs Native {
        call!(k, PRCTL, 36, 1, 0, 0, 0).unwrap();
        apart(k, || { let mut on = [9_u8; 4]; call!(k, PRCTL, 37, &mut on, 0, 0, 0).unwrap(); assert_eq!(on, [0; 4]); });
    }
}
