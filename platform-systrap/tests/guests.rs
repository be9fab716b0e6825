//! Guests that do what guests do: call, fault, be stopped, share and copy memory.

mod common;

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::platform::Event;

use common::{CODE, DATA, Host, at, raw};

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
fn memory_is_read_and_written() {
    let host = Host::new();
    let (space, _thread, _) = host.start(raw::caller());
    let memory = space.memory();
    memory.write(GuestAddr(DATA), b"hello").expect("it is mapped");
    let mut back = [0; 5];
    memory.read(GuestAddr(DATA), &mut back).expect("it is mapped");
    assert_eq!(&back, b"hello");
    let regs = Regs::default();
    assert_eq!(regs.rax, 0);
}
