//! What guests' memory does: mapping, copying, sharing, and the limits of each.

use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, GuestAddr, Regs};
use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, Event, Platform};

use crate::common::{CODE, DATA, Host, READ, WRITE, anonymous, at, raw};

fn byte(space: &dyn AddressSpace, addr: u64) -> Result<u8, Errno> {
    let mut byte = [0];
    space.memory().read(GuestAddr(addr), &mut byte).map(|()| byte[0])
}

#[test]
fn mappings_come_move_and_go() {
    let host = Host::new();
    let space = host.space();
    assert_eq!(byte(&*space, DATA), Err(Errno::EFAULT));
    let ops =
        vec![anonymous(DATA, 0x3000, WRITE), HostOp::Unmap { addr: DATA + 0x1000, len: 0x1000 }];
    host.wait(space.apply(ops)).expect("a batch");
    space.memory().write(GuestAddr(DATA), b"x").expect("it is mapped");
    assert_eq!(byte(&*space, DATA + 0x1000), Err(Errno::EFAULT));
    let mut partial = [0; 0x1800];
    assert_eq!(space.memory().read_partial(GuestAddr(DATA), &mut partial), Ok(0x1000));
    let remap = HostOp::Remap {
        old_addr: DATA,
        old_len: 0x1000,
        new_addr: DATA + 0x10000,
        new_len: 0x2000,
        keep_old: false,
    };
    host.wait(space.apply(vec![remap])).expect("it moves");
    assert_eq!(byte(&*space, DATA + 0x10000), Ok(b'x'));
    assert_eq!(byte(&*space, DATA), Err(Errno::EFAULT));
    let protect = HostOp::Protect { addr: DATA + 0x10000, len: 0x1000, prot: READ };
    host.wait(space.apply(vec![protect])).expect("it is mapped");
    assert_eq!(space.memory().write(GuestAddr(DATA + 0x10000), b"y"), Err(Errno::EFAULT));
    let advise = HostOp::Advise { addr: DATA + 0x10000, len: 0x1000, advice: libc::MADV_DONTNEED };
    host.wait(space.apply(vec![advise])).expect("it is mapped");
    assert_eq!(byte(&*space, DATA + 0x10000), Ok(0));
}

#[test]
fn the_first_failure_ends_a_batch() {
    let host = Host::new();
    let space = host.space();
    let missing = HostOp::Protect { addr: DATA + 0x10_0000, len: 0x1000, prot: READ };
    let ops =
        vec![anonymous(DATA, 0x1000, WRITE), missing, anonymous(DATA + 0x4000, 0x1000, WRITE)];
    assert_eq!(host.wait(space.apply(ops)), Err(Errno::ENOMEM));
    assert_eq!(byte(&*space, DATA), Ok(0));
    assert_eq!(byte(&*space, DATA + 0x4000), Err(Errno::EFAULT));
    // A later batch is not held up by it.
    host.map(&*space, DATA + 0x4000, 0x1000, READ);
    let limit = host.platform.capabilities().max_address;
    for (addr, len) in [(limit - 0x1000, 0x2000), (limit, 0x1000), (0, 0x1000), (DATA + 1, 0x1000)]
    {
        assert_eq!(host.wait(space.apply(vec![anonymous(addr, len, READ)])), Err(Errno::EINVAL));
    }
    host.map(&*space, limit - 0x1000, 0x1000, READ);
}

#[test]
fn long_batches_are_in_order() {
    let host = Host::new();
    let space = host.space();
    let ops = (0..300).map(|index| anonymous(DATA + 0x1000 * index, 0x1000, WRITE)).collect();
    let first = space.apply(ops);
    let second = space.apply(vec![HostOp::Unmap { addr: DATA, len: 0x1000 }]);
    host.wait(second).expect("it is mapped by then");
    host.wait(first).expect("all are mapped");
    assert_eq!(byte(&*space, DATA), Err(Errno::EFAULT));
    assert_eq!(byte(&*space, DATA + 0x1000 * 299), Ok(0));
}

fn file(pages: u8) -> OwnedFd {
    let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
    let mut file = std::fs::File::from(fd);
    for page in 0..pages {
        file.write_all(&[page + 1; 0x1000]).expect("it is written");
    }
    file.rewind().expect("it can be read again");
    file.into()
}

#[test]
fn files_are_mapped_privately_and_shared() {
    let host = Host::new();
    let space = host.space();
    let files: Vec<_> = (0..40).map(|_| Arc::new(file(2))).collect();
    let map = |index: usize, shared| HostOp::MapFile {
        addr: DATA + 0x1000 * index as u64,
        len: 0x1000,
        prot: WRITE,
        shared,
        writable: true,
        file: Arc::clone(&files[index % 40]),
        offset: 0x1000 * (index as u64 % 2),
        populate: false,
        code: None,
    };
    host.wait(space.apply((0..80).map(|index| map(index, index < 40)).collect())).expect("a batch");
    for index in 0..80 {
        assert_eq!(byte(&*space, DATA + 0x1000 * index), Ok(1 + index as u8 % 2));
    }
    space.memory().write(GuestAddr(DATA), &[99]).expect("it is mapped");
    space.memory().write(GuestAddr(DATA + 0x1000 * 41), &[98]).expect("it is mapped");
    let mut back = [0];
    rustix::io::pread(&files[0], &mut back, 0).expect("it can be read");
    assert_eq!(back, [99], "shared");
    rustix::io::pread(&files[1], &mut back, 0x1000).expect("it can be read");
    assert_eq!(back, [2], "private");
}

#[test]
fn a_fork_is_a_copy() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::adder());
    let shared = HostOp::MapAnonymous {
        addr: DATA + 0x10_0000,
        len: 0x1000,
        prot: WRITE,
        shared: true,
        populate: false,
        noreserve: false,
        grows_down: false,
    };
    host.wait(space.apply(vec![shared])).expect("it can be mapped");
    space.memory().write(GuestAddr(DATA), &[1]).expect("it is mapped");
    let child = host.wait(space.fork()).expect("a copy");
    assert_eq!(byte(&*child, DATA), Ok(1));
    child.memory().write(GuestAddr(DATA), &[2]).expect("it is mapped");
    assert_eq!(byte(&*space, DATA), Ok(1));
    child.memory().write(GuestAddr(DATA + 0x10_0000), &[3]).expect("it is mapped");
    assert_eq!(byte(&*space, DATA + 0x10_0000), Ok(3));
    // Both run, each on its own copy.
    (regs.rdi, regs.rsi) = (DATA, 1);
    let mut other = host.spawn(&*child, &regs);
    thread.resume(&regs).expect("it runs");
    let mut other_regs = regs;
    assert_eq!(host.run(&mut *other, &mut other_regs), Event::Syscall);
    assert_eq!(host.event(&mut *thread, &mut regs), Event::Syscall);
    let sums = [&space, &child].map(|space| {
        let mut sum = [0; 8];
        space.memory().read(GuestAddr(DATA), &mut sum).expect("it is mapped");
        u64::from_ne_bytes(sum)
    });
    assert_eq!(sums, [1_000_001, 1_000_002]);
    // A copy of a copy, after its parents are gone.
    let grandchild = host.wait(child.fork()).expect("a copy");
    drop((thread, space, other, child));
    let mut thread = host.spawn(&*grandchild, &at(CODE));
    let mut regs = Regs { rdi: DATA, ..at(CODE) };
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
}

#[test]
fn many_forks() {
    let host = Host::new();
    let space = host.load(raw::caller());
    let start = std::time::Instant::now();
    let count = 200;
    for _ in 0..count {
        let child = host.wait(space.fork()).expect("a copy");
        let mut thread = host.spawn(&*child, &at(CODE));
        let mut regs = at(CODE);
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    }
    println!("{} us per fork and first call", start.elapsed().as_micros() / count);
}

#[test]
fn the_vdso_is_there() {
    let host = Host::new();
    let space = host.space();
    let Some(vdso) = host.platform.capabilities().vdso else { return };
    let mut magic = [0; 4];
    space.memory().read(GuestAddr(vdso.ehdr), &mut magic).expect("it is mapped");
    assert_eq!(&magic, b"\x7fELF");
    let unmap = HostOp::Unmap { addr: vdso.start, len: vdso.end - vdso.start };
    host.wait(space.apply(vec![unmap])).expect("it can go");
    assert_eq!(byte(&*space, vdso.ehdr), Err(Errno::EFAULT));
}

#[test]
fn words_are_changed_atomically() {
    let host = Host::new();
    let (space, mut thread, mut regs) = host.start(raw::adder());
    (regs.rdi, regs.rsi) = (DATA, 1);
    thread.resume(&regs).expect("it runs");
    let (mut expected, mut added) = (0, 0_u32);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while thread.poll_event(&mut context, &mut regs).is_pending() {
        let new = u32::wrapping_add(expected, 1 << 20);
        let seen = space.memory().compare_exchange_u32(GuestAddr(DATA), expected, new);
        let seen = seen.expect("it is mapped");
        if seen == expected {
            added += 1;
            expected = new;
        } else {
            expected = seen;
        }
    }
    let sum = added.wrapping_mul(1 << 20).wrapping_add(1_000_000);
    let mut word = [0; 4];
    space.memory().read(GuestAddr(DATA), &mut word).expect("it is mapped");
    assert_eq!(u32::from_ne_bytes(word), sum, "{added} by the sentry");
    let exchange = |addr| space.memory().compare_exchange_u32(GuestAddr(addr), 0, 1);
    assert_eq!(exchange(DATA + 0x10_0000), Err(Errno::EFAULT));
    assert_eq!(exchange(CODE), Err(Errno::EFAULT), "not writable");
    assert_eq!(exchange(DATA + 4), Ok(0));
    space.kill();
    assert_eq!(exchange(DATA + 4), Err(Errno::ESRCH));
}
