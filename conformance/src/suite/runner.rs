//! Running tests, each in a process of its own.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chitin_abi::signal::{SIG_DFL, SIGPIPE};

use super::{Calls, Kernel, Need, Skip, Test, all};

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel does what Linux does.
    Passed,
    /// It does not: what the body said.
    Failed(String),
    /// The body did not run: why.
    Skipped(String),
    /// The time limit ended it.
    TimedOut,
}

/// One result.
#[derive(Clone, Debug)]
pub struct Record {
    /// Family and name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub time: Duration,
}

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Words before the command, such as `runsc do`; empty for this kernel.
    pub prefix: Vec<String>,
    /// Only tests whose full name contains this.
    pub filter: String,
    /// How many at once.
    pub jobs: usize,
    /// Time limit of one test.
    pub limit: Duration,
}

/// Runs the tests of a plan and calls `done` after each.
///
/// # Errors
/// Those of finding this program.
pub fn run_plan(plan: &Plan, done: &(dyn Fn(&Record) + Sync)) -> std::io::Result<Vec<Record>> {
    Ok(run_plan_with(plan, &std::env::current_exe()?, done))
}

/// The same with `program` as the command whose `case` runs one test.
pub fn run_plan_with(plan: &Plan, program: &Path, done: &(dyn Fn(&Record) + Sync)) -> Vec<Record> {
    let names: Vec<String> = all()
        .iter()
        .flat_map(|family| family.tests.iter().map(|test| format!("{}/{}", family.name, test.name)))
        .filter(|name| name.contains(&plan.filter))
        .collect();
    let (next, records) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let record = run_one(plan, program, name);
                    done(&record);
                    if let Ok(mut records) = records.lock() {
                        records.push(record);
                    }
                }
            });
        }
    });
    let mut records = records.into_inner().unwrap_or_default();
    records.sort_by(|one, other| one.name.cmp(&other.name));
    records
}

fn run_one(plan: &Plan, program: &Path, name: &str) -> Record {
    let start = Instant::now();
    let outcome = spawn_and_wait(plan, program, name)
        .unwrap_or_else(|error| Outcome::Failed(format!("could not be started: {error}")));
    Record { name: name.to_owned(), outcome, time: start.elapsed() }
}

fn spawn_and_wait(plan: &Plan, program: &Path, name: &str) -> std::io::Result<Outcome> {
    let directory = tempfile::Builder::new().prefix("case-").tempdir()?;
    let mut words: Vec<&std::ffi::OsStr> = plan.prefix.iter().map(|word| word.as_ref()).collect();
    words.extend([program.as_os_str(), "case".as_ref(), name.as_ref()]);
    let (first, rest) = words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut output = tempfile::tempfile()?;
    let mut child = Command::new(first)
        .args(rest)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output.try_clone()?)
        .spawn()?;
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > plan.limit {
            child.kill()?;
            child.wait()?;
            return Ok(Outcome::TimedOut);
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    let mut text = String::new();
    std::io::Seek::rewind(&mut output)?;
    output.take(1 << 16).read_to_string(&mut text)?;
    Ok(match status.code() {
        Some(0) => Outcome::Passed,
        Some(77) => Outcome::Skipped(text.trim().to_owned()),
        _ => Outcome::Failed(format!("{status}: {}", text.trim())),
    })
}

/// Runs a test in this process.
///
/// # Errors
/// The reason why it cannot run here.
///
/// # Panics
/// Where the kernel does not do what Linux does.
pub fn run_here(test: &Test) -> Result<(), String> {
    for need in test.needs {
        if let Some(reason) = unmet(*need) {
            return Err(reason.to_owned());
        }
    }
    let kernel: &dyn Kernel = &crate::raw::Host;
    // Rust's runtime ignores SIGPIPE; a body starts with the defaults of a new process.
    kernel.set_action(SIGPIPE, SIG_DFL).map_err(|errno| format!("SIGPIPE: {errno:?}"))?;
    let body = std::panic::AssertUnwindSafe(|| (test.body)(kernel));
    match std::panic::catch_unwind(body) {
        Ok(()) => Ok(()),
        Err(payload) => match payload.downcast::<Skip>() {
            Ok(skip) => Err(skip.0),
            Err(payload) => std::panic::resume_unwind(payload),
        },
    }
}

/// Why this machine does not have what a test needs.
fn unmet(need: Need) -> Option<&'static str> {
    let root = rustix::process::geteuid().is_root();
    let there = |path: &str| Path::new(path).exists();
    match need {
        Need::Root if !root => Some("needs user 0"),
        Need::User if root => Some("needs a user other than 0"),
        Need::Exec if !there("/bin/sh") => Some("needs /bin/sh"),
        Need::Kvm if !there("/dev/kvm") => Some("needs /dev/kvm"),
        Need::Terminal if !there("/dev/ptmx") => Some("needs /dev/ptmx"),
        Need::Network if !has_network() => Some("needs a network interface besides the loopback"),
        _ => None,
    }
}

fn has_network() -> bool {
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    interfaces.into_iter().any(|entry| entry.file_name() != "lo")
}
