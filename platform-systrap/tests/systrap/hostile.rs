//! Guests that attack: from inside the stub's own code, and through the memory that they share with the sentry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, Event, GuestThread, Platform};

use crate::common::{CODE, DATA, Host, READ, STACK_TOP, WRITE, at, is_alone, raw};

/// The stub's code starts this far above the end of guest memory.
const TEXT: u64 = 0x1_0000;
const TEXT_LEN: usize = 0x2000;
const CHANNELS: u64 = 0x4000_0000;

/// What a guest sees of the stub's code.
fn stub_text(host: &Host, base: u64) -> Vec<u8> {
    let (space, mut thread, mut regs) = host.start(raw::copier());
    host.map(&*space, 0x10_0000, TEXT_LEN as u64, WRITE);
    (regs.rsi, regs.rdi, regs.rcx) = (base + TEXT, 0x10_0000, TEXT_LEN as u64);
    assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    let mut text = vec![0; TEXT_LEN];
    space.memory().read(GuestAddr(0x10_0000), &mut text).expect("it is mapped");
    text
}

/// Where the stub's code makes host calls.
fn call_sites(text: &[u8], base: u64) -> Vec<u64> {
    let calls = text.windows(2).enumerate().filter(|(_, bytes)| *bytes == [0x0f, 0x05]);
    calls.map(|(at, _)| base + TEXT + at as u64).collect()
}

/// Those of guest threads.
pub fn guest_sites(host: &Host, base: u64) -> Vec<u64> {
    let sites = call_sites(&stub_text(host, base), base);
    sites.into_iter().filter(|site| *site < base + TEXT + 0x1000).collect()
}

/// What a guest comes to that jumps somewhere: an event, or nothing within a moment.
fn jump(host: &Host, template: &dyn AddressSpace, regs: &Regs) -> Option<Event> {
    jump_within(host, template, regs, Duration::from_millis(200))
}

/// The same with a longer moment, for a busy machine.
fn jump_within(
    host: &Host,
    template: &dyn AddressSpace,
    regs: &Regs,
    limit: Duration,
) -> Option<Event> {
    let space = host.wait(template.fork()).expect("a copy");
    let mut thread = host.spawn(&*space, regs);
    let mut regs = *regs;
    thread.resume(&regs).expect("it runs");
    host.event_within(&mut *thread, &mut regs, limit)
}

#[test]
fn the_stubs_own_calls_are_of_no_use() {
    let host = Host::new();
    let base = host.platform.capabilities().max_address;
    let text = stub_text(&host, base);
    let sites = call_sites(&text, base);
    assert!(sites.len() >= 8, "{sites:x?}");
    let template = host.load(raw::jumper());
    let warden = base + TEXT + 0x1000;
    // Calls that would mean something anywhere, and all numbers at one site of each side.
    let telling = [0, 1, 9, 10, 11, 25, 28, 41, 56, 57, 59, 61, 62, 101, 157, 231, 310, 317, 435];
    let mut silent = BTreeSet::new();
    let guest_site = sites.iter().find(|site| **site < warden).copied().unwrap_or(0);
    let warden_site = sites.iter().find(|site| **site > warden).copied().unwrap_or(0);
    for site in &sites {
        let all = *site == guest_site || *site == warden_site;
        let numbers: Vec<u64> = if all { (0..470).collect() } else { telling.to_vec() };
        for number in numbers {
            // Arguments that would do harm if they were let through: map, unmap and protect the stub itself.
            let mut regs = at(CODE);
            (regs.rbx, regs.rax) = (*site, number);
            (regs.rdi, regs.rsi, regs.rdx) = (base + TEXT, 0x1000, 7);
            (regs.r10, regs.r8, regs.r9) = (0x32, u64::MAX, 0);
            // Only the end of its own thread may pass in silence, so anything else is given time.
            let ends_itself = *site < warden && number == 60;
            let limit = if ends_itself { 200 } else { 10_000 };
            match jump_within(&host, &*template, &regs, Duration::from_millis(limit)) {
                Some(Event::Dead) => {}
                // A signal frame that the guest has not made; calls that no filter sees, because they only
                // work from the kernel's own trampolines.
                Some(Event::Fault(_)) if number == 15 && *site < warden => {}
                Some(Event::Fault(_)) if matches!(number, 335 | 336) => {}
                None => {
                    silent.insert((*site < warden, number));
                }
                other => panic!("call {number} at {site:#x} came to {other:?}"),
            }
        }
    }
    // A guest may end its own thread; nothing else came through.
    assert!(silent.iter().all(|call| *call == (true, 60)), "{silent:?}");
    assert!(host.space().memory().read(GuestAddr(CODE), &mut [0]).is_err());
}

#[test]
fn allowed_calls_check_their_arguments() {
    let host = Host::new();
    let base = host.platform.capabilities().max_address;
    let sites = call_sites(&stub_text(&host, base), base);
    let site = sites.first().copied().expect("there are calls");
    let template = host.load(raw::jumper());
    let check = |number: u64, arguments: [u64; 4]| {
        let mut regs = at(CODE);
        (regs.rbx, regs.rax) = (site, number);
        [regs.rdi, regs.rsi, regs.rdx, regs.r10] = arguments;
        (regs.r8, regs.r9) = (DATA + 0x8000, 0);
        jump(&host, &*template, &regs)
    };
    let futex = 202;
    assert_eq!(check(futex, [DATA, 0, 0, 0]), Some(Event::Dead), "wait outside the channels");
    assert_eq!(check(futex, [DATA, 1, 1, 0]), Some(Event::Dead), "wake outside the channels");
    assert_eq!(check(futex, [base + 0x3_0000, 0, 0, 0]), Some(Event::Dead), "the order page");
    assert_eq!(check(1, [1, DATA, 8, 0]), Some(Event::Dead), "write to what is no doorbell");
    assert_eq!(check(1, [0, DATA, 9, 0]), Some(Event::Dead), "write of another length");
    assert_eq!(check(1 << 30 | 202, [0, 0, 0, 0]), Some(Event::Dead), "x32");
    // Memory calls: a start in guest memory and a length across the stub, other second addresses, shared memory, a place of
    // the kernel's choice, files, advice that the sentry would not give.
    let (page, across) = (0x1000, base + 0x10_0000 - DATA);
    let fixed = (libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_ANONYMOUS) as u64;
    let map = |addr, len, flags| check(9, [addr, len, 3, flags]);
    assert_eq!(map(DATA, across, fixed), Some(Event::Dead));
    assert_eq!(map(base + CHANNELS, page, fixed), Some(Event::Dead));
    assert_eq!(map(DATA, page, fixed & !(libc::MAP_FIXED as u64)), Some(Event::Dead));
    assert_eq!(map(DATA, page, fixed & !(libc::MAP_ANONYMOUS as u64)), Some(Event::Dead));
    assert_eq!(map(DATA, page, fixed ^ 3), Some(Event::Dead), "shared");
    for number in [10, 11, 28] {
        assert_eq!(check(number, [DATA, across, 4, 0]), Some(Event::Dead), "{number}");
        assert_eq!(check(number, [base + TEXT, page, 4, 0]), Some(Event::Dead), "{number}");
    }
    let merge = [DATA, page, libc::MADV_MERGEABLE as u64, 0];
    assert_eq!(check(28, merge), Some(Event::Dead));
    for flags in [1, 2, 4, 5, 7] {
        assert_eq!(check(25, [DATA, page, page, flags]), Some(Event::Dead), "{flags}");
    }
    assert_eq!(check(25, [DATA, page, across, 0]), Some(Event::Dead));
    assert_eq!(check(25, [DATA, page, across, 3]), Some(Event::Dead));
}

/// Memory calls that are let through reach the guest's own memory, and nobody else's.
#[test]
fn stolen_calls_change_the_thief() {
    let host = Host::new();
    let base = host.platform.capabilities().max_address;
    let text = stub_text(&host, base);
    let sites = call_sites(&text, base);
    let template = host.load(raw::jumper());
    for site in sites.into_iter().filter(|site| *site < base + TEXT + 0x1000) {
        let space = host.wait(template.fork()).expect("a copy");
        let mut regs = at(CODE);
        (regs.rbx, regs.rax, regs.rdi, regs.rsi) = (site, 11, DATA, 0x1000);
        let mut thread = host.spawn(&*space, &regs);
        thread.resume(&regs).expect("it runs");
        // What the stub's code does with such registers behind the call is the thief's affair.
        let _ = host.event_within(&mut *thread, &mut regs, Duration::from_millis(200));
        assert!(space.memory().read(GuestAddr(DATA), &mut [0]).is_err(), "{site:#x}");
        assert!(template.memory().read(GuestAddr(DATA), &mut [0]).is_ok());
    }
}

/// Rights that the guest was not given for a file are the host's to refuse: the descriptor behind a shared mapping that must
/// not be written is one for reading.
#[test]
fn stolen_rights_end_at_the_file() {
    let host = Host::new();
    let base = host.platform.capabilities().max_address;
    let sites = guest_sites(&host, base);
    let template = host.load(raw::jumper());
    let memfd = rustix::fs::memfd_create("shared", rustix::fs::MemfdFlags::CLOEXEC);
    let file = Arc::new(memfd.expect("a memfd"));
    rustix::fs::ftruncate(&*file, 0x1000).expect("it grows");
    for writable in [false, true] {
        let map = || HostOp::MapFile {
            addr: DATA + 0x4000,
            len: 0x1000,
            prot: READ,
            shared: true,
            writable,
            file: Arc::clone(&file),
            offset: 0,
            populate: false,
            code: None,
        };
        let stolen = |site: &&u64| {
            let space = host.wait(template.fork()).expect("a copy");
            host.wait(space.apply(vec![map()])).expect("a mapping");
            let mut regs = at(CODE);
            (regs.rbx, regs.rax) = (**site, 10);
            (regs.rdi, regs.rsi, regs.rdx) = (DATA + 0x4000, 0x1000, 3);
            let mut thread = host.spawn(&*space, &regs);
            thread.resume(&regs).expect("it runs");
            let _ = host.event_within(&mut *thread, &mut regs, Duration::from_millis(200));
            space.memory().write(GuestAddr(DATA + 0x4000), b"x").is_ok()
        };
        assert_eq!(sites.iter().filter(stolen).count() > 0, writable);
    }
}

#[test]
fn the_stubs_pages_cannot_be_written() {
    let host = Host::new();
    let base = host.platform.capabilities().max_address;
    let (_space, mut thread, mut regs) = host.start(raw::toucher());
    for page in [TEXT, TEXT + 0x1000, 0x2_0000, 0x2_1000, 0x2_2000, 0x3_0000] {
        (regs.rip, regs.rdi) = (CODE, base + page);
        let Event::Fault(fault) = host.run(&mut *thread, &mut regs) else { panic!("no fault") };
        assert_eq!((fault.signal, fault.code, regs.rip), (11, 2, CODE + 3), "{page:#x}");
    }
}

#[test]
fn nothing_of_the_sentry_is_mapped() {
    if !is_alone("hostile::nothing_of_the_sentry_is_mapped") {
        return;
    }
    let host = Host::new();
    let (_space, _thread, _regs) = host.start(raw::toucher());
    let base = host.platform.capabilities().max_address;
    for stub in crate::common::children() {
        let maps = std::fs::read_to_string(format!("/proc/{stub}/maps")).unwrap_or_default();
        for line in maps.lines() {
            let start =
                line.split('-').next().and_then(|start| u64::from_str_radix(start, 16).ok());
            let start = start.expect("maps lines begin with an address");
            let is_guest = start == CODE || (DATA..STACK_TOP).contains(&start);
            let is_known = ["[vdso]", "[vvar", "[vsyscall]", "chitin-", "[heap]"]
                .iter()
                .any(|known| line.contains(known));
            let is_stub = (base..base + 0x8000_0000).contains(&start);
            assert!(is_guest || is_known || is_stub, "{line}");
            if is_stub {
                assert!(!line.contains("wx"), "{line}");
            }
        }
        let status = std::fs::read_to_string(format!("/proc/{stub}/status")).unwrap_or_default();
        if !status.is_empty() {
            assert!(status.contains("CapPrm:\t0000000000000000"), "{status}");
            assert!(status.contains("CapBnd:\t0000000000000000"), "{status}");
            assert!(status.contains("NoNewPrivs:\t1"), "{status}");
            assert!(status.contains("Seccomp:\t2"), "{status}");
        }
    }
}

fn scribble(host: &Host, seed: u64) {
    let base = host.platform.capabilities().max_address;
    let space: Arc<dyn AddressSpace> = host.load(raw::scribbler());
    let caller = host.wait(space.fork()).expect("a copy");
    let bystander = host.load(raw::caller());
    let mut scribbling = at(CODE);
    // All channels that this stub has, from the third page of the first one.
    (scribbling.rdi, scribbling.rcx) = (base + CHANNELS, 2 * 0x1_0000 / 8);
    scribbling.rax = seed;
    let mut writer = host.spawn(&*space, &scribbling);
    let mut victim = host.spawn(&*space, &at(CODE + 0x100));
    let _ = writer.resume(&scribbling);
    let mut regs = at(CODE);
    let mut thread = host.spawn(&*bystander, &regs);
    let mut victim_regs = at(CODE + 0x100);
    for _ in 0..300 {
        let _ = victim.resume(&victim_regs);
        let short = Duration::from_micros(100);
        let _ = host.event_within(&mut *victim, &mut victim_regs, short);
        let _ = victim.extended_state();
        let _ = victim.set_extended_state(&[]);
        let _ = host.event_within(&mut *writer, &mut scribbling, Duration::ZERO);
        let _ = writer.resume(&scribbling);
        // Others go on.
        assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
    }
    drop((writer, victim, caller));
    space.kill();
}

#[test]
fn scribbling_over_channels_hurts_only_the_scribbler() {
    let host = Host::new();
    for seed in 1..=4 {
        scribble(&host, 0x9e37_79b9_7f4a_7c15 >> seed);
    }
}

#[test]
fn garbage_in_all_registers() {
    let host = Host::new();
    let template = host.load(raw::jumper());
    let mut value = 0x1234_5678_9abc_def1_u64;
    for _ in 0..60 {
        let space = host.wait(template.fork()).expect("a copy");
        let mut next = || {
            value ^= value << 13;
            value ^= value >> 7;
            value ^= value << 17;
            value
        };
        let mut regs = Regs {
            rax: next(),
            rbx: next(),
            rcx: next(),
            rdx: next(),
            rsi: next(),
            rdi: next(),
            rbp: next(),
            rsp: next(),
            rip: next(),
            eflags: next(),
            cs: next(),
            ss: next(),
            fs_base: next(),
            gs_base: next(),
            fs: next(),
            gs: next(),
            ..Regs::default()
        };
        let mut thread: Box<dyn GuestThread> = host.spawn(&*space, &regs);
        thread.resume(&regs).expect("it is alive");
        match host.event(&mut *thread, &mut regs) {
            Event::Fault(fault) => assert!(matches!(fault.signal, 11 | 7), "{fault:?}"),
            Event::Dead => {}
            other => panic!("{other:?}"),
        }
    }
}
