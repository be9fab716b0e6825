//! What to run and how.

use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use crate::subject::{Root, Subject};
use crate::suite::all;

/// How tests are run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is tested.
    pub subject: Subject,
    /// Its root file system, if it runs in process.
    pub root: Root,
    /// Words before the command, such as `runsc do`; empty for none.
    pub prefix: Vec<String>,
    /// This program, as the kernel under test finds it.
    pub program: PathBuf,
    /// Where each test gets a directory of its own; the directory for temporary files without one.
    pub directory: Option<PathBuf>,
    /// How many batches at once.
    pub jobs: usize,
    /// Time limit of one test.
    pub limit: Duration,
}

/// The full names of the tests that apply to a subject and match the filter, sorted.
pub fn select(subject: Subject, filter: Option<&Regex>) -> Vec<String> {
    let tests = all().iter().flat_map(|family| family.tests.iter().map(move |test| (family, test)));
    let mut names: Vec<String> = tests
        .filter(|(family, test)| subject.serves(family.name, test))
        .map(|(family, test)| format!("{}/{}", family.name, test.name))
        .filter(|name| filter.is_none_or(|filter| filter.is_match(name)))
        .collect();
    names.sort();
    names
}
