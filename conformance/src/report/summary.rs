//! How many tests ended how.

use std::collections::BTreeMap;

use super::{Entry, Report};
use crate::run::Outcome;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed, as they should.
    pub passed: usize,
    /// Failed, or passed, against what was expected.
    pub failed: usize,
    /// Did not run.
    pub skipped: usize,
    /// Failed as expected.
    pub expected: usize,
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        let place = match &entry.record.outcome {
            _ if entry.unexpected => &mut self.failed,
            Outcome::Passed => &mut self.passed,
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Failed(_) | Outcome::TimedOut | Outcome::Crashed(_) => &mut self.expected,
        };
        *place += 1;
    }
}

/// The counts of each family.
pub fn by_family(report: &Report) -> BTreeMap<&str, Counts> {
    let mut families: BTreeMap<&str, Counts> = BTreeMap::new();
    for entry in &report.tests {
        families.entry(entry.record.family()).or_default().add(entry);
    }
    families
}

/// The counts of all tests.
pub fn total(report: &Report) -> Counts {
    let mut counts = Counts::default();
    for entry in &report.tests {
        counts.add(entry);
    }
    counts
}
