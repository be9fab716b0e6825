//! `/proc/pid/stat`, `/proc/pid/statm`.

use super::escaped_name;

/// Ticks per second in /proc (`USER_HZ`).
pub const USER_HZ: u64 = 100;

/// What a line of `/proc/pid/stat` says. Times are nanoseconds, sizes are bytes.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of proc_pid_stat(5)")]
pub struct Stat {
    pub pid: u32,
    pub comm: Vec<u8>,
    pub state: char,
    pub ppid: u32,
    pub pgrp: u32,
    pub session: u32,
    pub tty_nr: i32,
    pub tpgid: i32,
    pub flags: u32,
    pub minflt: u64,
    pub cminflt: u64,
    pub majflt: u64,
    pub cmajflt: u64,
    pub utime: u64,
    pub stime: u64,
    pub cutime: u64,
    pub cstime: u64,
    pub priority: i64,
    pub nice: i64,
    pub num_threads: u64,
    pub starttime: u64,
    pub vsize: u64,
    pub rss: u64,
    pub rsslim: u64,
    /// Addresses are shown only to who may trace the process.
    pub layout: Layout,
    pub signal: u64,
    pub blocked: u64,
    pub sigignore: u64,
    pub sigcatch: u64,
    pub sleeping: bool,
    pub exit_signal: i32,
    pub processor: i32,
    pub rt_priority: u32,
    pub policy: u32,
    pub exit_code: i32,
}

/// Where a program lies.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of proc_pid_stat(5)")]
pub struct Layout {
    pub start_code: u64,
    pub end_code: u64,
    pub start_stack: u64,
    pub esp: u64,
    pub eip: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
}

/// Nanoseconds in ticks.
pub const fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / (1_000_000_000 / USER_HZ)
}

/// The line.
pub fn stat(stat: &Stat) -> String {
    let at = &stat.layout;
    let numbers: [i128; 49] = [
        stat.ppid.into(),
        stat.pgrp.into(),
        stat.session.into(),
        stat.tty_nr.into(),
        stat.tpgid.into(),
        stat.flags.into(),
        stat.minflt.into(),
        stat.cminflt.into(),
        stat.majflt.into(),
        stat.cmajflt.into(),
        ticks(stat.utime).into(),
        ticks(stat.stime).into(),
        ticks(stat.cutime).into(),
        ticks(stat.cstime).into(),
        stat.priority.into(),
        stat.nice.into(),
        stat.num_threads.into(),
        0,
        ticks(stat.starttime).into(),
        stat.vsize.into(),
        (stat.rss / 4096).into(),
        stat.rsslim.into(),
        at.start_code.into(),
        at.end_code.into(),
        at.start_stack.into(),
        at.esp.into(),
        at.eip.into(),
        (stat.signal & 0x7fff_ffff).into(),
        (stat.blocked & 0x7fff_ffff).into(),
        (stat.sigignore & 0x7fff_ffff).into(),
        (stat.sigcatch & 0x7fff_ffff).into(),
        i128::from(stat.sleeping),
        0,
        0,
        stat.exit_signal.into(),
        stat.processor.into(),
        stat.rt_priority.into(),
        stat.policy.into(),
        0,
        0,
        0,
        at.start_data.into(),
        at.end_data.into(),
        at.start_brk.into(),
        at.arg_start.into(),
        at.arg_end.into(),
        at.env_start.into(),
        at.env_end.into(),
        stat.exit_code.into(),
    ];
    let numbers: Vec<String> = numbers.iter().map(i128::to_string).collect();
    format!(
        "{} ({}) {} {}\n",
        stat.pid,
        escaped_name(&stat.comm, b"\n\\"),
        stat.state,
        numbers.join(" ")
    )
}

/// `/proc/pid/statm`, from bytes.
pub fn statm(total: u64, resident: u64, shared: u64, text: u64, data: u64) -> String {
    let pages = |bytes: u64| bytes / 4096;
    format!(
        "{} {} {} {} 0 {} 0\n",
        pages(total),
        pages(resident),
        pages(shared),
        pages(text),
        pages(data)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_52_fields_in_place() {
        let facts = Stat {
            pid: 7,
            comm: b"a (b) c".to_vec(),
            state: 'S',
            ppid: 1,
            utime: 1_230_000_000,
            num_threads: 3,
            starttime: 5_000_000_000,
            vsize: 8192,
            rss: 8192,
            rsslim: u64::MAX,
            exit_signal: 17,
            exit_code: 256,
            tpgid: -1,
            ..Stat::default()
        };
        let line = stat(&facts);
        let rest = line.trim_end().strip_prefix("7 (a (b) c) ").unwrap();
        let fields: Vec<&str> = rest.split(' ').collect();
        // Field n of proc_pid_stat(5) is fields[n - 3].
        assert_eq!(fields.len(), 50);
        for (number, value) in [
            (3, "S"),
            (4, "1"),
            (8, "-1"),
            (14, "123"),
            (20, "3"),
            (22, "500"),
            (23, "8192"),
            (24, "2"),
        ] {
            assert_eq!(fields[number - 3], value, "field {number}");
        }
        assert_eq!(fields[25 - 3], u64::MAX.to_string());
        assert_eq!(fields[38 - 3], "17");
        assert_eq!(fields[52 - 3], "256");
    }

    #[test]
    fn statm_counts_pages() {
        assert_eq!(statm(40960, 8192, 4096, 4096, 12288), "10 2 1 1 0 3 0\n");
    }
}
