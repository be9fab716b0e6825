//! Calls that a handler interrupts: which fail with `EINTR`, and which go on with `SA_RESTART` (`signal(7)`).

use chitin_abi::signal::{SA_RESTART, SIG_IGN, SIGALRM, SIGCONT, SIGSTOP, SIGUSR2};
use chitin_abi::{Errno as E, Result};

use super::super::support::{
    MS, WNOHANG, WUNTRACED, asleep, bit, born, end, fd, i32_at, now, ok, peek, pester, shared,
    sleeper, stat_fields, timespec, until, when_asleep, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, fails, tests};

/// The call fails with EINTR when the handler has no `SA_RESTART`.
fn interrupted(k: &dyn Kernel, call: impl FnOnce() -> Result<u64>) {
    k.catch(SIGALRM, 0).unwrap();
    let other = pester(k, SIGALRM);
    fails(call(), E::EINTR);
    assert!(k.caught(SIGALRM).0 > 0);
    end(k, other);
}

/// The call fails with EINTR even when the handler has `SA_RESTART`.
fn never_restarted(k: &dyn Kernel, call: impl FnOnce() -> Result<u64>) {
    k.catch(SIGALRM, SA_RESTART).unwrap();
    let other = pester(k, SIGALRM);
    fails(call(), E::EINTR);
    end(k, other);
}

/// The call goes on behind a handler with `SA_RESTART`, and fails with EINTR behind one without.
fn restarted(k: &dyn Kernel, call: impl FnOnce() -> Result<u64>) {
    k.catch(SIGALRM, SA_RESTART).unwrap();
    k.catch(SIGUSR2, 0).unwrap();
    let parent = k.getpid();
    let other = when_asleep(k, || {
        k.kill(parent, SIGALRM).unwrap();
        k.sleep_ms(50);
        loop {
            k.kill(parent, SIGUSR2).unwrap();
            k.sleep_ms(20);
        }
    });
    fails(call(), E::EINTR);
    assert_eq!((k.caught(SIGALRM).0, k.caught(SIGUSR2).0 > 0), (1, true));
    end(k, other);
}

/// The call, which sleeps for so many milliseconds, sleeps on while it is stopped, continued and sent an ignored
/// signal. On a busy machine it may be over before that; then it is to sleep for longer.
fn undisturbed(k: &dyn Kernel, call: impl Fn(i64) -> bool) {
    k.set_action(SIGALRM, SIG_IGN).unwrap();
    for length in [120, 1000, 8000] {
        let start = now(k, 1);
        let child = k.child(|| i32::from(!call(length)));
        until(k, || matches!(stat_fields(k, &child.pid.to_string())[0].as_str(), "S" | "Z"));
        k.kill(child.pid, SIGALRM).unwrap();
        k.kill(child.pid, SIGSTOP).unwrap();
        let (_, status) = k.wait4(child.pid, WUNTRACED).unwrap();
        if status == 0 {
            continue;
        }
        assert_eq!(status, 0x137f);
        k.kill(child.pid, SIGCONT).unwrap();
        assert_eq!(k.status(child), 0);
        assert!(now(k, 1) - start >= length * MS);
        return;
    }
    panic!("it was never stopped in time");
}

fn pipe(k: &dyn Kernel) -> (Fd, Fd) {
    k.pipe2(0).unwrap()
}

/// A pipe's write end that is full.
fn full(k: &dyn Kernel) -> Fd {
    let (_, writer) = pipe(k);
    k.fcntl(writer, 4, 0o4000).unwrap();
    while k.write(writer, &[0; 4096]).is_ok() {}
    k.fcntl(writer, 4, 0).unwrap();
    writer
}

fn pair(k: &dyn Kernel) -> Fd {
    let mut fds = [0_u8; 8];
    call!(k, SOCKETPAIR, 1, 1, 0, &mut fds).unwrap();
    i32_at(&fds, 0)
}

fn listener(k: &dyn Kernel) -> Fd {
    let socket = fd(call!(k, SOCKET, 1, 1, 0));
    call!(k, BIND, socket, b"\x01\x00sock", 6).unwrap();
    call!(k, LISTEN, socket, 5).unwrap();
    socket
}

fn epoll(k: &dyn Kernel) -> Fd {
    fd(call!(k, EPOLL_CREATE1, 0))
}

fn msgqueue(k: &dyn Kernel) -> u64 {
    call!(k, MSGGET, 0, 0o600).unwrap()
}

fn semaphore(k: &dyn Kernel) -> u64 {
    call!(k, SEMGET, 0, 1, 0o600).unwrap()
}

fn mqueue(k: &dyn Kernel) -> Fd {
    let name = format!("restart-{}\0", now(k, 1));
    let fd = fd(call!(
        k,
        MQ_OPEN,
        name.as_bytes(),
        0o102,
        0o600,
        words([0, 1, 8, 0, 0, 0, 0, 0]).as_slice()
    ));
    call!(k, MQ_UNLINK, name.as_bytes()).unwrap();
    fd
}

/// A whole-file lock that another process holds; the file and the holder.
fn locked(k: &dyn Kernel, how: impl Fn(Fd)) -> (Fd, crate::suite::Child) {
    let file = k.file("lock", b"x");
    let done = shared(k, 1);
    let holder = k.child(|| {
        let own = k.open("lock", 2, 0).unwrap();
        how(own);
        done.set(0, 1);
        loop {
            k.sleep_ms(1000);
        }
    });
    until(k, || done.get(0) == 1);
    (file, holder)
}

const WRITE_LOCK: [u64; 4] = [1, 0, 0, 0];
const LONG: i64 = 20_000 * MS;

tests! { "restart", "signal(7)";
    [read] read_of_a_pipe_is_interrupted(k) needs Native { let (reader, _writer) = pipe(k); interrupted(k, || k.read(reader, &mut [0]).map(|n| n as u64)); }
    [read] read_of_a_pipe_restarts(k) needs Native { let (reader, _writer) = pipe(k); restarted(k, || k.read(reader, &mut [0]).map(|n| n as u64)); }
    [write] write_to_a_full_pipe_is_interrupted(k) needs Native { let writer = full(k); interrupted(k, || k.write(writer, &[0]).map(|n| n as u64)); }
    [write] write_to_a_full_pipe_restarts(k) needs Native { let (reader, writer) = pipe(k); let _ = reader; while k.ready(writer, 4) != 0 { k.write(writer, &[0; 4096]).unwrap(); } restarted(k, || k.write(writer, &[0]).map(|n| n as u64)); }
    [write] interrupted_write_tells_what_was_written(k) needs Native {
        let (_reader, writer) = pipe(k);
        k.catch(SIGALRM, SA_RESTART).unwrap();
        let other = pester(k, SIGALRM);
        assert_eq!(k.write(writer, &[0; 200_000]), Ok(65536));
        end(k, other);
    }
    [readv] readv_restarts(k) needs Native { let (reader, _writer) = pipe(k); let byte = [0_u8]; restarted(k, || call!(k, READV, reader, words([byte.as_ptr() as u64, 1]).as_slice(), 1)); }
    [recvfrom] recv_is_interrupted(k) needs Native { let socket = pair(k); interrupted(k, || call!(k, RECVFROM, socket, &mut [0_u8], 1, 0, 0, 0)); }
    [recvfrom] recv_restarts(k) needs Native { let socket = pair(k); restarted(k, || call!(k, RECVFROM, socket, &mut [0_u8], 1, 0, 0, 0)); }
    [recvfrom, setsockopt] recv_with_a_timeout_never_restarts(k) needs Native { let socket = pair(k); call!(k, SETSOCKOPT, socket, 1, 20, words([20, 0]).as_slice(), 16).unwrap(); never_restarted(k, || call!(k, RECVFROM, socket, &mut [0_u8], 1, 0, 0, 0)); }
    [accept4] accept_is_interrupted(k) needs Native { let socket = listener(k); interrupted(k, || call!(k, ACCEPT4, socket, Arg::Null, Arg::Null, 0)); }
    [accept4] accept_restarts(k) needs Native { let socket = listener(k); restarted(k, || call!(k, ACCEPT4, socket, Arg::Null, Arg::Null, 0)); }
    [openat] open_of_a_fifo_is_interrupted(k) needs Native { call!(k, MKNOD, c"fifo", 0o010_600, 0).unwrap(); interrupted(k, || call!(k, OPENAT, -100, c"fifo", 0)); }
    [openat] open_of_a_fifo_restarts(k) needs Native { call!(k, MKNOD, c"fifo", 0o010_600, 0).unwrap(); restarted(k, || call!(k, OPENAT, -100, c"fifo", 1)); }
    [fcntl] lock_of_a_record_is_interrupted(k) needs Native { let (file, holder) = locked(k, |own| ok(call!(k, FCNTL, own, 6, words(WRITE_LOCK).as_slice()))); interrupted(k, || call!(k, FCNTL, file, 7, words(WRITE_LOCK).as_slice())); end(k, holder); }
    [fcntl] lock_of_a_record_restarts(k) needs Native { let (file, holder) = locked(k, |own| ok(call!(k, FCNTL, own, 6, words(WRITE_LOCK).as_slice()))); restarted(k, || call!(k, FCNTL, file, 7, words(WRITE_LOCK).as_slice())); end(k, holder); }
    [flock] flock_is_interrupted(k) needs Native { let (file, holder) = locked(k, |own| ok(call!(k, FLOCK, own, 2))); interrupted(k, || call!(k, FLOCK, file, 2)); end(k, holder); }
    [flock] flock_restarts(k) needs Native { let (file, holder) = locked(k, |own| ok(call!(k, FLOCK, own, 2))); restarted(k, || call!(k, FLOCK, file, 2)); end(k, holder); }
    [wait4] wait4_restarts(k) needs Native { let child = sleeper(k); restarted(k, || k.wait4(child.pid, 0).map(|_| 0)); end(k, child); }
    [waitid] waitid_restarts(k) needs Native { let child = sleeper(k); restarted(k, || call!(k, WAITID, 1, child.pid, Arg::Null, 4, Arg::Null)); end(k, child); }
    [futex] futex_wait_is_interrupted(k) needs Native { let memory = shared(k, 1); interrupted(k, || call!(k, FUTEX, memory.address(), 0, 0, Arg::Null, 0, 0)); }
    [futex] futex_wait_restarts(k) needs Native { let memory = shared(k, 1); restarted(k, || call!(k, FUTEX, memory.address(), 0, 0, Arg::Null, 0, 0)); }
    [futex] private_futex_wait_restarts(k) needs Native { let memory = shared(k, 1); restarted(k, || call!(k, FUTEX, memory.address(), 128, 0, Arg::Null, 0, 0)); }
    [futex] futex_wait_with_a_timeout_never_restarts(k) needs Native { let memory = shared(k, 1); never_restarted(k, || call!(k, FUTEX, memory.address(), 0, 0, timespec(LONG).as_slice(), 0, 0)); }
    [futex] futex_wait_bitset_until_a_time_never_restarts(k) needs Native { let (memory, until) = (shared(k, 1), now(k, 1) + LONG); never_restarted(k, || call!(k, FUTEX, memory.address(), 9, 0, timespec(until).as_slice(), 0, u32::MAX)); }
    [futex_waitv] futex_waitv_is_interrupted(k) needs Native { let memory = shared(k, 1); let waiter = words([0, memory.address(), 2]); interrupted(k, || call!(k, FUTEX_WAITV, waiter.as_slice(), 1, 0, Arg::Null, 0)); }
    [semop] semop_never_restarts(k) needs Native { let id = semaphore(k); never_restarted(k, || call!(k, SEMOP, id, &[0_u8, 0, 255, 255, 0, 0], 1)); call!(k, SEMCTL, id, 0, 0).unwrap(); }
    [msgrcv] msgrcv_never_restarts(k) needs Native { let id = msgqueue(k); never_restarted(k, || call!(k, MSGRCV, id, &mut [0_u8; 16], 8, 0, 0)); call!(k, MSGCTL, id, 0, 0).unwrap(); }
    [msgsnd] msgsnd_never_restarts(k) needs Native {
        let id = msgqueue(k);
        let message = [1_u8; 8200];
        while call!(k, MSGSND, id, &message, 4096, 0o4000).is_ok() {}
        never_restarted(k, || call!(k, MSGSND, id, &message, 4096, 0));
        call!(k, MSGCTL, id, 0, 0).unwrap();
    }
    [mq_timedreceive] mq_receive_restarts(k) needs Native { let queue = mqueue(k); restarted(k, || call!(k, MQ_TIMEDRECEIVE, queue, &mut [0_u8; 8], 8, Arg::Null, Arg::Null)); }
    [mq_timedsend] mq_send_restarts(k) needs Native { let queue = mqueue(k); call!(k, MQ_TIMEDSEND, queue, b"x", 1, 0, Arg::Null).unwrap(); restarted(k, || call!(k, MQ_TIMEDSEND, queue, b"x", 1, 0, Arg::Null)); }
    [poll] poll_never_restarts(k) needs Native { never_restarted(k, || k.poll(&mut [], -1)); }
    [poll] poll_with_a_timeout_never_restarts(k) needs Native { never_restarted(k, || k.poll(&mut [], 20_000)); }
    [ppoll] ppoll_never_restarts(k) needs Native { never_restarted(k, || call!(k, PPOLL, Arg::Null, 0, Arg::Null, Arg::Null, 8)); }
    [select] select_never_restarts(k) needs Native { never_restarted(k, || call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, Arg::Null)); }
    [pselect6] pselect_never_restarts(k) needs Native { never_restarted(k, || call!(k, PSELECT6, 0, Arg::Null, Arg::Null, Arg::Null, timespec(LONG).as_slice(), Arg::Null)); }
    [pselect6] interrupted_pselect_tells_the_rest(k) needs Native {
        let mut time: [u8; 16] = timespec(LONG).try_into().unwrap();
        never_restarted(k, || call!(k, PSELECT6, 0, Arg::Null, Arg::Null, Arg::Null, &mut time, Arg::Null));
        assert!((10..20).contains(&time[0]));
    }
    [epoll_wait] epoll_wait_never_restarts(k) needs Native { let epoll = epoll(k); never_restarted(k, || call!(k, EPOLL_WAIT, epoll, &mut [0_u8; 12], 1, -1)); }
    [epoll_pwait2] epoll_pwait2_never_restarts(k) needs Native { let epoll = epoll(k); never_restarted(k, || call!(k, EPOLL_PWAIT2, epoll, &mut [0_u8; 12], 1, timespec(LONG).as_slice(), Arg::Null, 8)); }
    [pause] pause_never_restarts(k) needs Native { never_restarted(k, || call!(k, PAUSE)); }
    [rt_sigsuspend] sigsuspend_never_restarts(k) needs Native { never_restarted(k, || call!(k, RT_SIGSUSPEND, &[0_u8; 8], 8)); }
    [rt_sigtimedwait] sigtimedwait_never_restarts(k) needs Native { never_restarted(k, || call!(k, RT_SIGTIMEDWAIT, &bit(40).to_ne_bytes(), Arg::Null, Arg::Null, 8)); }
    [nanosleep] nanosleep_never_restarts(k) needs Native { never_restarted(k, || call!(k, NANOSLEEP, timespec(LONG).as_slice(), Arg::Null)); }
    [clock_nanosleep] clock_nanosleep_never_restarts(k) needs Native { never_restarted(k, || call!(k, CLOCK_NANOSLEEP, 1, 0, timespec(LONG).as_slice(), Arg::Null)); }
    [clock_nanosleep] absolute_clock_nanosleep_never_restarts(k) needs Native { let until = now(k, 0) + LONG; never_restarted(k, || call!(k, CLOCK_NANOSLEEP, 0, 1, timespec(until).as_slice(), Arg::Null)); }
    [clock_nanosleep] absolute_sleep_leaves_the_rest_alone(k) needs Native {
        let (until, mut rest) = (now(k, 1) + LONG, [7_u8; 16]);
        never_restarted(k, || call!(k, CLOCK_NANOSLEEP, 1, 1, timespec(until).as_slice(), &mut rest));
        assert_eq!(rest, [7; 16]);
    }
    [clock_nanosleep] relative_sleep_tells_the_rest(k) needs Native {
        let mut rest = [7_u8; 16];
        never_restarted(k, || call!(k, CLOCK_NANOSLEEP, 1, 0, timespec(LONG).as_slice(), &mut rest));
        assert!((10..20).contains(&rest[0]));
    }
    [io_getevents] io_getevents_is_interrupted(k) needs Native {
        let mut context = [0_u8; 8];
        call!(k, IO_SETUP, 4, &mut context).unwrap();
        interrupted(k, || call!(k, IO_GETEVENTS, u64::from_ne_bytes(context), 1, 1, &mut [0_u8; 32], Arg::Null));
    }
    [read, eventfd2] read_of_an_eventfd_restarts(k) needs Native { let event = fd(call!(k, EVENTFD2, 0, 0)); restarted(k, || call!(k, READ, event, &mut [0_u8; 8], 8)); }
    [read, timerfd_create] read_of_a_timerfd_restarts(k) needs Native { let timer = fd(call!(k, TIMERFD_CREATE, 1, 0)); restarted(k, || call!(k, READ, timer, &mut [0_u8; 8], 8)); }
    [read, inotify_init1] read_of_inotify_restarts(k) needs Native { let watch = fd(call!(k, INOTIFY_INIT1, 0)); restarted(k, || call!(k, READ, watch, &mut [0_u8; 64], 64)); }
    [read, signalfd4] read_of_a_signalfd_restarts(k) needs Native { let signals = fd(call!(k, SIGNALFD4, -1, &bit(40).to_ne_bytes(), 8, 0)); restarted(k, || call!(k, READ, signals, &mut [0_u8; 128], 128)); }
    [vfork, clone] fork_is_never_interrupted(k) needs Native {
        k.catch(SIGALRM, 0).unwrap();
        let other = pester(k, SIGALRM);
        for _ in 0..20 { let child = k.child(|| 0); until(k, || k.wait4(child.pid, 0).is_ok()); }
        end(k, other);
    }
    [poll] poll_is_not_disturbed_by_a_stop(k) needs Native { undisturbed(k, |ms| k.poll(&mut [], ms as i32) == Ok(0)); }
    [select] select_is_not_disturbed_by_a_stop(k) needs Native { undisturbed(k, |ms| call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, words([0, ms as u64 * 1000]).as_slice()) == Ok(0)); }
    [epoll_wait] epoll_wait_is_not_disturbed_by_ignored_signals(k) needs Native { k.set_action(SIGALRM, SIG_IGN).unwrap(); let (epoll, other) = (epoll(k), pester(k, SIGALRM)); assert_eq!(call!(k, EPOLL_WAIT, epoll, &mut [0_u8; 12], 1, 100), Ok(0)); end(k, other); }
    [clock_nanosleep] sleep_is_not_disturbed_by_a_stop(k) needs Native { undisturbed(k, |ms| call!(k, CLOCK_NANOSLEEP, 1, 0, timespec(ms * MS).as_slice(), Arg::Null) == Ok(0)); }
    [futex] futex_is_not_disturbed_by_a_stop(k) needs Native { let memory = shared(k, 1); undisturbed(k, |ms| call!(k, FUTEX, memory.address(), 0, 0, timespec(ms * MS).as_slice(), 0, 0) == Err(E::ETIMEDOUT)); assert_eq!(peek(&*memory, 0), 0); }
    [rt_sigtimedwait] sigtimedwait_is_ended_by_a_stop(k) needs Native {
        k.set_action(SIGALRM, SIG_IGN).unwrap();
        let child = k.child(|| i32::from(call!(k, RT_SIGTIMEDWAIT, &bit(40).to_ne_bytes(), Arg::Null, timespec(LONG).as_slice(), 8) != Err(E::EINTR)));
        asleep(k, child);
        k.kill(child.pid, SIGALRM).unwrap();
        k.sleep_ms(20);
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)), "an ignored signal does not end it");
        k.kill(child.pid, SIGSTOP).unwrap();
        assert_eq!(k.wait4(child.pid, WUNTRACED), Ok((child.pid, 0x137f)));
        k.kill(child.pid, SIGCONT).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [restart_syscall] alone_it_is_interrupted(k) needs Native { fails(call!(k, RESTART_SYSCALL), E::EINTR); }
    [clone, kill] born_is_usable_with_a_handler(k) needs Native { k.catch(SIGALRM, 0).unwrap(); let child = born(k, call!(k, CLONE, 17, 0, 0, 0, 0), || { k.kill(k.getpid(), SIGALRM).unwrap(); k.caught(SIGALRM).0 as i32 }).unwrap(); assert_eq!(k.status(child), 1 << 8); }
}
