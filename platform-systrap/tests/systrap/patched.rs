//! Call sites that are rewritten: the guest must not notice.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, Answers, Event, GuestThread, HotSite};

use crate::common::{CODE, DATA, Host, RUN, anonymous, raw};

const AREA: u64 = 0x80_0000;

/// Rewrites the site of the last call if the platform wants to; says whether it does.
pub fn rewrite(host: &Host, space: &dyn AddressSpace, thread: &mut dyn GuestThread) -> bool {
    let Some(HotSite { needs_area, .. }) = thread.hot_site() else { return false };
    if let Some(len) = needs_area {
        host.wait(space.apply(vec![anonymous(AREA, len, RUN)])).expect("it can be mapped");
    }
    host.wait(thread.patch(needs_area.map(|_| AREA))).expect("it can be rewritten");
    true
}

pub fn byte(space: &dyn AddressSpace, addr: u64) -> u8 {
    let mut byte = [0];
    space.memory().read(GuestAddr(addr), &mut byte).expect("it is mapped");
    byte[0]
}

/// Runs a guest of one call site until that is rewritten, and is at a call then.
pub fn prepare(
    host: &Host,
    code: &[u8],
    site: u64,
) -> (Arc<dyn AddressSpace>, Box<dyn GuestThread>, Regs) {
    let (space, mut thread, mut regs) = host.start(code);
    for _ in 0..100 {
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        rewrite(host, &*space, &mut *thread);
        answer(&mut regs, 1);
        if byte(&*space, site) == 0xe9 {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            answer(&mut regs, 1);
            return (space, thread, regs);
        }
    }
    panic!("it is not rewritten");
}

/// As a kernel does.
pub fn answer(regs: &mut Regs, value: u64) {
    regs.rax = value;
    regs.rcx = regs.rip;
    regs.r11 = regs.eflags;
}

/// Where the jumps are in the two guests, and the addresses behind their calls.
pub const SITES: [(u64, u64); 2] = [(3, 10), (8, 10)];

fn guests() -> [&'static [u8]; 2] {
    [raw::counter(), raw::comparer()]
}

#[test]
fn registers_are_the_same() {
    for (code, (site, behind)) in guests().into_iter().zip(SITES) {
        let host = Host::new();
        let (_space, mut thread, mut regs) = prepare(&host, code, CODE + site);
        for round in 0..1000 {
            let mut wanted = regs;
            (wanted.rdi, wanted.rsi, wanted.rdx) = (round, round + 1, round + 2);
            (wanted.r8, wanted.r9, wanted.r10) = (round + 3, round + 4, round + 5);
            (wanted.r12, wanted.r13, wanted.r14, wanted.r15) = (6, 7, 8, round);
            wanted.rbp = round << 40;
            // Registers that the call does not leave need the slow way.
            if round % 3 == 0 {
                regs = wanted;
            }
            let before = regs;
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            assert_eq!((regs.rax, regs.orig_rax, regs.rip), (39, 39, CODE + behind));
            assert_eq!((regs.rcx, regs.r11, regs.gs_base), (regs.rip, regs.eflags, 0));
            assert_eq!((regs.cs, regs.ss, regs.rsp), (0x33, 0x2b, before.rsp));
            assert_eq!(regs.syscall_args(), before.syscall_args());
            assert_eq!(regs.rbx, before.rbx + 1);
            assert_eq!(
                (regs.rbp, regs.r12, regs.r13, regs.r14, regs.r15),
                (before.rbp, before.r12, before.r13, before.r14, before.r15)
            );
            answer(&mut regs, round);
        }
    }
}

#[test]
fn calls_are_answered_without_the_other_registers() {
    for (code, (site, behind)) in guests().into_iter().zip(SITES) {
        let host = Host::new();
        let (_space, mut thread, mut regs) = prepare(&host, code, CODE + site);
        let before = regs;
        for round in 0..1000_u64 {
            regs = Regs { rax: round, ..Regs::default() };
            if round == 0 {
                regs = before;
                regs.rdi = 77;
            }
            thread.resume(&regs).expect("it runs");
            assert_eq!(host.call(&mut *thread, &mut regs), Event::Syscall);
            assert_eq!((regs.rax, regs.orig_rax, regs.rdi), (39, 39, 77));
        }
        let result = 1 << 40;
        regs.rax = result;
        thread.complete(&mut regs);
        assert_eq!((regs.rax, regs.orig_rax, regs.rdi), (result, 39, 77));
        assert_eq!((regs.rbx, regs.rip), (before.rbx + 1000, CODE + behind));
        assert_eq!((regs.rcx, regs.r11, regs.rsp), (regs.rip, regs.eflags, before.rsp));
    }
}

const PID: u64 = 4242;

/// Lets a guest run whose calls the stub answers, and stops it; the calls that it asked for all the same are answered.
fn run_and_stop(host: &Host, thread: &mut dyn GuestThread, regs: &mut Regs, nanoseconds: u64) {
    let interrupter = thread.interrupter();
    thread.resume(regs).expect("it runs");
    std::thread::sleep(Duration::from_nanos(nanoseconds));
    interrupter.interrupt();
    while host.event(thread, regs) == Event::Syscall {
        assert_eq!(regs.rax, 39);
        answer(regs, PID);
        thread.resume(regs).expect("it runs");
        interrupter.interrupt();
    }
}

#[test]
fn ids_are_answered_in_the_stub_and_kicks_are_not_lost() {
    for (code, (site, behind)) in guests().into_iter().zip(SITES) {
        let host = Host::new();
        let (_space, mut thread, mut regs) = prepare(&host, code, CODE + site);
        let interrupter = thread.interrupter();
        interrupter.answer_alone(Some(&Answers([PID, 1, 2, 3, 4, 5, 6])));
        answer(&mut regs, PID);
        let first = regs.rbx;
        for round in 0..500_u64 {
            let before = regs;
            run_and_stop(&host, &mut *thread, &mut regs, 1000 + 97 * round);
            assert!(regs.rip.wrapping_sub(CODE) < code.len() as u64, "{:#x}", regs.rip);
            assert!(regs.rsp.abs_diff(before.rsp) <= 8, "{:#x}", regs.rsp);
            assert_eq!((regs.gs_base, regs.r12), (0, before.r12));
            if regs.rip == CODE + behind {
                assert_eq!((regs.rax, regs.rcx), (PID, regs.rip), "the call is answered");
            }
        }
        assert!(regs.rbx - first > 500, "{} calls", regs.rbx - first);
        interrupter.answer_alone(None);
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert_eq!((regs.rip, regs.rax), (CODE + behind, 39));
    }
}

#[test]
fn interruptions_hit_once() {
    for (code, (site, behind)) in guests().into_iter().zip(SITES) {
        let host = Host::new();
        let (_space, mut thread, mut regs) = prepare(&host, code, CODE + site);
        let interrupter = thread.interrupter();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopping = Arc::clone(&stop);
        let kicker = std::thread::spawn(move || {
            while !is_stopping.load(Ordering::Relaxed) {
                interrupter.interrupt();
                std::thread::sleep(Duration::from_micros(10));
            }
        });
        let (mut calls, mut interrupts, first) = (0, 0, regs.rbx);
        while calls < 20_000 {
            match host.run(&mut *thread, &mut regs) {
                Event::Syscall => {
                    calls += 1;
                    assert_eq!((regs.rip, regs.rax), (CODE + behind, 39));
                    assert_eq!(regs.rbx - first, calls, "calls are seen once");
                    answer(&mut regs, calls);
                }
                Event::Interrupted => {
                    interrupts += 1;
                    let len = code.len() as u64;
                    assert!(regs.rip.wrapping_sub(CODE) < len, "{:#x}", regs.rip);
                }
                other => panic!("{other:?} at {:#x}", regs.rip),
            }
        }
        stop.store(true, Ordering::Relaxed);
        kicker.join().expect("it does not panic");
        println!("{calls} calls, {interrupts} interrupts");
    }
}

#[test]
fn extended_state_can_be_had() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = prepare(&host, raw::counter(), CODE + 3);
    for round in 0..50_u8 {
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        host.wait(poll_fn(|context| thread.poll_settle(context)));
        let mut state = thread.extended_state();
        assert_eq!(state[160], round.saturating_sub(1), "xmm0");
        state[160] = round;
        state[512] |= 2;
        thread.set_extended_state(&state).expect("it is a good one");
        answer(&mut regs, 1);
        let rbx = regs.rbx;
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert_eq!(regs.rbx, rbx + 1);
        answer(&mut regs, 1);
    }
}

#[test]
fn the_middle_of_a_site_is_what_it_was() {
    let host = Host::new();
    let (_space, mut thread, mut regs) = prepare(&host, raw::comparer(), CODE + 8);
    // Behind the call, where an instruction has moved away.
    regs.rip = CODE + 10;
    regs.rcx = 77;
    let rbx = regs.rbx;
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!(regs.rbx, rbx + 1);
    // The call itself, behind the instruction that loads its number.
    let (_space, mut thread, mut regs) = prepare(&host, raw::counter(), CODE + 3);
    (regs.rip, regs.rax) = (CODE + 8, 1234);
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!((regs.rax, regs.rip), (1234, CODE + 10));
}

#[test]
fn single_steps_go_over_a_site() {
    for (code, (site, behind)) in guests().into_iter().zip(SITES) {
        let host = Host::new();
        let (_space, mut thread, mut regs) = prepare(&host, code, CODE + site);
        (regs.rip, regs.rax) = (CODE + site, 39);
        regs.eflags |= 0x100;
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert_eq!((regs.rip, regs.rax), (CODE + behind, 39));
        answer(&mut regs, 1);
        // The step over what stands behind the call.
        let Event::Fault(fault) = host.run(&mut *thread, &mut regs) else { panic!("no step") };
        assert_eq!((fault.signal, fault.code), (5, 2));
        let wanted = if site == 8 { CODE + 16 } else { CODE };
        assert_eq!(regs.rip, wanted);
    }
}

#[test]
fn copies_have_rewritten_sites_too() {
    let host = Host::new();
    let (space, _thread, regs) = prepare(&host, raw::comparer(), CODE + 8);
    let copy = host.wait(space.fork()).expect("a copy");
    drop(space);
    let mut thread = host.spawn(&*copy, &regs);
    let mut regs = regs;
    for _ in 0..10 {
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert_eq!((regs.rax, regs.rip), (39, CODE + 10));
        answer(&mut regs, 5);
    }
}

#[test]
fn guests_may_have_their_own_gs() {
    let host = Host::new();
    let (space, mut thread, mut regs) = prepare(&host, raw::counter(), CODE + 3);
    regs.gs_base = DATA;
    for _ in 0..50 {
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        rewrite(&host, &*space, &mut *thread);
        assert_eq!((regs.rip, regs.gs_base), (CODE + 10, DATA));
        answer(&mut regs, 1);
    }
    let mut data = [0; 512];
    space.memory().read(GuestAddr(DATA), &mut data).expect("it is mapped");
    assert_eq!(data, [0; 512], "nothing is written there");
}

#[test]
fn code_that_comes_in_its_place_is_another() {
    let host = Host::new();
    let (space, mut thread, mut regs) = prepare(&host, raw::comparer(), CODE + 8);
    let len = (raw::counter().len() as u64).next_multiple_of(0x1000);
    let both = chitin_mm::HostProt { read: true, write: true, exec: true };
    host.wait(space.apply(vec![anonymous(CODE, len, both)])).expect("it can be mapped");
    space.memory().write(GuestAddr(CODE), raw::counter()).expect("it is mapped");
    let protect = HostOp::Protect { addr: CODE, len, prot: RUN };
    host.wait(space.apply(vec![protect])).expect("it can be protected");
    for _ in 0..50 {
        let rbx = regs.rbx;
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert_eq!((regs.rax, regs.rip, regs.rbx), (39, CODE + 10, rbx + 1));
        rewrite(&host, &*space, &mut *thread);
        answer(&mut regs, 1);
    }
}

#[test]
fn threads_use_rewritten_sites_at_once() {
    let host = Host::new();
    let space = host.load(raw::counter());
    let regs = crate::common::at(CODE);
    let mut threads: Vec<_> = (0..4).map(|_| (host.spawn(&*space, &regs), regs)).collect();
    for (thread, _) in &mut threads {
        thread.resume(&regs).expect("it runs");
    }
    for round in 1..2000_u64 {
        for (thread, regs) in &mut threads {
            assert_eq!(host.event(&mut **thread, regs), Event::Syscall);
            assert_eq!((regs.rbx, regs.rip, regs.rax), (round, CODE + 10, 39));
            answer(regs, round);
        }
        // Only while all others stand still.
        rewrite(&host, &*space, &mut *threads[0].0);
        for (thread, regs) in &mut threads {
            thread.resume(regs).expect("it runs");
        }
    }
    drop(threads);
    assert_eq!(byte(&*space, CODE + 3), 0xe9);
}
