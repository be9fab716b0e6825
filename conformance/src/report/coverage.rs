//! Tests by the system call that they cover.

use std::collections::BTreeMap;

use super::Report;
use crate::suite;

/// Tests of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tests {
    /// How many there are.
    pub all: usize,
    /// How many passed.
    pub passed: usize,
}

/// Tests of a run by call; a test that covers several counts for each.
pub fn by_call(report: &Report) -> BTreeMap<&'static str, Tests> {
    let mut calls: BTreeMap<&'static str, Tests> = BTreeMap::new();
    for entry in &report.tests {
        let covers = suite::find(&entry.record.name).map_or(&[][..], |test| test.covers);
        for call in covers {
            let tests = calls.entry(call).or_default();
            tests.all += 1;
            tests.passed += usize::from(entry.is_pass());
        }
    }
    calls
}

/// As lines of call, number of tests, and number of those that passed.
pub fn to_lines(calls: &BTreeMap<&'static str, Tests>) -> String {
    let line = |(call, tests): (&&str, &Tests)| format!("{call} {} {}\n", tests.all, tests.passed);
    calls.iter().map(line).collect()
}

/// Reads what [`to_lines`] wrote. Lines that begin with `#` are passed over.
pub fn from_lines(text: &str) -> BTreeMap<String, Tests> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let call = words.next()?.to_owned();
        Some((
            call,
            Tests { all: words.next()?.parse().ok()?, passed: words.next()?.parse().ok()? },
        ))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::{by_call, from_lines, to_lines};
    use crate::expect::Expectations;
    use crate::report::Report;
    use crate::run::{Outcome, Record, select};
    use crate::subject::{Root, Subject};

    #[test]
    fn each_test_counts_for_all_that_it_covers() {
        let name = select(Subject::Host, None).into_iter().find(|name| name.starts_with("pipe/"));
        let records = vec![Record {
            name: name.expect("there are tests of pipes"),
            outcome: Outcome::Passed,
            milliseconds: 0,
        }];
        let list = Expectations::default();
        let report = Report::new((Subject::Host, Root::Tmpfs), &[], records, &list);
        let calls = by_call(&report);
        assert!(!calls.is_empty());
        let back = from_lines(&format!("# a comment\n{}", to_lines(&calls)));
        assert_eq!(back.len(), calls.len());
        assert!(back.values().all(|tests| (tests.all, tests.passed) == (1, 1)));
    }
}
