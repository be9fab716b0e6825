//! `/proc/pid/limits`.

use core::fmt::Write;

const ROWS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn value(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

/// The table of (soft, hard) limits, in the order of `RLIMIT_…`.
pub fn limits(limits: &[(u64, u64); 16]) -> String {
    let mut text =
        format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for ((name, unit), (soft, hard)) in ROWS.iter().zip(limits) {
        let _ = writeln!(text, "{name:<25} {:<20} {:<20} {unit:<10}", value(*soft), value(*hard));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_are_as_wide_as_linux_has_them() {
        let text = super::limits(&[(u64::MAX, 5); 16]);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("Limit                     Soft Limit           Hard Limit           Units     ")
        );
        assert_eq!(
            lines.next(),
            Some("Max cpu time              unlimited            5                    seconds   ")
        );
        assert_eq!(lines.count(), 15);
    }
}
