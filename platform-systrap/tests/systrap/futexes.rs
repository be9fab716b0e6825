//! Futex calls that the stub answers by itself, and those that it must not.

use std::sync::Arc;
use std::time::Duration;

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::platform::{AddressSpace, Answers, Event, GuestThread};

use crate::common::{CODE, DATA, Host, raw};
use crate::patched::{answer, prepare};

/// Where the guest loads the call's number.
const START: u64 = CODE + 8;
/// The call behind them, which the sentry always sees.
const LAST: u64 = 24;
const WAIT: u64 = 0;
const WAKE: u64 = 1;
const WAIT_BITSET: u64 = 9;
const WAKE_BITSET: u64 = 10;
const PRIVATE: u64 = 128;
const REALTIME: u64 = 256;
const EAGAIN: i64 = -11;

/// Whether the stub may answer what needs no sentry.
fn alone(thread: &dyn GuestThread, may: bool) {
    let answers = may.then_some(Answers([0; 7]));
    thread.interrupter().answer_alone(answers.as_ref());
}

/// A guest whose futex site is rewritten, standing still at a call.
struct Caller {
    host: Host,
    space: Arc<dyn AddressSpace>,
    thread: Box<dyn GuestThread>,
    regs: Regs,
}

impl Caller {
    fn new() -> Self {
        let host = Host::new();
        let (space, thread, mut regs) = prepare(&host, raw::futexes(), START);
        alone(&*thread, true);
        answer(&mut regs, 1);
        Self { host, space, thread, regs }
    }

    /// Calls as often as r12 says; what has been seen of it, if anything: the number and the results that the stub gave.
    fn call(&mut self, arguments: [u64; 6], rounds: u64) -> (Event, u64, u64, u64) {
        [self.regs.rdi, self.regs.rsi, self.regs.rdx] = [arguments[0], arguments[1], arguments[2]];
        [self.regs.r10, self.regs.r8, self.regs.r9] = [arguments[3], arguments[4], arguments[5]];
        (self.regs.r12, self.regs.r14, self.regs.r15) = (rounds, 0, 0);
        (self.regs.rip, self.regs.rcx) = (START, START);
        let event = self.host.run(&mut *self.thread, &mut self.regs);
        (event, self.regs.rax, self.regs.r14, self.regs.r15)
    }

    /// Whether the sentry is asked.
    fn asks(&mut self, arguments: [u64; 6]) -> bool {
        let (event, number, zeros, again) = self.call(arguments, 1);
        assert_eq!(event, Event::Syscall, "{arguments:x?}");
        if number == 202 {
            assert_eq!(self.regs.rip, START + 7);
            assert_eq!(self.regs.syscall_args(), arguments);
            return true;
        }
        assert_eq!((number, zeros + again), (LAST, 1), "{arguments:x?}");
        false
    }
}

#[test]
fn wakes_of_nobody_need_no_sentry() {
    let mut caller = Caller::new();
    let (event, number, zeros, _) = caller.call([DATA, WAKE | PRIVATE, 1, 0, 0, 0], 100);
    assert_eq!((event, number, zeros), (Event::Syscall, LAST, 100));
    assert!(!caller.asks([DATA, WAKE_BITSET | PRIVATE, 1, 0, 0, 2]));
    assert!(!caller.asks([DATA + 0x10_0000, WAKE | PRIVATE, 1, 0, 0, 0]), "not mapped");
    // Others wait where we do not see them; calls that fail.
    assert!(caller.asks([DATA, WAKE, 1, 0, 0, 0]), "not private");
    assert!(caller.asks([DATA, WAKE_BITSET | PRIVATE, 1, 0, 0, 0]), "no bits");
    assert!(caller.asks([DATA + 1, WAKE | PRIVATE, 1, 0, 0, 0]), "not aligned");
    assert!(caller.asks([0x7fff_0000_0000, WAKE | PRIVATE, 1, 0, 0, 0]), "not the guest's");
    assert!(caller.asks([u64::MAX - 3, WAKE | PRIVATE, 1, 0, 0, 0]), "nobody's");
    assert!(caller.asks([DATA, 3 | PRIVATE, 1, 1, DATA + 4, 0]), "requeue");
    assert!(caller.asks([DATA, WAKE | PRIVATE | REALTIME, 1, 0, 0, 0]), "no such call");
    assert!(caller.asks([DATA, WAKE | PRIVATE | 0x200, 1, 0, 0, 0]), "no such call");
}

#[test]
fn wakes_of_somebody_do() {
    let mut caller = Caller::new();
    let space = Arc::clone(&caller.space);
    let wake = [DATA + 8, WAKE | PRIVATE, 1, 0, 0, 0];
    space.expect_wakes(GuestAddr(DATA + 8), true);
    space.expect_wakes(GuestAddr(DATA + 8), true);
    assert!(caller.asks(wake));
    assert!(!caller.asks([DATA + 12, WAKE | PRIVATE, 1, 0, 0, 0]), "another word");
    space.expect_wakes(GuestAddr(DATA + 8), false);
    assert!(caller.asks(wake));
    space.expect_wakes(GuestAddr(DATA + 8), false);
    assert!(!caller.asks(wake));
    // A copy has its own.
    space.expect_wakes(GuestAddr(DATA + 8), true);
    let child = caller.host.wait(space.fork()).expect("a copy");
    caller.thread = caller.host.spawn(&*child, &caller.regs);
    alone(&*caller.thread, true);
    assert!(!caller.asks(wake));
}

#[test]
fn waits_for_what_has_happened_need_none() {
    let mut caller = Caller::new();
    caller.space.memory().write(GuestAddr(DATA), &5_u32.to_ne_bytes()).expect("it is mapped");
    for op in [WAIT, WAIT | PRIVATE, WAIT_BITSET | PRIVATE | REALTIME, WAIT_BITSET] {
        let (event, number, _, again) = caller.call([DATA, op, 4, 0, 0, 1], 10);
        assert_eq!((event, number, again), (Event::Syscall, LAST, 10), "{op}");
        assert!(caller.asks([DATA, op, 5, 0, 0, 1]), "as it is");
    }
    assert!(caller.asks([DATA, WAIT | PRIVATE, 4, DATA + 8, 0, 1]), "with a time limit");
    assert!(caller.asks([DATA, WAIT_BITSET | PRIVATE, 4, 0, 0, 0]), "no bits");
    for addr in [DATA + 0x10_0000, 0, 0x7fff_0000_0000, 0xffff_8000_0000_0000, DATA + 2] {
        assert!(caller.asks([addr, WAIT | PRIVATE, 4, 0, 0, 0]), "{addr:#x}");
        assert!(caller.asks([addr, WAIT | PRIVATE, 4, 0, 0, 0]), "{addr:#x}, again");
    }
    alone(&*caller.thread, false);
    assert!(caller.asks([DATA, WAIT | PRIVATE, 4, 0, 0, 0]), "somebody watches");
    assert!(caller.asks([DATA, WAKE | PRIVATE, 1, 0, 0, 0]), "somebody watches");
}

#[test]
fn kicks_hit_what_is_answered_alone() {
    let mut caller = Caller::new();
    caller.space.memory().write(GuestAddr(DATA), &5_u32.to_ne_bytes()).expect("it is mapped");
    [caller.regs.rdi, caller.regs.rsi, caller.regs.rdx] = [DATA, WAIT | PRIVATE, 4];
    (caller.regs.r12, caller.regs.r14, caller.regs.r15) = (u64::MAX, 0, 0);
    answer(&mut caller.regs, EAGAIN as u64);
    let kick = caller.thread.interrupter();
    let mut last = 0;
    for round in 0..300 {
        caller.thread.resume(&caller.regs).expect("it runs");
        std::thread::sleep(Duration::from_micros(round));
        kick.interrupt();
        // The call that it comes in may be taken to the sentry; then the guest is stopped behind it.
        let event = caller.host.event(&mut *caller.thread, &mut caller.regs);
        if event == Event::Syscall {
            assert_eq!(caller.regs.orig_rax, 202);
            answer(&mut caller.regs, EAGAIN as u64);
        } else {
            assert_eq!(event, Event::Interrupted);
        }
        // It is where guest code can be, and each round is counted once.
        let (rip, rounds) = (caller.regs.rip, u64::MAX - caller.regs.r12);
        assert!((CODE..CODE + 0x48).contains(&rip), "{rip:#x}");
        assert_eq!(caller.regs.r14, 0);
        assert!(caller.regs.r15 >= last);
        assert!(rounds.abs_diff(caller.regs.r15) <= 1, "{rounds} {}", caller.regs.r15);
        last = caller.regs.r15;
    }
    assert!(last > 300, "it gets on: {last}");
}
