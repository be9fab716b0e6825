//! Who is told of input and output: `fcntl(F_SETOWN)`, `F_SETSIG`, `O_ASYNC`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_GETOWN, F_GETOWN_EX, F_GETSIG, F_SETFL, F_SETOWN, F_SETOWN_EX, F_SETSIG, FOwnerEx, O_ASYNC,
    O_NONBLOCK,
};
use chitin_abi::signal::{SIGIO, SIGURG, SIGUSR1};
use zerocopy::IntoBytes;

use super::super::support::until;
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, fails, tests};
use crate::tests::shared::filled;

fn pair(k: &dyn Kernel) -> (Fd, Fd) {
    let mut fds = [0_i32; 2];
    call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
    (fds[0], fds[1])
}

fn owner(k: &dyn Kernel, fd: Fd) -> (i32, i32) {
    let owner: FOwnerEx = filled(|out| call!(k, FCNTL, fd, F_GETOWN_EX, out)).unwrap();
    (owner.kind, owner.pid)
}

fn set_owner(k: &dyn Kernel, fd: Fd, kind: i32, pid: i32) -> chitin_abi::Result<u64> {
    call!(k, FCNTL, fd, F_SETOWN_EX, FOwnerEx { kind, pid }.as_bytes())
}

/// Waits until a signal has come.
#[track_caller]
fn comes(k: &dyn Kernel, signal: u32) {
    until(k, || k.caught(signal).0 > 0);
}

/// Whether no signal has come after a while.
fn stays_away(k: &dyn Kernel, signal: u32) -> bool {
    k.sleep_ms(100);
    k.caught(signal).0 == 0
}

tests! { "fowner", "fcntl(2)";
    [fcntl] nobody_at_first(k) {
        let (a, _b) = pair(k);
        assert_eq!((k.fcntl(a, F_GETOWN, 0), k.fcntl(a, F_GETSIG, 0), owner(k, a)), (Ok(0), Ok(0), (0, 0)));
    }
    [fcntl] process_and_group(k) {
        let (a, _b) = pair(k);
        let me = k.getpid();
        k.fcntl(a, F_SETOWN, me as u64).unwrap();
        assert_eq!((k.fcntl(a, F_GETOWN, 0), owner(k, a)), (Ok(me as u64), (1, me)));
        let group = call!(k, GETPGRP).unwrap() as i32;
        if group > 0 {
            k.fcntl(a, F_SETOWN, i64::from(-group).cast_unsigned()).unwrap();
            assert_eq!(owner(k, a), (2, group));
        }
    }
    [fcntl] extended_kinds(k) {
        let (a, _b) = pair(k);
        let (me, thread) = (k.getpid(), call!(k, GETTID).unwrap() as i32);
        set_owner(k, a, 0, thread).unwrap();
        assert_eq!(owner(k, a), (0, thread));
        set_owner(k, a, 1, me).unwrap();
        assert_eq!(owner(k, a), (1, me));
        fails(set_owner(k, a, 3, me), Errno::EINVAL);
        fails(set_owner(k, a, -1, me), Errno::EINVAL);
    }
    [fcntl] nobody_there(k) {
        let (a, _b) = pair(k);
        fails(k.fcntl(a, F_SETOWN, 4_000_000), Errno::ESRCH);
        fails(set_owner(k, a, 1, 4_000_000), Errno::ESRCH);
        fails(k.fcntl(a, F_SETOWN, u64::from(i32::MIN.cast_unsigned())), Errno::EINVAL);
        k.fcntl(a, F_SETOWN, 0).unwrap();
    }
    [fcntl] pointers_fault(k) {
        let (a, _b) = pair(k);
        fails(call!(k, FCNTL, a, F_SETOWN_EX, Arg::Bad), Errno::EFAULT);
        fails(call!(k, FCNTL, a, F_GETOWN_EX, Arg::Null), Errno::EFAULT);
    }
    [fcntl] signal_numbers(k) {
        let (a, _b) = pair(k);
        k.fcntl(a, F_SETSIG, 64).unwrap();
        assert_eq!(k.fcntl(a, F_GETSIG, 0), Ok(64));
        for signal in [65, u64::MAX] { fails(k.fcntl(a, F_SETSIG, signal), Errno::EINVAL); }
    }
    [fcntl] input_is_told(k) {
        let (a, b) = pair(k);
        k.catch(SIGIO, 0).unwrap();
        k.fcntl(a, F_SETOWN, k.getpid() as u64).unwrap();
        k.fcntl(a, F_SETFL, u64::from(O_ASYNC)).unwrap();
        k.write(b, b"x").unwrap();
        comes(k, SIGIO);
    }
    [fcntl] nothing_is_told_without_an_owner(k) {
        let (a, b) = pair(k);
        k.catch(SIGIO, 0).unwrap();
        k.fcntl(a, F_SETFL, u64::from(O_ASYNC)).unwrap();
        k.write(b, b"x").unwrap();
        assert!(stays_away(k, SIGIO));
    }
    [fcntl] nothing_is_told_without_the_flag(k) {
        let (a, b) = pair(k);
        k.catch(SIGIO, 0).unwrap();
        k.fcntl(a, F_SETOWN, k.getpid() as u64).unwrap();
        k.write(b, b"x").unwrap();
        assert!(stays_away(k, SIGIO));
    }
    [fcntl] signal_of_choice_says_the_descriptor(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.catch(SIGUSR1, 0).unwrap();
        k.fcntl(reader, F_SETOWN, k.getpid() as u64).unwrap();
        k.fcntl(reader, F_SETSIG, SIGUSR1.into()).unwrap();
        k.fcntl(reader, F_SETFL, u64::from(O_ASYNC)).unwrap();
        k.write(writer, b"x").unwrap();
        comes(k, SIGUSR1);
        let (_, code, value) = k.caught(SIGUSR1);
        assert_eq!((code, value as i32), (1, reader), "POLL_IN");
    }
    [fcntl] end_of_a_pipe_is_told(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.catch(SIGIO, 0).unwrap();
        k.fcntl(reader, F_SETOWN, k.getpid() as u64).unwrap();
        k.fcntl(reader, F_SETFL, u64::from(O_ASYNC)).unwrap();
        k.close(writer).unwrap();
        comes(k, SIGIO);
    }
    [fcntl] switched_off_again(k) {
        let (a, b) = pair(k);
        k.catch(SIGIO, 0).unwrap();
        k.fcntl(a, F_SETOWN, k.getpid() as u64).unwrap();
        k.fcntl(a, F_SETFL, u64::from(O_ASYNC)).unwrap();
        k.fcntl(a, F_SETFL, u64::from(O_NONBLOCK)).unwrap();
        k.write(b, b"x").unwrap();
        assert!(stays_away(k, SIGIO));
    }
    [fcntl] another_process_is_told(k) {
        let (a, b) = pair(k);
        let child = k.child(|| {
            k.catch(SIGIO, 0).unwrap();
            k.write(b, b"r").unwrap();
            until(k, || k.caught(SIGIO).0 > 0);
            0
        });
        k.read_some(a, 1).unwrap();
        k.fcntl(a, F_SETOWN, child.pid as u64).unwrap();
        k.fcntl(a, F_SETFL, u64::from(O_ASYNC)).unwrap();
        k.write(b, b"x").unwrap();
        assert_eq!(k.status(child), 0);
    }
    [fcntl] flag_is_ignored_for_files(k) {
        let fd = k.file("f", b"");
        k.fcntl(fd, F_SETFL, u64::from(O_ASYNC)).unwrap();
        assert_eq!(k.fcntl(fd, 3, 0).unwrap() as u32 & O_ASYNC, 0);
    }
    [fcntl, sendto] urgent_data_is_told_to_the_owner(k) {
        let (a, b) = pair(k);
        k.catch(SIGURG, 0).unwrap();
        k.fcntl(a, F_SETOWN, k.getpid() as u64).unwrap();
        call!(k, SENDTO, b, b"u", 1, 1, Arg::Null, 0).unwrap();
        comes(k, SIGURG);
    }
}
