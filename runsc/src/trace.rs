//! `--startup-trace`: where the time of a start goes.
//!
//! Each point is one record of fixed size in a memory file that the command and the sentry share; the command prints
//! them in the order of their times when it ends. Without the option a point costs one load.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::MemfdFlags;
use rustix::time::{ClockId, clock_gettime};

/// Bytes of a record: the time in nanoseconds, and the name.
const LEN: usize = 64;
/// Records of one process.
const COUNT: u64 = 256;

struct Trace {
    file: File,
    /// Where the next record of this process goes.
    next: AtomicU64,
}

static TRACE: OnceLock<Trace> = OnceLock::new();

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Begins to record.
pub(crate) fn begin() {
    if let Ok(file) = rustix::fs::memfd_create("startup-trace", MemfdFlags::CLOEXEC) {
        let _ = TRACE.set(Trace { file: file.into(), next: AtomicU64::new(0) });
        point("command: options are read");
    }
}

/// This process is the sentry: its records go behind the command's.
pub(crate) fn in_sentry() {
    if let Some(trace) = TRACE.get() {
        trace.next.store(COUNT, Ordering::Relaxed);
    }
}

/// Something has been reached.
pub(crate) fn point(name: &str) {
    let Some(trace) = TRACE.get() else { return };
    let mut record = [0; LEN];
    let (time, text) = record.split_at_mut(8);
    time.copy_from_slice(&now().to_ne_bytes());
    for (to, from) in text.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let at = trace.next.fetch_add(1, Ordering::Relaxed);
    // One that is lost is missing from the list, which is for people.
    let _ = trace.file.write_all_at(&record, at * LEN as u64);
}

/// The descriptor that has to stay open.
pub(crate) fn descriptor() -> Option<RawFd> {
    TRACE.get().map(|trace| trace.file.as_raw_fd())
}

/// All records as lines: microseconds since the first, since the one before, name.
pub(crate) fn report() -> Option<String> {
    let trace = TRACE.get()?;
    let mut bytes = vec![0; LEN * 2 * COUNT as usize];
    let mut done = 0;
    while let Ok(count @ 1..) = trace.file.read_at(bytes.get_mut(done..)?, done as u64) {
        done += count;
    }
    let mut records: Vec<(u64, String)> = bytes
        .chunks_exact(LEN)
        .filter_map(|record| {
            let (time, name) = record.split_first_chunk()?;
            let name = name.split(|byte| *byte == 0).next()?;
            Some((u64::from_ne_bytes(*time), String::from_utf8_lossy(name).into_owned()))
        })
        .filter(|(time, _)| *time > 0)
        .collect();
    records.sort();
    let first = records.first()?.0;
    let mut text = String::new();
    let mut last = first;
    for (time, name) in records {
        let (since, step) = ((time - first) as f64 / 1e3, (time - last) as f64 / 1e3);
        let _ = writeln!(text, "{since:9.1} {step:+8.1}  {name}");
        last = time;
    }
    Some(text)
}
