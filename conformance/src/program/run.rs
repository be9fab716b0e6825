//! Running a script natively and under a prefix, and what differs.

use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Script;
use crate::run::{end_group, wait_limited};

/// A command that runs the rest of its arguments in a sandbox, such as `["runsc", "do"]`.
pub type Prefix = Vec<String>;

/// What a run printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output.
    pub output: String,
    /// Exit code, 128 and the signal's number, or `None` when the time limit ended it.
    pub code: Option<i32>,
    /// Standard error: shown, not compared.
    pub errors: String,
}

/// Runs a script natively and under the prefix.
///
/// # Errors
/// A text that says how the second run differs from the first, or why one could not be made.
pub fn compare(script: &Script, prefix: &[String], limit: Duration) -> Result<(), String> {
    let native = run(script, &[], limit).map_err(|error| format!("native run: {error}"))?;
    if native.code.is_none() {
        return Err(format!("the native run took more than {limit:?}"));
    }
    let inside = run(script, prefix, limit).map_err(|error| format!("{prefix:?}: {error}"))?;
    if native.output == inside.output && native.code == inside.code {
        return Ok(());
    }
    Err(describe(&native, &inside))
}

fn run(script: &Script, prefix: &[String], limit: Duration) -> io::Result<Outcome> {
    let directory = tempfile::Builder::new().prefix("program-").tempdir()?;
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut words = prefix.iter().map(String::as_str).chain(["bash", "-c", &script.text, "script"]);
    let mut command = Command::new(words.next().unwrap_or("bash"));
    command.args(words).current_dir(directory.path()).stdin(Stdio::null());
    command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
    clean_environment(&mut command, directory.path());
    let mut child = command.spawn()?;
    let code = wait(&mut child, limit)?;
    Ok(Outcome { output: text(&mut stdout)?, code, errors: text(&mut stderr)? })
}

/// The test runner's own settings would reach programs such as cargo and make.
fn clean_environment(command: &mut Command, directory: &Path) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_", "MAKE", "RUST_", "NEXTEST"].iter().any(|prefix| text.starts_with(prefix))
            && text != "CARGO_HOME"
        {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C.UTF-8").env("TMPDIR", "/tmp").env("PWD", directory);
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<i32>> {
    let status = wait_limited(child, limit)?;
    end_group(child);
    Ok(status.and_then(|status| status.code().or(status.signal().map(|signal| 128 + signal))))
}

fn text(file: &mut std::fs::File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(8 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn describe(native: &Outcome, inside: &Outcome) -> String {
    let mut text = String::new();
    if native.code != inside.code {
        let shown = inside.code.map_or("the time limit".to_owned(), |code| code.to_string());
        text += &format!("exit code {:?} natively, {shown} inside\n", native.code.unwrap_or(-1));
    }
    let (mut left, mut right) = (native.output.lines(), inside.output.lines());
    let (mut number, mut shown) = (0, 0);
    loop {
        number += 1;
        match (left.next(), right.next()) {
            (None, None) => break,
            (one, other) if one == other => {}
            (one, other) => {
                text += &format!(
                    "line {number}\n  native: {}\n  inside: {}\n",
                    or_end(one),
                    or_end(other)
                );
                shown += 1;
            }
        }
        if shown == 12 {
            text += "and more\n";
            break;
        }
    }
    let errors: Vec<&str> = inside.errors.lines().collect();
    let tail = errors.get(errors.len().saturating_sub(15)..).unwrap_or_default();
    text + "standard error inside, its end:\n" + &tail.join("\n")
}

fn or_end(line: Option<&str>) -> &str {
    line.unwrap_or("(end of output)")
}
