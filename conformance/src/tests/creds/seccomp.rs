//! Filters of system calls: `seccomp(2)`, `seccomp_unotify(2)`.

use std::sync::atomic::{AtomicBool, Ordering};

use chitin_abi::poll::{POLLHUP, POLLIN, POLLOUT};
use chitin_abi::signal::{SIGSYS, SIGUSR1};
use chitin_abi::{Errno as E, Result, nr};

use super::super::support::{as_user, end, fd, i32_at, ok, status_of, u64_at, until, words};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, Threads, fails, tests};

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x5_0000;
const TRAP: u32 = 0x3_0000;
const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const LISTENER: u32 = 8;
const RECV: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const VALID: u32 = 0x4008_2102;
const ADDFD: u32 = 0x4018_2103;

/// One instruction.
const fn op(code: u16, jump_true: u8, jump_false: u8, value: u32) -> u64 {
    code as u64 | (jump_true as u64) << 16 | (jump_false as u64) << 24 | (value as u64) << 32
}

/// A filter that says `action` of one call and allows the others.
fn filter(number: u64, action: u32) -> Vec<u8> {
    words([
        op(0x20, 0, 0, 0),
        op(0x15, 0, 1, number as u32),
        op(6, 0, 0, action),
        op(6, 0, 0, ALLOW),
    ])
}

fn install(k: &dyn Kernel, program: &[u8], flags: u32) -> Result<u64> {
    ok(call!(k, PRCTL, 38, 1, 0, 0, 0));
    call!(
        k,
        SECCOMP,
        1,
        flags,
        words([(program.len() / 8) as u64, program.as_ptr() as u64]).as_slice()
    )
}

fn forbid(k: &dyn Kernel, number: u64, action: u32) {
    ok(install(k, &filter(number, action), 0));
}

/// A child whose `getppid` asks the listener that is returned; it exits with 0 if `judge` likes the result.
fn supervised(k: &dyn Kernel, judge: impl Fn(Result<u64>) -> bool) -> (crate::suite::Child, Fd) {
    let mut pair = [0_u8; 8];
    ok(call!(k, SOCKETPAIR, 1, 1, 0, &mut pair));
    let child = k.child(|| {
        let listener = install(k, &filter(nr::GETPPID, NOTIFY), LISTENER).unwrap();
        ok(k.write(i32_at(&pair, 4), &listener.to_ne_bytes()));
        i32::from(!judge(call!(k, GETPPID)))
    });
    let number = u64_at(&k.read_some(i32_at(&pair, 0), 8).unwrap(), 0);
    let pidfd = fd(call!(k, PIDFD_OPEN, child.pid, 0));
    (child, fd(call!(k, PIDFD_GETFD, pidfd, number, 0)))
}

/// Cookie, pid and number of the next call.
fn receive(k: &dyn Kernel, listener: Fd) -> Result<(u64, i32, i32)> {
    let mut request = [0_u8; 80];
    call!(k, IOCTL, listener, RECV, &mut request)?;
    Ok((u64_at(&request, 0), i32_at(&request, 8), i32_at(&request, 16)))
}

fn answer(
    k: &dyn Kernel,
    listener: Fd,
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
) -> Result<u64> {
    let mut response = words([
        id,
        value.cast_unsigned(),
        u64::from(error.cast_unsigned()) | u64::from(flags) << 32,
    ]);
    call!(k, IOCTL, listener, SEND, response.as_mut_slice())
}

/// What `getppid` says on a thread that is older than a filter, and on the one that installed it.
fn behind_a_filter(k: &dyn Kernel, install: impl FnOnce()) -> (Result<u64>, Result<u64>) {
    let (runs, done) = (AtomicBool::new(false), AtomicBool::new(false));
    k.beside(
        || {
            runs.store(true, Ordering::SeqCst);
            until(k, || done.load(Ordering::SeqCst));
            call!(k, GETPPID)
        },
        || {
            until(k, || runs.load(Ordering::SeqCst));
            install();
            done.store(true, Ordering::SeqCst);
            call!(k, GETPPID)
        },
    )
}

tests! { "seccomp", "seccomp(2)";
    [seccomp] unknown_operations_and_flags(k) needs Native { fails(call!(k, SECCOMP, 9, 0, Arg::Null), E::EINVAL); fails(call!(k, SECCOMP, 0, 1, Arg::Null), E::EINVAL); fails(call!(k, SECCOMP, 0, 0, c"x"), E::EINVAL); fails(install(k, &filter(0, ALLOW), 1 << 10), E::EINVAL); }
    [seccomp] pointers(k) needs Native { ok(call!(k, PRCTL, 38, 1, 0, 0, 0)); fails(call!(k, SECCOMP, 1, 0, Arg::Bad), E::EFAULT); fails(call!(k, SECCOMP, 1, 0, words([4, 16]).as_slice()), E::EFAULT); fails(call!(k, SECCOMP, 2, 0, Arg::Bad), E::EFAULT); }
    [seccomp] needs_no_new_privileges_or_a_capability(k) needs Root, Native { as_user(k, || { let program = filter(nr::GETPPID, ALLOW); fails(call!(k, SECCOMP, 1, 0, words([4, program.as_ptr() as u64]).as_slice()), E::EACCES); ok(install(k, &program, 0)); }); }
    [seccomp] programs_are_checked(k) needs Native { for bad in [words([op(0x20, 0, 0, 1), op(6, 0, 0, ALLOW)]), words([op(0x20, 0, 0, 64), op(6, 0, 0, ALLOW)]), words([op(0x15, 5, 5, 0), op(6, 0, 0, ALLOW)]), words([op(6, 0, 0, ALLOW), op(0x20, 0, 0, 0)]), words([op(0x28, 0, 0, 0), op(6, 0, 0, ALLOW)]), words([op(0x34, 0, 0, 0), op(6, 0, 0, ALLOW)]), words([op(0xffff, 0, 0, 0), op(6, 0, 0, ALLOW)])] { fails(install(k, &bad, 0), E::EINVAL); } fails(install(k, &[], 0), E::EINVAL); }
    [seccomp] error_as_said(k) needs Native { forbid(k, nr::GETPPID, ERRNO | 77); fails(call!(k, GETPPID), E::from_raw(77)); assert!(k.getpid() > 0); }
    [seccomp] error_zero_succeeds_with_zero(k) needs Native { forbid(k, nr::GETPPID, ERRNO); assert_eq!(call!(k, GETPPID), Ok(0)); }
    [seccomp] errors_are_capped(k) needs Native { forbid(k, nr::GETPPID, ERRNO | 0xffff); fails(call!(k, GETPPID), E::from_raw(4095)); }
    [seccomp] log_lets_through(k) needs Native { let parent = call!(k, GETPPID); forbid(k, nr::GETPPID, LOG); assert_eq!(call!(k, GETPPID), parent); }
    [seccomp] trap_signals(k) needs Native { ok(k.catch(SIGSYS, 0)); forbid(k, nr::GETPPID, TRAP | 5); let _ = call!(k, GETPPID); assert_eq!((k.caught(SIGSYS).0, k.caught(SIGSYS).1), (1, 1)); }
    [seccomp] trap_without_a_handler_kills(k) needs Native { let child = k.child(|| { forbid(k, nr::GETPPID, TRAP); let _ = call!(k, GETPPID); 0 }); assert_eq!(k.status(child) & 0x7f, SIGSYS as i32); }
    [seccomp] trace_without_a_tracer(k) needs Native { forbid(k, nr::GETPPID, TRACE); fails(call!(k, GETPPID), E::ENOSYS); }
    [seccomp] notify_without_a_listener(k) needs Native { forbid(k, nr::GETPPID, NOTIFY); fails(call!(k, GETPPID), E::ENOSYS); }
    [seccomp] kill_of_a_single_thread_ends_the_process(k) needs Native { for action in [KILL_THREAD, KILL_PROCESS, 0x1_0000] { let child = k.child(|| { forbid(k, nr::GETPPID, action); let _ = call!(k, GETPPID); 0 }); assert_eq!(k.status(child) & 0x7f, SIGSYS as i32); } }
    [seccomp] strongest_action_wins(k) needs Native { forbid(k, nr::GETPPID, ERRNO | 1); forbid(k, nr::GETPPID, LOG); forbid(k, nr::GETPPID, ERRNO | 2); fails(call!(k, GETPPID), E::from_raw(2)); }
    [seccomp, fork] children_inherit(k) needs Native { forbid(k, nr::GETPPID, ERRNO | 1); k.apart(|| fails(call!(k, GETPPID), E::EPERM)); }
    [seccomp] other_threads_do_not(k) needs Native {
        let parent = call!(k, GETPPID).unwrap();
        let (other, own) = behind_a_filter(k, || forbid(k, nr::GETPPID, ERRNO | 1));
        assert_eq!((other, own), (Ok(parent), Err(E::EPERM)));
    }
    [seccomp] unless_they_are_synchronized(k) needs Native {
        let found = behind_a_filter(k, || assert_eq!(install(k, &filter(nr::GETPPID, ERRNO | 1), 1), Ok(0)));
        assert_eq!(found, (Err(E::EPERM), Err(E::EPERM)));
    }
    [seccomp] arguments_can_be_looked_at(k) needs Native { let program = words([op(0x20, 0, 0, 16), op(0x15, 0, 1, 77), op(6, 0, 0, ERRNO | 9), op(6, 0, 0, ALLOW)]); ok(install(k, &program, 0)); fails(call!(k, CLOSE, 77), E::EBADF); fails(call!(k, GETPGID, 77), E::EBADF); ok(call!(k, GETPGID, 0)); }
    [seccomp] architecture_is_told(k) needs Native { let program = words([op(0x20, 0, 0, 4), op(0x15, 1, 0, 0xc000_003e), op(6, 0, 0, KILL_PROCESS), op(6, 0, 0, ALLOW)]); ok(install(k, &program, 0)); ok(call!(k, GETPPID)); }
    [seccomp] actions_that_are_there(k) needs Native { for action in [ALLOW, LOG, TRACE, NOTIFY, ERRNO, TRAP, KILL_THREAD, KILL_PROCESS] { assert_eq!(call!(k, SECCOMP, 2, 0, &action.to_ne_bytes()), Ok(0), "{action:#x}"); } fails(call!(k, SECCOMP, 2, 0, &0x1234_0000_u32.to_ne_bytes()), E::EOPNOTSUPP); fails(call!(k, SECCOMP, 2, 1, &ALLOW.to_ne_bytes()), E::EINVAL); }
    [seccomp] sizes_of_notifications(k) needs Native { let mut sizes = [0; 6]; ok(call!(k, SECCOMP, 3, 0, &mut sizes)); assert_eq!(sizes, [80, 0, 24, 0, 64, 0]); }
    [prctl, seccomp] mode_is_told(k) needs Native { assert_eq!(call!(k, PRCTL, 21, 0, 0, 0, 0), Ok(0)); forbid(k, nr::GETPPID, ALLOW); assert_eq!(call!(k, PRCTL, 21, 0, 0, 0, 0), Ok(2)); assert_eq!((status_of(k, "self", "Seccomp").as_str(), status_of(k, "self", "Seccomp_filters").as_str()), ("2", "1")); }
    [seccomp] strict_mode_kills(k) needs Native { let child = k.child(|| { ok(call!(k, SECCOMP, 0, 0, Arg::Null)); let _ = call!(k, GETPPID); 0 }); assert_eq!(k.status(child) & 0x7f, 9); }
    [seccomp] strict_mode_allows_exit(k) needs Native { let child = k.child(|| { ok(call!(k, PRCTL, 22, 1, 0, 0, 0)); let _ = call!(k, EXIT, 4); 0 }); assert_eq!(k.status(child), 4 << 8); }
    [seccomp] filters_cannot_become_strict(k) needs Native { forbid(k, nr::GETPPID, ALLOW); fails(call!(k, SECCOMP, 0, 0, Arg::Null), E::EINVAL); }
    [seccomp, execve] filters_outlive_exec(k) needs Native { let child = k.child(|| { forbid(k, nr::MKDIR, ERRNO | 1); let _ = call!(k, EXECVE, c"/bin/mkdir", words([c"m".as_ptr() as u64, c"d".as_ptr() as u64, 0]).as_slice(), Arg::Null); 9 }); assert_eq!(k.status(child), 1 << 8); }
    [seccomp] listener_is_close_on_exec(k) needs Native { let listener = fd(install(k, &filter(nr::GETPPID, NOTIFY), LISTENER)); assert_eq!(k.fcntl(listener, 1, 0), Ok(1)); assert!(k.readlink(&format!("/proc/self/fd/{listener}")).unwrap().starts_with(b"anon_inode:")); }
    [seccomp] one_listener_for_all_filters(k) needs Native { ok(install(k, &filter(nr::GETPPID, NOTIFY), LISTENER)); fails(install(k, &filter(nr::GETPPID, NOTIFY), LISTENER), E::EBUSY); }
    [seccomp] listener_flags_exclude_each_other(k) needs Native { fails(install(k, &filter(nr::GETPPID, NOTIFY), LISTENER | 1), E::EINVAL); fails(install(k, &filter(nr::GETPPID, NOTIFY), 32), E::EINVAL); ok(install(k, &filter(nr::GETPPID, NOTIFY), LISTENER | 32)); }
    [ioctl] supervisor_answers(k) needs Native { let (child, listener) = supervised(k, |found| found == Ok(4242)); let (id, pid, number) = receive(k, listener).unwrap(); assert_eq!((pid, number as u64), (child.pid, nr::GETPPID)); ok(answer(k, listener, id, 4242, 0, 0)); assert_eq!(k.status(child), 0); }
    [ioctl] supervisor_fails_the_call(k) needs Native { let (child, listener) = supervised(k, |found| found == Err(E::EXDEV)); let (id, ..) = receive(k, listener).unwrap(); ok(answer(k, listener, id, 0, -18, 0)); assert_eq!(k.status(child), 0); }
    [ioctl] supervisor_lets_it_be_made(k) needs Native { let me = k.getpid() as u64; let (child, listener) = supervised(k, |found| found == Ok(me)); let (id, ..) = receive(k, listener).unwrap(); fails(answer(k, listener, id, 1, 0, 1), E::EINVAL); fails(answer(k, listener, id, 0, 0, 2), E::EINVAL); ok(answer(k, listener, id, 0, 0, 1)); assert_eq!(k.status(child), 0); }
    [ioctl] cookies_are_checked(k) needs Native { let (child, listener) = supervised(k, |found| found == Ok(1)); let (id, ..) = receive(k, listener).unwrap(); assert_eq!(call!(k, IOCTL, listener, VALID, &id.to_ne_bytes()), Ok(0)); fails(call!(k, IOCTL, listener, VALID, &(id + 1).to_ne_bytes()), E::ENOENT); fails(answer(k, listener, id + 1, 0, 0, 0), E::ENOENT); ok(answer(k, listener, id, 1, 0, 0)); assert_eq!(k.status(child), 0); fails(answer(k, listener, id, 1, 0, 0), E::ENOENT); fails(call!(k, IOCTL, listener, VALID, &id.to_ne_bytes()), E::ENOENT); }
    [ioctl] request_memory_must_be_zero(k) needs Native { let (child, listener) = supervised(k, |found| found == Ok(1)); fails(call!(k, IOCTL, listener, RECV, &mut [1_u8; 80]), E::EINVAL); fails(call!(k, IOCTL, listener, RECV, Arg::Bad), E::EFAULT); let (id, ..) = receive(k, listener).unwrap(); ok(answer(k, listener, id, 1, 0, 0)); assert_eq!(k.status(child), 0); }
    [ioctl] unknown_requests(k) needs Native { let (child, listener) = supervised(k, |_| true); fails(call!(k, IOCTL, listener, 0x2109, 0), E::EINVAL); end(k, child); }
    [poll] readiness_of_a_listener(k) needs Native { let (child, listener) = supervised(k, |found| found == Ok(1)); until(k, || k.ready(listener, POLLIN) == POLLIN); let (id, ..) = receive(k, listener).unwrap(); assert_eq!(k.ready(listener, POLLIN | POLLOUT), POLLOUT); ok(answer(k, listener, id, 1, 0, 0)); assert_eq!(k.status(child), 0); until(k, || k.ready(listener, POLLIN) & POLLHUP != 0); fails(receive(k, listener), E::ENOENT); }
    [ioctl] killed_caller_takes_its_call_back(k) needs Native { let (child, listener) = supervised(k, |_| true); let (id, ..) = receive(k, listener).unwrap(); end(k, child); until(k, || answer(k, listener, id, 1, 0, 0) == Err(E::ENOENT)); }
    [close] closed_listener_fails_the_call(k) needs Native { let listener = fd(install(k, &filter(nr::GETPPID, NOTIFY), LISTENER)); ok(k.close(listener)); fails(call!(k, GETPPID), E::ENOSYS); }
    [ioctl] signal_interrupts_a_waiting_call(k) needs Native { let (child, listener) = supervised(k, |found| { let _ = found; true }); let _ = receive(k, listener).unwrap(); ok(k.kill(child.pid, SIGUSR1)); assert_eq!(k.status(child), SIGUSR1 as i32); }
    [ioctl] descriptors_can_be_put_into_the_caller(k) needs Native {
        let file = k.file("f", b"given");
        let (child, listener) = supervised(k, |found| found.is_ok_and(|fd| k.pread(fd as i32, &mut [0; 5], 0) == Ok(5)));
        let (id, ..) = receive(k, listener).unwrap();
        let request = |flags: u32, new: u32, new_flags: u32| words([id, u64::from(flags) | u64::from(file.cast_unsigned()) << 32, u64::from(new) | u64::from(new_flags) << 32]);
        fails(call!(k, IOCTL, listener, ADDFD, request(4, 0, 0).as_slice()), E::EINVAL);
        fails(call!(k, IOCTL, listener, ADDFD, request(0, 5, 0).as_slice()), E::EINVAL);
        fails(call!(k, IOCTL, listener, ADDFD, request(0, 0, 1).as_slice()), E::EINVAL);
        assert_eq!(call!(k, IOCTL, listener, ADDFD, request(1, 55, 0).as_slice()), Ok(55));
        let number = call!(k, IOCTL, listener, ADDFD, request(0, 0, 0o2_000_000).as_slice()).unwrap();
        ok(answer(k, listener, id, number.cast_signed(), 0, 0));
        assert_eq!(k.status(child), 0);
    }
    [ioctl] descriptor_and_answer_at_once(k) needs Native { let file = k.file("f", b"given"); let (child, listener) = supervised(k, |found| found.is_ok_and(|fd| k.pread(fd as i32, &mut [0; 5], 0) == Ok(5))); let (id, ..) = receive(k, listener).unwrap(); ok(call!(k, IOCTL, listener, ADDFD, words([id, 2 | u64::from(file.cast_unsigned()) << 32, 0]).as_slice())); assert_eq!(k.status(child), 0); }
}
