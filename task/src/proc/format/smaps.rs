//! `/proc/pid/smaps` and `/proc/pid/smaps_rollup`.

use core::fmt::Write;

/// What is resident of a mapping, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Pages.
    pub rss: u64,
    /// Pages of no file.
    pub anonymous: u64,
    /// Pages that others may have too.
    pub shared: u64,
    /// Locked pages.
    pub locked: u64,
}

impl Resident {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            rss: self.rss.saturating_add(other.rss),
            anonymous: self.anonymous.saturating_add(other.anonymous),
            shared: self.shared.saturating_add(other.shared),
            locked: self.locked.saturating_add(other.locked),
        }
    }
}

fn rows(text: &mut String, rows: &[(&str, u64)]) {
    for (name, bytes) in rows {
        let _ = writeln!(text, "{:<16}{:>8} kB", format!("{name}:"), bytes / 1024);
    }
}

fn common(text: &mut String, resident: &Resident, rollup: bool) {
    let private = resident.rss.saturating_sub(resident.shared);
    let dirty = resident.anonymous.min(private);
    rows(text, &[("Rss", resident.rss), ("Pss", resident.rss), ("Pss_Dirty", dirty)]);
    if rollup {
        let file = resident.rss.saturating_sub(resident.anonymous);
        rows(text, &[("Pss_Anon", resident.anonymous), ("Pss_File", file), ("Pss_Shmem", 0)]);
    }
    rows(
        text,
        &[
            ("Shared_Clean", resident.shared),
            ("Shared_Dirty", 0),
            ("Private_Clean", private.saturating_sub(dirty)),
            ("Private_Dirty", dirty),
            ("Referenced", resident.rss),
            ("Anonymous", resident.anonymous),
            ("KSM", 0),
            ("LazyFree", 0),
            ("AnonHugePages", 0),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", 0),
            ("SwapPss", 0),
            ("Locked", resident.locked),
        ],
    );
}

/// The lines behind a mapping's own.
pub fn entry(size: u64, resident: &Resident, vm_flags: &str) -> String {
    let mut text = String::with_capacity(640);
    rows(&mut text, &[("Size", size), ("KernelPageSize", 4096), ("MMUPageSize", 4096)]);
    common(&mut text, resident, false);
    let _ = write!(text, "THPeligible:           0\nVmFlags: {vm_flags}\n");
    text
}

/// The whole of `smaps_rollup`: the range from the first mapping to the last, and the sums.
pub fn rollup(start: u64, end: u64, resident: &Resident) -> String {
    let head = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ");
    let mut text = format!("{head:<73}[rollup]\n");
    common(&mut text, resident, true);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned() {
        let resident = Resident { rss: 8192, anonymous: 4096, shared: 4096, locked: 0 };
        let text = entry(20480, &resident, "rd ex mr mw me ");
        assert!(text.starts_with("Size:                 20 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\nRss:                   8 kB\n"));
        assert!(text.contains("Private_Dirty:         4 kB\n"));
        assert!(text.ends_with("THPeligible:           0\nVmFlags: rd ex mr mw me \n"));
    }

    #[test]
    fn rollup_is_one_entry() {
        let text = rollup(
            0x1000,
            0x3000,
            &Resident::default().plus(Resident { rss: 4096, ..Resident::default() }),
        );
        assert!(text.starts_with("00001000-00003000 ---p 00000000 00:00 0"));
        assert!(text.lines().next().unwrap().ends_with(" [rollup]"));
        assert!(text.contains("Pss_File:              4 kB\n"));
    }
}
