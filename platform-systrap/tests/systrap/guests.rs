//! Guests that do what guests do: call, fault, be stopped, share and copy memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chitin_abi::{Errno, GuestAddr, Regs};
use chitin_mm::HostOp;
use chitin_mm::platform::{Event, Platform, ThreadState};

use crate::common::{CODE, DATA, Host, READ, WRITE, anonymous, at, raw};

#[test]
fn calls_arrive_with_all_registers_and_are_answered() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = host.start(raw::calls());
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!((regs.rax, regs.orig_rax), (1234, 1234));
    assert_eq!(regs.syscall_args(), [1, 2, 3, 4, 5, 6]);
    assert_eq!((regs.rbx, regs.rbp, regs.r12, regs.r13, regs.r14, regs.r15), (7, 8, 9, 10, 11, 12));
    assert_eq!(regs.rcx, regs.rip);
    assert_eq!(regs.r11, regs.eflags);
    assert_eq!(regs.eflags & 0x400, 0x400, "the direction flag");
    assert_eq!(regs.rsp, at(CODE).rsp);
    assert_eq!((regs.cs, regs.ss), (0x33, 0x2b));
    regs.rax = 77;
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!((regs.rax, regs.rdi, regs.rsi), (1235, 77, 0x33));
}

#[test]
fn many_calls() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = host.start(raw::caller());
    let start = std::time::Instant::now();
    let count = 10_000;
    for _ in 0..count {
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        regs.rax = 1;
    }
    println!("{} ns per call", start.elapsed().as_nanos() / count);
}

#[test]
fn faults_are_events() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::toucher());
    let missing = DATA + 0x10_0000;
    regs.rdi = missing;
    let Event::Fault(fault) = host.run(&mut *thread, &mut regs) else { panic!("no fault") };
    assert_eq!((fault.signal, fault.code, fault.address), (11, 1, GuestAddr(missing)));
    assert_eq!((fault.trap, fault.error, regs.rip, regs.orig_rax), (14, 4, CODE, u64::MAX));
    host.map(&*space, missing, 0x1000, READ);
    let Event::Fault(fault) = host.run(&mut *thread, &mut regs) else { panic!("no fault") };
    assert_eq!((fault.signal, fault.code, fault.error, regs.rip), (11, 2, 7, CODE + 3));
    let ops = vec![HostOp::Protect { addr: missing, len: 0x1000, prot: WRITE }];
    host.wait(space.apply(ops)).expect("it can be protected");
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
}

#[test]
fn exceptions_have_their_signals() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = host.start(raw::faulty());
    let mut next = |skip| {
        regs.rip += skip;
        match host.run(&mut *thread, &mut regs) {
            Event::Fault(fault) => (fault.signal, fault.code, fault.trap),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(next(0), (8, 1, 0), "division: SIGFPE, FPE_INTDIV");
    assert_eq!(next(2), (5, 0x80, 3), "breakpoint: SIGTRAP, SI_KERNEL");
    assert_eq!(next(0), (4, 2, 6), "ud2: SIGILL, ILL_ILLOPN");
    assert_eq!(next(2), (5, 2, 1), "step: SIGTRAP, TRAP_TRACE");
}

#[test]
fn a_file_that_ends_is_a_bus_error() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::toucher());
    let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
    let map = HostOp::MapFile {
        addr: 0x10_0000,
        len: 0x2000,
        prot: READ,
        shared: true,
        writable: false,
        file: file.into(),
        offset: 0,
        populate: false,
        code: None,
    };
    host.wait(space.apply(vec![map])).expect("it can be mapped");
    regs.rdi = 0x10_1000;
    let Event::Fault(fault) = host.run(&mut *thread, &mut regs) else { panic!("no fault") };
    assert_eq!((fault.signal, fault.code, fault.address), (7, 2, GuestAddr(0x10_1000)));
}

#[test]
fn calls_of_other_abis_are_told_apart() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = host.start(raw::foreign());
    assert_eq!(host.run(&mut *thread, &mut regs), Event::ForeignSyscall);
    assert_eq!((regs.rax, regs.rip), (20, CODE + 7));
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!(regs.rax, 39);
    regs.rip = CODE + 12;
    regs.rax = 0x4000_0027;
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!(regs.rax, 0x4000_0027, "x32 numbers keep their bit");
}

#[test]
fn a_running_guest_can_be_interrupted() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = host.start(raw::spinner());
    let interrupter = thread.interrupter();
    let mut last = 0;
    // On a busy machine the guest may not come to run in each round; it does at last.
    for round in 0.. {
        if round >= 20 && last > 0 {
            break;
        }
        assert!(round < 2000, "it never counts");
        thread.resume(&regs).expect("it runs");
        let other = interrupter.clone();
        let kicker = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2));
            other.interrupt();
        });
        assert_eq!(host.event(&mut *thread, &mut regs), Event::Interrupted);
        assert!(regs.rax >= last, "it counts upwards");
        assert!((CODE..CODE + 5).contains(&regs.rip));
        last = regs.rax;
        kicker.join().expect("it does not panic");
    }
    // While it stands still: the next run ends at once.
    interrupter.interrupt();
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Interrupted);
}

#[test]
fn interrupts_and_calls_do_not_get_lost() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = host.start(raw::caller());
    let interrupter = thread.interrupter();
    let stop = Arc::new(AtomicBool::new(false));
    let is_stopping = Arc::clone(&stop);
    let kicker = std::thread::spawn(move || {
        let mut count = 0;
        while !is_stopping.load(Ordering::Relaxed) {
            interrupter.interrupt();
            count += 1;
            std::thread::sleep(std::time::Duration::from_micros(30));
        }
        count
    });
    let (mut calls, mut interrupts) = (0, 0);
    for _ in 0..5_000 {
        match host.run(&mut *thread, &mut regs) {
            Event::Syscall => calls += 1,
            Event::Interrupted => interrupts += 1,
            other => panic!("{other:?}"),
        }
        if regs.orig_rax == 39 {
            regs.rax = calls;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let kicks = kicker.join().expect("it does not panic");
    println!("{calls} calls, {interrupts} interrupts of {kicks} kicks");
    assert!(calls > 0 && interrupts > 0);
}

#[test]
fn threads_share_memory() {
    let host = Host::new();
    let space = host.load(raw::adder());
    let mut regs = at(CODE);
    (regs.rdi, regs.rsi) = (DATA, 1);
    let mut threads: Vec<_> = (0..4).map(|_| host.spawn(&*space, &regs)).collect();
    for thread in &mut threads {
        thread.resume(&regs).expect("it runs");
    }
    for thread in &mut threads {
        let mut regs = Regs::default();
        assert_eq!(host.event(&mut **thread, &mut regs), Event::Syscall);
        assert_eq!(regs.rax, 60);
    }
    let mut sum = [0; 8];
    space.memory().read(GuestAddr(DATA), &mut sum).expect("it is mapped");
    assert_eq!(u64::from_ne_bytes(sum), 4_000_000);
}

#[test]
fn threads_come_and_go() {
    let host = Host::new();
    let space = host.load(raw::caller());
    let regs = at(CODE);
    for round in 0..300 {
        let mut thread = host.spawn(&*space, &regs);
        let mut regs = regs;
        if round % 3 > 0 {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        }
        if round % 3 == 2 {
            thread.resume(&regs).expect("it runs");
        }
    }
}

#[test]
fn extended_state_is_kept_read_and_replaced() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::vectors());
    let memory = space.memory();
    memory.write(GuestAddr(DATA), &[7; 16]).expect("it is mapped");
    regs.rdi = DATA;
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    let mut state = thread.extended_state();
    assert_eq!(state.len(), host.platform.capabilities().xsave_size);
    assert_eq!(state[160..176], [7; 16], "xmm0");
    state[160..176].fill(9);
    thread.set_extended_state(&state).expect("a good state");
    let mut bad = state.clone();
    bad[519] = 0x80;
    assert_eq!(thread.set_extended_state(&bad), Err(Errno::EINVAL));
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    let mut words = [0; 24];
    memory.read(GuestAddr(DATA + 64), &mut words).expect("it is mapped");
    assert_eq!(words[..16], [9; 16]);
    assert_eq!(words[16..], 1.0_f64.to_ne_bytes(), "the x87 stack came back");
    // Another thread starts with that state, a third with the initial one.
    for (extended, expected) in [(state, 9), (Vec::new(), 0)] {
        let state = ThreadState { regs: at(CODE), extended };
        let mut other = host.wait(space.spawn(state)).expect("a thread");
        assert_eq!(other.extended_state()[160], expected);
        let mut regs = Regs { rip: regs.rip, rdi: DATA, ..at(CODE) };
        regs.rip -= 7 + 3 + 4; // before the second pair of stores
        thread.set_extended_state(&[]).expect("the initial state");
        let _ = other.resume(&regs);
        let _ = host.event(&mut *other, &mut regs);
    }
    assert_eq!(thread.extended_state()[160..176], [0; 16]);
}

#[test]
fn segment_bases_are_set_and_seen() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::segments());
    let words: Vec<u8> = [5_u64, 6, 7].iter().flat_map(|word| word.to_ne_bytes()).collect();
    space.memory().write(GuestAddr(DATA), &words).expect("it is mapped");
    (regs.fs_base, regs.gs_base) = (DATA, DATA);
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!((regs.rdi, regs.rsi, regs.fs_base, regs.gs_base), (5, 6, DATA, DATA));
    (regs.fs_base, regs.gs_base) = (DATA + 8, DATA + 8);
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!((regs.rdi, regs.rsi, regs.fs_base), (6, 7, DATA + 8));
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!((regs.rdi, regs.rsi), (6, 7));
}

#[test]
fn a_death_is_noticed() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::spinner());
    thread.resume(&regs).expect("it runs");
    space.kill();
    space.kill();
    assert_eq!(host.event(&mut *thread, &mut regs), Event::Dead);
    assert_eq!(thread.resume(&regs), Err(Errno::ESRCH));
    assert_eq!(host.wait(space.apply(vec![anonymous(DATA, 0x1000, READ)])), Err(Errno::ESRCH));
    assert!(host.wait(space.fork()).is_err());
    let mut byte = [0];
    assert_eq!(space.memory().read(GuestAddr(DATA), &mut byte), Err(Errno::ESRCH));
}

#[test]
fn times_and_sizes_are_told() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::spinner());
    thread.resume(&regs).expect("it runs");
    std::thread::sleep(std::time::Duration::from_millis(120));
    thread.interrupter().interrupt();
    assert_eq!(host.event(&mut *thread, &mut regs), Event::Interrupted);
    let (user, _) = space.cpu_time();
    assert!(user > 20_000_000, "{user} ns");
    assert!(thread.cpu_time().0 > 10_000_000, "{:?}", thread.cpu_time());
    assert!(space.resident().0 >= 0x1000, "{:?}", space.resident());
}
