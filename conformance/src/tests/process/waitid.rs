//! Waiting for children with more choice: `waitid(2)`.

use chitin_abi::signal::{SIGCONT, SIGKILL, SIGSTOP, SIGUSR1};
use chitin_abi::{Errno as E, Result};

use super::super::support::{
    WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WUNTRACED, apart, as_user, asleep, end, fd, i32_at, now,
    pester, sleeper, stat_fields, u64_at, until,
};
use crate::call;
use crate::suite::{Arg, Calls, Child, Kernel, Processes, fails, tests};

const P_ALL: u32 = 0;
const P_PID: u32 = 1;
const P_PGID: u32 = 2;
const P_PIDFD: u32 = 3;

/// Signal, code, pid, uid and status.
fn wait(k: &dyn Kernel, kind: u32, id: i32, options: u32) -> Result<[i32; 5]> {
    let mut info = [0x55_u8; 128];
    call!(k, WAITID, kind, id, &mut info, options, Arg::Null)?;
    Ok([0, 8, 16, 20, 24].map(|at| i32_at(&info, at)))
}

fn pidfd(k: &dyn Kernel, child: Child, flags: u32) -> i32 {
    fd(call!(k, PIDFD_OPEN, child.pid, flags))
}

tests! { "waitid", "waitid(2)";
    [waitid] exited(k) needs Native { let child = k.child(|| 7); assert_eq!(wait(k, P_PID, child.pid, WEXITED), Ok([17, 1, child.pid, 0, 7])); }
    [waitid] killed(k) needs Native { let child = sleeper(k); k.kill(child.pid, SIGKILL).unwrap(); assert_eq!(wait(k, P_PID, child.pid, WEXITED), Ok([17, 2, child.pid, 0, 9])); }
    [waitid] dumped(k) needs Native {
        let child = k.child(|| { k.kill(k.getpid(), 6).unwrap(); 0 });
        let found = wait(k, P_PID, child.pid, WEXITED).unwrap();
        assert!(found[1] == 2 || found[1] == 3, "{found:?}");
        assert_eq!((found[2], found[4]), (child.pid, 6));
    }
    [waitid] whole_exit_code_is_only_eight_bits(k) needs Native { let child = k.child(|| 0x1ff); assert_eq!(wait(k, P_PID, child.pid, WEXITED).unwrap()[4], 0xff); }
    [waitid] stopped_and_continued(k) needs Native {
        let child = sleeper(k);
        k.kill(child.pid, SIGSTOP).unwrap();
        assert_eq!(wait(k, P_PID, child.pid, WUNTRACED), Ok([17, 5, child.pid, 0, 19]));
        k.kill(child.pid, SIGCONT).unwrap();
        assert_eq!(wait(k, P_PID, child.pid, WCONTINUED), Ok([17, 6, child.pid, 0, 18]));
        end(k, child);
    }
    [waitid] uid_is_the_childs(k) needs Root, Native {
        let child = k.child(|| { call!(k, SETRESUID, 1000, 1001, 1002).unwrap(); 0 });
        assert_eq!(wait(k, P_PID, child.pid, WEXITED).unwrap()[3], 1000);
    }
    [waitid] nothing_yet_leaves_zero(k) needs Native {
        let child = sleeper(k);
        let mut info = [0x55_u8; 128];
        call!(k, WAITID, P_PID, child.pid, &mut info, WEXITED | WNOHANG, Arg::Null).unwrap();
        assert_eq!((i32_at(&info, 0), i32_at(&info, 16)), (0, 0));
        end(k, child);
    }
    [waitid] result_is_zero_not_the_pid(k) needs Native { let child = k.child(|| 0); assert_eq!(call!(k, WAITID, P_PID, child.pid, Arg::Null, WEXITED, Arg::Null), Ok(0)); }
    [waitid] all_children(k) needs Native { let child = k.child(|| 3); assert_eq!(wait(k, P_ALL, 0, WEXITED).unwrap()[2], child.pid); }
    [waitid] all_ignores_the_id(k) needs Native { let child = k.child(|| 3); assert_eq!(wait(k, P_ALL, -77, WEXITED).unwrap()[2], child.pid); }
    [waitid] group_by_id(k) needs Native {
        let child = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); k.sleep_ms(20); 0 });
        until(k, || call!(k, GETPGID, child.pid) == Ok(child.pid as u64));
        assert_eq!(wait(k, P_PGID, child.pid, WEXITED).unwrap()[2], child.pid);
    }
    [waitid] group_zero_is_the_own(k) needs Native { let child = k.child(|| 1); assert_eq!(wait(k, P_PGID, 0, WEXITED).unwrap()[2], child.pid); }
    [waitid] negative_group(k) needs Native { fails(wait(k, P_PGID, -1, WEXITED), E::EINVAL); }
    [waitid] pid_must_be_positive(k) needs Native { for id in [0, -1] { fails(wait(k, P_PID, id, WEXITED), E::EINVAL); } }
    [waitid] unknown_kind(k) needs Native { fails(wait(k, 4, 1, WEXITED), E::EINVAL); }
    [waitid] unknown_option(k) needs Native { fails(wait(k, P_ALL, 0, WEXITED | 0x40), E::EINVAL); }
    [waitid] nohang_alone_is_no_event(k) needs Native { fails(wait(k, P_ALL, 0, WNOHANG), E::EINVAL); }
    [waitid] without_children(k) needs Native { fails(wait(k, P_ALL, 0, WEXITED), E::ECHILD); }
    [waitid] stranger(k) needs Native { fails(wait(k, P_PID, 1, WEXITED), E::ECHILD); }
    [waitid] bad_info_pointer_still_reaps(k) needs Native {
        let child = k.child(|| 0);
        fails(call!(k, WAITID, P_PID, child.pid, Arg::Bad, WEXITED, Arg::Null), E::EFAULT);
        fails(wait(k, P_PID, child.pid, WEXITED), E::ECHILD);
    }
    [waitid] nowait_may_be_repeated(k) needs Native {
        let child = k.child(|| 2);
        for _ in 0..3 { assert_eq!(wait(k, P_PID, child.pid, WEXITED | WNOWAIT).unwrap()[4], 2); }
        assert_eq!(wait(k, P_PID, child.pid, WEXITED).unwrap()[4], 2);
    }
    [waitid] nowait_of_a_stop(k) needs Native {
        let child = sleeper(k);
        k.kill(child.pid, SIGSTOP).unwrap();
        for options in [WUNTRACED | WNOWAIT, WUNTRACED] { assert_eq!(wait(k, P_PID, child.pid, options).unwrap()[4], 19); }
        assert_eq!(wait(k, P_PID, child.pid, WUNTRACED | WNOHANG), Ok([0; 5]));
        end(k, child);
    }
    [waitid] usage_is_the_fifth_argument(k) needs Native {
        let child = k.child(|| { while now(k, 2) < 40_000_000 {} 0 });
        let mut usage = [0_u8; 144];
        call!(k, WAITID, P_PID, child.pid, Arg::Null, WEXITED, &mut usage).unwrap();
        assert!(u64_at(&usage, 8) + u64_at(&usage, 24) + u64_at(&usage, 0) >= 20_000);
    }
    [waitid] interrupted(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        let (child, other) = (sleeper(k), pester(k, SIGUSR1));
        fails(wait(k, P_PID, child.pid, WEXITED), E::EINTR);
        end(k, other);
        end(k, child);
    }
    [waitid, pidfd_open] descriptor_of_the_child(k) needs Native { let child = k.child(|| 4); let pid = pidfd(k, child, 0); assert_eq!(wait(k, P_PIDFD, pid, WEXITED), Ok([17, 1, child.pid, 0, 4])); }
    [waitid, pidfd_open] nonblocking_descriptor(k) needs Native {
        let child = sleeper(k);
        let pid = pidfd(k, child, 0o4000);
        fails(wait(k, P_PIDFD, pid, WEXITED), E::EAGAIN);
        assert_eq!(wait(k, P_PIDFD, pid, WEXITED | WNOHANG), Ok([0; 5]));
        end(k, child);
    }
    [waitid] descriptor_that_is_none(k) needs Native { fails(wait(k, P_PIDFD, 999, WEXITED), E::EBADF); fails(wait(k, P_PIDFD, -1, WEXITED), E::EINVAL); }
    [waitid] descriptor_of_another_kind(k) needs Native { fails(wait(k, P_PIDFD, 0, WEXITED), E::EBADF); }
    [waitid, pidfd_open] descriptor_of_a_stranger(k) needs Native {
        let own = fd(call!(k, PIDFD_OPEN, k.getpid(), 0));
        fails(wait(k, P_PIDFD, own, WEXITED), E::ECHILD);
    }
    [waitid, pidfd_open] descriptor_after_reaping(k) needs Native {
        let child = k.child(|| 0);
        let pid = pidfd(k, child, 0);
        k.status(child);
        fails(wait(k, P_PIDFD, pid, WEXITED), E::ECHILD);
    }
    [waitid] stopped_child_that_dies_has_no_stop_left(k) needs Native {
        let child = sleeper(k);
        k.kill(child.pid, SIGSTOP).unwrap();
        wait(k, P_PID, child.pid, WUNTRACED | WNOWAIT).unwrap();
        k.kill(child.pid, SIGKILL).unwrap();
        assert_eq!(wait(k, P_PID, child.pid, WEXITED | WUNTRACED).unwrap()[1], 2);
    }
    [waitid] zombie_leaves_nothing_to_a_wait_for_stops(k) needs Native {
        let child = k.child(|| 0);
        until(k, || stat_fields(k, &child.pid.to_string())[0] == "Z");
        fails(wait(k, P_PID, child.pid, WUNTRACED | WNOHANG), E::ECHILD);
        assert_eq!(k.status(child), 0);
    }
    [waitid] wakes_when_the_child_ends(k) needs Native {
        let start = now(k, 1);
        let child = k.child(|| { k.sleep_ms(50); 0 });
        wait(k, P_PID, child.pid, WEXITED).unwrap();
        assert!(now(k, 1) - start >= 50_000_000);
    }
    [waitid] users_may_wait_for_root_children(k) needs Root, Native {
        as_user(k, || { let child = sleeper(k); asleep(k, child); end(k, child); });
        apart(k, || { let child = k.child(|| 1); call!(k, SETUID, 1000).unwrap(); assert_eq!(k.status(child), 1 << 8); });
    }
}
