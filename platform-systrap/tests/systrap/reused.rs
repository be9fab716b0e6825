//! Stubs that are used again: nothing of the past shows.

use std::sync::Arc;

use chitin_abi::{Errno, GuestAddr, Regs};
use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, Domain, Event, GuestThread, Platform};

use crate::common::{
    CODE, DATA, Host, READ, RUN, STACK_TOP, WRITE, anonymous, at, children, is_alone, raw,
};

fn read(space: &dyn AddressSpace, addr: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    space.memory().read(GuestAddr(addr), &mut bytes).map(|()| u64::from_ne_bytes(bytes))
}

fn domain(number: u64) -> Domain {
    Arc::from([number])
}

/// As [`Host::start`], with what others of the domain may have left.
fn start_in(
    host: &Host,
    domain: &Domain,
    code: &[u8],
) -> (Arc<dyn AddressSpace>, Box<dyn GuestThread>, Regs) {
    let space = host.wait(host.platform.address_space_for(domain)).expect("an address space");
    host.fill(&*space, code);
    let thread = host.spawn(&*space, &at(CODE));
    (space, thread, at(CODE))
}

/// Puts another program in the place of one whose thread stands still.
fn exec(
    host: &Host,
    old: &Arc<dyn AddressSpace>,
    thread: &mut dyn GuestThread,
    code: &[u8],
) -> Option<Arc<dyn AddressSpace>> {
    let (space, ops) = old.renew()?;
    host.wait(space.apply(ops)).expect("it is emptied");
    for addr in [CODE, DATA, DATA + 0x10_0000, STACK_TOP - 8] {
        assert_eq!(read(&*space, addr), Err(Errno::EFAULT));
    }
    host.map(&*space, CODE, 0x1000, WRITE);
    host.map(&*space, STACK_TOP - 0x1000, 0x1000, WRITE);
    space.memory().write(GuestAddr(CODE), code).expect("it is mapped");
    let run = HostOp::Protect { addr: CODE, len: 0x1000, prot: RUN };
    host.wait(space.apply(vec![run])).expect("it can be protected");
    thread.renew().expect("it stands still");
    Some(space)
}

#[test]
fn another_program_finds_nothing_of_the_old_one() {
    if !is_alone("reused::another_program_finds_nothing_of_the_old_one") {
        return;
    }
    let host = Host::new();
    let (mut space, mut thread, mut regs) = host.start(raw::counter());
    let before = children();
    for round in 0..20_u64 {
        regs.rbx = 77;
        regs.fs_base = DATA;
        // Often enough for the site to be rewritten in some of them.
        for _ in 0..round * 3 {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            regs.rax = 1;
        }
        if round % 2 == 0 {
            host.map(&*space, DATA + 0x10_0000, 0x1000, WRITE);
            space.memory().write(GuestAddr(DATA + 0x10_0000), b"secrets!").expect("it is mapped");
        }
        let code = if round % 3 == 0 { raw::counter() } else { raw::comparer() };
        let old = Arc::clone(&space);
        space = exec(&host, &old, &mut *thread, code).expect("it can be used again");
        assert_eq!(read(&*old, CODE), Err(Errno::ESRCH), "the old handle is of no more use");
        assert_eq!(old.memory().write(GuestAddr(CODE), &[0]), Err(Errno::ESRCH));
        assert!(host.wait(old.apply(vec![anonymous(CODE, 0x1000, READ)])).is_err());
        assert!(old.renew().is_none() && host.wait(old.fork()).is_err());
        old.kill();
        assert_eq!(read(&*space, STACK_TOP - 8), Ok(0), "its stack is its own");
        regs = at(CODE);
        let wanted = regs;
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        assert_eq!((regs.fs_base, regs.gs_base, regs.rsp), (0, 0, wanted.rsp));
        assert_eq!((regs.rbp, regs.r12, regs.r15), (0, 0, 0));
        regs.rax = 1;
    }
    assert_eq!(children(), before, "no stub is made or ended");
}

#[test]
fn extended_state_is_that_of_a_new_thread() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::comparer());
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    let fresh = thread.extended_state();
    let mut state = fresh.clone();
    state[160] = 99;
    state[512] |= 2;
    thread.set_extended_state(&state).expect("it is a good one");
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!(thread.extended_state()[160], 99);
    let _space = exec(&host, &space, &mut *thread, raw::comparer()).expect("it can be used again");
    regs = at(CODE);
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    assert_eq!(thread.extended_state()[160], 0);
}

#[test]
fn what_may_have_been_changed_is_not_used_again() {
    let host = Host::new();
    let regs = at(CODE);
    // A second thread, which has ended as far as anybody knows.
    let (space, _thread, _) = host.start(raw::comparer());
    drop(host.spawn(&*space, &regs));
    assert!(space.renew().is_none());
    // The vDSO.
    let vdso = host.platform.capabilities().vdso.expect("there is one");
    let (space, _thread, _) = host.start(raw::comparer());
    let len = vdso.end - vdso.ehdr;
    host.wait(space.apply(vec![HostOp::Protect { addr: vdso.ehdr, len, prot: RUN }]))
        .expect("it is mapped");
    assert!(space.renew().is_none());
    let (space, _thread, _) = host.start(raw::comparer());
    let _ = space.memory().write(GuestAddr(vdso.end - 8), b"12345678");
    assert!(space.renew().is_none());
    let (space, _thread, _) = host.start(raw::comparer());
    host.wait(space.apply(vec![HostOp::Unmap { addr: CODE, len: 0x1000 }])).expect("it is mapped");
    assert!(space.renew().is_some(), "anything else does not matter");
}

#[test]
fn processes_that_have_ended_leave_their_stubs() {
    if !is_alone("reused::processes_that_have_ended_leave_their_stubs") {
        return;
    }
    let host = Host::new();
    let files = || std::fs::read_dir("/proc/self/fd").expect("there is /proc").count();
    let (mut stubs, mut open) = (Vec::new(), 0);
    for round in 0..200 {
        let (space, mut thread, mut regs) = start_in(&host, &domain(1), raw::counter());
        assert_eq!(read(&*space, DATA), Ok(0));
        space.memory().write(GuestAddr(DATA), b"secrets!").expect("it is mapped");
        for _ in 0..round % 40 {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            regs.rax = 1;
        }
        drop(thread);
        space.retire(&domain(1));
        drop(space);
        if round == 10 {
            (stubs, open) = (children(), files());
        }
    }
    assert_eq!(children(), stubs, "no more of them are made");
    assert_eq!(files(), open);
}

#[test]
fn copies_leave_theirs_too() {
    if !is_alone("reused::copies_leave_theirs_too") {
        return;
    }
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::counter());
    for _ in 0..50 {
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        let copy = host.wait(space.fork()).expect("a copy");
        let mut other = host.spawn(&*copy, &Regs { rbx: 5, ..regs });
        let mut theirs = Regs { rbx: 5, ..regs };
        assert_eq!(host.run(&mut *other, &mut theirs), Event::Syscall);
        assert_eq!(theirs.rbx, 6);
        drop(other);
        copy.retire(&domain(1));
    }
    let mut spaces = Vec::new();
    for _ in 0..6 {
        let (space, mut thread, mut regs) = start_in(&host, &domain(1), raw::comparer());
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        spaces.push((space, thread));
    }
    // The first stub, that of the copies' parent, and those six: none of the others lives on beside them.
    let start = std::time::Instant::now();
    while children().len() > 8 {
        assert!(start.elapsed().as_secs() < 5, "{:?}", children());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn stubs_stay_within_their_domain() {
    if !is_alone("reused::stubs_stay_within_their_domain") {
        return;
    }
    let host = Host::new();
    // What lies ready from the beginning.
    let (_first, _thread, _) = host.start(raw::comparer());
    let run = |owner: u64| {
        let (space, mut thread, mut regs) = start_in(&host, &domain(owner), raw::comparer());
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
        let stub = children().into_iter().max().expect("a stub");
        drop(thread);
        space.retire(&domain(owner));
        stub
    };
    let mine = run(1);
    let count = children().len();
    assert_eq!(run(1), mine);
    assert_eq!(children().len(), count, "mine is used again");
    assert_ne!(run(2), mine, "not by another");
    assert_eq!(children().len(), count + 1);
    let _other = host.space();
    assert_eq!(children().len(), count + 2, "nor by one of no domain");
}
