//! A run for people to read.

use core::fmt::Write;
use std::collections::BTreeMap;

use super::{Counts, Entry, Report, by_family, total};
use crate::run::Outcome;

/// What is unexpected with what it said, why tests were skipped, families, and a last line with the sums.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    for entry in report.tests.iter().filter(|entry| entry.unexpected) {
        text += &unexpected(entry);
    }
    text += &skips(report);
    text += &families(report);
    let Counts { passed, failed, skipped, expected } = total(report);
    let _ = writeln!(
        text,
        "{passed} passed, {failed} failed, {skipped} skipped, {expected} expected failures"
    );
    text
}

fn unexpected(entry: &Entry) -> String {
    let name = &entry.record.name;
    match &entry.record.outcome {
        Outcome::Passed => {
            let reason = entry.expected.as_deref().unwrap_or_default();
            format!("UNEXPECTED PASS {name}: is expected to fail: {reason}\n")
        }
        outcome => {
            let reason = outcome.reason();
            let colon = if reason.is_empty() { "" } else { ": " };
            format!("{} {name}{colon}{reason}\n", outcome.word().to_uppercase())
        }
    }
}

/// Reasons with how many tests each has cost, the commonest first.
fn skips(report: &Report) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &report.tests {
        if let Outcome::Skipped(reason) = &entry.record.outcome {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
    reasons.iter().map(|(reason, count)| format!("skipped {count}: {reason}\n")).collect()
}

fn families(report: &Report) -> String {
    let families = by_family(report);
    let width = families.keys().map(|name| name.len()).max().unwrap_or(0).max("family".len());
    let mut text = format!(
        "{:width$} {:>7} {:>7} {:>8} {:>17}\n",
        "family", "passed", "failed", "skipped", "expected failures"
    );
    for (name, counts) in families {
        let Counts { passed, failed, skipped, expected } = counts;
        let _ = writeln!(text, "{name:width$} {passed:>7} {failed:>7} {skipped:>8} {expected:>17}");
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::expect::Expectations;
    use crate::report::Report;
    use crate::run::{Outcome, Record};
    use crate::subject::{Root, Subject};

    #[test]
    fn says_what_is_unexpected_and_counts_the_rest() {
        let record =
            |name: &str, outcome| Record { name: name.to_owned(), outcome, milliseconds: 1 };
        let records = vec![
            record("io/a", Outcome::Passed),
            record("io/b", Outcome::Passed),
            record("io/c", Outcome::Skipped("needs user 0".to_owned())),
            record("pipe/d", Outcome::Failed("left 1, right 2".to_owned())),
            record("pipe/e", Outcome::TimedOut),
            record("pipe/f", Outcome::TimedOut),
        ];
        let list = Expectations::parse("fail io/b: old\nfail pipe/e: slow").unwrap();
        let report = Report::new((Subject::Host, Root::Tmpfs), &[], records, &list);
        assert!(!report.is_good());
        assert_eq!(
            super::table(&report),
            "UNEXPECTED PASS io/b: is expected to fail: old\n\
             FAILED pipe/d: left 1, right 2\n\
             TIMED OUT pipe/f\n\
             skipped 1: needs user 0\n\
             family  passed  failed  skipped expected failures\n\
             io           1       1        1                 0\n\
             pipe         0       2        0                 1\n\
             1 passed, 3 failed, 1 skipped, 1 expected failures\n"
        );
        assert_eq!(Report::parse(&report.to_json()).unwrap(), report);
    }
}
