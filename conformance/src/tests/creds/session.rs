//! Sessions, groups, priorities, limits and scheduling: `setsid(2)`, `setpgid(2)`, `prlimit(2)`, `sched(7)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{
    as_user, end, i32_at, ok, sleeper, stat_fields, status_of, text, u64_at, until, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, fails, tests};

fn pid(k: &dyn Kernel) -> u64 {
    k.getpid() as u64
}

fn limit(k: &dyn Kernel, resource: u32) -> (u64, u64) {
    let mut limit = [0; 16];
    ok(call!(k, GETRLIMIT, resource, &mut limit));
    (u64_at(&limit, 0), u64_at(&limit, 8))
}

fn set_limit(k: &dyn Kernel, resource: u32, soft: u64, hard: u64) -> Result<u64> {
    call!(k, SETRLIMIT, resource, words([soft, hard]).as_slice())
}

/// `sched_attr`: size, policy, flags, nice, priority.
fn attributes(policy: u32, nice: i32, priority: u32) -> Vec<u8> {
    let mut bytes = vec![0; 56];
    bytes[..4].copy_from_slice(&56_u32.to_ne_bytes());
    bytes[4..8].copy_from_slice(&policy.to_ne_bytes());
    bytes[16..20].copy_from_slice(&nice.to_ne_bytes());
    bytes[20..24].copy_from_slice(&priority.to_ne_bytes());
    bytes
}

fn policy(k: &dyn Kernel, policy: i32, priority: i32) -> Result<u64> {
    call!(k, SCHED_SETSCHEDULER, 0, policy, &priority.to_ne_bytes())
}

fn affinity(k: &dyn Kernel, pid: i32) -> u64 {
    let mut mask = [0_u8; 128];
    ok(call!(k, SCHED_GETAFFINITY, pid, 128, &mut mask));
    u64_at(&mask, 0)
}

tests! { "session", "setsid(2)";
    [setsid] leader_of_a_new_session(k) needs Native { k.apart(|| { assert_eq!(call!(k, SETSID), Ok(pid(k))); assert_eq!((call!(k, GETSID, 0), call!(k, GETPGRP)), (Ok(pid(k)), Ok(pid(k)))); fails(call!(k, SETSID), E::EPERM); }); }
    [setsid] group_leader_cannot(k) needs Native { k.apart(|| { ok(call!(k, SETPGID, 0, 0)); fails(call!(k, SETSID), E::EPERM); }); }
    [getsid, getpgid] of_others(k) needs Native { let child = sleeper(k); assert_eq!((call!(k, GETSID, child.pid), call!(k, GETPGID, child.pid)), (call!(k, GETSID, 0), call!(k, GETPGID, 0))); end(k, child); fails(call!(k, GETSID, child.pid), E::ESRCH); fails(call!(k, GETPGID, 0x3fff_ffff), E::ESRCH); fails(call!(k, GETPGID, -1), E::ESRCH); }
    [setpgid] child_can_be_moved(k) needs Native { let child = sleeper(k); ok(call!(k, SETPGID, child.pid, child.pid)); assert_eq!(call!(k, GETPGID, child.pid), Ok(child.pid as u64)); ok(call!(k, SETPGID, child.pid, call!(k, GETPGRP).unwrap())); end(k, child); }
    [setpgid, execve] not_after_its_exec(k) needs Native { let child = k.child(|| { let _ = call!(k, EXECVE, c"/bin/sleep", words([c"s".as_ptr() as u64, c"9".as_ptr() as u64, 0]).as_slice(), Arg::Null); 1 }); until(k, || text(k, &format!("/proc/{}/comm", child.pid)) == "sleep\n"); fails(call!(k, SETPGID, child.pid, child.pid), E::EACCES); end(k, child); }
    [setpgid] strangers_and_bad_groups(k) needs Native { fails(call!(k, SETPGID, 0, -1), E::EINVAL); fails(call!(k, SETPGID, 0x3fff_ffff, 0), E::ESRCH); k.apart(|| fails(call!(k, SETPGID, 0, 0x3fff_ffff), E::EPERM)); k.apart(|| { let parent = call!(k, GETPPID).unwrap(); fails(call!(k, SETPGID, parent, 0), E::ESRCH); }); }
    [setpgid] session_leader_stays(k) needs Native { k.apart(|| { ok(call!(k, SETSID)); fails(call!(k, SETPGID, 0, 0), E::EPERM); let child = sleeper(k); ok(call!(k, SETPGID, child.pid, child.pid)); end(k, child); }); }
    [setpgid] child_in_another_session(k) needs Native { let child = k.child(|| { ok(call!(k, SETSID)); loop { k.sleep_ms(1000); } }); until(k, || call!(k, GETSID, child.pid) == Ok(child.pid as u64)); fails(call!(k, SETPGID, child.pid, child.pid), E::EPERM); end(k, child); }
    [exit, kill] orphaned_stopped_group_is_hung_up(k) needs Native {
        let (reader, writer) = k.pipe2(0).unwrap();
        let leader = k.child(|| { ok(call!(k, SETSID)); let middle = k.child(|| { let inner = k.child(|| { ok(call!(k, SETPGID, 0, 0)); ok(k.catch(1, 0)); ok(k.catch(18, 0)); ok(k.kill(k.getpid(), 19)); until(k, || k.caught(1).0 == 1 && k.caught(18).0 == 1); ok(k.write(writer, b"x")); 0 }); ok(k.wait4(inner.pid, 2)); 0 }); k.status(middle); k.sleep_ms(300); 0 });
        assert_eq!(k.read_some(reader, 1), Ok(b"x".to_vec()));
        assert_eq!(k.status(leader), 0);
    }
    [getpriority, setpriority] nice_values(k) needs Native { k.apart(|| { let first = call!(k, GETPRIORITY, 0, 0).unwrap(); assert_eq!(stat_fields(k, "self")[16], (20 - first as i64).to_string()); if first > 10 { ok(call!(k, SETPRIORITY, 0, 0, 10)); assert_eq!(call!(k, GETPRIORITY, 0, 0), Ok(10)); } ok(call!(k, SETPRIORITY, 0, 0, 100)); assert_eq!(call!(k, GETPRIORITY, 0, 0), Ok(1)); assert_eq!(stat_fields(k, "self")[16], "19"); }); }
    [setpriority] going_up_needs_privilege(k) needs Root, Native { ok(call!(k, SETPRIORITY, 0, 0, 0)); as_user(k, || { ok(call!(k, SETPRIORITY, 0, 0, 5)); fails(call!(k, SETPRIORITY, 0, 0, 4), E::EACCES); fails(call!(k, SETPRIORITY, 0, 0, -1), E::EACCES); }); }
    [setpriority] kinds_and_strangers(k) needs Root, Native { fails(call!(k, SETPRIORITY, 3, 0, 0), E::EINVAL); fails(call!(k, GETPRIORITY, -1, 0), E::EINVAL); fails(call!(k, GETPRIORITY, 0, 0x3fff_ffff), E::ESRCH); let own = pid(k); as_user(k, || fails(call!(k, SETPRIORITY, 0, own, 0), E::EPERM)); k.apart(|| { ok(call!(k, SETPGID, 0, 0)); ok(call!(k, SETPRIORITY, 1, 0, 7)); assert_eq!((call!(k, GETPRIORITY, 1, 0), call!(k, GETPRIORITY, 0, 0)), (Ok(13), Ok(13))); }); }
    [getrlimit, setrlimit] limits_are_kept(k) needs Native { k.apart(|| for resource in 0..16 { let (_, hard) = limit(k, resource); let soft = hard.min(100); ok(set_limit(k, resource, soft, hard)); assert_eq!(limit(k, resource), (soft, hard), "{resource}"); }); }
    [setrlimit] soft_above_hard(k) needs Native { fails(set_limit(k, 7, 11, 10), E::EINVAL); fails(call!(k, GETRLIMIT, 16, &mut [0_u8; 16]), E::EINVAL); fails(set_limit(k, 16, 0, 0), E::EINVAL); fails(call!(k, GETRLIMIT, 7, Arg::Bad), E::EFAULT); fails(call!(k, SETRLIMIT, 7, Arg::Bad), E::EFAULT); }
    [setrlimit] raising_needs_privilege(k) needs Root, Native { as_user(k, || { ok(set_limit(k, 4, 5, 10)); ok(set_limit(k, 4, 10, 10)); fails(set_limit(k, 4, 10, 11), E::EPERM); }); fails(set_limit(k, 7, 1 << 40, 1 << 40), E::EPERM); }
    [prlimit64] of_another_process(k) needs Root, Native { let child = sleeper(k); let mut old = [0; 16]; ok(call!(k, PRLIMIT64, child.pid, 7, words([50, 60]).as_slice(), &mut old)); ok(call!(k, PRLIMIT64, child.pid, 7, Arg::Null, &mut old)); assert_eq!((u64_at(&old, 0), u64_at(&old, 8)), (50, 60)); as_user(k, || fails(call!(k, PRLIMIT64, child.pid, 7, Arg::Null, &mut [0_u8; 16]), E::EPERM)); end(k, child); fails(call!(k, PRLIMIT64, child.pid, 7, Arg::Null, Arg::Null), E::ESRCH); }
    [prlimit64] pointers_of_prlimit(k) needs Native { fails(call!(k, PRLIMIT64, 0, 7, Arg::Bad, Arg::Null), E::EFAULT); fails(call!(k, PRLIMIT64, 0, 7, Arg::Null, Arg::Bad), E::EFAULT); fails(call!(k, PRLIMIT64, 0, 99, Arg::Null, Arg::Null), E::EINVAL); }
    [setrlimit, fork] limits_are_shown_and_inherited(k) needs Native { k.apart(|| { ok(set_limit(k, 7, 77, 88)); k.apart(|| { assert_eq!(limit(k, 7), (77, 88)); assert!(text(k, "/proc/self/limits").contains("Max open files            77                   88                   files")); }); }); }
    [setrlimit, open] open_files(k) needs Native { k.apart(|| { ok(set_limit(k, 7, 10, 10)); let mut last = 0; while let Ok(file) = k.open("/dev/null", 0, 0) { last = file; } assert_eq!(last, 9); fails(k.open("/dev/null", 0, 0), E::EMFILE); fails(k.pipe2(0), E::EMFILE); fails(k.fcntl(0, 0, 10), E::EINVAL); }); }
    [sched_getscheduler] default_policy(k) needs Native { assert_eq!(call!(k, SCHED_GETSCHEDULER, 0), Ok(0)); fails(call!(k, SCHED_GETSCHEDULER, -1), E::EINVAL); fails(call!(k, SCHED_GETSCHEDULER, 0x3fff_ffff), E::ESRCH); }
    [sched_setscheduler] realtime_policies(k) needs Root, Native { k.apart(|| { for kind in [1, 2] { ok(policy(k, kind, 10)); assert_eq!(call!(k, SCHED_GETSCHEDULER, 0), Ok(kind as u64)); let mut found = [0; 4]; ok(call!(k, SCHED_GETPARAM, 0, &mut found)); assert_eq!(found[0], 10); } ok(policy(k, 0, 0)); for kind in [3, 5] { ok(policy(k, kind, 0)); assert_eq!(call!(k, SCHED_GETSCHEDULER, 0), Ok(kind as u64)); ok(policy(k, 0, 0)); } }); }
    [sched_setscheduler] priorities_out_of_range(k) needs Root, Native { for (kind, priority) in [(1, 0), (1, 100), (2, -1), (0, 1), (3, 1)] { fails(policy(k, kind, priority), E::EINVAL); } fails(policy(k, 99, 0), E::EINVAL); fails(call!(k, SCHED_SETSCHEDULER, 0, 0, Arg::Null), E::EINVAL); fails(call!(k, SCHED_SETSCHEDULER, 0, 0, Arg::Bad), E::EFAULT); fails(call!(k, SCHED_SETSCHEDULER, -1, 0, &[0_u8; 4]), E::EINVAL); fails(call!(k, SCHED_SETSCHEDULER, 0x3fff_ffff, 0, &[0_u8; 4]), E::ESRCH); }
    [sched_setscheduler] user_may_not_be_realtime(k) needs Root, Native { as_user(k, || { fails(policy(k, 1, 1), E::EPERM); ok(policy(k, 3, 0)); ok(policy(k, 5, 0)); }); }
    [sched_setparam] parameters(k) needs Root, Native { k.apart(|| { ok(policy(k, 2, 5)); ok(call!(k, SCHED_SETPARAM, 0, &7_i32.to_ne_bytes())); let mut found = [0; 4]; ok(call!(k, SCHED_GETPARAM, 0, &mut found)); assert_eq!(found[0], 7); fails(call!(k, SCHED_SETPARAM, 0, &0_i32.to_ne_bytes()), E::EINVAL); }); fails(call!(k, SCHED_GETPARAM, 0, Arg::Null), E::EINVAL); fails(call!(k, SCHED_SETPARAM, 0, &1_i32.to_ne_bytes()), E::EINVAL); fails(call!(k, SCHED_GETPARAM, -1, &mut [0_u8; 4]), E::EINVAL); }
    [sched_setscheduler, fork] reset_on_fork(k) needs Root, Native { k.apart(|| { ok(policy(k, 0x4000_0001, 5)); assert_eq!(call!(k, SCHED_GETSCHEDULER, 0), Ok(0x4000_0001)); k.apart(|| assert_eq!(call!(k, SCHED_GETSCHEDULER, 0), Ok(0))); }); k.apart(|| { ok(policy(k, 2, 5)); k.apart(|| assert_eq!(call!(k, SCHED_GETSCHEDULER, 0), Ok(2))); }); }
    [sched_get_priority_max, sched_get_priority_min] ranges(k) needs Native { for (kind, range) in [(0, (0, 0)), (1, (1, 99)), (2, (1, 99)), (3, (0, 0)), (5, (0, 0)), (6, (0, 0))] { assert_eq!((call!(k, SCHED_GET_PRIORITY_MIN, kind), call!(k, SCHED_GET_PRIORITY_MAX, kind)), (Ok(range.0), Ok(range.1))); } fails(call!(k, SCHED_GET_PRIORITY_MAX, 99), E::EINVAL); fails(call!(k, SCHED_GET_PRIORITY_MIN, -1), E::EINVAL); }
    [sched_rr_get_interval] interval(k) needs Root, Native { let mut time = [0; 16]; k.apart(|| { ok(policy(k, 2, 5)); let mut time = [0; 16]; ok(call!(k, SCHED_RR_GET_INTERVAL, 0, &mut time)); assert!(u64_at(&time, 8) > 0); ok(policy(k, 1, 5)); ok(call!(k, SCHED_RR_GET_INTERVAL, 0, &mut time)); assert_eq!(u64_at(&time, 8), 0); }); fails(call!(k, SCHED_RR_GET_INTERVAL, -1, &mut time), E::EINVAL); fails(call!(k, SCHED_RR_GET_INTERVAL, 0x3fff_ffff, &mut time), E::ESRCH); fails(call!(k, SCHED_RR_GET_INTERVAL, 0, Arg::Bad), E::EFAULT); }
    [sched_setattr, sched_getattr] attributes_round(k) needs Root, Native { k.apart(|| { ok(call!(k, SCHED_SETATTR, 0, attributes(0, 7, 0).as_slice(), 0)); let mut found = [0; 56]; ok(call!(k, SCHED_GETATTR, 0, &mut found, 56, 0)); assert_eq!((i32_at(&found, 4), i32_at(&found, 16)), (0, 7)); ok(call!(k, SCHED_SETATTR, 0, attributes(1, 0, 9).as_slice(), 0)); ok(call!(k, SCHED_GETATTR, 0, &mut found, 56, 0)); assert_eq!((i32_at(&found, 4), i32_at(&found, 20)), (1, 9)); }); }
    [sched_setattr, sched_getattr] bad_attributes(k) needs Native { fails(call!(k, SCHED_SETATTR, 0, attributes(0, 0, 0).as_slice(), 1), E::EINVAL); fails(call!(k, SCHED_SETATTR, 0, Arg::Null, 0), E::EINVAL); fails(call!(k, SCHED_SETATTR, 0, attributes(77, 0, 0).as_slice(), 0), E::EINVAL); fails(call!(k, SCHED_SETATTR, -1, attributes(0, 0, 0).as_slice(), 0), E::EINVAL); fails(call!(k, SCHED_GETATTR, 0, &mut [0_u8; 56], 40, 0), E::EINVAL); fails(call!(k, SCHED_GETATTR, 0, &mut [0_u8; 56], 56, 1), E::EINVAL); fails(call!(k, SCHED_GETATTR, 0x3fff_ffff, &mut [0_u8; 56], 56, 0), E::ESRCH); fails(call!(k, SCHED_GETATTR, 0, Arg::Bad, 56, 0), E::EFAULT); let mut large = attributes(0, 0, 0); large[0] = 200; large.resize(200, 1); fails(call!(k, SCHED_SETATTR, 0, large.as_slice(), 0), E::E2BIG); }
    [sched_getaffinity] mask_has_a_processor(k) needs Native { assert_ne!(affinity(k, 0), 0); fails(call!(k, SCHED_GETAFFINITY, 0, 0, &mut [0_u8; 8]), E::EINVAL); fails(call!(k, SCHED_GETAFFINITY, 0, 7, &mut [0_u8; 8]), E::EINVAL); fails(call!(k, SCHED_GETAFFINITY, 0x3fff_ffff, 128, &mut [0_u8; 128]), E::ESRCH); fails(call!(k, SCHED_GETAFFINITY, 0, 128, Arg::Bad), E::EFAULT); }
    [sched_setaffinity, fork] mask_is_kept_and_inherited(k) needs Native { let all = affinity(k, 0); let one = 1 << all.trailing_zeros(); k.apart(|| { ok(call!(k, SCHED_SETAFFINITY, 0, 8, &u64::to_ne_bytes(one))); assert_eq!(affinity(k, 0), one); k.apart(|| assert_eq!(affinity(k, 0), one)); assert_eq!(status_of(k, "self", "Cpus_allowed_list"), all.trailing_zeros().to_string()); }); }
    [sched_setaffinity] masks_without_a_processor(k) needs Native { fails(call!(k, SCHED_SETAFFINITY, 0, 8, &[0_u8; 8]), E::EINVAL); fails(call!(k, SCHED_SETAFFINITY, 0, 8, Arg::Bad), E::EFAULT); fails(call!(k, SCHED_SETAFFINITY, 0x3fff_ffff, 8, &[0xff_u8; 8]), E::ESRCH); }
    [sched_setaffinity] process_of_another_user(k) needs Root, Native { let own = pid(k); as_user(k, || fails(call!(k, SCHED_SETAFFINITY, own, 8, &[0xff_u8; 8]), E::EPERM)); }
    [getcpu] processor_is_allowed(k) needs Native { let mut cpu = [0; 4]; ok(call!(k, GETCPU, &mut cpu, Arg::Null, Arg::Null)); assert_eq!(affinity(k, 0) >> i32_at(&cpu, 0) & 1, 1); ok(call!(k, GETCPU, Arg::Null, Arg::Null, Arg::Null)); fails(call!(k, GETCPU, Arg::Bad, Arg::Null, Arg::Null), E::EFAULT); }
    [sched_yield] always_succeeds(k) needs Native { assert_eq!(call!(k, SCHED_YIELD), Ok(0)); }
    [ioprio_set, ioprio_get] io_priorities(k) needs Native { k.apart(|| { ok(call!(k, IOPRIO_SET, 1, 0, 2 << 13 | 5)); assert_eq!(call!(k, IOPRIO_GET, 1, 0), Ok(2 << 13 | 5)); }); fails(call!(k, IOPRIO_GET, 9, 0), E::EINVAL); fails(call!(k, IOPRIO_SET, 1, 0, 5 << 13), E::EINVAL); fails(call!(k, IOPRIO_GET, 1, 0x3fff_ffff), E::ESRCH); }
    [ioprio_set] realtime_class_needs_privilege(k) needs Root, Native { as_user(k, || fails(call!(k, IOPRIO_SET, 1, 0, 1 << 13), E::EPERM)); }
    [personality] persona_is_kept(k) needs Native { k.apart(|| { assert_eq!(call!(k, PERSONALITY, u32::MAX), Ok(0)); assert_eq!(call!(k, PERSONALITY, 0x004_0000), Ok(0)); assert_eq!(call!(k, PERSONALITY, u32::MAX), Ok(0x004_0000)); k.apart(|| assert_eq!(call!(k, PERSONALITY, u32::MAX), Ok(0x004_0000))); assert_eq!(text(k, "/proc/self/personality"), "00040000\n"); }); }
}
