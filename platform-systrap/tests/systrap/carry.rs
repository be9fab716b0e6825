//! Memory operations that guest threads carry out themselves.

use std::future::poll_fn;
use std::time::Duration;

use chitin_abi::{Errno, GuestAddr, Regs};
use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, Event, GuestThread, Platform, ThreadState};

use crate::common::{CODE, DATA, Host, READ, STACK_TOP, WRITE, anonymous, at, raw};
use crate::patched::{SITES, answer, prepare};

/// Where nothing is mapped at first.
const PLACE: u64 = 0x100_0000;
/// The flags of a guest thread's clone.
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_CHILD_CLEARTID) as u64;
const SHORT: Duration = Duration::from_millis(50);

fn unmap(addr: u64, len: u64) -> HostOp {
    HostOp::Unmap { addr, len }
}

fn protect(addr: u64) -> HostOp {
    HostOp::Protect { addr, len: 0x1000, prot: READ }
}

/// A thread that touches an address and calls, then starts over.
fn toucher(host: &Host) -> (std::sync::Arc<dyn AddressSpace>, Box<dyn GuestThread>, Regs) {
    let (space, thread, regs) = host.start(raw::toucher());
    (space, thread, Regs { rdi: PLACE, ..regs })
}

fn is_mapped(space: &dyn AddressSpace, addr: u64) -> bool {
    space.memory().read(GuestAddr(addr), &mut [0]).is_ok()
}

#[test]
fn they_are_done_before_the_guest_runs() {
    let host = Host::new();
    let (space, mut thread, start) = toucher(&host);
    let mut regs = start;
    assert!(thread.carry(&[anonymous(PLACE, 0x1000, WRITE)], &[]));
    assert!(!is_mapped(&*space, PLACE), "not before it goes on");
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    let ops = [
        anonymous(PLACE + 0x1000, 0x4000, WRITE),
        HostOp::Remap {
            old_addr: PLACE,
            old_len: 0x1000,
            new_addr: PLACE + 0x8000,
            new_len: 0x2000,
            keep_old: false,
        },
        HostOp::Advise { addr: PLACE + 0x1000, len: 0x1000, advice: libc::MADV_DONTNEED },
        protect(PLACE + 0x1000),
        unmap(PLACE + 0x2000, 0x1000),
    ];
    assert!(thread.carry(&ops, &[]));
    regs = start;
    let Event::Fault(fault) = host.run(&mut *thread, &mut regs) else { panic!("no fault") };
    assert_eq!((fault.signal, fault.address), (11, GuestAddr(PLACE)));
    let mapped = [1, 2, 3, 8, 9].map(|page| is_mapped(&*space, PLACE + 0x1000 * page));
    assert_eq!(mapped, [true, false, true, true, true]);
    assert_eq!(space.memory().write(GuestAddr(PLACE + 0x1000), &[1]), Err(Errno::EFAULT));
}

#[test]
fn they_can_be_done_while_the_guest_stands_still() {
    let host = Host::new();
    let (space, mut thread, mut regs) = toucher(&host);
    host.wait(poll_fn(|context| thread.poll_carried(context))).expect("nothing to do");
    assert!(thread.carry(&[anonymous(PLACE, 0x1000, WRITE)], &[]));
    assert!(!thread.carry(&[anonymous(PLACE, 0x1000, WRITE)], &[]), "one list at a time");
    host.wait(poll_fn(|context| thread.poll_carried(context))).expect("it is mapped");
    assert!(is_mapped(&*space, PLACE));
    assert!(thread.carry(&[protect(PLACE + 0x1000)], &[]));
    let failed = host.wait(poll_fn(|context| thread.poll_carried(context)));
    assert_eq!(failed, Err(Errno::ENOMEM));
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
}

#[test]
fn the_first_failure_keeps_the_guest_where_it_is() {
    let host = Host::new();
    let (space, mut thread, mut regs) = toucher(&host);
    let ops = [anonymous(PLACE, 0x1000, WRITE), protect(PLACE + 0x4000), unmap(PLACE, 0x1000)];
    let optional = [protect(PLACE + 0x5000), anonymous(PLACE + 0x2000, 0x1000, WRITE)];
    assert!(thread.carry(&ops, &optional));
    let before = regs;
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Failed(Errno::ENOMEM));
    assert_eq!(regs, before);
    assert!(is_mapped(&*space, PLACE), "behind the failure nothing is done");
    assert!(is_mapped(&*space, PLACE + 0x2000), "but for what may fail");
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!(regs.orig_rax, 39);
}

#[test]
fn behind_a_rewritten_call_too() {
    let host = Host::new();
    let (space, mut thread, mut regs) = prepare(&host, raw::counter(), CODE + SITES[0].0);
    for round in 0..50 {
        let addr = PLACE + 0x1000 * round;
        assert!(
            thread.carry(&[anonymous(addr, 0x1000, WRITE)], &[unmap(addr + 0x10_0000, 0x1000)])
        );
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert!(is_mapped(&*space, addr));
        let before = regs;
        assert!(thread.carry(&[protect(PLACE + 0x20_0000)], &[]));
        answer(&mut regs, 7);
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Failed(Errno::ENOMEM));
        assert_eq!((regs.rip, regs.rbx, regs.rax), (before.rip, before.rbx, 7));
        assert!(thread.carry(&[unmap(addr, 0x1000)], &[]));
        host.wait(poll_fn(|context| thread.poll_carried(context))).expect("it was mapped");
        assert!(!is_mapped(&*space, addr));
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert_eq!(regs.rbx, before.rbx + 1);
        answer(&mut regs, round);
    }
}

#[test]
fn others_wait_for_them() {
    let host = Host::new();
    let (space, mut thread, mut regs) = toucher(&host);
    let mut other = host.spawn(&*space, &at(CODE));
    assert!(thread.carry(&[anonymous(PLACE, 0x2000, WRITE)], &[]));
    assert!(!other.carry(&[unmap(PLACE + 0x1000, 0x1000)], &[]), "the same range");
    assert!(other.carry(&[unmap(PLACE + 0x2000, 0x1000)], &[]), "another range");
    let mut later = space.apply(vec![unmap(PLACE + 0x1000, 0x4000)]);
    let mut copy = space.fork();
    assert!(host.within(&mut later, SHORT).is_none());
    assert!(host.within(&mut copy, SHORT).is_none());
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    // The other thread holds the second operation up, and the copy.
    assert!(host.within(&mut later, SHORT).is_none());
    host.wait(poll_fn(|context| other.poll_carried(context))).expect("it is done");
    host.wait(later).expect("it was mapped");
    assert!(is_mapped(&*space, PLACE) && !is_mapped(&*space, PLACE + 0x1000));
    let child = host.wait(copy).expect("a copy");
    assert!(is_mapped(&*child, PLACE) && !is_mapped(&*child, PLACE + 0x1000));
    // Whoever ends takes its operations along.
    assert!(other.carry(&[unmap(DATA, 0x1000)], &[]));
    let later = space.apply(vec![anonymous(DATA, 0x1000, WRITE)]);
    drop(other);
    host.wait(later).expect("it can be mapped");
}

#[test]
fn a_kick_waits_for_them() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::spinner());
    for round in 0..20 {
        let mut big = anonymous(PLACE, 64 << 20, WRITE);
        if let HostOp::MapAnonymous { populate, .. } = &mut big {
            *populate = true;
        }
        assert!(thread.carry(&[big, unmap(PLACE, 32 << 20)], &[]));
        let kick = thread.interrupter();
        thread.resume(&regs).expect("it runs");
        std::thread::sleep(Duration::from_millis(round % 8));
        kick.interrupt();
        assert_eq!(host.event(&mut *thread, &mut regs), Event::Interrupted);
        if is_mapped(&*space, PLACE) {
            // It had not begun: it does so the next time.
            thread.resume(&regs).expect("it runs");
            kick.interrupt();
            assert_eq!(host.event(&mut *thread, &mut regs), Event::Interrupted);
        }
        assert!(!is_mapped(&*space, PLACE));
        assert!(is_mapped(&*space, PLACE + (32 << 20)));
        assert!(thread.carry(&[unmap(PLACE, 64 << 20)], &[]));
        host.wait(poll_fn(|context| thread.poll_carried(context))).expect("it was mapped");
    }
}

#[test]
fn a_stub_may_die_over_them() {
    let host = Host::new();
    for _ in 0..5 {
        let (space, mut thread, mut regs) = toucher(&host);
        let mut big = anonymous(PLACE, 64 << 20, WRITE);
        if let HostOp::MapAnonymous { populate, .. } = &mut big {
            *populate = true;
        }
        assert!(thread.carry(&[big], &[]));
        thread.resume(&regs).expect("it runs");
        let later = space.apply(vec![unmap(PLACE, 0x1000)]);
        space.kill();
        assert_eq!(host.event(&mut *thread, &mut regs), Event::Dead);
        assert_eq!(host.wait(later), Err(Errno::ESRCH));
        assert!(!thread.carry(&[unmap(PLACE, 0x1000)], &[]));
    }
}

#[test]
fn some_stay_with_the_warden() {
    let host = Host::new();
    let (_space, mut thread, _regs) = toucher(&host);
    let shared = HostOp::MapAnonymous {
        addr: PLACE,
        len: 0x1000,
        prot: WRITE,
        shared: true,
        populate: false,
        noreserve: false,
        grows_down: false,
    };
    let advise = |advice| HostOp::Advise { addr: DATA, len: 0x1000, advice };
    let sync = HostOp::Sync { addr: DATA, len: 0x1000, flags: libc::MS_SYNC };
    for op in [shared, advise(libc::MADV_MERGEABLE), advise(libc::MADV_REMOVE), sync] {
        assert!(!thread.carry(&[op], &[]));
    }
    assert!(!thread.carry(&[], &[]));
    assert!(!thread.carry(&vec![unmap(DATA, 0x1000); 9], &[]));
    assert!(!thread.carry(&[unmap(DATA, 0xfff)], &[]), "not whole pages");
    assert!(!thread.carry(&[unmap(0x7fff_0000_0000, 0x1000)], &[]), "not the guest's");
}

/// A second thread that the first one makes, once there is a mapped channel for it.
fn spawn_by(host: &Host, thread: &mut dyn GuestThread, regs: &Regs) -> Box<dyn GuestThread> {
    let state = ThreadState { regs: *regs, extended: Vec::new() };
    let Ok(made) = thread.spawn(state) else { panic!("there is a channel") };
    host.wait(made).expect("a thread")
}

#[test]
fn threads_make_threads() {
    let host = Host::new();
    let (space, mut thread, regs) = host.start(raw::adder());
    let state = ThreadState { regs, extended: Vec::new() };
    assert!(thread.spawn(state).is_err(), "nothing is mapped for it");
    let first = host.spawn(&*space, &regs);
    // One ended, one spare: from here on the warden is not asked any more.
    drop(first);
    let mut regs = Regs { rdi: DATA, rsi: 1, ..at(CODE) };
    let mut others = vec![spawn_by(&host, &mut *thread, &regs)];
    std::thread::sleep(SHORT); // until the host's thread has ended
    others.push(spawn_by(&host, &mut *thread, &regs));
    for other in &mut others {
        other.resume(&regs).expect("it runs");
    }
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    for other in &mut others {
        assert_eq!(host.event(&mut **other, &mut regs), Event::Syscall);
    }
    let mut sum = [0; 8];
    space.memory().read(GuestAddr(DATA), &mut sum).expect("it is mapped");
    assert_eq!(u64::from_ne_bytes(sum), 3_000_000);
    // They are interrupted as any other, also before they have run.
    others[0].interrupter().interrupt();
    assert_eq!(host.run(&mut *others[0], &mut regs), Event::Interrupted);
    let kick = others[1].interrupter();
    regs = at(CODE);
    (regs.rdi, regs.rcx) = (DATA, u64::MAX >> 1);
    regs.rip = CODE + 5; // behind the loading of the counter
    others[1].resume(&regs).expect("it runs");
    std::thread::sleep(SHORT);
    kick.interrupt();
    assert_eq!(host.event(&mut *others[1], &mut regs), Event::Interrupted);
}

#[test]
fn threads_come_and_go() {
    let host = Host::new();
    let (space, mut thread, start) = host.start(raw::caller());
    let mut by_itself = 0;
    for _ in 0..200 {
        let state = ThreadState { regs: start, extended: Vec::new() };
        let mut regs = start;
        let mut other = match thread.spawn(state) {
            Ok(made) => {
                by_itself += 1;
                host.wait(made).expect("a thread")
            }
            Err(state) => host.wait(space.spawn(*state)).expect("a thread"),
        };
        assert_eq!(host.run(&mut *other, &mut regs), Event::Syscall);
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    }
    assert!(by_itself > 150, "{by_itself}");
}

/// Guest code that clones itself from the stub's text: what comes of it is a thread with the same filters, which ends with
/// the process.
#[test]
fn stowaways_end_with_their_process() {
    let host = Host::new();
    let space = host.load(raw::jumper());
    let base = host.platform.capabilities().max_address;
    let site = crate::hostile::guest_sites(&host, base)[0];
    let mut regs = Regs { rbx: site, rax: 56, rdi: THREAD, rsi: STACK_TOP - 0x8000, ..at(CODE) };
    let mut thread = host.spawn(&*space, &regs);
    thread.resume(&regs).expect("it runs");
    let _ = host.event_within(&mut *thread, &mut regs, Duration::from_millis(200));
    space.kill();
    drop((thread, space));
    let mut regs = at(CODE);
    regs.rbx = 0;
    let (_space, mut thread, _) = host.start(raw::caller());
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall, "others go on");
}
