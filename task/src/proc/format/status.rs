//! `/proc/pid/status`.

use core::fmt::Write;

use super::{bit_list, bit_mask, escaped_name};

/// What `/proc/pid/status` says. Sizes are bytes; ids are as the reader's namespaces have them.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of proc_pid_status(5)")]
pub struct Status {
    pub name: Vec<u8>,
    pub umask: Option<u32>,
    pub state: char,
    pub tgid: u32,
    pub pid: u32,
    pub ppid: u32,
    pub tracer: u32,
    /// Real, effective, saved, file-system.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    pub fd_size: usize,
    pub groups: Vec<u32>,
    /// Thread group, thread, process group, session in this and each inner pid namespace.
    pub ns_ids: [Vec<u32>; 4],
    /// `None` for a process without memory.
    pub memory: Option<StatusMemory>,
    pub threads: usize,
    pub queued: (usize, u64),
    pub pending: u64,
    pub shared_pending: u64,
    pub blocked: u64,
    pub ignored: u64,
    pub caught: u64,
    /// Inheritable, permitted, effective, bounding, ambient.
    pub caps: [u64; 5],
    pub no_new_privs: bool,
    pub seccomp: u32,
    pub seccomp_filters: usize,
    pub cpus: Vec<bool>,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
}

/// The memory lines.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of proc_pid_status(5)")]
pub struct StatusMemory {
    pub peak: u64,
    pub size: u64,
    pub locked: u64,
    pub high_water: u64,
    pub resident: u64,
    pub resident_file: u64,
    pub data: u64,
    pub stack: u64,
    pub exe: u64,
    pub lib: u64,
}

const fn state_name(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "disk sleep",
        'T' => "stopped",
        't' => "tracing stop",
        'X' => "dead",
        'Z' => "zombie",
        'I' => "idle",
        _ => "unknown",
    }
}

fn joined(ids: &[u32]) -> String {
    ids.iter().map(|id| format!("\t{id}")).collect()
}

/// The text.
pub fn status(status: &Status) -> String {
    let mut text = String::with_capacity(1600);
    identity(&mut text, status);
    if let Some(memory) = &status.memory {
        memory_lines(&mut text, memory);
    }
    let _ = write!(
        text,
        "Threads:\t{}\nSigQ:\t{}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
        status.threads,
        status.queued.0,
        status.queued.1,
        status.pending,
        status.shared_pending,
        status.blocked,
        status.ignored,
        status.caught,
    );
    for (name, set) in ["Inh", "Prm", "Eff", "Bnd", "Amb"].iter().zip(status.caps) {
        let _ = writeln!(text, "Cap{name}:\t{set:016x}");
    }
    let _ = write!(
        text,
        "NoNewPrivs:\t{}\nSeccomp:\t{}\nSeccomp_filters:\t{}\nSpeculation_Store_Bypass:\tvulnerable\n\
         SpeculationIndirectBranch:\talways enabled\nCpus_allowed:\t{}\nCpus_allowed_list:\t{}\nMems_allowed:\t1\n\
         Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        u8::from(status.no_new_privs),
        status.seccomp,
        status.seccomp_filters,
        bit_mask(&status.cpus),
        bit_list(&status.cpus),
        status.voluntary_switches,
        status.involuntary_switches,
    );
    text
}

fn identity(text: &mut String, status: &Status) {
    let _ = writeln!(text, "Name:\t{}", escaped_name(&status.name, b"\n\\"));
    if let Some(umask) = status.umask {
        let _ = writeln!(text, "Umask:\t{umask:04o}");
    }
    let groups: String = status.groups.iter().map(|group| format!("{group} ")).collect();
    let _ = write!(
        text,
        "State:\t{} ({})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t{}\nUid:{}\nGid:{}\nFDSize:\t{}\nGroups:\t{groups}\n",
        status.state,
        state_name(status.state),
        status.tgid,
        status.pid,
        status.ppid,
        status.tracer,
        joined(&status.uids),
        joined(&status.gids),
        status.fd_size,
    );
    for (name, ids) in ["NStgid", "NSpid", "NSpgid", "NSsid"].iter().zip(&status.ns_ids) {
        let _ = writeln!(text, "{name}:{}", joined(ids));
    }
    text.push_str("Kthread:\t0\n");
}

fn memory_lines(text: &mut String, memory: &StatusMemory) {
    let anonymous = memory.resident.saturating_sub(memory.resident_file);
    let rows = [
        ("VmPeak", memory.peak),
        ("VmSize", memory.size),
        ("VmLck", memory.locked),
        ("VmPin", 0),
        ("VmHWM", memory.high_water),
        ("VmRSS", memory.resident),
        ("RssAnon", anonymous),
        ("RssFile", memory.resident_file),
        ("RssShmem", 0),
        ("VmData", memory.data),
        ("VmStk", memory.stack),
        ("VmExe", memory.exe),
        ("VmLib", memory.lib),
        ("VmPTE", memory.resident / 512 + 4096),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ];
    for (name, bytes) in rows {
        let _ = writeln!(text, "{name}:\t{:>8} kB", bytes / 1024);
    }
    text.push_str("CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_linux_prints_it() {
        let facts = Status {
            name: b"cat".to_vec(),
            umask: Some(0o22),
            state: 'R',
            tgid: 9,
            pid: 9,
            ppid: 1,
            groups: vec![4, 24],
            ns_ids: [vec![9, 2], vec![9, 2], vec![9, 2], vec![1, 0]],
            memory: Some(StatusMemory { size: 3_133_440, ..StatusMemory::default() }),
            threads: 1,
            queued: (0, 96365),
            caps: [0, 1, 1, 0x1ff_ffff_ffff, 0],
            cpus: vec![true, true],
            ..Status::default()
        };
        let text = status(&facts);
        for line in [
            "Name:\tcat",
            "Umask:\t0022",
            "State:\tR (running)",
            "Uid:\t0\t0\t0\t0",
            "Groups:\t4 24 ",
            "NSpid:\t9\t2",
            "VmSize:\t    3060 kB",
            "SigQ:\t0/96365",
            "CapBnd:\t000001ffffffffff",
            "Cpus_allowed:\t3",
            "Cpus_allowed_list:\t0-1",
            "nonvoluntary_ctxt_switches:\t0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in {text}");
        }
    }

    #[test]
    fn a_zombie_has_no_memory_lines() {
        let text = status(&Status { state: 'Z', ..Status::default() });
        assert!(text.contains("State:\tZ (zombie)\n") && !text.contains("VmSize"));
    }
}
