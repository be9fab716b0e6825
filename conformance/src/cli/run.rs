//! `run`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use regex::Regex;

use super::progress::Progress;
use crate::expect::Expectations;
use crate::report::{Report, junit, table};
use crate::run::{Outcome, Plan, Record, run, select};
use crate::subject::{Root, Subject};

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For `compare` and other programs.
    Json,
    /// For build servers.
    Junit,
}

#[derive(Args)]
pub(super) struct Run {
    /// What is tested. Without this: `sandbox` if there is a prefix, else `host`.
    #[arg(long)]
    subject: Option<Subject>,
    /// The platform of the sandbox (`runsc --platform`).
    #[arg(long, conflicts_with = "prefix")]
    platform: Option<String>,
    /// A command that runs the rest of its arguments on the kernel to be tested. For the sandbox: `runsc do`, with the
    /// program that `CHITIN_RUNSC` names, or the release build of this workspace.
    #[arg(long)]
    prefix: Option<String>,
    /// Where the command of the prefix finds this program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Where each test gets a directory of its own: the file system to be tested.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The root file system of a subject in process.
    #[arg(long, default_value = "tmpfs")]
    root: Root,
    /// Only tests whose full name (`family/test`) matches this regular expression.
    #[arg(long)]
    filter: Option<Regex>,
    /// Tests at once.
    #[arg(long, default_value = "2")]
    jobs: NonZeroUsize,
    /// Seconds per test.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86400))]
    limit: u64,
    /// What is known not to pass, instead of what this program knows of the subject: a file of lines such as
    /// `fail pipe/packets: reason`.
    #[arg(long)]
    expectations: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, default_value = "table")]
    format: Format,
    /// A file for the result, instead of standard output.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Run {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let plan = self.plan()?;
        let expectations = self.expectations(plan.subject)?;
        let names = select(plan.subject, self.filter.as_ref());
        if names.is_empty() {
            return Err(format!("no test of {} matches the filter", plan.subject));
        }
        let report = execute(&plan, &names, &expectations);
        self.write(&report)?;
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn subject(&self) -> Subject {
        let outside = self.prefix.is_some() || self.platform.is_some();
        self.subject.unwrap_or(if outside { Subject::Sandbox } else { Subject::Host })
    }

    fn plan(&self) -> Result<Plan, String> {
        let subject = self.subject();
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(|error| format!("this program: {error}"))?,
        };
        Ok(Plan {
            subject,
            root: self.root,
            prefix: self.prefix(subject)?,
            program,
            directory: self.directory.clone(),
            jobs: self.jobs.get(),
            limit: Duration::from_secs(self.limit),
        })
    }

    fn prefix(&self, subject: Subject) -> Result<Vec<String>, String> {
        match (&self.prefix, subject) {
            (Some(_), Subject::Task | Subject::Vfs | Subject::Mm | Subject::Net) => {
                Err(format!("{subject} runs in this process: it takes no prefix"))
            }
            (Some(text), _) => words(text),
            (None, Subject::Sandbox) => sandbox(self.platform.as_deref()),
            (None, _) if self.platform.is_some() => {
                Err(format!("{subject} has no platform; the sandbox has"))
            }
            (None, _) => Ok(Vec::new()),
        }
    }

    fn expectations(&self, subject: Subject) -> Result<Expectations, String> {
        let Some(path) = &self.expectations else {
            // What is known of Chitin says nothing about others.
            let other = self.prefix.is_some();
            return if other {
                Ok(Expectations::default())
            } else {
                Expectations::built_in(subject)
            };
        };
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| Expectations::parse(&text))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn write(&self, report: &Report) -> Result<(), String> {
        let text = match self.format {
            Format::Table => table(report),
            Format::Json => report.to_json(),
            Format::Junit => junit(report)?,
        };
        match &self.output {
            Some(path) => {
                std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
            }
            None => {
                print!("{text}");
                Ok(())
            }
        }
    }
}

/// Runs the tests that are to be run, with a bar.
fn execute(plan: &Plan, names: &[String], expectations: &Expectations) -> Report {
    let (skipped, names): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| expectations.skip(name).is_some());
    let progress = Progress::new(names.len());
    let mut records = run(plan, &names, &|record| {
        progress.note(record, expectations.judge(record).is_bad());
    });
    progress.end();
    records.extend(skipped.into_iter().map(|name| {
        let reason = expectations.skip(&name).unwrap_or_default().to_owned();
        Record { name, outcome: Outcome::Skipped(reason), milliseconds: 0 }
    }));
    records.sort_by(|one, other| one.name.cmp(&other.name));
    Report::new((plan.subject, plan.root), &plan.prefix, records, expectations)
}

/// The words of a prefix, as a shell would take them apart. The first is a program that can be found.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(text).ok_or_else(|| format!("`{text}`: a quote is not closed"))?;
    if let Some(first) = words.first() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|place| place.join(first));
        let there = Path::new(first).exists() || places.any(|place| place.exists());
        if !there {
            return Err(format!("`{first}` of the prefix is not there"));
        }
    }
    Ok(words)
}

/// The command that runs programs in a sandbox of Chitin's.
pub(super) fn sandbox(platform: Option<&str>) -> Result<Vec<String>, String> {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/runsc");
    let runsc = std::env::var_os("CHITIN_RUNSC").map_or_else(built, PathBuf::from);
    let runsc = runsc.canonicalize().map_err(|error| {
        format!(
            "{}: {error}; CHITIN_RUNSC names another, --prefix another runtime",
            runsc.display()
        )
    })?;
    let mut words = vec![runsc.to_string_lossy().into_owned()];
    words.extend(platform.map(|platform| format!("--platform={platform}")));
    words.push("do".to_owned());
    Ok(words)
}
