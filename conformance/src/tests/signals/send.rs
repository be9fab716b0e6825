//! Sending signals: `kill(2)`, `tkill(2)`, `tgkill(2)`, `rt_sigqueueinfo(2)`, `rt_tgsigqueueinfo(2)`.

use chitin_abi::signal::{SIG_DFL, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2};
use chitin_abi::{Errno as E, Result};

use super::super::support::{
    BLOCK, UNBLOCK, WUNTRACED, apart, as_user, asleep, bit, born, end, gettid, i32_at, ok, shared,
    sleeper, status_of, until, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, Threads, fails, tests};

const SI_QUEUE: i32 = -1;
const SI_TKILL: i32 = -6;
const NEWPID: u64 = 0x2000_0000;

fn info(signal: u32, code: i32, value: u64) -> Vec<u8> {
    let mut info = vec![0; 128];
    info[..4].copy_from_slice(&signal.to_ne_bytes());
    info[8..12].copy_from_slice(&code.to_ne_bytes());
    info[16..20].copy_from_slice(&4242_u32.to_ne_bytes());
    info[20..24].copy_from_slice(&2424_u32.to_ne_bytes());
    info[24..32].copy_from_slice(&value.to_ne_bytes());
    info
}

/// Blocks a signal, lets it be sent and takes it: signal, code, pid, uid, value.
fn received(k: &dyn Kernel, signal: u32, send: impl FnOnce()) -> (i32, i32, i32, i32, i32) {
    k.set_mask(BLOCK, bit(signal)).unwrap();
    send();
    let mut info = [0_u8; 128];
    call!(k, RT_SIGTIMEDWAIT, &bit(signal).to_ne_bytes(), &mut info, Arg::Null, 8).unwrap();
    (i32_at(&info, 0), i32_at(&info, 8), i32_at(&info, 16), i32_at(&info, 20), i32_at(&info, 24))
}

fn tgkill(k: &dyn Kernel, pid: i32, tid: i32, signal: u32) -> Result<u64> {
    call!(k, TGKILL, pid, tid, signal)
}

/// A body in a process group of its own, with this many other members that die of SIGTERM.
fn grouped(k: &dyn Kernel, members: usize, send: impl Fn(i32)) {
    apart(k, || {
        call!(k, SETPGID, 0, 0).unwrap();
        k.catch(SIGTERM, 0).unwrap();
        let others: Vec<_> = (0..members)
            .map(|_| {
                k.child(|| {
                    k.set_action(SIGTERM, SIG_DFL).unwrap();
                    loop {
                        k.sleep_ms(1000);
                    }
                })
            })
            .collect();
        for other in &others {
            asleep(k, *other);
        }
        send(k.getpid());
        for other in others {
            assert_eq!(k.status(other), 15);
        }
        assert_eq!(k.caught(SIGTERM).0, 1);
    });
}

/// Runs a body as the first process of a pid namespace of its own; fails where it fails.
#[track_caller]
fn in_own_pids(k: &dyn Kernel, body: impl FnOnce()) {
    let child = born(k, call!(k, CLONE, NEWPID | u64::from(SIGCHLD), 0, 0, 0, 0), || {
        assert_eq!(k.getpid(), 1, "the first of its namespace");
        body();
        0
    });
    assert_eq!(k.status(child.unwrap()), 0, "the first one's status");
}

tests! { "send", "kill(2)";
    [kill] info_of_kill(k) needs Native { let me = k.getpid(); assert_eq!(received(k, SIGUSR1, || k.kill(me, SIGUSR1).unwrap()), (10, 0, me, 0, 0)); }
    [tkill] info_of_tkill(k) needs Native { let me = k.getpid(); assert_eq!(received(k, SIGUSR1, || ok(call!(k, TKILL, me, SIGUSR1))), (10, SI_TKILL, me, 0, 0)); }
    [tgkill] info_of_tgkill(k) needs Native { let me = k.getpid(); assert_eq!(received(k, SIGUSR1, || ok(tgkill(k, me, me, SIGUSR1))), (10, SI_TKILL, me, 0, 0)); }
    [rt_sigqueueinfo] info_of_sigqueue(k) needs Native { let me = k.getpid(); assert_eq!(received(k, SIGUSR1, || ok(call!(k, RT_SIGQUEUEINFO, me, SIGUSR1, info(99, SI_QUEUE, 7).as_slice()))), (10, -1, 4242, 2424, 7)); }
    [rt_tgsigqueueinfo] info_of_tgsigqueue(k) needs Native { let me = k.getpid(); assert_eq!(received(k, SIGUSR1, || ok(call!(k, RT_TGSIGQUEUEINFO, me, me, SIGUSR1, info(99, SI_QUEUE, 8).as_slice()))), (10, -1, 4242, 2424, 8)); }
    [kill] sender_and_user_of_another_process(k) needs Root, Native {
        let me = k.getpid();
        let mut sender = 0;
        let found = received(k, SIGUSR1, || { let child = k.child(|| { call!(k, SETRESUID, 1000, 0, 0).unwrap(); k.kill(me, SIGUSR1).unwrap(); 0 }); sender = child.pid; assert_eq!(k.status(child), 0); });
        assert_eq!(found, (10, 0, sender, 1000, 0));
    }
    [kill] unknown_signals(k) needs Native { for signal in [65_i32, -1, 1000] { fails(call!(k, KILL, k.getpid(), signal), E::EINVAL); } }
    [kill] unknown_signal_of_an_unknown_process(k) needs Native { let found = call!(k, KILL, 0x3fff_ffff, 65); assert!(matches!(found, Err(E::ESRCH | E::EINVAL)), "{found:?}"); }
    [kill] lowest_id(k) needs Native { fails(k.kill(i32::MIN, 0), E::ESRCH); }
    [kill] unknown_group(k) needs Native { fails(k.kill(-0x3fff_ffff, SIGTERM), E::ESRCH); }
    [kill] zero_signal_probes(k) needs Native { let child = sleeper(k); assert_eq!(k.kill(child.pid, 0), Ok(())); end(k, child); fails(k.kill(child.pid, 0), E::ESRCH); }
    [kill] zero_means_the_own_group(k) needs Native { grouped(k, 2, |_| k.kill(0, SIGTERM).unwrap()); }
    [kill] negative_means_a_group(k) needs Native { grouped(k, 2, |me| k.kill(-me, SIGTERM).unwrap()); }
    [kill] group_by_probe(k) needs Native { apart(k, || { call!(k, SETPGID, 0, 0).unwrap(); assert_eq!(k.kill(-k.getpid(), 0), Ok(())); }); }
    [kill] group_of_which_one_may_be_signalled(k) needs Root, Native {
        apart(k, || {
            call!(k, SETPGID, 0, 0).unwrap();
            let root = sleeper(k);
            let user = k.child(|| { call!(k, SETRESUID, 1000, 1000, 1000).unwrap(); loop { k.sleep_ms(1000); } });
            until(k, || status_of(k, &user.pid.to_string(), "Uid").starts_with("1000"));
            let group = k.getpid();
            let killer = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); call!(k, SETRESUID, 1000, 1000, 1000).unwrap(); i32::from(k.kill(-group, SIGUSR2).is_err()) });
            assert_eq!((k.status(killer), k.status(user)), (0, 12));
            end(k, root);
        });
    }
    [kill] group_of_which_none_may_be_signalled(k) needs Root, Native { let group = k.getpid(); apart(k, || { call!(k, SETPGID, 0, 0).unwrap(); call!(k, SETRESUID, 1000, 1000, 1000).unwrap(); fails(k.kill(group, SIGTERM), E::EPERM); }); }
    [kill] real_and_effective_id_of_the_sender_count(k) needs Root, Native {
        let target = k.child(|| { call!(k, SETRESUID, 1000, 1001, 1002).unwrap(); loop { k.sleep_ms(1000); } });
        until(k, || status_of(k, &target.pid.to_string(), "Uid").starts_with("1000"));
        for (ids, allowed) in [([1000_u32, 5, 5], true), ([5, 1000, 5], true), ([1002, 5, 5], true), ([5, 1002, 5], true), ([1001, 1001, 1001], false), ([5, 5, 1000], false)] {
            apart(k, || { call!(k, SETRESUID, ids[0], ids[1], ids[2]).unwrap(); assert_eq!(k.kill(target.pid, 0), if allowed { Ok(()) } else { Err(E::EPERM) }, "{ids:?}"); });
        }
        end(k, target);
    }
    [kill] continue_may_go_to_the_own_session(k) needs Root, Native { let me = k.getpid(); as_user(k, || { fails(k.kill(me, SIGUSR1), E::EPERM); assert_eq!(k.kill(me, SIGCONT), Ok(())); }); }
    [kill] continue_may_not_go_to_another_session(k) needs Root, Native { let me = k.getpid(); as_user(k, || { call!(k, SETSID).unwrap(); fails(k.kill(me, SIGCONT), E::EPERM); }); }
    [kill] capability_kill_is_enough(k) needs Root, Native {
        let me = k.getpid();
        apart(k, || { call!(k, PRCTL, 8, 1, 0, 0, 0).unwrap(); call!(k, SETRESUID, 1000, 1000, 1000).unwrap(); fails(k.kill(me, 0), E::EPERM);
            let header = [0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat(); let data = [32_u32, 32, 0, 0, 0, 0].map(u32::to_ne_bytes).concat();
            call!(k, CAPSET, header.as_slice(), data.as_slice()).unwrap(); assert_eq!(k.kill(me, 0), Ok(())); });
    }
    [kill] everybody_but_the_first_and_the_caller(k) needs Root, Native {
        let ready = shared(k, 1);
        in_own_pids(k, || {
            k.catch(SIGTERM, 0).unwrap();
            apart(k, || {
                let others = [0, 1].map(|at| k.child(|| { k.set_action(SIGTERM, SIG_DFL).unwrap(); ready.set(at, 1); loop { k.sleep_ms(1000); } }));
                until(k, || ready.get(0) == 1 && ready.get(1) == 1);
                assert_eq!(k.getpid(), 2, "only in a namespace of its own may everybody be signalled");
                k.kill(-1, SIGTERM).unwrap();
                assert_eq!((others.map(|other| k.status(other)), k.caught(SIGTERM).0), ([15; 2], 0));
            });
            assert_eq!(k.caught(SIGTERM).0, 0, "the first one");
        });
    }
    [kill] everybody_when_there_is_nobody(k) needs Root, Native { in_own_pids(k, || fails(k.kill(-1, 0), E::ESRCH)); }
    [kill] thread_id_means_its_process(k) needs Native { k.catch(SIGUSR1, 0).unwrap(); k.on_thread(|| k.kill(gettid(k), SIGUSR1).unwrap()); until(k, || k.caught(SIGUSR1).0 == 1); }
    [kill] process_signal_may_go_to_any_thread(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(BLOCK, bit(SIGUSR1)).unwrap();
        k.on_thread(|| { k.set_mask(UNBLOCK, bit(SIGUSR1)).unwrap(); k.kill(k.getpid(), SIGUSR1).unwrap(); assert_eq!(k.caught(SIGUSR1).0, 1); });
    }
    [tkill] zero_and_negative_ids(k) needs Native { for tid in [0, -1, i32::MIN] { fails(call!(k, TKILL, tid, 0), E::EINVAL); } }
    [tkill] unknown_thread(k) needs Native { fails(call!(k, TKILL, 0x3fff_ffff, 0), E::ESRCH); }
    [tkill] signal_beyond_the_last(k) needs Native { fails(call!(k, TKILL, gettid(k), 65), E::EINVAL); }
    [tkill] zero_probes_a_thread(k) needs Native { assert_eq!(call!(k, TKILL, gettid(k), 0), Ok(0)); }
    [tkill] thread_of_another_user(k) needs Root, Native { let me = k.getpid(); as_user(k, || fails(call!(k, TKILL, me, SIGTERM), E::EPERM)); }
    [tgkill] ids_must_be_positive(k) needs Native { let me = k.getpid(); for (pid, tid) in [(0, me), (me, 0), (-1, me), (me, -1)] { fails(tgkill(k, pid, tid, 0), E::EINVAL); } }
    [tgkill] thread_of_another_process(k) needs Native { let (me, child) = (k.getpid(), sleeper(k)); for (pid, tid) in [(child.pid, me), (me, child.pid)] { fails(tgkill(k, pid, tid, 0), E::ESRCH); } assert_eq!((tgkill(k, me, me, 0), tgkill(k, child.pid, child.pid, 0)), (Ok(0), Ok(0))); end(k, child); }
    [tgkill] only_that_thread_gets_it(k) needs Native {
        k.set_mask(BLOCK, bit(SIGUSR1)).unwrap();
        k.on_thread(|| { tgkill(k, k.getpid(), gettid(k), SIGUSR1).unwrap(); let mut set = [0; 8]; call!(k, RT_SIGPENDING, &mut set, 8).unwrap(); assert_eq!(u64::from_ne_bytes(set), bit(SIGUSR1)); });
        let mut set = [0; 8];
        call!(k, RT_SIGPENDING, &mut set, 8).unwrap();
        assert_eq!(set, [0; 8]);
    }
    [tgkill] fatal_signal_ends_the_whole_process(k) needs Native { let child = k.child(|| { std::thread::scope(|scope| { scope.spawn(|| { k.sleep_ms(20); tgkill(k, k.getpid(), gettid(k), SIGTERM) }); loop { k.sleep_ms(1000); } }) }); assert_eq!(k.status(child), 15); }
    [tgkill] stop_signal_stops_the_whole_process(k) needs Native { let child = k.child(|| { std::thread::scope(|scope| { scope.spawn(|| { k.sleep_ms(20); tgkill(k, k.getpid(), gettid(k), SIGSTOP) }); loop { k.sleep_ms(1000); } }) }); assert_eq!(k.wait4(child.pid, WUNTRACED), Ok((child.pid, 0x137f))); end(k, child); }
    [rt_sigqueueinfo] bad_pointer(k) needs Native { fails(call!(k, RT_SIGQUEUEINFO, k.getpid(), SIGUSR1, Arg::Bad), E::EFAULT); fails(call!(k, RT_SIGQUEUEINFO, k.getpid(), SIGUSR1, Arg::Null), E::EFAULT); }
    [rt_sigqueueinfo] half_mapped_info(k) needs Native { let found = call!(k, RT_SIGQUEUEINFO, k.getpid(), 0, Arg::Edge(20)); fails(found, E::EFAULT); }
    [rt_sigqueueinfo] unknown_process_and_signal(k) needs Native { fails(call!(k, RT_SIGQUEUEINFO, 0x3fff_ffff, 0, info(0, SI_QUEUE, 0).as_slice()), E::ESRCH); fails(call!(k, RT_SIGQUEUEINFO, k.getpid(), 65, info(0, SI_QUEUE, 0).as_slice()), E::EINVAL); }
    [rt_sigqueueinfo] kernels_codes_only_to_itself(k) needs Native {
        let child = sleeper(k);
        for code in [0, 1, 128, SI_TKILL] { fails(call!(k, RT_SIGQUEUEINFO, child.pid, SIGUSR1, info(0, code, 0).as_slice()), E::EPERM); }
        end(k, child);
        let me = k.getpid();
        assert_eq!(received(k, SIGUSR1, || ok(call!(k, RT_SIGQUEUEINFO, me, SIGUSR1, info(0, 5, 3).as_slice()))).1, 5);
    }
    [rt_sigqueueinfo] negative_codes_to_anybody(k) needs Native { let child = sleeper(k); assert_eq!(call!(k, RT_SIGQUEUEINFO, child.pid, SIGTERM, info(0, -60, 0).as_slice()), Ok(0)); assert_eq!(k.status(child), 15); }
    [rt_tgsigqueueinfo] ids_of_tgsigqueue_must_be_positive(k) needs Native { for (pid, tid) in [(0, 1), (1, 0), (-1, 1), (1, -1)] { fails(call!(k, RT_TGSIGQUEUEINFO, pid, tid, SIGUSR1, info(0, SI_QUEUE, 0).as_slice()), E::EINVAL); } }
    [rt_tgsigqueueinfo] thread_and_process_must_agree(k) needs Native { let child = sleeper(k); fails(call!(k, RT_TGSIGQUEUEINFO, k.getpid(), child.pid, 0, info(0, SI_QUEUE, 0).as_slice()), E::ESRCH); end(k, child); }
    [rt_tgsigqueueinfo] bad_pointer_of_tgsigqueue(k) needs Native { let me = k.getpid(); fails(call!(k, RT_TGSIGQUEUEINFO, me, me, SIGUSR1, Arg::Bad), E::EFAULT); }
    [rt_sigqueueinfo] standard_signals_are_pending_once(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(BLOCK, bit(SIGUSR1)).unwrap();
        for value in [1, 2, 3] { call!(k, RT_SIGQUEUEINFO, k.getpid(), SIGUSR1, info(0, SI_QUEUE, value).as_slice()).unwrap(); }
        k.set_mask(UNBLOCK, bit(SIGUSR1)).unwrap();
        assert_eq!(k.caught(SIGUSR1), (1, -1, 1));
    }
    [rt_sigtimedwait, kill] lower_numbers_come_first(k) needs Native {
        let set = bit(40) | bit(35) | bit(64);
        k.set_mask(BLOCK, set).unwrap();
        for signal in [64, 40, 35, 40] { k.kill(k.getpid(), signal).unwrap(); }
        for signal in [35, 40, 40, 64] { assert_eq!(call!(k, RT_SIGTIMEDWAIT, &set.to_ne_bytes(), Arg::Null, Arg::Null, 8), Ok(signal)); }
    }
    [rt_sigtimedwait, tgkill] own_thread_comes_before_the_process(k) needs Native {
        k.set_mask(BLOCK, bit(40)).unwrap();
        k.kill(k.getpid(), 40).unwrap();
        tgkill(k, k.getpid(), gettid(k), 40).unwrap();
        let mut codes = vec![];
        for _ in 0..2 { let mut info = [0_u8; 128]; call!(k, RT_SIGTIMEDWAIT, &bit(40).to_ne_bytes(), &mut info, Arg::Null, 8).unwrap(); codes.push(i32_at(&info, 8)); }
        assert_eq!(codes, [SI_TKILL, 0]);
    }
    [setrlimit, rt_sigqueueinfo] queue_has_a_limit(k) needs Native {
        k.set_mask(BLOCK, bit(40) | bit(SIGUSR1)).unwrap();
        call!(k, SETRLIMIT, 11, words([3, 3]).as_slice()).unwrap();
        let mut sent = 0;
        while call!(k, RT_SIGQUEUEINFO, k.getpid(), 40, info(0, SI_QUEUE, 0).as_slice()).is_ok() { sent += 1; assert!(sent < 100); }
        assert_eq!(call!(k, RT_SIGQUEUEINFO, k.getpid(), 40, info(0, SI_QUEUE, 0).as_slice()), Err(E::EAGAIN));
        assert!(sent <= 3, "{sent}");
        assert_eq!(k.kill(k.getpid(), SIGUSR1), Ok(()));
    }
    [kill] status_shows_pending_and_limit(k) needs Native {
        k.set_mask(BLOCK, bit(40)).unwrap();
        for _ in 0..3 { k.kill(k.getpid(), 40).unwrap(); }
        let shown = status_of(k, "self", "SigQ");
        assert!(shown.starts_with("3/") || shown.split('/').next().unwrap().parse::<u32>().unwrap() >= 3, "{shown}");
        assert_eq!(status_of(k, "self", "ShdPnd"), format!("{:016x}", bit(40)));
    }
    [kill] self_signal_arrives_before_the_call_returns(k) needs Native { k.catch(SIGUSR1, 0).unwrap(); for count in 1..50 { k.kill(k.getpid(), SIGUSR1).unwrap(); assert_eq!(k.caught(SIGUSR1).0, count); } }
    [kill] killed_process_does_not_run_on(k) needs Native { let child = k.child(|| { k.kill(k.getpid(), SIGKILL).unwrap(); 7 }); assert_eq!(k.status(child), 9); }
}
