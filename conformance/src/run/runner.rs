//! Batches under a prefix, and what happens when one ends too soon.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::child::{end_group, wait_limited};
use super::{Message, Outcome, Plan, Record};

/// Tests per batch at most: a sandbox's start is shared by so many.
const MOST_PER_BATCH: usize = 50;
/// How long a batch may be silent beyond the time limit of a test: it starts, and it ends what a test left.
const GRACE: Duration = Duration::from_secs(30);

/// Runs tests and calls `done` after each. The records are sorted by name.
pub fn run(plan: &Plan, names: &[String], done: &(dyn Fn(&Record) + Sync)) -> Vec<Record> {
    let jobs = plan.jobs.max(1);
    let size = names.len().div_ceil(jobs * 4).clamp(1, MOST_PER_BATCH);
    let queue: Mutex<VecDeque<Vec<String>>> =
        Mutex::new(names.chunks(size).map(<[String]>::to_vec).collect());
    let records = Mutex::new(Vec::new());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(batch) = take() {
                    run_all(plan, batch, &|record| {
                        done(&record);
                        records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
                    });
                }
            });
        }
    });
    let mut records = records.into_inner().unwrap_or_else(PoisonError::into_inner);
    records.sort_by(|one, other| one.name.cmp(&other.name));
    records
}

/// Runs a batch to its end, in more than one process if need be.
fn run_all(plan: &Plan, mut names: Vec<String>, done: &dyn Fn(Record)) {
    while !names.is_empty() {
        let mut finished = 0;
        let how = run_batch(plan, &names, &mut |record| {
            finished += 1;
            done(record);
        });
        let mut rest = names.split_off(finished.min(names.len()));
        if rest.is_empty() {
            return;
        }
        let culprit = rest.remove(0);
        done(if names.is_empty() && rest.is_empty() {
            crashed(culprit, how)
        } else {
            alone(plan, culprit)
        });
        names = rest;
    }
}

/// Runs the test during which a batch ended, in a batch of its own.
fn alone(plan: &Plan, name: String) -> Record {
    let mut found = None;
    let how = run_batch(plan, core::slice::from_ref(&name), &mut |record| found = Some(record));
    found.unwrap_or_else(|| crashed(name, how))
}

fn crashed(name: String, how: Ended) -> Record {
    let milliseconds = u64::try_from(how.after.as_millis()).unwrap_or(u64::MAX);
    Record { name, outcome: Outcome::Crashed(how.text), milliseconds }
}

/// How a batch ended.
struct Ended {
    text: String,
    after: Duration,
}

fn run_batch(plan: &Plan, names: &[String], done: &mut dyn FnMut(Record)) -> Ended {
    let start = Instant::now();
    let text = try_batch(plan, names, done)
        .unwrap_or_else(|error| format!("{}: {error}", plan.prefix.join(" ")));
    Ended { text, after: start.elapsed() }
}

fn try_batch(plan: &Plan, names: &[String], done: &mut dyn FnMut(Record)) -> io::Result<String> {
    let mut errors = tempfile::tempfile()?;
    let mut child = start(plan, names, errors.try_clone()?)?;
    let lines = messages(&mut child);
    let silent = loop {
        match lines.recv_timeout(plan.limit + GRACE) {
            Ok(Message::Begin(_)) => {}
            Ok(Message::End(record)) => done(record),
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    let status = if silent { None } else { wait_limited(&mut child, GRACE)? };
    end_group(&child);
    child.wait()?;
    errors.rewind()?;
    let mut text = Vec::new();
    errors.take(1 << 16).read_to_end(&mut text)?;
    let how = status.map_or_else(|| "it hung".to_owned(), |status| status.to_string());
    Ok(format!("{how}: {}", String::from_utf8_lossy(&text).trim()))
}

fn start(plan: &Plan, names: &[String], errors: std::fs::File) -> io::Result<Child> {
    let program = plan.program.as_os_str();
    let mut words = plan.prefix.iter().map(|word| word.as_ref()).chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words).arg("batch");
    command.args(["--subject", &plan.subject.to_string(), "--root", &plan.root.to_string()]);
    command.args(["--limit", &plan.limit.as_secs().max(1).to_string()]);
    if let Some(directory) = &plan.directory {
        command.arg("--directory").arg(directory);
    }
    command.args(names).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn()
}

/// The lines that a batch prints, as they come. What is not of a batch (a runtime's own words) is passed over.
fn messages(child: &mut Child) -> Receiver<Message> {
    let (sender, receiver) = sync_channel(16);
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str(&line)
                    && sender.send(message).is_err()
                {
                    return;
                }
            }
        });
    }
    receiver
}
