//! JUnit's XML, which build servers read.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Entry, Report};
use crate::run::Outcome;

/// One suite per family. An expected failure is a skipped test with its reason.
///
/// # Errors
/// What cannot be written as XML.
pub fn junit(report: &Report) -> Result<String, String> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for entry in &report.tests {
        let family = entry.record.family();
        suites.entry(family).or_insert_with(|| TestSuite::new(family)).add_test_case(case(entry));
    }
    let mut all = quick_junit::Report::new(format!("conformance of {}", report.subject));
    all.add_test_suites(suites.into_values());
    all.to_string().map_err(|error| error.to_string())
}

fn case(entry: &Entry) -> TestCase {
    let record = &entry.record;
    let mut status = match &record.outcome {
        _ if entry.unexpected => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Passed => TestCaseStatus::success(),
        _ => TestCaseStatus::skipped(),
    };
    let reason = record.outcome.reason();
    match (&entry.expected, &record.outcome) {
        (Some(expected), Outcome::Passed) => {
            status.set_message(format!("passes, but is expected to fail: {expected}"));
        }
        (Some(expected), _) => {
            status.set_message(format!("expected failure: {expected}"));
        }
        (None, Outcome::Passed) => {}
        (None, outcome) => {
            status.set_message(format!("{}: {reason}", outcome.word()));
        }
    }
    let name = record.name.split_once('/').map_or(&*record.name, |(_, name)| name);
    let mut case = TestCase::new(name, status);
    case.set_classname(record.family()).set_time(Duration::from_millis(record.milliseconds));
    case
}

#[cfg(test)]
mod tests {
    use crate::expect::Expectations;
    use crate::report::Report;
    use crate::run::{Outcome, Record};
    use crate::subject::{Root, Subject};

    #[test]
    fn failures_are_told_in_xml() {
        let outcome = Outcome::Failed("1 < 2".to_owned());
        let records = vec![Record { name: "io/a".to_owned(), outcome, milliseconds: 1500 }];
        let list = Expectations::default();
        let report = Report::new((Subject::Host, Root::Tmpfs), &[], records, &list);
        let text = super::junit(&report).unwrap();
        assert!(
            text.contains(r#"<testsuite name="io" tests="1" disabled="0" errors="0" failures="1""#),
            "{text}"
        );
        assert!(text.contains(r#"<failure message="failed: 1 &lt; 2""#), "{text}");
    }
}
