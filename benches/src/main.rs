//! Programs natively and in sandboxes, side by side.

use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use chitin_benches::report;
use chitin_benches::workload::{ALL, Workload};
use clap::{Args, Parser, Subcommand};

/// What things cost, beside native in the same run.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Runs workloads natively and by each runtime, in turn, and prints medians and ratios.
    Compare(Compare),
    /// Runs one workload in this process and prints nanoseconds per operation.
    Workload {
        /// Its name.
        name: String,
    },
}

#[derive(Args)]
struct Compare {
    /// A name and the command that runs the rest of its arguments in a sandbox: `runsc='runsc do'`.
    #[arg(long = "rt", value_name = "NAME=COMMAND")]
    runtimes: Vec<String>,
    /// Only workloads whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Rounds of each.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Job::Compare(arguments) => compare(&arguments),
        Job::Workload { name } => workload(&name),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chitin-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn workload(name: &str) -> io::Result<()> {
    let known = ALL.iter().find(|workload| workload.name == name);
    let workload =
        known.ok_or_else(|| io::Error::other(format!("no workload is called {name}")))?;
    let time = (workload.run)(workload.count)?;
    println!("{}", time.as_nanos() as f64 / f64::from(workload.count));
    Ok(())
}

fn compare(arguments: &Compare) -> io::Result<()> {
    let mut prefixes = vec![Vec::new()];
    let mut heading = format!("{:<46} {:>11}", "operation", "native");
    for runtime in &arguments.runtimes {
        let (name, command) = runtime
            .split_once('=')
            .ok_or_else(|| io::Error::other(format!("{runtime}: NAME=COMMAND is missing its =")))?;
        heading += &format!("  {name:>11} {:>9}", "ratio");
        prefixes.push(command.split_whitespace().map(str::to_owned).collect());
    }
    println!("{heading}");
    let wanted = |name: &str| name.contains(&arguments.only);
    if wanted("start") {
        println!(
            "{}",
            report::row(
                "start /bin/true, wait for its end",
                &rounds(&prefixes, arguments.rounds, start)?
            )
        );
    }
    for workload in ALL.iter().filter(|workload| wanted(workload.name)) {
        let medians = rounds(&prefixes, arguments.rounds, |prefix| inside(workload, prefix))?;
        println!("{}", report::row(workload.operation, &medians));
    }
    Ok(())
}

/// The median of each prefix, whose rounds are interleaved.
fn rounds(
    prefixes: &[Vec<String>],
    count: usize,
    measure: impl Fn(&[String]) -> io::Result<f64>,
) -> io::Result<Vec<f64>> {
    let mut figures = vec![Vec::new(); prefixes.len()];
    for _ in 0..count.max(1) {
        for (prefix, figures) in prefixes.iter().zip(&mut figures) {
            figures.push(measure(prefix)?);
        }
    }
    Ok(figures.iter_mut().map(|figures| report::median(figures)).collect())
}

fn command(prefix: &[String], rest: &[&str]) -> Command {
    let mut words = prefix.iter().map(String::as_str).chain(rest.iter().copied());
    let mut command = Command::new(words.next().unwrap_or("true"));
    command.args(words).stdin(Stdio::null());
    command
}

fn start(prefix: &[String]) -> io::Result<f64> {
    let start = Instant::now();
    let status = command(prefix, &["/bin/true"]).status()?;
    if status.success() {
        Ok(start.elapsed().as_nanos() as f64)
    } else {
        Err(io::Error::other(format!("{prefix:?} /bin/true: {status}")))
    }
}

fn inside(workload: &Workload, prefix: &[String]) -> io::Result<f64> {
    let program = std::env::current_exe()?;
    let output = command(prefix, &[&program.to_string_lossy(), "workload", workload.name])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        io::Error::other(format!(
            "{prefix:?} {}: {}, printed {text:?}",
            workload.name, output.status
        ))
    })
}
