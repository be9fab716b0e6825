//! Guest memory that goes with calls.

use std::sync::Arc;

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, Event, GuestThread};

use crate::common::{CODE, DATA, Host, RUN, anonymous, raw};
use crate::patched::{answer, byte, rewrite};

const OPENAT: u64 = 257;
const RENAME: u64 = 82;
const WRITE: u64 = 1;
const GETCPU: u64 = 309;
/// Nothing is there.
const NOWHERE: u64 = 0x90_0000;

/// A guest at a call from a patched site, with the registers that it goes on with.
struct Asker {
    host: Host,
    space: Arc<dyn AddressSpace>,
    thread: Box<dyn GuestThread>,
    regs: Regs,
}

impl Asker {
    fn new() -> Self {
        let host = Host::new();
        let (space, mut thread, mut regs) = host.start(raw::asker());
        for _ in 0..100 {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            rewrite(&host, &*space, &mut *thread);
            answer(&mut regs, 1);
            if byte(&*space, CODE + 6) == 0xe9 {
                return Self { host, space, thread, regs };
            }
        }
        panic!("it is not rewritten");
    }

    /// Makes the guest ask for this.
    fn ask(&mut self, number: u64, arguments: [u64; 3]) {
        self.regs.r15 = number;
        [self.regs.rdi, self.regs.rsi, self.regs.rdx] = arguments;
        assert_eq!(self.host.run(&mut *self.thread, &mut self.regs), Event::Syscall);
        // What it was asked for last time is under way again: the registers that count are there from now on.
        answer(&mut self.regs, 0);
        self.thread.resume(&self.regs).expect("it runs");
        let event = self.host.call(&mut *self.thread, &mut self.regs);
        assert_eq!((event, self.regs.rax), (Event::Syscall, number));
    }

    /// Answers without looking at other registers, and says what the guest got.
    fn finish(&mut self, result: u64) -> u64 {
        self.regs.rax = result;
        self.thread.resume(&self.regs).expect("it runs");
        assert_eq!(self.host.event(&mut *self.thread, &mut self.regs), Event::Syscall);
        answer(&mut self.regs, 0);
        self.regs.r14
    }

    fn brought(&self, addr: u64, len: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0xaa; len];
        let count = self.thread.brought(GuestAddr(addr), &mut buffer)?;
        buffer.truncate(count);
        Some(buffer)
    }

    fn read(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut buffer = vec![0; len];
        self.space.memory().read(GuestAddr(addr), &mut buffer).expect("it is mapped");
        buffer
    }

    fn write(&self, addr: u64, bytes: &[u8]) {
        self.space.memory().write(GuestAddr(addr), bytes).expect("it is mapped");
    }
}

#[test]
fn strings_come_with_the_call() {
    let mut asker = Asker::new();
    for (at, text) in [(0, &b"/etc/passwd\0"[..]), (3, b"x\0"), (8, b"\0"), (5, b"1234567\0")] {
        asker.write(DATA + at, text);
        asker.ask(OPENAT, [0, DATA + at, 0]);
        let came = asker.brought(DATA + at, 256).expect("it came");
        assert_eq!(came.get(..text.len()), Some(text));
        assert_eq!(asker.brought(DATA + at + 1, 1).is_some(), text.len() > 1 || at % 8 == 0);
        assert_eq!(asker.brought(DATA + 0x2000, 1), None);
        assert_eq!(asker.finish(7), 7);
    }
    let long = vec![b'y'; 0x3000];
    asker.write(DATA, &long);
    asker.ask(RENAME, [DATA + 1, DATA + 2, 0]);
    assert_eq!(asker.brought(DATA + 1, 4096), Some(long[..4096].to_vec()));
    assert_eq!(asker.brought(DATA + 1, 0x3000), None, "no more than fits, and no end");
    assert_eq!(asker.brought(DATA + 2, 256), Some(long[..256].to_vec()));
    asker.finish(0);
}

#[test]
fn buffers_come_with_the_call() {
    let mut asker = Asker::new();
    let bytes: Vec<u8> = (0..4096_u32).map(|at| (at % 251) as u8).collect();
    asker.write(DATA + 1, &bytes);
    asker.ask(WRITE, [1, DATA + 1, 4096]);
    assert_eq!(asker.brought(DATA + 1, 4096), Some(bytes.clone()));
    assert_eq!(asker.brought(DATA + 8, 100), Some(bytes[7..107].to_vec()));
    assert_eq!(asker.brought(DATA + 1, 4097), None);
    assert_eq!(asker.finish(4096), 4096);
    asker.ask(WRITE, [1, DATA, 1 << 40]);
    assert_eq!(asker.brought(DATA, 1), None, "too much");
    asker.finish(0);
}

#[test]
fn a_fault_means_that_nothing_came() {
    let mut asker = Asker::new();
    for pointer in [0, 1, NOWHERE, NOWHERE + 5, 1 << 46, 1 << 63, u64::MAX, DATA + 0x3ffd] {
        asker.write(DATA + 0x3ff8, b"12345678");
        asker.ask(OPENAT, [0, pointer, 0]);
        assert_eq!(asker.brought(pointer, 16), None, "{pointer:#x}");
        assert_eq!(asker.finish(3), 3);
        asker.ask(WRITE, [0, pointer, 64]);
        assert_eq!(asker.brought(pointer, 64), None, "{pointer:#x}");
        assert_eq!(asker.finish(4), 4);
    }
}

#[test]
fn results_are_carried_out() {
    let mut asker = Asker::new();
    for round in 1..100_u8 {
        asker.ask(GETCPU, [0, 0, 0]);
        let bytes = vec![round; 3000];
        assert!(asker.thread.give(GuestAddr(DATA + 3), &bytes));
        assert!(asker.thread.give(GuestAddr(DATA + 0x1000), b"abc"));
        assert_ne!(asker.read(DATA + 3, 3000), bytes, "nobody sees it before");
        assert_eq!(asker.finish(11), 11);
        assert_eq!(asker.read(DATA + 3, 3000), bytes);
        assert_eq!(asker.read(DATA + 0x1000, 3), b"abc");
        asker.write(DATA + 0x1000, b"...");
    }
    asker.ask(GETCPU, [0, 0, 0]);
    assert!(asker.thread.give(GuestAddr(DATA), b"now"));
    asker.thread.deliver(GuestAddr(DATA + 2), 1);
    assert_eq!(asker.read(DATA, 3), b"now");
    let taken = (0..100).take_while(|_| asker.thread.give(GuestAddr(DATA), &[1; 64])).count();
    assert!((2..100).contains(&taken), "there is an end");
    assert!(!asker.thread.give(GuestAddr(DATA), &[0; 1 << 16]));
    // With other registers it goes on another way, and nothing is lost.
    asker.thread.complete(&mut asker.regs);
    asker.regs.r12 = 99;
    answer(&mut asker.regs, 5);
    assert_eq!(asker.host.run(&mut *asker.thread, &mut asker.regs), Event::Syscall);
    assert_eq!((asker.regs.r12, asker.regs.r14), (99, 5));
    assert_eq!(asker.read(DATA, 64), [1; 64]);
}

#[test]
fn results_are_carried_out_once() {
    let mut asker = Asker::new();
    for way in 0..2 {
        asker.ask(GETCPU, [0, 0, 0]);
        assert!(asker.thread.give(GuestAddr(DATA), b"result"));
        assert_eq!(asker.finish(0), 0);
        asker.write(DATA, b"newer!");
        // It goes on by a frame, or as from any other call.
        if way == 0 {
            asker.regs.rip = CODE;
        }
        assert_eq!(asker.host.run(&mut *asker.thread, &mut asker.regs), Event::Syscall);
        answer(&mut asker.regs, 0);
        assert_eq!(asker.host.run(&mut *asker.thread, &mut asker.regs), Event::Syscall);
        answer(&mut asker.regs, 0);
        assert_eq!(asker.read(DATA, 6), b"newer!");
    }
}

#[test]
fn a_fault_in_carrying_out_fails_the_call() {
    let mut asker = Asker::new();
    asker.ask(GETCPU, [0, 0, 0]);
    assert!(asker.thread.give(GuestAddr(NOWHERE), b"lost"));
    assert_eq!(asker.finish(0).cast_signed(), -14);
    asker.ask(GETCPU, [0, 0, 0]);
    assert!(asker.thread.give(GuestAddr(DATA), b"there"));
    assert!(asker.thread.give(GuestAddr(DATA + 0x3ffe), b"half"));
    assert_eq!(asker.finish(0).cast_signed(), -14);
    assert_eq!(asker.read(DATA, 5), b"there");
    // Memory that is taken away while the call is under way.
    asker.ask(GETCPU, [0, 0, 0]);
    assert!(asker.thread.give(GuestAddr(DATA), b"late"));
    let unmap = HostOp::Unmap { addr: DATA, len: 0x1000 };
    asker.host.wait(asker.space.apply(vec![unmap])).expect("it can be unmapped");
    assert_eq!(asker.finish(0).cast_signed(), -14);
    asker.host.wait(asker.space.apply(vec![anonymous(DATA, 0x1000, RUN)])).expect("mapped again");
    asker.ask(GETCPU, [0, 0, 0]);
    assert!(asker.thread.give(GuestAddr(DATA), b"read only"));
    assert_eq!(asker.finish(0).cast_signed(), -14);
}
