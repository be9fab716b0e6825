//! Waiting for children: `wait4(2)`, `waitid(2)`.

use chitin_abi::Errno;
use chitin_abi::signal::{SIG_IGN, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

use crate::call;
use crate::suite::{Arg, Calls, Processes, fails, tests};

const WNOHANG: u32 = 1;
const WUNTRACED: u32 = 2;
const WCONTINUED: u32 = 8;

tests! { "wait", "wait(2)";
    [wait4] exit_code_is_in_the_second_byte(k) {
        for code in [0, 1, 42, 255, 256 + 3] {
            let child = k.child(|| code);
            assert_eq!(k.status(child), (code & 0xff) << 8);
        }
    }
    [wait4] signal_is_in_the_low_bits(k) {
        for signal in [SIGKILL, SIGTERM] {
            let child = k.child(|| { k.sleep_ms(10_000); 0 });
            k.kill(child.pid, signal).unwrap();
            assert_eq!(k.status(child), signal as i32);
        }
    }
    [wait4] no_child(k) {
        fails(k.wait4(-1, 0), Errno::ECHILD);
        fails(k.wait4(k.getpid(), 0), Errno::ECHILD);
        fails(k.wait4(-1, WNOHANG), Errno::ECHILD);
    }
    [wait4] unknown_option(k) { fails(k.wait4(-1, 0x10), Errno::EINVAL); }
    [wait4] lowest_pid_is_no_group(k) { fails(k.wait4(i32::MIN, 0), Errno::ESRCH); }
    [wait4] nohang_returns_zero_while_it_runs(k) {
        let child = k.child(|| { k.sleep_ms(10_000); 0 });
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)));
        k.kill(child.pid, SIGKILL).unwrap();
        assert_eq!(k.status(child), 9);
        fails(k.wait4(child.pid, 0), Errno::ECHILD);
    }
    [wait4] bad_status_pointer_still_reaps(k) {
        let child = k.child(|| 0);
        fails(call!(k, WAIT4, child.pid, Arg::Bad, 0, Arg::Null), Errno::EFAULT);
        fails(k.wait4(child.pid, 0), Errno::ECHILD);
    }
    [wait4] stop_and_continue_are_reported_once(k) {
        let child = k.child(|| { loop { k.sleep_ms(1000); } });
        k.kill(child.pid, SIGSTOP).unwrap();
        assert_eq!(k.wait4(child.pid, WUNTRACED), Ok((child.pid, (SIGSTOP as i32) << 8 | 0x7f)));
        assert_eq!(k.wait4(child.pid, WUNTRACED | WNOHANG), Ok((0, 0)));
        k.kill(child.pid, SIGCONT).unwrap();
        assert_eq!(k.wait4(child.pid, WCONTINUED), Ok((child.pid, 0xffff)));
        k.kill(child.pid, SIGKILL).unwrap();
        assert_eq!(k.status(child), 9);
    }
    [wait4] ignored_sigchld_leaves_no_zombie(k) {
        k.set_action(SIGCHLD, SIG_IGN).unwrap();
        let child = k.child(|| 0);
        fails(k.wait4(child.pid, 0), Errno::ECHILD);
    }
    [wait4] zero_waits_for_the_own_group(k) {
        let child = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); k.sleep_ms(100); 0 });
        let other = k.child(|| 5);
        assert_eq!(k.wait4(0, 0), Ok((other.pid, 5 << 8)));
        assert_eq!(k.status(child), 0);
    }
    [waitid] siginfo_tells_pid_code_and_status(k) {
        let child = k.child(|| 7);
        let mut info = [0_u8; 128];
        call!(k, WAITID, 1, child.pid, &mut info, 4, Arg::Null).unwrap();
        let word = |index: usize| i32::from_ne_bytes(info[index..index + 4].try_into().unwrap());
        assert_eq!((word(0), word(8), word(16), word(24)), (17, 1, child.pid, 7));
    }
    [waitid] nowait_leaves_the_zombie(k) {
        let child = k.child(|| 3);
        call!(k, WAITID, 1, child.pid, Arg::Null, 0x0100_0004_u32, Arg::Null).unwrap();
        assert_eq!(k.status(child), 3 << 8);
    }
    [waitid] needs_a_kind_of_event(k) {
        fails(call!(k, WAITID, 0, 0, Arg::Null, 0, Arg::Null), Errno::EINVAL);
        fails(call!(k, WAITID, 9, 0, Arg::Null, 4, Arg::Null), Errno::EINVAL);
    }
    [exit, getppid] orphan_gets_another_parent(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| {
            let parent = k.getpid();
            k.child(|| {
                while call!(k, GETPPID) == Ok(parent as u64) { k.sleep_ms(5); }
                k.write(writer, b"x").unwrap();
                0
            });
            0
        });
        assert_eq!(k.status(child), 0);
        assert_eq!(k.read_some(reader, 1).unwrap(), b"x");
    }
}
