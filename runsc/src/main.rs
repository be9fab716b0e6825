#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod boot;
mod cli;
mod confine;
mod control;
mod error;
mod gofer;
mod log;
mod network;
mod oci;
mod raw;
mod sandbox;
mod state;
mod trace;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match cli::Cli::read() {
        Ok(cli) => cli.global.open_logs().and_then(|()| cli.execute()),
        Err(usage) if usage.exit_code() == 0 => {
            // Help or the version; nobody is left to tell that it could not be printed.
            let _ = usage.print();
            return ExitCode::SUCCESS;
        }
        Err(usage) => cli::usage_failure(&usage),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // Whoever closed standard error does not want to know.
            let _ = writeln!(std::io::stderr(), "runsc: {failure}");
            log::record(log::Level::Error, &failure.to_string());
            ExitCode::from(failure.code())
        }
    }
}
