//! `list`.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use regex::Regex;
use serde::Serialize;

use crate::suite::{self, Family, Test};

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Args)]
pub(super) struct List {
    /// Only tests whose full name matches this regular expression.
    #[arg(long)]
    filter: Option<Regex>,
    /// How to print.
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Serialize)]
struct Line {
    name: String,
    covers: &'static [&'static str],
    needs: Vec<String>,
    manual: &'static str,
}

impl Line {
    fn new(family: &Family, test: &Test) -> Self {
        Self {
            name: format!("{}/{}", family.name, test.name),
            covers: test.covers,
            needs: test.needs.iter().map(|need| format!("{need:?}").to_lowercase()).collect(),
            manual: test.manual.unwrap_or(family.manual),
        }
    }
}

impl List {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let lines = suite::all()
            .iter()
            .flat_map(|family| family.tests.iter().map(|test| Line::new(family, test)));
        let lines = lines
            .filter(|line| self.filter.as_ref().is_none_or(|filter| filter.is_match(&line.name)))
            .collect::<Vec<_>>();
        // Whoever reads may have seen enough.
        let _ = self.print(&lines);
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, lines: &[Line]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if matches!(self.format, Format::Json) {
            serde_json::to_writer_pretty(&mut out, lines)?;
            return writeln!(out);
        }
        for line in lines {
            let needs = if line.needs.is_empty() { "" } else { "  needs " };
            let (covers, needs) = (line.covers.join(" "), needs.to_owned() + &line.needs.join(" "));
            writeln!(out, "{}  {covers}{needs}  {}", line.name, line.manual)?;
        }
        Ok(())
    }
}
