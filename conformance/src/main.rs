//! The command line of the conformance suite.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use chitin_conformance::suite::{self, Outcome, Plan, Record};
use clap::{Args, Parser, Subcommand};

/// Linux system-call tests for kernels and runtimes.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs tests, each in a process of its own.
    Run(Run),
    /// Lists tests with the calls that they cover.
    List,
    /// Runs one test in this process; used by `run`.
    #[command(hide = true)]
    Case {
        /// Family and name.
        name: String,
    },
}

#[derive(Args)]
struct Run {
    /// Only tests whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// A command that runs the rest of its arguments on the kernel to be tested.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Tests at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seconds per test.
    #[arg(long, default_value_t = 20)]
    limit: u64,
    /// Tests that are expected to fail: a file of `name: reason` lines.
    #[arg(long)]
    expectations: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::List => list(),
        Command::Case { name } => case(&name),
    }
}

fn case(name: &str) -> ExitCode {
    let Some(test) = suite::find(name) else {
        eprintln!("no test is called {name}");
        return ExitCode::from(2);
    };
    match suite::run_here(test) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(77)
        }
    }
}

fn list() -> ExitCode {
    let mut out = std::io::stdout().lock();
    for family in suite::all() {
        for test in family.tests {
            let line = writeln!(out, "{}/{}  {}", family.name, test.name, test.covers.join(" "));
            if line.is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn run(arguments: &Run) -> ExitCode {
    let plan = Plan {
        prefix: arguments.prefix.split_whitespace().map(str::to_owned).collect(),
        filter: arguments.filter.clone(),
        jobs: arguments.jobs,
        limit: Duration::from_secs(arguments.limit),
    };
    let expected = match expectations(arguments.expectations.as_deref()) {
        Ok(expected) => expected,
        Err(error) => {
            eprintln!("the expectations cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    let progress = std::io::stderr().is_terminal();
    let show = |record: &Record| {
        if progress {
            eprint!("\r\x1b[K{}", record.name);
        }
    };
    match suite::run_plan(&plan, &show) {
        Ok(records) => report(&records, &expected),
        Err(error) => {
            eprintln!("the tests cannot be run: {error}");
            ExitCode::from(2)
        }
    }
}

fn expectations(path: Option<&std::path::Path>) -> std::io::Result<Vec<String>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.filter_map(|line| line.split_once(": ")).map(|(name, _)| name.to_owned()).collect())
}

fn report(records: &[Record], expected: &[String]) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for record in records {
        let known = expected.contains(&record.name);
        match &record.outcome {
            Outcome::Passed if known => {
                failed += 1;
                println!("UNEXPECTED PASS {}", record.name);
            }
            Outcome::Passed => passed += 1,
            Outcome::Skipped(reason) => {
                skipped += 1;
                println!("SKIPPED {}: {reason}", record.name);
            }
            Outcome::Failed(_) | Outcome::TimedOut if known => skipped += 1,
            Outcome::Failed(text) => {
                failed += 1;
                println!("FAILED {}: {text}", record.name);
            }
            Outcome::TimedOut => {
                failed += 1;
                println!("TIMED OUT {}", record.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
