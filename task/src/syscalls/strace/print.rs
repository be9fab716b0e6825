//! Arguments as strace(1) shows them.

use core::fmt::Write;

use chitin_abi::fs::{self, AT_FDCWD, O_ACCMODE, O_CREAT, O_TMPFILE};
use chitin_abi::{GuestAddr, mm, signal, time};
use chitin_mm::GuestMemory;

use crate::syscalls::args::Print;

/// Decodes arguments from a guest's memory.
pub struct Printer<'a> {
    /// The caller's memory.
    pub memory: &'a dyn GuestMemory,
    /// Longest string or buffer shown.
    pub limit: usize,
}

impl Printer<'_> {
    /// What can be told before the call; `None` for what it writes.
    pub fn before(&self, kinds: &[Print], registers: &[u64; 6]) -> Vec<Option<String>> {
        let value = |index: usize| registers.get(index).copied().unwrap_or_default();
        kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| match kind {
                Print::BytesOut | Print::FdPair => None,
                Print::BytesIn => {
                    Some(self.bytes(GuestAddr(value(index)), value(index.saturating_add(1))))
                }
                Print::Mode if unused_mode(kinds, registers, index) => Some(String::new()),
                _ => Some(self.argument(*kind, value(index))),
            })
            .collect()
    }

    /// The whole list, with what the call wrote if it returned `result`.
    pub fn after(
        &self,
        kinds: &[Print],
        registers: &[u64; 6],
        before: Vec<Option<String>>,
        result: Option<u64>,
    ) -> String {
        let mut list = Vec::with_capacity(before.len());
        for (index, text) in before.into_iter().enumerate() {
            let value = registers.get(index).copied().unwrap_or_default();
            let text = text.unwrap_or_else(|| match (kinds.get(index), result) {
                (Some(Print::BytesOut), Some(length)) => self.bytes(GuestAddr(value), length),
                (Some(Print::FdPair), Some(_)) => self.fd_pair(value),
                _ => pointer(value),
            });
            if !text.is_empty() {
                list.push(text);
            }
        }
        list.join(", ")
    }

    fn argument(&self, kind: Print, value: u64) -> String {
        match kind {
            Print::Signed => (value as i32).to_string(),
            Print::Signed64 => value.cast_signed().to_string(),
            Print::Unsigned => (value as u32).to_string(),
            Print::Unsigned64 => value.to_string(),
            Print::Hex => hex(u64::from(value as u32)),
            Print::Hex64 => hex(value),
            Print::Fd => descriptor(value as i32),
            Print::Path => self.string(value),
            Print::Pointer | Print::BytesIn | Print::BytesOut | Print::FdPair => pointer(value),
            Print::OpenFlags => open_flags(value as u32),
            Print::Mode => format!("0{:o}", value as u32),
            Print::Signal => signal_name(value as i32),
            Print::Strings => self.strings(value),
            Print::Protection => flags(value as u32, PROTECTION, "PROT_NONE"),
            Print::MapFlags => map_flags(value as u32),
            Print::Whence => named(value as u32, WHENCE),
            Print::AtFlags => flags(value as u32, AT_FLAGS, "0"),
            Print::Clock => named(value as u32, CLOCKS),
            Print::Resource => chitin_abi::names::rlimit_name(value as u32)
                .map_or_else(|| (value as u32).to_string(), str::to_owned),
            Print::SignalSet => self.signal_set(value),
            Print::Time => self.time(value),
        }
    }

    fn bytes(&self, addr: GuestAddr, length: u64) -> String {
        if addr.is_null() {
            return "NULL".to_owned();
        }
        let shown = usize::try_from(length).unwrap_or(usize::MAX).min(self.limit);
        let mut buffer = vec![0; shown];
        match self.memory.read_partial(addr, &mut buffer) {
            Ok(done) if done == shown => quoted(&buffer, length > shown as u64),
            _ if shown == 0 => "\"\"".to_owned(),
            _ => pointer(addr.0),
        }
    }

    fn string(&self, addr: u64) -> String {
        if addr == 0 {
            return "NULL".to_owned();
        }
        // Paths are shown whole, as strace does; the limit is for data.
        let mut buffer = vec![0; self.limit.max(fs::PATH_MAX)];
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // Never past the page that the string may end in.
            let at = addr.wrapping_add(filled as u64);
            let chunk = rest.len().min(4096 - (at % 4096) as usize);
            let Some(part) = rest.get_mut(..chunk) else { break };
            match self.memory.read_partial(GuestAddr(at), part) {
                Ok(done) if done > 0 => {
                    if let Some(end) = part.iter().take(done).position(|byte| *byte == 0) {
                        return quoted(
                            buffer.get(..filled.saturating_add(end)).unwrap_or_default(),
                            false,
                        );
                    }
                    filled = filled.saturating_add(done);
                }
                _ => return pointer(addr),
            }
        }
        quoted(&buffer, true)
    }

    fn strings(&self, addr: u64) -> String {
        const SHOWN: u64 = 32;
        if addr == 0 {
            return "NULL".to_owned();
        }
        let mut list = Vec::new();
        for index in 0..SHOWN {
            match self.word(addr.wrapping_add(index.wrapping_mul(8))) {
                Some(0) => return format!("[{}]", list.join(", ")),
                Some(string) => list.push(self.string(string)),
                None => return pointer(addr),
            }
        }
        format!("[{}, ...]", list.join(", "))
    }

    fn word(&self, addr: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.read(GuestAddr(addr), &mut bytes).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }

    fn fd_pair(&self, addr: u64) -> String {
        self.word(addr).map_or_else(
            || pointer(addr),
            |word| format!("[{}, {}]", word as i32, (word >> 32) as i32),
        )
    }

    fn time(&self, addr: u64) -> String {
        match (addr, self.word(addr), self.word(addr.wrapping_add(8))) {
            (0, ..) => "NULL".to_owned(),
            (_, Some(seconds), Some(fraction)) => {
                format!("{{{}, {}}}", seconds.cast_signed(), fraction.cast_signed())
            }
            _ => pointer(addr),
        }
    }

    fn signal_set(&self, addr: u64) -> String {
        if addr == 0 {
            return "NULL".to_owned();
        }
        let Some(set) = self.word(addr) else { return pointer(addr) };
        let (bits, complement) = if set.count_ones() > 32 { (!set, "~") } else { (set, "") };
        let names: Vec<String> = (1..=64)
            .filter(|signal| bits & (1 << (signal - 1)) != 0)
            .map(|signal| signal_name(signal).trim_start_matches("SIG").to_owned())
            .collect();
        format!("{complement}[{}]", names.join(" "))
    }
}

/// Whether this `mode` stands behind open flags that make no file.
fn unused_mode(kinds: &[Print], registers: &[u64; 6], index: usize) -> bool {
    let Some(previous) = index.checked_sub(1) else { return false };
    let flags = registers.get(previous).copied().unwrap_or_default() as u32;
    kinds.get(previous) == Some(&Print::OpenFlags)
        && flags & O_CREAT == 0
        && flags & O_TMPFILE != O_TMPFILE
}

fn hex(value: u64) -> String {
    if value == 0 { "0".to_owned() } else { format!("{value:#x}") }
}

fn pointer(value: u64) -> String {
    if value == 0 { "NULL".to_owned() } else { format!("{value:#x}") }
}

fn descriptor(fd: i32) -> String {
    if fd == AT_FDCWD { "AT_FDCWD".to_owned() } else { fd.to_string() }
}

fn signal_name(number: i32) -> String {
    u32::try_from(number)
        .ok()
        .and_then(signal::signal_name)
        .map_or_else(|| realtime_signal(number), |name| name.to_owned())
}

fn realtime_signal(number: i32) -> String {
    match u32::try_from(number) {
        Ok(number) if (signal::SIGRTMIN..=64).contains(&number) => {
            let index = number.saturating_sub(signal::SIGRTMIN);
            if index == 0 { "SIGRTMIN".to_owned() } else { format!("SIGRT_{index}") }
        }
        _ => number.to_string(),
    }
}

/// A C string literal: printable ASCII, the usual escapes, octal for the rest.
pub fn quoted(bytes: &[u8], cut: bool) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_add(5));
    text.push('"');
    for (index, byte) in bytes.iter().enumerate() {
        let escape = match byte {
            b'\n' => Some("\\n"),
            b'\t' => Some("\\t"),
            b'\r' => Some("\\r"),
            b'\x0b' => Some("\\v"),
            b'\x0c' => Some("\\f"),
            b'"' => Some("\\\""),
            b'\\' => Some("\\\\"),
            _ => None,
        };
        if let Some(escape) = escape {
            text.push_str(escape);
        } else if (0x20..0x7f).contains(byte) {
            text.push(char::from(*byte));
        } else if bytes.get(index.saturating_add(1)).is_some_and(u8::is_ascii_digit) {
            let _ = write!(text, "\\{byte:03o}");
        } else {
            let _ = write!(text, "\\{byte:o}");
        }
    }
    text.push('"');
    if cut {
        text.push_str("...");
    }
    text
}

type Names = &'static [(u32, &'static str)];

macro_rules! names {
    ($from:ident: $($name:ident)*) => { &[$(($from::$name as u32, stringify!($name))),*] };
}

const OPEN: Names = names!(fs: O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_SYNC O_DSYNC O_ASYNC O_DIRECT
    O_LARGEFILE O_TMPFILE O_DIRECTORY O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH);
const PROTECTION: Names = names!(mm: PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP);
const MAP: Names = names!(mm: MAP_FIXED MAP_ANONYMOUS MAP_32BIT MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK
    MAP_HUGETLB MAP_GROWSDOWN MAP_DENYWRITE MAP_EXECUTABLE MAP_LOCKED MAP_SYNC MAP_FIXED_NOREPLACE);
const WHENCE: Names = names!(fs: SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE);
const AT_FLAGS: Names = names!(fs: AT_SYMLINK_NOFOLLOW AT_REMOVEDIR AT_SYMLINK_FOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH
    AT_STATX_FORCE_SYNC AT_STATX_DONT_SYNC AT_RECURSIVE);
const CLOCKS: Names = names!(time: CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID
    CLOCK_MONOTONIC_RAW CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME CLOCK_REALTIME_ALARM
    CLOCK_BOOTTIME_ALARM CLOCK_TAI);

fn named(value: u32, names: Names) -> String {
    names
        .iter()
        .find(|(number, _)| *number == value)
        .map_or_else(|| value.cast_signed().to_string(), |(_, name)| (*name).to_owned())
}

/// The names of the bits, what is left in hexadecimal; `none` for no bit.
fn flags(value: u32, names: Names, none: &str) -> String {
    let mut rest = value;
    let mut list = Vec::new();
    for (bits, name) in names {
        if rest & bits == *bits && *bits != 0 {
            list.push((*name).to_owned());
            rest &= !bits;
        }
    }
    if rest != 0 {
        list.push(hex(u64::from(rest)));
    }
    if list.is_empty() { none.to_owned() } else { list.join("|") }
}

fn open_flags(value: u32) -> String {
    let access = match value & O_ACCMODE {
        fs::O_RDONLY => "O_RDONLY",
        fs::O_WRONLY => "O_WRONLY",
        fs::O_RDWR => "O_RDWR",
        _ => "O_ACCMODE",
    };
    match value & !O_ACCMODE {
        0 => access.to_owned(),
        rest => format!("{access}|{}", flags(rest, OPEN, "")),
    }
}

fn map_flags(value: u32) -> String {
    let kind = match value & mm::MAP_TYPE {
        mm::MAP_SHARED => "MAP_SHARED",
        mm::MAP_PRIVATE => "MAP_PRIVATE",
        mm::MAP_SHARED_VALIDATE => "MAP_SHARED_VALIDATE",
        _ => "0",
    };
    match value & !mm::MAP_TYPE {
        0 => kind.to_owned(),
        rest => format!("{kind}|{}", flags(rest, MAP, "")),
    }
}

#[cfg(test)]
mod tests {
    use chitin_abi::{Errno, Result};

    use super::*;

    /// A page at 0x1000.
    struct Page(Vec<u8>);

    impl GuestMemory for Page {
        fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
            let start = usize::try_from(addr.0)
                .ok()
                .and_then(|addr| addr.checked_sub(0x1000))
                .ok_or(Errno::EFAULT)?;
            let bytes =
                self.0.get(start..).filter(|bytes| !bytes.is_empty()).ok_or(Errno::EFAULT)?;
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn write_partial(&self, _: GuestAddr, _: &[u8]) -> Result<usize> {
            Err(Errno::EFAULT)
        }
    }

    fn print(kinds: &[Print], registers: [u64; 6], memory: &[u8], result: Option<u64>) -> String {
        let page = Page(memory.to_vec());
        let printer = Printer { memory: &page, limit: 8 };
        printer.after(kinds, &registers, printer.before(kinds, &registers), result)
    }

    #[test]
    fn open_reads_as_in_strace() {
        let kinds = [Print::Fd, Print::Path, Print::OpenFlags, Print::Mode];
        let at = AT_FDCWD as u64;
        assert_eq!(
            print(
                &kinds,
                [at, 0x1000, u64::from(fs::O_CLOEXEC), 0, 0, 0],
                b"/etc/passwd\0",
                Some(3)
            ),
            "AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC"
        );
        let flags = u64::from(fs::O_WRONLY | O_CREAT | fs::O_TRUNC);
        assert_eq!(
            print(&kinds, [at, 0x1000, flags, 0o644, 0, 0], b"x\0", Some(3)),
            "AT_FDCWD, \"x\", O_WRONLY|O_CREAT|O_TRUNC, 0644"
        );
        assert_eq!(print(&kinds, [at, 8, 0, 0, 0, 0], b"", None), "AT_FDCWD, 0x8, O_RDONLY");
    }

    #[test]
    fn buffers_are_cut_and_escaped() {
        let kinds = [Print::Fd, Print::BytesOut, Print::Unsigned64];
        assert_eq!(
            print(&kinds, [0, 0x1000, 100, 0, 0, 0], b"ab\n\"\0c\x1b2more", Some(12)),
            "0, \"ab\\n\\\"\\0c\\0332\"..., 100"
        );
        assert_eq!(print(&kinds, [0, 0x1000, 100, 0, 0, 0], b"", Some(0)), "0, \"\", 100");
        assert_eq!(print(&kinds, [0, 0x1000, 100, 0, 0, 0], b"", None), "0, 0x1000, 100");
    }

    #[test]
    fn names_of_flags_and_numbers() {
        assert_eq!(flags(3, PROTECTION, "PROT_NONE"), "PROT_READ|PROT_WRITE");
        assert_eq!(flags(0, PROTECTION, "PROT_NONE"), "PROT_NONE");
        assert_eq!(map_flags(0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(open_flags(fs::O_RDWR | fs::O_SYNC), "O_RDWR|O_SYNC");
        assert_eq!(named(2, WHENCE), "SEEK_END");
        assert_eq!(signal_name(2), "SIGINT");
        assert_eq!(signal_name(34), "SIGRT_2");
        assert_eq!(signal_name(-3), "-3");
    }

    #[test]
    fn structures_of_two_words() {
        let mut memory = 5u64.to_ne_bytes().to_vec();
        memory.extend(7u64.to_ne_bytes());
        assert_eq!(print(&[Print::Time], [0x1000, 0, 0, 0, 0, 0], &memory, Some(0)), "{5, 7}");
        let pair = (3u64 | (4 << 32)).to_ne_bytes();
        assert_eq!(print(&[Print::FdPair], [0x1000, 0, 0, 0, 0, 0], &pair, Some(0)), "[3, 4]");
        assert_eq!(
            print(&[Print::SignalSet], [0x1000, 0, 0, 0, 0, 0], &2u64.to_ne_bytes(), Some(0)),
            "[INT]"
        );
    }
}
