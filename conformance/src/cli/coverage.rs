//! `coverage`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::report::{by_call, to_lines};

#[derive(Args)]
pub(super) struct Coverage {
    /// A run, as `run --format json` wrote it.
    report: PathBuf,
}

impl Coverage {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let report = super::compare::read(&self.report)?;
        println!("# Tests by system call: call, tests, passed ({}).", report.subject);
        print!("{}", to_lines(&by_call(&report)));
        Ok(ExitCode::SUCCESS)
    }
}
