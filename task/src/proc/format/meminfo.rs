//! `/proc/meminfo` and `/proc/vmstat`.

use core::fmt::Write;

/// How the memory is used, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Not used.
    pub free: u64,
    /// Files that are cached (also in memory file systems).
    pub cached: u64,
    /// Private memory of programs.
    pub anonymous: u64,
    /// Mapped files.
    pub mapped: u64,
    /// Memory file systems and shared memory.
    pub shmem: u64,
    /// Address space that programs have asked for.
    pub committed: u64,
    /// Locked.
    pub locked: u64,
    /// Stacks in the kernel.
    pub kernel_stack: u64,
    /// Page tables.
    pub page_tables: u64,
}

const KIB: u64 = 1024;

/// `/proc/meminfo`.
pub fn meminfo(memory: &Memory) -> String {
    let Memory {
        total,
        free,
        cached,
        anonymous,
        mapped,
        shmem,
        committed,
        locked,
        kernel_stack,
        page_tables,
    } = *memory;
    let available = free.saturating_add(cached.saturating_sub(shmem)).min(total);
    let file = cached.saturating_sub(shmem);
    let anon = anonymous.saturating_add(shmem);
    let rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", available),
        ("Buffers", 0),
        ("Cached", cached),
        ("SwapCached", 0),
        ("Active", anon / 2 + file / 2),
        ("Inactive", anon - anon / 2 + (file - file / 2)),
        ("Active(anon)", anon / 2),
        ("Inactive(anon)", anon - anon / 2),
        ("Active(file)", file / 2),
        ("Inactive(file)", file - file / 2),
        ("Unevictable", locked),
        ("Mlocked", locked),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Zswap", 0),
        ("Zswapped", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", anonymous),
        ("Mapped", mapped),
        ("Shmem", shmem),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", kernel_stack),
        ("PageTables", page_tables),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", total / 2),
        ("Committed_AS", committed),
        ("VmallocTotal", 34_359_738_367 * KIB),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("HardwareCorrupted", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
        ("Balloon", 0),
    ];
    let mut text = String::with_capacity(1600);
    for (name, bytes) in rows {
        let _ = writeln!(text, "{:<15} {:>8} kB", format!("{name}:"), bytes / KIB);
    }
    for name in ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"] {
        let _ = writeln!(text, "{name}:{:>8}", 0);
    }
    text.push_str("Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    let _ = writeln!(text, "DirectMap4k:    {:>8} kB", total / KIB);
    text
}

/// `/proc/vmstat`: what `vmstat(8)` and `top(1)` look for, in pages.
pub fn vmstat(memory: &Memory) -> String {
    let pages = |bytes: u64| bytes / 4096;
    let file = memory.cached.saturating_sub(memory.shmem);
    let rows = [
        ("nr_free_pages", pages(memory.free)),
        ("nr_inactive_anon", 0),
        ("nr_active_anon", pages(memory.anonymous)),
        ("nr_inactive_file", 0),
        ("nr_active_file", pages(file)),
        ("nr_unevictable", pages(memory.locked)),
        ("nr_mlock", pages(memory.locked)),
        ("nr_anon_pages", pages(memory.anonymous)),
        ("nr_mapped", pages(memory.mapped)),
        ("nr_file_pages", pages(memory.cached)),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", pages(memory.shmem)),
        ("nr_page_table_pages", pages(memory.page_tables)),
        ("nr_kernel_stack", memory.kernel_stack / KIB),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgalloc_normal", 0),
        ("pgfree", 0),
        ("pgactivate", 0),
        ("pgdeactivate", 0),
        ("pgfault", 0),
        ("pgmajfault", 0),
        ("pgsteal_kswapd", 0),
        ("pgscan_kswapd", 0),
        ("oom_kill", 0),
        ("thp_fault_alloc", 0),
        ("thp_collapse_alloc", 0),
    ];
    rows.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_as_linux_does() {
        let text = meminfo(&Memory { total: 24_684_092 * KIB, free: 1 << 30, ..Memory::default() });
        assert!(text.starts_with("MemTotal:       24684092 kB\nMemFree:         1048576 kB\nMemAvailable:    1048576 kB\n"));
        assert!(text.contains("VmallocTotal:   34359738367 kB\n"));
        assert!(text.contains("HugePages_Total:       0\n"));
    }

    #[test]
    fn parts_add_up() {
        let memory =
            Memory { cached: 10 * KIB, shmem: 12 * KIB, anonymous: 5 * KIB, ..Memory::default() };
        assert!(meminfo(&memory).contains("MemAvailable:          0 kB"));
        assert!(vmstat(&memory).contains("nr_file_pages 2\n"));
    }
}
