//! `compare`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::report::{Report, differences};

#[derive(Args)]
pub(super) struct Compare {
    /// The first run, as `run --format json` wrote it.
    before: PathBuf,
    /// The second run.
    after: PathBuf,
}

impl Compare {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let found = differences(&read(&self.before)?, &read(&self.after)?);
        for one in &found {
            let reason: Vec<&str> = one.reason.lines().take(3).collect();
            println!("{}: {} -> {}  {}", one.name, one.before, one.after, reason.join(" "));
        }
        println!("{} tests ended otherwise", found.len());
        Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Reads a run.
pub(super) fn read(path: &Path) -> Result<Report, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    text.and_then(|text| Report::parse(&text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
