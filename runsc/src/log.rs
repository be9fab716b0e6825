//! `--log` and `--debug-log`.
//!
//! `--log` has the two formats of other runtimes, because engines parse its last error: JSON objects with
//! `level`, `msg` and `time`, or `time="…" level=… msg="…"`. Each record is one `write` to a file opened for
//! appending. The file is opened at start-up, so that processes of the sandbox, which cannot open anything,
//! can still log.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

use crate::error::{Context as _, Result};

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `time="…" level=… msg="…"`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How grave a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The command failed.
    Error,
    /// Something was ignored.
    Warning,
    /// For developers.
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Debug => "debug",
        }
    }
}

struct Sink {
    file: Option<File>,
    format: Format,
    debug: Option<File>,
    /// Where system calls are printed.
    trace: Option<File>,
}

static SINK: OnceLock<Sink> = OnceLock::new();
static WARNED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Where records go.
pub(crate) struct Config<'a> {
    /// `--log`
    pub(crate) file: Option<&'a PathBuf>,
    /// `--log-format`
    pub(crate) format: Format,
    /// `--debug-log`, or `--debug` without one: standard error.
    pub(crate) debug_file: Option<&'a PathBuf>,
    /// `--debug`
    pub(crate) debug: bool,
    /// `--strace`
    pub(crate) strace: bool,
}

/// Opens the files. Called once, first of all.
pub(crate) fn open(config: &Config<'_>) -> Result<()> {
    let file = config.file.map(|path| append(path)).transpose()?;
    let debug_file = config.debug_file.map(|path| append(path)).transpose()?;
    let trace = match &debug_file {
        _ if !config.strace => None,
        Some(file) => file.try_clone().ok(),
        None => standard_error(),
    };
    let debug = debug_file.or_else(|| standard_error().filter(|_| config.debug));
    // A second call would be a bug; the first configuration stands.
    let _ = SINK.set(Sink { file, format: config.format, debug, trace });
    Ok(())
}

fn standard_error() -> Option<File> {
    let error = std::io::stderr();
    rustix::io::fcntl_dupfd_cloexec(&error, 3).ok().map(File::from)
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .context(|| format!("cannot open the log {}", path.display()))
}

/// Whether debug records go anywhere.
pub(crate) fn debugging() -> bool {
    SINK.get().is_some_and(|sink| sink.debug.is_some())
}

/// Where system calls are printed.
pub(crate) fn trace_sink() -> std::io::Result<File> {
    let sink = SINK.get().and_then(|sink| sink.trace.as_ref());
    sink.ok_or_else(|| std::io::Error::other("standard error is closed"))?.try_clone()
}

/// Descriptors that must stay open in the processes of a sandbox.
pub(crate) fn descriptors() -> Vec<RawFd> {
    let files =
        SINK.get().map(|sink| [sink.file.as_ref(), sink.debug.as_ref(), sink.trace.as_ref()]);
    files.into_iter().flatten().flatten().map(File::as_raw_fd).collect()
}

/// Writes a record.
pub(crate) fn record(level: Level, message: &str) {
    let Some(sink) = SINK.get() else { return };
    if let Some(mut file) = sink.file.as_ref().filter(|_| level != Level::Debug) {
        // Nobody is left to tell that the log is full.
        let _ = file.write_all(line(sink.format, level, message).as_bytes());
    }
    if let Some(mut file) = sink.debug.as_ref() {
        let _ = file.write_all(line(Format::Text, level, message).as_bytes());
    }
}

/// Says once, on standard error and in the log, that something is not honoured.
pub(crate) fn warn_once(message: &str) {
    let Ok(mut warned) = WARNED.lock() else { return };
    if warned.iter().any(|said| said == message) {
        return;
    }
    warned.push(message.to_owned());
    let _ = writeln!(std::io::stderr(), "runsc: warning: {message}");
    record(Level::Warning, message);
}

/// A debug record.
pub(crate) fn debug(message: impl FnOnce() -> String) {
    if debugging() {
        record(Level::Debug, &message());
    }
}

fn line(format: Format, level: Level, message: &str) -> String {
    let time = rfc3339(SystemTime::now());
    match format {
        Format::Json => {
            let object = serde_json::json!({ "level": level.name(), "msg": message, "time": time });
            format!("{object}\n")
        }
        Format::Text => format!("time=\"{time}\" level={} msg={message:?}\n", level.name()),
    }
}

/// A time as RFC 3339 writes it, in UTC, with nanoseconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z",
        since.subsec_nanos()
    )
}

/// Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar, which repeats every
/// 146097 days; years begin in March here, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc3339() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000000000Z");
        assert_eq!(at(1_709_251_200), "2024-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn records_have_the_fields_that_engines_read() {
        let text = line(Format::Json, Level::Error, "no \"such\" thing");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "no \"such\" thing");
        assert!(value["time"].is_string());
        assert!(line(Format::Text, Level::Warning, "x").contains("level=warning msg=\"x\"\n"));
    }
}
