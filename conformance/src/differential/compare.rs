//! Running programs on two kernels, and making those smaller that they answer differently.

use core::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};

use super::{Area, Program};
use crate::run::{end_group, wait_limited};
use crate::subject::{Root, Subject};

/// How long one program may run.
const LIMIT: Duration = Duration::from_secs(20);
/// Tries of making a program smaller at most.
const MOST_TRIES: usize = 300;

/// A kernel that programs are run on.
#[derive(Clone, Debug)]
pub struct Site {
    /// What it is.
    pub subject: Subject,
    /// Words before the command; empty for none.
    pub prefix: Vec<String>,
}

/// Runs programs.
#[derive(Clone, Debug)]
pub struct Runner {
    /// This program, whose `transcript` runs one.
    pub program: PathBuf,
    /// Where the oracle's directories are made.
    pub directory: PathBuf,
}

/// A program that two kernels answer differently.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The program, as small as it could be made.
    pub program: Program,
    /// Where it came from.
    pub seed: u64,
    /// The first lines that differ, the oracle's first.
    pub lines: (String, String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, seed, lines: (oracle, subject) } = self;
        write!(f, "seed {seed}: {}\n  oracle:  {oracle}\n  subject: {subject}", program.to_json())
    }
}

/// What a kernel did with a program.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Transcript(Vec<String>),
    /// It cannot be run there, for this reason.
    Unavailable(String),
}

impl Runner {
    /// Runs a program in a process and an empty directory of its own.
    fn answer(&self, site: &Site, program: &Program) -> io::Result<Answer> {
        let directory = tempfile::Builder::new().prefix("program-").tempdir_in(&self.directory)?;
        let own = self.program.as_os_str();
        let mut words = site.prefix.iter().map(|word| word.as_ref()).chain([own]);
        let mut command = Command::new(words.next().unwrap_or(own));
        command.args(words).args(["transcript", "--subject", &site.subject.to_string()]);
        command.args(["--root", &Root::Tmpfs.to_string(), "--program", &program.to_json()]);
        let mut output = tempfile::tempfile()?;
        let mut child = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .process_group(0)
            .spawn()?;
        let status = wait_limited(&mut child, LIMIT)?;
        end_group(&child);
        let mut text = String::new();
        io::Seek::rewind(&mut output)?;
        io::Read::read_to_string(&mut output, &mut text)?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Some(reason) = lines.iter().find_map(|line| line.strip_prefix("unavailable: ")) {
            return Ok(Answer::Unavailable(reason.to_owned()));
        }
        match status {
            Some(status) if status.success() => {}
            Some(status) => lines.push(format!("ended: {status}")),
            None => lines.push("did not end".to_owned()),
        }
        Ok(Answer::Transcript(lines))
    }

    /// The first lines in which two kernels differ. The reason if one cannot run the program.
    fn differ(
        &self,
        (oracle, subject): (&Site, &Site),
        program: &Program,
    ) -> Result<Option<(String, String)>, String> {
        let run = |site| self.answer(site, program).map_err(|error| format!("{site:?}: {error}"));
        match (run(oracle)?, run(subject)?) {
            (Answer::Transcript(one), Answer::Transcript(other)) => {
                Ok(first_difference(&one, &other))
            }
            (Answer::Unavailable(reason), _) => Err(format!("the oracle: {reason}")),
            (_, Answer::Unavailable(reason)) => Err(format!("the subject: {reason}")),
        }
    }
}

fn first_difference(one: &[String], other: &[String]) -> Option<(String, String)> {
    let end = "(end)".to_owned();
    (0..one.len().max(other.len()))
        .map(|index| (one.get(index).unwrap_or(&end), other.get(index).unwrap_or(&end)))
        .find(|(left, right)| left != right)
        .map(|(left, right)| (left.clone(), right.clone()))
}

/// Runs programs of the seeds until one is answered differently, or the time is over; how many were run.
///
/// # Errors
/// That one, made small; or why none could be run.
pub fn find(
    runner: &Runner,
    sites: (&Site, &Site),
    area: Area,
    seeds: core::ops::Range<u64>,
    time: Duration,
) -> Result<u64, Result<Box<Difference>, String>> {
    let start = Instant::now();
    let mut count = 0;
    for seed in seeds {
        if start.elapsed() > time {
            break;
        }
        let mut tree = area
            .strategy()
            .new_tree(&mut Area::runner(seed))
            .map_err(|reason| Err(reason.to_string()))?;
        if runner.differ(sites, &tree.current()).map_err(Err)?.is_some() {
            return Err(Ok(Box::new(smallest(runner, sites, seed, &mut *tree)?)));
        }
        count += 1;
    }
    Ok(count)
}

fn smallest(
    runner: &Runner,
    sites: (&Site, &Site),
    seed: u64,
    tree: &mut dyn ValueTree<Value = Program>,
) -> Result<Difference, Result<Box<Difference>, String>> {
    let mut found = None;
    let mut differs = true;
    for _ in 0..MOST_TRIES {
        if differs {
            let program = tree.current();
            if let Some(lines) = runner.differ(sites, &program).map_err(Err)? {
                found = Some(Difference { program, seed, lines });
            }
        }
        let moved = if differs { tree.simplify() } else { tree.complicate() };
        if !moved {
            break;
        }
        differs = runner.differ(sites, &tree.current()).map_err(Err)?.is_some();
    }
    found.ok_or_else(|| Err("a program was answered differently only once".to_owned()))
}

/// Runs a program that has been answered differently before.
///
/// # Errors
/// The lines that differ, or why it could not be run.
pub fn replay(
    runner: &Runner,
    sites: (&Site, &Site),
    program: &Program,
) -> Result<(), Result<Box<Difference>, String>> {
    match runner.differ(sites, program).map_err(Err)? {
        None => Ok(()),
        Some(lines) => Err(Ok(Box::new(Difference { program: program.clone(), seed: 0, lines }))),
    }
}
