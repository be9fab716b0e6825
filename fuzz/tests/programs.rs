//! What a program brings: its file, its filters, its signal frames.

use chitin_abi::process::{SeccompData, SockFilter};
use chitin_fuzz::fuzz;
use chitin_platform_systrap::fuzz::{HostileChannel, extended_state, functions};
use chitin_task::limits::bpf::Program;
use chitin_task::limits::seccomp::SeccompFilters;
use chitin_task::loader::{elf, script};
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn elf_headers() {
    let own = std::fs::read("/proc/self/exe").expect("the test program");
    let own = own.get(..4096).unwrap_or(&own).to_vec();
    fuzz(&[own], |data| {
        let Ok(header) = elf::parse_header(data) else { return };
        let start = usize::try_from(header.table_offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(header.table_size()).min(data.len());
        let Ok(layout) = elf::parse_layout(&header, data.get(start..end).unwrap_or_default())
        else {
            return;
        };
        assert!(layout.align.is_power_of_two() && layout.align >= 4096, "align {}", layout.align);
        assert!(layout.range.0 < layout.range.1, "an empty range");
        for segment in &layout.segments {
            assert!(segment.file_size <= segment.memory_size, "{segment:x?}");
            let end = segment.address.checked_add(segment.memory_size).expect("no overflow");
            assert!(segment.address >= layout.range.0 && end <= layout.range.1, "{segment:x?}");
        }
    });
}

#[test]
fn script_lines() {
    let samples: [&[u8]; 4] =
        [b"#!/bin/sh -e\n", b"#! /usr/bin/env\tpython3  -u \nx", b"#!\n", &[b'#'; 300]];
    fuzz(&samples.map(<[u8]>::to_vec), |data| {
        let data = data.get(..script::SCRIPT_BUFFER).unwrap_or(data);
        let Ok(Some(parsed)) = script::parse(data) else { return };
        assert!(!parsed.interpreter.is_empty(), "no interpreter");
        assert!(parsed.interpreter.len() < script::SCRIPT_BUFFER, "a path from nowhere");
    });
}

/// A program of two functions whose table says where they are; each has a `cpuid`.
fn with_functions() -> Vec<u8> {
    let mut file = vec![0; 0x200];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &2_u16.to_le_bytes());
    // Everything at 0x1000, and the table at 0x1100 with the descriptions behind it.
    for (at, kind, offset, len) in [(64, 1_u32, 0_u64, 0x200_u64), (120, 0x6474_e550, 0x100, 28)] {
        put(at, &kind.to_le_bytes());
        put(at + 8, &offset.to_le_bytes());
        put(at + 16, &(0x1000 + offset).to_le_bytes());
        put(at + 32, &len.to_le_bytes());
    }
    put(0x100, &[1, 0x1b, 3, 0x3b, 0, 0, 0, 0, 2, 0, 0, 0]);
    for (index, begin) in [(0, 0x180_i32), (1, 0x1a0)] {
        let description = 0x120_i32 + 16 * index;
        put(0x10c + 8 * index as usize, &(begin - 0x100).to_le_bytes());
        put(0x110 + 8 * index as usize, &(description - 0x100).to_le_bytes());
        put(description as usize + 8, &(begin - description - 8).to_le_bytes());
        put(description as usize + 12, &16_u32.to_le_bytes());
        put(begin as usize, &[0xb8, 4, 0, 0, 0, 0x31, 0xc9, 0x0f, 0xa2, 0x89, 0xc2, 0xc3, 0x90]);
        put(begin as usize + 13, &[0x90, 0x90, 0x90]);
    }
    file
}

#[test]
fn tables_of_functions() {
    let sample = with_functions();
    assert_eq!(functions(&sample), Some(2));
    fuzz(&[sample], |data| {
        let _ = functions(data);
    });
}

fn instructions(code: &[(u16, u8, u8, u32)]) -> Vec<u8> {
    let op = |(code, jt, jf, k)| SockFilter { code, jt, jf, k };
    code.iter().flat_map(|code| op(*code).as_bytes().to_vec()).collect()
}

#[test]
fn seccomp_filters() {
    let samples = [
        instructions(&[
            (0x20, 0, 0, 0),
            (0x15, 0, 1, 39),
            (0x06, 0, 0, 0),
            (0x06, 0, 0, 0x7fff_0000),
        ]),
        instructions(&[
            (0x20, 0, 0, 16),
            (0x02, 0, 0, 3),
            (0x61, 0, 0, 3),
            (0x0c, 0, 0, 0),
            (0x3c, 0, 0, 0),
            (0x64, 0, 0, 31),
            (0x7c, 0, 0, 0),
            (0x84, 0, 0, 0),
            (0x07, 0, 0, 0),
            (0x87, 0, 0, 0),
            (0x05, 0, 0, 1),
            (0x80, 0, 0, 0),
            (0x16, 0, 0, 0),
        ]),
    ];
    let regs = chitin_abi::Regs { rdi: 7, rip: 0x1234, ..Default::default() };
    fuzz(&samples, |data| {
        let code: Vec<SockFilter> = data
            .chunks_exact(size_of::<SockFilter>())
            .filter_map(|bytes| SockFilter::read_from_bytes(bytes).ok())
            .collect();
        let Ok(program) = Program::new(code) else { return };
        program.run(&SeccompData { nr: 39, ..SeccompData::default() });
        let chain = SeccompFilters::default().with(program.clone(), false, None);
        let chain = chain.and_then(|chain| chain.with(program, true, None)).expect("short enough");
        let _ = chain.check(&regs, 39);
        assert_eq!(chain.count(), 2, "filters were lost");
    });
}

#[test]
fn signal_frames() {
    let mut fresh = vec![0; 2696];
    fresh[512] = 7;
    let stopped = HostileChannel::new().expect("memory");
    // SIGSYS, SIGSEGV and the kick.
    let samples = [31, 11, 64].map(|signal| stopped.sample(signal));
    fuzz(&[samples.as_slice(), &[fresh]].concat(), |data| {
        extended_state(data);
        stopped.run(data);
    });
}
