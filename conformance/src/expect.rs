//! What is known of a subject: tests that do not pass on it, each with the reason.
//!
//! A file of lines, reviewed like code; `#` begins a comment:
//!
//! ```text
//! fail  pipe/packets_keep_their_boundaries: O_DIRECT is not there
//! flaky timer/short_intervals: the host's clock ticks at 100 Hz
//! skip  ptrace/*: takes the debugger of the whole machine away
//! ```
//!
//! `fail`: it fails, and passing is an error too, so that the list stays true. `flaky`: it may do either. `skip`: it is
//! not run. A name that ends in `*` stands for all tests that begin so.

use std::collections::BTreeSet;

use crate::run::{Outcome, Record};
use crate::subject::Subject;

/// What is expected of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It fails.
    Fail,
    /// It may fail.
    Flaky,
    /// It is not run.
    Skip,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// What is expected.
    pub kind: Kind,
    /// A test's full name, or the beginning of names and `*`.
    pub pattern: String,
    /// Why.
    pub reason: String,
}

impl Expectation {
    fn matches(&self, name: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(head) => name.starts_with(head),
            None => name == self.pattern,
        }
    }
}

/// The lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    lines: Vec<Expectation>,
}

/// Whether a result is what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It was skipped, for this reason.
    Skipped(String),
    /// It failed, for this known reason.
    ExpectedFailure(String),
    /// It failed, and nobody said so.
    Failed,
    /// It passed, and this is why it should not have.
    UnexpectedPass(String),
}

impl Verdict {
    /// Whether the run has failed for this.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Failed | Self::UnexpectedPass(_))
    }
}

impl Expectations {
    /// Those that come with this program.
    ///
    /// # Errors
    /// The line that is wrong.
    pub fn built_in(subject: Subject) -> Result<Self, String> {
        Self::parse(match subject {
            Subject::Host => include_str!("../expectations/host.txt"),
            Subject::Sandbox => include_str!("../expectations/sandbox.txt"),
            Subject::Task | Subject::Vfs | Subject::Mm | Subject::Net => {
                include_str!("../expectations/task.txt")
            }
        })
    }

    /// Reads lines.
    ///
    /// # Errors
    /// The line that is wrong, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                lines.push(parse_line(line).map_err(|what| format!("line {}: {what}", index + 1))?);
            }
        }
        Ok(Self { lines })
    }

    /// The first line for a test.
    pub fn of(&self, name: &str) -> Option<&Expectation> {
        self.lines.iter().find(|line| line.matches(name))
    }

    /// Why a test is not to be run.
    pub fn skip(&self, name: &str) -> Option<&str> {
        self.of(name).filter(|line| line.kind == Kind::Skip).map(|line| &*line.reason)
    }

    /// Judges a result.
    pub fn judge(&self, record: &Record) -> Verdict {
        let expected = self.of(&record.name);
        match (&record.outcome, expected) {
            (Outcome::Skipped(reason), _) => Verdict::Skipped(reason.clone()),
            (Outcome::Passed, Some(line)) if line.kind == Kind::Fail => {
                Verdict::UnexpectedPass(line.reason.clone())
            }
            (Outcome::Passed, _) => Verdict::Passed,
            (_, Some(line)) => Verdict::ExpectedFailure(line.reason.clone()),
            (_, None) => Verdict::Failed,
        }
    }

    /// Lines that stand for none of these names: tests that have gone.
    pub fn unknown<'a>(&'a self, names: &[String]) -> Vec<&'a str> {
        let unknown = self.lines.iter().filter(|line| !names.iter().any(|name| line.matches(name)));
        unknown.map(|line| &*line.pattern).collect()
    }
}

fn parse_line(line: &str) -> Result<Expectation, String> {
    let (head, reason) = line.split_once(": ").ok_or("a reason after `: ` is missing")?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let [kind, pattern] = words[..] else {
        return Err(format!("`{head}` is not an outcome and a test"));
    };
    let kind = match kind {
        "fail" => Kind::Fail,
        "flaky" => Kind::Flaky,
        "skip" => Kind::Skip,
        _ => return Err(format!("`{kind}` is none of fail, flaky, skip")),
    };
    Ok(Expectation { kind, pattern: pattern.to_owned(), reason: reason.trim().to_owned() })
}

/// All full names of tests.
pub fn all_names() -> BTreeSet<String> {
    crate::run::select(Subject::Host, None).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Expectations, Verdict};
    use crate::run::{Outcome, Record};
    use crate::subject::Subject;

    fn judge(text: &str, outcome: Outcome) -> Verdict {
        let record = Record { name: "pipe/one".to_owned(), outcome, milliseconds: 0 };
        Expectations::parse(text).unwrap().judge(&record)
    }

    #[test]
    fn unexpected_results_are_bad_either_way() {
        let failed = || Outcome::Failed("no".to_owned());
        assert_eq!(judge("", Outcome::Passed), Verdict::Passed);
        assert_eq!(judge("", failed()), Verdict::Failed);
        assert_eq!(judge("", Outcome::TimedOut), Verdict::Failed);
        let (list, reason) = ("# known\n\nfail pipe/one: not there", || "not there".to_owned());
        assert_eq!(judge(list, failed()), Verdict::ExpectedFailure(reason()));
        assert_eq!(judge(list, Outcome::Passed), Verdict::UnexpectedPass(reason()));
        assert!(judge(list, Outcome::Passed).is_bad());
        assert_eq!(judge("flaky pipe/*: slow", Outcome::Passed), Verdict::Passed);
        assert_eq!(judge("fail pipe/on: no", failed()), Verdict::Failed);
    }

    #[test]
    fn wrong_lines_are_named() {
        let error = |text| Expectations::parse(text).unwrap_err();
        assert_eq!(error("\nfail pipe/one"), "line 2: a reason after `: ` is missing");
        assert_eq!(error("lost pipe/one: x"), "line 1: `lost` is none of fail, flaky, skip");
        assert_eq!(error("pipe/one: x"), "line 1: `pipe/one` is not an outcome and a test");
    }

    #[test]
    fn built_in_lists_name_tests_that_exist() {
        for subject in [Subject::Host, Subject::Sandbox, Subject::Task] {
            let list = Expectations::built_in(subject).unwrap();
            let names: Vec<String> = super::all_names().into_iter().collect();
            assert_eq!(list.unknown(&names), Vec::<&str>::new(), "{subject}");
        }
    }

    #[test]
    fn built_in_lists_do_not_repeat_what_tests_say_they_need() {
        let is_left = |name: &&String| {
            let test = crate::suite::find(name).unwrap();
            !test.needs.iter().any(|need| crate::in_process::is_missing(*need))
        };
        let names: Vec<String> = super::all_names().iter().filter(is_left).cloned().collect();
        let list = Expectations::built_in(Subject::Task).unwrap();
        assert_eq!(list.unknown(&names), Vec::<&str>::new());
    }
}
