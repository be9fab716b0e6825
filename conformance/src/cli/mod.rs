//! The command line.

mod cases;
mod compare;
mod coverage;
mod differ;
mod list;
mod progress;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Linux system-call tests for kernels and runtimes.
#[derive(Parser)]
#[command(name = "chitin-conformance", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs tests; succeeds if all end as expected.
    Run(run::Run),
    /// Lists tests with the calls that they cover.
    List(list::List),
    /// Shows which tests ended otherwise in the second run than in the first; succeeds if none did.
    Compare(compare::Compare),
    /// Counts the tests of a run by the system calls that they cover.
    Coverage(coverage::Coverage),
    /// Runs random programs of system calls on the native kernel and on another; succeeds if both answer the same.
    Differ(differ::Differ),
    /// Runs one such program and prints what it saw; used by `differ`.
    #[command(hide = true)]
    Transcript(differ::Transcript),
    /// Runs tests one after the other, each in a process; used by `run`.
    #[command(hide = true)]
    Batch(cases::Batch),
    /// Runs one test in this process; used by `run`.
    #[command(hide = true)]
    Case(cases::Case),
}

/// Runs what the arguments of this process say. 0: all is as expected; 1: something is not; 2: it could not be done.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => run.execute(),
        Command::List(list) => list.execute(),
        Command::Compare(compare) => compare.execute(),
        Command::Coverage(coverage) => coverage.execute(),
        Command::Differ(differ) => differ.execute(),
        Command::Transcript(transcript) => transcript.execute(),
        Command::Batch(batch) => batch.execute(),
        Command::Case(case) => Ok(case.execute()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("chitin-conformance: {error}");
        ExitCode::from(2)
    })
}
