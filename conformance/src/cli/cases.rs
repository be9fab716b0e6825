//! The commands that `run` starts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::run::{SKIPPED, run_case, serve};
use crate::subject::{Root, Subject};
use crate::suite;

/// `batch`.
#[derive(Args)]
pub(super) struct Batch {
    #[arg(long)]
    subject: Subject,
    #[arg(long, default_value = "tmpfs")]
    root: Root,
    #[arg(long)]
    directory: Option<PathBuf>,
    #[arg(long)]
    limit: u64,
    names: Vec<String>,
}

impl Batch {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let limit = Duration::from_secs(self.limit);
        let directory = self.directory.as_deref();
        let mut out = std::io::stdout().lock();
        serve(&self.names, (self.subject, self.root), directory, limit, &mut out)
            .map_err(|error| format!("cannot write results: {error}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `case`.
#[derive(Args)]
pub(super) struct Case {
    #[arg(long, default_value = "host")]
    subject: Subject,
    #[arg(long, default_value = "tmpfs")]
    root: Root,
    /// Family and name.
    name: String,
}

impl Case {
    pub(super) fn execute(&self) -> ExitCode {
        let Some(test) = suite::find(&self.name) else {
            eprintln!("no test is called {}", self.name);
            return ExitCode::from(2);
        };
        match run_case(test, self.subject, self.root) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("{reason}");
                ExitCode::from(SKIPPED)
            }
        }
    }
}
