//! Where functions are in a file, and which `cpuid` instructions they have.
//!
//! Nobody traps at a `cpuid`, so that nothing but the file says whether two bytes are one. Compilers list functions for unwinders:
//! `.eh_frame_hdr` is a table of where they begin, in the order of addresses, and of their descriptions. Decoding a
//! function from its beginning meets all of its instructions; data among code is in none.
//!
//! References: the Linux Standard Base, "Exception Frames"; elf(5).

use std::os::fd::OwnedFd;

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use super::Identity;

const HEADER: usize = 64;
const SEGMENT: usize = 56;
const MOST_SEGMENTS: u16 = 32;
/// `PT_LOAD`, `PT_GNU_EH_FRAME`.
const LOAD: u32 = 1;
const FRAMES: u32 = 0x6474_e550;
/// The most bytes of such a table.
const MOST_TABLE: u64 = 4 << 20;
/// The form of the table that linkers make: version 1, `DW_EH_PE_pcrel | sdata4`, `udata4`, `datarel | sdata4`.
const FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
const CPUID: [u8; 2] = [0x0f, 0xa2];

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    len: u64,
}

fn read(file: &OwnedFd, offset: u64, bytes: &mut [u8]) -> Option<()> {
    (rustix::io::pread(file, &mut *bytes, offset) == Ok(bytes.len())).then_some(())
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..N)?.copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(wide))
}

fn signed(bytes: &[u8], at: usize) -> Option<i64> {
    number::<4>(bytes, at).map(|bits| i64::from((bits as u32).cast_signed()))
}

fn segments(file: &OwnedFd) -> Option<Vec<Segment>> {
    let mut header = [0; HEADER];
    read(file, 0, &mut header)?;
    let is_elf = header.starts_with(b"\x7fELF\x02\x01");
    let count = number::<2>(&header, 56)? as u16;
    let fits = is_elf && number::<2>(&header, 54)? == SEGMENT as u64 && count <= MOST_SEGMENTS;
    let mut table = vec![0; if fits { SEGMENT * usize::from(count) } else { 0 }];
    read(file, number::<8>(&header, 32)?, &mut table)?;
    let segment = |bytes: &[u8]| {
        Some(Segment {
            kind: number::<4>(bytes, 0)? as u32,
            offset: number::<8>(bytes, 8)?,
            address: number::<8>(bytes, 16)?,
            len: number::<8>(bytes, 32)?,
        })
    };
    table.chunks_exact(SEGMENT).map(segment).collect()
}

/// Offset in the file of an address.
fn offset_of(segments: &[Segment], address: u64) -> Option<u64> {
    let mut loads = segments.iter().filter(|segment| segment.kind == LOAD);
    let load = loads.find(|load| address.wrapping_sub(load.address) < load.len)?;
    load.offset.checked_add(address.wrapping_sub(load.address))
}

/// The table of functions.
struct Table {
    segments: Vec<Segment>,
    /// Where it is, as an address.
    address: u64,
    bytes: Vec<u8>,
}

impl Table {
    /// `None` where there is none as linkers make it.
    fn of(file: &OwnedFd) -> Option<Self> {
        let segments = segments(file)?;
        let frames = segments.iter().find(|segment| segment.kind == FRAMES)?;
        if frames.len > MOST_TABLE {
            return None;
        }
        let (address, mut bytes) = (frames.address, vec![0; usize::try_from(frames.len).ok()?]);
        read(file, frames.offset, &mut bytes)?;
        bytes.starts_with(&FORM).then_some(Self { segments, address, bytes })
    }

    /// Where a function begins, and where its description is; both addresses.
    fn entry(&self, index: usize) -> Option<(u64, u64)> {
        let at = 12_usize.checked_add(index.checked_mul(8)?)?;
        let address = |far: i64| self.address.checked_add_signed(far);
        Some((address(signed(&self.bytes, at)?)?, address(signed(&self.bytes, at + 4)?)?))
    }

    fn len(&self) -> usize {
        let said = number::<4>(&self.bytes, 8).unwrap_or(0);
        (self.bytes.len().saturating_sub(12) / 8).min(usize::try_from(said).unwrap_or(0))
    }

    /// The first byte and the length of the function that this address is in.
    fn function(&self, file: &OwnedFd, address: u64) -> Option<(u64, u64)> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle)?.0 <= address { low = middle + 1 } else { high = middle }
        }
        let (begin, description) = self.entry(low.checked_sub(1)?)?;
        // Length, offset of what descriptions have in common, beginning (relative to where it stands), length of the function.
        let mut bytes = [0; 16];
        read(file, offset_of(&self.segments, description)?, &mut bytes)?;
        let said = description.checked_add(8)?.checked_add_signed(signed(&bytes, 8)?)?;
        let len = number::<4>(&bytes, 12)?;
        (said == begin && address.wrapping_sub(begin) < len).then_some((begin, len))
    }
}

/// Offsets of the `cpuid` instructions in the code of a part of a file.
pub fn cpuids(file: &OwnedFd, part: &Identity, code: &[u8]) -> Vec<u64> {
    let places = code.windows(2).enumerate().filter(|(_, bytes)| *bytes == CPUID);
    let places: Vec<u64> = places.map(|(at, _)| at as u64).collect();
    if places.is_empty() {
        return places;
    }
    find(file, part, code, &places).unwrap_or_default()
}

fn find(file: &OwnedFd, part: &Identity, code: &[u8], places: &[u64]) -> Option<Vec<u64>> {
    let table = Table::of(file)?;
    let mut loads = table.segments.iter().filter(|segment| segment.kind == LOAD);
    let load = loads.find(|load| part.offset.wrapping_sub(load.offset) < load.len)?;
    let base = load.address.checked_add(part.offset.wrapping_sub(load.offset))?;
    let mut found = Vec::new();
    let mut behind = 0;
    for place in places {
        if *place < behind {
            continue; // in the function that was decoded last
        }
        let Some((begin, len)) = table.function(file, base.checked_add(*place)?) else { continue };
        // They do not overlap: nothing is decoded twice, whatever the table says.
        let Some(begin) = begin.checked_sub(base).filter(|begin| *begin >= behind) else {
            continue;
        };
        behind = begin.saturating_add(len);
        found.extend(in_function(code, begin, behind));
    }
    Some(found)
}

/// Those of one function; none of one with bytes that are no instructions.
fn in_function(code: &[u8], begin: u64, end: u64) -> Vec<u64> {
    let range = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
    let Some(code) = range.and_then(|(begin, end)| code.get(begin..end)) else {
        return Vec::new();
    };
    let mut decoder = Decoder::with_ip(64, code, begin, DecoderOptions::NONE);
    let mut found = Vec::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return Vec::new();
        }
        // Without a prefix: it is the two bytes that are replaced.
        if instruction.mnemonic() == Mnemonic::Cpuid && instruction.len() == CPUID.len() {
            found.push(instruction.ip());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use super::{Identity, cpuids, in_function};

    #[test]
    fn a_function_is_decoded_from_its_beginning() {
        // mov $0x…a20f…, %eax; cpuid; ret; and the same with something that is no instruction.
        let code = [0x90, 0xb8, 0x00, 0x0f, 0xa2, 0x00, 0x0f, 0xa2, 0xc3];
        assert_eq!(in_function(&code, 1, 9), [6]);
        assert_eq!(in_function(&code, 4, 9), [] as [u64; 0], "a beginning that is none");
        assert_eq!(in_function(&[0x0f, 0xa2, 0x06], 0, 3), [] as [u64; 0]);
        assert_eq!(in_function(&code, 1, 10), [] as [u64; 0], "behind the end");
    }

    fn all(path: &str) -> usize {
        let file: OwnedFd = File::open(path).expect("it is mapped").into();
        let len = rustix::fs::fstat(&file).expect("it is open").st_size as u64;
        let mut all = vec![0; len as usize];
        assert_eq!(rustix::io::pread(&file, &mut all[..], 0), Ok(all.len()));
        let mut found = 0;
        for load in super::segments(&file).expect("an ELF file") {
            let offset = load.offset & !0xfff;
            if load.kind == super::LOAD && offset < len {
                let part_len = (load.len + load.offset - offset).min(len - offset);
                let whole = Identity::of(&file, 0, 0).expect("a file");
                let part = Identity { offset, len: part_len, ..whole };
                let code = &all[offset as usize..][..part_len as usize];
                let places = cpuids(&file, &part, code);
                let is_there = |place: &u64| code[*place as usize..].starts_with(&super::CPUID);
                assert!(places.iter().all(is_there));
                found += places.len();
            }
        }
        found
    }

    /// The dynamic linker asks what the processor can do.
    #[test]
    fn programs_say_where_their_functions_are() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("it can be read");
        let files = maps.lines().filter(|line| line.contains(" r-xp "));
        let paths = files.filter_map(|line| line.split_whitespace().nth(5));
        let found: usize = paths.filter(|path| path.starts_with('/')).map(all).sum();
        assert!(found > 10, "{found}");
    }
}
