//! Tracing: `ptrace(2)`.

use chitin_abi::process::{
    PTRACE_ATTACH, PTRACE_CONT, PTRACE_DETACH, PTRACE_EVENT_EXIT, PTRACE_EVENT_FORK,
    PTRACE_EVENT_STOP, PTRACE_GET_SYSCALL_INFO, PTRACE_GETEVENTMSG, PTRACE_GETREGS,
    PTRACE_GETREGSET, PTRACE_GETSIGINFO, PTRACE_GETSIGMASK, PTRACE_INTERRUPT, PTRACE_LISTEN,
    PTRACE_O_EXITKILL, PTRACE_O_TRACEEXIT, PTRACE_O_TRACEFORK, PTRACE_O_TRACESYSGOOD,
    PTRACE_PEEKDATA, PTRACE_PEEKTEXT, PTRACE_PEEKUSR, PTRACE_POKETEXT, PTRACE_POKEUSR,
    PTRACE_SEIZE, PTRACE_SETOPTIONS, PTRACE_SETREGS, PTRACE_SINGLESTEP, PTRACE_SYSCALL,
    PTRACE_TRACEME,
};
use chitin_abi::signal::{SIG_IGN, SIGCONT, SIGKILL, SIGSTOP, SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2};
use chitin_abi::{Errno, Regs, Result, nr};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Child, Kernel, Processes, fails, tests};

const WNOHANG: u32 = 1;
const RAX: u32 = 10 * 8;
const ORIG_RAX: u32 = 15 * 8;

fn request(k: &dyn Kernel, op: u32, child: Child, addr: u32, data: u32) -> Result<u64> {
    call!(k, PTRACE, op, child.pid, addr, data)
}

fn word(k: &dyn Kernel, op: u32, child: Child, addr: u64) -> Result<u64> {
    let mut word = 0_u64;
    call!(k, PTRACE, op, child.pid, addr, word.as_mut_bytes())?;
    Ok(word)
}

/// The wait status of a stop with this signal and event.
const fn stopped(signal: u32, event: u32) -> i32 {
    (event << 16 | signal << 8 | 0x7f).cast_signed()
}

fn wait_for(k: &dyn Kernel, child: Child, status: i32) {
    assert_eq!(k.wait4(child.pid, 0x4000_0000), Ok((child.pid, status)));
}

/// A child that is traced by its parent, and has stopped itself before it runs `body`.
fn tracee(k: &dyn Kernel, mut body: impl FnMut() -> i32) -> Child {
    let child = k.child(|| {
        call!(k, PTRACE, PTRACE_TRACEME, 0, 0, 0).unwrap();
        k.kill(k.getpid(), SIGSTOP).unwrap();
        body()
    });
    wait_for(k, child, stopped(SIGSTOP, 0));
    child
}

/// A child that sleeps for long.
fn sleeper(k: &dyn Kernel) -> Child {
    k.child(|| {
        loop {
            k.sleep_ms(1000);
        }
    })
}

fn end(k: &dyn Kernel, child: Child) {
    k.kill(child.pid, SIGKILL).unwrap();
    assert_eq!(k.status(child), 9);
}

fn goes_on(k: &dyn Kernel, child: Child, signal: u32) {
    request(k, PTRACE_CONT, child, 0, signal).unwrap();
}

/// Lets the child run to the next entry or exit of a call.
fn next_call(k: &dyn Kernel, child: Child) {
    request(k, PTRACE_SYSCALL, child, 0, 0).unwrap();
    wait_for(k, child, stopped(SIGTRAP | 0x80, 0));
}

fn registers(k: &dyn Kernel, child: Child) -> Regs {
    let mut regs = Regs::default();
    call!(k, PTRACE, PTRACE_GETREGS, child.pid, 0, regs.as_mut_bytes()).unwrap();
    regs
}

tests! { "ptrace", "ptrace(2)";
    [ptrace] stop_is_reported_once_and_the_tracee_goes_on(k) {
        let child = tracee(k, || 7);
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)));
        let mut info = [0_u8; 128];
        call!(k, PTRACE, PTRACE_GETSIGINFO, child.pid, 0, &mut info).unwrap();
        assert_eq!(info[0], SIGSTOP as u8);
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 7 << 8);
    }
    [ptrace] tracer_chooses_the_signal(k) {
        for (signal, status) in [(0, 3 << 8), (SIGUSR1, 10), (SIGTERM, 15)] {
            let child = tracee(k, || { k.kill(k.getpid(), SIGUSR1).unwrap(); 3 });
            goes_on(k, child, 0);
            wait_for(k, child, stopped(SIGUSR1, 0));
            goes_on(k, child, signal);
            assert_eq!(k.status(child), status);
        }
    }
    [ptrace] ignored_signals_are_shown(k) {
        let child = tracee(k, || {
            k.set_action(SIGUSR2, SIG_IGN).unwrap();
            k.kill(k.getpid(), SIGUSR2).unwrap();
            0
        });
        goes_on(k, child, 0);
        wait_for(k, child, stopped(SIGUSR2, 0));
        goes_on(k, child, SIGUSR2);
        assert_eq!(k.status(child), 0);
    }
    [ptrace] blocked_signals_wait(k) {
        let child = tracee(k, || {
            k.set_mask(0, 1 << (SIGUSR1 - 1)).unwrap();
            k.kill(k.getpid(), SIGUSR1).unwrap();
            k.kill(k.getpid(), SIGUSR2).unwrap();
            0
        });
        goes_on(k, child, 0);
        wait_for(k, child, stopped(SIGUSR2, 0));
        let mut mask = 0_u64;
        call!(k, PTRACE, PTRACE_GETSIGMASK, child.pid, 8, mask.as_mut_bytes()).unwrap();
        assert_eq!(mask, 1 << (SIGUSR1 - 1));
        fails(call!(k, PTRACE, PTRACE_GETSIGMASK, child.pid, 4, mask.as_mut_bytes()), Errno::EINVAL);
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 0);
    }
    [ptrace] calls_stop_before_and_behind(k) {
        let child = tracee(k, || { call!(k, GETPPID).unwrap(); 0 });
        request(k, PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD).unwrap();
        loop {
            next_call(k, child);
            let mut info = [0_u8; 88];
            let size = call!(k, PTRACE, PTRACE_GET_SYSCALL_INFO, child.pid, 88, &mut info);
            assert_eq!((size, info[0]), (Ok(80), 1));
            let number = u64::from_ne_bytes(info[24..32].try_into().unwrap());
            assert_eq!(word(k, PTRACE_PEEKUSR, child, u64::from(ORIG_RAX)), Ok(number));
            assert_eq!(word(k, PTRACE_PEEKUSR, child, u64::from(RAX)), Ok(-38_i64 as u64));
            next_call(k, child);
            let size = call!(k, PTRACE, PTRACE_GET_SYSCALL_INFO, child.pid, 88, &mut info);
            assert_eq!((size, info[0], info[32]), (Ok(33), 2, 0));
            if number == nr::GETPPID {
                let result = u64::from_ne_bytes(info[24..32].try_into().unwrap());
                assert_eq!(result, k.getpid() as u64);
                break;
            }
        }
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 0);
    }
    [ptrace] call_is_replaced(k) {
        let child = tracee(k, || if call!(k, GETPPID) == Ok(77) { 4 } else { 5 });
        request(k, PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD).unwrap();
        loop {
            next_call(k, child);
            if registers(k, child).orig_rax == nr::GETPPID { break; }
            next_call(k, child);
        }
        call!(k, PTRACE, PTRACE_POKEUSR, child.pid, ORIG_RAX, -1_i64).unwrap();
        next_call(k, child);
        assert_eq!(registers(k, child).rax, -38_i64 as u64);
        let regs = Regs { rax: 77, ..registers(k, child) };
        call!(k, PTRACE, PTRACE_SETREGS, child.pid, 0, regs.as_bytes()).unwrap();
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 4 << 8);
    }
    [ptrace] code_can_be_written(k) {
        let child = tracee(k, || 0);
        let at = (stopped as fn(u32, u32) -> i32) as usize as u64;
        let before = word(k, PTRACE_PEEKTEXT, child, at).unwrap();
        call!(k, PTRACE, PTRACE_POKETEXT, child.pid, at, !before).unwrap();
        assert_eq!(word(k, PTRACE_PEEKDATA, child, at), Ok(!before));
        // The tracer's own copy stays.
        assert_eq!(stopped(SIGTRAP, 0), 0x57f);
        call!(k, PTRACE, PTRACE_POKETEXT, child.pid, at, before).unwrap();
        fails(word(k, PTRACE_PEEKDATA, child, 8), Errno::EIO);
        fails(call!(k, PTRACE, PTRACE_POKETEXT, child.pid, 8, 0), Errno::EIO);
        fails(call!(k, PTRACE, PTRACE_PEEKDATA, child.pid, at, Arg::Bad), Errno::EFAULT);
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 0);
    }
    [ptrace] memory_file_writes_code(k) {
        let child = tracee(k, || 0);
        let at = (stopped as fn(u32, u32) -> i32) as usize as u64;
        let before = word(k, PTRACE_PEEKTEXT, child, at).unwrap();
        let file = k.open(&format!("/proc/{}/mem", child.pid), 2, 0).unwrap();
        assert_eq!(k.pwrite(file, &[0xcc], at as i64), Ok(1));
        assert_eq!(word(k, PTRACE_PEEKTEXT, child, at), Ok(before & !0xff | 0xcc));
        fails(k.pwrite(file, &[0xcc], 8), Errno::EIO);
        end(k, child);
        assert_eq!(k.pwrite(file, &[0xcc], at as i64), Ok(0));
    }
    [ptrace] one_instruction(k) {
        let child = tracee(k, || 0);
        for _ in 0..20 {
            let before = registers(k, child).rip;
            request(k, PTRACE_SINGLESTEP, child, 0, 0).unwrap();
            wait_for(k, child, stopped(SIGTRAP, 0));
            let regs = registers(k, child);
            assert_ne!(regs.rip, before);
            assert_eq!(regs.eflags & 0x100, 0);
        }
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 0);
    }
    [ptrace] register_sets(k) {
        let child = tracee(k, || 0);
        let mut set = [0_u8; 4096];
        for (kind, size) in [(1_u32, 216_u64), (2, 512)] {
            let mut iovec = [set.as_mut_ptr() as u64, 4096];
            call!(k, PTRACE, PTRACE_GETREGSET, child.pid, kind, iovec.as_mut_bytes()).unwrap();
            assert_eq!(iovec[1], size);
        }
        let mut iovec = [set.as_mut_ptr() as u64, 4095];
        fails(call!(k, PTRACE, PTRACE_GETREGSET, child.pid, 1, iovec.as_mut_bytes()), Errno::EINVAL);
        fails(call!(k, PTRACE, PTRACE_GETREGSET, child.pid, 99, iovec.as_mut_bytes()), Errno::EINVAL);
        fails(word(k, PTRACE_PEEKUSR, child, 4), Errno::EIO);
        fails(word(k, PTRACE_PEEKUSR, child, 4096), Errno::EIO);
        end(k, child);
    }
    [ptrace] whom_and_what(k) {
        fails(call!(k, PTRACE, PTRACE_ATTACH, k.getpid(), 0, 0), Errno::EPERM);
        fails(call!(k, PTRACE, PTRACE_ATTACH, 4_000_000, 0, 0), Errno::ESRCH);
        let child = sleeper(k);
        fails(request(k, PTRACE_CONT, child, 0, 0), Errno::ESRCH);
        fails(request(k, PTRACE_INTERRUPT, child, 0, 0), Errno::ESRCH);
        fails(request(k, PTRACE_SEIZE, child, 1, 0), Errno::EIO);
        fails(request(k, PTRACE_SEIZE, child, 0, 0x8000_0000), Errno::EIO);
        request(k, PTRACE_SEIZE, child, 0, 0).unwrap();
        fails(request(k, PTRACE_ATTACH, child, 0, 0), Errno::EPERM);
        fails(request(k, PTRACE_CONT, child, 0, 0), Errno::ESRCH);
        end(k, child);
        let child = tracee(k, || {
            i32::from(call!(k, PTRACE, PTRACE_TRACEME, 0, 0, 0) != Err(Errno::EPERM))
        });
        fails(request(k, PTRACE_SETOPTIONS, child, 0, 0x8000_0000), Errno::EINVAL);
        fails(request(k, PTRACE_CONT, child, 0, 65), Errno::EIO);
        fails(request(k, PTRACE_INTERRUPT, child, 0, 0), Errno::EIO);
        fails(request(k, PTRACE_LISTEN, child, 0, 0), Errno::EIO);
        fails(request(k, 9999, child, 0, 0), Errno::EIO);
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 0);
    }
    [ptrace] attach_stops_and_detach_lets_go(k) {
        let child = sleeper(k);
        request(k, PTRACE_ATTACH, child, 0, 0).unwrap();
        wait_for(k, child, stopped(SIGSTOP, 0));
        request(k, PTRACE_DETACH, child, 0, 0).unwrap();
        fails(request(k, PTRACE_CONT, child, 0, 0), Errno::ESRCH);
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)));
        end(k, child);
    }
    [ptrace] interrupt_stops_a_seized_one(k) {
        let child = sleeper(k);
        request(k, PTRACE_SEIZE, child, 0, 0).unwrap();
        k.sleep_ms(30);
        assert_eq!(k.wait4(child.pid, WNOHANG), Ok((0, 0)));
        request(k, PTRACE_INTERRUPT, child, 0, 0).unwrap();
        wait_for(k, child, stopped(SIGTRAP, PTRACE_EVENT_STOP));
        goes_on(k, child, 0);
        end(k, child);
    }
    [ptrace] stop_of_the_process_is_listened_to(k) {
        let child = sleeper(k);
        request(k, PTRACE_SEIZE, child, 0, 0).unwrap();
        k.kill(child.pid, SIGSTOP).unwrap();
        wait_for(k, child, stopped(SIGSTOP, 0));
        goes_on(k, child, SIGSTOP);
        wait_for(k, child, stopped(SIGSTOP, PTRACE_EVENT_STOP));
        request(k, PTRACE_LISTEN, child, 0, 0).unwrap();
        fails(request(k, PTRACE_CONT, child, 0, 0), Errno::ESRCH);
        k.kill(child.pid, SIGCONT).unwrap();
        wait_for(k, child, stopped(SIGTRAP, PTRACE_EVENT_STOP));
        goes_on(k, child, 0);
        wait_for(k, child, stopped(SIGCONT, 0));
        goes_on(k, child, 0);
        end(k, child);
    }
    [ptrace] children_are_followed(k) {
        let child = tracee(k, || { let made = k.child(|| 2); k.status(made) >> 8 });
        request(k, PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEFORK).unwrap();
        goes_on(k, child, 0);
        wait_for(k, child, stopped(SIGTRAP, PTRACE_EVENT_FORK));
        let mut message = 0_u64;
        call!(k, PTRACE, PTRACE_GETEVENTMSG, child.pid, 0, message.as_mut_bytes()).unwrap();
        let grandchild = Child { pid: message as i32 };
        wait_for(k, grandchild, stopped(SIGSTOP, 0));
        goes_on(k, child, 0);
        goes_on(k, grandchild, 0);
        // Its tracer learns of the end before its parent does.
        wait_for(k, grandchild, 2 << 8);
        wait_for(k, child, stopped(17, 0));
        goes_on(k, child, 17);
        assert_eq!(k.status(child), 2 << 8);
    }
    [ptrace] end_is_an_event(k) {
        let child = tracee(k, || 6);
        request(k, PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT).unwrap();
        goes_on(k, child, 0);
        wait_for(k, child, stopped(SIGTRAP, PTRACE_EVENT_EXIT));
        let mut message = 0_u64;
        call!(k, PTRACE, PTRACE_GETEVENTMSG, child.pid, 0, message.as_mut_bytes()).unwrap();
        assert_eq!(message, 6 << 8);
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 6 << 8);
    }
    [ptrace] tracer_that_exits_lets_go_or_kills(k) {
        for (options, status) in [(0, 0), (PTRACE_O_EXITKILL, 9)] {
            let (reader, writer) = k.pipe2(0).unwrap();
            let child = k.child(|| { k.read_some(reader, 1).unwrap(); 0 });
            let tracer = k.child(|| {
                request(k, PTRACE_SEIZE, child, 0, options).unwrap();
                request(k, PTRACE_INTERRUPT, child, 0, 0).unwrap();
                wait_for(k, child, stopped(SIGTRAP, PTRACE_EVENT_STOP));
                0
            });
            assert_eq!(k.status(tracer), 0);
            k.write(writer, b"x").unwrap();
            assert_eq!(k.status(child), status);
        }
    }
    [ptrace, waitid] siginfo_says_trapped(k) {
        let child = k.child(|| {
            call!(k, PTRACE, PTRACE_TRACEME, 0, 0, 0).unwrap();
            k.kill(k.getpid(), SIGUSR1).unwrap();
            0
        });
        let mut info = [0_u8; 128];
        let word = |info: &[u8; 128], index: usize| {
            i32::from_ne_bytes(info[index..index + 4].try_into().unwrap())
        };
        // WSTOPPED with and without WNOWAIT.
        for options in [0x0100_0002_u32, 2] {
            call!(k, WAITID, 1, child.pid, &mut info, options, Arg::Null).unwrap();
            assert_eq!((word(&info, 8), word(&info, 24)), (4, SIGUSR1 as i32));
        }
        goes_on(k, child, 0);
        assert_eq!(k.status(child), 0);
    }
}
