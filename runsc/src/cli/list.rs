//! `runsc list`.

use super::Global;
use super::state::{render, status};
use crate::error::Result;

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to print
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Print the names only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

impl Args {
    /// Lists all containers of the state directory.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let store = global.store();
        let mut containers = Vec::new();
        for id in store.ids()? {
            let home = store.home(&id)?;
            // One that is being made or deleted just now has no record.
            let Ok(record) = home.load() else { continue };
            let status = status(&home, &record);
            containers.push((record, status));
        }
        let text = match (self.quiet, self.format) {
            (true, _) => containers.iter().map(|(record, _)| format!("{}\n", record.id)).collect(),
            (_, Format::Json) => {
                let values: Vec<_> =
                    containers.iter().map(|(record, status)| render(record, status)).collect();
                format!("{}\n", serde_json::Value::Array(values))
            }
            (_, Format::Table) => {
                let row = |a: &str, b: &str, c: &str, d: &str, e: &str| {
                    format!("{a:<20} {b:<8} {c:<9} {d:<36} {e}\n")
                };
                let mut text = row("ID", "PID", "STATUS", "CREATED", "BUNDLE");
                for (record, status) in &containers {
                    let pid = if status == "stopped" { 0 } else { record.pid }.to_string();
                    text.push_str(&row(
                        &record.id,
                        &pid,
                        status,
                        &record.created,
                        &record.bundle.display().to_string(),
                    ));
                }
                text
            }
        };
        super::print(&text)?;
        Ok(0)
    }
}
