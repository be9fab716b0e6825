//! ELF headers: pure decoding of hostile bytes.
//!
//! Nothing here is trusted: offsets and sizes are checked for overflow, and whoever maps checks addresses
//! against what a guest may map. References: `elf(5)`, the System V ABI.

use chitin_abi::addr::{page_ceil, page_floor};
use chitin_abi::mm::ProtFlags;
use chitin_abi::{Errno, PAGE_SIZE, Result};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Bytes of the file header.
pub const HEADER_SIZE: usize = size_of::<Elf64Header>();
/// Bytes of a program header.
pub const PROGRAM_HEADER_SIZE: usize = size_of::<Elf64ProgramHeader>();
/// Most bytes of program headers that are read.
const MAX_PROGRAM_HEADERS: usize = 65536;
/// Longest path of an interpreter, with its NUL.
pub const MAX_INTERPRETER: u64 = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;

#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Elf64Header {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    program_headers: u64,
    section_headers: u64,
    flags: u32,
    header_size: u16,
    program_header_size: u16,
    program_header_count: u16,
    section_header_size: u16,
    section_header_count: u16,
    section_names: u16,
}

#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Elf64ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// What the file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the program may be put anywhere (`ET_DYN`).
    pub relocatable: bool,
    /// Entry point, before relocation.
    pub entry: u64,
    /// Where the program headers are in the file.
    pub table_offset: u64,
    /// How many there are.
    pub table_count: u16,
}

impl Header {
    /// Bytes of all program headers.
    pub fn table_size(&self) -> usize {
        usize::from(self.table_count) * PROGRAM_HEADER_SIZE
    }
}

/// A piece of the file that is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file, not rounded.
    pub offset: u64,
    /// Address before relocation, not rounded.
    pub address: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Bytes in memory; the rest is zero.
    pub memory_size: u64,
    /// Rights.
    pub prot: ProtFlags,
}

impl Segment {
    /// First byte behind it, rounded up to whole pages.
    fn page_end(&self) -> Option<u64> {
        page_ceil(self.address.checked_add(self.memory_size)?)
    }
}

/// What the program headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// What is mapped, in the order of the headers.
    pub segments: Vec<Segment>,
    /// Where the interpreter's path is: offset and length with the NUL.
    pub interpreter: Option<(u64, u64)>,
    /// Whether the stack is to be executable; `None` if the file does not say.
    pub exec_stack: Option<bool>,
    /// The alignment that the load address must have: at least a page.
    pub align: u64,
    /// The pages that all segments take, before relocation.
    pub range: (u64, u64),
    /// Address of the program headers in memory, before relocation; 0 if they are not loaded.
    pub table_address: u64,
}

/// Decodes the file header.
///
/// # Errors
/// ENOEXEC for what is not a 64-bit x86 program. Like Linux, it goes by the machine, not by the class.
pub fn parse_header(bytes: &[u8]) -> Result<Header> {
    let (header, _) = Elf64Header::read_from_prefix(bytes).map_err(|_| Errno::ENOEXEC)?;
    let ours = header.ident.starts_with(b"\x7fELF")
        && header.machine == EM_X86_64
        && matches!(header.kind, ET_EXEC | ET_DYN)
        && usize::from(header.program_header_size) == PROGRAM_HEADER_SIZE
        && header.program_header_count > 0;
    let parsed = Header {
        relocatable: header.kind == ET_DYN,
        entry: header.entry,
        table_offset: header.program_headers,
        table_count: header.program_header_count,
    };
    if ours && parsed.table_size() <= MAX_PROGRAM_HEADERS {
        Ok(parsed)
    } else {
        Err(Errno::ENOEXEC)
    }
}

/// Decodes the program headers.
///
/// # Errors
/// ENOEXEC where they make no sense.
pub fn parse_layout(header: &Header, table: &[u8]) -> Result<Layout> {
    let mut layout = Layout { align: PAGE_SIZE, range: (u64::MAX, 0), ..Layout::default() };
    let entries = table.chunks_exact(PROGRAM_HEADER_SIZE).take(usize::from(header.table_count));
    for entry in entries {
        let entry = Elf64ProgramHeader::read_from_bytes(entry).map_err(|_| Errno::ENOEXEC)?;
        match entry.kind {
            PT_LOAD => add_segment(&mut layout, header, &entry)?,
            PT_INTERP if layout.interpreter.is_none() => {
                if !(2..=MAX_INTERPRETER).contains(&entry.file_size) {
                    return Err(Errno::ENOEXEC);
                }
                layout.interpreter = Some((entry.offset, entry.file_size));
            }
            PT_GNU_STACK => layout.exec_stack = Some(entry.flags & 1 != 0),
            _ => {}
        }
    }
    if layout.segments.is_empty() || layout.range.0 >= layout.range.1 {
        return Err(Errno::ENOEXEC);
    }
    Ok(layout)
}

fn add_segment(layout: &mut Layout, header: &Header, entry: &Elf64ProgramHeader) -> Result<()> {
    // A page of the file must be able to be a page of memory.
    let congruent = entry.offset % PAGE_SIZE == entry.address % PAGE_SIZE;
    let in_file =
        entry.offset.checked_add(entry.file_size).is_some_and(|end| end <= i64::MAX as u64);
    if entry.file_size > entry.memory_size || !in_file || (entry.file_size > 0 && !congruent) {
        return Err(Errno::ENOEXEC);
    }
    if entry.memory_size == 0 {
        return Ok(());
    }
    if entry.align.is_power_of_two() && entry.align <= 1 << 30 {
        layout.align = layout.align.max(entry.align);
    }
    let segment = Segment {
        offset: entry.offset,
        address: entry.address,
        file_size: entry.file_size,
        memory_size: entry.memory_size,
        prot: rights(entry.flags),
    };
    let end = segment.page_end().ok_or(Errno::ENOEXEC)?;
    layout.range = (layout.range.0.min(page_floor(entry.address)), layout.range.1.max(end));
    let table = header
        .table_offset
        .checked_sub(entry.offset)
        .filter(|distance| *distance < entry.file_size);
    if let Some(distance) = table {
        layout.table_address = entry.address.wrapping_add(distance);
    }
    layout.segments.push(segment);
    Ok(())
}

fn rights(flags: u32) -> ProtFlags {
    let mut prot = ProtFlags::empty();
    prot.set(ProtFlags::PROT_EXEC, flags & 1 != 0);
    prot.set(ProtFlags::PROT_WRITE, flags & 2 != 0);
    prot.set(ProtFlags::PROT_READ, flags & 4 != 0);
    prot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_bytes() -> Vec<u8> {
        std::fs::read("/proc/self/exe")
            .map(|bytes| bytes.get(..4096).unwrap_or(&bytes).to_vec())
            .unwrap_or_default()
    }

    #[test]
    fn a_real_program_parses() {
        let bytes = header_bytes();
        let header = parse_header(&bytes).expect("the test program is a program");
        let start = header.table_offset as usize;
        let layout = parse_layout(&header, &bytes[start..start + header.table_size()])
            .expect("with segments");
        assert!(layout.segments.len() >= 2);
        assert!(layout.segments.iter().any(|segment| segment.prot.contains(ProtFlags::PROT_EXEC)));
        assert_ne!(layout.table_address, 0);
    }

    #[test]
    fn truncated_or_foreign_headers_are_refused() {
        let bytes = header_bytes();
        for len in 0..HEADER_SIZE {
            assert_eq!(parse_header(&bytes[..len]), Err(Errno::ENOEXEC));
        }
        for (at, value) in [(0, 0), (16, 1), (18, 3), (54, 0), (56, 0)] {
            let mut broken = bytes.clone();
            broken[at] = value;
            if at == 56 {
                broken[57] = 0;
            }
            assert_eq!(parse_header(&broken), Err(Errno::ENOEXEC), "byte {at}");
        }
    }

    #[test]
    fn overflowing_segments_are_refused() {
        let header = Header { relocatable: true, entry: 0, table_offset: 0, table_count: 1 };
        let mut entry = vec![0; PROGRAM_HEADER_SIZE];
        entry[0] = 1;
        entry[16..24].copy_from_slice(&(!0xfff_u64).to_ne_bytes());
        entry[40..48].copy_from_slice(&0x2000_u64.to_ne_bytes());
        assert_eq!(parse_layout(&header, &entry), Err(Errno::ENOEXEC));
    }
}
