#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod boot;
mod cli;
mod confine;
mod control;
mod error;
mod log;
mod oci;
mod raw;
mod sandbox;
mod state;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let result = cli.global.open_logs().and_then(|()| cli.execute());
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
