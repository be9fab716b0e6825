//! A bar on the terminal, and nothing where there is none.

use indicatif::{ProgressBar, ProgressStyle};

use crate::run::{Outcome, Record};

/// Shows how far a run is.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For a run of so many tests.
    pub(super) fn new(count: usize) -> Self {
        let bar = ProgressBar::new(count as u64);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta} {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// A test has ended.
    pub(super) fn note(&self, record: &Record, unexpected: bool) {
        if unexpected {
            let word = if record.outcome == Outcome::Passed {
                "unexpected pass"
            } else {
                record.outcome.word()
            };
            self.bar.println(format!("{word} {}", record.name));
        }
        self.bar.set_message(record.name.clone());
        self.bar.inc(1);
    }

    /// All have.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
