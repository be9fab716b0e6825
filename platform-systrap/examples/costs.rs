//! Prints what operations of the platform cost on this machine: `cargo run --release --example costs`.
//!
//! One worker, pinned with everything else to one core, as a busy machine has it; then unpinned.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::platform::{AddressSpace, Doorbell, Event, GuestThread, Platform, ThreadState};
use chitin_mm::{HostOp, HostProt};
use chitin_platform_systrap::{Systrap, SystrapConfig};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
/// `2: mov $39, %eax; syscall; jmp 2b`
const CALLER: [u8; 9] = [0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];

fn wait<T>(bell: &dyn Doorbell, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
        if bell.collect() == 0 {
            bell.wait(None);
        }
    }
}

fn run(bell: &dyn Doorbell, thread: &mut dyn GuestThread, regs: &mut Regs) -> Event {
    thread.resume(regs).expect("it runs");
    wait(bell, std::future::poll_fn(|context| thread.poll_event(context, regs)))
}

fn map(addr: u64, len: u64, exec: bool) -> HostOp {
    HostOp::MapAnonymous {
        addr,
        len,
        prot: HostProt { read: true, write: true, exec },
        shared: false,
        populate: false,
        noreserve: false,
        grows_down: false,
    }
}

fn measure(what: &str, count: u32, mut action: impl FnMut()) {
    action();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..count {
            action();
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(count));
    }
    println!("{what:40} {:8.2} us", best * 1e6);
}

fn costs(platform: &Arc<Systrap>) {
    let bell = &*platform.doorbell(0);
    let space = || wait(bell, platform.new_address_space()).expect("an address space");
    let regs = Regs { rip: CODE, rsp: 0x60_0000, eflags: 0x202, ..Regs::default() };
    let state = || ThreadState { regs, extended: Vec::new() };
    let parent: Arc<dyn AddressSpace> = space();
    let ops = vec![map(CODE, 0x1000, true), map(DATA, 0x10000, false)];
    wait(bell, parent.apply(ops)).expect("it is mapped");
    parent.memory().write(GuestAddr(CODE), &CALLER).expect("it is mapped");
    let mut thread = wait(bell, parent.spawn(state())).expect("a thread");
    let mut regs = regs;
    measure("getppid of this process", 10_000, || {
        std::hint::black_box(nix::unistd::getppid());
    });
    measure("call of a guest and answer", 5_000, || {
        assert_eq!(run(bell, &mut *thread, &mut regs), Event::Syscall);
    });
    measure("map a page (one order)", 1_000, || {
        wait(bell, parent.apply(vec![map(DATA, 0x1000, false)])).expect("it is mapped");
    });
    let mut buffer = [0; 4096];
    measure("read 8 bytes", 5_000, || {
        parent.memory().read(GuestAddr(DATA), &mut buffer[..8]).expect("it is mapped");
    });
    measure("read 4096 bytes", 5_000, || {
        parent.memory().read(GuestAddr(DATA), &mut buffer).expect("it is mapped");
    });
    measure("thread: spawn, call, drop", 200, || {
        let mut regs = regs;
        let mut other = wait(bell, parent.spawn(state())).expect("a thread");
        assert_eq!(run(bell, &mut *other, &mut regs), Event::Syscall);
    });
    measure("new address space, drop", 100, || drop(space()));
    measure("fork, drop", 100, || drop(wait(bell, parent.fork()).expect("a copy")));
    measure("fork, spawn, call, drop", 100, || {
        let child = wait(bell, parent.fork()).expect("a copy");
        let mut regs = regs;
        let mut other = wait(bell, child.spawn(state())).expect("a thread");
        assert_eq!(run(bell, &mut *other, &mut regs), Event::Syscall);
    });
}

fn main() {
    let mut set = CpuSet::new();
    set.set(0).expect("a core");
    sched_setaffinity(Pid::from_raw(0), &set).expect("it can be pinned");
    let start = Instant::now();
    let platform = Systrap::new(SystrapConfig::default()).expect("it starts");
    println!("{:40} {:8.2} us", "start of the platform", start.elapsed().as_secs_f64() * 1e6);
    println!("-- all on one core");
    costs(&platform);
    drop(platform);
    let mut set = CpuSet::new();
    for core in 0..std::thread::available_parallelism().map_or(1, usize::from).max(2) {
        let _ = set.set(core);
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("it can be unpinned");
    println!("-- wherever the host likes");
    costs(&Systrap::new(SystrapConfig::default()).expect("it starts"));
}
