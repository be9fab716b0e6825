//! The initial stack: strings, random bytes, pointers, auxiliary vector, as Linux lays them out.

use chitin_abi::auxv::{
    AT_BASE, AT_CLKTCK, AT_EGID, AT_ENTRY, AT_EUID, AT_EXECFN, AT_FLAGS, AT_GID, AT_HWCAP,
    AT_HWCAP2, AT_MINSIGSTKSZ, AT_NULL, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PLATFORM,
    AT_RANDOM, AT_SECURE, AT_SYSINFO_EHDR, AT_UID,
};
use chitin_abi::{Errno, PAGE_SIZE, Result};
use chitin_mm::platform::Capabilities;

use super::Identity;
use super::elf::PROGRAM_HEADER_SIZE;

/// What the auxiliary vector says of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) table_address: u64,
    pub(super) table_count: u64,
    pub(super) entry: u64,
    /// Where the interpreter lies; 0 without one.
    pub(super) interpreter_base: u64,
}

/// The bytes of a new stack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stack {
    /// The address of the first byte, which is the stack pointer.
    pub(super) pointer: u64,
    /// Everything from there to the top.
    pub(super) bytes: Vec<u8>,
    pub(super) args: (u64, u64),
    pub(super) env: (u64, u64),
    pub(super) auxv: Vec<u8>,
}

/// What goes on the stack.
pub(super) struct Contents<'a> {
    pub(super) args: &'a [Vec<u8>],
    pub(super) env: &'a [Vec<u8>],
    pub(super) filename: &'a [u8],
    pub(super) random: [u8; 16],
    pub(super) facts: Facts,
    pub(super) identity: &'a Identity,
    pub(super) platform: &'a Capabilities,
    /// How far below the strings the rest begins: a random number of bytes.
    pub(super) gap: u64,
}

/// Bytes that strings and vectors take at most.
pub(super) fn size(contents: &Contents<'_>) -> u64 {
    let strings = |list: &[Vec<u8>]| list.iter().map(|text| text.len() as u64 + 1 + 8).sum::<u64>();
    strings(contents.args)
        + strings(contents.env)
        + contents.filename.len() as u64
        + contents.gap
        + PAGE_SIZE
}

/// Lays the stack out below `top`.
pub(super) fn build(top: u64, contents: &Contents<'_>) -> Result<Stack> {
    let mut strings = Vec::new();
    let mut add = |text: &[u8]| {
        let offset = strings.len() as u64;
        strings.extend_from_slice(text);
        strings.push(0);
        offset
    };
    let arg_offsets: Vec<u64> = contents.args.iter().map(|text| add(text)).collect();
    let env_offsets: Vec<u64> = contents.env.iter().map(|text| add(text)).collect();
    let filename_offset = add(contents.filename);
    let env_start = env_offsets.first().copied().unwrap_or(filename_offset);
    let strings_end = top.checked_sub(8).ok_or(Errno::E2BIG)?;
    let strings_start = strings_end.checked_sub(strings.len() as u64).ok_or(Errno::E2BIG)?;
    let at = |offset: u64| strings_start.saturating_add(offset);

    let platform_text = b"x86_64\0";
    let below = strings_start.checked_sub(contents.gap).ok_or(Errno::E2BIG)? & !15;
    let platform_at = below.checked_sub(platform_text.len() as u64).ok_or(Errno::E2BIG)?;
    let random_at = platform_at.checked_sub(16).ok_or(Errno::E2BIG)?;
    let auxv = auxv(contents, random_at, at(filename_offset), platform_at);

    let mut words = vec![contents.args.len() as u64];
    words.extend(arg_offsets.iter().map(|offset| at(*offset)));
    words.push(0);
    words.extend(env_offsets.iter().map(|offset| at(*offset)));
    words.push(0);
    words.extend(auxv.iter().flat_map(|(key, value)| [*key, *value]));
    let vectors = words.len() as u64 * 8;
    let pointer = random_at.checked_sub(vectors).ok_or(Errno::E2BIG)? & !15;

    let total = top.checked_sub(pointer).ok_or(Errno::E2BIG)?;
    let mut bytes = vec![0; usize::try_from(total).map_err(|_| Errno::E2BIG)?];
    let mut put = |address: u64, data: &[u8]| {
        let start = address.saturating_sub(pointer) as usize;
        if let Some(place) = bytes.get_mut(start..start.saturating_add(data.len())) {
            place.copy_from_slice(data);
        }
    };
    for (index, word) in words.iter().enumerate() {
        put(pointer.saturating_add(index as u64 * 8), &word.to_ne_bytes());
    }
    put(random_at, &contents.random);
    put(platform_at, platform_text);
    put(strings_start, &strings);
    Ok(Stack {
        pointer,
        bytes,
        args: (strings_start, at(env_start)),
        env: (at(env_start), at(filename_offset)),
        auxv: auxv
            .iter()
            .flat_map(|(key, value)| [*key, *value])
            .flat_map(u64::to_ne_bytes)
            .collect(),
    })
}

fn auxv(contents: &Contents<'_>, random: u64, filename: u64, platform: u64) -> Vec<(u64, u64)> {
    let Contents { facts, identity, platform: host, .. } = contents;
    let mut auxv = Vec::with_capacity(24);
    if let Some(vdso) = host.vdso {
        auxv.push((AT_SYSINFO_EHDR, vdso.ehdr));
    }
    auxv.extend([
        (AT_MINSIGSTKSZ, host.min_signal_stack),
        (AT_HWCAP, host.hwcap),
        (AT_PAGESZ, PAGE_SIZE),
        (AT_CLKTCK, 100),
        (AT_PHDR, facts.table_address),
        (AT_PHENT, PROGRAM_HEADER_SIZE as u64),
        (AT_PHNUM, facts.table_count),
        (AT_BASE, facts.interpreter_base),
        (AT_FLAGS, 0),
        (AT_ENTRY, facts.entry),
        (AT_UID, u64::from(identity.uid)),
        (AT_EUID, u64::from(identity.euid)),
        (AT_GID, u64::from(identity.gid)),
        (AT_EGID, u64::from(identity.egid)),
        (AT_SECURE, u64::from(identity.secure)),
        (AT_RANDOM, random),
        (AT_HWCAP2, host.hwcap2),
        (AT_EXECFN, filename),
        (AT_PLATFORM, platform),
        (AT_NULL, 0),
    ]);
    auxv
}
