//! The part of the runner that runs where the tests run: one test after the other, each in a process.

use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::case::SKIPPED;
use super::child::{adopt_orphans, end_group, end_orphans, wait_limited};
use super::{Message, Outcome, Record};
use crate::subject::{Root, Subject};

/// What a test says at most.
const MOST_TEXT: u64 = 1 << 16;

/// Runs the tests of these names and writes a line of JSON when one begins and when it ends.
///
/// # Errors
/// Those of writing; a test that cannot be started has failed.
pub fn serve(
    names: &[String],
    (subject, root): (Subject, Root),
    directory: Option<&Path>,
    limit: Duration,
    out: &mut dyn Write,
) -> io::Result<()> {
    adopt_orphans();
    for name in names {
        say(out, &Message::Begin(name.clone()))?;
        let start = Instant::now();
        let outcome = run_one(name, (subject, root), directory, limit)
            .unwrap_or_else(|error| Outcome::Failed(format!("could not be started: {error}")));
        end_orphans();
        let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        say(out, &Message::End(Record { name: name.clone(), outcome, milliseconds }))?;
    }
    Ok(())
}

fn say(out: &mut dyn Write, message: &Message) -> io::Result<()> {
    serde_json::to_writer(&mut *out, message)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn run_one(
    name: &str,
    (subject, root): (Subject, Root),
    directory: Option<&Path>,
    limit: Duration,
) -> io::Result<Outcome> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("case-");
    let own = match directory {
        Some(directory) => builder.tempdir_in(directory)?,
        None => builder.tempdir()?,
    };
    let mut output = tempfile::tempfile()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["case", "--subject", &subject.to_string(), "--root", &root.to_string(), name])
        .current_dir(own.path())
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    let status = wait_limited(&mut child, limit)?;
    end_group(&child);
    let Some(status) = status else { return Ok(Outcome::TimedOut) };
    let mut text = Vec::new();
    output.rewind()?;
    output.take(MOST_TEXT).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(match status.code() {
        Some(0) => Outcome::Passed,
        Some(code) if code == i32::from(SKIPPED) => {
            // What the body has said before is not the reason.
            Outcome::Skipped(text.trim().lines().next_back().unwrap_or_default().to_owned())
        }
        _ => Outcome::Failed(format!("{status}: {}", text.trim())),
    })
}
