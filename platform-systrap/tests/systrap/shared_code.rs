//! Code of files that is rewritten once for all.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use chitin_abi::Regs;
use chitin_mm::platform::{AddressSpace, Event, GuestThread, KnownCode, Platform};
use chitin_mm::{HostOp, MappedCode};

use crate::common::{CODE, DATA, Host, RUN, STACK_TOP, WRITE, at, raw};
use crate::patched::{SITES, answer, byte};

/// Where the code begins in its file, behind instructions that do nothing.
const BEGIN: u64 = 0x400;
const LEN: u64 = 0x1000;
/// From the code to the room for trampolines.
const FAR: i64 = -0x10_0000;

/// A file whose last change was so long ago that a new one would show.
fn file(code: &[u8]) -> Arc<OwnedFd> {
    settled(&contents(code))
}

/// Some code behind much that does nothing.
fn contents(code: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = [0x48, 0x89, 0xc0, 0x90].repeat(BEGIN as usize / 4);
    bytes.extend(code);
    bytes.resize(LEN as usize, 0xcc);
    bytes
}

/// The same as an ELF file that says where its function is.
fn program_file(code: &[u8]) -> Arc<OwnedFd> {
    const TABLE: u64 = 0x100;
    const DESCRIPTION: u64 = 0x120;
    let mut bytes = contents(code);
    let mut put = |at: u64, what: &[u8]| bytes[at as usize..][..what.len()].copy_from_slice(what);
    put(0, &[0; 0x140]);
    put(0, b"\x7fELF\x02\x01\x01");
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &2_u16.to_le_bytes());
    for (at, kind, offset, len) in [(64, 1_u32, 0, LEN), (120, 0x6474_e550, TABLE, 20)] {
        put(at, &kind.to_le_bytes());
        put(at + 8, &offset.to_le_bytes());
        put(at + 16, &offset.to_le_bytes());
        put(at + 32, &len.to_le_bytes());
    }
    put(TABLE, &[1, 0x1b, 3, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0]);
    let far = |from: u64, to: u64| ((to as i64 - from as i64) as i32).to_le_bytes();
    put(TABLE + 12, &far(TABLE, BEGIN));
    put(TABLE + 16, &far(TABLE, DESCRIPTION));
    put(DESCRIPTION + 8, &far(DESCRIPTION + 8, BEGIN));
    put(DESCRIPTION + 12, &(code.len() as u32).to_le_bytes());
    settled(&bytes)
}

fn settled(bytes: &[u8]) -> Arc<OwnedFd> {
    let mut file: File = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("it is written");
    std::thread::sleep(Duration::from_millis(4100));
    Arc::new(file.into())
}

/// A program that maps the file at `base`.
fn program(
    host: &Host,
    file: &Arc<OwnedFd>,
    base: u64,
    rip: u64,
) -> (KnownCode, Arc<dyn AddressSpace>, Box<dyn GuestThread>, Regs) {
    let known = host.platform.known_code(file, 0, LEN).expect("it is a file");
    let room = (known.room > 0).then(|| base.wrapping_add_signed(FAR));
    let space = host.space();
    let map = HostOp::MapFile {
        addr: base,
        len: LEN,
        prot: RUN,
        shared: false,
        writable: false,
        file: Arc::clone(file),
        offset: 0,
        populate: false,
        code: Some(MappedCode { number: known.number, room }),
    };
    host.wait(space.apply(vec![map])).expect("it is mapped");
    host.map(&*space, DATA, 0x4000, WRITE);
    host.map(&*space, STACK_TOP - 0x10000, 0x10000, WRITE);
    let regs = at(rip);
    let thread = host.spawn(&*space, &regs);
    (known, space, thread, regs)
}

#[test]
fn programs_share_what_others_have_learned() {
    for (code, (site, behind)) in [raw::counter(), raw::comparer()].into_iter().zip(SITES) {
        let (host, file) = (Host::new(), file(code));
        let mut rewritten = 0;
        for round in 0..24 {
            let base = CODE + 0x1000_0000 * (round % 3);
            let begin = base + BEGIN;
            let (known, space, mut thread, mut regs) = program(&host, &file, base, begin);
            let is_rewritten = byte(&*space, begin + site) == 0xe9;
            assert!(rewritten == 0 || is_rewritten, "a copy is there for all who come later");
            assert!(!is_rewritten || known.room > 0);
            rewritten += u32::from(is_rewritten);
            for count in 1..10 {
                assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
                assert_eq!((regs.rax, regs.rip), (39, begin + behind), "{is_rewritten}");
                assert_eq!((regs.rcx, regs.r11), (regs.rip, regs.eflags));
                assert!(regs.rbx == count || regs.rbx == count - 1, "{count} {}", regs.rbx);
                answer(&mut regs, count);
            }
            // Copies of the process have the same code.
            let copy = host.wait(space.fork()).expect("a copy");
            let mut other = host.spawn(&*copy, &regs);
            assert_eq!(host.run(&mut *other, &mut regs), Event::Syscall);
            assert_eq!(regs.rip, begin + behind);
        }
        assert!(rewritten > 12, "{rewritten}");
    }
}

/// Who jumps into an instruction with the bytes of a call makes nobody else's code another.
#[test]
fn calls_inside_of_instructions_are_not_learned() {
    // movabs $0x050f…, %rax; cmp $…, %rax; jmp to the third byte.
    let code = [
        0x48, 0xb8, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x05, 0x48, 0x3d, 1, 0xf0, 0xff,
        0xff, 0xeb, 0xf0,
    ];
    let (host, file) = (Host::new(), file(&code));
    for _ in 0..16 {
        let (known, space, mut thread, mut regs) = program(&host, &file, CODE, CODE + BEGIN + 2);
        assert_eq!(known.room, 0);
        for _ in 0..10 {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            assert_eq!(regs.rip, CODE + BEGIN + 10);
            answer(&mut regs, 0);
        }
        assert_eq!(byte(&*space, CODE + BEGIN + 8), 0x0f);
    }
}

/// A file that changes is another one.
#[test]
fn changed_files_are_mapped_as_they_are() {
    let (host, file) = (Host::new(), file(raw::counter()));
    let learn = || program(&host, &file, CODE, CODE + BEGIN);
    for _ in 0..12 {
        let (_known, _space, mut thread, mut regs) = learn();
        for _ in 0..4 {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            answer(&mut regs, 0);
        }
    }
    let (before, space, ..) = learn();
    assert!(before.room > 0);
    let site = CODE + BEGIN + SITES[0].0;
    assert_eq!(byte(&*space, site), 0xe9);
    assert_eq!(rustix::io::pwrite(&*file, &[0x90], BEGIN + 0x100), Ok(1));
    let (after, space, ..) = learn();
    assert_ne!(before.number, after.number);
    assert_eq!((after.room, byte(&*space, CODE + BEGIN + 0x100)), (0, 0x90));
    assert_ne!(byte(&*space, site), 0xe9);
}

/// Two calls so near to each other that only one of them can be rewritten.
#[test]
fn sites_do_not_overlap() {
    let (host, file) = (Host::new(), file(raw::pair()));
    let mut rewritten = 0;
    for _ in 0..24 {
        let (_known, space, mut thread, mut regs) = program(&host, &file, CODE, CODE + BEGIN);
        rewritten += u32::from(byte(&*space, CODE + BEGIN + 5) == 0xe9);
        for number in [39, 40, 39, 40, 39, 40] {
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            assert_eq!(regs.rax, number);
            answer(&mut regs, 0);
        }
    }
    assert!(rewritten > 0);
}

/// Stores through a mapping need not change a file's times.
#[test]
fn what_may_be_stored_to_is_mapped_as_it_is() {
    let (host, file) = (Host::new(), file(raw::counter()));
    let writer = host.space();
    let map = HostOp::MapFile {
        addr: DATA,
        len: LEN,
        prot: WRITE,
        shared: true,
        writable: true,
        file: Arc::clone(&file),
        offset: 0,
        populate: false,
        code: None,
    };
    assert!(host.platform.known_code(&file, 0, LEN).is_some());
    host.wait(writer.apply(vec![map])).expect("it is mapped");
    assert_eq!(host.platform.known_code(&file, 0, LEN), None);
}

/// What the processor says comes from the stub, from the sentry the first time, and from itself where nothing is rewritten.
#[test]
fn cpuid_says_what_the_processor_says() {
    let (host, file) = (Host::new(), program_file(raw::inquirer()));
    let place = CODE + BEGIN + 6;
    let mut replaced = 0;
    for _ in 0..24 {
        let (_known, space, mut thread, mut regs) = program(&host, &file, CODE, CODE + BEGIN);
        let is_replaced = byte(&*space, place) == 0xf4;
        replaced += u32::from(is_replaced);
        for (leaf, subleaf) in [(0, 7), (4, 0), (4, 1), (2, 0), (7, 0), (0x8000_0000, 0), (4, 0)] {
            (regs.r13, regs.r14) = (leaf, subleaf);
            assert_eq!(host.run(&mut *thread, &mut regs), Event::Syscall);
            let said = core::arch::x86_64::__cpuid_count(leaf as u32, subleaf as u32);
            let wanted = [said.eax, said.ebx, said.ecx, said.edx].map(u64::from);
            assert_eq!([regs.r9, regs.rbx, regs.r8, regs.rdx], wanted, "{leaf:#x} {is_replaced}");
            assert_eq!(regs.rax, 39);
            answer(&mut regs, 0);
        }
        // Who steps is told of each instruction.
        (regs.rip, regs.eflags, regs.rax, regs.rcx) = (place, regs.eflags | 0x100, 4, 1);
        let Event::Fault(fault) = host.run(&mut *thread, &mut regs) else { panic!("no step") };
        assert_eq!((fault.signal, fault.code, fault.address.0), (5, 2, place + 2));
        assert_eq!((regs.rip, fault.trap, fault.error), (place + 2, 1, 0));
        assert_eq!(regs.rax, u64::from(core::arch::x86_64::__cpuid_count(4, 1).eax));
    }
    assert!(replaced > 12, "{replaced}");
}
