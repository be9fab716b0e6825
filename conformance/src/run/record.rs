//! How tests ended.

use serde::{Deserialize, Serialize};

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "kebab-case")]
pub enum Outcome {
    /// The kernel does what Linux does.
    Passed,
    /// It does not: what the body said.
    Failed(String),
    /// The body did not run to its end: why.
    Skipped(String),
    /// The time limit ended it.
    TimedOut,
    /// The kernel itself ended: what it said.
    Crashed(String),
}

impl Outcome {
    /// Whether the kernel did something else than Linux.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::TimedOut | Self::Crashed(_))
    }

    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
            Self::TimedOut => "timed out",
            Self::Crashed(_) => "crashed",
        }
    }

    /// What there is to say about it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Skipped(text) | Self::Crashed(text) => text,
            Self::Passed | Self::TimedOut => "",
        }
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Family and name.
    pub name: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took.
    pub milliseconds: u64,
}

impl Record {
    /// The family's name.
    pub fn family(&self) -> &str {
        self.name.split_once('/').map_or(&*self.name, |(family, _)| family)
    }
}

/// A line that a batch prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// This test begins.
    Begin(String),
    /// It has ended.
    End(Record),
}

#[cfg(test)]
mod tests {
    use super::{Message, Outcome, Record};

    #[test]
    fn lines_are_read_as_they_were_written() {
        for outcome in [Outcome::Passed, Outcome::Failed("a\nb".to_owned()), Outcome::TimedOut] {
            let record = Record { name: "pipe/new".to_owned(), outcome, milliseconds: 3 };
            let line = serde_json::to_string(&Message::End(record.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Message>(&line).unwrap(), Message::End(record));
        }
    }
}
