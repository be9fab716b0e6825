//! How two runs differ: of two kernels, or of one before and after a change.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;

/// A test that ended otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// How it ended in the first run, in one word; `absent` if it was not there.
    pub before: &'static str,
    /// How it ended in the second run.
    pub after: &'static str,
    /// What the run in which it did not pass said.
    pub reason: String,
}

type Ends<'a> = BTreeMap<&'a str, (&'static str, &'a str)>;

fn ends(report: &Report) -> Ends<'_> {
    let pairs = report.tests.iter().map(|entry| &entry.record);
    pairs.map(|one| (&*one.name, (one.outcome.word(), one.outcome.reason()))).collect()
}

/// The tests that did not end the same way, by name.
pub fn differences(before: &Report, after: &Report) -> Vec<Difference> {
    let (before, after) = (ends(before), ends(after));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let of = |ends: &Ends<'_>, name: &str| {
        ends.get(name).map_or(("absent", String::new()), |(word, why)| (*word, (*why).to_owned()))
    };
    let mut found = Vec::new();
    for name in names {
        let ((one, why_one), (other, why_other)) = (of(&before, name), of(&after, name));
        if one != other {
            let reason = if why_other.is_empty() { why_one } else { why_other };
            found.push(Difference { name: name.to_owned(), before: one, after: other, reason });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::differences;
    use crate::expect::Expectations;
    use crate::report::Report;
    use crate::run::{Outcome, Record};
    use crate::subject::{Root, Subject};

    fn report(tests: &[(&str, Outcome)]) -> Report {
        let records = tests.iter().map(|(name, outcome)| Record {
            name: (*name).to_owned(),
            outcome: outcome.clone(),
            milliseconds: 0,
        });
        let subject = (Subject::Host, Root::Tmpfs);
        Report::new(subject, &[], records.collect(), &Expectations::default())
    }

    #[test]
    fn only_what_ended_otherwise() {
        let failed = || Outcome::Failed("why".to_owned());
        let one = report(&[("a/a", Outcome::Passed), ("a/b", failed()), ("a/c", Outcome::Passed)]);
        let two = report(&[("a/a", failed()), ("a/b", failed()), ("a/d", Outcome::TimedOut)]);
        let found = differences(&one, &two);
        let found: Vec<_> =
            found.iter().map(|one| (&*one.name, one.before, one.after, &*one.reason)).collect();
        assert_eq!(
            found,
            [
                ("a/a", "passed", "failed", "why"),
                ("a/c", "passed", "absent", ""),
                ("a/d", "absent", "timed out", "")
            ]
        );
    }
}
