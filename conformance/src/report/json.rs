//! A run as data: what is written, compared, and counted for documents.

use serde::{Deserialize, Serialize};

use crate::expect::{Expectations, Verdict};
use crate::run::{Outcome, Record};
use crate::subject::{Root, Subject};

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was tested.
    pub subject: Subject,
    /// Its root file system, if it runs in process.
    pub root: Root,
    /// The words before the command.
    pub prefix: Vec<String>,
    /// `uname -r` of the machine.
    pub kernel: String,
    /// The results, by name.
    pub tests: Vec<Entry>,
}

/// A result and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The result.
    #[serde(flatten)]
    pub record: Record,
    /// The known reason for which it does not pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<String>,
    /// Whether the run has failed for this.
    pub unexpected: bool,
}

impl Report {
    /// Judges the results of a run.
    pub fn new(
        (subject, root): (Subject, Root),
        prefix: &[String],
        records: Vec<Record>,
        expectations: &Expectations,
    ) -> Self {
        let tests = records.into_iter().map(|record| Entry::new(record, expectations)).collect();
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { subject, root, prefix: prefix.to_vec(), kernel, tests }
    }

    /// Reads what `serde_json` wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// As text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Whether all is as expected.
    pub fn is_good(&self) -> bool {
        self.tests.iter().all(|entry| !entry.unexpected)
    }
}

impl Entry {
    fn new(record: Record, expectations: &Expectations) -> Self {
        let verdict = expectations.judge(&record);
        let unexpected = verdict.is_bad();
        let expected = match verdict {
            Verdict::ExpectedFailure(reason) | Verdict::UnexpectedPass(reason) => Some(reason),
            _ => None,
        };
        Self { record, expected, unexpected }
    }

    /// Whether it failed as expected.
    pub fn is_expected_failure(&self) -> bool {
        !self.unexpected && self.record.outcome.is_bad()
    }

    /// Whether it passed, expected or not.
    pub fn is_pass(&self) -> bool {
        self.record.outcome == Outcome::Passed
    }
}
